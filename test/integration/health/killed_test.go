//go:build unix

package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// replicas are two managers of which one leads, each with a way of its own to the host. A third one serves the webhook, and never leads.
type replicas struct {
	managers [2]*envhost.Manager
	hosts    *kubernetes.Clientset

	mu sync.Mutex
	// at is the write at which the leader meets its fate, counted from 1, and carried whether that write still happens.
	at      int
	carried bool
	fate    func(leader int)
	// met is closed then, with the leader and the write.
	met    chan struct{}
	leader int
	last   string
	// writes are those of each manager since next.
	writes [2][]string
}

// next begins another run.
func (r *replicas) next(at int, carried bool, fate func(leader int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.carried, r.fate, r.met, r.writes = at, carried, fate, make(chan struct{}), [2][]string{}
}

// written are the writes of a manager since next.
func (r *replicas) written(i int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.writes[i])
}

// isWrite says that a request writes what members are, or are published with.
func isWrite(r *http.Request) bool {
	kind := func(k string) bool { return strings.Contains(r.URL.Path, "/"+k) }
	return r.Method != http.MethodGet && (kind("memberclusters") || kind("federations") || kind("clusterprofiles") || kind("secrets"))
}

func (r *replicas) handle(i int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
		if !isWrite(q) {
			pass.ServeHTTP(w, q)
			return
		}
		r.mu.Lock()
		r.writes[i] = append(r.writes[i], q.Method+" "+q.URL.Path)
		now := len(r.writes[0])+len(r.writes[1]) == r.at
		if now {
			r.leader, r.last = i, q.Method+" "+q.URL.Path
			r.fate(i)
			close(r.met)
		}
		carried := r.carried || !now
		r.mu.Unlock()
		if !carried {
			panic(http.ErrAbortHandler)
		}
		pass.ServeHTTP(w, q)
	}
}

// holder is the identity of the manager that leads; empty for none.
func (r *replicas) holder(ctx context.Context) (string, error) {
	lease, err := r.hosts.CoordinationV1().Leases(v1alpha1.HostNamespace).Get(ctx, manifests.ManagerLease, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return "", err
	}
	return *lease.Spec.HolderIdentity, nil
}

// expire has the Lease of a leader that is dead end now: others would wait for fifteen seconds.
func (r *replicas) expire(ctx context.Context) error {
	patch := []byte(`{"spec":{"holderIdentity":""}}`)
	_, err := r.hosts.CoordinationV1().Leases(v1alpha1.HostNamespace).Patch(ctx, manifests.ManagerLease, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// newReplicas has the shared manager serve the webhook alone, to the end of the test, and starts two that lead in its place.
func newReplicas(t *testing.T) *replicas {
	t.Helper()
	c := enforcing(t)
	r := &replicas{hosts: clientOf(t, c), fate: func(int) {}}
	front := func(handle func(http.ResponseWriter, *http.Request, http.Handler)) *env.Front {
		t.Helper()
		f, err := c.Front(handle)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		return f
	}
	start := func(m *envhost.Manager, steps ...func(context.Context) error) {
		t.Helper()
		for _, step := range append([]func(context.Context) error{m.Start}, steps...) {
			if err := step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	ways := [2]*env.Front{front(r.handle(0)), front(r.handle(1))}
	manager.Stop()
	manager.Config = front(func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
		if q.Method != http.MethodGet && strings.HasSuffix(q.URL.Path, "/leases/"+manifests.ManagerLease) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		pass.ServeHTTP(w, q)
	}).Config
	start(manager, manager.Wait)
	t.Cleanup(func() {
		for _, m := range r.managers {
			if m != nil {
				m.Close()
			}
		}
		manager.Stop()
		manager.Config = nil
		if err := errors.Join(manager.Start(context.WithoutCancel(t.Context())), manager.Wait(context.WithoutCancel(t.Context()))); err != nil {
			t.Error(err)
		}
	})
	for i := range r.managers {
		m, err := envhost.New(c, "")
		if err != nil {
			t.Fatal(err)
		}
		m.Flags, m.Config = manager.Flags, ways[i].Config
		r.managers[i] = m
		start(m)
	}
	return r
}

// state is what the host holds of member east and its federation, without what differs from one membership to the next.
type state struct {
	Member     *v1alpha1.MemberClusterStatus
	Federation v1alpha1.FederationStatus
	Profile    *clusterinventory.ClusterProfile
	Credential map[string]string
	Secret     *corev1.Secret
}

const killed = "killed"

// stateOf reads it.
func stateOf(ctx context.Context, w client.Client) (s state, err error) {
	var (
		f          v1alpha1.Federation
		m          v1alpha1.MemberCluster
		p          clusterinventory.ClusterProfile
		credential corev1.Secret
		secret     corev1.Secret
	)
	there := func(namespace, name string, o client.Object) bool {
		e := w.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
		err = errors.Join(err, client.IgnoreNotFound(e))
		return e == nil
	}
	plain := func(conditions []metav1.Condition) {
		for i := range conditions {
			conditions[i].LastTransitionTime, conditions[i].ObservedGeneration = metav1.Time{}, 0
		}
		slices.SortFunc(conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
	}
	unowned := func(o client.Object) {
		for _, owner := range o.GetOwnerReferences() {
			if owner.UID != m.UID {
				err = errors.Join(err, fmt.Errorf("%s has the owner %s", o.GetName(), owner.UID))
			}
		}
		labels := o.GetLabels()
		*o.(metav1.ObjectMetaAccessor).GetObjectMeta().(*metav1.ObjectMeta) = metav1.ObjectMeta{Labels: labels}
	}
	if there("", killed, &f) {
		f.Status.Inventory.UIDs = nil
		plain(f.Status.Conditions)
		s.Federation = f.Status
	}
	if there("", "east", &m) {
		if m.Status.AcceptedTime == nil || m.Status.LastProbeTime == nil || m.Status.CredentialExpiry == nil {
			err = errors.Join(err, errors.New("the status has no times"))
		}
		status := m.Status.DeepCopy()
		status.AcceptedTime, status.LastProbeTime, status.CredentialExpiry, status.ObservedCredential, status.ObservedGeneration = nil, nil, nil, "", 0
		plain(status.Conditions)
		s.Member = status
	}
	if there("killed-fleet", "east", &p) {
		unowned(&p)
		plain(p.Status.Conditions)
		s.Profile = &p
	}
	if there(v1alpha1.CredentialsNamespace, "east", &credential) {
		s.Credential = credential.Labels
	}
	if there("killed-credentials", "east", &secret) {
		if len(secret.Data[v1alpha1.CredentialKey]) == 0 {
			err = errors.Join(err, errors.New("the consumers' Secret is empty"))
		}
		unowned(&secret)
		secret.Data = nil
		s.Secret = &secret
	}
	return s, err
}

// membership plays a join, up to its publication, and a leave.
type membership struct {
	admin client.Client
	join  func(t *testing.T)
	leave func(t *testing.T)
	// joined and left are how it ends, when nothing disturbs it.
	joined, left state
}

// becomes waits until the host holds what it should.
func (m *membership) becomes(t *testing.T, what string, want state) {
	t.Helper()
	env.Eventually(t, what, func(ctx context.Context) error {
		got, err := stateOf(ctx, m.admin)
		if err == nil && !cmp.Equal(want, got) {
			err = errors.New(cmp.Diff(want, got))
		}
		return err
	})
}

func newMembership(t *testing.T) *membership {
	t.Helper()
	c := enforcing(t)
	h, east := connect(t, fleet(t).Cluster("east"))
	m := &membership{
		admin: administrator(t, c),
		join: func(t *testing.T) {
			t.Helper()
			join(t, h, east, federate.JoinOptions{Name: "east", Federation: killed})
		},
		leave: func(t *testing.T) { t.Helper(); unjoin(t, h, east, "east") },
	}
	if err := clusterinventory.AddToScheme(m.admin.Scheme()); err != nil {
		t.Fatal(err)
	}
	stop, err := envhost.ServeProfiles(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for name, label := range map[string]string{"killed-fleet": v1alpha1.LabelInventory, "killed-credentials": v1alpha1.LabelInventoryCredentials} {
		create(t, m.admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: killed}}})
	}
	create(t, m.admin, append(manifests.InventoryBinding("killed-fleet"), manifests.CredentialsBinding("killed-credentials")...)...)
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: killed}}
	f.Spec.Inventory = &v1alpha1.Inventory{Namespaces: []string{"killed-fleet"}, CredentialsNamespace: "killed-credentials"}
	f.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
	create(t, m.admin, f)
	t.Cleanup(func() {
		if err := m.admin.Delete(context.WithoutCancel(t.Context()), f); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})

	m.join(t)
	becomes(t, h, "east", answers)
	env.Eventually(t, "the member is published", func(ctx context.Context) (err error) {
		m.joined, err = stateOf(ctx, m.admin)
		switch {
		case err != nil:
		case m.joined.Profile == nil || m.joined.Secret == nil || len(m.joined.Profile.Status.AccessProviders) != 1 || m.joined.Federation.Ready != 1:
			err = fmt.Errorf("%+v", m.joined)
		case !slices.ContainsFunc(m.joined.Member.Conditions, func(c metav1.Condition) bool {
			return c.Type == v1alpha1.ConditionPublished && c.Status == metav1.ConditionTrue
		}):
			err = fmt.Errorf("%+v", m.joined.Member.Conditions)
		}
		return err
	})
	m.leave(t)
	env.Eventually(t, "nothing of the member is left", func(ctx context.Context) (err error) {
		m.left, err = stateOf(ctx, m.admin)
		if err == nil && (m.left.Member != nil || m.left.Profile != nil || m.left.Credential != nil || m.left.Secret != nil || m.left.Federation.Members != 0) {
			err = fmt.Errorf("%+v", m.left)
		}
		return err
	})
	return m
}

// TestLeaderEnds ends the leader of two managers during a membership, from the join to the leave: the other one takes over, and all ends as
// it does when nothing is disturbed.
func TestLeaderEnds(t *testing.T) {
	r := newReplicas(t)
	m := newMembership(t)
	t.Run("killed", func(t *testing.T) { r.kill(t, m) })
	t.Run("stopped", func(t *testing.T) {
		env.Full(t, "it waits until the other one leads")
		r.stop(t, m)
	})
}

// kill kills the leader at each write, with the write done or not.
func (r *replicas) kill(t *testing.T, m *membership) {
	writes := len(r.written(0)) + len(r.written(1))
	t.Logf("an undisturbed membership takes %d writes:\n%s", writes, strings.Join(slices.Concat(r.written(0), r.written(1)), "\n"))
	var at []string
	step := env.InTier(1, max(1, writes/4), max(1, writes/2))
	for n, carried := 1, true; n <= writes; n, carried = n+step, !carried {
		r.next(n, carried, func(leader int) { r.managers[leader].Kill() })
		expired, met := make(chan error, 1), r.met
		go func() {
			select {
			case <-met:
				expired <- r.expire(t.Context())
			case <-t.Context().Done():
			}
		}()
		m.join(t)
		m.becomes(t, "the member that joined", m.joined)
		m.leave(t)
		m.becomes(t, "what is left", m.left)
		select {
		case <-met:
		default:
			continue // it takes some more writes, or less, from one time to the next
		}
		if err := <-expired; err != nil {
			t.Fatal(err)
		}
		at = append(at, fmt.Sprintf("%s (done: %v)", r.last, carried))
		if err := r.managers[r.leader].Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(at) < env.InTier(10, 3, 2) {
		t.Errorf("the leader was killed at %d writes only, of %d", len(at), writes)
	}
	t.Logf("killed at:\n%s", strings.Join(at, "\n"))
}

// stop has the leader stand still at a write until the other one leads, and go on then: it writes nothing more, and ends.
func (r *replicas) stop(t *testing.T, m *membership) {
	first, err := r.holder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.next(3, true, func(leader int) {
		if err := r.managers[leader].Pause(); err != nil {
			t.Error(err)
		}
	})
	m.join(t)
	select {
	case <-r.met:
	case <-time.After(2 * time.Minute):
		t.Fatal("a join makes less than three writes")
	}
	env.Eventually(t, "another leader", func(ctx context.Context) error {
		now, err := r.holder(ctx)
		if err == nil && now == first {
			err = fmt.Errorf("%s leads still", now)
		}
		return err
	})
	m.becomes(t, "the member that joined", m.joined)
	before := r.written(r.leader)
	if err := r.managers[r.leader].Resume(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	env.Eventually(t, "the former leader ends", func(context.Context) error {
		if r.managers[r.leader].Running() {
			return errors.New("it runs")
		}
		return nil
	})
	t.Logf("it ended after %s", time.Since(began).Round(time.Millisecond))
	if now := r.written(r.leader); len(now) > len(before) {
		t.Errorf("the former leader still writes:\n%s", strings.Join(now[len(before):], "\n"))
	}
	m.leave(t)
	m.becomes(t, "what is left", m.left)
}
