package controller

import (
	"bytes"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// observed is what the host holds of one member.
type observed struct {
	member *v1alpha1.MemberCluster
	// federation is nil when it does not exist.
	federation *v1alpha1.Federation
	// credential is nil when there is no Secret.
	credential *corev1.Secret
	now        time.Time
}

// status is the member's status as it follows from what was observed. Conditions keep the time of their last
// change.
func (o observed) status() v1alpha1.MemberClusterStatus {
	status := *o.member.Status.DeepCopy()
	status.ObservedGeneration = o.member.Generation
	accepted := o.accepted()
	credential, expiry := o.credentialValid()
	status.CredentialExpiry = expiry
	for _, c := range []metav1.Condition{accepted, credential} {
		c.ObservedGeneration = o.member.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
	status.Phase = o.phase(accepted, credential)
	return status
}

// phase is the first that holds: nothing is said of a cluster that leaves or has not finished joining.
func (o observed) phase(accepted, credential metav1.Condition) v1alpha1.Phase {
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
	}
	return v1alpha1.PhaseReady
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
func (o observed) credentialValid() (metav1.Condition, *metav1.Time) {
	c := metav1.Condition{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionFalse}
	m := o.member
	say := func(reason, renew, message string, args ...any) metav1.Condition {
		c.Reason, c.Message = reason, fmt.Sprintf(message, args...)+"; renew it: "+renew
		return c
	}
	fail := func(reason, message string, args ...any) metav1.Condition {
		return say(reason, o.joinCommand(), message, args...)
	}
	if o.credential == nil {
		c.Reason = v1alpha1.ReasonCredentialMissing
		c.Message = "the join is not finished; finish it: " + o.joinCommand()
		return c, nil
	}
	if o.foreign() {
		return fail(v1alpha1.ReasonCredentialForeign, "the stored credential was made for federation %q", o.credential.Labels[v1alpha1.LabelFederation]), nil
	}
	if !owned(o.credential, m) {
		return fail(v1alpha1.ReasonCredentialForeign, "the stored credential does not belong to this MemberCluster"), nil
	}
	options := []kubeconfig.Option{kubeconfig.OneContext}
	if m.Spec.InsecureSkipTLSVerify && o.federation != nil && o.federation.Spec.AllowInsecureTLS {
		options = append(options, kubeconfig.AllowInsecure)
	}
	access, err := kubeconfig.Parse(o.credential.Data[v1alpha1.CredentialKey], options...)
	if err != nil {
		return fail(v1alpha1.ReasonCredentialMalformed, "the stored %v", err), nil
	}
	if field := mismatch(access, &m.Spec); field != "" {
		return fail(v1alpha1.ReasonCredentialMismatch, "the stored credential has another %s than the MemberCluster", field), nil
	}
	end, ends := access.Expiry()
	if !ends {
		return fail(v1alpha1.ReasonCredentialEndless, "the stored credential has no end"), nil
	}
	expiry := metav1.NewTime(end.Truncate(time.Second))
	if !o.now.Before(end) {
		return say(v1alpha1.ReasonCredentialExpired, o.rotateCommand(), "the stored credential ended at %s", end.UTC().Format(time.RFC3339)), &expiry
	}
	c.Status = metav1.ConditionTrue
	if due, known := access.RenewalDue(); known && !o.now.Before(due) {
		return say(v1alpha1.ReasonCredentialExpiring, o.rotateCommand(), "the stored credential ends at %s", end.UTC().Format(time.RFC3339)), &expiry
	}
	c.Reason = v1alpha1.ReasonCredentialStored
	c.Message = "a credential for the member's endpoint is stored"
	return c, &expiry
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

// foreign says that the credential was made for another federation than the member is in.
func (o observed) foreign() bool {
	return o.credential.Labels[v1alpha1.LabelFederation] != string(o.member.Federation())
}

func (o observed) joinCommand() string {
	return fmt.Sprintf("kubectl federate join %s --federation %s --member-context CONTEXT", o.member.Name, o.member.Federation())
}

func (o observed) rotateCommand() string {
	return fmt.Sprintf("kubectl federate rotate %s --member-context CONTEXT", o.member.Name)
}

func owned(secret *corev1.Secret, m *v1alpha1.MemberCluster) bool {
	for _, owner := range secret.OwnerReferences {
		if owner.UID == m.UID {
			return true
		}
	}
	return false
}

// mismatch names the first field in which a credential leads elsewhere than its member; empty when none
// does. A credential that leads elsewhere would hand its token to whoever answers there.
func mismatch(access *kubeconfig.Access, spec *v1alpha1.MemberClusterSpec) string {
	switch {
	case access.Server != spec.Server:
		return "server"
	case !bytes.Equal(access.CAData, spec.CABundle):
		return "CA"
	case access.ProxyURL != spec.ProxyURL:
		return "proxy"
	case access.Insecure != spec.InsecureSkipTLSVerify:
		return "TLS verification"
	}
	return ""
}
