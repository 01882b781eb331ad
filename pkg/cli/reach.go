package cli

import (
	"context"
	"fmt"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// reachOptions are those of unjoin and rotate, which work on members that the host knows. Their clusters are found by ID
// among the contexts: the credential that the host keeps would reach them too, but it has no right to remove or to renew
// what a join made, and a caller has none to read it.
type reachOptions struct {
	operationOptions
	names     []string
	selection targets.SelectFlags
}

// connector opens a member's cluster. It sends no request.
type connector func() (*member.Cluster, error)

// one says whether one member is named.
func (o *reachOptions) single() bool { return len(o.names) == 1 && !o.selection.Given() }

func (o *reachOptions) validate() error {
	if err := o.selection.Validate(o.names); err != nil {
		return err
	}
	if o.member.Context != "" && !o.single() {
		return output.Usagef("--member-context names one cluster; those of many members are found by their cluster IDs: leave it out, or name one member")
	}
	if err := o.validateBounds(); err != nil {
		return err
	}
	if o.single() {
		return o.output.Validate()
	}
	return o.output.ValidateMany()
}

// reach finds the clusters of the chosen members, if they are needed, and runs on each the operation that of returns.
// Lost says of a member that no context leads to it.
func (o *reachOptions) reach(ctx context.Context, b *batch, needed bool,
	of func(h *host.Cluster, name v1alpha1.MemberName, at command.Cluster, connect connector) operation,
	lost func(*v1alpha1.MemberCluster) string) error {
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil && needed {
		return err
	}
	at := command.Cluster{Context: o.member.Context, Kubeconfig: o.member.Kubeconfig}
	if o.single() && (o.member.Context != "" || !needed) {
		h, err := o.host()
		if err != nil {
			return err
		}
		if needed {
			if err := contexts.Has("--member-context", at.Context); err != nil {
				return err
			}
		}
		name := v1alpha1.MemberName(o.names[0])
		return o.one(ctx, name, of(h, name, at, func() (*member.Cluster, error) { return contexts.Connect(at.Context) }))
	}
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	rows := make([]operation, len(members))
	b.Clusters = make([]*row, len(members))
	for i := range members {
		b.Clusters[i] = &row{Name: v1alpha1.MemberName(members[i].Name), ClusterID: v1alpha1.ClusterID(members[i].Spec.ClusterID)}
		rows[i] = of(h.Cluster, b.Clusters[i].Name, command.Cluster{}, nil)
	}
	if needed {
		observations, err := o.probe.Find(ctx, contexts, members)
		if err != nil {
			return err
		}
		for i, s := range observations {
			if s == nil {
				b.Clusters[i].unreachable(fmt.Sprintf("member %q", members[i].Name), lost(&members[i]))
				continue
			}
			b.Clusters[i].Context, at.Context = s.Name, s.Name
			rows[i] = of(h.Cluster, b.Clusters[i].Name, at, s.Connect)
		}
	}
	if o.single() {
		if err := b.Clusters[0].err; err != nil {
			return err
		}
		return o.one(ctx, b.Clusters[0].Name, rows[0])
	}
	for i, r := range b.Clusters {
		if r.err == nil {
			r.plan = func(ctx context.Context) (plan, error) { return rows[i].Plan(ctx, nil) }
		}
	}
	return o.many(ctx, b)
}
