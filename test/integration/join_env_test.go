//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/guard"
)

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

// managerBinary is built once for all hosts.
var managerBinary = sync.OnceValues(func() (string, error) { return guard.Build(context.Background()) })

// install makes a host of a cluster: the manifests as shipped, and a manager beside it.
func install(t *testing.T, c *env.Cluster) *guard.Manager {
	t.Helper()
	binary, err := managerBinary()
	if err != nil {
		t.Fatal(err)
	}
	manager, err := guard.New(c, binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(context.Context) error{manager.Install, manager.Start, manager.Wait} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return manager
}

var kinds = map[string]string{
	"Namespace": "namespaces", "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles",
	"RoleBinding": "rolebindings", "ServiceAccount": "serviceaccounts", "CustomResourceDefinition": "customresourcedefinitions",
	"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
	"ValidatingWebhookConfiguration": "validatingwebhookconfigurations", "Federation": "federations", "ConfigMap": "configmaps",
	"ClusterProperty": "clusterproperties", "MemberCluster": "memberclusters",
}

func client(t *testing.T, config *rest.Config, kind schema.GroupVersionKind, namespace string) dynamic.ResourceInterface {
	t.Helper()
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	resource, ok := kinds[kind.Kind]
	if !ok {
		t.Fatalf("no resource is known for kind %s", kind.Kind)
	}
	r := c.Resource(kind.GroupVersion().WithResource(resource))
	if namespace == "" {
		return r
	}
	return r.Namespace(namespace)
}

// apply makes o so; a kind that was made a moment ago is waited for.
func apply(t *testing.T, config *rest.Config, o *unstructured.Unstructured) {
	t.Helper()
	eventually(t, o.GetKind()+" "+o.GetName()+" is applied", func(ctx context.Context) error {
		_, err := client(t, config, o.GroupVersionKind(), o.GetNamespace()).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true})
		return err
	})
}

// eventually polls until check is content; what it said last is the failure.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
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
func federation(t *testing.T, h *env.Cluster, name string, spec map[string]any) v1alpha1.FederationName {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Federation"))
	o.SetName(name)
	apply(t, h.Config(), o)
	eventually(t, "the manager has seen federation "+name, func(ctx context.Context) error {
		f, err := connectHost(t, h.Config()).Federation(ctx, v1alpha1.FederationName(name))
		if err == nil && f.Status.ObservedGeneration != f.Generation {
			return errors.New("not yet")
		}
		return err
	})
	return v1alpha1.FederationName(name)
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
	eventually(t, "the manager has counted", func(ctx context.Context) error { return settled(ctx, connectHost(t, c.Config())) })
	objects, err := env.Snapshot(t.Context(), c.Config())
	if err != nil {
		t.Fatal(err)
	}
	// The journal numbers what was admitted, and numbers do not go back.
	return objects.Without("configmaps " + v1alpha1.HostNamespace + "/" + manifests.Journal)
}

// same fails the test when two snapshots differ in more than what ignore names.
func same(t *testing.T, what string, before, after env.Objects, ignore ...string) {
	t.Helper()
	diff := slices.DeleteFunc(env.Diff(before, after), func(line string) bool {
		return slices.ContainsFunc(ignore, func(part string) bool { return strings.Contains(line, part) })
	})
	if len(diff) > 0 {
		t.Errorf("%s: what changed:\n%s", what, strings.Join(diff, "\n"))
	}
}

// becomes waits until a cluster is as it was: garbage collection takes its time.
func becomes(t *testing.T, what string, before env.Objects, c *env.Cluster) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		now := snapshot(t, c)
		if len(env.Diff(before, now)) == 0 {
			return
		}
		if time.Now().After(deadline) {
			same(t, what, before, now)
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func join(t *testing.T, h *host.Cluster, m *member.Cluster, o federate.JoinOptions) (*federate.JoinResult, error) {
	t.Helper()
	plan, err := federate.PlanJoin(t.Context(), h, m, o)
	if err != nil {
		return nil, err
	}
	return plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) })
}

func unjoin(t *testing.T, h *host.Cluster, m *member.Cluster, o federate.UnjoinOptions) (*federate.UnjoinResult, error) {
	t.Helper()
	plan, err := federate.PlanUnjoin(t.Context(), h, m, o)
	if err != nil {
		return nil, err
	}
	return plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) })
}
