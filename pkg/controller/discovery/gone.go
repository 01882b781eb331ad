package discovery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const (
	// maxLeaves is how many members are tried to let leave in a round, and leaveRest how long one rests that could not.
	maxLeaves = 4
	leaveRest = 10 * time.Minute
)

// attempt is one to let a member leave that it did not leave by: what became of it, and when the next is made.
type attempt struct {
	next    time.Time
	message string
}

// defaultPatience is that of a federation that does not say.
const defaultPatience = time.Hour

// presence is what is known of the object of a member that discovery joined.
type presence struct {
	member     *v1alpha1.MemberCluster
	federation *v1alpha1.Federation
	condition  metav1.Condition
	// candidate is the object, where it is still there.
	candidate *discover.Candidate
}

// gone says whether the object, or its label, is known to be gone.
func (p *presence) gone() bool { return p.condition.Status == metav1.ConditionFalse }

// findGone looks for the object of each member that discovery joined. Only what was read without an error, and is not there, is gone.
func (c *controller) findGone(s *state, candidates []discover.Candidate, failed unreadable) []presence {
	type object struct {
		discover.Object
		candidate *discover.Candidate
	}
	there := map[types.UID]object{}
	// asking are the clusters whose membership some object asks for, as those that were made anew do.
	asking := map[v1alpha1.ClusterID]v1alpha1.FederationName{}
	for i := range candidates {
		for _, o := range candidates[i].Objects {
			there[o.UID] = object{o, &candidates[i]}
			if id := c.memory.Cluster(o.UID); id != "" && o.JoinRequest != "" {
				asking[id] = o.JoinRequest
			}
		}
	}
	var all []presence
	still := map[types.UID]bool{}
	for _, uid := range slices.Sorted(maps.Keys(s.discovered)) {
		m := s.discovered[uid]
		d, o := m.Spec.Discovered, there[uid]
		p := presence{member: m, federation: s.federations[m.Federation()], candidate: o.candidate}
		p.condition = presenceOf(m, o.candidate, o.JoinRequest, failed.of(d.Kind, d.Namespace))
		if p.gone() && asking[v1alpha1.ClusterID(m.Spec.ClusterID)] == m.Federation() {
			p.condition.Status, p.condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonSourcePresent
			p.condition.Message = "another object asks for the membership: " + p.condition.Message
		}
		if p.gone() {
			still[m.UID] = true
			if _, known := c.gone[m.UID]; !known {
				c.gone[m.UID] = s.view.Now
			}
		}
		all = append(all, p)
	}
	maps.DeleteFunc(c.tried, func(uid types.UID, _ attempt) bool { return !still[uid] })
	maps.DeleteFunc(c.leaving, func(uid types.UID, _ bool) bool { return !still[uid] })
	maps.DeleteFunc(c.gone, func(uid types.UID, _ time.Time) bool { return !still[uid] })
	return all
}

// presenceOf is the condition SourcePresent of a member. candidate is what its object stands for, nil where it is not there, and label
// the federation that the object's label names.
func presenceOf(m *v1alpha1.MemberCluster, candidate *discover.Candidate, label v1alpha1.FederationName, unread error) metav1.Condition {
	d := m.Spec.Discovered
	name := objectName(d)
	condition := func(status metav1.ConditionStatus, reason, message string) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionSourcePresent, Status: status, Reason: reason, Message: message, ObservedGeneration: m.Generation}
	}
	switch {
	case unread != nil:
		return condition(metav1.ConditionUnknown, v1alpha1.ReasonSourceUnreadable, name+" cannot be looked for: "+output.Reason(unread))
	case candidate != nil && candidate.Paused:
		return condition(metav1.ConditionUnknown, v1alpha1.ReasonSourcePaused, name+" is paused, as clusterctl move has it before an object goes elsewhere")
	case candidate != nil && label == m.Federation():
		return condition(metav1.ConditionTrue, v1alpha1.ReasonSourcePresent, name+" asks for the membership")
	case candidate != nil && label != "":
		return condition(metav1.ConditionFalse, v1alpha1.ReasonLabelRemoved, fmt.Sprintf("the label of %s names federation %q by now", name, label))
	case candidate != nil:
		return condition(metav1.ConditionFalse, v1alpha1.ReasonLabelRemoved, "the label of "+name+" was removed")
	case isSecret(d.Kind):
		return condition(metav1.ConditionUnknown, v1alpha1.ReasonSecretServed, name+" served to join, and is not looked for again")
	}
	if was := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSourcePresent); was != nil && was.Reason == v1alpha1.ReasonSourcePaused {
		return condition(metav1.ConditionUnknown, v1alpha1.ReasonSourcePaused, name+" was paused, and is gone since: it was moved elsewhere")
	}
	return condition(metav1.ConditionFalse, v1alpha1.ReasonObjectGone, name+" is gone")
}

func objectName(d *v1alpha1.Discovered) string {
	name := d.Name
	if d.Namespace != "" {
		name = d.Namespace + "/" + name
	}
	return fmt.Sprintf("%s object %q", d.Kind, name)
}

// patience is how long an object must be gone before its member leaves.
func patience(f *v1alpha1.Federation) time.Duration {
	if d, err := time.ParseDuration(f.Spec.Discovery.GonePatience); err == nil {
		return d
	}
	return defaultPatience
}

// budget is how many members of a federation may leave by themselves while patience lasts: a tenth of those that were discovered. A
// system that loses its objects does not take a federation with it.
func budget(discovered int) int { return max(1, discovered/10) }

// leave lets members leave whose objects are gone, where their federation says so.
func (c *controller) leave(ctx context.Context, s *state, all []presence) {
	attempts, discovered := 0, map[string]int{}
	for i := range all {
		if f := all[i].federation; f != nil {
			discovered[f.Name]++
		}
	}
	for i := range all {
		p := &all[i]
		f := p.federation
		if !p.gone() || f == nil || f.Spec.Discovery == nil || f.Spec.Discovery.WhenGone != v1alpha1.GoneLeave {
			delete(c.leaving, p.member.UID)
			continue
		}
		wait := patience(f)
		name := v1alpha1.FederationName(f.Name)
		since := c.gone[p.member.UID]
		recent := slices.DeleteFunc(c.leaves[name], func(at time.Time) bool { return s.view.Now.Sub(at) >= wait })
		c.leaves[name] = recent
		switch remaining := wait - s.view.Now.Sub(since); {
		case !s.granted.leave[name]:
			p.condition.Message += "; " + c.host.Commands.To("to let it leave by itself", command.Grant{Federation: name, Discovery: true, Leave: true})
		case remaining > 0:
			p.condition.Message += fmt.Sprintf("; it leaves at %s at the earliest", since.Add(wait).UTC().Format(time.RFC3339))
			c.alarm.in(remaining)
		case len(recent) >= budget(discovered[f.Name]):
			p.condition.Message += fmt.Sprintf("; it leaves later: no more than %s may leave in %s", output.Count(budget(discovered[f.Name]), "member", "members"), wait)
		default:
			if last := c.tried[p.member.UID]; s.view.Now.Before(last.next) {
				p.condition.Message = last.message
				continue
			}
			if attempts == maxLeaves {
				p.condition.Message += "; it leaves soon"
				c.alarm.in(spacing)
				continue
			}
			there, err := c.isThere(ctx, p)
			left := false
			if err == nil && !there {
				left, err = c.unjoin(ctx, s, p)
			}
			if err != nil || there || left {
				attempts++
			}
			switch {
			case err != nil:
				p.condition.Message += "; it could not leave: " + cluster.Printable(output.Reason(err))
			case there:
				p.condition.Message = objectName(p.member.Spec.Discovered) + " is there, but not in its source any more, as where another system took it over: the member stays"
			case left:
				c.leaves[name] = append(c.leaves[name], s.view.Now)
				continue
			default:
				continue // it is opened in the next round
			}
			c.tried[p.member.UID] = attempt{s.view.Now.Add(leaveRest), p.condition.Message}
		}
	}
}

// isThere says whether an object of which no candidate was made is there all the same, as one that Rancher took over, whose source has
// it then. That is asked right before a member would leave.
func (c *controller) isThere(ctx context.Context, p *presence) (bool, error) {
	if p.candidate != nil {
		return false, nil
	}
	d := p.member.Spec.Discovered
	source, known := discover.OfKind(d.Kind)
	if !known {
		return false, fmt.Errorf("this version does not know the source %s", d.Kind)
	}
	for _, versions := range source.Kinds {
		kind, served, err := c.host.Served(ctx, versions...)
		if err != nil {
			return false, err
		}
		if !served || (d.Namespace == "") != slices.Contains(source.ClusterWide, versions[0]) {
			continue
		}
		o, err := c.host.ForeignMetadata(ctx, cluster.Ref{Resource: kind, Namespace: d.Namespace, Name: d.Name})
		if err != nil || o != nil && string(o.GetUID()) == d.UID && o.GetDeletionTimestamp() == nil {
			return o != nil, err
		}
	}
	return false, nil
}

// unjoin lets one member leave: by the Secret of its object where that is still there, and else by what the host has alone. It has not
// left yet where that Secret is read in the next round.
func (c *controller) unjoin(ctx context.Context, s *state, p *presence) (left bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	o := federate.UnjoinOptions{Name: v1alpha1.MemberName(p.member.Name)}
	var m *member.Cluster
	switch {
	case p.candidate != nil && p.candidate.Secret.Name != "" && !s.granted.asked(p.candidate.Secret):
		return false, nil // it is not known yet whether it may be read
	case p.candidate == nil || !s.granted.may(p.candidate.Secret):
		o.Force = true
	case p.candidate.Err != nil && !c.leaving[p.member.UID]:
		// It is opened in the next round.
		c.leaving[p.member.UID] = true
		c.alarm.in(0)
		return false, nil
	case p.candidate.Err != nil:
		return false, p.candidate.Err
	default:
		if m, err = p.candidate.Connect(); err != nil {
			return false, err
		}
		defer m.CloseIdle()
	}
	plan, err := federate.PlanUnjoin(ctx, c.host, m, o)
	if err != nil {
		return false, err
	}
	done, err := plan.Apply(ctx, nil)
	if err != nil {
		return false, err
	}
	delete(c.leaving, p.member.UID)
	c.metrics.left.Inc()
	note := "left federation " + p.federation.Name + ": " + p.condition.Message
	if o.Force {
		note += "; the cluster was not reached: its namespace " + v1alpha1.MemberNamespace + " and what the host was granted there stay"
	}
	c.log.Info("left", "member", p.member.Name, "federation", p.federation.Name, "reason", p.condition.Message, "reached", !o.Force, "result", done.Done)
	c.event(p.federation, p.member, corev1.EventTypeNormal, "Left", p.member.Name+" "+note)
	return true, nil
}
