//go:build unix

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// replicas is a host of its own whose webhook is served by two managers, in turn.
type replicas struct {
	*env.Cluster
	managers [2]*envhost.Manager
	admin    client.Client
}

func twoReplicas(t *testing.T, name string) replicas {
	t.Helper()
	c, err := fleet(t).Add(t.Context(), env.Spec{Name: name})
	must(t, err)
	t.Cleanup(c.Stop)
	r := replicas{Cluster: c}
	for i := range r.managers {
		r.managers[i], err = envhost.New(c, "")
		must(t, err)
		t.Cleanup(r.managers[i].Close)
	}
	b, err := envhost.Balance(r.managers[:]...)
	must(t, err)
	t.Cleanup(b.Close)
	r.managers[0].URL = b.URL
	must(t, r.managers[0].Install(t.Context()))
	for _, m := range r.managers {
		must(t, m.Start(t.Context()))
	}
	must(t, r.managers[0].Wait(t.Context()))
	r.admin, _ = as(t, c.Config())
	return r
}

// rounds is how often a race is run.
func rounds() int { return env.Rounds(20) }

// together sends requests at one time and gives their answers.
func together(n int, request func(i int) error) []error {
	start, errs := make(chan struct{}), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = request(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// gaveUp says that the API server waited in vain for an answer, as on a machine that is out of breath. It then refuses
// what the webhook was about to admit, which holds its place for a while.
func gaveUp(errs []error) bool {
	return slices.ContainsFunc(errs, func(err error) bool {
		return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
	})
}

// after lets time pass where a race is to be won by the other side now and then; no check rests on it.
func after(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

func (r replicas) members(t *testing.T, federation string) []v1alpha1.MemberCluster {
	t.Helper()
	var list v1alpha1.MemberClusterList
	must(t, r.admin.List(t.Context(), &list, client.MatchingLabels{v1alpha1.LabelFederation: federation}))
	return list.Items
}

// journal is the entries of the journal.
func (r replicas) journal(t *testing.T) string {
	t.Helper()
	var m corev1.ConfigMap
	must(t, r.admin.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.Journal}, &m))
	var state struct{ Entries json.RawMessage }
	must(t, json.Unmarshal([]byte(m.Data["journal"]), &state))
	return string(state.Entries)
}

func (r replicas) emptied(t *testing.T) {
	t.Helper()
	eventually(t, "an empty journal", func() error {
		if j := r.journal(t); j != "null" {
			return fmt.Errorf("the journal holds %s", j)
		}
		return nil
	})
}

// TestRaces holds what two replicas admit at one time.
func TestRaces(t *testing.T) {
	r := twoReplicas(t, "race")
	const requests = 50

	t.Run("one identity", func(t *testing.T) {
		must(t, r.admin.Create(t.Context(), fed("identity")))
		unanswered := 0
		for round := range rounds() {
			id := fmt.Sprintf("id-%d", round)
			errs := together(requests, func(i int) error {
				m := member(fmt.Sprintf("identity-%d-%d", round, i), "identity")
				m.Spec.ClusterID = id
				m.Annotations = map[string]string{v1alpha1.AnnotationAttempt: "joins"} // one text, whether the winner was read or not
				return r.admin.Create(t.Context(), m)
			})
			winner := slices.Index(errs, nil)
			if winner < 0 && gaveUp(errs) && unanswered < 2 {
				unanswered++
				continue
			}
			if winner < 0 {
				t.Fatalf("round %d: no request was admitted: %v", round, errors.Join(errs...))
			}
			for i, err := range errs {
				if i == winner {
					continue
				}
				want := fmt.Sprintf(`422 admission webhook "memberclusters.kubefederate.io" denied the request: MemberCluster.kubefederate.io "identity-%d-%d" is invalid: spec.clusterID: Duplicate value: "%s": this cluster is already member "identity-%d-%d" of federation "identity"; let it leave first: kubectl federate unjoin identity-%d-%d`,
					round, i, id, round, winner, round, winner)
				if got := text(err); got != want {
					t.Errorf("round %d:\ngot  %s\nwant %s", round, got, want)
				}
			}
			if n := len(r.members(t, "identity")); n != round+1 {
				t.Fatalf("round %d: %d members", round, n)
			}
		}
	})

	for name, limit := range map[string]v1alpha1.Limit{"max": {Max: 10}, "per-label": {PerLabel: "zone", Max: 10}} {
		t.Run(name, func(t *testing.T) {
			for round := range rounds() {
				f := fed(fmt.Sprintf("%s-%d", name, round))
				f.Spec.Limits = []v1alpha1.Limit{limit}
				must(t, r.admin.Create(t.Context(), f))
				errs := together(requests, func(i int) error {
					m := member(fmt.Sprintf("%s-%d", f.Name, i), f.Name)
					m.Labels["zone"] = "a"
					return r.admin.Create(t.Context(), m)
				})
				admitted := 0
				for i, err := range errs {
					path, with := "kubefederate.io/federation", ""
					if limit.PerLabel != "" {
						path, with = "zone", " with zone=a"
					}
					want := fmt.Sprintf(`422 admission webhook "memberclusters.kubefederate.io" denied the request: MemberCluster.kubefederate.io "%s-%d" is invalid: metadata.labels[%s]: Forbidden: federation "%s" has 10 members%s and takes at most 10`,
						f.Name, i, path, f.Name, with)
					switch got := text(err); got {
					case "":
						admitted++
					case want:
					default:
						t.Errorf("round %d:\ngot  %s\nwant %s", round, got, want)
					}
				}
				if n := len(r.members(t, f.Name)); n != 10 || admitted != 10 {
					t.Fatalf("round %d: %d members, %d admitted", round, n, admitted)
				}
			}
		})
	}

	t.Run("moves between limits", func(t *testing.T) {
		for round := range rounds() {
			f := fed(fmt.Sprintf("move-%d", round))
			f.Spec.Limits = []v1alpha1.Limit{{PerLabel: "zone", Max: 3}}
			must(t, r.admin.Create(t.Context(), f))
			for i := range 10 {
				must(t, r.admin.Create(t.Context(), member(fmt.Sprintf("%s-%d", f.Name, i), f.Name)))
			}
			errs := together(10, func(i int) error {
				return r.admin.Patch(t.Context(), member(fmt.Sprintf("%s-%d", f.Name, i), f.Name),
					client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"zone":"a"}}}`)))
			})
			moved := 0
			for _, m := range r.members(t, f.Name) {
				if m.Labels["zone"] == "a" {
					moved++
				}
			}
			if moved != 3 {
				t.Fatalf("round %d: %d members moved: %v", round, moved, errs)
			}
		}
	})

	t.Run("a federation that goes", func(t *testing.T) {
		gone := 0
		for round := range 2 * rounds() {
			f := fed(fmt.Sprintf("goes-%d", round))
			must(t, r.admin.Create(t.Context(), f))
			errs := together(4, func(i int) error {
				if i == round%4 {
					return r.admin.Delete(t.Context(), f)
				}
				// Otherwise the members win nearly always: the other request asks about all of them.
				after(t, rand.N(25*time.Millisecond))
				return r.admin.Create(t.Context(), member(fmt.Sprintf("%s-%d", f.Name, i), f.Name))
			})
			members := r.members(t, f.Name)
			err := r.admin.Get(t.Context(), client.ObjectKeyFromObject(f), f)
			if apierrors.IsNotFound(err) {
				gone++
			}
			if err != nil && len(members) > 0 || err == nil && len(members) == 0 {
				t.Fatalf("round %d: %v, %d members: %v", round, err, len(members), errs)
			}
		}
		t.Logf("%d of %d federations went", gone, 2*rounds())
	})

	t.Run("a federation that tightens", func(t *testing.T) {
		tightened := 0
		for round := range 2 * rounds() {
			f := fed(fmt.Sprintf("tight-%d", round))
			must(t, r.admin.Create(t.Context(), f))
			errs := together(4, func(i int) error {
				if i == round%4 {
					return r.admin.Patch(t.Context(), f.DeepCopy(), client.RawPatch(types.MergePatchType,
						[]byte(`{"spec":{"labels":[{"key":"team","required":true}]}}`)))
				}
				// Otherwise the members win nearly always: the other request asks about all of them.
				after(t, rand.N(25*time.Millisecond))
				return r.admin.Create(t.Context(), member(fmt.Sprintf("%s-%d", f.Name, i), f.Name))
			})
			members := r.members(t, f.Name)
			must(t, r.admin.Get(t.Context(), client.ObjectKeyFromObject(f), f))
			if len(f.Spec.Labels) > 0 {
				tightened++
			}
			if (len(f.Spec.Labels) > 0) == (len(members) > 0) {
				t.Fatalf("round %d: rules %v, %d members: %v", round, f.Spec.Labels, len(members), errs)
			}
		}
		t.Logf("%d of %d federations tightened", tightened, 2*rounds())
	})

	t.Run("leave and join at once", func(t *testing.T) {
		must(t, r.admin.Create(t.Context(), fed("leave")))
		for i := range 10 * rounds() {
			m := member(fmt.Sprintf("leave-%d", i), "leave")
			m.Spec.ClusterID = "id-leaves"
			must(t, r.admin.Create(t.Context(), m))
			must(t, r.admin.Delete(t.Context(), m))
		}
	})

	t.Run("leave what is full and join at once", func(t *testing.T) {
		f := fed("full")
		f.Spec.Limits = []v1alpha1.Limit{{Max: 3}, {PerLabel: "zone", Max: 1}}
		must(t, r.admin.Create(t.Context(), f))
		zoned := func(i int) *v1alpha1.MemberCluster {
			m := member(fmt.Sprintf("full-%d", i), "full")
			m.Labels["zone"] = "a"
			return m
		}
		unzone := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"zone":null}}}`))
		must(t, r.admin.Create(t.Context(), zoned(0)))
		// A list confirms each refusal, and there is one a second.
		for i := range 2 * rounds() {
			if i >= 2 {
				must(t, r.admin.Delete(t.Context(), zoned(i-2)))
			}
			must(t, r.admin.Patch(t.Context(), zoned(i), unzone))
			must(t, r.admin.Create(t.Context(), zoned(i+1)))
			// Negative control: it is full.
			if err := r.admin.Create(t.Context(), zoned(-1)); !apierrors.IsInvalid(err) {
				t.Fatalf("round %d: %v", i, err)
			}
		}
	})

	t.Run("one name, and at once another", func(t *testing.T) {
		must(t, r.admin.Create(t.Context(), fed("name")))
		for round := range rounds() {
			m := member(fmt.Sprintf("name-%d", round), "name")
			m.Spec.ClusterID = "id-named"
			errs := together(10, func(int) error { return r.admin.Create(t.Context(), m.DeepCopy()) })
			created := 0
			for _, err := range errs {
				switch {
				case err == nil:
					created++
				case !apierrors.IsAlreadyExists(err):
					t.Errorf("round %d: %v", round, err)
				}
			}
			if created != 1 {
				t.Fatalf("round %d: %d created", round, created)
			}
			// Those that came too late hold nothing, so the next round's name gets the identity.
			must(t, r.admin.Delete(t.Context(), m))
		}
	})

	t.Run("dry run", func(t *testing.T) {
		r.emptied(t)
		before := r.journal(t)
		for _, err := range together(10, func(int) error {
			return r.admin.Create(t.Context(), member("dry", "identity"), client.DryRunAll)
		}) {
			must(t, err)
		}
		must(t, r.admin.Delete(t.Context(), &r.members(t, "identity")[0], client.DryRunAll))
		if after := r.journal(t); after != before {
			t.Errorf("the journal was %s and is %s", before, after)
		}
	})
}

// TestReplicaKilled holds that nothing is admitted twice when a replica dies, and that what it held is free
// within a minute.
func TestReplicaKilled(t *testing.T) {
	r := twoReplicas(t, "killed")
	limited := fed("limited")
	limited.Spec.Limits = []v1alpha1.Limit{{Max: 10}}
	must(t, r.admin.Create(t.Context(), limited))
	must(t, r.admin.Create(t.Context(), fed("single")))
	var killed time.Time
	together(101, func(i int) error {
		switch {
		case i == 100:
			after(t, 30*time.Millisecond) // in the middle
			r.managers[1].Kill()
			killed = time.Now()
			return nil
		case i%2 == 0:
			m := member(fmt.Sprintf("single-%d", i), "single")
			m.Spec.ClusterID = "id-single"
			return r.admin.Create(t.Context(), m)
		}
		return r.admin.Create(t.Context(), member(fmt.Sprintf("limited-%d", i), "limited"))
	})
	check := func() (single, limited int) {
		single, limited = len(r.members(t, "single")), len(r.members(t, "limited"))
		if single > 1 || limited > 10 {
			t.Fatalf("%d members with one ID, %d of at most 10", single, limited)
		}
		return single, limited
	}
	single, full := check()
	t.Logf("%d of 1 and %d of 10 admitted", single, full)
	ctx, cancel := context.WithDeadline(t.Context(), killed.Add(time.Minute))
	defer cancel()
	for i := 0; ctx.Err() == nil && (single < 1 || full < 10); i++ {
		m := member(fmt.Sprintf("again-single-%d", i), "single")
		m.Spec.ClusterID = "id-single"
		_ = r.admin.Create(ctx, m)
		_ = r.admin.Create(ctx, member(fmt.Sprintf("again-limited-%d", i), "limited"))
		single, full = check()
	}
	if single != 1 || full != 10 {
		t.Errorf("a minute after, there are %d of 1 and %d of 10 members", single, full)
	}
	r.emptied(t)
}
