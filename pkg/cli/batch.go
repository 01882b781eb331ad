package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// manyFlags bound a command that works on many clusters.
type manyFlags struct {
	parallel int
	answer   time.Duration
}

// defaultParallel is how many clusters are worked on at once. Each holds a handful of connections and waits for its
// own API server most of the time; the host takes the writes of all.
const defaultParallel = 20

// add adds the flags; answer is the name of the one that bounds the looking.
func (f *manyFlags) add(cmd *cobra.Command, answer string) {
	cmd.Flags().IntVar(&f.parallel, "parallel", defaultParallel, "How many clusters are worked on at once")
	cmd.Flags().DurationVar(&f.answer, answer, 10*time.Second, "How long the clusters have to answer when many are looked at, all together")
}

func (f *manyFlags) check() error {
	if f.parallel < 1 {
		return usagef("--parallel=%d: at least one cluster is worked on", f.parallel)
	}
	return nil
}

// read reads the host and every candidate at once. Errs are what could not be read of each source.
func (f *manyFlags) read(ctx context.Context, d *factory, h *host.Cluster, sources ...discover.Source) (view discover.View, observations []discover.Observation, errs []error, err error) {
	view.Commands = h.Commands
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { view.HostID, err = h.ID(gctx); return err })
	group.Go(func() (err error) { view.Federations, err = h.Federations(gctx); return err })
	group.Go(func() (err error) { view.Members, err = h.Members(gctx, host.MemberQuery{}); return err })
	group.Go(func() error { observations, errs = f.probe(gctx, d, sources...); return nil })
	return view, observations, errs, group.Wait()
}

// probe looks at every candidate, so that dead clusters cost the deadline once. The errors are those of each source.
func (f *manyFlags) probe(ctx context.Context, d *factory, sources ...discover.Source) ([]discover.Observation, []error) {
	candidates, errs := discover.List(ctx, sources...)
	one, many := "context", "contexts"
	if slices.ContainsFunc(candidates, func(c discover.Candidate) bool { return c.Source != discover.FromKubeconfig }) {
		one, many = "cluster", "clusters"
	}
	progress := newProgress(d, "looking at "+countOf(len(candidates), one, many))
	defer progress.end()
	return discover.Probe(ctx, candidates, f.answer, func(n int) {
		progress.update(fmt.Sprintf("%d of %d %s answered", n, len(candidates), many))
	}), errs
}

// Results of a command on one of many clusters, beside the words of what it does.
const (
	resultRefused     = "refused"
	resultFailed      = "failed"
	resultUnfinished  = "unfinished"
	resultUnreachable = "unreachable"
)

// row is one of many clusters, and what became of it.
type row struct {
	Name      v1alpha1.MemberName `json:"name,omitempty"`
	Context   string              `json:"context,omitempty"`
	Also      []string            `json:"also,omitempty"`
	ClusterID v1alpha1.ClusterID  `json:"clusterID,omitempty"`
	Result    string              `json:"result"`
	Reason    string              `json:"reason,omitempty"`
	// Steps are the plan of a dry run.
	Steps []string `json:"steps,omitempty"`
	// CredentialExpiry is when the credential ends that a join has just stored.
	CredentialExpiry *metav1.Time `json:"credentialExpiry,omitempty"`

	// note is what to know before anything is written; it may be empty.
	note string
	err  error
	// do works on the cluster, fills in the row and returns what a person should know; nil where err says why
	// nothing can be done.
	do func(context.Context, *row) ([]federate.Finding, error)
}

// end says how do ended.
func (r *row) end(err error) {
	if err == nil {
		return
	}
	r.err, r.Reason = err, reason(err)
	var partial *federate.Partial
	switch {
	case errors.As(err, &partial):
		r.Result = resultUnfinished
	case exitCode(err) == exitRefused:
		r.Result = resultRefused
	default:
		r.Result = resultFailed
	}
}

// batch is a command on many clusters.
type batch struct {
	// Operation is the command: "join".
	Operation  string                  `json:"operation"`
	Federation v1alpha1.FederationName `json:"federation,omitempty"`
	Clusters   []*row                  `json:"clusters"`

	// doing and done say in messages what happens to clusters: "joining", "joined".
	doing, done string
	timeout     time.Duration
	dryRun      federate.DryRun
}

// work works on all clusters, at most parallel of them at once. It tells of each that is done: on a terminal in one
// line that counts, elsewhere in one line each.
func (b *batch) work(ctx context.Context, d *factory, parallel int) {
	var group errgroup.Group
	group.SetLimit(parallel)
	todo := slices.DeleteFunc(slices.Clone(b.Clusters), func(r *row) bool { return r.do == nil })
	if len(todo) == 0 {
		return
	}
	progress := newProgress(d, b.doing+" "+countOf(len(todo), "cluster", "clusters"))
	defer progress.end()
	var mu sync.Mutex
	ended := 0
	for _, r := range todo {
		group.Go(func() error {
			notes, err := b.one(ctx, r)
			r.end(err)
			mu.Lock()
			defer mu.Unlock()
			ended++
			for _, note := range notes {
				progress.line(fmt.Sprintf("note: %s: %s", r.Name, note))
			}
			progress.step(fmt.Sprintf("%d of %d clusters done", ended, len(todo)), fmt.Sprintf("%s: %s", r.Name, r.Result))
			return nil
		})
	}
	_ = group.Wait()
}

func (b *batch) one(ctx context.Context, r *row) ([]federate.Finding, error) {
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	ctx, cancel := context.WithTimeout(about(ctx, string(r.Name)), b.timeout)
	defer cancel()
	return r.do(ctx, r)
}

// announce tells which clusters will be worked on, by which names, before any is.
func (b *batch) announce(d *factory) error {
	rows := [][]string{{"NAME", "CONTEXT", "NOTE"}}
	for _, r := range b.Clusters {
		if r.do == nil {
			continue
		}
		contexts := orNone(r.Context)
		if len(r.Also) > 0 {
			contexts += " (also " + strings.Join(r.Also, ", ") + ")"
		}
		rows = append(rows, []string{string(r.Name), contexts, r.note})
	}
	if !slices.ContainsFunc(rows[1:], func(cells []string) bool { return cells[2] != "" }) {
		for i := range rows {
			rows[i] = rows[i][:2]
		}
	}
	if len(rows) == 1 {
		return nil
	}
	fmt.Fprintf(d.ErrOut, "%s %s%s:\n", b.doing, countOf(len(rows)-1, "cluster", "clusters"), dryRunSuffix(b.dryRun))
	return table(d.ErrOut, rows)
}

// checkFormat refuses formats that take one object.
func checkFormat(output outputFlags) error {
	if slices.Contains([]string{"", "json", "yaml", "name"}, *output.OutputFormat) {
		return nil
	}
	return usagef("-o %s takes one member; with many it is json, yaml or name", *output.OutputFormat)
}

// print prints the summary.
func (b *batch) print(d *factory, format string) error {
	switch format {
	case "json", "yaml":
		return printData(d.Out, format, struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			*batch
		}{outputAPIVersion, "Summary", b})
	case "name":
		for _, r := range b.Clusters {
			if r.err == nil {
				fmt.Fprintf(d.Out, "membercluster.kubefederate.io/%s\n", r.Name)
			}
		}
		return nil
	}
	rows := [][]string{{"NAME", "CONTEXT", "RESULT", "REASON"}}
	for _, r := range b.Clusters {
		rows = append(rows, []string{orNone(string(r.Name)), orNone(r.Context), r.Result, r.Reason})
	}
	return table(d.Out, rows)
}

// err is the summary as an error: nil when nothing failed.
func (b *batch) err() error {
	var failed []error
	for _, r := range b.Clusters {
		if r.err != nil {
			failed = append(failed, r.err)
		}
	}
	return someFailed(len(b.Clusters)-len(failed), failed, b.done)
}
