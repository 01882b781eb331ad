package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// applies is a cluster whose plan a test applies.
func applies(name v1alpha1.MemberName, apply func(ctx context.Context) error) *row {
	return &row{Name: name, plan: func(context.Context, func(federate.Step)) (federate.Operation, error) { return join{apply: apply}, nil }}
}

// join is a join that is planned, and does what a test says.
type join struct {
	federate.Operation
	apply func(ctx context.Context) error
}

func (j join) Notes() []federate.Finding { return nil }

func (j join) Apply(ctx context.Context, _ func(federate.Step)) (*federate.Result, error) {
	return &federate.Result{Done: "joined"}, j.apply(ctx)
}

func newTestFactory() (d *factory, out, errOut *bytes.Buffer) {
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	return newFactory("kubectl federate", streams), out, errOut
}

// TestBatchIsBounded runs clusters that take a second each, and one that never responds: the bound holds, no other
// cluster waits for the dead one, and only its own timeout ends it.
func TestBatchIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		second := func(ctx context.Context) error {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return nil
		}
		dead := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		b := &batch{doing: "joining", done: "joined"}
		b.Clusters = append(b.Clusters, applies("dead", dead))
		for range 9 {
			b.Clusters = append(b.Clusters, applies("alive", second))
		}
		d, _, _ := newTestFactory()
		began := time.Now()
		o := &operationFlags{factory: d, batch: targets.Batch{Parallel: 4, Timeout: 10 * time.Second}}
		o.work(t.Context(), b)
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
		if err := b.err(t.Context()); b.Clusters[0].Result != resultFailed || output.ExitCode(err) != output.ExitPartly {
			t.Errorf("%+v, exit code %d", b.Clusters[0], output.ExitCode(err))
		}
	})
}

// TestBatchInterrupted stops a batch: what has not begun is left alone.
func TestBatchInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b := &batch{doing: "joining", done: "joined", Clusters: []*row{
		applies("a", func(context.Context) error { cancel(); return nil }),
		applies("b", func(context.Context) error { t.Error("b was begun"); return nil }),
		applies("c", func(context.Context) error { t.Error("c was begun"); return nil }),
	}}
	d, out, errOut := newTestFactory()
	err := (&operationFlags{factory: d, batch: targets.Batch{Parallel: 1}}).runMany(ctx, b)
	const want = `joining 3 clusters:
NAME   CONTEXT
a      <none>
b      <none>
c      <none>
a: joined
NAME   CONTEXT   RESULT      REASON
a      <none>    joined      
b      <none>    not begun   
c      <none>    not begun   
error: interrupted: 1 of 3 clusters were joined, 2 not begun
`
	output.Error(out, err)
	if diff := cmp.Diff(want, errOut.String()+out.String()); diff != "" {
		t.Error(diff)
	}
	if output.ExitCode(err) != output.ExitPartly {
		t.Errorf("exit code %d", output.ExitCode(err))
	}
}

// TestChangesInterrupted stops a command that changes many members on the host: one line says how many were not begun,
// and the requests that were cut off are no errors of the host.
func TestChangesInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	members := make([]v1alpha1.MemberCluster, 300)
	for i := range members {
		members[i].Name = fmt.Sprintf("m%03d", i)
	}
	d, out, errOut := newTestFactory()
	o := &changeFlags{factory: d, batch: targets.Batch{Parallel: 1, Timeout: time.Minute}}
	changed, err := o.changeMembers(ctx, members, false, "labeled", func(ctx context.Context, m *v1alpha1.MemberCluster) (string, error) {
		switch m.Name {
		case "m001":
			return "", apierrors.NewForbidden(schema.GroupResource{Resource: "memberclusters"}, m.Name, errors.New("no"))
		case "m003":
			cancel()
			return "", fmt.Errorf("host: no answer from https://x: %w", ctx.Err())
		}
		return "labeled", nil
	})
	output.Error(errOut, err)
	const want = `membercluster.kubefederate.io/m000 labeled
membercluster.kubefederate.io/m002 labeled
error: memberclusters "m001" is forbidden: no
error: interrupted: 2 of 300 clusters were labeled, 2 not finished, 296 not begun
`
	if diff := cmp.Diff(want, out.String()+errOut.String()); diff != "" {
		t.Error(diff)
	}
	if len(changed) != 2 || output.ExitCode(err) != output.ExitPartly {
		t.Errorf("%d changed, exit code %d", len(changed), output.ExitCode(err))
	}
}

// TestSummary pins the exit codes of commands on many.
func TestSummary(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "memberclusters"}, "a", errors.New("no"))
	for _, tt := range []struct {
		errs   []error
		dryRun cluster.DryRun
		code   int
		want   string
	}{
		{[]error{forbidden, forbidden}, cluster.DryRunNone, 2, "2 clusters were not joined"},
		{[]error{forbidden, errors.New("x")}, cluster.DryRunNone, 1, "2 clusters were not joined"},
		{[]error{nil, forbidden}, cluster.DryRunNone, 3, "1 cluster was not joined\n* done: 1 cluster was joined"},
		{[]error{&federate.Partial{Err: errors.New("x")}}, cluster.DryRunNone, 3, "1 cluster was not joined"},
		{[]error{nil, forbidden}, cluster.DryRunServer, 2, "1 cluster would not be joined (server dry run)"},
		{[]error{nil, errors.New("x")}, cluster.DryRunClient, 1, "1 cluster would not be joined (dry run)"},
		{[]error{nil}, cluster.DryRunNone, 0, ""},
	} {
		err := summary(t.Context(), tt.errs, "joined", tt.dryRun)
		if got := output.ExitCode(err); got != tt.code {
			t.Errorf("%v: exit code %d, want %d", tt.errs, got, tt.code)
		}
		if tt.want != "" && err.Error() != tt.want {
			t.Errorf("%v: got %q, want %q", tt.errs, err, tt.want)
		}
	}
}
