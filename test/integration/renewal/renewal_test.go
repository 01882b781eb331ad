//go:build unix

// Package renewal holds how the manager renews credentials on real members: in time, while it is killed, and while others
// write.
package renewal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

func TestMain(m *testing.M) { env.Main(m) }

var fleet = env.Shared(env.Spec{Name: "host"}, env.Spec{Name: "east", ControllerManager: true})

// The shortest life that API servers grant, of which a renewal takes a five-hundredth: ten of them take a quarter of a minute.
var flags = []string{"--probe-interval=250ms", "--renewal-share=0.002"}

const (
	name      = "east"
	tokenPath = "/api/v1/namespaces/kubefederate-member/serviceaccounts/kubefederate-manager/token"
)

// way leads to a member and passes credentials on. It counts what the member answers.
type way struct {
	*httptest.Server

	mu sync.Mutex
	// at is called when a request comes.
	at func(*http.Request)
	// bad are the answers with an error.
	bad []string
}

func newWay(t *testing.T, c *env.Cluster) *way {
	t.Helper()
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(c.Config()))
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(c.Config().Host)
	if err != nil {
		t.Fatal(err)
	}
	w := &way{}
	proxy := &httputil.ReverseProxy{
		Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			// The member does not serve the About API, which every new connection looks for.
			about := r.StatusCode == http.StatusNotFound && strings.HasPrefix(r.Request.URL.Path, "/apis/about.k8s.io/")
			if r.StatusCode >= http.StatusBadRequest && !about {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.bad = append(w.bad, fmt.Sprintf("%s %s: %s", r.Request.Method, r.Request.URL.Path, r.Status))
			}
			return nil
		},
	}
	w.Server = httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		at := w.at
		w.mu.Unlock()
		if at != nil {
			at(r)
		}
		proxy.ServeHTTP(answer, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *way) when(at func(*http.Request)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = at
}

// faults are the answers with an error since the last call.
func (w *way) faults() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	bad := w.bad
	w.bad = nil
	return bad
}

// version is a credential as it was stored once.
type version struct {
	hash, replaced string
	access         *kubeconfig.Access
}

// history is what became of a member: every version of its credential and of its conditions.
type history struct {
	mu       sync.Mutex
	versions []version
	// untrue are the conditions that were not as they should be.
	untrue []string
	// writes are the versions of the MemberCluster.
	writes map[string]bool
	// lost says that a status was without a signing key.
	lost bool
}

func (h *history) stored() []version {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]version(nil), h.versions...)
}

func (h *history) add(t *testing.T, secret *corev1.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	data := secret.Data[v1alpha1.CredentialKey]
	sum := sha256.Sum256(data)
	v := version{hash: hex.EncodeToString(sum[:]), replaced: secret.Annotations[v1alpha1.AnnotationRenewed]}
	if n := len(h.versions); n > 0 && h.versions[n-1].hash == v.hash {
		return
	}
	var err error
	if v.access, err = kubeconfig.Parse(data, kubeconfig.OneContext); err != nil {
		t.Error(err)
	}
	h.versions = append(h.versions, v)
}

func (h *history) status(m *v1alpha1.MemberCluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range m.Status.Conditions {
		if c.Status != metav1.ConditionTrue || c.Reason == v1alpha1.ReasonCredentialRenewalFailed {
			h.untrue = append(h.untrue, c.Type+" "+c.Reason+": "+c.Message)
		}
	}
	if h.writes == nil {
		h.writes = map[string]bool{}
	}
	h.writes[m.ResourceVersion] = true
	h.lost = h.lost || len(m.Status.SigningKeys) == 0
}

// well fails the test if the member was not well since the last call.
func (h *history) well(t *testing.T, when string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.untrue) > 0 || h.lost {
		t.Errorf("%s: conditions %q; a signing key was lost: %v", when, h.untrue, h.lost)
	}
	h.untrue, h.lost, h.writes = nil, false, nil
}

// linear fails the test unless each version from the n-th on was made from the one before it: no writer wrote over another.
func (h *history) linear(t *testing.T, n int) {
	t.Helper()
	all := h.stored()
	for i := n; i < len(all); i++ {
		if all[i].replaced != all[i-1].hash {
			t.Errorf("version %d replaced %q, want %q", i, all[i].replaced, all[i-1].hash)
		}
		if begin, end := all[i].access.Life(); end.Sub(begin) != member.MinTokenLifetime {
			t.Errorf("version %d lives %s", i, end.Sub(begin))
		}
	}
}

// more waits until n more versions are stored, and gives the number of all.
func (h *history) more(t *testing.T, n int) int {
	t.Helper()
	began, now := len(h.stored()), 0
	env.Eventually(t, fmt.Sprintf("%d renewals", n), func(context.Context) error {
		if now = len(h.stored()); now < began+n {
			return fmt.Errorf("only %d", now-began)
		}
		return nil
	})
	return now
}

// renewing is a host whose manager renews often, and one member.
type renewing struct {
	*history
	*way
	manager *envhost.Manager
	host    *host.Cluster
	member  *member.Cluster
	client  kubernetes.Interface
}

func newRenewing(t *testing.T) *renewing {
	t.Helper()
	f := fleet(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r := &renewing{history: &history{}, way: newWay(t, f.Cluster("east"))}
	var err error
	r.manager, err = envhost.Make(t.Context(), f.Cluster("host"), flags...)
	must(err)
	t.Cleanup(r.manager.Close)
	r.host, err = host.Connect(f.Cluster("host").Config())
	must(err)
	r.member, err = member.Connect(f.Cluster("east").Config())
	must(err)
	r.client, err = kubernetes.NewForConfig(f.Cluster("host").Config())
	must(err)
	_, err = r.host.CreateFederation(t.Context(), &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, cluster.DryRunNone)
	must(err)
	secrets, err := r.client.CoreV1().Secrets(v1alpha1.CredentialsNamespace).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(),
	})
	must(err)
	t.Cleanup(secrets.Stop)
	go func() {
		for e := range secrets.ResultChan() {
			if s, ok := e.Object.(*corev1.Secret); ok {
				r.add(t, s)
			}
		}
	}()
	r.join(t)
	r.ready(t)
	return r
}

func (r *renewing) join(t *testing.T) {
	t.Helper()
	plan, err := federate.PlanJoin(t.Context(), r.host, r.member, federate.JoinOptions{
		Name: name, Federation: "prod", TokenLifetime: member.MinTokenLifetime,
		Server: r.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}),
	})
	if err == nil {
		_, err = plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// conditions are those of the member, in short.
func (r *renewing) conditions(ctx context.Context) (map[string]string, *v1alpha1.MemberCluster, error) {
	m, err := r.host.Member(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	got := map[string]string{}
	for _, c := range m.Status.Conditions {
		got[c.Type] = string(c.Status) + " " + c.Reason
	}
	return got, m, nil
}

// becomes waits for conditions.
func (r *renewing) becomes(t *testing.T, want map[string]string) *v1alpha1.MemberCluster {
	t.Helper()
	var m *v1alpha1.MemberCluster
	env.Eventually(t, "the conditions", func(ctx context.Context) (err error) {
		var got map[string]string
		if got, m, err = r.conditions(ctx); err == nil && !cmp.Equal(want, got) {
			err = errors.New(cmp.Diff(want, got))
		}
		return err
	})
	return m
}

func (r *renewing) ready(t *testing.T) *v1alpha1.MemberCluster {
	t.Helper()
	return r.becomes(t, map[string]string{
		v1alpha1.ConditionAccepted: "True Accepted", v1alpha1.ConditionReady: "True Reachable",
		v1alpha1.ConditionCredentialValid: "True CredentialStored", v1alpha1.ConditionGranted: "True Granted",
		v1alpha1.ConditionCompliant: "True RulesKept",
	})
}

// works tries a credential.
func works(ctx context.Context, a *kubeconfig.Access) error {
	c, err := kubernetes.NewForConfig(a.RESTConfig())
	if err != nil {
		return err
	}
	_, err = c.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	return err
}

// once calls f at the first request for which is is true, from now on.
func (r *renewing) once(is func(*http.Request) bool, f func()) <-chan struct{} {
	done := make(chan struct{})
	var first sync.Once
	r.when(func(q *http.Request) {
		if is(q) {
			first.Do(func() { f(); close(done) })
		}
	})
	return done
}

func isTokenRequest(q *http.Request) bool { return q.URL.Path == tokenPath }

// TestRenewal follows one member through renewals: as they should be, with a manager that is killed, with two managers, with a
// rotation, and with a right that is missing.
func TestRenewal(t *testing.T) {
	r := newRenewing(t)

	t.Run("ten without a failed probe", func(t *testing.T) {
		r.faults()
		watching, stop := context.WithCancel(t.Context())
		defer stop()
		var seen sync.WaitGroup
		seen.Go(func() {
			for watching.Err() == nil {
				if m, err := r.host.Member(watching, name); err == nil {
					r.status(m)
				}
			}
		})
		first := len(r.stored())
		n := r.more(t, 10)
		stop()
		seen.Wait()
		r.linear(t, n-10)
		// A renewal is one write of the status.
		if writes := len(r.writes); writes > 2*(n-first)+1 {
			t.Errorf("%d renewals took %d writes of the MemberCluster", n-first, writes)
		}
		r.well(t, "while it was renewed")
		if faults := r.faults(); len(faults) > 0 {
			t.Errorf("the member answered %q", faults)
		}
		m := r.ready(t)
		if len(m.Status.SigningKeys) != 1 {
			t.Errorf("signing keys %v", m.Status.SigningKeys)
		}
		// Credentials that were replaced work until they end: nothing is revoked under a request that is under way.
		all := r.stored()
		if err := works(t.Context(), all[len(all)-5].access); err != nil {
			t.Errorf("a credential that was replaced: %v", err)
		}
	})

	t.Run("killed", func(t *testing.T) {
		first := len(r.stored())
		var requested atomic.Bool
		for what, is := range map[string]func(*http.Request) bool{
			"when it requests a token": isTokenRequest,
			"when it tries the token": func(q *http.Request) bool {
				requested.Store(requested.Load() || isTokenRequest(q))
				return requested.Load() && q.URL.Path == "/api/v1/namespaces/kube-system"
			},
		} {
			killed := r.once(is, r.manager.Kill)
			select {
			case <-killed:
			case <-time.After(time.Minute):
				t.Fatalf("%s: it did not", what)
			}
			r.when(nil)
			all := r.stored()
			if err := works(t.Context(), all[len(all)-1].access); err != nil {
				t.Errorf("%s: what is stored: %v", what, err)
			}
			if err := r.manager.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.more(t, 1)
		}
		for range 3 { // as soon as one is stored
			r.more(t, 1)
			r.manager.Kill()
			if err := r.manager.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.more(t, 1)
		}
		r.linear(t, first)
		if m := r.ready(t); len(m.Status.SigningKeys) != 1 {
			t.Errorf("signing keys %v", m.Status.SigningKeys)
		}
	})

	t.Run("two managers", func(t *testing.T) {
		second, err := envhost.New(fleet(t).Cluster("host"), "")
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		second.Flags = flags
		first := len(r.stored())
		if err := second.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.more(t, 10)
		r.linear(t, first)
	})

	t.Run("rotated meanwhile", func(t *testing.T) {
		before := len(r.stored())
		plan, err := federate.PlanRotate(t.Context(), r.host, r.member, federate.RotateOptions{Name: name, TokenLifetime: member.MinTokenLifetime})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) }); err != nil {
			t.Fatal(err)
		}
		// From what the rotation stored on, one follows from the other, and that is what is renewed.
		at := 0
		for i, v := range r.stored()[before:] {
			if v.replaced == "" {
				at = before + i
			}
		}
		if at == 0 {
			t.Fatal("what the rotation stored is not among the versions")
		}
		r.more(t, 3)
		r.linear(t, at+1)
		r.ready(t)
		r.faults()
	})

	t.Run("those who read the inventory", r.consume)

	t.Run("a right is missing", func(t *testing.T) {
		east, err := kubernetes.NewForConfig(fleet(t).Cluster("east").Config())
		if err != nil {
			t.Fatal(err)
		}
		if err := east.RbacV1().RoleBindings(v1alpha1.MemberNamespace).Delete(t.Context(), "kubefederate-manager", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		m := r.becomes(t, map[string]string{
			v1alpha1.ConditionAccepted: "True Accepted", v1alpha1.ConditionReady: "True Reachable",
			v1alpha1.ConditionCredentialValid: "True CredentialRenewalFailed", v1alpha1.ConditionGranted: "False RenewalForbidden",
			v1alpha1.ConditionCompliant: "True RulesKept",
		})
		const want = `the manager may not renew its credential: create token of ServiceAccount kubefederate-member/kubefederate-manager: 403 Forbidden: ` +
			`serviceaccounts "kubefederate-manager" is forbidden: User "system:serviceaccount:kubefederate-member:kubefederate-manager" cannot create resource ` +
			`"serviceaccounts/token" in API group "" in the namespace "kubef…; ` +
			`restore the manager's permissions: kubectl federate join east --federation prod --member-context CONTEXT`
		if got := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionGranted).Message; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		env.Eventually(t, "the Event", func(ctx context.Context) error {
			list, err := r.client.EventsV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for i := range list.Items {
				if e := &list.Items[i]; e.Reason == "CredentialRenewalFailed" && e.Regarding.Kind == "MemberCluster" && e.Regarding.Name == name {
					return nil
				}
			}
			return errors.New("there is none")
		})
		n := len(r.stored())
		r.join(t)
		r.ready(t)
		r.more(t, 2)
		if all := r.stored(); all[n].replaced != "" {
			t.Errorf("what the join stored replaced %q", all[n].replaced)
		}
	})
}
