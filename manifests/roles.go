package manifests

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// RoleViewer is the role in install/2-roles.yaml of those who may read federations and members.
const RoleViewer = "kubefederate-viewer"

// Roles in install/2-roles.yaml that every joiner, approver and integrator is bound to.
const (
	RoleJoiner     = "kubefederate-joiner"
	RoleApprover   = "kubefederate-approver"
	RoleIntegrator = "kubefederate-integrator"
)

// JoinerBinding lets subjects join clusters to one federation and unjoin them: a ClusterRole with the verbs
// join and leave on it, and bindings to that and to what every joiner needs, credentials and Events included. The
// subjects can read no credential.
func JoinerBinding(federation v1alpha1.FederationName, subjects ...rbacv1.Subject) []*unstructured.Unstructured {
	name := RoleJoiner + ":" + string(federation)
	return objectsOf(
		verbs(name, federation, v1alpha1.VerbJoin, v1alpha1.VerbLeave),
		binding(labeled(name, ""), name, subjects),
		binding(labeled(name+":common", ""), RoleJoiner, subjects),
		binding(labeled(name, v1alpha1.CredentialsNamespace), RoleJoiner, subjects),
		binding(labeled(name, metav1.NamespaceDefault), RoleJoiner, subjects),
	)
}

// ApproverBinding lets subjects accept members of one federation, and change nothing else of them.
func ApproverBinding(federation v1alpha1.FederationName, subjects ...rbacv1.Subject) []*unstructured.Unstructured {
	return memberBinding(RoleApprover, federation, v1alpha1.VerbApprove, subjects)
}

// IntegratorBinding lets subjects, which are controllers of others, set their annotations and finalizers on members of one
// federation, and change nothing else of them.
func IntegratorBinding(federation v1alpha1.FederationName, subjects ...rbacv1.Subject) []*unstructured.Unstructured {
	return memberBinding(RoleIntegrator, federation, v1alpha1.VerbIntegrate, subjects)
}

// RoleDiscovery begins the names of what lets the discovery controller join clusters to a federation, and read a Secret, and
// RoleDiscoveryNamespace is what lets it read all Secrets of a namespace.
const (
	RoleDiscovery          = "kubefederate-discovery"
	RoleDiscoveryNamespace = "kubefederate-discovery-namespace"
)

var discoveryAccount = []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.HostNamespace, Name: v1alpha1.DiscoveryAccount}}

// DiscoveryBinding gives the discovery controller verbs on one federation and nothing else, so that who has these verbs may give
// them: RBAC refuses to give more than one has.
func DiscoveryBinding(federation v1alpha1.FederationName, given ...string) []*unstructured.Unstructured {
	name := RoleDiscovery + ":" + string(federation)
	return objectsOf(verbs(name, federation, given...), binding(labeled(name, ""), name, discoveryAccount))
}

// DiscoverySecretBinding lets the discovery controller get one Secret, whether it exists or not. Each Secret has a Role of its own, so
// that one is revoked without a change of another.
func DiscoverySecretBinding(namespace, secret string) []*unstructured.Unstructured {
	return secretsBinding(labeled(discoverySecretRole(secret), namespace), rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{secret}, Verbs: []string{"get"},
	})
}

// DiscoveryNamespaceBinding lets the discovery controller read all Secrets of a namespace.
func DiscoveryNamespaceBinding(namespace string) []*unstructured.Unstructured {
	return secretsBinding(labeled(RoleDiscoveryNamespace, namespace), rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch"},
	})
}

func secretsBinding(metadata metav1.ObjectMeta, rule rbacv1.PolicyRule) []*unstructured.Unstructured {
	return objectsOf(role(metadata, rule), binding(metadata, metadata.Name, discoveryAccount))
}

// discoverySecretRole is the name of the Role for a Secret, of at most 253 characters. That of a long name ends in its hash, after a
// colon, which no name of a Secret has: two Secrets never share a Role.
func discoverySecretRole(secret string) string {
	const hashed = 16
	name := RoleDiscovery + ":" + secret
	if len(name) <= validation.DNS1123SubdomainMaxLength {
		return name
	}
	sum := sha256.Sum256([]byte(secret))
	return name[:validation.DNS1123SubdomainMaxLength-1-hashed] + ":" + hex.EncodeToString(sum[:])[:hashed]
}

// Roles in the namespaces of an inventory: what the manager may do there, and those who read it.
const (
	RoleInventory = "kubefederate-inventory"
	RoleConsumer  = "kubefederate-consumer"
)

// ClusterSetLabels say, in both spellings in use (KEP-4322), which set the clusters of a namespace or of a ClusterProfile are in.
func ClusterSetLabels(federation v1alpha1.FederationName) map[string]string {
	return map[string]string{"multicluster.x-k8s.io/clusterset": string(federation), "clusterset.multicluster.x-k8s.io": string(federation)}
}

// InventoryBinding lets the manager publish members in a namespace: as ClusterProfiles, and nothing else.
func InventoryBinding(namespace string) []*unstructured.Unstructured {
	const group = "multicluster.x-k8s.io"
	return managerBinding(namespace,
		rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"clusterprofiles"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"clusterprofiles/status"}, Verbs: []string{"patch"}},
	)
}

// CredentialsBinding lets the manager keep credentials for those who read an inventory in a namespace that holds nothing else.
func CredentialsBinding(namespace string) []*unstructured.Unstructured {
	return managerBinding(namespace, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"},
	})
}

func managerBinding(namespace string, rules ...rbacv1.PolicyRule) []*unstructured.Unstructured {
	return objectsOf(
		role(labeled(RoleInventory, namespace), rules...),
		binding(labeled(RoleInventory, namespace), RoleInventory, managerAccount),
	)
}

var managerAccount = []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.HostNamespace, Name: v1alpha1.ManagerAccount}}

// RoleDNS is the Role in a namespace that has the names of exported services.
const RoleDNS = "kubefederate-dns"

// DNSBinding lets the manager keep DNSEndpoints of external-dns in a namespace.
func DNSBinding(namespace string) []*unstructured.Unstructured {
	return objectsOf(
		role(labeled(RoleDNS, namespace), rbacv1.PolicyRule{
			APIGroups: []string{"externaldns.k8s.io"}, Resources: []string{"dnsendpoints"}, Verbs: []string{"get", "list", "create", "patch", "delete"},
		}),
		binding(labeled(RoleDNS, namespace), RoleDNS, managerAccount),
	)
}

// ConsumerBinding lets ServiceAccounts get the Secrets of a namespace: the credentials of an inventory. Each has a binding of its own.
func ConsumerBinding(namespace string, accounts ...rbacv1.Subject) []*unstructured.Unstructured {
	objects := []any{
		role(labeled(RoleConsumer, namespace), rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}),
	}
	for _, account := range accounts {
		name := RoleConsumer + ":" + account.Namespace + ":" + account.Name
		objects = append(objects, binding(labeled(name, namespace), RoleConsumer, []rbacv1.Subject{account}))
	}
	return objectsOf(objects...)
}

// IsGrant says whether a role or a binding has the name of one that grant makes: of an inventory, of its consumers, of the names of
// services, or of the discovery controller.
func IsGrant(o *unstructured.Unstructured) bool {
	name := o.GetName()
	if o.GetNamespace() == "" {
		return strings.HasPrefix(name, RoleDiscovery+":")
	}
	return name == RoleInventory || name == RoleConsumer || name == RoleDNS || name == RoleDiscoveryNamespace ||
		strings.HasPrefix(name, RoleConsumer+":") || strings.HasPrefix(name, RoleDiscovery+":")
}

func role(metadata metav1.ObjectMeta, rules ...rbacv1.PolicyRule) *rbacv1.Role {
	return &rbacv1.Role{
		TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"}, ObjectMeta: metadata, Rules: rules,
	}
}

// FederationRoles are all roles and bindings that belong to a federation, without subjects.
func FederationRoles(federation v1alpha1.FederationName) []*unstructured.Unstructured {
	return slices.Concat(JoinerBinding(federation), ApproverBinding(federation), IntegratorBinding(federation), DiscoveryBinding(federation))
}

// memberBinding is a ClusterRole with one verb on a federation, and bindings to that and to what every such user needs.
func memberBinding(role string, federation v1alpha1.FederationName, verb string, subjects []rbacv1.Subject) []*unstructured.Unstructured {
	name := role + ":" + string(federation)
	return objectsOf(
		verbs(name, federation, verb),
		binding(labeled(name, ""), name, subjects),
		binding(labeled(name+":common", ""), role, subjects),
	)
}

func verbs(name string, federation v1alpha1.FederationName, verbs ...string) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: labeled(name, ""),
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"federations"},
			ResourceNames: []string{string(federation)}, Verbs: verbs,
		}},
	}
}

// binding is a RoleBinding where the metadata has a namespace, and a ClusterRoleBinding, which has the same fields, where
// it has none.
func binding(metadata metav1.ObjectMeta, role string, subjects []rbacv1.Subject) *rbacv1.RoleBinding {
	kind := "ClusterRole"
	if metadata.Namespace != "" {
		kind = "Role"
	}
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind + "Binding"},
		ObjectMeta: metadata,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   subjects,
	}
}

func labeled(name, namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{LabelName: Name, LabelPartOf: Name}}
}

// objectsOf leaves out the creation time that a typed object would bring along as null.
func objectsOf(typed ...any) []*unstructured.Unstructured {
	objects := make([]*unstructured.Unstructured, len(typed))
	for i, object := range typed {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			panic(err) // the types above convert
		}
		unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
		objects[i] = &unstructured.Unstructured{Object: content}
	}
	return objects
}
