package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// reasonProbesStopped is that of a member that is not being probed. It is the code of check, and never stored.
const reasonProbesStopped = string(check.ProbesStopped)

// settledPhases follow from what is on the host; all others are what a probe found last.
var settledPhases = []v1alpha1.Phase{v1alpha1.PhaseJoining, v1alpha1.PhasePending, v1alpha1.PhaseSuspended, v1alpha1.PhaseLeaving}

// asKnown gives a member as it is known: its status is the manager's last word, which is written when it changes, and probes say
// until when that was seen to be true. It is pure, and leaves m as it is.
//
// The last contact with a member that answers is when probes were made last, and not status.lastProbeTime as it is stored, which is written
// every few hours; with one that does not, it is stored. When probes have stopped, its condition Ready and its phase, if that follows from probes, are Unknown, since they did.
func asKnown(m v1alpha1.MemberCluster, p host.Probes) v1alpha1.MemberCluster {
	if m.Status.Phase == "" || p.Err != nil {
		return m
	}
	ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Status == metav1.ConditionTrue && m.Status.LastProbeTime != nil && p.Until.After(m.Status.LastProbeTime.Time) {
		m.Status.LastProbeTime = new(metav1.NewTime(p.Until))
	}
	if !p.Stopped() {
		return m
	}
	was := string(m.Status.Phase)
	if ready != nil && ready.Status != metav1.ConditionTrue {
		was += ", " + ready.Reason
	}
	m.Status.Conditions = slices.Clone(m.Status.Conditions)
	meta.RemoveStatusCondition(&m.Status.Conditions, v1alpha1.ConditionReady)
	m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown, Reason: reasonProbesStopped,
		Message:            "the manager has not probed the cluster since: it does not run, is stuck, or cannot write to the host; before that: " + was,
		LastTransitionTime: metav1.NewTime(p.Since()), ObservedGeneration: m.Generation,
	})
	if !slices.Contains(settledPhases, m.Status.Phase) {
		m.Status.Phase = phaseUnknown
	}
	return m
}

// allAsKnown is asKnown of all members.
func allAsKnown(members []v1alpha1.MemberCluster, p host.Probes) []v1alpha1.MemberCluster {
	known := make([]v1alpha1.MemberCluster, len(members))
	for i := range members {
		known[i] = asKnown(members[i], p)
	}
	return known
}

// known gives members, as they are known.
func (d *factory) known(ctx context.Context, h targets.Members, read func() ([]v1alpha1.MemberCluster, error)) ([]v1alpha1.MemberCluster, error) {
	members, probes, err := d.withProbes(ctx, h, read)
	return allAsKnown(members, probes), err
}

// withProbes gives members, as they are stored, and until when they were probed, which is read at the same time. It warns where
// that is not known, or long ago.
func (d *factory) withProbes(ctx context.Context, h targets.Members, read func() ([]v1alpha1.MemberCluster, error)) ([]v1alpha1.MemberCluster, host.Probes, error) {
	var members []v1alpha1.MemberCluster
	var probes host.Probes
	errs := cluster.Together(
		func() (err error) { members, err = read(); return err },
		func() error { probes = h.Probes(ctx); return nil },
	)
	if text := probesText(h.Commands, probes); text != "" && errs[0] == nil && len(members) > 0 {
		output.Line(d.ErrOut, text)
	}
	return members, probes, errs[0]
}

// probesText warns that it is not known how members are, or how old that is; it is empty when they are being probed.
func probesText(commands command.Host, p host.Probes) string {
	const unknown = "it is not known when members were probed last, and what is shown may be old: "
	switch {
	case p.Stopped():
		return fmt.Sprintf("warning: the manager has not probed members since %s (%s ago), so it is not known how they are; it does not run, is stuck, or cannot write to the host: %s",
			p.Since().UTC().Format(time.RFC3339), duration.HumanDuration(p.Now.Sub(p.Since())), commands.To("find out which", command.Check{}))
	case p.NotInstalled():
		return "warning: " + unknown + fmt.Sprintf("the host has no %s, which an earlier release did not install; ", host.ProbesRef()) +
			commands.To("install it", command.Init{})
	case apierrors.IsForbidden(p.Err):
		return "warning: " + unknown + fmt.Sprintf("you are not allowed to get %s", host.ProbesRef())
	case p.Err != nil:
		return "warning: " + unknown + cluster.Cause(p.Err)
	}
	return ""
}
