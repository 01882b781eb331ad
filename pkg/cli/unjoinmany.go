package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

func (f *unjoinFlags) checkMany(names []string) error {
	switch {
	case f.member.context != "":
		return usagef("--member-context names one cluster; those of many members are found by their IDs: leave it out, or let one member leave")
	case !f.members.all && f.members.selector == "" && f.members.federation.name != "":
		return usagef("--federation=%s alone would let all its members leave: say so with --all", f.members.federation.name)
	}
	if err := f.checkForce(); err != nil {
		return err
	}
	if err := f.members.check(names); err != nil {
		return err
	}
	if err := f.many.check(); err != nil {
		return err
	}
	return checkFormat(f.output)
}

// runMany lets many members leave. Their clusters are found by ID among the contexts: the credential that the host
// keeps would reach them too, but it has no right to remove what a join made, and a caller has none to read it.
func (f *unjoinFlags) runMany(ctx context.Context, d *factory, names []string) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	if err := f.checkMany(names); err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	members, err := f.members.members(ctx, d, h, names)
	if err != nil || len(members) == 0 {
		return err
	}
	reached := make([]*discover.Observation, len(members))
	if !f.force {
		source, err := f.member.source(d)
		if err != nil {
			return err
		}
		observations, errs := f.many.probe(ctx, d, source)
		if err := errors.Join(errs...); err != nil {
			return whileReading(ctx, err)
		}
		reached = discover.Reach(members, observations)
	}
	b := &batch{Operation: "unjoin", Federation: f.members.federation.value(), doing: "unjoining", done: "unjoined", timeout: f.timeout, dryRun: dryRun}
	for i := range members {
		b.Clusters = append(b.Clusters, f.row(h, &members[i], reached[i], dryRun))
	}
	if err := b.announce(d); err != nil {
		return err
	}
	b.work(ctx, d, f.many.parallel)
	if err := b.print(d, *f.output.OutputFormat); err != nil {
		return err
	}
	return b.err()
}

// row is a member that leaves.
func (f *unjoinFlags) row(h *host.Cluster, m *v1alpha1.MemberCluster, s *discover.Observation, dryRun federate.DryRun) *row {
	r := &row{Name: v1alpha1.MemberName(m.Name), ClusterID: v1alpha1.ClusterID(m.Spec.ClusterID)}
	if s == nil && !f.force {
		r.Result = resultUnreachable
		r.Reason = fmt.Sprintf("no context of the kubeconfig reaches the cluster with ID %s; name another with --member-kubeconfig, or, if it is gone for good, "+
			"let it go with: kubectl federate unjoin %s --force", m.Spec.ClusterID, m.Name)
		r.err = fmt.Errorf("member %q: %s", m.Name, r.Reason)
		return r
	}
	options := federate.UnjoinOptions{Name: r.Name, DropLabel: f.dropLabel, Force: f.force, DryRun: dryRun}
	if s != nil {
		r.Context, options.MemberContext = s.Name, s.Name
	}
	r.do = func(ctx context.Context, r *row) ([]federate.Finding, error) {
		var c *member.Cluster
		var err error
		if s != nil {
			if c, err = s.Connect(); err != nil {
				return nil, err
			}
		}
		plan, err := federate.PlanUnjoin(ctx, h, c, options)
		if err != nil {
			return nil, whileReading(ctx, err)
		}
		if dryRun != federate.DryRunNone {
			r.Result, r.Steps = "would unjoin"+dryRunSuffix(dryRun), strings.Split(strings.TrimSpace(plan.Text()), "\n")
			return plan.Notes, nil
		}
		result, err := plan.Apply(ctx, nil)
		if err != nil {
			return plan.Notes, whileReading(ctx, err)
		}
		r.Result = "unjoined"
		if result.Already {
			r.Result = "already unjoined"
		}
		if result.Finishing {
			r.Reason = finishing
		}
		return result.Notes, nil
	}
	return r
}
