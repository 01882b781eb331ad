package command

import (
	"cmp"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Object names one object of any kind, as kubectl takes it.
type Object struct {
	schema.GroupResource
	// Namespace is empty for an object without one.
	Namespace, Name string
	// Elsewhere says that the API server that has it is not the host's.
	Elsewhere bool
}

// elsewhere precedes an object that is not the host's, as it is stored.
const elsewhere = "elsewhere:"

// String is the reference as it is stored: "clusters.cluster.x-k8s.io/team-x/us-east", "namespaces/team-x", or
// "elsewhere:clusters.cluster.karmada.io/us-east".
func (o Object) String() string {
	if o.Elsewhere {
		o.Elsewhere = false
		return elsewhere + o.String()
	}
	parts := []string{o.GroupResource.String(), o.Namespace, o.Name}
	if o.Namespace == "" {
		parts = []string{parts[0], o.Name}
	}
	return strings.Join(parts, "/")
}

// ParseObject reads what String wrote. It is false for what does not name an object: the text may come from a cluster.
func ParseObject(text string) (Object, bool) {
	text, isElsewhere := strings.CutPrefix(text, elsewhere)
	parts := strings.Split(text, "/")
	o := Object{GroupResource: schema.ParseGroupResource(parts[0]), Elsewhere: isElsewhere}
	switch len(parts) {
	case 2:
		o.Name = parts[1]
	case 3:
		o.Namespace, o.Name = parts[1], parts[2]
		if o.Namespace == "" {
			return Object{}, false
		}
	}
	if o.Name == "" || !o.Valid() {
		return Object{}, false
	}
	return o, true
}

// Valid says whether every part is what Kubernetes takes for a name. An object without a name is one kind's list.
func (o Object) Valid() bool {
	name := o.Name
	if o.Group == "rbac.authorization.k8s.io" {
		name = strings.ReplaceAll(name, ":", "-") // as in "system:node"
	}
	return len(validation.IsDNS1035Label(o.Resource)) == 0 &&
		(o.Group == "" || len(validation.IsDNS1123Subdomain(o.Group)) == 0) &&
		(o.Namespace == "" || len(validation.IsDNS1123Label(o.Namespace)) == 0) &&
		(name == "" || len(validation.IsDNS1123Subdomain(name)) == 0)
}

// object appends an object, or where it has no name the placeholder, which is empty for all of its kind.
func (l *line) object(o Object, placeholder string) {
	l.invalid = l.invalid || !o.Valid()
	l.words = append(l.words, o.GroupResource.String())
	if name := cmp.Or(o.Name, placeholder); name != "" {
		l.words = append(l.words, name)
	}
	l.flag("namespace", o.Namespace)
}

// KubectlGet is kubectl get on the host.
type KubectlGet struct {
	Object Object
	// Output is a value of --output; empty is a table.
	Output string
}

func (c KubectlGet) render(l *line) {
	l.kubectl("get")
	l.object(c.Object, "")
	l.flag("output", c.Output)
}

// Federations lists the federations of the host.
var Federations = KubectlGet{Object: Object{GroupResource: schema.GroupResource{Resource: "federations"}}}

// ManagerPods lists the pods of the manager.
var ManagerPods = KubectlGet{Object: Object{GroupResource: schema.GroupResource{Resource: "pods"}, Namespace: v1alpha1.HostNamespace}}

// KubectlDelete is kubectl delete of one object.
type KubectlDelete struct {
	Object Object
	// Cluster is the member cluster that holds the object; nil is the host.
	Cluster *Cluster
}

func (c KubectlDelete) render(l *line) {
	l.kubectl("delete")
	l.object(c.Object, "NAME")
	if c.Cluster != nil {
		l.onMember(*c.Cluster)
	}
}

// KubectlLabel is kubectl label of one object.
type KubectlLabel struct {
	Object Object
	// Key is the label, and Value what it gets; an empty Value removes it.
	Key, Value string
	Overwrite  bool
	// Cluster holds the object; nil is the host.
	Cluster *Cluster
}

func (c KubectlLabel) render(l *line) {
	l.kubectl("label")
	l.object(c.Object, "NAME")
	l.invalid = l.invalid || len(validation.IsQualifiedName(c.Key)) > 0 || len(validation.IsValidLabelValue(c.Value)) > 0
	if c.Value == "" {
		l.add(c.Key + "-")
	} else {
		l.add(c.Key + "=" + c.Value)
	}
	if l.flagIf(c.Overwrite, "overwrite"); c.Cluster != nil {
		l.onMember(*c.Cluster)
	}
}

// KubectlEdit is kubectl edit of one object on the host.
type KubectlEdit struct{ Object Object }

func (c KubectlEdit) render(l *line) {
	l.kubectl("edit")
	l.object(c.Object, "NAME")
}

// UpgradePlugin is how krew brings the plugin up to date.
type UpgradePlugin struct{}

func (UpgradePlugin) render(l *line) {
	l.kubectl("krew", "upgrade", "federate")
	l.elsewhere = true
}
