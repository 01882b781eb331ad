package manifests_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// discoveryRights are all rights of the discovery controller's account, beside what is granted to it: a line for each resource in a
// role. Where there is no namespace, they are everywhere.
const discoveryRights = `: cluster.x-k8s.io/clusters: get list watch
: provisioning.cattle.io/clusters: get list watch
: fleet.cattle.io/clusters: get list watch
: management.cattle.io/clusters: get list watch
: management.cattle.io/clusterproxyconfigs: list
: management.cattle.io/settings server-url cacerts: get
: cluster.open-cluster-management.io/managedclusters: get list watch
: authentication.open-cluster-management.io/managedserviceaccounts: get list watch
: multicluster.x-k8s.io/clusterprofiles: get list watch
: core.kubefed.io/kubefedclusters: get list watch
: kubefederate.io/federations: get list watch
: kubefederate.io/memberclusters: get list watch create patch delete
: kubefederate.io/federations/status: patch
: kubefederate.io/memberclusters/status: patch
: /namespaces kube-system: get
: authentication.k8s.io/tokenreviews: create
: authorization.k8s.io/subjectaccessreviews: create
kubefederate-system: coordination.k8s.io/leases: create
kubefederate-system: coordination.k8s.io/leases kubefederate-discovery: get update
kubefederate-system: /configmaps kubefederate-discovery: get update
kubefederate-credentials: /secrets: create update
default: /events: create
default: events.k8s.io/events: create patch`

// TestDiscoveryRights holds that the account which reads kubeconfigs of tenants has these rights and no others: it reads no Secret.
func TestDiscoveryRights(t *testing.T) {
	t.Parallel()
	all := objects(t, manifests.Options{Discovery: true})
	var got []string
	for _, o := range all {
		if o.GetKind() != "RoleBinding" && o.GetKind() != "ClusterRoleBinding" {
			continue
		}
		var binding rbacv1.RoleBinding
		convert(t, o, &binding)
		if !slices.Contains(binding.Subjects, rbacv1.Subject{Kind: "ServiceAccount", Namespace: v1alpha1.HostNamespace, Name: v1alpha1.DiscoveryAccount}) {
			if strings.Contains(o.GetName(), "discovery") {
				t.Errorf("%s %s does not bind the account", o.GetKind(), o.GetName())
			}
			continue
		}
		i := slices.IndexFunc(all, func(r *unstructured.Unstructured) bool {
			return r.GetKind() == binding.RoleRef.Kind && r.GetName() == binding.RoleRef.Name && (r.GetKind() == "ClusterRole" || r.GetNamespace() == o.GetNamespace())
		})
		if i < 0 {
			t.Fatalf("%s %s is of no role", o.GetKind(), o.GetName())
		}
		var role rbacv1.Role
		convert(t, all[i], &role)
		for _, rule := range role.Rules {
			if len(rule.NonResourceURLs) > 0 {
				t.Errorf("URLs: %v", rule.NonResourceURLs)
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					what := strings.Join(append([]string{group + "/" + resource}, rule.ResourceNames...), " ")
					got = append(got, fmt.Sprintf("%s: %s: %s", o.GetNamespace(), what, strings.Join(rule.Verbs, " ")))
				}
			}
		}
	}
	want := strings.Split(discoveryRights, "\n")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func convert(t *testing.T, o *unstructured.Unstructured, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
		t.Fatal(err)
	}
}

// TestDiscoveryDeployment holds what differs between the Deployments: the manager's options are not the discovery controller's.
func TestDiscoveryDeployment(t *testing.T) {
	t.Parallel()
	deployment := func(o manifests.Options, name string) map[string]any {
		all := objects(t, o)
		i := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Deployment" && o.GetName() == name })
		return all[i].Object
	}
	resources := map[string]any{"limits": map[string]any{"memory": "1Gi"}}
	o := manifests.Options{Discovery: true, Image: "a/b:1", Replicas: 3, Resources: resources, Certificates: manifests.CertificatesCertManager}
	got, shipped := deployment(o, manifests.DiscoveryDeployment), deployment(manifests.Options{Discovery: true}, manifests.DiscoveryDeployment)
	pod := []string{"spec", "template", "spec"}
	containers := func(d map[string]any) map[string]any {
		list, _, _ := unstructured.NestedSlice(d, append(pod, "containers")...)
		return list[0].(map[string]any)
	}
	if image := containers(got)["image"]; image != "a/b:1" {
		t.Errorf("image %v", image)
	}
	c := containers(got)
	c["image"] = containers(shipped)["image"]
	if err := unstructured.SetNestedSlice(got, []any{c}, append(pod, "containers")...); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, shipped) {
		t.Errorf("got %v\nwant %v", got, shipped)
	}
	if _, found, _ := unstructured.NestedFieldNoCopy(shipped, "spec", "replicas"); found {
		t.Error("init would take away what an administrator has scaled")
	}
	o.DiscoveryResources = resources
	if c := containers(deployment(o, manifests.DiscoveryDeployment)); !reflect.DeepEqual(c["resources"], resources) || fmt.Sprint(c["env"]) != "[map[name:GOMEMLIMIT value:921MiB]]" {
		t.Errorf("resources %v, %v", c["resources"], c["env"])
	}
	// Both are as restricted, and neither policy nor budget is for the other's pods.
	manager := deployment(manifests.Options{}, manifests.ManagerDeployment)
	if a, b := containers(manager)["securityContext"], containers(shipped)["securityContext"]; !reflect.DeepEqual(a, b) {
		t.Errorf("security of the manager %v, of discovery %v", a, b)
	}
	for _, object := range objects(t, manifests.Options{Discovery: true}) {
		field := map[string]string{"NetworkPolicy": "podSelector", "PodDisruptionBudget": "selector"}[object.GetKind()]
		if field == "" {
			continue
		}
		component, _, _ := unstructured.NestedString(object.Object, "spec", field, "matchLabels", "app.kubernetes.io/component")
		if want := strings.TrimPrefix(object.GetName(), "kubefederate-"); component != want {
			t.Errorf("%s %s is for %s", object.GetKind(), object.GetName(), component)
		}
	}
}
