package journal

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// TestStill holds that an object is as it is known only when the API server says so: what cannot be asked is read.
func TestStill(t *testing.T) {
	t.Parallel()
	known := member("east", "1", "12")
	for name, test := range map[string]struct {
		kind   Kind
		answer func(w http.ResponseWriter)
		want   bool
		asked  string
	}{
		"the same": {Member, func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"kind":"MemberCluster","metadata":{"name":"east","resourceVersion":"12"}}`))
		}, true, "/base/apis/kubefederate.io/v1alpha1/memberclusters/east"},
		"a federation": {Federation, func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"metadata":{"resourceVersion":"12"}}`))
		}, true, "/base/apis/kubefederate.io/v1alpha1/federations/east"},
		"a later one": {Member, func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"metadata":{"resourceVersion":"13"}}`))
		}, false, "/base/apis/kubefederate.io/v1alpha1/memberclusters/east"},
		"gone": {Member, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"metadata":{"resourceVersion":"12"}}`))
		}, false, "/base/apis/kubefederate.io/v1alpha1/memberclusters/east"},
		"no JSON": {Member, func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"metadata":{"resourceVersion":"12"}`))
		}, false, "/base/apis/kubefederate.io/v1alpha1/memberclusters/east"},
		"no answer": {Member, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, false,
			"/base/apis/kubefederate.io/v1alpha1/memberclusters/east"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan string, 10)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- r.URL.Path
				test.answer(w)
			}))
			defer server.Close()
			still, err := NewStill(&rest.Config{Host: server.URL + "/base"})
			if err != nil {
				t.Fatal(err)
			}
			if got := still(t.Context(), test.kind, known); got != test.want {
				t.Errorf("got %v", got)
			}
			if got := <-asked; got != test.asked {
				t.Errorf("asked %s", got)
			}
		})
	}
}

// broken is an API server that cannot be read.
type broken struct{ client.Reader }

var errBroken = errors.New("broken")

func (broken) List(context.Context, client.ObjectList, ...client.ListOption) error { return errBroken }

func (broken) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errBroken
}

// text is what Decide said: nothing of what is admitted.
func text(v rules.Verdict, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case len(v.Refusals) > 0:
		return v.Refusals.ToAggregate().Error()
	}
	return ""
}

// TestRefusalRestsOnWhatStillStands holds that an object which is still as it is known is not read, that one which is not
// is, and that what the watch brings in the meantime is judged.
func TestRefusalRestsOnWhatStillStands(t *testing.T) {
	t.Parallel()
	rule := v1alpha1.LabelRule{Key: "tier", Required: true}
	for name, test := range map[string]struct {
		still func(*Host) bool
		want  string
	}{
		"the same":    {func(*Host) bool { return true }, `metadata.labels[tier]: Required value: federation "prod" asks for it`},
		"another one": {func(*Host) bool { return false }, `read federation "prod": broken`},
		"relaxed in the meantime": {func(h *Host) bool {
			h.SetFederation(federation("6"))
			return true
		}, ""},
		"something else in the meantime": {func(h *Host) bool {
			h.SetMember(member("b", "2", "7"))
			return true
		}, `metadata.labels[tier]: Required value: federation "prod" asks for it`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHost()
			f := federation("5")
			f.Spec.Labels = []v1alpha1.LabelRule{rule}
			h.SetFederation(f)
			j := New(Options{Host: h, Reader: broken{}, Still: func(_ context.Context, kind Kind, known client.Object) bool {
				if kind != Federation || known.GetResourceVersion() != "5" {
					t.Errorf("asked for %s %s at %s", kind, known.GetName(), known.GetResourceVersion())
				}
				return test.still(h)
			}})
			verdict, err := j.Decide(t.Context(), create(member("a", "1", "")))
			if diff := cmp.Diff(test.want, text(verdict, err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// unreadable is a journal that cannot be read.
type unreadable struct{ *memory }

func (unreadable) read(context.Context) (State, string, error) { return State{}, "", errBroken }

// late is a journal that takes so long to be read that the watch brings something meanwhile.
type late struct {
	*memory
	brings func()
}

func (l late) read(ctx context.Context) (State, string, error) {
	l.brings()
	return l.memory.read(ctx)
}

// TestRelaxedWhileTheJournalIsRead holds that what is admitted in the end is written down all the same.
func TestRelaxedWhileTheJournalIsRead(t *testing.T) {
	t.Parallel()
	h := NewHost()
	tight := federation("5")
	tight.Spec.Labels = []v1alpha1.LabelRule{{Key: "tier", Required: true}}
	h.SetFederation(tight)
	reads, store := 0, &memory{}
	j := New(Options{Host: h, Reader: broken{}})
	j.store = late{store, func() {
		// The first read is the tick at the start.
		if reads++; reads == 2 {
			h.SetFederation(federation("6"))
		}
	}}
	verdict, err := decides(t, j, create(member("a", "1", "")))
	if got := text(verdict, err); got != "" || len(store.Entries) != 1 {
		t.Errorf("%d entries; %s", len(store.Entries), got)
	}
}

// during runs a journal while f does something.
func during(t *testing.T, j *Journal, f func() error) error {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		j.Start(ctx)
	}()
	defer func() {
		stop()
		<-ended
	}()
	return f()
}

// decides runs a journal for one decision.
func decides(t *testing.T, j *Journal, r Request) (verdict rules.Verdict, err error) {
	t.Helper()
	err = during(t, j, func() (err error) {
		verdict, err = j.Decide(t.Context(), r)
		return err
	})
	return verdict, err
}

// TestRefusalRestsOnTheJournal holds that a refusal which rests on a federation alone is confirmed by the journal, and by
// the federation itself where the journal does not tell.
func TestRefusalRestsOnTheJournal(t *testing.T) {
	t.Parallel()
	tight := federation("5")
	tight.Spec.Labels = []v1alpha1.LabelRule{{Key: "tier", Required: true}}
	relax := entryOf(t, Request{Federation: &rules.FederationChange{Old: tight, New: federation("5")}, UID: "relax"})
	const refused = `metadata.labels[tier]: Required value: federation "prod" asks for it`
	for name, test := range map[string]struct {
		sees  *v1alpha1.Federation
		store store
		want  string
		asked int
	}{
		"nothing is under way": {tight, &memory{}, refused, 0},
		// The host has it as it was and may have it as it will be.
		"it is being relaxed":           {tight, &memory{State: stateOf(relax)}, refused, 1},
		"the journal cannot be read":    {tight, unreadable{}, refused, 1},
		"the federation is not known":   {nil, &memory{}, `read federation "prod": broken`, 0},
		"entries came and went, unread": {tight, &memory{State: State{Last: 7, Dropped: 7}}, refused, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHost()
			if test.sees != nil {
				h.SetFederation(test.sees)
			}
			asked := 0
			j := New(Options{Host: h, Reader: broken{}, Still: func(context.Context, Kind, client.Object) bool {
				asked++
				return true
			}})
			j.store = test.store
			verdict, err := decides(t, j, create(member("a", "1", "")))
			if diff := cmp.Diff(test.want, text(verdict, err)); diff != "" || asked != test.asked {
				t.Errorf("asked %d times; (-want +got):\n%s", asked, diff)
			}
		})
	}
}
