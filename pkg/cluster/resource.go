package cluster

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Side says which API server is meant. Messages begin with it.
type Side string

// The two sides of a membership.
const (
	Host   Side = "host"
	Member Side = "member"
)

// Resource is a kind that the plugin reads or writes. Its version is known, so that no discovery request is needed.
type Resource struct {
	schema.GroupVersionResource
	Kind string
}

func resource(groupVersion schema.GroupVersion, resource, kind string) Resource {
	return Resource{groupVersion.WithResource(resource), kind}
}

var (
	coreV1       = schema.GroupVersion{Version: "v1"}
	rbacV1       = schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	admissionV1  = schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
	coordV1      = schema.GroupVersion{Group: "coordination.k8s.io", Version: "v1"}
	rancherV3    = schema.GroupVersion{Group: "management.cattle.io", Version: "v3"}
	aboutV1beta1 = schema.GroupVersion{Group: "about.k8s.io", Version: "v1beta1"}
)

// The kinds that the plugin reads or writes.
var (
	Namespaces          = resource(coreV1, "namespaces", "Namespace")
	ConfigMaps          = resource(coreV1, "configmaps", "ConfigMap")
	Secrets             = resource(coreV1, "secrets", "Secret")
	ServiceAccounts     = resource(coreV1, "serviceaccounts", "ServiceAccount")
	Pods                = resource(coreV1, "pods", "Pod")
	Services            = resource(coreV1, "services", "Service")
	EndpointSlices      = resource(discoveryV1, "endpointslices", "EndpointSlice")
	Nodes               = resource(coreV1, "nodes", "Node")
	Events              = resource(coreV1, "events", "Event")
	Deployments         = resource(appsV1, "deployments", "Deployment")
	ClusterRoles        = resource(rbacV1, "clusterroles", "ClusterRole")
	ClusterRoleBindings = resource(rbacV1, "clusterrolebindings", "ClusterRoleBinding")
	Roles               = resource(rbacV1, "roles", "Role")
	RoleBindings        = resource(rbacV1, "rolebindings", "RoleBinding")
	Leases              = resource(coordV1, "leases", "Lease")
	Federations         = resource(v1alpha1.GroupVersion, "federations", "Federation")
	MemberClusters      = resource(v1alpha1.GroupVersion, "memberclusters", "MemberCluster")
	// ClusterProperties are the About API (KEP-2149).
	ClusterProperties = resource(aboutV1beta1, "clusterproperties", "ClusterProperty")
	// Kubernetes serves these in this version since 1.30.
	AdmissionPolicies       = resource(admissionV1, "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
	AdmissionPolicyBindings = resource(admissionV1, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding")
)

// Kinds of Rancher that say how its clusters are reached. They are only read; package discover has those that stand for clusters.
var (
	// RancherSettings are Rancher's own settings.
	RancherSettings = resource(rancherV3, "settings", "Setting")
	// RancherProxyConfigs say whether Rancher's proxy hands on tokens that a cluster itself issued.
	RancherProxyConfigs = resource(rancherV3, "clusterproxyconfigs", "ClusterProxyConfig")
)

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

// New is an empty object of kind r.
func (r Resource) New(namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(r.GroupVersion().WithKind(r.Kind))
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}
