//go:build unix

// Package health holds what a manager finds on real members, well and not, and what it writes of that.
package health

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

func TestMain(m *testing.M) { env.Main(m) }

var fleet = env.Shared(
	env.Spec{Name: "host"},
	env.Spec{Name: "east", ControllerManager: true, Zones: []string{"us-east-1b", "us-east-1a"}},
	env.Spec{Name: "west", ControllerManager: true},
)

const federation = "prod"

var (
	once    sync.Once
	manager *envhost.Manager
)

// enforcing gives the host, with a manager that leads and probes four times a second, and a federation.
func enforcing(t *testing.T) *env.Cluster {
	t.Helper()
	c := fleet(t).Cluster("host")
	once.Do(func() {
		var err error
		if manager, err = envhost.Make(t.Context(), c, "--probe-interval=250ms", "--leader-elect"); err != nil {
			t.Fatal(err)
		}
		h, err := host.Connect(c.Config())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.CreateFederation(t.Context(), &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: federation}}, cluster.DryRunNone); err != nil {
			t.Fatal(err)
		}
	})
	return c
}

// connect reaches both sides of a membership.
func connect(t *testing.T, m *env.Cluster) (*host.Cluster, *member.Cluster) {
	t.Helper()
	h, err := host.Connect(enforcing(t).Config())
	if err != nil {
		t.Fatal(err)
	}
	c, err := member.Connect(m.Config())
	if err != nil {
		t.Fatal(err)
	}
	return h, c
}

// join joins a cluster to the federation, or to that of o.
func join(t *testing.T, h *host.Cluster, m *member.Cluster, o federate.JoinOptions) {
	t.Helper()
	if o.Federation == "" {
		o.Federation = federation
	}
	plan, err := federate.PlanJoin(t.Context(), h, m, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
}

func unjoin(t *testing.T, h *host.Cluster, m *member.Cluster, name v1alpha1.MemberName) {
	t.Helper()
	plan, err := federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
}

// health is what the host says of a member, for a person.
type health struct {
	Phase           v1alpha1.Phase
	Reason, Message string
}

func of(m *v1alpha1.MemberCluster) health {
	got := health{Phase: m.Status.Phase}
	if ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		got.Reason, got.Message = ready.Reason, ready.Message
	}
	return got
}

// becomes waits until a member is what it should be.
func becomes(t *testing.T, h *host.Cluster, name v1alpha1.MemberName, want health) *v1alpha1.MemberCluster {
	t.Helper()
	var m *v1alpha1.MemberCluster
	env.Eventually(t, "what the host says of member "+string(name), func(ctx context.Context) (err error) {
		if m, err = h.Member(ctx, name); err == nil && of(m) != want {
			err = fmt.Errorf("(-want +got)\n%s", cmp.Diff(want, of(m)))
		}
		return err
	})
	return m
}

var answers = health{v1alpha1.PhaseReady, "Reachable", "the cluster answers, and is the one that joined"}

// TestHealth follows a member of two zones through good and bad days.
func TestHealth(t *testing.T) {
	east := fleet(t).Cluster("east")
	h, m := connect(t, east)
	server := east.Config().Host
	join(t, h, m, federate.JoinOptions{Name: "east"})

	found := becomes(t, h, "east", answers)
	want := &v1alpha1.Facts{Nodes: 2}
	want.KubernetesVersion, want.Regions, want.Zones = found.Spec.JoinedWith.KubernetesVersion, []string{"us-east-1"}, []string{"us-east-1a", "us-east-1b"}
	want.Capacity = found.Status.Facts.Capacity
	if diff := cmp.Diff(want, found.Status.Facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	capacity := found.Status.Facts.Capacity
	if got, want := fmt.Sprintf("%s CPUs, %s, %s pods", capacity.Cpu(), capacity.Memory(), capacity.Pods()), "8 CPUs, 32Gi, 220 pods"; got != want {
		t.Errorf("capacity: %s, want %s", got, want)
	}
	if len(found.Status.SigningKeys) != 1 {
		t.Errorf("signing keys %v", found.Status.SigningKeys)
	}
	if found.Status.LastProbeTime == nil {
		t.Error("it is not reported when it answered")
	}
	if c := meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionPropertiesSet); c != nil {
		t.Errorf("a cluster without the About API has the condition %+v", c)
	}

	// Its API server is away. What is known of it stays known.
	stopped := time.Now()
	east.Stop()
	address := strings.TrimPrefix(server, "https://")
	away := becomes(t, h, "east", health{v1alpha1.PhaseOffline, "ConnectionRefused",
		"no answer from https://" + address + ": connection refused; check that the cluster runs and that the host can reach it"})
	if diff := cmp.Diff(found.Status.Facts, away.Status.Facts); diff != "" {
		t.Errorf("facts of a member that is away (-before +now):\n%s", diff)
	}
	if at := away.Status.LastProbeTime; at.Sub(stopped).Abs() > 3*time.Second {
		t.Errorf("it is away since %s, and answered last at %s", stopped, at)
	}
	if err := east.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	becomes(t, h, "east", answers)

	// A request to probe it at once is answered when that has been done.
	request := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationProbeRequested: "a"}}}
	if _, err := h.PatchMember(t.Context(), "east", request, cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the answer to a request to probe", func(ctx context.Context) error {
		now, err := h.Member(ctx, "east")
		if err == nil && now.Status.ObservedProbeRequest != "a" {
			err = fmt.Errorf("status.observedProbeRequest is %q", now.Status.ObservedProbeRequest)
		}
		return err
	})

	unjoin(t, h, m, "east")
}

// gateway stands before a member and knows its clients by itself, as Rancher's proxy does: who comes with any token is led on as
// an administrator. So it can lead to another cluster, which takes the request.
type gateway struct {
	*httptest.Server
	to atomic.Pointer[httputil.ReverseProxy]
	// fail is how many requests are still to be answered with 503, and silent says that none is answered.
	fail   atomic.Int32
	silent atomic.Bool

	mu sync.Mutex
	// asked are the requests, with a token or without.
	asked []string
}

func newGateway(t *testing.T, c *env.Cluster) *gateway {
	t.Helper()
	g := &gateway{}
	g.lead(t, c)
	g.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := "without token"
		if r.Header.Get("Authorization") != "" {
			line = "with token"
		}
		g.mu.Lock()
		g.asked = append(g.asked, line+" "+r.URL.Path)
		g.mu.Unlock()
		switch {
		case g.silent.Load():
			<-r.Context().Done()
			return
		case g.fail.Add(-1) >= 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		g.fail.Store(0)
		r.Header.Del("Authorization")
		g.to.Load().ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// options are those of a join of the member behind it.
func (g *gateway) options(name v1alpha1.MemberName) federate.JoinOptions {
	return federate.JoinOptions{Name: name, Server: g.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Certificate().Raw})}
}

func (g *gateway) lead(t *testing.T, c *env.Cluster) {
	t.Helper()
	transport, err := rest.TransportFor(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(c.Config().Host)
	if err != nil {
		t.Fatal(err)
	}
	g.to.Store(&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
}

// since gives the requests from the n-th on.
func (g *gateway) since(n int) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.asked[n:]...)
}

// more waits until n more requests have come, and gives them.
func (g *gateway) more(t *testing.T, n int) []string {
	t.Helper()
	began := len(g.since(0))
	env.Eventually(t, "more requests", func(context.Context) error {
		if came := len(g.since(began)); came < n {
			return fmt.Errorf("only %d of %d requests came", came, n)
		}
		return nil
	})
	return g.since(began)
}

// TestAnotherCluster puts another cluster behind a member's endpoint. It gets no token beyond the request that shows who it is.
func TestAnotherCluster(t *testing.T) {
	east, west := fleet(t).Cluster("east"), fleet(t).Cluster("west")
	g := newGateway(t, east)
	h, m := connect(t, east)
	_, stranger := connect(t, west)
	id, err := stranger.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	join(t, h, m, g.options("moved"))
	joined := becomes(t, h, "moved", answers)

	// A member that is well is asked again and again, and nothing is written.
	for _, asked := range g.more(t, 10) {
		if asked != "with token /api/v1/namespaces/kube-system" {
			t.Errorf("a member that is well is asked: %s", asked)
		}
	}
	if now, err := h.Member(t.Context(), "moved"); err != nil || now.ResourceVersion != joined.ResourceVersion {
		t.Errorf("a member that is well was written: %v\n%s", err, cmp.Diff(joined, now))
	}

	g.lead(t, west)
	becomes(t, h, "moved", health{v1alpha1.PhaseNotReady, "IdentityMismatch", fmt.Sprintf(
		"another cluster answers at %s: its ID is %q and not %q; the credential is no longer sent to it; "+
			"if it replaces the member, remove the member before the other cluster joins: kubectl federate unjoin moved --force", g.URL, id, joined.Spec.ClusterID)})
	for _, asked := range g.more(t, 10) {
		if asked != "without token /version" {
			t.Errorf("another cluster is asked: %s", asked)
		}
	}
	unjoin(t, h, m, "moved")
}
