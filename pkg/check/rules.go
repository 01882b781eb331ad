package check

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// severityOf is that of a broken rule.
func severityOf(enforcement v1alpha1.Enforcement) Severity {
	if enforcement == v1alpha1.EnforceWarn {
		return Warning
	}
	return Error
}

// limits reports the federations that have more members than they take.
func (j *judge) limits() {
	for i := range j.Host.Federations {
		f := &j.Host.Federations[i]
		c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.ConditionWithinLimits)
		if c != nil && c.Status == metav1.ConditionFalse {
			j.add(Finding{Code: LimitExceeded, Severity: severityOf(f.Spec.Enforcement), Side: cluster.Host,
				Object: host.FederationRef(v1alpha1.FederationName(f.Name)).String(), Cause: c.Message})
		}
	}
}

// inventories reports the federations whose members cannot all be published.
func (j *judge) inventories() {
	for i := range j.Host.Federations {
		f := &j.Host.Federations[i]
		if c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.ConditionInventoryPublished); c != nil && c.Status == metav1.ConditionFalse {
			j.add(Finding{Code: NotPublished, Severity: Error, Side: cluster.Host,
				Object: host.FederationRef(v1alpha1.FederationName(f.Name)).String(), Cause: c.Message, Remedy: j.missingGrant(f)})
		}
	}
}

// published reports why a member alone is not published, or has no credential for those who read the inventory. What its federation
// or its acceptance is the cause of is said there.
func (s subject) published() {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionPublished)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason == v1alpha1.ReasonInventoryUnavailable || c.Reason == v1alpha1.ReasonNotAccepted {
		return
	}
	s.onHost(Finding{Code: NotPublished, Severity: Warning, Cause: c.Message})
}

// violations reports the rules that a member breaks, as the manager found.
func (s subject) violations() {
	for _, v := range s.Status.Violations {
		f := Finding{Code: RulesBroken, Severity: severityOf(v.Enforcement), Cause: v.Message}
		if id := rules.ID(v.Rule); id == rules.Labels || id == rules.Topology {
			if mend := MendRules(s.federations[s.Federation()], s.MemberCluster); mend != nil {
				f.Remedy = s.line(mend)
			}
		}
		s.onHost(f)
	}
}

// MendRules is the command that sets the first label of a member which its federation takes another value of; nil when there is
// none.
func MendRules(federation *v1alpha1.Federation, m *v1alpha1.MemberCluster) command.Command {
	if federation == nil {
		return nil
	}
	key, value := rules.LabelToSet(federation, m)
	if key == "" {
		return nil
	}
	_, has := m.Labels[key]
	return command.KubectlLabel{Object: command.Object{GroupResource: memberResource, Name: m.Name}, Key: key, Value: value, Overwrite: has}
}
