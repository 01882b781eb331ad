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
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// reachFlags are those of move, unjoin and rotate, which work on members that the host knows. Their clusters are found by ID
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
	o.trust.addTo(cmd)
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
		return cmp.Or(o.validateTrust(), o.validateBounds(), o.output.Validate())
	}
	if o.member.Context != "" {
		return output.Usagef("--member-context names one cluster; those of many members are found by their cluster IDs: leave it out, or name one member")
	}
	return cmp.Or(o.validateTrust(), o.validateBounds(), o.output.ValidateMany())
}

// planOne plans an operation on one member whose cluster connect opens; known is what is known of that connection.
type planOne func(h *host.Cluster, name v1alpha1.MemberName, at command.Cluster, connect connector, known federate.Way) planner

// reach finds the clusters of the chosen members, if they are needed, and runs on each what planned plans. Lost says of a
// member that no context leads to it.
func (o *reachFlags) reach(ctx context.Context, b *batch, needed bool, planned planOne, lost func(*v1alpha1.MemberCluster) string) error {
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
		m := &oneMember{name: v1alpha1.MemberName(o.names[0]), at: at}
		m.planned = func(trusted bool) planner {
			return planned(h, m.name, at, func() (*member.Cluster, error) { return contexts.Connect(at.Context) }, federate.Way{TrustContext: trusted})
		}
		return o.runOne(ctx, m)
	}
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	reached := make([]discover.Reached, len(members))
	if needed {
		view := discover.View{Now: time.Now(), Members: members, Commands: h.Commands, MemberKubeconfig: at.Kubeconfig}
		if reached, err = o.probe.Find(ctx, contexts, view); err != nil {
			return err
		}
	}
	b.Federation, b.dryRun = v1alpha1.FederationName(o.selection.Federation), o.dryRun
	for i := range members {
		r := &row{Name: v1alpha1.MemberName(members[i].Name), ClusterID: v1alpha1.ClusterID(members[i].Spec.ClusterID)}
		b.Clusters = append(b.Clusters, r)
		known := federate.Way{ProvenFor: members[i].UID}
		switch found := reached[i]; {
		case !needed:
			r.plan = planned(h.Cluster, r.Name, command.Cluster{Kubeconfig: at.Kubeconfig}, nil, known)
		case len(found.Ways) > 0:
			var ways []way
			r.Context = found.Ways[0].Name
			for i, w := range found.Ways {
				if i > 0 {
					r.Also = append(r.Also, w.Name)
				}
				ways = append(ways, way{w.Name, planned(h.Cluster, r.Name, command.Cluster{Context: w.Name, Kubeconfig: at.Kubeconfig}, w.Connect, known)})
			}
			r.by(ways)
		case len(found.Disputed) > 0:
			r.disputed(found.Disputed)
		default:
			r.unreachable(fmt.Sprintf("member %q", r.Name), lost(&members[i]))
		}
	}
	if r := b.Clusters[0]; o.single() {
		if r.err != nil {
			return r.err
		}
		m := &oneMember{name: r.Name}
		m.planned = func(bool) planner {
			return func(ctx context.Context, step func(federate.Step)) (federate.Operation, error) {
				p, err := r.plan(ctx, step)
				m.at = command.Cluster{Context: r.Context, Kubeconfig: at.Kubeconfig}
				return p, err
			}
		}
		return o.runOne(ctx, m)
	}
	return o.runMany(ctx, b)
}
