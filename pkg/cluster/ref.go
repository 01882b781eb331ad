package cluster

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// Ref names what a request is about: one object, one of its subresources, all objects of a kind, or a path that is none of
// these, such as /version. The zero Ref names nothing.
type Ref struct {
	Resource  Resource
	Namespace string
	// Name is empty for all objects of the kind, in Namespace where that is set.
	Name string
	// Subresource is empty for the object itself.
	Subresource string
	// Path is set instead of all other fields.
	Path string
}

// IdentityNamespace is the namespace whose UID is a cluster's identity.
var IdentityNamespace = Ref{Resource: Namespaces, Name: v1alpha1.IdentityNamespace}

// String is the form in which messages name what a Ref names: an object by its kind and its name, with its namespace.
func (r Ref) String() string {
	switch {
	case r.Path != "" || r.Resource == (Resource{}):
		return r.Path
	case r.Name == "" && r.Namespace == "":
		return r.Resource.GroupResource().String()
	case r.Name == "":
		return r.Resource.GroupResource().String() + " in namespace " + Quoted(r.Namespace)
	}
	name := r.Name
	if r.Namespace != "" {
		name = r.Namespace + "/" + r.Name
	}
	text := r.Resource.Kind + " " + Quoted(name)
	if r.Subresource != "" {
		text = r.Resource.Resource + "/" + r.Subresource + " of " + text
	}
	return text
}

// Object is the reference as a proposed command names it.
func (r Ref) Object() command.Object {
	return command.Object{GroupResource: r.Resource.GroupResource(), Namespace: r.Namespace, Name: r.Name}
}

// Reference is how an Event names the object.
func (r Ref) Reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: r.Resource.GroupVersion().String(), Kind: r.Resource.Kind, Namespace: r.Namespace, Name: r.Name}
}

// Word is how kubectl is given an object of any group: "clusters.cluster.x-k8s.io/prod-a --namespace team-x".
func (r Ref) Word() string {
	word := r.Resource.GroupResource().String() + "/" + command.Word(r.Name)
	if r.Namespace != "" {
		word += " --namespace " + command.Word(r.Namespace)
	}
	return word
}

// path is where an API server serves the object. A name that would lead elsewhere has none.
func (r Ref) path() (string, error) {
	for _, name := range []string{r.Namespace, r.Name} {
		if faults := rest.IsValidPathSegmentName(name); len(faults) > 0 {
			return "", fmt.Errorf("the name %q %s", name, strings.Join(faults, " and "))
		}
	}
	return r.Resource.path(r.Namespace) + "/" + r.Name, nil
}

// Of is the Ref of an object of kind r.
func (r Resource) Of(o *unstructured.Unstructured) Ref {
	return Ref{Resource: r, Namespace: o.GetNamespace(), Name: o.GetName()}
}
