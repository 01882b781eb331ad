package cluster

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Side says whose API server is meant. It is printed in front of whatever a person reads.
type Side string

// The two sides of a membership.
const (
	Host   Side = "host"
	Member Side = "member"
)

// Resource is a kind that the plugin reads or writes. The list is closed: with it no discovery request is
// needed.
type Resource struct {
	schema.GroupVersionResource
	Kind string
}

func core(resource, kind string) Resource {
	return Resource{schema.GroupVersionResource{Version: "v1", Resource: resource}, kind}
}

func rbac(resource, kind string) Resource {
	return Resource{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: resource}, kind}
}

func ours(resource, kind string) Resource {
	return Resource{v1alpha1.GroupVersion.WithResource(resource), kind}
}

// The kinds that the plugin reads or writes.
var (
	Namespaces          = core("namespaces", "Namespace")
	ConfigMaps          = core("configmaps", "ConfigMap")
	Secrets             = core("secrets", "Secret")
	ServiceAccounts     = core("serviceaccounts", "ServiceAccount")
	Nodes               = core("nodes", "Node")
	Events              = core("events", "Event")
	ClusterRoles        = rbac("clusterroles", "ClusterRole")
	ClusterRoleBindings = rbac("clusterrolebindings", "ClusterRoleBinding")
	Roles               = rbac("roles", "Role")
	RoleBindings        = rbac("rolebindings", "RoleBinding")
	Federations         = ours("federations", "Federation")
	MemberClusters      = ours("memberclusters", "MemberCluster")
	// ClusterProperties are the About API (KEP-2149).
	ClusterProperties = Resource{schema.GroupVersionResource{Group: "about.k8s.io", Version: "v1beta1", Resource: "clusterproperties"}, "ClusterProperty"}
)

func foreign(group, version, resource, kind string) Resource {
	return Resource{schema.GroupVersionResource{Group: group, Version: version, Resource: resource}, kind}
}

// The kinds of other systems that stand for clusters on a host, and what belongs to them. They are only read.
var (
	// RancherClusters are what Rancher manages; their names are Rancher's IDs of clusters.
	RancherClusters = foreign("management.cattle.io", "v3", "clusters", "Cluster")
	// RancherProvisioned are the same clusters in the namespaces of their workspaces, beside their Secrets.
	RancherProvisioned = foreign("provisioning.cattle.io", "v1", "clusters", "Cluster")
	// RancherSettings are Rancher's own settings.
	RancherSettings = foreign("management.cattle.io", "v3", "settings", "Setting")
	// RancherProxyConfigs say whether Rancher's proxy hands on tokens that a cluster itself issued.
	RancherProxyConfigs = foreign("management.cattle.io", "v3", "clusterproxyconfigs", "ClusterProxyConfig")
	// ClusterAPIClusters are Cluster API's clusters, newest version first.
	ClusterAPIClusters = []Resource{foreign("cluster.x-k8s.io", "v1beta2", "clusters", "Cluster"), foreign("cluster.x-k8s.io", "v1beta1", "clusters", "Cluster")}
)

// Word is how kubectl is told an object of any group: "clusters.cluster.x-k8s.io/prod-a --namespace team-x".
func (r Ref) Word() string {
	word := r.Resource.GroupResource().String() + "/" + ShellWord(r.Name)
	if r.Namespace != "" {
		word += " --namespace " + ShellWord(r.Namespace)
	}
	return word
}

// Ref names one object on one side.
type Ref struct {
	Resource  Resource
	Namespace string
	Name      string
}

// String is the form in which messages name an object: its kind, and its name with its namespace.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Resource.Kind + " " + Quoted(r.Name)
	}
	return r.Resource.Kind + " " + Quoted(r.Namespace+"/"+r.Name)
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

// path is where an API server lists objects of the kind; an empty namespace means all of them.
func (r Resource) path(namespace string) string {
	segments := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		segments = []string{"/api", r.Version}
	}
	if namespace != "" {
		segments = append(segments, "namespaces", namespace)
	}
	return strings.Join(append(segments, r.Resource), "/")
}

// Of is the Ref of an object of kind r.
func (r Resource) Of(o *unstructured.Unstructured) Ref {
	return Ref{Resource: r, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// New is an empty object of kind r.
func (r Resource) New(namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(r.GroupVersion().WithKind(r.Kind))
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}
