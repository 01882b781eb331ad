package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// Results of an operation on one of many clusters that did not succeed; the others say what was done.
const (
	resultRefused     = "refused"
	resultFailed      = "failed"
	resultUnfinished  = "unfinished"
	resultUnreachable = "unreachable"
	resultNoAccess    = "no access"
	resultNotBegun    = "not begun"
)

// row is one of many clusters, and the result for it.
type row struct {
	Name      v1alpha1.MemberName `json:"name,omitempty"`
	Context   string              `json:"context,omitempty"`
	Also      []string            `json:"also,omitempty"`
	ClusterID v1alpha1.ClusterID  `json:"clusterID,omitempty"`
	Result    string              `json:"result"`
	Reason    string              `json:"reason,omitempty"`
	// Steps are the plan of a dry run.
	Steps []string `json:"steps,omitempty"`
	// CredentialExpiry is when the credential expires that has just been stored.
	CredentialExpiry *metav1.Time `json:"credentialExpiry,omitempty"`

	// note is what to know before anything is written; it may be empty.
	note string
	err  error
	// plan is nil where err says why nothing can be done.
	plan planner
}

// unreachable records that the cluster, which what names, cannot be reached.
func (r *row) unreachable(what, reason string) {
	r.Result, r.Reason, r.err = resultUnreachable, reason, fmt.Errorf("%s: %s", what, reason)
}

// by lets the row go by the first of the ways that will do.
func (r *row) by(ways []way) {
	r.plan = firstOf(ways, func(used way) {
		if i := slices.Index(r.Also, used.context); i >= 0 {
			r.Also[i], r.Context = r.Context, used.context
		}
	})
}

// disputed records that nothing proves which cluster the ways lead to that would be used.
func (r *row) disputed(ways []discover.Cluster) {
	findings := make([]federate.Finding, len(ways))
	for i := range ways {
		findings[i] = federate.Finding{Object: "context " + cluster.Quoted(ways[i].Name), Cause: ways[i].Reason}
	}
	refusal := &federate.Refusal{Operation: "use an unproved context for " + cluster.Quoted(string(r.Name)), Findings: findings}
	r.end(refusal)
}

// work plans the operation and, unless it is a dry run, applies it. It returns what a person should know.
func (r *row) work(ctx context.Context, dryRun cluster.DryRun) ([]federate.Finding, error) {
	p, err := r.plan(ctx, nil)
	if err != nil {
		return nil, output.WhileReading(ctx, err)
	}
	if dryRun != cluster.DryRunNone {
		r.Result, r.Steps = "would "+p.Verb()+dryRunSuffix(dryRun), strings.Split(strings.TrimSpace(p.Text()), "\n")
		return p.Notes(), nil
	}
	done, err := p.Apply(ctx, nil)
	if err != nil {
		return p.Notes(), output.WhileReading(ctx, err)
	}
	r.Result, r.Reason = done.Done, done.Reason
	if !done.Expires.IsZero() {
		r.CredentialExpiry = new(metav1.NewTime(done.Expires))
	}
	return done.Notes, nil
}

// end records how the work ended.
func (r *row) end(err error) {
	if err == nil {
		return
	}
	r.err, r.Reason = err, output.Reason(err)
	var partial *federate.Partial
	switch {
	case errors.Is(err, targets.ErrNotBegun):
		r.Result, r.Reason = resultNotBegun, ""
	case errors.As(err, &partial):
		r.Result = resultUnfinished
	case output.ExitCode(err) == output.ExitRefused:
		r.Result = resultRefused
	default:
		r.Result = resultFailed
	}
}

// batch is an operation on many clusters.
type batch struct {
	// Operation is the command: "join".
	Operation  string                  `json:"operation"`
	Federation v1alpha1.FederationName `json:"federation,omitempty"`
	Clusters   []*row                  `json:"clusters"`

	// doing and done say in messages what happens to clusters: "joining", "joined".
	doing, done string
	dryRun      cluster.DryRun
}

// runMany runs an operation on many clusters and prints one table.
func (o *operationFlags) runMany(ctx context.Context, b *batch) error {
	if err := o.announce(b); err != nil {
		return err
	}
	o.work(ctx, b)
	if err := o.print(b); err != nil {
		return err
	}
	return b.err(ctx)
}

// work works on all clusters, and reports each that is done: a terminal shows how many are, a log has a line for each.
func (o *operationFlags) work(ctx context.Context, b *batch) {
	todo := slices.DeleteFunc(slices.Clone(b.Clusters), func(r *row) bool { return r.plan == nil })
	if len(todo) == 0 {
		return
	}
	progress := o.messages.Progress(b.doing + " " + output.Count(len(todo), "cluster", "clusters"))
	defer progress.End()
	ended := 0
	notes := make([][]federate.Finding, len(todo))
	o.batch.Run(ctx, len(todo), func(ctx context.Context, i int) (err error) {
		notes[i], err = todo[i].work(output.About(ctx, string(todo[i].Name)), b.dryRun)
		return err
	}, func(i int, err error) {
		r := todo[i]
		if r.end(err); r.Result == resultNotBegun {
			return
		}
		ended++
		for _, note := range notes[i] {
			progress.Line(fmt.Sprintf("note: %s: %s", r.Name, note))
		}
		progress.Step(fmt.Sprintf("%d of %d clusters done", ended, len(todo)), fmt.Sprintf("%s: %s", r.Name, r.Result))
	})
}

// announce prints, before anything is done, which clusters will be worked on and their names.
func (o *operationFlags) announce(b *batch) error {
	rows := [][]string{{"NAME", "CONTEXT", "NOTE"}}
	for _, r := range b.Clusters {
		if r.plan == nil {
			continue
		}
		contexts := output.OrNone(r.Context)
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
	output.Linef(o.ErrOut, "%s %s%s:", b.doing, output.Count(len(rows)-1, "cluster", "clusters"), dryRunSuffix(b.dryRun))
	return output.Rows(o.ErrOut, rows)
}

// print prints the summary.
func (o *operationFlags) print(b *batch) error {
	switch {
	case o.output.Data():
		return o.output.Print(o.Out, struct {
			output.TypeMeta
			*batch
		}{output.Kind("Summary"), b})
	case o.output.Value == output.Name:
		for _, r := range b.Clusters {
			if r.err == nil {
				output.Linef(o.Out, "membercluster.kubefederate.io/%s", r.Name)
			}
		}
		return nil
	}
	rows := [][]string{{"NAME", "CONTEXT", "RESULT", "REASON"}}
	for _, r := range b.Clusters {
		rows = append(rows, []string{output.OrNone(string(r.Name)), output.OrNone(r.Context), r.Result, r.Reason})
	}
	return output.Rows(o.Out, rows)
}

// err is the summary as an error: nil when nothing failed.
func (b *batch) err(ctx context.Context) error {
	errs := make([]error, len(b.Clusters))
	for i, r := range b.Clusters {
		errs[i] = r.err
	}
	return summary(ctx, errs, b.done, b.dryRun)
}

// summary sums up the errors of a command on many clusters, which were printed one by one; nil when there are none. What
// was done follows verb: "joined".
func summary(ctx context.Context, errs []error, verb string, dryRun cluster.DryRun) error {
	done, notBegun, refused, unfinished := 0, 0, 0, 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case errors.Is(err, targets.ErrNotBegun):
			notBegun++
		case output.ExitCode(err) == output.ExitPartly:
			unfinished++
		case output.ExitCode(err) == output.ExitRefused:
			refused++
		}
	}
	failed := len(errs) - done
	if failed == 0 {
		return nil
	}
	code := output.ExitFailed
	switch {
	case dryRun == cluster.DryRunNone && done+unfinished > 0:
		code = output.ExitPartly
	case refused == failed:
		code = output.ExitRefused
	}
	text := fmt.Sprintf("%s not %s", output.Count(failed, "cluster was", "clusters were"), verb)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		text = fmt.Sprintf("interrupted: %d of %s %s", done, output.Count(len(errs), "cluster was", "clusters were"), verb)
		if cut := failed - notBegun; cut > 0 {
			text += fmt.Sprintf(", %d not finished", cut)
		}
		if notBegun > 0 {
			text += fmt.Sprintf(", %d not begun", notBegun)
		}
	case dryRun != cluster.DryRunNone:
		text = fmt.Sprintf("%s would not be %s%s", output.Count(failed, "cluster", "clusters"), verb, dryRunSuffix(dryRun))
	case done > 0:
		text += "\n* done: " + output.Count(done, "cluster was ", "clusters were ") + verb
	}
	return &output.Exit{Code: code, Err: errors.New(text)}
}
