//go:build unix

package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// breaker fails one request of a controller: with status 500, which is not carried out, or after it was carried out, without an answer.
type breaker struct {
	mu sync.Mutex
	// counts says which requests are counted. at is the one that fails, from 1 on, and seen how many there were.
	counts   func(*http.Request) bool
	at, seen int
	lost     bool
	// hit is the request that failed; empty until then.
	hit string
}

// next fails the request at a position from now on, of those that counts is true for.
func (b *breaker) next(at int, lost bool, counts func(*http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at, b.seen, b.lost, b.counts, b.hit = at, 0, lost, counts, ""
}

func (b *breaker) failed() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hit
}

func (b *breaker) handle(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	b.mu.Lock()
	now := false
	if b.counts != nil && b.counts(r) {
		b.seen++
		if now = b.seen == b.at; now {
			b.hit = r.Method + " " + r.URL.Path
		}
	}
	lost := b.lost
	b.mu.Unlock()
	switch {
	case !now:
		pass.ServeHTTP(w, r)
	case lost:
		pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		internalError(w)
	}
}

func internalError(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "InternalError", "message": "injected", "code": 500}`)
}

// TestFaults fails each request of a join, to the host and to the member, once. In the end the cluster is one member, and there is what a
// join without a fault leaves, on both sides.
func TestFaults(t *testing.T) {
	env.Full(t, "it fails requests one after another")
	l := start(t)
	f := &faults{lab: l, fed: "faults", ns: "team-faults", host: &breaker{}, member: &breaker{}}
	l.through(t, f.host.handle)
	l.make(t, namespace(f.ns))
	l.federation(t, f.fed, v1alpha1.Discovery{Sources: []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{f.ns}}}})
	l.grant(t, discovers(f.fed), manifests.DiscoveryNamespaceBinding(f.ns))
	f.cluster = add(t, env.Spec{Name: "faults"})
	admin, err := client.New(f.cluster.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), namespace(v1alpha1.MemberNamespace)); err != nil {
		t.Fatal(err) // Kubernetes would need seconds to end one that a join has made
	}
	f.kubeconfig = kubeconfigAt(t, front(t, f.cluster, f.member.handle))
	clean := f.join(t, "clean")
	f.remove(t, "clean")

	var hit []string
	for _, side := range []struct {
		name    string
		breaker *breaker
		step    int
	}{{"host", f.host, env.InTier(1, 6, 6)}, {"member", f.member, env.InTier(1, 12, 12)}} {
		for n := 0; ; n++ {
			at := 1 + n*side.step
			name := fmt.Sprintf("%s-%d", side.name, at)
			side.breaker.next(at, n%2 == 1, f.counts(name))
			left := f.join(t, name)
			f.remove(t, name)
			failed := side.breaker.failed()
			if failed == "" {
				break
			}
			if diff := cmp.Diff(clean, left); diff != "" {
				t.Errorf("after %s failed: (-without a fault +now)\n%s", failed, diff)
			}
			hit = append(hit, fmt.Sprintf("%s: %s", side.name, failed))
		}
		side.breaker.next(0, false, nil)
	}
	t.Logf("failed:\n%s", strings.Join(hit, "\n"))
	for side, least := range map[string]int{"host: ": env.InTier(8, 2, 2), "member: ": env.InTier(40, 4, 2)} {
		if n := strings.Count(strings.Join(hit, "\n"), side); n < least {
			t.Errorf("%s%d requests failed only", side, n)
		}
	}
}

// faults is a cluster that joins again and again.
type faults struct {
	*lab
	fed, ns      string
	host, member *breaker
	cluster      *env.Cluster
	kubeconfig   string
	// before is what the member held before a join.
	before env.Objects
}

// counts says which requests of the controller are for a join of the object: of those to the host, those that name it or are for all objects
// of its namespace. What asks for rights, watches, or writes Events goes on beside it.
func (f *faults) counts(name string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		path := r.URL.Path
		if !strings.HasPrefix(r.UserAgent(), "kubectl-federate/") && !strings.HasPrefix(r.UserAgent(), "kubefederate-discovery/") ||
			r.URL.Query().Has("watch") || strings.Contains(path, "reviews") || strings.HasSuffix(path, "/events") {
			return false
		}
		if strings.HasPrefix(r.UserAgent(), "kubectl-federate/") && r.Header.Get("Authorization") == "Bearer front" {
			return true
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return strings.Contains(path, name) || strings.Contains(path, f.ns) || bytes.Contains(body, []byte(name))
	}
}

// join makes an object that asks for the cluster, waits until it has joined, and gives what that has left on both sides.
func (f *faults) join(t *testing.T, name string) []string {
	t.Helper()
	var err error
	if f.before, err = f.cluster.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	hosts, err := fleet(t).Cluster("host").Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := f.object(name)
	f.make(t, secret(f.ns, name+"-kubeconfig", nil, map[string]string{"value": f.kubeconfig}), o)
	want := []string{fmt.Sprintf("%s by ClusterAPI %s/%s: Pending", name, f.ns, name)}
	touched := time.Now()
	env.Eventually(t, name+" joins", func(ctx context.Context) error {
		got, err := f.members(ctx, f.fed)
		if err == nil && len(got) > 1 {
			t.Fatalf("members: %q", got)
		}
		if err != nil || slices.Equal(got, want) {
			return err
		}
		if time.Since(touched) > 3*time.Second {
			touched = time.Now()
			patch := fmt.Sprintf(`{"metadata":{"labels":{"tried":"%d"}}}`, touched.Unix()) // a change has it tried again at once
			if err := f.Patch(ctx, o.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
				return err
			}
		}
		return fmt.Errorf("members %q, after %s %s failed", got, f.host.failed(), f.member.failed())
	})
	f.reports(t, f.fed, "1 1 0")
	return append(added(t, f.cluster, f.before, name), added(t, fleet(t).Cluster("host"), hosts, name)...)
}

func (f *faults) object(name string) *unstructured.Unstructured {
	return object("cluster.x-k8s.io/v1beta2", "Cluster", f.ns, name, asks(f.fed), nil)
}

// added are the objects that a cluster has more than before, without the name of the member.
func added(t *testing.T, c *env.Cluster, before env.Objects, name string) (keys []string) {
	t.Helper()
	now, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range now {
		if _, was := before[key]; !was {
			keys = append(keys, c.Name+": "+strings.ReplaceAll(key, name, "NAME"))
		}
	}
	slices.Sort(keys)
	return keys
}

// remove takes away the object, the member, and all that a join has made.
func (f *faults) remove(t *testing.T, name string) {
	t.Helper()
	member := &v1alpha1.MemberCluster{ObjectMeta: metaOf(name)}
	for _, o := range []client.Object{f.object(name), secret(f.ns, name+"-kubeconfig", nil, nil), member} {
		if err := f.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	env.Eventually(t, "nothing of the member is on the host", func(ctx context.Context) error {
		for _, o := range []client.Object{member, &corev1.Secret{}} {
			key := client.ObjectKey{Name: name}
			if o != member {
				key.Namespace = v1alpha1.CredentialsNamespace
			}
			if err := f.Get(ctx, key, o); client.IgnoreNotFound(err) != nil || err == nil {
				return errors.Join(err, fmt.Errorf("%T %s is there", o, name))
			}
		}
		return nil
	})
	f.reports(t, f.fed, "0 0 0")
	now, err := f.cluster.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	members, err := client.New(f.cluster.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for key, content := range now {
		if _, was := f.before[key]; was {
			continue
		}
		if err := members.Delete(t.Context(), &unstructured.Unstructured{Object: content}); client.IgnoreNotFound(err) != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
}
