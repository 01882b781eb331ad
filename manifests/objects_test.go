package manifests_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

func objects(t *testing.T, o manifests.Options) []*unstructured.Unstructured {
	t.Helper()
	all, err := manifests.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func names(all []*unstructured.Unstructured) string {
	var b strings.Builder
	for _, o := range all {
		fmt.Fprintln(&b, strings.TrimPrefix(o.GetNamespace()+"/", "/")+o.GetKind()+"/"+o.GetName())
	}
	return b.String()
}

func find(t *testing.T, all []*unstructured.Unstructured, kind string) *unstructured.Unstructured {
	t.Helper()
	i := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
	if i < 0 {
		t.Fatalf("no %s", kind)
	}
	return all[i]
}

const outside = `CustomResourceDefinition/federations.kubefederate.io
CustomResourceDefinition/memberclusters.kubefederate.io
Namespace/kubefederate-system
kubefederate-system/ConfigMap/kubefederate-journal
kubefederate-system/Lease/kubefederate-probes
Namespace/kubefederate-credentials
FlowSchema/kubefederate-manager
kubefederate-system/ServiceAccount/kubefederate-manager
ClusterRole/kubefederate-system:manager
ClusterRoleBinding/kubefederate-system:manager
kubefederate-system/Role/kubefederate-manager
kubefederate-system/RoleBinding/kubefederate-manager
kubefederate-credentials/Role/kubefederate-manager
kubefederate-credentials/RoleBinding/kubefederate-manager
default/Role/kubefederate-manager
default/RoleBinding/kubefederate-manager
ClusterRole/kubefederate-admin
ClusterRole/kubefederate-joiner
kubefederate-credentials/Role/kubefederate-joiner
default/Role/kubefederate-joiner
ClusterRole/kubefederate-approver
ClusterRole/kubefederate-integrator
ClusterRole/kubefederate-viewer
ClusterRole/kubefederate-metrics-reader
kubefederate-system/ServiceAccount/kubefederate-metrics
ClusterRoleBinding/kubefederate-system:metrics
ValidatingAdmissionPolicy/joining.kubefederate.io
ValidatingAdmissionPolicyBinding/joining.kubefederate.io
ValidatingAdmissionPolicy/leaving.kubefederate.io
ValidatingAdmissionPolicyBinding/leaving.kubefederate.io
ValidatingAdmissionPolicy/membership.kubefederate.io
ValidatingAdmissionPolicyBinding/membership.kubefederate.io
ValidatingAdmissionPolicy/acceptance.kubefederate.io
ValidatingAdmissionPolicyBinding/acceptance.kubefederate.io
ValidatingAdmissionPolicy/discovery.kubefederate.io
ValidatingAdmissionPolicyBinding/discovery.kubefederate.io
ValidatingAdmissionPolicy/credentials.kubefederate.io
ValidatingAdmissionPolicyBinding/credentials.kubefederate.io
ValidatingAdmissionPolicy/crds.kubefederate.io
ValidatingAdmissionPolicyBinding/crds.kubefederate.io
ValidatingAdmissionPolicy/namespaces.kubefederate.io
ValidatingAdmissionPolicyBinding/namespaces.kubefederate.io
ValidatingAdmissionPolicy/inventories.kubefederate.io
ValidatingAdmissionPolicyBinding/inventories.kubefederate.io
ValidatingAdmissionPolicy/consumers.kubefederate.io
ValidatingAdmissionPolicyBinding/consumers.kubefederate.io
ValidatingWebhookConfiguration/kubefederate.io
`

const inside = outside + `kubefederate-system/Service/kubefederate-webhook
kubefederate-system/PodDisruptionBudget/kubefederate-manager
kubefederate-system/NetworkPolicy/kubefederate-manager
kubefederate-system/Deployment/kubefederate-manager
`

const discovery = `kubefederate-system/ServiceAccount/kubefederate-discovery
kubefederate-system/ConfigMap/kubefederate-discovery
ClusterRole/kubefederate-system:discovery
ClusterRoleBinding/kubefederate-system:discovery
kubefederate-system/Role/kubefederate-discovery
kubefederate-system/RoleBinding/kubefederate-discovery
kubefederate-credentials/Role/kubefederate-discovery
kubefederate-credentials/RoleBinding/kubefederate-discovery
default/Role/kubefederate-discovery
default/RoleBinding/kubefederate-discovery
`

const discoveryInside = discovery + `kubefederate-system/NetworkPolicy/kubefederate-discovery
kubefederate-system/Service/kubefederate-discovery
kubefederate-system/Deployment/kubefederate-discovery
`

// TestObjectsInOrder also holds that a manager outside the cluster keeps its account and loses its pods.
func TestObjectsInOrder(t *testing.T) {
	t.Parallel()
	if got := names(objects(t, manifests.Options{})); got != inside {
		t.Errorf("in the cluster:\n%s", got)
	}
	if got := names(objects(t, manifests.Options{WebhookURL: "https://127.0.0.1:9443"})); got != outside {
		t.Errorf("outside:\n%s", got)
	}
	if got := names(objects(t, manifests.Options{Discovery: true})); got != inside+discoveryInside {
		t.Errorf("with discovery:\n%s", got)
	}
	if got := names(objects(t, manifests.Options{Discovery: true, WebhookURL: "https://127.0.0.1:9443"})); got != outside+discovery {
		t.Errorf("with discovery, outside:\n%s", got)
	}
}

// TestMemoryLimit holds that the manager's own limit follows that of its container, as in the file.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	container := func(o manifests.Options) map[string]any {
		containers, _, _ := unstructured.NestedSlice(find(t, objects(t, o), "Deployment").Object, "spec", "template", "spec", "containers")
		return containers[0].(map[string]any)
	}
	shipped := container(manifests.Options{})
	resources := shipped["resources"].(map[string]any)
	if again := container(manifests.Options{Resources: resources}); !reflect.DeepEqual(again, shipped) {
		t.Errorf("%v\n%v", again, shipped)
	}
	for limit, want := range map[string]string{"1Gi": "[map[name:GOMEMLIMIT value:921MiB]]", "2000M": "[map[name:GOMEMLIMIT value:1716MiB]]", "": "[]"} {
		limits := map[string]any{"cpu": "1"}
		if limit != "" {
			limits["memory"] = limit
		}
		c := container(manifests.Options{Image: "x", Resources: map[string]any{"limits": limits}})
		if got := fmt.Sprint(c["env"]); got != want || c["image"] != "x" || !reflect.DeepEqual(c["resources"], map[string]any{"limits": limits}) {
			t.Errorf("%s: %s, %v", limit, got, c)
		}
	}
	if _, err := manifests.Objects(manifests.Options{Resources: map[string]any{"limits": map[string]any{"memory": "much"}}}); err == nil {
		t.Error("a limit that is no quantity is taken")
	}
}

// TestDisruptions holds that nodes can be drained of replicas that are not ready, and of one that is.
func TestDisruptions(t *testing.T) {
	t.Parallel()
	all := objects(t, manifests.Options{})
	budget := find(t, all, "PodDisruptionBudget")
	spec := budget.Object["spec"].(map[string]any)
	if fmt.Sprint(spec["unhealthyPodEvictionPolicy"]) != "AlwaysAllow" || fmt.Sprint(spec["maxUnavailable"]) != "1" {
		t.Errorf("the budget is %v", spec)
	}
	selected, _, _ := unstructured.NestedStringMap(spec, "selector", "matchLabels")
	pods, _, _ := unstructured.NestedStringMap(find(t, all, "Deployment").Object, "spec", "template", "metadata", "labels")
	for key, value := range selected {
		if pods[key] != value {
			t.Errorf("the budget is for pods with %s=%s, and the manager's have %v", key, value, pods)
		}
	}
	if len(selected) == 0 {
		t.Error("the budget is for no pods")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	all := objects(t, manifests.Options{Version: "v1.2.3+dirty", Replicas: 3})
	for _, o := range all {
		labels := o.GetLabels()
		if labels[manifests.LabelName] != "kubefederate" || labels[manifests.LabelPartOf] != "kubefederate" || labels[manifests.LabelVersion] != "v1.2.3_dirty" {
			t.Errorf("%s %s: labels %v", o.GetKind(), o.GetName(), labels)
		}
		for _, value := range labels {
			if faults := validation.IsValidLabelValue(value); len(faults) > 0 {
				t.Errorf("%s %s: %s: %v", o.GetKind(), o.GetName(), value, faults)
			}
		}
	}
	deployment := find(t, all, "Deployment")
	if n, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas"); n != 3 {
		t.Errorf("replicas: %d", n)
	}
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	if image := containers[0].(map[string]any)["image"]; image != "kubefederate/manager:v0.0.0-dev" {
		t.Errorf("image: %s", image)
	}

	for name, test := range map[string]struct {
		options manifests.Options
		want    []string
	}{
		"as shipped": {manifests.Options{}, []string{
			"map[service:map[name:kubefederate-webhook namespace:kubefederate-system port:443]]",
			"map[service:map[name:kubefederate-webhook namespace:kubefederate-system port:443]]",
			"map[service:map[name:kubefederate-webhook namespace:kubefederate-system port:443]]",
		}},
		"with keys": {manifests.Options{Calls: &manifests.Calls{CABundle: []byte("pem"), Word: "w"}}, []string{
			"map[caBundle:cGVt service:map[name:kubefederate-webhook namespace:kubefederate-system path:/validate/memberclusters/w port:443]]",
			"map[caBundle:cGVt service:map[name:kubefederate-webhook namespace:kubefederate-system path:/validate/memberclusters/w port:443]]",
			"map[caBundle:cGVt service:map[name:kubefederate-webhook namespace:kubefederate-system path:/validate/federations/w port:443]]",
		}},
		"cert-manager": {manifests.Options{Certificates: manifests.CertificatesCertManager}, []string{
			"map[service:map[name:kubefederate-webhook namespace:kubefederate-system path:/validate/memberclusters port:443]]",
			"map[service:map[name:kubefederate-webhook namespace:kubefederate-system path:/validate/memberclusters port:443]]",
			"map[service:map[name:kubefederate-webhook namespace:kubefederate-system path:/validate/federations port:443]]",
		}},
		"outside": {manifests.Options{WebhookURL: "https://manager.example/base/"}, []string{
			"map[url:https://manager.example/base/validate/memberclusters]",
			"map[url:https://manager.example/base/validate/memberclusters]",
			"map[url:https://manager.example/base/validate/federations]",
		}},
		"outside, with keys": {manifests.Options{WebhookURL: "https://manager.example/base/", Calls: &manifests.Calls{CABundle: []byte("pem"), Word: "w"}}, []string{
			"map[caBundle:cGVt url:https://manager.example/base/validate/memberclusters/w]",
			"map[caBundle:cGVt url:https://manager.example/base/validate/memberclusters/w]",
			"map[caBundle:cGVt url:https://manager.example/base/validate/federations/w]",
		}},
	} {
		var got []string
		webhooks, _, _ := unstructured.NestedSlice(find(t, objects(t, test.options), "ValidatingWebhookConfiguration").Object, "webhooks")
		for _, w := range webhooks {
			got = append(got, fmt.Sprint(w.(map[string]any)["clientConfig"]))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestWebhookURLIsKept holds that it is on the namespace of the host as well, and nowhere for a manager in the cluster.
func TestWebhookURLIsKept(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "https://manager.example/base/"} {
		for _, o := range objects(t, manifests.Options{WebhookURL: url}) {
			want := ""
			if o.GetKind() == "Namespace" && o.GetName() == "kubefederate-system" {
				want = url
			}
			if got := o.GetAnnotations()[manifests.AnnotationWebhookURL]; got != want {
				t.Errorf("WebhookURL %q, %s %s: %q", url, o.GetKind(), o.GetName(), got)
			}
		}
	}
}

func TestWebhookURLIsRefused(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://manager.example", "https://", "manager.example", "https://u:p@manager.example", "https://manager.example?x=1", "https://manager.example#x"} {
		_, err := manifests.Objects(manifests.Options{WebhookURL: url})
		want := fmt.Sprintf("webhook URL %q: it must be an https URL with a host, without user, query or fragment", url)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestFilesAreWhatObjectsGives holds that `kubectl apply -f manifests/crd -f manifests/install -f manifests/discovery` installs the
// same: the labels that Objects sets are in the files, with the version of a plain build.
func TestFilesAreWhatObjectsGives(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	crds, _ := filepath.Glob("crd/*")
	rest, _ := filepath.Glob("install/*")
	discovery, _ := filepath.Glob("discovery/*")
	for _, path := range slices.Concat(crds, rest, discovery) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(data), "\n---\n") {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatal(err)
			}
			out, _ := yaml.Marshal(object)
			want.Write(out)
		}
	}
	var got bytes.Buffer
	for _, o := range objects(t, manifests.Options{Version: version.Version, Discovery: true}) {
		out, _ := yaml.Marshal(o.Object)
		got.Write(out)
	}
	if got.String() != want.String() {
		t.Errorf("Objects gives:\n%s\nthe files hold:\n%s", got.String(), want.String())
	}
}

// TestHostNamesAreNotMemberNames holds that a host may join itself.
func TestHostNamesAreNotMemberNames(t *testing.T) {
	t.Parallel()
	for _, o := range objects(t, manifests.Options{Discovery: true}) {
		if o.GetNamespace() == v1alpha1.MemberNamespace || strings.HasPrefix(o.GetName(), v1alpha1.MemberNamespace) {
			t.Errorf("%s %s is named as on a member", o.GetKind(), o.GetName())
		}
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	alice := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "alice"}
	for name, test := range map[string]struct {
		got  []*unstructured.Unstructured
		want string
	}{
		"joiner":   {manifests.JoinerBinding("prod", alice), "ClusterRole/kubefederate-joiner:prod\nClusterRoleBinding/kubefederate-joiner:prod\nClusterRoleBinding/kubefederate-joiner:prod:common\nkubefederate-credentials/RoleBinding/kubefederate-joiner:prod\ndefault/RoleBinding/kubefederate-joiner:prod\n"},
		"approver": {manifests.ApproverBinding("prod", alice), "ClusterRole/kubefederate-approver:prod\nClusterRoleBinding/kubefederate-approver:prod\nClusterRoleBinding/kubefederate-approver:prod:common\n"},
	} {
		if got := names(test.got); got != test.want {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	out := ""
	for _, i := range []int{0, 1, 3} {
		object, _ := yaml.Marshal(manifests.JoinerBinding("prod", alice)[i].Object)
		out += "---\n" + string(object)
	}
	const want = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  labels:
    app.kubernetes.io/name: kubefederate
    app.kubernetes.io/part-of: kubefederate
  name: kubefederate-joiner:prod
rules:
- apiGroups:
  - kubefederate.io
  resourceNames:
  - prod
  resources:
  - federations
  verbs:
  - join
  - leave
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  labels:
    app.kubernetes.io/name: kubefederate
    app.kubernetes.io/part-of: kubefederate
  name: kubefederate-joiner:prod
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: kubefederate-joiner:prod
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: alice
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  labels:
    app.kubernetes.io/name: kubefederate
    app.kubernetes.io/part-of: kubefederate
  name: kubefederate-joiner:prod
  namespace: kubefederate-credentials
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: kubefederate-joiner
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: alice
`
	if out != want {
		t.Errorf("got:\n%s", out)
	}
}

// TestDiscoveryBindings holds that what the discovery controller is granted is exactly that, for its account alone.
func TestDiscoveryBindings(t *testing.T) {
	t.Parallel()
	rule := func(objects []*unstructured.Unstructured) string {
		rules, _, _ := unstructured.NestedSlice(objects[0].Object, "rules")
		ref, _, _ := unstructured.NestedMap(objects[1].Object, "roleRef")
		subjects, _, _ := unstructured.NestedSlice(objects[1].Object, "subjects")
		if ref["kind"] != objects[0].GetKind() || ref["name"] != objects[0].GetName() || objects[0].GetNamespace() != objects[1].GetNamespace() {
			t.Errorf("%s binds %v", names(objects), ref)
		}
		return fmt.Sprint(names(objects), rules, subjects)
	}
	const account = " [map[kind:ServiceAccount name:kubefederate-discovery namespace:kubefederate-system]]"
	for got, want := range map[string]string{
		rule(manifests.DiscoveryBinding("prod", "discover", "leave")): "ClusterRole/kubefederate-discovery:prod\nClusterRoleBinding/kubefederate-discovery:prod\n" +
			"[map[apiGroups:[kubefederate.io] resourceNames:[prod] resources:[federations] verbs:[discover leave]]]" + account,
		rule(manifests.DiscoverySecretBinding("team-x", "prod.a")): "team-x/Role/kubefederate-discovery:prod.a\nteam-x/RoleBinding/kubefederate-discovery:prod.a\n" +
			"[map[apiGroups:[] resourceNames:[prod.a] resources:[secrets] verbs:[get]]]" + account,
		rule(manifests.DiscoveryNamespaceBinding("team-x")): "team-x/Role/kubefederate-discovery-namespace\nteam-x/RoleBinding/kubefederate-discovery-namespace\n" +
			"[map[apiGroups:[] resources:[secrets] verbs:[get list watch]]]" + account,
	} {
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	name := func(secret string) string { return manifests.DiscoverySecretBinding("team-x", secret)[0].GetName() }
	long := strings.Repeat("a", 252)
	if got := name(long + "b"); len(got) != 253 || got == name(long+"c") || got == name(long) || strings.Count(got, ":") != 2 {
		t.Errorf("a long name: %s", got)
	}
	if got, want := name(long[:230]), manifests.RoleDiscovery+":"+long[:230]; got != want {
		t.Errorf("the longest name that is kept: %s", got)
	}
}

// fields of a type as JSON names them.
func fields[T any]() (names []string) {
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// TestChecksAreVariables holds that expressions of policies stay within their cost: three checks of the authorizer in one are
// too many, and 29 in a policy.
func TestChecksAreVariables(t *testing.T) {
	t.Parallel()
	for _, o := range objects(t, manifests.Options{}) {
		if o.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		checks := 0
		variables, _, _ := unstructured.NestedSlice(o.Object, "spec", "variables")
		for _, v := range variables {
			v := v.(map[string]any)
			n := strings.Count(v["expression"].(string), ".check(")
			if checks += n; n > 1 || n == 1 != strings.HasPrefix(v["name"].(string), "may") {
				t.Errorf("%s: variable %s has %d checks", o.GetName(), v["name"], n)
			}
		}
		if checks >= 28 {
			t.Errorf("%s: %d checks", o.GetName(), checks)
		}
		text, err := o.MarshalJSON()
		if all := strings.Count(string(text), ".check("); err != nil || all != checks {
			t.Errorf("%s: %d checks are no variables, %v", o.GetName(), all-checks, err)
		}
	}
}

// TestEveryFieldIsCompared holds that a field which is added to a member's spec reaches the webhook unless it is known that no
// rule reads it. The policy compares all fields.
func TestEveryFieldIsCompared(t *testing.T) {
	t.Parallel()
	text := func(kind, name string) string {
		for _, o := range objects(t, manifests.Options{}) {
			if o.GetKind() == kind && o.GetName() == name {
				data, err := o.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			}
		}
		t.Fatalf("no %s %s", kind, name)
		return ""
	}
	webhook := text("ValidatingWebhookConfiguration", manifests.WebhookConfiguration)
	unread := []string{"accepted", "suspended", "suspension"}
	for _, name := range fields[v1alpha1.MemberClusterSpec]() {
		compared := regexp.MustCompile(`object\.spec\.\?` + name + `(\.orValue\(false\))? != oldObject\.spec\.\?` + name + `\b`)
		// encoding/json escapes nothing in !=.
		if got := compared.MatchString(webhook); got == slices.Contains(unread, name) {
			t.Errorf("4-webhook.yaml compares spec.%s: %v", name, got)
		}
	}
}

// TestRolesReadProbes holds that every role that may read members may read how old their statuses are, and what discovery has seen.
func TestRolesReadProbes(t *testing.T) {
	t.Parallel()
	readers := 0
	for _, o := range objects(t, manifests.Options{}) {
		if o.GetKind() != "ClusterRole" || o.GetName() == "kubefederate-system:manager" {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		may := func(group, resource, name string) bool {
			return slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
				return slices.Equal(r.APIGroups, []string{group}) && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, "get") &&
					(name == "" || slices.Equal(r.ResourceNames, []string{name}) && len(r.Verbs) == 1)
			})
		}
		if !may(v1alpha1.GroupVersion.Group, "memberclusters", "") {
			continue
		}
		readers++
		if !may("coordination.k8s.io", "leases", manifests.ProbesLease) {
			t.Errorf("%s may not get the Lease, and nothing else, of probes", role.Name)
		}
		if !may("", "configmaps", manifests.DiscoveryMemory) {
			t.Errorf("%s may not get what discovery remembers, and nothing else", role.Name)
		}
	}
	if readers != 5 {
		t.Errorf("%d roles read members", readers)
	}
}

// TestProbesLease holds that the Lease that the manager makes is the one that init installs, which has no time to take away.
func TestProbesLease(t *testing.T) {
	t.Parallel()
	shipped := find(t, objects(t, manifests.Options{Version: "v1.2.3+dirty"}), "Lease")
	made, err := runtime.DefaultUnstructuredConverter.ToUnstructured(manifests.NewProbesLease("v1.2.3+dirty"))
	if err != nil {
		t.Fatal(err)
	}
	delete(made["metadata"].(map[string]any), "creationTimestamp")
	delete(made, "spec")
	made["apiVersion"], made["kind"] = "coordination.k8s.io/v1", "Lease"
	if !reflect.DeepEqual(shipped.Object, made) {
		t.Errorf("init installs %v, the manager makes %v", shipped.Object, made)
	}
}
