package controller

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// observed is what the host holds of one member, and what its cluster answers.
type observed struct {
	member *v1alpha1.MemberCluster
	// federation is nil when it does not exist.
	federation *v1alpha1.Federation
	// credential is nil when there is no Secret.
	credential *corev1.Secret
	// probe is what the cluster answered last; nil when this manager has not asked it yet.
	probe *observation
	now   time.Time
}

// status is the member's status as it follows from what was observed. Conditions keep the time of their last
// change.
func (o observed) status() v1alpha1.MemberClusterStatus {
	status := *o.member.Status.DeepCopy()
	status.ObservedGeneration = o.member.Generation
	accepted := o.accepted()
	credential, expiry, _ := o.credentialValid()
	status.CredentialExpiry = expiry
	ready := o.ready(credential)
	for _, c := range []metav1.Condition{accepted, credential, ready} {
		c.ObservedGeneration = o.member.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
	status.Phase = o.phase(accepted, credential, ready)
	if o.probe == nil || credential.Status != metav1.ConditionTrue {
		return status
	}
	if o.probe.facts != nil {
		status.Facts = o.probe.facts.DeepCopy()
	}
	if o.newer(&status) {
		at := metav1.NewTime(o.probe.at.Truncate(time.Second))
		status.LastProbeTime = &at
	}
	return status
}

// newer says that the time of the probe is to be told: with news, and else of a member that is well once in a while.
func (o observed) newer(status *v1alpha1.MemberClusterStatus) bool {
	before, now := &o.member.Status, meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	return before.LastProbeTime == nil || was == nil || was.Status != now.Status || was.Reason != now.Reason ||
		!equality.Semantic.DeepEqual(before.Facts, status.Facts) ||
		o.probe.outcome == well && o.probe.at.Sub(before.LastProbeTime.Time) >= retold
}

// phase is the first that holds: nothing is said of a cluster that leaves or has not finished joining.
func (o observed) phase(accepted, credential, ready metav1.Condition) v1alpha1.Phase {
	switch {
	case o.member.DeletionTimestamp != nil:
		return v1alpha1.PhaseLeaving
	case credential.Reason == v1alpha1.ReasonCredentialMissing:
		return v1alpha1.PhaseJoining
	case accepted.Status != metav1.ConditionTrue:
		return v1alpha1.PhasePending
	case o.member.Spec.Suspended:
		return v1alpha1.PhaseSuspended
	case credential.Status != metav1.ConditionTrue:
		return v1alpha1.PhaseNotReady
	case ready.Status == metav1.ConditionUnknown:
		return v1alpha1.PhaseJoining
	case offline(ready.Reason):
		return v1alpha1.PhaseOffline
	case ready.Status != metav1.ConditionTrue:
		return v1alpha1.PhaseNotReady
	}
	return v1alpha1.PhaseReady
}

// ready says how the cluster is. What was found stays until something else is found, through restarts of the manager and
// changes of the endpoint.
func (o observed) ready(credential metav1.Condition) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	if credential.Status != metav1.ConditionTrue {
		c.Reason, c.Message = credential.Reason, credential.Message
		return c
	}
	if o.probe == nil {
		before := meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionReady)
		if before != nil && slices.Contains(probeReasons, before.Reason) {
			return *before
		}
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "the manager has not asked the cluster yet"
		return c
	}
	server, cause := o.member.Spec.Server, o.probe.cause
	c.Reason = o.probe.reason
	switch c.Reason {
	case v1alpha1.ReasonReachable:
		c.Status, c.Message = metav1.ConditionTrue, "the cluster answers, and is the one that joined"
	case v1alpha1.ReasonCertificateInvalid:
		c.Message = fmt.Sprintf("the certificate of %s does not verify: %s; ", server, cause) + o.join("give the host the CA that signed it", command.Join{CertificateAuthority: "FILE"})
	case v1alpha1.ReasonUnauthorized:
		c.Message = fmt.Sprintf("%s does not accept the stored credential (401); ", server) + o.rotate()
	case v1alpha1.ReasonForbidden:
		c.Message = fmt.Sprintf("the stored credential may not %s at %s (403); ", cause, server) + o.join("restore its permissions", command.Join{})
	case v1alpha1.ReasonServerError:
		c.Message = fmt.Sprintf("%s answers with the error %d %s", server, o.probe.code, http.StatusText(o.probe.code))
		if cause != "" {
			c.Message += ": " + cause
		}
	case v1alpha1.ReasonUnexpectedAnswer:
		c.Message = fmt.Sprintf("%s does not answer as a Kubernetes API server: %s; ", server, cause) + o.join("correct the endpoint", command.Join{Server: "URL"})
	case v1alpha1.ReasonIdentityMismatch:
		c.Message = fmt.Sprintf("another cluster answers at %s: its ID is %q and not %q; it gets no more requests with the credential; ",
			server, cause, o.member.Spec.ClusterID) +
			command.Host{}.To("if it replaced the member, unjoin that first", command.Unjoin{Member: v1alpha1.MemberName(o.member.Name), Force: true})
	default:
		c.Message = fmt.Sprintf("no answer from %s: %s; see that the cluster runs and that the host reaches it there", server, cause)
	}
	return c
}

// target is what to probe, and how; nil is nothing. A member that waits for acceptance is probed: whoever accepts it
// sees what it is, and not only what its joiner says. So is one that is suspended: it may be resumed at any time.
func (o observed) target() (*target, *kubeconfig.Access) {
	credential, _, access := o.credentialValid()
	if o.member.DeletionTimestamp != nil || credential.Status != metav1.ConditionTrue {
		return nil, nil
	}
	return &target{
		uid: o.member.UID, id: v1alpha1.ClusterID(o.member.Spec.ClusterID), credential: sha256.Sum256(o.credential.Data[v1alpha1.CredentialKey]),
	}, access
}

func (o observed) accepted() metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse}
	switch {
	case o.federation == nil:
		c.Reason = v1alpha1.ReasonFederationMissing
		c.Message = fmt.Sprintf("federation %q does not exist", o.member.Federation())
	case o.federation.Spec.Acceptance == v1alpha1.AcceptManual && !o.member.Spec.Accepted:
		c.Reason = v1alpha1.ReasonAwaitingApproval
		c.Message = fmt.Sprintf("federation %q accepts members by hand: someone with the verb approve on federations/%s sets spec.accepted",
			o.federation.Name, o.federation.Name)
	default:
		c.Status = metav1.ConditionTrue
		c.Reason = v1alpha1.ReasonAccepted
		c.Message = "the cluster is a member of the federation"
	}
	return c
}

// credentialValid judges the stored credential as data; whether the member still takes it, only a probe of
// the member can tell.
func (o observed) credentialValid() (metav1.Condition, *metav1.Time, *kubeconfig.Access) {
	c := metav1.Condition{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionFalse}
	m := o.member
	say := func(reason, message string, args ...any) metav1.Condition {
		c.Reason, c.Message = reason, fmt.Sprintf(message, args...)+"; "+o.rotate()
		return c
	}
	if o.credential == nil {
		c.Reason = v1alpha1.ReasonCredentialMissing
		c.Message = "the join is not finished; " + o.join("finish it", command.Join{})
		return c, nil, nil
	}
	access, err := kubeconfig.OfMember(o.credential, o.credential.Data[v1alpha1.CredentialKey], m, o.federation != nil && o.federation.Spec.AllowInsecureTLS)
	if unusable, ok := errors.AsType[*kubeconfig.CredentialError](err); ok {
		return say(unusable.Reason, "%v", err), nil, nil
	}
	end, ends := access.Expiry()
	if !ends {
		return say(v1alpha1.ReasonCredentialWithoutExpiry, "the stored credential has no end"), nil, nil
	}
	expiry := metav1.NewTime(end.Truncate(time.Second))
	if !o.now.Before(end) {
		return say(v1alpha1.ReasonCredentialExpired, "the stored credential ended at %s", end.UTC().Format(time.RFC3339)), &expiry, access
	}
	c.Status = metav1.ConditionTrue
	if due, known := access.RenewalDue(); known && !o.now.Before(due) {
		return say(v1alpha1.ReasonCredentialExpiring, "the stored credential ends at %s", end.UTC().Format(time.RFC3339)), &expiry, access
	}
	c.Reason = v1alpha1.ReasonCredentialStored
	c.Message = "a credential for the member's endpoint is stored"
	return c, &expiry, access
}

// nextLook is when time alone changes the status; zero when it never does.
func (o observed) nextLook() time.Time {
	if o.credential == nil {
		return time.Time{}
	}
	access, err := kubeconfig.Parse(o.credential.Data[v1alpha1.CredentialKey], kubeconfig.OneContext, kubeconfig.AllowInsecure)
	if err != nil {
		return time.Time{}
	}
	for _, at := range []func() (time.Time, bool){access.RenewalDue, access.Expiry} {
		if next, known := at(); known && next.After(o.now) {
			return next
		}
	}
	return time.Time{}
}

// join says what to do with a join that runs again, which keeps what it is not given.
func (o observed) join(what string, c command.Join) string {
	c.Member, c.Federation = v1alpha1.MemberName(o.member.Name), o.member.Federation()
	return command.Host{}.To(what, c)
}

func (o observed) rotate() string {
	return command.Host{}.To("renew it", command.Rotate{Member: v1alpha1.MemberName(o.member.Name)})
}
