package controller

import (
	"crypto/sha256"
	"encoding/hex"
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
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// memberState is what the host holds of one member, and what its cluster answers.
type memberState struct {
	member *v1alpha1.MemberCluster
	// federation is nil when it does not exist.
	federation *v1alpha1.Federation
	// probe is the last observation; nil when this manager has none yet.
	probe *observation
	// renewed is what became of the last renewal of the stored credential, if it failed.
	renewed attempt
	// servicesLack is the right on services that the member does not give; empty where it is not known to lack one.
	servicesLack string
	// published is the condition Published; nil while this manager does not know it yet.
	published *metav1.Condition
	now       time.Time
}

// status is the member's status, given what judge returned. Conditions keep the time of their last change.
func (o memberState) status(stored storedCredential) v1alpha1.MemberClusterStatus {
	status := *o.member.Status.DeepCopy()
	status.ObservedGeneration = o.member.Generation
	status.CredentialExpiry = nil
	if !stored.end.IsZero() {
		status.CredentialExpiry = new(metav1.NewTime(stored.end.Truncate(time.Second)))
	}
	probed := o.probe != nil && stored.condition.Status == metav1.ConditionTrue
	if probed && o.probe.facts != nil {
		status.Facts = o.probe.facts.DeepCopy()
	}
	judged := o.compliance(status.Facts)
	status.Violations = judged.Violations[:min(len(judged.Violations), maxViolations)]
	accepted, credential, ready := o.accepted(status.Facts, judged), o.credentialValid(stored), o.ready(stored.condition)
	switch {
	case accepted.Status != metav1.ConditionTrue && o.unlocated():
		status.AcceptedTime = nil
	case status.AcceptedTime == nil && accepted.Status == metav1.ConditionTrue && status.Facts != nil:
		status.AcceptedTime = new(metav1.NewTime(o.now.Truncate(time.Second)))
	}
	conditions := []metav1.Condition{accepted, credential, ready, o.compliant(judged)}
	if c := o.granted(); c != nil {
		conditions = append(conditions, *c)
	}
	if o.federation == nil || o.federation.Spec.Inventory == nil {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionPublished)
	} else if o.published != nil {
		conditions = append(conditions, *o.published)
	}
	if o.probe != nil {
		if c := o.propertiesSet(); c != nil {
			conditions = append(conditions, *c)
		} else if o.probe.properties.reason == notServed {
			meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionPropertiesSet)
		}
	}
	for _, c := range conditions {
		c.ObservedGeneration = o.member.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
	status.Phase = o.phase(accepted, credential, ready)
	status.SigningKeys, status.ObservedCredential = o.signingKeys(stored)
	// What cannot be probed is answered at once: the conditions say why.
	if request := o.probeRequest(); request != "" && (o.target(stored) == nil || o.probe != nil && o.probe.request == request) {
		status.ObservedProbeRequest = request
	}
	if probed && o.probeTimeDue(&status) {
		status.LastProbeTime = new(metav1.NewTime(o.probe.answered.Truncate(time.Second)))
	}
	return status
}

// probeTimeDue says that the time of the last contact is to be written: when the status changes, and once in a while for a member
// that stays reachable. It never goes back.
func (o memberState) probeTimeDue(status *v1alpha1.MemberClusterStatus) bool {
	before, now := &o.member.Status, meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionReady)
	switch {
	case o.probe.answered.IsZero():
		return false
	case before.LastProbeTime == nil:
		return true
	case o.probe.answered.Before(before.LastProbeTime.Time):
		return false
	}
	return was == nil || was.Status != now.Status || was.Reason != now.Reason ||
		!equality.Semantic.DeepEqual(before.Facts, status.Facts) ||
		o.probe.outcome == reachable && o.probe.answered.Sub(before.LastProbeTime.Time) >= probeTimeAgeOf(o.member.UID)
}

// phase is the first that applies.
func (o memberState) phase(accepted, credential, ready metav1.Condition) v1alpha1.Phase {
	switch {
	case o.member.DeletionTimestamp != nil:
		return v1alpha1.PhaseLeaving
	case credential.Reason == v1alpha1.ReasonCredentialMissing && !o.member.JoinFinished():
		return v1alpha1.PhaseJoining
	case accepted.Status == metav1.ConditionFalse:
		return v1alpha1.PhasePending
	case o.member.SuspendedAt(o.now):
		return v1alpha1.PhaseSuspended
	case credential.Status != metav1.ConditionTrue:
		return v1alpha1.PhaseNotReady
	case ready.Status == metav1.ConditionUnknown && o.member.Status.LastProbeTime == nil:
		return v1alpha1.PhaseJoining
	case offline(ready.Reason):
		return v1alpha1.PhaseOffline
	case ready.Status != metav1.ConditionTrue:
		return v1alpha1.PhaseNotReady
	case accepted.Status != metav1.ConditionTrue:
		return v1alpha1.PhaseJoining
	}
	return v1alpha1.PhaseReady
}

// ready is the condition Ready. What was observed stays until something else is, through restarts of the manager and changes
// of the endpoint.
func (o memberState) ready(credential metav1.Condition) metav1.Condition {
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
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "the manager has not probed the cluster yet"
		return c
	}
	server, cause := o.member.Spec.Server, o.probe.cause
	join := o.join()
	c.Reason = o.probe.reason
	switch c.Reason {
	case v1alpha1.ReasonReachable:
		c.Status, c.Message = metav1.ConditionTrue, "the cluster answers, and is the one that joined"
	case v1alpha1.ReasonCertificateInvalid:
		join.CertificateAuthority = new("FILE")
		c.Message = fmt.Sprintf("the certificate of %s does not verify: %s; ", server, cause) + propose("store the CA that signed it", join)
	case v1alpha1.ReasonUnauthorized:
		c.Message = fmt.Sprintf("%s does not accept the stored credential (401): its account or its Secret in namespace %s, or that namespace, was deleted, "+
			"or the cluster signs tokens with another key; ", server, v1alpha1.MemberNamespace) + propose("store another", join)
	case v1alpha1.ReasonForbidden:
		c.Message = fmt.Sprintf("the stored credential may not %s at %s (403), which ClusterRole %s and its binding allow; ", cause, server, member.ManagerRole) +
			propose("restore them", join)
	case v1alpha1.ReasonServerError:
		c.Message = fmt.Sprintf("%s answers with the error %d %s", server, o.probe.code, http.StatusText(o.probe.code))
		if cause != "" {
			c.Message += ": " + cause
		}
	case v1alpha1.ReasonUnexpectedAnswer:
		join.Server = "URL"
		c.Message = fmt.Sprintf("%s does not answer as a Kubernetes API server: %s; ", server, cause) + propose("correct the endpoint", join)
	case v1alpha1.ReasonIdentityMismatch:
		c.Message = fmt.Sprintf("another cluster answers at %s: its ID is %q and not %q; the credential is no longer sent to it; ", server, cause, o.member.Spec.ClusterID) +
			propose("if it replaces the member, remove the member before the other cluster joins", command.Unjoin{Member: o.name(), Force: true})
	case v1alpha1.ReasonEndpointNotAllowed, v1alpha1.ReasonEndpointNeverAllowed:
		c.Message = "the manager does not connect to the cluster: " + cause + "; " + o.notAllowed()
	default:
		if proxy := o.member.Spec.ProxyURL; proxy != "" {
			c.Message = fmt.Sprintf("no answer from %s through proxy %s: %s; check that the proxy and the cluster run and that the host can reach the proxy", server, proxy, cause)
			break
		}
		c.Message = fmt.Sprintf("no answer from %s: %s; check that the cluster runs and that the host can reach it", server, cause)
	}
	return c
}

// credentialValid is the condition CredentialValid: what follows from the stored credential alone, and whether the member
// has refused it. A refusal stays until the member takes it, through restarts of the manager.
func (o memberState) credentialValid(stored storedCredential) metav1.Condition {
	c := stored.condition
	switch before := meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionCredentialValid); {
	case c.Status != metav1.ConditionTrue:
	case o.probe != nil && o.probe.revoked():
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonCredentialRevoked
		c.Message = fmt.Sprintf("%s refuses the stored credential (%d); ", o.member.Spec.Server, o.probe.code) + propose("store another", o.join())
	case o.probe != nil && o.probe.accepted():
	case before != nil && before.Reason == v1alpha1.ReasonCredentialRevoked && o.member.Status.ObservedCredential == stored.hash:
		return *before
	}
	if c.Status == metav1.ConditionTrue {
		return o.renewalFailed(stored, c)
	}
	return c
}

// renewalFailed is the condition CredentialValid of a credential that works and cannot be renewed; else it is c. It stays until
// another credential is stored, through restarts of the manager.
func (o memberState) renewalFailed(stored storedCredential, c metav1.Condition) metav1.Condition {
	before := meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionCredentialValid)
	switch {
	case o.renewed.failures > 0:
		c.Reason = v1alpha1.ReasonCredentialRenewalFailed
		c.Message = fmt.Sprintf("renewal failed: %s; the stored credential works until %s; ", o.renewed.fault, timestamp(stored.end))
		if o.renewed.forbidden {
			c.Message += propose("restore the manager's permissions", o.join())
		} else {
			c.Message += "if that goes on, " + o.renew()
		}
	case before != nil && before.Reason == v1alpha1.ReasonCredentialRenewalFailed && o.member.Status.ObservedCredential == stored.hash:
		return *before
	}
	return c
}

// probeRequest is the value of the annotation that asks for a probe; empty when it is too long to be answered.
func (o memberState) probeRequest() string {
	request := o.member.Annotations[v1alpha1.AnnotationProbeRequested]
	if len(request) > v1alpha1.MaxProbeRequest {
		return ""
	}
	return request
}

// known is what the host holds of the target that is to be probed.
func (o memberState) known(stored storedCredential) known {
	status := &o.member.Status
	k := known{
		facts:   status.Facts,
		granted: status.ObservedCredential == stored.hash && len(status.SigningKeys) > 0 && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionGranted),
	}
	if ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady); ready != nil {
		k.reachable, k.offline = ready.Reason == v1alpha1.ReasonReachable, offline(ready.Reason)
	}
	if accepted := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionAccepted); accepted != nil && accepted.Status == metav1.ConditionFalse {
		k.waits = accepted.Reason == v1alpha1.ReasonRulesBroken || accepted.Reason == v1alpha1.ReasonFactsUnknown
	}
	k.announced = o.announced()
	k.propertiesMatch = meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionPropertiesSet)
	if o.federation != nil {
		k.health = o.federation.Spec.Health
	}
	k.allowed = o.allowed()
	if request := o.probeRequest(); request != status.ObservedProbeRequest {
		k.request = request
	}
	if at := status.LastProbeTime; at != nil {
		k.probeTime = at.Time
	}
	return k
}

// target is what to probe; nil is nothing. A member that waits for acceptance is probed: those who accept it
// see what it is, and not only what its joiner says. So is one that is suspended: it may be resumed at any time.
func (o memberState) target(stored storedCredential) *target {
	if o.member.DeletionTimestamp != nil || stored.condition.Status != metav1.ConditionTrue {
		return nil
	}
	return &target{uid: o.member.UID, id: v1alpha1.ClusterID(o.member.Spec.ClusterID), credential: stored.hash}
}

// accepted is the condition Accepted. A member that was accepted once is not judged by the rules again: see Compliant. One of which
// it was not known where it is, is judged by that when it is known.
func (o memberState) accepted(facts *v1alpha1.Facts, judged rules.Compliance) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse}
	first, undecided, unlocated := o.member.Status.AcceptedTime == nil, judged.Undecided(), judged.Unlocated()
	switch {
	case o.federation == nil:
		c.Reason = v1alpha1.ReasonFederationMissing
		c.Message = fmt.Sprintf("federation %q does not exist", o.member.Federation())
	case !o.federation.Accepts(o.member):
		c.Reason = v1alpha1.ReasonAwaitingApproval
		c.Message = fmt.Sprintf("federation %q accepts members manually; ", o.federation.Name)
		if o.federation.Spec.Acceptance != v1alpha1.AcceptManual {
			c.Message = fmt.Sprintf("clusters that discovery joined wait for approval in federation %q (spec.discovery.acceptance); ", o.federation.Name)
		}
		c.Message += propose(fmt.Sprintf("to accept it, with the verb approve on federations/%s", o.federation.Name), command.Approve{Member: o.name()})
	case first && judged.Denied(), o.unlocated() && judged.Contradicted():
		c.Reason, c.Message = v1alpha1.ReasonRulesBroken, broken(judged.Violations)
	case first && facts == nil && len(judged.Unknown) > 0:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonFactsUnknown
		c.Message = "the manager has not seen the cluster's version and nodes yet, by which it is judged"
	case first && len(undecided) > 0:
		c.Reason = v1alpha1.ReasonFactsUnknown
		c.Message = firstOf(undecided[0], len(undecided)) + "; the member waits for that: label the nodes of the cluster, or ask has() in the rule"
	case (first || o.unlocated()) && unlocated != "":
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonFactsUnknown
		c.Message = "the cluster is a member of the federation; " + unlocated + ": if a node contradicts it, the member is Pending"
	default:
		c.Status = metav1.ConditionTrue
		c.Reason = v1alpha1.ReasonAccepted
		c.Message = "the cluster is a member of the federation"
	}
	return c
}

// unlocated says that the member was accepted when it was not known where it is, and that is not known since.
func (o memberState) unlocated() bool {
	before := meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionAccepted)
	return before != nil && before.Status == metav1.ConditionTrue && before.Reason == v1alpha1.ReasonFactsUnknown
}

// credential is what was read of the stored Secret. It does not change while the Secret and the member's endpoint do not.
type credential struct {
	// reason and fault say why it cannot be used; empty when it can.
	reason, fault string
	// hash is of all that is stored, and empty when that cannot be used, as access is nil.
	hash   string
	access *kubeconfig.Access
	// end is when the credential expires, and late when a fifth of its life is left; zero when that is not known.
	end, late time.Time
	renewal
}

// renewal is what the renewal of a credential depends on.
type renewal struct {
	life
	// renewable says that it is a token of the manager's account which ends with a Secret on the member.
	renewable bool
	// replaced is the hash of the credential that the manager renewed, when that stored this one; otherwise empty.
	replaced string
}

// storedCredential is what follows from the stored credential alone. Whether the member still accepts it, only a probe
// shows.
type storedCredential struct {
	// condition is CredentialValid.
	condition metav1.Condition
	// hash is that of a credential that can be used; otherwise empty.
	hash      string
	end, late time.Time
	renewal
}

func (o memberState) allowInsecure() bool {
	return o.federation != nil && o.federation.Spec.AllowInsecureTLS
}

// readCredential reads what is stored, which is parsed only here.
func (o memberState) readCredential(secret *corev1.Secret) credential {
	access, err := kubeconfig.OfMember(secret, secret.Data[v1alpha1.CredentialKey], o.member, o.allowInsecure())
	if unusable, ok := errors.AsType[*kubeconfig.CredentialError](err); ok {
		return credential{reason: unusable.Reason, fault: err.Error()}
	}
	end, expires := access.Expiry()
	if !expires {
		return credential{reason: v1alpha1.ReasonCredentialWithoutExpiry, fault: "the stored credential does not expire"}
	}
	hash := sha256.Sum256(secret.Data[v1alpha1.CredentialKey])
	c := credential{hash: hex.EncodeToString(hash[:]), access: access, end: end}
	c.late, _ = access.RenewalDue()
	c.renewal = renewalOf(secret, access)
	return c
}

// judge says what follows from the stored credential; nil when there is none.
func (o memberState) judge(read *credential) (stored storedCredential) {
	c := &stored.condition
	c.Type, c.Status = v1alpha1.ConditionCredentialValid, metav1.ConditionFalse
	fault := func(reason, message string) storedCredential {
		remedy := o.renew()
		if reason == v1alpha1.ReasonCredentialMismatch {
			remedy = propose("store the endpoint of the member's context, if you trust that", o.reset())
		}
		c.Reason, c.Message = reason, message+"; "+remedy
		return stored
	}
	if read == nil {
		c.Reason, c.Message = v1alpha1.ReasonCredentialMissing, "no credential is stored: no join has finished yet; "+propose("store one", o.join())
		if o.member.JoinFinished() {
			c.Message = "no credential is stored: its Secret was deleted; " + propose("store another", o.join())
		}
		return stored
	}
	if read.reason != "" {
		return fault(read.reason, read.fault)
	}
	stored.hash, stored.end, stored.late, stored.renewal = read.hash, read.end, read.late, read.renewal
	if !o.now.Before(read.end) {
		return fault(v1alpha1.ReasonCredentialExpired, "the stored credential expired at "+timestamp(read.end))
	}
	c.Status = metav1.ConditionTrue
	if !read.late.IsZero() && !o.now.Before(read.late) {
		what := "the manager has not renewed it yet"
		if !read.renewable {
			what = "the manager cannot renew what is no token of its account"
		}
		return fault(v1alpha1.ReasonCredentialExpiring, "the stored credential expires at "+timestamp(read.end)+", and "+what)
	}
	c.Reason, c.Message = v1alpha1.ReasonCredentialStored, "a credential for the member's endpoint is stored"
	return stored
}

// nextChange is when time alone changes the status; zero when it never does.
func (o memberState) nextChange(stored storedCredential) time.Time {
	var next time.Time
	for _, at := range []time.Time{stored.late, stored.end, o.suspendedUntil()} {
		if at.After(o.now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// suspendedUntil is when the suspension of the member ends by itself; zero where it does not.
func (o memberState) suspendedUntil() time.Time {
	if s := o.member.Spec.Suspension; o.member.Spec.Suspended && s != nil && s.Until != nil {
		return s.Until.Time
	}
	return time.Time{}
}

// propose is what to do with the command that does it. The manager does not know how its reader calls the host.
func propose(what string, c command.Command) string { return command.Host{}.To(what, c) }

func (o memberState) name() v1alpha1.MemberName { return v1alpha1.MemberName(o.member.Name) }

func (o memberState) join() command.Join {
	return command.Join{Member: o.name(), Federation: o.member.Federation()}
}

// reset is the join that stores how a context reaches the member. What had proved where contexts lead is gone with the endpoint.
func (o memberState) reset() command.Join {
	c := o.join()
	c.ResetEndpoint, c.TrustContext = true, true
	return c
}

// renew proposes a rotation, which needs a member whose join has finished.
func (o memberState) renew() string {
	return propose("renew it", command.Rotate{Member: o.name()})
}
