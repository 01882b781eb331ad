package journal

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// statuses are the status writes that an API server is sent. Each gets a version of its own, from 100 on.
type statuses struct {
	client.StatusWriter
	mu sync.Mutex
	// written are the names; a write to one of gone finds nothing.
	written []string
	gone    string
	err     error
	// open is received from before a write is answered, where it is not nil.
	open chan struct{}
}

func (s *statuses) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	if s.open != nil {
		<-s.open
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.GetName() == s.gone {
		return apierrors.NewNotFound(schema.GroupResource{}, o.GetName())
	}
	if s.err != nil {
		return s.err
	}
	s.written = append(s.written, o.GetName())
	o.SetResourceVersion(strconv.Itoa(99 + len(s.written)))
	return nil
}

// TestWitness holds when the sight of members is proven: as soon as the watch has brought the write or something
// later, and not before.
func TestWitness(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		statuses *statuses
		// brings is what comes by the watch after the write.
		brings func(*Host)
		want   bool
	}{
		"the write":                     {&statuses{}, func(h *Host) { h.WatchMember(member("a", "1", "100")) }, true},
		"a later one":                   {&statuses{}, func(h *Host) { h.WatchMember(member("b", "2", "101")) }, true},
		"that another is gone":          {&statuses{}, func(h *Host) { h.UnwatchMember(member("b", "2", "101")) }, true},
		"an earlier one":                {&statuses{}, func(h *Host) { h.WatchMember(member("b", "2", "99")) }, false},
		"the write, but by a read":      {&statuses{}, func(h *Host) { h.SetMember(member("a", "1", "100")) }, false},
		"nothing":                       {&statuses{}, func(*Host) {}, false},
		"the write is refused":          {&statuses{err: errors.New("no")}, func(h *Host) { h.WatchMember(member("a", "1", "100")) }, false},
		"the only member is gone":       {&statuses{gone: "a"}, func(h *Host) { h.WatchMember(member("b", "2", "101")) }, false},
		"nobody may write the statuses": {nil, func(h *Host) { h.WatchMember(member("a", "1", "100")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := NewHost()
				h.WatchMember(member("a", "1", "5"))
				w := newWitness(h, nil)
				if test.statuses != nil {
					w = newWitness(h, test.statuses)
				}
				proven := make(chan bool, 1)
				go func() { proven <- w.prove(t.Context()) }()
				synctest.Wait()
				test.brings(h)
				if got := <-proven; got != test.want {
					t.Errorf("proven: %v, want %v", got, test.want)
				}
				if test.statuses != nil && test.statuses.gone != "" {
					h.Read(func(x *rules.Index) {
						if x.AnyMember() != nil && x.Member("a") != nil {
							t.Error("the member that is gone is still known")
						}
					})
				}
			})
		})
	}
}

// TestWitnessIsShared holds that those who come while a round runs share the next one, and none the running one, which
// may have read before they came.
func TestWitnessIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHost()
		h.WatchMember(member("a", "1", "5"))
		s := &statuses{open: make(chan struct{})}
		w := newWitness(h, s)
		var group sync.WaitGroup
		ask := func() {
			if !w.prove(t.Context()) {
				t.Error("not proven")
			}
		}
		group.Go(ask)
		synctest.Wait()
		for range 20 {
			group.Go(ask)
		}
		synctest.Wait()
		for _, version := range []string{"100", "101"} {
			s.open <- struct{}{}
			synctest.Wait()
			h.WatchMember(member("a", "1", version))
			synctest.Wait()
		}
		group.Wait()
		if len(s.written) != 2 {
			t.Errorf("%d writes, want 2", len(s.written))
		}
	})
}
