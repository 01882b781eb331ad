package rules

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// InventoryNamespace: who made a namespace says which federation publishes in it.
//
// Reads: spec.inventory before and after, and the labels of the Namespaces that the change adds.
// Allows: Namespaces that are not being deleted and carry the label kubefederate.io/inventory, or for credentials
// kubefederate.io/inventory-credentials, with the federation's name.
// Does not promise: that a namespace or its label stays, nor that the manager may write there.
const InventoryNamespace ID = "inventoryNamespace"

func inventoryNamespace(s Snapshot, c FederationChange) (found Findings) {
	for _, p := range newPlaces(c) {
		if e := p.judge(s.Namespace(p.namespace), c.New.Name); e != nil {
			found.refuse(e)
		}
	}
	return found
}

// judge is why a federation may not use the namespace; nil when it may.
func (p place) judge(namespace *metav1.ObjectMeta, federation string) *field.Error {
	grant := command.Grant{Federation: v1alpha1.FederationName(federation), Inventory: p.namespace}
	if p.label == v1alpha1.LabelInventoryCredentials {
		grant.Inventory, grant.Credentials = "", p.namespace
	}
	switch {
	case namespace == nil:
		e := field.NotFound(p.path, p.namespace)
		e.Detail = "no namespace has this name; " + command.Host{}.To("create it and let the federation use it", grant)
		return e
	case namespace.DeletionTimestamp != nil:
		return field.Invalid(p.path, p.namespace, "this namespace is being deleted")
	case namespace.Labels[p.label] == "":
		return field.Forbidden(p.path, fmt.Sprintf("namespace %q has no label %s; %s", p.namespace, p.label,
			command.Host{}.To("let the federation use it", grant)))
	case namespace.Labels[p.label] != federation:
		return field.Forbidden(p.path, fmt.Sprintf("namespace %q is that of federation %q, by its label %s", p.namespace, namespace.Labels[p.label], p.label))
	}
	return nil
}
