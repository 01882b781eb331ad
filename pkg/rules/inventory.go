package rules

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Inventory: the members of a federation are published by it alone.
//
// Reads: spec.inventory before and after, and that of the other Federations.
// Allows: a namespace that no other federation publishes in and that is not one of the manager's own.
// Does not promise: that the namespace is there, see InventoryNamespace, nor that all members can be published there,
// see InventoryName.
const Inventory ID = "inventory"

// InventoryName: a member can be published.
//
// Reads: metadata.name of a new member, and spec.inventory of the Federation.
// Allows: a name that, with the namespace and a dash, has at most 63 characters: Argo CD keeps both in a label.
// Does not promise: that the member is published.
const InventoryName ID = "inventoryName"

var inventoryPath = specPath.Child("inventory", "namespace")

// longestName is how long a member's name may be to be published in a namespace.
func longestName(namespace string) int {
	return validation.LabelValueMaxLength - len(namespace) - len("-")
}

func inventory(s Snapshot, c FederationChange) (found Findings) {
	namespace := NamespaceToRead(c)
	if namespace == "" {
		return found
	}
	if slices.Contains([]string{v1alpha1.HostNamespace, v1alpha1.CredentialsNamespace}, namespace) {
		found.refuse(field.Forbidden(inventoryPath, fmt.Sprintf("namespace %q holds keys of this host", namespace)))
	}
	for _, name := range s.FederationNames() {
		if string(name) == c.New.Name {
			continue
		}
		if other := s.Federation(name); other != nil && other.Spec.Inventory != nil && other.Spec.Inventory.Namespace == namespace {
			e := field.Duplicate(inventoryPath, namespace)
			e.Detail = fmt.Sprintf("federation %q publishes its members there", name)
			found.refuse(e)
		}
	}
	return found
}

// NamespaceToRead is the namespace that a change makes a federation's inventory, and that the change is judged by; empty when
// the inventory stays what it was.
func NamespaceToRead(c FederationChange) string {
	if c.New == nil || c.New.Spec.Inventory == nil {
		return ""
	}
	if c.Old != nil && c.Old.Spec.Inventory != nil && *c.Old.Spec.Inventory == *c.New.Spec.Inventory {
		return ""
	}
	return c.New.Spec.Inventory.Namespace
}

func inventoryName(s Snapshot, c MemberChange) (found Findings) {
	if c.Old != nil {
		return found
	}
	federation := federationOf(s, c.New)
	if federation == nil || federation.Spec.Inventory == nil {
		return found
	}
	namespace := federation.Spec.Inventory.Namespace
	if most := longestName(namespace); len(c.New.Name) > most {
		found.refuse(field.Invalid(field.NewPath("metadata", "name"), c.New.Name, fmt.Sprintf(
			"in inventory %q of federation %q it may have %d characters, and has %d: Argo CD keeps both in one label",
			namespace, federation.Name, most, len(c.New.Name))))
	}
	return found
}
