//go:build unix

package renewal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/cluster-inventory-api/pkg/access"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

const (
	profilesIn = "fleet"
	secretsIn  = "fleet-credentials"
)

// consumer is one who reads the inventory of the federation.
type consumer struct {
	*renewing
	// admin writes on the host as kubectl does.
	admin client.Client
}

// patch changes the federation.
func (c *consumer) patch(t *testing.T, mutate func(*v1alpha1.FederationSpec)) {
	t.Helper()
	f := &v1alpha1.Federation{}
	if err := c.admin.Get(t.Context(), client.ObjectKey{Name: "prod"}, f); err != nil {
		t.Fatal(err)
	}
	patch := client.MergeFrom(f.DeepCopy())
	mutate(&f.Spec)
	if err := c.admin.Patch(t.Context(), f, patch); err != nil {
		t.Fatal(err)
	}
}

// published waits for the condition Published.
func (c *consumer) published(t *testing.T, want string) {
	t.Helper()
	env.Eventually(t, "the condition Published", func(ctx context.Context) error {
		m, err := c.host.Member(ctx, name)
		if err != nil {
			return err
		}
		got := ""
		if p := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionPublished); p != nil {
			got = fmt.Sprintf("%s %s: %s", p.Status, p.Reason, p.Message)
		}
		if got != want {
			return errors.New(cmp.Diff(want, got))
		}
		return nil
	})
}

// token is what is stored for the consumer, once it is another than those before; it has been used on the member.
func (c *consumer) token(t *testing.T, before ...string) string {
	t.Helper()
	var access *kubeconfig.Access
	env.Eventually(t, "another credential that works", func(ctx context.Context) error {
		var secret corev1.Secret
		if err := c.admin.Get(ctx, client.ObjectKey{Namespace: secretsIn, Name: name}, &secret); err != nil {
			return err
		}
		if secret.Type != v1alpha1.ConsumerCredentialType || secret.Labels[v1alpha1.LabelMember] != name || len(secret.Data) != 1 {
			return fmt.Errorf("type %q, labels %v, %d keys", secret.Type, secret.Labels, len(secret.Data))
		}
		var err error
		if access, err = kubeconfig.Parse(secret.Data[v1alpha1.CredentialKey], kubeconfig.OneContext); err != nil {
			return err
		}
		if slices.Contains(before, access.Token) {
			return errors.New("it is the same still")
		}
		return may(ctx, access)
	})
	if access.Subject() != "system:serviceaccount:kubefederate-member:kubefederate-consumer" {
		t.Errorf("the token is of %q", access.Subject())
	}
	return access.Token
}

// may reads what view lets an account read, and not what it does not.
func may(ctx context.Context, a *kubeconfig.Access) error {
	c, err := kubernetes.NewForConfig(a.RESTConfig())
	if err != nil {
		return err
	}
	if _, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{}); err != nil {
		return err
	}
	if _, err := c.CoreV1().Secrets("").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		return fmt.Errorf("secrets: %w", err)
	}
	return nil
}

// profile is the ClusterProfile of the member.
func (c *consumer) profile(ctx context.Context) (*clusterinventory.ClusterProfile, error) {
	p := &clusterinventory.ClusterProfile{}
	return p, c.admin.Get(ctx, client.ObjectKey{Namespace: profilesIn, Name: name}, p)
}

// connect reaches the member as tools do that read profiles: by the library and the plugin of the API's own project, with the right of
// a ServiceAccount that was granted the credentials.
func (c *consumer) connect(t *testing.T, p *clusterinventory.ClusterProfile) (file, plugin string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: profilesIn, Name: "tool"}}
	must(c.admin.Create(t.Context(), account))
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}
	for _, o := range manifests.ConsumerBinding(secretsIn, subject) {
		must(c.admin.Create(t.Context(), o))
	}
	reads := metav1.ObjectMeta{Namespace: profilesIn, Name: "profile-reader"}
	must(c.admin.Create(t.Context(), &rbacv1.Role{ObjectMeta: reads, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{clusterinventory.Group}, Resources: []string{"clusterprofiles"}, Verbs: []string{"get", "list"},
	}}}))
	must(c.admin.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: reads, Subjects: []rbacv1.Subject{subject},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: reads.Name}}))
	token := &authenticationv1.TokenRequest{}
	must(c.admin.SubResource("token").Create(t.Context(), account, token))
	config := rest.AnonymousClientConfig(fleet(t).Cluster("host").Config())
	config.BearerToken = token.Status.Token
	dir := t.TempDir()
	file, plugin = filepath.Join(dir, "kubeconfig"), filepath.Join(dir, inventory.Provider)
	must(env.WriteKubeconfig(file, env.Context{Name: "host", Config: config}))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", plugin, "sigs.k8s.io/cluster-inventory-api/plugins/kubeconfig-secretreader/cmd/plugin")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	providers := access.New([]access.Provider{{Name: inventory.Provider, ExecConfig: &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: plugin, ProvideClusterInfo: true,
		Env: []clientcmdapi.ExecEnvVar{{Name: "KUBECONFIG", Value: file}},
	}}})
	reached, err := providers.BuildConfigFromCP(p)
	must(err)
	tool, err := kubernetes.NewForConfig(reached)
	must(err)
	who, err := tool.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	must(err)
	if got := who.Status.UserInfo.Username; got != "system:serviceaccount:kubefederate-member:kubefederate-consumer" {
		t.Errorf("the tool is %q on the member", got)
	}
	_, err = tool.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	must(err)
	return file, plugin
}

// follow has a controller of multicluster-runtime use the member while its tokens end: it is engaged once, since no renewal writes the
// profile, and at most one of its requests fails for each token. Tokens live ten minutes at least, so that their end is played by spoiling them on the way.
func (c *consumer) follow(t *testing.T, file, plugin string, used ...string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "consumer")
	if out, err := exec.CommandContext(t.Context(), "go", "-C", "../../consumer", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the consumer: %v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	command := exec.CommandContext(ctx, program, "-namespace", profilesIn, "-plugin", plugin)
	command.Env = append(os.Environ(), "KUBECONFIG="+file)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	var said [2]*os.File
	for i := range said {
		var err error
		if said[i], err = os.CreateTemp(dir, "output"); err != nil {
			t.Fatal(err)
		}
		defer said[i].Close()
	}
	command.Stdout, command.Stderr = said[0], said[1]
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	text := func(f *os.File) string {
		content, err := os.ReadFile(f.Name())
		if err != nil {
			t.Error(err)
		}
		return string(content)
	}
	var ended atomic.Int64 // the second before which tokens of the consumer were issued that have ended
	c.when(func(r *http.Request) {
		if issued := issuedToConsumer(r.Header.Get("Authorization")); issued != 0 && issued < ended.Load() {
			r.Header.Set("Authorization", "Bearer ended")
		}
	})
	defer c.when(nil)
	profile, err := c.profile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const lives = 3
	requests := func() (n, failed int) {
		for line := range strings.SplitSeq(text(said[0]), "\n") {
			_, _ = fmt.Sscanf(line, "requests "+name+" %d %d", &n, &failed)
		}
		return n, failed
	}
	for range lives {
		before, _ := requests()
		env.Eventually(t, "the consumer's requests", func(context.Context) error {
			if n, _ := requests(); n < before+5 {
				return fmt.Errorf("%d requests, and %d before\n%s\n%s", n, before, text(said[0]), text(said[1]))
			}
			return nil
		})
		used = append(used, c.token(t, used...))
		ended.Store(issuedToConsumer(used[len(used)-1]))
	}
	before, _ := requests()
	env.Eventually(t, "the consumer's requests with its last token", func(context.Context) error {
		if n, _ := requests(); n < before+5 {
			return fmt.Errorf("%d requests, and %d before", n, before)
		}
		return nil
	})
	now, err := c.profile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now.ResourceVersion != profile.ResourceVersion {
		t.Errorf("the profile was written:\n%s", cmp.Diff(profile, now))
	}
	stop()
	_ = command.Wait() // it was interrupted
	if n, failed := requests(); failed == 0 || failed > lives {
		t.Errorf("of %d requests of the consumer, during which %d tokens ended, %d failed\n%s", n, lives, failed, text(said[1]))
	}
	if n := strings.Count(text(said[0]), "engaged "+name+"\n"); n != 1 {
		t.Errorf("the cluster was engaged %d times", n)
	}
	if !strings.Contains(text(said[0]), "reconciled "+name+" kube-system\n") {
		t.Errorf("nothing of the cluster was reconciled:\n%s", text(said[0]))
	}
}

// issuedToConsumer is the second in which a token of the consumers' account was issued; zero for what is none.
func issuedToConsumer(token string) int64 {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return 0
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Subject string `json:"sub"`
		Issued  int64  `json:"iat"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Subject != "system:serviceaccount:kubefederate-member:kubefederate-consumer" {
		return 0
	}
	return claims.Issued
}

// apply has another field manager apply a part of the profile's status.
func (c *consumer) apply(t *testing.T, status map[string]any) {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	o.SetGroupVersionKind(clusterinventory.ClusterProfileSchemeGroupVersionKind)
	o.SetNamespace(profilesIn)
	o.SetName(name)
	if err := c.admin.Status().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("another")); err != nil {
		t.Fatal(err)
	}
}

// intrude has another field manager own a proxy in the manager's access provider, where clients would dial it, and a provider of its
// own beside, which alone stays.
func (c *consumer) intrude(t *testing.T, own clusterinventory.AccessProvider) (theirs []clusterinventory.AccessProvider) {
	t.Helper()
	theirs = []clusterinventory.AccessProvider{{Name: "theirs"}}
	theirs[0].Cluster.Server = "https://elsewhere.example.com"
	c.apply(t, map[string]any{"accessProviders": []any{
		map[string]any{"name": own.Name, "cluster": map[string]any{"server": own.Cluster.Server, "proxy-url": "http://elsewhere.example.com"}},
		map[string]any{"name": theirs[0].Name, "cluster": map[string]any{"server": theirs[0].Cluster.Server}},
	}})
	env.Eventually(t, "the access provider is the manager's alone", func(ctx context.Context) error {
		p, err := c.profile(ctx)
		if err == nil && !cmp.Equal(p.Status.AccessProviders, append(slices.Clone(theirs), own)) {
			err = errors.New(cmp.Diff(append(slices.Clone(theirs), own), p.Status.AccessProviders))
		}
		return err
	})
	return theirs
}

// move has the member lead elsewhere: the token that was issued for its former endpoint is not offered there. Another one is when the
// member is back.
func (c *consumer) move(t *testing.T) {
	t.Helper()
	lead := func(server string) {
		t.Helper()
		m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"server":%q}}`, server))
		if err := c.admin.Patch(t.Context(), m, patch); err != nil {
			t.Fatal(err)
		}
	}
	before := c.token(t)
	lead("https://elsewhere.example.com")
	env.Eventually(t, "no credential is offered", func(ctx context.Context) error {
		err := c.admin.Get(ctx, client.ObjectKey{Namespace: secretsIn, Name: name}, &corev1.Secret{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the Secret: %w", err)
		}
		p, err := c.profile(ctx)
		if err == nil && slices.ContainsFunc(p.Status.AccessProviders, func(a clusterinventory.AccessProvider) bool { return a.Name == inventory.Provider }) {
			err = fmt.Errorf("%+v", p.Status.AccessProviders)
		}
		return err
	})
	lead(c.URL)
	c.token(t, before)
}

// unreadable has a profile hold what its schema admits and Go's types do not, while a manager starts and goes on.
func (c *consumer) unreadable(t *testing.T) {
	t.Helper()
	c.manager.Stop()
	c.apply(t, map[string]any{"conditions": []any{map[string]any{
		"type": "Odd", "status": "True", "reason": "Odd", "message": "", "lastTransitionTime": "2026-01-01t00:00:00z",
	}}})
	if _, err := c.profile(t.Context()); err == nil {
		t.Error("the profile can be read: this proves nothing")
	}
	for _, step := range []func(context.Context) error{c.manager.Start, c.manager.Wait} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, displayed := range []string{"first", "second"} {
		read := &unstructured.Unstructured{}
		read.SetGroupVersionKind(clusterinventory.ClusterProfileSchemeGroupVersionKind)
		read.SetNamespace(profilesIn)
		read.SetName(name)
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"displayName":%q}}`, displayed))
		if err := c.admin.Patch(t.Context(), read, patch); err != nil {
			t.Fatal(err)
		}
		env.Eventually(t, "the profile is kept", func(ctx context.Context) error {
			if err := c.admin.Get(ctx, client.ObjectKeyFromObject(read), read); err != nil {
				return err
			}
			if got, _, err := unstructured.NestedString(read.Object, "spec", "displayName"); got != name {
				return fmt.Errorf("its display name is %q: %w", got, err)
			}
			return nil
		})
	}
	c.apply(t, map[string]any{})
}

// consume gives a federation an inventory, with a credential that is renewed without a write of the profile, that a rotation
// revokes, and that ends with the access.
func (r *renewing) consume(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	scheme := runtime.NewScheme()
	must(errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme), clusterinventory.AddToScheme(scheme)))
	admin, err := client.New(fleet(t).Cluster("host").Config(), client.Options{Scheme: scheme})
	must(err)
	c := &consumer{r, admin}
	stop, err := envhost.ServeProfiles(t.Context(), fleet(t).Cluster("host"))
	must(err)
	defer func() { must(stop(context.Background())) }()
	for namespace, label := range map[string]string{profilesIn: v1alpha1.LabelInventory, secretsIn: v1alpha1.LabelInventoryCredentials} {
		must(admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{label: "prod"}}}))
	}
	for _, o := range append(manifests.InventoryBinding(profilesIn), manifests.CredentialsBinding(secretsIn)...) {
		must(admin.Create(t.Context(), o))
	}
	c.patch(t, func(s *v1alpha1.FederationSpec) {
		s.Inventory = &v1alpha1.Inventory{Namespaces: []string{profilesIn}, CredentialsNamespace: secretsIn}
	})
	const well = `True Published: ClusterProfiles of the member are in namespace "fleet"`
	c.published(t, well)
	c.patch(t, func(s *v1alpha1.FederationSpec) { s.Access = &v1alpha1.Access{ClusterRole: "view"} })
	// The member joined before there was access.
	c.published(t, `False ConsumerCredentialFailed: the credential for those who read the inventory could not be issued: `+
		`create token of ServiceAccount kubefederate-member/kubefederate-consumer: 404 Not Found: serviceaccounts "kubefederate-consumer" not found; `+
		`grant the account for them: kubectl federate join east --federation prod --member-context CONTEXT`)
	r.join(t)
	first := c.token(t)
	c.published(t, well)

	var version string
	env.Eventually(t, "the profile names the Secret", func(ctx context.Context) error {
		p, err := c.profile(ctx)
		if err != nil {
			return err
		}
		if len(p.Status.AccessProviders) != 1 || p.Status.AccessProviders[0].Cluster.Server != r.URL {
			return fmt.Errorf("%+v", p.Status.AccessProviders)
		}
		version = p.ResourceVersion
		return nil
	})
	second := c.token(t, first)
	third := c.token(t, first, second)
	p, err := c.profile(t.Context())
	must(err)
	if p.ResourceVersion != version {
		t.Error("a renewal wrote the profile")
	}

	file, plugin := c.connect(t, p)
	c.follow(t, file, plugin, first, second, third)
	c.unreadable(t)
	c.move(t)
	theirs := c.intrude(t, p.Status.AccessProviders[0])

	// What others set on the Secret stays, and a rotation revokes what was issued.
	secret := &corev1.Secret{}
	must(admin.Get(t.Context(), client.ObjectKey{Namespace: secretsIn, Name: name}, secret))
	must(admin.Patch(t.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"example.com/team":"shop"}}}`))))
	plan, err := federate.PlanRotate(t.Context(), r.host, r.member, federate.RotateOptions{Name: name, TokenLifetime: member.MinTokenLifetime})
	must(err)
	_, err = plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) })
	must(err)
	c.token(t, first, second, third)
	must(admin.Get(t.Context(), client.ObjectKey{Namespace: secretsIn, Name: name}, secret))
	if secret.Labels["example.com/team"] != "shop" {
		t.Errorf("labels %v", secret.Labels)
	}

	// A Secret that the manager did not make is left alone.
	c.patch(t, func(s *v1alpha1.FederationSpec) { s.Access = nil })
	env.Eventually(t, "the Secret is gone, and the profile does not name it", func(ctx context.Context) error {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(secret), secret); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the Secret: %w", err)
		}
		p, err := c.profile(ctx)
		if err == nil && !cmp.Equal(p.Status.AccessProviders, theirs) {
			err = fmt.Errorf("%+v", p.Status.AccessProviders)
		}
		return err
	})
	must(admin.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretsIn, Name: name}}))
	c.patch(t, func(s *v1alpha1.FederationSpec) { s.Access = &v1alpha1.Access{ClusterRole: "view"} })
	c.published(t, `False ConsumerCredentialFailed: the credential for those who read the inventory could not be issued: Secret fleet-credentials/east was not made by this manager`)

	c.patch(t, func(s *v1alpha1.FederationSpec) { s.Access, s.Inventory = nil, nil })
	c.published(t, "")
	env.Eventually(t, "nothing is published", func(ctx context.Context) error {
		if _, err := c.profile(ctx); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the profile: %w", err)
		}
		return admin.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	})
}
