package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Inventory: the members of a federation are published by it alone.
//
// Reads: spec.inventory before and after, and that of the other Federations.
// Allows: namespaces that are in no other federation's inventory and are not the manager's own. The credentials namespace is none of
// those with profiles, and none of Kubernetes itself: readers of the inventory get its Secrets.
// Does not promise: that a namespace is there, see InventoryNamespace, nor that all members can be published there,
// see InventoryName.
const Inventory ID = "inventory"

// InventoryName: a member can be published.
//
// Reads: metadata.name of a new member, and spec.inventory.namespaces of the Federation.
// Allows: a name that, with the longest of the namespaces and a dash, has at most 63 characters: Argo CD keeps both in a label.
// Does not promise: that the member is published.
const InventoryName ID = "inventoryName"

var inventoryPath = specPath.Child("inventory")

// longestName is how long a member's name may be to be published in a namespace.
func longestName(namespace string) int {
	return validation.LabelValueMaxLength - len(namespace) - len("-")
}

// place is a namespace that an inventory has, with the label that lets the federation use it.
type place struct {
	path             *field.Path
	namespace, label string
}

// places are the namespaces of an inventory, in their order.
func places(i *v1alpha1.Inventory) (list []place) {
	if i == nil {
		return nil
	}
	for n, namespace := range i.Namespaces {
		list = append(list, place{inventoryPath.Child("namespaces").Index(n), namespace, v1alpha1.LabelInventory})
	}
	if i.CredentialsNamespace != "" {
		list = append(list, place{inventoryPath.Child("credentialsNamespace"), i.CredentialsNamespace, v1alpha1.LabelInventoryCredentials})
	}
	return list
}

// newPlaces are those that a change adds. The change is judged by them alone.
func newPlaces(c FederationChange) []place {
	if c.New == nil {
		return nil
	}
	var before []place
	if c.Old != nil {
		before = places(c.Old.Spec.Inventory)
	}
	return slices.DeleteFunc(places(c.New.Spec.Inventory), func(p place) bool {
		return slices.ContainsFunc(before, func(b place) bool { return b.namespace == p.namespace && b.label == p.label })
	})
}

// NamespacesToRead are the namespaces that a change is judged by.
func NamespacesToRead(c FederationChange) (names []string) {
	for _, p := range newPlaces(c) {
		names = append(names, p.namespace)
	}
	return names
}

// UnfitNamespace is why no inventory may have a namespace, or none its credentials there; empty where one may.
func UnfitNamespace(namespace string, credentials bool) string {
	switch {
	case slices.Contains([]string{v1alpha1.HostNamespace, v1alpha1.CredentialsNamespace, v1alpha1.MemberNamespace}, namespace):
		return fmt.Sprintf("namespace %q holds keys of this host", namespace)
	case credentials && (namespace == metav1.NamespaceDefault || strings.HasPrefix(namespace, "kube-")):
		return fmt.Sprintf("namespace %q is that of Kubernetes itself, and readers of the inventory get every Secret of the one that is named here", namespace)
	}
	return ""
}

func inventory(s Snapshot, c FederationChange) (found Findings) {
	added := newPlaces(c)
	if len(added) == 0 {
		return found
	}
	credentials := c.New.Spec.Inventory.CredentialsNamespace
	for _, p := range added {
		if why := UnfitNamespace(p.namespace, p.label == v1alpha1.LabelInventoryCredentials); why != "" {
			found.refuse(field.Forbidden(p.path, why))
		}
		for _, name := range s.FederationNames() {
			if string(name) == c.New.Name {
				continue
			}
			other := s.Federation(name)
			if other != nil && slices.ContainsFunc(places(other.Spec.Inventory), func(o place) bool { return o.namespace == p.namespace }) {
				e := field.Duplicate(p.path, p.namespace)
				e.Detail = fmt.Sprintf("it is in the inventory of federation %q", name)
				found.refuse(e)
			}
		}
	}
	if credentials != "" && slices.Contains(c.New.Spec.Inventory.Namespaces, credentials) {
		found.refuse(field.Forbidden(inventoryPath.Child("credentialsNamespace"), fmt.Sprintf(
			"namespace %q is among spec.inventory.namespaces, whose readers have no right on Secrets; name one that holds nothing else", credentials)))
	}
	return found
}

func inventoryName(s Snapshot, c MemberChange) (found Findings) {
	if c.Old != nil {
		return found
	}
	federation := federationOf(s, c.New)
	if federation == nil || federation.Spec.Inventory == nil || len(federation.Spec.Inventory.Namespaces) == 0 {
		return found
	}
	longest := slices.MaxFunc(federation.Spec.Inventory.Namespaces, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	if most := longestName(longest); len(c.New.Name) > most {
		found.refuse(field.Invalid(field.NewPath("metadata", "name"), c.New.Name, fmt.Sprintf(
			"in inventory %q of federation %q it may have %d characters, and has %d: Argo CD keeps both in one label",
			longest, federation.Name, most, len(c.New.Name))))
	}
	return found
}
