package member

import (
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// machineMade is an object that a controller puts into every namespace, or into each that a policy chooses. It keeps no
// namespace from being removed: the controller would put it there again.
type machineMade struct {
	// source is the code or the page that says who makes it.
	source string
	// groups and resources are any where empty.
	groups, resources []string
	// Of what follows, what is set must hold. Names are whole names.
	names []string
	kind  string // the type of a Secret
	label string
	// by is a rule of its own.
	by func(*unstructured.Unstructured) bool
}

var core = []string{""}

// machineMades are the rows, by controller.
var machineMades = []machineMade{
	{source: "k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher",
		groups: core, resources: []string{"configmaps"}, names: []string{"kube-root-ca.crt"}},
	{source: "k8s.io/kubernetes/pkg/controller/serviceaccount",
		groups: core, resources: []string{"serviceaccounts"}, names: []string{"default"}},
	{source: "k8s.io/kubernetes/pkg/controller/serviceaccount/tokens_controller.go, before 1.24",
		groups: core, resources: []string{"secrets"}, kind: "kubernetes.io/service-account-token", by: ofMachineAccount},
	{source: "https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/",
		groups: []string{"", "events.k8s.io"}, resources: []string{"events"}},
	// These have no objects of their own: they show what others are.
	{source: "https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/",
		groups: []string{"metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"}},
	{source: "https://olm.operatorframework.io/docs/tasks/list-operators-available-to-install/",
		groups: []string{"packages.operators.coreos.com"}, resources: []string{"packagemanifests"}},
	{source: "github.com/openshift/api/quota/v1",
		groups: []string{"quota.openshift.io"}, resources: []string{"appliedclusterresourcequotas"}},

	{source: "istio.io/istio/pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go",
		groups: core, resources: []string{"configmaps"}, names: []string{"istio-ca-root-cert"}},
	{source: "https://docs.openshift.com/container-platform/latest/security/certificates/service-serving-certificate.html",
		groups: core, resources: []string{"configmaps"}, names: []string{"openshift-service-ca.crt"}},
	{source: "github.com/openshift/openshift-controller-manager/pkg/serviceaccounts/controllers",
		groups: core, resources: []string{"serviceaccounts"}, names: []string{"builder", "deployer"}},
	{source: "github.com/openshift/openshift-controller-manager/pkg/internalregistry/controllers",
		groups: core, resources: []string{"secrets"}, kind: "kubernetes.io/dockercfg", by: dockercfgOfAccount},
	{source: "github.com/openshift/openshift-controller-manager/pkg/authorization/defaultrolebindings",
		groups: []string{"rbac.authorization.k8s.io", "authorization.openshift.io"}, resources: []string{"rolebindings"},
		names: []string{"system:image-pullers", "system:image-builders", "system:deployers"}},
	{source: "github.com/tektoncd/operator/pkg/reconciler/openshift/tektonconfig/rbac.go",
		groups: core, resources: []string{"serviceaccounts"}, names: []string{"pipeline"}},
	{source: "github.com/tektoncd/operator/pkg/reconciler/openshift/tektonconfig/rbac.go",
		groups: core, resources: []string{"configmaps"}, names: []string{"config-service-cabundle", "config-trusted-cabundle"}},
	{source: "github.com/tektoncd/operator/pkg/reconciler/openshift/tektonconfig/rbac.go",
		groups: []string{"rbac.authorization.k8s.io", "authorization.openshift.io"}, resources: []string{"rolebindings"},
		names: []string{"openshift-pipelines-edit", "pipelines-scc-rolebinding"}},

	{source: "https://olm.operatorframework.io/docs/advanced-tasks/operator-scoping-with-operatorgroups/",
		groups: []string{"operators.coreos.com"}, resources: []string{"clusterserviceversions"}, label: "olm.copiedFrom"},
	{source: "https://cert-manager.io/docs/trust/trust-manager/",
		groups: core, resources: []string{"configmaps", "secrets"}, label: "trust.cert-manager.io/bundle"},
	{source: "https://kyverno.io/docs/policy-types/cluster-policy/generate/", label: "generate.kyverno.io/policy-name"},
	{source: "https://github.com/kubernetes-sigs/hierarchical-namespaces/blob/master/docs/user-guide/concepts.md", label: "hnc.x-k8s.io/inherited-from"},
	// Reports on other objects, made anew whenever they are gone.
	{source: "https://github.com/kubernetes-sigs/wg-policy-prototypes/tree/master/policy-report",
		groups: []string{"wgpolicyk8s.io", "openreports.io", "reports.kyverno.io"}},
	{source: "https://aquasecurity.github.io/trivy-operator/latest/docs/crds/", groups: []string{"aquasecurity.github.io"}},
}

// isMachineMade says whether a controller puts o into the namespaces of a cluster.
func isMachineMade(r schema.GroupResource, o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(machineMades, func(m machineMade) bool { return m.has(r) && m.made(o) })
}

// onlyMachineMade says that all objects of a type are.
func onlyMachineMade(r schema.GroupResource) bool {
	return slices.ContainsFunc(machineMades, func(m machineMade) bool { return m.has(r) && m.all() })
}

// isMachineMadeGroup says that all objects of a group are. Whether its server responds does not matter then.
func isMachineMadeGroup(group string) bool {
	return slices.ContainsFunc(machineMades, func(m machineMade) bool { return m.resources == nil && slices.Contains(m.groups, group) && m.all() })
}

func (m *machineMade) all() bool {
	return m.names == nil && m.kind == "" && m.label == "" && m.by == nil
}

func (m *machineMade) has(r schema.GroupResource) bool {
	return (m.groups == nil || slices.Contains(m.groups, r.Group)) && (m.resources == nil || slices.Contains(m.resources, r.Resource))
}

func (m *machineMade) made(o *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(o.Object, "type")
	_, labeled := o.GetLabels()[m.label]
	return (m.names == nil || slices.Contains(m.names, o.GetName())) && (m.kind == "" || m.kind == kind) && (m.label == "" || labeled) && (m.by == nil || m.by(o))
}

// machineAccounts are the ServiceAccounts for which controllers make Secrets: those that controllers make, and those of a join,
// whose Secrets go a little later than they.
var machineAccounts = []string{"default", "builder", "deployer", "pipeline", v1alpha1.ManagerAccount, v1alpha1.ConsumerAccount}

func ofMachineAccount(o *unstructured.Unstructured) bool {
	return slices.Contains(machineAccounts, o.GetAnnotations()["kubernetes.io/service-account.name"])
}

// dockercfgName is the name of a Secret with which the pods of an account pull images from OpenShift's own registry.
var dockercfgName = regexp.MustCompile(`^(.+)-dockercfg-[a-z0-9]+$`)

func dockercfgOfAccount(o *unstructured.Unstructured) bool {
	name := dockercfgName.FindStringSubmatch(o.GetName())
	return ofMachineAccount(o) || slices.Contains(machineAccounts, o.GetAnnotations()["openshift.io/internal-registry-auth-token.service-account"]) ||
		name != nil && slices.Contains(machineAccounts, name[1])
}
