//go:build unix

package renewal

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
		for _, b := range before {
			if access.Token == b {
				return errors.New("it is the same still")
			}
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
func (c *consumer) connect(t *testing.T, p *clusterinventory.ClusterProfile) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: profilesIn, Name: "tool"}}
	must(c.admin.Create(t.Context(), account))
	for _, o := range manifests.ConsumerBinding(secretsIn, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}) {
		must(c.admin.Create(t.Context(), o))
	}
	token := &authenticationv1.TokenRequest{}
	must(c.admin.SubResource("token").Create(t.Context(), account, token))
	config := rest.AnonymousClientConfig(fleet(t).Cluster("host").Config())
	config.BearerToken = token.Status.Token
	dir := t.TempDir()
	file, plugin := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, inventory.Provider)
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

	c.connect(t, p)

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
		if err == nil && len(p.Status.AccessProviders) > 0 {
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
