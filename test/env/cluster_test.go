//go:build unix

package env

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// fleet has a full cluster and one without a controller manager.
var fleet = Shared(Spec{Name: "full", ControllerManager: true}, Spec{Name: "bare"})

func client(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually polls until f returns true, and fails the test with f's words after a minute.
func eventually(t *testing.T, f func(ctx context.Context) (bool, string)) {
	t.Helper()
	var why string
	if err := wait.PollUntilContextTimeout(t.Context(), poll, time.Minute, true, func(ctx context.Context) (done bool, _ error) {
		done, why = f(ctx)
		return done, nil
	}); err != nil {
		t.Fatalf("%v: %s", err, why)
	}
}

// namespace makes one for this test.
func namespace(t *testing.T, c *kubernetes.Clientset, name string) {
	t.Helper()
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	f := fleet(t)
	for _, c := range []*Cluster{f.Cluster("full"), f.Cluster("bare")} {
		system, err := client(t, c.Config()).CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if c.ID == "" || c.ID != string(system.UID) {
			t.Errorf("%s: ID %q, kube-system has %q", c.Name, c.ID, system.UID)
		}
	}
	if a, b := f.Cluster("full").ID, f.Cluster("bare").ID; a == b {
		t.Errorf("both clusters have the ID %s", a)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	f := fleet(t)
	out, err := exec.CommandContext(t.Context(), f.Kubectl(), "--kubeconfig", f.Cluster("bare").Kubeconfig, "version", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ ClientVersion, ServerVersion struct{ GitVersion string } }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.ServerVersion.GitVersion != got.ClientVersion.GitVersion || !strings.HasPrefix(got.ServerVersion.GitVersion, "v1.") {
		t.Errorf("kubectl is %s, the API server %s", got.ClientVersion.GitVersion, got.ServerVersion.GitVersion)
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	full, bare := fleet(t).Cluster("full"), fleet(t).Cluster("bare")
	alice := client(t, full.User("alice", "platform", "oncall"))

	who, err := alice.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := who.Status.UserInfo; got.Username != "alice" || !slices.Contains(got.Groups, "platform") || !slices.Contains(got.Groups, "oncall") {
		t.Errorf("the cluster takes alice for %s of %s", got.Username, got.Groups)
	}

	namespace(t, client(t, full.Config()), "user")
	if _, err := alice.CoreV1().ConfigMaps("user").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("without a right, alice lists: %v", err)
	}
	if _, err := client(t, full.Config()).RbacV1().RoleBindings("user").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "platform"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "platform"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) (bool, string) {
		_, err := alice.CoreV1().ConfigMaps("user").List(ctx, metav1.ListOptions{})
		return err == nil, text(err)
	})
	if _, err := alice.CoreV1().Secrets("user").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("with view, alice lists Secrets: %v", err)
	}

	// A user of one cluster, even its administrator, is nobody on another.
	stranger := bare.Config()
	stranger.CertData, stranger.KeyData = full.Config().CertData, full.Config().KeyData
	if _, err := client(t, stranger).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("the other cluster's administrator lists: %v", err)
	}
}

func TestKubeconfig(t *testing.T) {
	t.Parallel()
	f := fleet(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := f.WriteKubeconfig(path, Context{Name: "bare-alice", Config: f.Cluster("bare").User("alice")}); err != nil {
		t.Fatal(err)
	}
	run := func(path string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), f.Kubectl(), append([]string{"--kubeconfig", path}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %s: %v\n%s", args, err, out)
		}
		return string(out)
	}
	kubectl := func(args ...string) string { return run(path, args...) }
	for _, tc := range []struct{ name, want, got string }{
		// The fleet's own file is from its start; path may name clusters that other tests have added.
		{"contexts", "bare\nfull\n", run(f.Kubeconfig, "config", "get-contexts", "-o", "name")},
		{"one cluster's context", "bare\n", run(f.Cluster("bare").Kubeconfig, "config", "get-contexts", "-o", "name")},
		{"current", "full\n", kubectl("config", "current-context")},
		{"current cluster", f.Cluster("full").ID, kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")},
		{"other cluster", f.Cluster("bare").ID, kubectl("--context", "bare", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")},
		{"user", "alice", kubectl("--context", "bare-alice", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestAddNode(t *testing.T) {
	t.Parallel()
	c := fleet(t).Cluster("full")
	for _, labels := range []map[string]string{
		{corev1.LabelTopologyRegion: "us-east-1", corev1.LabelTopologyZone: "us-east-1a"},
		{corev1.LabelTopologyRegion: "eu-west-1"}, // set again: only these stay
	} {
		if err := c.AddNode(t.Context(), "node-1", labels); err != nil {
			t.Fatal(err)
		}
		node, err := client(t, c.Config()).CoreV1().Nodes().Get(t.Context(), "node-1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{corev1.LabelTopologyRegion, corev1.LabelTopologyZone} {
			if got, want := node.Labels[key], labels[key]; got != want {
				t.Errorf("label %s is %q, want %q", key, got, want)
			}
		}
		if len(node.Spec.Taints) > 0 || len(node.Status.Conditions) != 1 || node.Status.Conditions[0].Type != corev1.NodeReady ||
			node.Status.Conditions[0].Status != corev1.ConditionTrue || node.Status.Capacity.Cpu().Value() != 4 {
			t.Errorf("the node is not a ready one: %v, %v", node.Spec, node.Status)
		}
	}
}

// TestPolicy shows that a ValidatingAdmissionPolicy is enforced, and that it can ask the authorizer.
func TestPolicy(t *testing.T) {
	t.Parallel()
	c := client(t, fleet(t).Cluster("bare").Config())
	namespace(t, c, "policy")
	if _, err := c.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "env-test"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "policy"}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				}}},
			},
			Validations: []admissionregistrationv1.Validation{
				{Expression: "authorizer.group('example.com').resource('things').check('join').allowed()"}, // an administrator may
				{Expression: "false", Message: "the policy is on guard"},
			},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "env-test"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "env-test", ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(t, c, "policy", "the policy is on guard")
}

// TestWebhook shows that the API server calls a webhook on loopback.
func TestWebhook(t *testing.T) {
	t.Parallel()
	c := client(t, fleet(t).Cluster("bare").Config())
	namespace(t, c, "webhook")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		review := admissionv1.AdmissionReview{}
		if err == nil {
			err = json.Unmarshal(body, &review)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "the webhook is on guard"}}
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	sideEffects := admissionregistrationv1.SideEffectClassNone
	url := server.URL + "/"
	if _, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "env-test"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "env-test.example.com", SideEffects: &sideEffects, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "webhook"}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(t, c, "webhook", "the webhook is on guard")
}

// refused waits until a ConfigMap is refused with the message; new admission configuration takes a moment.
func refused(t *testing.T, c *kubernetes.Clientset, namespace, message string) {
	t.Helper()
	eventually(t, func(ctx context.Context) (bool, string) {
		_, err := c.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return strings.Contains(text(err), message), text(err)
	})
}

// TestControllerManager shows what a cluster with one does, and that it is the controller manager who does it.
func TestControllerManager(t *testing.T) {
	t.Parallel()
	full, bare := client(t, fleet(t).Cluster("full").Config()), client(t, fleet(t).Cluster("bare").Config())
	for _, c := range []*kubernetes.Clientset{full, bare} {
		namespace(t, c, "going")
		if _, err := c.CoreV1().Secrets("going").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.CoreV1().Namespaces().Delete(t.Context(), "going", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func(ctx context.Context) (bool, string) {
		_, err := full.CoreV1().Namespaces().Get(ctx, "going", metav1.GetOptions{})
		return apierrors.IsNotFound(err), "the namespace is still there"
	})
	if _, err := bare.CoreV1().Namespaces().Get(t.Context(), "going", metav1.GetOptions{}); err != nil {
		t.Errorf("without a controller manager, a namespace finished deleting: %v", err)
	}

	// Garbage collection of an object whose owner never was.
	namespace(t, full, "staying")
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owned", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "8f3c1f0e-0000-4000-8000-000000000000"},
	}}}
	if _, err := full.CoreV1().ConfigMaps("staying").Create(t.Context(), owned, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// A Secret that asks for a token.
	wanted := &corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, ObjectMeta: metav1.ObjectMeta{
		Name: "token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"},
	}}
	eventually(t, func(ctx context.Context) (bool, string) {
		_, err := full.CoreV1().ServiceAccounts("staying").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, text(err)
	})
	if _, err := full.CoreV1().Secrets("staying").Create(t.Context(), wanted, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) (bool, string) {
		_, err := full.CoreV1().ConfigMaps("staying").Get(ctx, "owned", metav1.GetOptions{})
		return apierrors.IsNotFound(err), "the ConfigMap without its owner is still there"
	})
	eventually(t, func(ctx context.Context) (bool, string) {
		secret, err := full.CoreV1().Secrets("staying").Get(ctx, "token", metav1.GetOptions{})
		return err == nil && len(secret.Data[corev1.ServiceAccountTokenKey]) > 0, "the Secret has no token"
	})

	// From the moment Start returns, the roles that are made up of others are whole.
	role, err := full.RbacV1().ClusterRoles().Get(t.Context(), "view", metav1.GetOptions{})
	if err != nil || len(role.Rules) == 0 {
		t.Errorf("ClusterRole view has %d rules, %v", len(role.Rules), err)
	}
}

// TestOutage takes a cluster away and brings it back, and adds one to a running fleet for that.
func TestOutage(t *testing.T) {
	t.Parallel()
	f := fleet(t)
	c, err := f.Add(t.Context(), Spec{Name: "outage"})
	if err != nil {
		t.Fatal(err)
	}
	id, host := c.ID, c.Config().Host
	namespace(t, client(t, c.Config()), "kept")
	// A watch that nobody ends must not hold up the outage; it breaks.
	watch, err := client(t, c.Config()).CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	c.Stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping a cluster took %s", took)
	}
	for event := range watch.ResultChan() {
		t.Logf("before the watch breaks: %s", event.Type)
	}
	if _, err := client(t, c.Config()).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !strings.Contains(text(err), "connection refused") {
		t.Errorf("a stopped cluster answers: %v", err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.ID != id || c.Config().Host != host {
		t.Errorf("the cluster comes back as %s at %s, was %s at %s", c.ID, c.Config().Host, id, host)
	}
	if _, err := client(t, c.Config()).CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("the cluster has lost its content: %v", err)
	}
	c.Stop()
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	f := fleet(t)
	for _, tc := range []struct{ name, want string }{
		{"bare", `cluster "bare": the fleet has one of that name`},
		{"Bare", `cluster "Bare": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', ` +
			`and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`},
	} {
		if _, err := f.Add(t.Context(), Spec{Name: tc.name}); text(err) != tc.want {
			t.Errorf("got  %s\nwant %s", text(err), tc.want)
		}
	}
}
