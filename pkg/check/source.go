package check

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// defaultPatience is how long an object must be gone where spec.discovery.gonePatience does not say, and leavingTime how much later a
// member has left that could.
const defaultPatience, leavingTime = time.Hour, 10 * time.Minute

// source reports a member that discovery joined and whose object is gone, or cannot be looked for. That is no more than of interest, unless
// the member should have left by then.
func (s subject) source() {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSourcePresent)
	if c == nil || c.Status == metav1.ConditionTrue {
		return
	}
	f := s.federations[s.Federation()]
	finding := Finding{Code: Code(c.Reason), Area: Members, Severity: Info, Cause: c.Message}
	switch {
	case c.Reason == v1alpha1.ReasonSourceUnreadable:
		if f != nil && f.Spec.Discovery != nil && meta.IsStatusConditionFalse(f.Status.Conditions, v1alpha1.ConditionDiscovering) {
			return // it is said there
		}
		finding.Severity = Warning
	case c.Status != metav1.ConditionFalse:
		return // its object has served, or rests
	case f == nil || f.Spec.Discovery == nil || f.Spec.Discovery.WhenGone != v1alpha1.GoneLeave:
		finding.Remedy = s.leave()
	case s.Now.Sub(c.LastTransitionTime.Time) > patience(f.Spec.Discovery)+leavingTime:
		finding.Severity, finding.Cause, finding.Remedy = Warning, "has not left by itself: "+c.Message, s.leave()
	}
	s.onHost(finding)
}

// leave is the command that lets the member leave.
func (s subject) leave() string {
	return s.line(command.Unjoin{Member: s.name(), Cluster: s.way()})
}

// patience is how long an object must be gone before its member leaves.
func patience(d *v1alpha1.Discovery) time.Duration {
	if patience, err := time.ParseDuration(d.GonePatience); err == nil {
		return patience
	}
	return defaultPatience
}
