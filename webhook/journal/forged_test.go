package journal

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// TestNeverSeen holds that what was admitted and never comes ends after Patience and is counted, and what came, or was given
// up, is not counted.
func TestNeverSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHost()
		h.Set(federation("5", v1alpha1.Limit{Max: 1000}))
		j := New(Options{Host: h, Client: &shelf{}})
		j.store = &memory{}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { j.Start(ctx) })
		synctest.Wait()
		// Two forged ones have the UIDs of other objects.
		a := member("a", "1", "7")
		for _, m := range []*v1alpha1.MemberCluster{a, member("ghost", "1", ""), member("ghost-2", "prod-1", "")} {
			if v, err := j.Decide(t.Context(), create(m)); err != nil || len(v.Refusals) > 0 {
				t.Fatal(v, err)
			}
		}
		h.Set(a)
		gone := create(member("given-up", "4", ""))
		if answered := j.submit(t.Context(), gone, mode{}); answered.err != nil {
			t.Fatal(answered.err)
		}
		for _, o := range j.core.observations(func(o *observation) bool { return o.Name == "given-up" }) {
			j.core.withdraw(o.Request)
		}
		time.Sleep(Patience - 5*time.Second)
		if got := testutil.ToFloat64(j.metrics.neverSeen); got != 0 {
			t.Errorf("%v were not seen before their time was over", got)
		}
		time.Sleep(10 * time.Second)
		if got := testutil.ToFloat64(j.metrics.neverSeen); got != 2 {
			t.Errorf("%v were not seen", got)
		}
		stop()
		running.Wait()
		if n := len(j.state.Entries); n > 0 || testutil.ToFloat64(j.metrics.bytes) != 0 {
			t.Errorf("%d entries are left", n)
		}
		h.Set(labeled(member("a", "1", "9"), "zone", "b"))
		h.Set(federation("8"))
		if diff := cmp.Diff([]string{"a"}, membersOf(h)); diff != "" || h.object(named{Member, "a"}).GetResourceVersion() != "9" || h.object(named{Federation, "prod"}).GetResourceVersion() != "8" {
			t.Errorf("what the forged reviews claimed is known of the objects that are there: %s", diff)
		}
	})
}

// TestManyNeverSeen holds that hundreds of entries which end at one time hold up no decision.
func TestManyNeverSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHost()
		h.Set(federation("5", v1alpha1.Limit{Max: 10_000}))
		j := New(Options{Host: h, Client: slow{&shelf{}, 20 * time.Millisecond}})
		store := &memory{}
		j.store = store
		for n := range 300 {
			store.State = store.with(entryOf(t, create(member(fmt.Sprint("ghost-", n), types.UID(fmt.Sprint(n)), ""))))
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { j.Start(ctx) })
		end := time.Now().Add(Patience + 10*time.Second)
		for n := 0; time.Now().Before(end); n++ {
			began := time.Now()
			if v, err := j.Decide(t.Context(), create(member(fmt.Sprint("real-", n), types.UID(fmt.Sprint("r", n)), ""))); err != nil || len(v.Refusals) > 0 {
				t.Fatal(v, err)
			}
			if took := time.Since(began); took > 500*time.Millisecond {
				t.Errorf("a decision took %s", took)
			}
			h.Set(member(fmt.Sprint("real-", n), types.UID(fmt.Sprint("r", n)), fmt.Sprint(10+n)))
			time.Sleep(time.Second / 2)
		}
		stop()
		running.Wait()
		if got := testutil.ToFloat64(j.metrics.neverSeen); got != 300 {
			t.Errorf("%v ended", got)
		}
	})
}

// slow is an API server that takes its time for a read.
type slow struct {
	client.Client
	takes time.Duration
}

func (s slow) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	time.Sleep(s.takes)
	return s.Client.Get(ctx, key, o, options...)
}

// TestImplausibleEntries holds that what no API server would send takes no place.
func TestImplausibleEntries(t *testing.T) {
	t.Parallel()
	zone := v1alpha1.Limit{PerLabel: "zone", Max: 5}
	for name, change := range map[string]func(*v1alpha1.MemberCluster){
		"name":       func(m *v1alpha1.MemberCluster) { m.Name = strings.Repeat("a", 254) },
		"UID":        func(m *v1alpha1.MemberCluster) { m.UID = types.UID(strings.Repeat("a", 37)) },
		"cluster ID": func(m *v1alpha1.MemberCluster) { m.Spec.ClusterID = strings.Repeat("a", 64) },
		"label":      func(m *v1alpha1.MemberCluster) { m.Labels["zone"] = strings.Repeat("a", 64) },
	} {
		m := labeled(member("a", "1", ""), "zone", "b")
		good := entryOf(t, create(m), zone)
		change(m)
		bad := entryOf(t, create(m), zone)
		u := usageOf(State{})
		if err := u.add(&bad); err == nil || !apierrors.IsRequestEntityTooLargeError(err) || u.total > 0 {
			t.Errorf("a long %s: %v", name, err)
		}
		if err := u.add(&good); err != nil {
			t.Errorf("before: %v", err)
		}
	}
}

// TestWriteRate holds that a full journal is not written as fast as the API server takes it: etcd keeps every version of some
// minutes.
func TestWriteRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		written := &sizes{}
		s := newConfigMap(written)
		s.last = &corev1.ConfigMap{}
		full := State{Replicas: []string{strings.Repeat("x", maxSize)}}
		began := time.Now()
		for time.Since(began) < time.Minute {
			if _, err := s.write(t.Context(), full, ""); err != nil {
				t.Fatal(err)
			}
		}
		if written.bytes > 130<<20 {
			t.Errorf("%d bytes were written in a minute", written.bytes)
		}
		time.Sleep(time.Minute)
		// What honest clients write waits for nothing.
		began = time.Now()
		for range 100 {
			if _, err := s.write(t.Context(), State{Replicas: []string{strings.Repeat("x", 50_000)}}, ""); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("a hundred small ones took %s", took)
		}
	})
}

// sizes counts what is written.
type sizes struct {
	client.Client
	bytes int
}

func (s *sizes) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	s.bytes += len(o.(*corev1.ConfigMap).Data[dataKey])
	return nil
}

// TestManyChangesOfRules holds that changes of a large federation's rules, as a forger may send without end, hold up no member.
func TestManyChangesOfRules(t *testing.T) {
	t.Parallel()
	h := NewHost()
	f := federation("5")
	for i := range 5 {
		f.Spec.Rules = append(f.Spec.Rules, v1alpha1.Rule{Name: fmt.Sprint("r", i), Expression: fmt.Sprintf(`cluster.name != "%d"`, i)})
	}
	h.Set(f)
	other := federation("6")
	other.Name, other.UID = "other", "other-1"
	h.Set(other)
	for i := range 1000 {
		h.Set(member(fmt.Sprint("m-", i), types.UID(fmt.Sprint(i)), fmt.Sprint(10+i)))
	}
	j := New(Options{Host: h, Client: &shelf{}})
	j.store = &memory{}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { j.Start(ctx) })
	flood, end := context.WithCancel(t.Context())
	for i := range 200 {
		running.Go(func() {
			after := f.DeepCopy()
			for n := range after.Spec.Rules {
				after.Spec.Rules[n].Expression = fmt.Sprintf(`cluster.name != "%d-%d"`, i, n)
			}
			_, _ = j.Decide(flood, Request{Federation: &rules.FederationChange{Old: f, New: after}, DryRun: i%2 == 0})
		})
	}
	time.Sleep(100 * time.Millisecond) // so that some are under way
	var longest time.Duration
	for i := range 10 {
		m := member(fmt.Sprint("joins-", i), types.UID(fmt.Sprint("j", i)), "")
		m.Labels[v1alpha1.LabelFederation] = "other"
		began := time.Now()
		if v, err := j.Decide(t.Context(), create(m)); err != nil || len(v.Refusals) > 0 {
			t.Fatal(v, err)
		}
		longest = max(longest, time.Since(began))
	}
	end()
	stop()
	running.Wait()
	if longest > 2*time.Second {
		t.Errorf("a member waited %s", longest)
	}
	t.Logf("a member waited %s at most", longest)
}
