package cli

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

func TestReason(t *testing.T) {
	t.Parallel()
	findings := []federate.Finding{{Side: federate.SideHost, Cause: "one"}, {Side: federate.SideMember, Cause: "two", Remedy: "do"}}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&federate.Refusal{Operation: "join", Findings: findings}, "host: one; member: two: do"},
		{&federate.Refusal{Operation: "join", Findings: findings[:1], Undone: true}, "host: one; all changes were rolled back"},
		{&federate.Undone{Operation: "join", Err: errors.New("no answer")}, "no answer; all changes were rolled back"},
		{&federate.Partial{Operation: "unjoin", Err: errors.New("no answer"), Done: []string{"1 of 2 steps"}, Next: "again"},
			"could not finish: unjoin; no answer; done: 1 of 2 steps; to continue, run: again"},
		{errors.New("a\nb"), "a; b"},
	} {
		if got := reason(tt.err); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestBatchIsBounded runs clusters that take a second each, and one that never answers: the bound holds, nobody
// waits for the dead one, and only its own timeout ends it.
func TestBatchIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		second := func(ctx context.Context, r *row) ([]federate.Finding, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			r.Result = "joined"
			return nil, nil
		}
		dead := func(ctx context.Context, _ *row) ([]federate.Finding, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		b := &batch{doing: "joining", done: "joined", timeout: 10 * time.Second}
		b.Clusters = append(b.Clusters, &row{Name: "dead", do: dead})
		for range 9 {
			b.Clusters = append(b.Clusters, &row{Name: "alive", do: second})
		}
		streams, _, _, _ := genericiooptions.NewTestIOStreams()
		began := time.Now()
		b.work(t.Context(), &factory{IOStreams: streams}, 4)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("took %s, want the timeout of the dead one", took)
		}
		if most.Load() != 3 {
			t.Errorf("%d clusters at once beside the dead one, want 3", most.Load())
		}
		for _, r := range b.Clusters[1:] {
			if r.Result != "joined" {
				t.Errorf("%+v", r)
			}
		}
		if b.Clusters[0].Result != resultFailed || exitCode(b.err()) != exitPartly {
			t.Errorf("%+v, exit code %d", b.Clusters[0], exitCode(b.err()))
		}
	})
}

// TestBatchInterrupted stops a batch: what has not begun is left alone.
func TestBatchInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b := &batch{doing: "joining", done: "joined", timeout: time.Minute, Clusters: []*row{
		{Name: "a", do: func(context.Context, *row) ([]federate.Finding, error) { cancel(); return nil, nil }},
		{Name: "b", do: func(context.Context, *row) ([]federate.Finding, error) { t.Error("b was begun"); return nil, nil }},
	}}
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	b.work(ctx, &factory{IOStreams: streams}, 1)
	if got, want := b.Clusters[1].Reason, "interrupted; nothing was changed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestProgressOfMany pins what is told of each cluster: a line that counts on a terminal, a line each elsewhere.
func TestProgressOfMany(t *testing.T) {
	t.Parallel()
	for terminal, want := range map[bool]string{
		true:  "\r\x1b[K1 of 2 clusters done\r\x1b[Knote: x\n",
		false: "us-east: joined\nnote: x\n",
	} {
		var out bytes.Buffer
		p := &progress{w: &out, terminal: terminal, over: func() {}}
		p.step("1 of 2 clusters done", "us-east: joined")
		p.line("note: x")
		p.end()
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("terminal %v:\n%s", terminal, diff)
		}
	}
}
