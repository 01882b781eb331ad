//go:build unix

// Package integration runs the product's parts against real API servers.
package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	env.Main(m)
}

// joinFleet is a host with everything installed and members; each test of a join uses names of its own.
var joinFleet = env.Shared(
	env.Spec{Name: "host", ControllerManager: true},
	env.Spec{Name: "east", ControllerManager: true},
	env.Spec{Name: "west", ControllerManager: true},
)

var joinHostOnce sync.Once

// joinHost is the host of joinFleet, installed.
func joinHost(t *testing.T) *env.Cluster {
	t.Helper()
	c := joinFleet(t).Cluster("host")
	joinHostOnce.Do(func() { install(t, c) })
	return c
}

// install makes a host of a cluster: the manifests as shipped, and a manager beside it.
func install(t *testing.T, c *env.Cluster) *envhost.Manager {
	t.Helper()
	manager, err := envhost.Make(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return manager
}

func clientset(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// apply makes o so; a kind that was made a moment ago is waited for.
func apply(t *testing.T, config *rest.Config, o *unstructured.Unstructured) {
	t.Helper()
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, o.GetKind()+" "+o.GetName()+" is applied", func(ctx context.Context) error {
		return c.Patch(ctx, o.DeepCopy(), client.RawPatch(types.ApplyPatchType, text), client.FieldOwner("test"), client.ForceOwnership)
	})
}

func connectHost(t *testing.T, config *rest.Config) *host.Cluster {
	t.Helper()
	h, err := host.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func connectMember(t *testing.T, config *rest.Config) *member.Cluster {
	t.Helper()
	m, err := member.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// federation makes a federation on the host.
func federation(t *testing.T, h *env.Cluster, name string, spec map[string]any) {
	t.Helper()
	if spec == nil {
		spec = map[string]any{}
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Federation"))
	o.SetName(name)
	apply(t, h.Config(), o)
	env.Eventually(t, "the manager has seen federation "+name, func(ctx context.Context) error {
		f, err := connectHost(t, h.Config()).Federation(ctx, v1alpha1.FederationName(name))
		if err == nil && f.Status.ObservedGeneration != f.Generation {
			return errors.New("not yet")
		}
		return err
	})
}

// settled says what the manager of a host still has to count; a cluster that is no host is settled.
func settled(ctx context.Context, h *host.Cluster) error {
	federations, err := h.Federations(ctx)
	if errors.Is(err, host.ErrNotInitialised) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range federations {
		members, err := h.Members(ctx, host.MemberQuery{Federation: v1alpha1.FederationName(federations[i].Name)})
		if err != nil {
			return err
		}
		if int(federations[i].Status.Members) != len(members) {
			return fmt.Errorf("federation %s counts %d members of %d", federations[i].Name, federations[i].Status.Members, len(members))
		}
	}
	return nil
}

// snapshot reads every object of a cluster once no namespace is ending any more and its manager, where it has
// one, has counted.
func snapshot(t *testing.T, c *env.Cluster) env.Objects {
	t.Helper()
	settle(t, c)
	env.Eventually(t, "the manager has counted", func(ctx context.Context) error { return settled(ctx, connectHost(t, c.Config())) })
	objects, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The journal numbers what was admitted, and numbers do not go back.
	return objects.Without("configmaps " + v1alpha1.HostNamespace + "/" + manifests.Journal)
}

// becomes waits until a cluster is as it was: garbage collection takes its time.
func becomes(t *testing.T, what string, before env.Objects, c *env.Cluster) {
	t.Helper()
	env.Eventually(t, what, func(ctx context.Context) error { return c.Compare(ctx, before) })
}

// settle waits until the namespace that join made is not ending on a cluster.
func settle(t *testing.T, c *env.Cluster) {
	t.Helper()
	m := connectMember(t, c.Config())
	env.Eventually(t, "namespace kubefederate-member is finished", func(ctx context.Context) error {
		o, err := m.Find(ctx, member.NamespaceRef())
		if err != nil || o == nil {
			return err
		}
		if o.GetDeletionTimestamp() != nil {
			return apierrors.NewTimeoutError("still ending", 1)
		}
		return nil
	})
}

// userNamespace makes our namespace on a member as a user would, with something of theirs in it. Kubernetes
// takes five seconds to end a namespace, so most faults are injected where none has to end.
func userNamespace(t *testing.T, c *env.Cluster) {
	t.Helper()
	snapshot(t, c) // no earlier one is ending
	k := clientset(t, c.Config()).CoreV1()
	_, namespaceErr := k.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MemberNamespace}}, metav1.CreateOptions{})
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string]string{"a": "b"}}
	_, err := k.ConfigMaps(v1alpha1.MemberNamespace).Create(t.Context(), theirs, metav1.CreateOptions{})
	if err := errors.Join(namespaceErr, err); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = k.Namespaces().Delete(context.WithoutCancel(t.Context()), v1alpha1.MemberNamespace, metav1.DeleteOptions{})
	})
	m := connectMember(t, c.Config())
	env.Eventually(t, "Kubernetes has furnished the namespace", func(ctx context.Context) error {
		for _, ref := range []cluster.Ref{
			{Resource: cluster.ConfigMaps, Namespace: v1alpha1.MemberNamespace, Name: "kube-root-ca.crt"},
			{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.MemberNamespace, Name: "default"},
		} {
			if _, err := m.Get(ctx, ref); err != nil {
				return err
			}
		}
		return nil
	})
}

// aboutAPI installs the CRD of the About API on a cluster. The type has the fields that KEP-2149 names.
func aboutAPI(t *testing.T, c *env.Cluster) {
	t.Helper()
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "clusterproperties.about.k8s.io", "annotations": map[string]any{
			"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/3084"}},
		"spec": map[string]any{
			"group": "about.k8s.io", "scope": "Cluster",
			"names": map[string]any{"kind": "ClusterProperty", "plural": "clusterproperties", "singular": "clusterproperty", "listKind": "ClusterPropertyList"},
			"versions": []any{map[string]any{"name": "v1beta1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec": map[string]any{"type": "object", "properties": map[string]any{"value": map[string]any{"type": "string"}}},
				}},
			}}},
		},
	}}
	apply(t, c.Config(), crd)
	m := connectMember(t, c.Config())
	env.Eventually(t, "the About API is served", func(ctx context.Context) error {
		_, err := m.List(ctx, cluster.ClusterProperties, cluster.ListOptions{})
		return err
	})
}

// join plans and applies, as do unjoin and rotate.
func join(ctx context.Context, h *host.Cluster, m *member.Cluster, o federate.JoinOptions) (*federate.Result, error) {
	plan, err := federate.PlanJoin(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	return plan.Apply(ctx, nil)
}

func unjoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o federate.UnjoinOptions) (*federate.Result, error) {
	plan, err := federate.PlanUnjoin(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	return plan.Apply(ctx, nil)
}

func move(ctx context.Context, h *host.Cluster, m *member.Cluster, o federate.JoinOptions) (*federate.Result, error) {
	plan, err := federate.PlanMove(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	return plan.Apply(ctx, nil)
}

func rotate(ctx context.Context, h *host.Cluster, m *member.Cluster, o federate.RotateOptions) (*federate.Result, error) {
	plan, err := federate.PlanRotate(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	return plan.Apply(ctx, nil)
}

// pair is a host with a federation and a cluster that joins it.
type pair struct {
	*testing.T
	// name is the federation's, and the member's where a test gives no other.
	name         string
	host, member *env.Cluster
	h            *host.Cluster
	m            *member.Cluster
	// before is what both held when the test began.
	before map[*env.Cluster]env.Objects
}

// newPair is joinHost, with a federation, and "west".
func newPair(t *testing.T, name string, spec map[string]any) *pair {
	t.Helper()
	return newPairOf(t, joinHost(t), joinFleet(t).Cluster("west"), name, spec)
}

func newPairOf(t *testing.T, hostCluster, memberCluster *env.Cluster, name string, spec map[string]any) *pair {
	t.Helper()
	federation(t, hostCluster, name, spec)
	p := &pair{
		T: t, name: name, host: hostCluster, member: memberCluster,
		h: connectHost(t, hostCluster.Config()), m: connectMember(t, memberCluster.Config()),
	}
	p.remember()
	return p
}

// remember takes what both hold now for what they held before.
func (p *pair) remember() {
	p.Helper()
	p.before = map[*env.Cluster]env.Objects{p.host: snapshot(p.T, p.host), p.member: snapshot(p.T, p.member)}
}

// furnished makes our namespace on the member as a user would: a test that joins again and again need not wait for its end.
func (p *pair) furnished() *pair {
	p.Helper()
	userNamespace(p.T, p.member)
	p.remember()
	return p
}

// process is p with connections of its own, as another run of the plugin has.
func (p *pair) process() *pair {
	p.Helper()
	other := *p
	other.h, other.m = connectHost(p.T, p.host.Config()), connectMember(p.T, p.member.Config())
	return &other
}

// options are o, with the name and the federation of p where it has none.
func (p *pair) options(o federate.JoinOptions) federate.JoinOptions {
	o.Name, o.Federation = cmp.Or(o.Name, v1alpha1.MemberName(p.name)), cmp.Or(o.Federation, v1alpha1.FederationName(p.name))
	return o
}

func (p *pair) planJoin(o federate.JoinOptions) (*federate.JoinPlan, error) {
	return federate.PlanJoin(p.Context(), p.h, p.m, p.options(o))
}

func (p *pair) join(o federate.JoinOptions) (*federate.Result, error) {
	return join(p.Context(), p.h, p.m, p.options(o))
}

func (p *pair) unjoin(o federate.UnjoinOptions) (*federate.Result, error) {
	o.Name = cmp.Or(o.Name, v1alpha1.MemberName(p.name))
	return unjoin(p.Context(), p.h, p.m, o)
}

// joined joins, which must succeed.
func (p *pair) joined(o federate.JoinOptions) *federate.Result {
	p.Helper()
	result, err := p.join(o)
	if err != nil {
		p.Fatal(err)
	}
	return result
}

// unjoined unjoins, which must succeed.
func (p *pair) unjoined(o federate.UnjoinOptions) *federate.Result {
	p.Helper()
	result, err := p.unjoin(o)
	if err != nil {
		p.Fatal(err)
	}
	return result
}

// left unjoins the member of the name, after which both sides are as they were.
func (p *pair) left(name string) {
	p.Helper()
	p.unjoined(federate.UnjoinOptions{Name: v1alpha1.MemberName(name)})
	p.unchanged()
}

// leftUnproven is left for a connection that nothing proves until the manager has seen a key, and that a person trusts.
func (p *pair) leftUnproven(name string) {
	p.Helper()
	_, err := federate.PlanUnjoin(p.Context(), p.h, p.m, federate.UnjoinOptions{Name: v1alpha1.MemberName(name)})
	if refusal, ok := errors.AsType[*federate.Unproven](err); err != nil && !(ok && refusal.NotYetProved) {
		p.Errorf("unjoin of %s: %v", name, err)
	}
	p.unjoined(federate.UnjoinOptions{Name: v1alpha1.MemberName(name), Way: federate.Way{TrustContext: true}})
	p.unchanged()
}

// unchanged waits until both sides are as they were, or the one that is given: garbage collection takes its time.
func (p *pair) unchanged(sides ...*env.Cluster) {
	p.Helper()
	if len(sides) == 0 {
		sides = []*env.Cluster{p.host, p.member}
	}
	for _, c := range sides {
		becomes(p.T, c.Name, p.before[c], c)
	}
}

// refused plans a join that must be refused.
func (p *pair) refused(o federate.JoinOptions, want string) {
	p.Helper()
	_, err := p.planJoin(o)
	wantRefusal(p.T, err, want)
}

// credential is what the host keeps of the member.
func (p *pair) credential() *kubeconfig.Access {
	p.Helper()
	return credential(p.T, p.host, p.name)
}

// credential reads what the host keeps of a member, as the manager would.
func credential(t *testing.T, h *env.Cluster, name string) *kubeconfig.Access {
	t.Helper()
	secret, err := clientset(t, h.Config()).CoreV1().Secrets(v1alpha1.CredentialsNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if secret.Type != v1alpha1.CredentialType || len(secret.Data) != 1 || len(secret.OwnerReferences) != 1 {
		t.Errorf("the credential is a Secret of type %s with %d keys and %d owners", secret.Type, len(secret.Data), len(secret.OwnerReferences))
	}
	access, err := kubeconfig.Parse(secret.Data[v1alpha1.CredentialKey], kubeconfig.OneContext)
	if err != nil {
		t.Fatal(err)
	}
	return access
}

// works says whether a member takes a credential, as the host would use it.
func works(t *testing.T, a *kubeconfig.Access) error {
	t.Helper()
	_, err := connectMember(t, a.RESTConfig()).ID(t.Context())
	return err
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

func wantRefusal(t *testing.T, err error, want string) {
	t.Helper()
	if _, ok := errors.AsType[*federate.Refusal](err); !ok {
		t.Fatalf("error %T: %v", err, err)
	}
	wantError(t, err, want)
}

// isRefusal says whether err is a refusal with one finding.
func isRefusal(err error, finding string) bool {
	refusal, ok := errors.AsType[*federate.Refusal](err)
	return ok && len(refusal.Findings) == 1 && refusal.Findings[0].String() == finding
}

func atOnce(n int, f func(int) error) []error {
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = f(i) })
	}
	wait.Wait()
	return errs
}
