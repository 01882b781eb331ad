package federate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// engineLog is an engine for steps that log what becomes of them. The last step fails, found makes nothing, and undoing stuck
// fails.
func engineLog(stuck string) (*plan, *[]string) {
	e, log := new(plan), new([]string)
	note := func(verb Verb, name string) { *log = append(*log, fmt.Sprint(verb, " ", name)) }
	var steps []Step
	for phase, name := range map[phase]string{3: "grant", 2: "found", 1: "account", 0: "record", 4: "last"} {
		ref := cluster.Ref{Resource: cluster.ConfigMaps, Name: name}
		s := Step{Side: cluster.Host, Verb: VerbCreate, Object: ref, phase: phase, undoLast: name == "record"}
		if name == "found" {
			s.Verb = VerbWait
		}
		s.do = func(context.Context) error {
			note("do", name)
			switch name {
			case "found":
				e.mark(ref)
				e.unmark(ref)
			case "last":
				return errors.New("no")
			default:
				e.mark(ref)
			}
			return nil
		}
		s.undo = func(context.Context) error {
			note("remove", name)
			if name == stuck {
				return apierrors.NewBadRequest("stuck")
			}
			return nil
		}
		steps = append(steps, s)
	}
	e.Steps = steps
	e.start(func(s Step) { note(s.Verb, s.Object.Name) })
	return e, log
}

// TestEngine applies steps whose last one fails, and rolls them back: in the opposite order, only what was made, and what
// holds others only after them.
func TestEngine(t *testing.T) {
	t.Parallel()
	const applied = "do record, create record, do account, create account, wait found, do found, do grant, create grant, do last"
	for _, tt := range []struct {
		name, stuck, undone, left string
	}{
		{"all of it", "", "remove grant, undo grant, remove account, undo account, remove record, undo record", ""},
		{"a grant stays, and what holds it", "grant", "remove grant, remove account, undo account", `host: ConfigMap "grant", host: ConfigMap "record"`},
		{"the record stays", "record", "remove grant, undo grant, remove account, undo account, remove record", `host: ConfigMap "record"`},
	} {
		e, log := engineLog(tt.stuck)
		err := e.apply(t.Context())
		if got := strings.Join(*log, ", "); err == nil || !e.begun || got != applied {
			t.Errorf("%s: applied %q, begun %t, error %v", tt.name, got, e.begun, err)
		}
		for i, s := range e.Steps {
			if e.done[i] == (s.phase == 4) {
				t.Errorf("%s: %s is done: %t", tt.name, s.Object, e.done[i])
			}
		}
		if remains := e.remains(); len(remains) != 3 || slices.Contains(remains, `host: ConfigMap "found"`) {
			t.Errorf("%s: remains %q", tt.name, remains)
		}
		*log = nil
		left, err := e.rollBack(t.Context())
		if got := strings.Join(*log, ", "); got != tt.undone || strings.Join(left, ", ") != tt.left || (err != nil) != (tt.left != "") {
			t.Errorf("%s: undone %q, left %q, error %v", tt.name, got, left, err)
		}
	}
}

// TestEngineStops begins nothing when the run was stopped before.
func TestEngineStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, log := engineLog("")
	if err := e.apply(ctx); !errors.Is(err, context.Canceled) || e.begun || len(*log) > 0 {
		t.Errorf("did %q, begun %t, error %v", *log, e.begun, err)
	}
	fresh, cancel := afterwards(ctx)
	defer cancel()
	if deadline, ok := fresh.Deadline(); fresh.Err() != nil || !ok || time.Until(deadline) > rollbackTimeout {
		t.Errorf("what is sent afterwards has %v until %s", fresh.Err(), deadline)
	}
}

// TestRetry tries again what may succeed the next time.
func TestRetry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		err   error
		tries int
	}{
		{"success", nil, 1},
		{"a lost connection", errors.New("lost"), 4},
		{"a refusal", apierrors.NewBadRequest("no"), 1},
		{"another attempt", fmt.Errorf("host: %w", host.ErrAnotherAttempt), 1},
	} {
		tries := 0
		if err := retry(t.Context(), func() error { tries++; return tt.err }); !errors.Is(err, tt.err) || tries != tt.tries {
			t.Errorf("%s: error %v after %d tries, want %d", tt.name, err, tries, tt.tries)
		}
	}
}

// TestPoll ends with success, an error, the end of its patience, or that of ctx.
func TestPoll(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("broken")
	for _, tt := range []struct {
		ctx  context.Context
		done bool
		err  error
		want error
	}{
		{t.Context(), true, nil, nil}, {t.Context(), false, broken, broken}, {t.Context(), false, nil, errPatience}, {ended, false, nil, context.Canceled},
	} {
		if err := poll(tt.ctx, time.Millisecond, 3*time.Millisecond, func() (bool, error) { return tt.done, tt.err }); !errors.Is(err, tt.want) {
			t.Errorf("done %t, error %v: %v, want %v", tt.done, tt.err, err, tt.want)
		}
	}
}

// TestAwait reports what it waits for, once for each reason, and why it ended.
func TestAwait(t *testing.T) {
	t.Parallel()
	waits := func(note string) *Step {
		return &Step{Side: cluster.Host, Verb: VerbWait, Object: cluster.Ref{Resource: cluster.ConfigMaps, Name: "a"}, Note: note}
	}
	stop := errors.New("no answer")
	for _, tt := range []struct {
		name  string
		looks []*Step // the last one is repeated
		err   error   // of the last look
		want  string
		fails string
	}{
		{name: "nothing in the way", looks: []*Step{nil}},
		{name: "two reasons", looks: []*Step{waits("one"), waits("one"), waits("two"), nil}, want: "one two"},
		{name: "a failure", looks: []*Step{waits("one"), nil}, err: stop, want: "one", fails: "no answer"},
		{name: "interrupted", looks: []*Step{waits("one"), waits("stop")}, want: "one stop", fails: `host: ConfigMap "a": stop: interrupted`},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		var reported []string
		i := 0
		err := await(ctx, time.Millisecond, func(s Step) { reported = append(reported, s.Note) }, func() (*Step, error) {
			s := tt.looks[min(i, len(tt.looks)-1)]
			i++
			switch {
			case s != nil && s.Note == "stop":
				cancel()
			case s == nil:
				return nil, tt.err
			}
			return s, nil
		})
		cancel()
		if got := strings.Join(reported, " "); got != tt.want || (err != nil) != (tt.fails != "") || err != nil && err.Error() != tt.fails {
			t.Errorf("%s: reported %q, error %v", tt.name, got, err)
		}
	}
}

// TestRunErrors pins what a run that failed is: refused, rolled back, or neither.
func TestRunErrors(t *testing.T) {
	t.Parallel()
	e := &plan{of: joinOptions(nil)}
	if e.learn(Finding{Cause: "a note"}); len(e.notes) > 0 {
		t.Error("a run writes into the notes of its plan")
	}
	lost, refusal := errors.New("lost"), &Refusal{Findings: []Finding{{Side: cluster.Host, Cause: "no"}}}
	invalid := &cluster.Error{Side: cluster.Host, Object: host.MemberRef("east"), Err: apierrors.NewBadRequest("bad")}
	const cannot, changed = `cannot join "east" to federation "prod"`, "; nothing was changed\n* "
	for _, tt := range []struct {
		err  error
		want string
	}{
		{e.refused(refusal, false), cannot + changed + "host: no"},
		{e.refused(refusal, true), cannot + rolledBack + "\n* host: no"},
		{e.refused(invalid, true), cannot + rolledBack + "\n* host: MemberCluster \"east\": bad"},
		{e.refused(lost, true), cannot + rolledBack + "\n* lost"},
		{e.refused(lost, false), "lost"},
		{rollbackFailed(lost, errors.New("stuck")), "lost\n* rollback also failed: stuck"},
		{e.partial(lost), "could not finish: join \"east\" to federation \"prod\"\n* lost\nto continue, run: kubectl federate join east --federation prod --member-context ctx-east"},
	} {
		compare(t, "error", tt.err.Error(), tt.want)
	}
}
