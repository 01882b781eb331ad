package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// reachFlags are those of unjoin and rotate, which work on members that the host knows. Their clusters are found by ID
// among the contexts: the credential that the host keeps would reach them too, but it has no right to remove or to renew
// what a join made, and a caller has none to read it.
type reachFlags struct {
	operationFlags
	selection targets.SelectFlags
	names     []string
}

// addTo adds the flags; usage is that of --federation.
func (o *reachFlags) addTo(cmd *cobra.Command, timeout time.Duration, usage string) {
	o.operationFlags.addTo(cmd, timeout)
	o.addSelection(cmd, &o.selection, usage)
}

// single says whether one member is named.
func (o *reachFlags) single() bool { return len(o.names) == 1 && !o.selection.Given() }

func (o *reachFlags) validate() error {
	for _, name := range o.names {
		if err := validateName("member", name); err != nil {
			return err
		}
	}
	if err := o.selection.Validate(o.names); err != nil {
		return err
	}
	if o.single() {
		return cmp.Or(o.validateBounds(), o.output.Validate())
	}
	if o.member.Context != "" {
		return output.Usagef("--member-context names one cluster; those of many members are found by their cluster IDs: leave it out, or name one member")
	}
	return cmp.Or(o.validateBounds(), o.output.ValidateMany())
}

// reach finds the clusters of the chosen members, if they are needed, and runs on each what planned plans. Lost says of a
// member that no context leads to it.
func (o *reachFlags) reach(ctx context.Context, b *batch, needed bool,
	planned func(h *host.Cluster, name v1alpha1.MemberName, at command.Cluster, connect connector) planner,
	lost func(*v1alpha1.MemberCluster) string) error {
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil && needed {
		return err
	}
	at := command.Cluster{Context: o.member.Context, Kubeconfig: o.member.Kubeconfig}
	if o.single() && (at.Context != "" || !needed) {
		h, err := o.host()
		if err != nil {
			return err
		}
		name := v1alpha1.MemberName(o.names[0])
		return o.runOne(ctx, name, at, planned(h, name, at, func() (*member.Cluster, error) { return contexts.Connect(at.Context) }))
	}
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	observations := make([]*discover.Observation, len(members))
	if needed {
		if observations, err = o.probe.Find(ctx, contexts, members); err != nil {
			return err
		}
	}
	b.Federation, b.dryRun = v1alpha1.FederationName(o.selection.Federation), o.dryRun
	for i := range members {
		r := &row{Name: v1alpha1.MemberName(members[i].Name), ClusterID: v1alpha1.ClusterID(members[i].Spec.ClusterID)}
		b.Clusters = append(b.Clusters, r)
		var connect connector
		switch found := observations[i]; {
		case found != nil:
			r.Context, connect = found.Name, found.Connect
		case needed:
			r.unreachable(fmt.Sprintf("member %q", r.Name), lost(&members[i]))
			continue
		}
		r.plan = planned(h.Cluster, r.Name, command.Cluster{Context: r.Context, Kubeconfig: at.Kubeconfig}, connect)
	}
	if r := b.Clusters[0]; o.single() {
		if r.err != nil {
			return r.err
		}
		return o.runOne(ctx, r.Name, command.Cluster{Context: r.Context, Kubeconfig: at.Kubeconfig}, r.plan)
	}
	return o.runMany(ctx, b)
}
