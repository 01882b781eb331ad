package rules

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// InventoryNamespace: who made a namespace says which federation publishes in it.
//
// Reads: spec.inventory before and after, and the labels of the Namespace.
// Allows: a Namespace that is not being deleted and carries the label kubefederate.io/inventory with the federation's
// name.
// Does not promise: that the namespace or its label stays, nor that the manager may write there.
const InventoryNamespace ID = "inventoryNamespace"

func inventoryNamespace(s Snapshot, c FederationChange) (found Findings) {
	name := NamespaceToRead(c)
	if name == "" {
		return found
	}
	label := command.Host{}.To("label it", command.KubectlLabel{
		Object: command.Object{GroupResource: schema.GroupResource{Resource: "namespaces"}, Name: name}, Key: v1alpha1.LabelInventory, Value: c.New.Name,
	})
	namespace := s.Namespace(name)
	switch {
	case namespace == nil:
		e := field.NotFound(inventoryPath, name)
		e.Detail = "no namespace has this name; " + command.Host{}.To("create it", command.KubectlCreateNamespace{Name: name}) + "; and " + label
		found.refuse(e)
	case namespace.DeletionTimestamp != nil:
		found.refuse(field.Invalid(inventoryPath, name, "this namespace is being deleted"))
	case namespace.Labels[v1alpha1.LabelInventory] == "":
		found.refuse(field.Forbidden(inventoryPath, fmt.Sprintf("namespace %q has no label %s; %s", name, v1alpha1.LabelInventory, label)))
	case namespace.Labels[v1alpha1.LabelInventory] != c.New.Name:
		found.refuse(field.Forbidden(inventoryPath, fmt.Sprintf("namespace %q is the inventory of federation %q, by its label %s",
			name, namespace.Labels[v1alpha1.LabelInventory], v1alpha1.LabelInventory)))
	}
	return found
}
