package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// planner reads and judges, and writes nothing. Step is called for what takes a while; it may be nil.
type planner func(ctx context.Context, step func(federate.Step)) (federate.Operation, error)

// connector opens a member's cluster. It sends no request.
type connector func() (*member.Cluster, error)

// way is one way to a cluster, and how an operation is planned through it.
type way struct {
	context string
	plan    planner
}

// firstOf plans through the ways, in their order, until one finds nothing on the member that stands against it: another
// context may have rights that this one lacks. Chosen is called with the way that is used. Where none will do, the error is
// that of the way that is nearest to it.
func firstOf(ways []way, chosen func(way)) planner {
	return func(ctx context.Context, step func(federate.Step)) (federate.Operation, error) {
		var nearest error
		var used way
		fewest := 0
		for _, w := range ways {
			p, err := w.plan(ctx, step)
			findings, onMember := federate.OnMember(err)
			if err == nil || !onMember || ctx.Err() != nil {
				chosen(w)
				return p, err
			}
			if nearest == nil || findings < fewest {
				nearest, used, fewest = err, w, findings
			}
		}
		chosen(used)
		return nil, nearest
	}
}

// operationFlags are those that join, move, unjoin, rotate and discover have in common.
type operationFlags struct {
	*factory
	member targets.MemberFlags
	trust  trustFlags
	batch  targets.Batch
	probe  targets.Probe
	dryRun cluster.DryRun
	output output.Flags
}

func newOperationFlags(d *factory) operationFlags {
	return operationFlags{factory: d, output: output.NewFlags(), probe: targets.Probe{Messages: &d.messages}}
}

// addTo adds the flags; timeout is the default of --timeout.
func (o *operationFlags) addTo(cmd *cobra.Command, timeout time.Duration) {
	o.member.AddTo(cmd, &o.hostFlags)
	o.batch.AddTo(cmd, timeout)
	o.probe.AddTo(cmd)
	addDryRun(cmd, &o.dryRun)
	o.output.AddTo(cmd)
}

// validateBounds refuses bounds that make no sense.
func (o *operationFlags) validateBounds() error {
	return cmp.Or(o.batch.Validate(), o.probe.Validate())
}

// oneMember is an operation on one member.
type oneMember struct {
	name v1alpha1.MemberName
	// at is its cluster, and planned how the operation is planned; trusted says that a person answers for a context that cannot
	// prove to lead to the member.
	at      command.Cluster
	planned func(trusted bool) planner
}

// runOne runs an operation on one member and prints what it did.
func (o *operationFlags) runOne(ctx context.Context, m *oneMember) error {
	ctx, cancel := targets.WithTimeout(ctx, o.batch.Timeout)
	defer cancel()
	progress := o.messages.Progress(fmt.Sprintf("reading the host and member %q", m.name))
	defer progress.End()
	step := func(s federate.Step) {
		if s.Verb == federate.VerbWait {
			progress.Wait(s.String())
		} else {
			progress.Update(s.String())
		}
	}
	p, err := m.planned(false)(ctx, step)
	if unproven, ok := errors.AsType[*federate.Unproven](err); ok && o.trust.given {
		progress.End()
		if err := o.confirm(ctx, unproven); err != nil {
			return err
		}
		p, err = m.planned(true)(ctx, step)
	}
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	for _, note := range p.Notes() {
		progress.Line("note: " + note.String())
	}
	if o.dryRun != cluster.DryRunNone {
		progress.End()
		if o.output.Value != "" {
			output.Line(o.ErrOut, "note: these are objects of the host and of the member together, so they are not for kubectl apply")
			return o.output.Objects(o.Out, p.Objects())
		}
		return output.Text(o.Out, p.Text())
	}
	r, err := p.Apply(ctx, step)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	progress.End()
	for _, note := range r.Notes {
		if !slices.Contains(p.Notes(), note) {
			progress.Line("note: " + note.String())
		}
	}
	return o.printOne(m, p, r)
}

func (o *operationFlags) printOne(m *oneMember, p federate.Operation, r *federate.Result) error {
	name := m.name
	line := r.Line
	if line == "" {
		line = r.Done
		if r.Reason != "" {
			output.Line(o.ErrOut, r.Reason)
		}
	}
	switch {
	case o.output.Value != "" && r.Member != nil:
		return o.output.Object(o.Out, output.WithKind(r.Member, "MemberCluster"))
	case o.output.Value == output.Name:
		output.Linef(o.Out, "membercluster.kubefederate.io/%s", name)
		return nil
	case o.output.Value != "":
		return o.output.Objects(o.Out, p.Objects())
	}
	output.Linef(o.Out, "membercluster.kubefederate.io/%s %s", name, line)
	if !r.Expires.IsZero() {
		output.Linef(o.ErrOut, "the credential expires at %s; the manager renews it before", r.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}
