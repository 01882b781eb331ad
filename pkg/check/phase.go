package check

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Codes of members that are not well, by their phases.
const (
	MemberOffline  Code = "MemberOffline"
	MemberNotReady Code = "MemberNotReady"
)

// unwell reports a member that the manager finds Offline or NotReady, where nothing else that was found says why: what the host sees
// decides, whatever this machine reaches.
func (s subject) unwell() {
	code, unwell := map[v1alpha1.Phase]Code{v1alpha1.PhaseOffline: MemberOffline, v1alpha1.PhaseNotReady: MemberNotReady}[s.Status.Phase]
	if !unwell || s.DeletionTimestamp != nil || s.Host.Probes.Stopped() || slices.ContainsFunc(s.found, func(f Finding) bool {
		return f.Member == s.Name && f.Severity == Error
	}) {
		return
	}
	ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return
	}
	f := Finding{
		Code: code, Severity: Error, Area: Members,
		Cause: fmt.Sprintf("is %s for the manager since %s: %s: %s", s.Status.Phase, ready.LastTransitionTime.UTC().Format(timeFormat), ready.Reason, ready.Message),
	}
	own, there := s.credentials[s.name()], s.contexts[s.Spec.ClusterID]
	switch {
	case s.elsewhere() != nil:
		f = s.moved(f)
	case own != nil && own.State != nil:
		f.Cause += "; it answers here at the same address: something between the host and the member keeps the manager from it"
	case there == nil && slices.ContainsFunc(s.Observations, func(o Observation) bool { return o.Context != "" }):
		f.Cause += "; no context that was checked leads to it"
	case there == nil:
		f.Remedy = s.line(command.Check{AllContexts: true})
	default:
		f.Cause += "; its own cluster answers at that address, by context " + cluster.Quoted(there.Context)
	}
	s.onHost(f)
}

// elsewhere is what a context reaches of the cluster at another address than that of the member; nil where none does.
func (s subject) elsewhere() *Observation {
	there := s.contexts[s.Spec.ClusterID]
	if there == nil || there.Server == "" || endpoint.KeyOf(there.Server) == endpoint.KeyOf(s.Spec.Server) {
		return nil
	}
	return there
}

// moved adds to a finding the address at which a context reaches the cluster, and the command that moves the member there.
func (s subject) moved(f Finding) Finding {
	if there := s.elsewhere(); there != nil {
		f.Cause += fmt.Sprintf("; context %s reaches the cluster at %s", cluster.Quoted(there.Context), there.Server)
		f.Remedy = s.join(command.Join{Server: there.Server})
	}
	return f
}
