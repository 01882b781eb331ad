package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// plan is what pkg/federate plans for one member: a join, an unjoin or a rotation.
type plan struct {
	steps interface {
		Text() string
		Objects() []*unstructured.Unstructured
	}
	// verb is what it does to the member: "join".
	verb string
	// notes are what a person should know before it is applied.
	notes []federate.Finding
	apply func(ctx context.Context, step func(federate.Step)) (*result, error)
}

// planner reads and judges, and writes nothing. Step is called for what takes a while; it may be nil.
type planner func(ctx context.Context, step func(federate.Step)) (*plan, error)

// connector opens a member's cluster. It sends no request.
type connector func() (*member.Cluster, error)

// result is what an applied plan did.
type result struct {
	// done says it in a word, for a table: "joined". reason adds what a person should know of it, if anything.
	done, reason string
	// line says both, for a member of its own; empty where they are printed apart.
	line  string
	notes []federate.Finding
	// member is the member as the host keeps it; nil when it left.
	member *v1alpha1.MemberCluster
	// expires is when the stored credential expires; zero when none was stored.
	expires time.Time
}

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
	for _, note := range p.notes {
		progress.Line("note: " + note.String())
	}
	if o.dryRun != cluster.DryRunNone {
		progress.End()
		if o.output.Value != "" {
			return o.output.Objects(o.Out, p.steps.Objects())
		}
		_, err := fmt.Fprint(o.Out, p.steps.Text())
		return err
	}
	r, err := p.apply(ctx, step)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	progress.End()
	for _, note := range r.notes {
		if !slices.Contains(p.notes, note) {
			progress.Line("note: " + note.String())
		}
	}
	return o.printOne(name, at, p, r)
}

func (o *operationFlags) printOne(name v1alpha1.MemberName, at command.Cluster, p *plan, r *result) error {
	line := r.line
	if line == "" {
		line = r.done
		if r.reason != "" {
			fmt.Fprintln(o.ErrOut, output.Printable(r.reason))
		}
	}
	switch {
	case o.output.Value != "" && r.member != nil:
		return o.output.Object(o.Out, output.WithKind(r.member, "MemberCluster"))
	case o.output.Value == output.Name:
		_, err := fmt.Fprintf(o.Out, "membercluster.kubefederate.io/%s\n", name)
		return err
	case o.output.Value != "":
		return o.output.Objects(o.Out, p.steps.Objects())
	}
	fmt.Fprintf(o.Out, "membercluster.kubefederate.io/%s %s\n", name, line)
	if !r.expires.IsZero() {
		fmt.Fprintln(o.ErrOut, o.commands().To(
			fmt.Sprintf("the credential expires at %s; to renew it, run", r.expires.UTC().Format(time.RFC3339)),
			command.Rotate{Member: name, Cluster: at}))
	}
	return nil
}
