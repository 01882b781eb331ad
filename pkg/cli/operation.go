package cli

import (
	"cmp"
	"context"
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

// operationFlags are those that join, unjoin, rotate and discover have in common.
type operationFlags struct {
	*factory
	member targets.MemberFlags
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

// runOne runs an operation on one member and prints what it did.
func (o *operationFlags) runOne(ctx context.Context, name v1alpha1.MemberName, at command.Cluster, planned planner) error {
	ctx, cancel := targets.WithTimeout(ctx, o.batch.Timeout)
	defer cancel()
	progress := o.messages.Progress(fmt.Sprintf("reading the host and member %q", name))
	defer progress.End()
	step := func(s federate.Step) {
		if s.Verb == federate.VerbWait {
			progress.Wait(s.String())
		} else {
			progress.Update(s.String())
		}
	}
	p, err := planned(ctx, step)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	for _, note := range p.Notes() {
		progress.Line("note: " + note.String())
	}
	if o.dryRun != cluster.DryRunNone {
		progress.End()
		if o.output.Value != "" {
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
	return o.printOne(name, at, p, r)
}

func (o *operationFlags) printOne(name v1alpha1.MemberName, at command.Cluster, p federate.Operation, r *federate.Result) error {
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
		output.Line(o.ErrOut, o.commands().To(
			fmt.Sprintf("the credential expires at %s; to renew it, run", r.Expires.UTC().Format(time.RFC3339)),
			command.Rotate{Member: name, Cluster: at}))
	}
	return nil
}
