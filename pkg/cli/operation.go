package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// plan is what pkg/federate plans for one member: a join, an unjoin or a rotation.
type plan interface {
	// Verb is what it does to the member: "join".
	Verb() string
	// Notes are what a person should know before it is applied.
	Notes() []federate.Finding
	Text() string
	Objects() []*unstructured.Unstructured
	Apply(ctx context.Context, step func(federate.Step)) (*result, error)
}

// result is what an applied plan did.
type result struct {
	// Done says it in a word, for a table: "joined". Reason adds what a person should know of it, if anything.
	Done, Reason string
	// Line says both, for a member of its own; empty where they are printed apart.
	Line  string
	Notes []federate.Finding
	// Member is the member as the host keeps it; nil when it left.
	Member *v1alpha1.MemberCluster
	// Expires is when the stored credential expires; zero when none was stored.
	Expires time.Time
}

// operation plans and applies on one member.
type operation struct {
	// Plan reads and judges, and writes nothing.
	Plan func(ctx context.Context, step func(federate.Step)) (plan, error)
	// Cluster is what the member's kubeconfig calls it, for commands that messages propose.
	Cluster command.Cluster
}

// operationOptions are those that join, unjoin and rotate have in common.
type operationOptions struct {
	*factory
	member targets.MemberFlags
	batch  targets.Batch
	probe  targets.Probe
	dryRun federate.DryRun
	output output.Flags
}

// validateBounds refuses bounds that make no sense.
func (o *operationOptions) validateBounds() error {
	if err := o.batch.Validate(); err != nil {
		return err
	}
	return o.probe.Validate()
}

// one runs an operation on one member and prints what it did.
func (o *operationOptions) one(ctx context.Context, name v1alpha1.MemberName, op operation) error {
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
	p, err := op.Plan(ctx, step)
	if err != nil {
		progress.End()
		return output.WhileReading(ctx, err)
	}
	for _, note := range p.Notes() {
		progress.Line("note: " + note.String())
	}
	if o.dryRun != federate.DryRunNone {
		progress.End()
		if o.output.Value != "" {
			return o.output.Objects(o.Out, p.Objects())
		}
		_, err := fmt.Fprint(o.Out, p.Text())
		return err
	}
	done, err := p.Apply(ctx, step)
	progress.End()
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	for _, note := range done.Notes {
		if !slices.Contains(p.Notes(), note) {
			progress.Line("note: " + note.String())
		}
	}
	return o.printOne(name, op.Cluster, p, done)
}

func (o *operationOptions) printOne(name v1alpha1.MemberName, cluster command.Cluster, p plan, done *result) error {
	line := done.Line
	if line == "" {
		line = done.Done
		if done.Reason != "" {
			fmt.Fprintln(o.ErrOut, output.Printable(done.Reason))
		}
	}
	switch {
	case o.output.Value != "" && done.Member != nil:
		return o.output.Object(o.Out, output.WithKind(done.Member, "MemberCluster"))
	case o.output.Value == output.Name:
		_, err := fmt.Fprintf(o.Out, "membercluster.kubefederate.io/%s\n", name)
		return err
	case o.output.Value != "":
		return o.output.Objects(o.Out, p.Objects())
	}
	fmt.Fprintf(o.Out, "membercluster.kubefederate.io/%s %s\n", name, line)
	if !done.Expires.IsZero() {
		fmt.Fprintln(o.ErrOut, o.commands().To(
			fmt.Sprintf("the credential expires at %s; to renew it, run", done.Expires.UTC().Format(time.RFC3339)),
			command.Rotate{Member: name, Cluster: cluster}))
	}
	return nil
}
