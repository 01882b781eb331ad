//go:build unix

package env

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// fleet has a full cluster and one without a controller manager.
var fleet = Shared(Spec{Name: "full", ControllerManager: true}, Spec{Name: "bare"})

func TestMain(m *testing.M) {
	if does := os.Getenv(childEnv); does != "" {
		play(does)
	}
	Main(m)
}

func client(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func createNamespace(t *testing.T, c *kubernetes.Clientset, name string) {
	t.Helper()
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	full, bare := fleet(t).Cluster("full"), fleet(t).Cluster("bare")
	alice, admin := client(t, full.User("alice", "platform", "oncall")), client(t, full.Config())
	who, err := alice.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := who.Status.UserInfo; got.Username != "alice" || !slices.Contains(got.Groups, "platform") || !slices.Contains(got.Groups, "oncall") {
		t.Errorf("the cluster takes alice for %s of %s", got.Username, got.Groups)
	}

	createNamespace(t, admin, "user")
	list := func(ctx context.Context) error {
		_, err := alice.CoreV1().ConfigMaps("user").List(ctx, metav1.ListOptions{})
		return err
	}
	if err := list(t.Context()); !apierrors.IsForbidden(err) {
		t.Fatalf("without a right, alice lists: %v", err)
	}
	if _, err := admin.RbacV1().RoleBindings("user").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "platform"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "platform"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "alice lists", list)

	// A user of one cluster, even its administrator, is unknown to another.
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
	kubectl := func(path string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), f.Kubectl(), append([]string{"--kubeconfig", path}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %s: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, tc := range []struct{ name, want, got string }{
		// The fleet's own file is from its start; path may name clusters that other tests have added.
		{"contexts", "bare\nfull\n", kubectl(f.Kubeconfig, "config", "get-contexts", "-o", "name")},
		{"one cluster's context", "bare\n", kubectl(f.Cluster("bare").Kubeconfig, "config", "get-contexts", "-o", "name")},
		{"current", "full\n", kubectl(path, "config", "current-context")},
		{"current cluster", f.Cluster("full").ID, kubectl(path, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")},
		{"other cluster", f.Cluster("bare").ID, kubectl(path, "--context", "bare", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")},
		{"user", "alice", kubectl(path, "--context", "bare-alice", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")},
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
		if len(node.Status.Conditions) != 1 || node.Status.Conditions[0].Type != corev1.NodeReady ||
			node.Status.Conditions[0].Status != corev1.ConditionTrue || node.Status.Capacity.Cpu().Value() != 4 {
			t.Errorf("the node is not a ready one: %v", node.Status)
		}
	}
}

// TestControllerManager shows what a cluster with one does, and that it is the controller manager who does it.
func TestControllerManager(t *testing.T) {
	t.Parallel()
	full, bare := client(t, fleet(t).Cluster("full").Config()), client(t, fleet(t).Cluster("bare").Config())
	for _, c := range []*kubernetes.Clientset{full, bare} {
		createNamespace(t, c, "deleted")
		if err := c.CoreV1().Namespaces().Delete(t.Context(), "deleted", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	Eventually(t, "the namespace is gone", func(ctx context.Context) error {
		if _, err := full.CoreV1().Namespaces().Get(ctx, "deleted", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.New("the namespace is still there")
		}
		return nil
	})
	if _, err := bare.CoreV1().Namespaces().Get(t.Context(), "deleted", metav1.GetOptions{}); err != nil {
		t.Errorf("without a controller manager, a namespace finished deleting: %v", err)
	}

	createNamespace(t, full, "kept")
	Eventually(t, "the default account exists", func(ctx context.Context) error {
		_, err := full.CoreV1().ServiceAccounts("kept").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if _, err := full.CoreV1().Secrets("kept").Create(t.Context(), &corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, ObjectMeta: metav1.ObjectMeta{
		Name: "token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: "default", UID: "8f3c1f0e-0000-4000-8000-000000000000"}},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the Secret without its owner is collected", func(ctx context.Context) error {
		if _, err := full.CoreV1().Secrets("kept").Get(ctx, "token", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.New("the Secret is still there")
		}
		return nil
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
	if _, err := f.Add(t.Context(), Spec{Name: "outage"}); !strings.HasPrefix(text(err), `cluster "outage": `) {
		t.Errorf("a second cluster of that name: %v", err)
	}
	id, host := c.ID, c.Config().Host
	createNamespace(t, client(t, c.Config()), "kept")
	// A watch that is open must not hold up the outage; it breaks.
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
