package check

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// leavingPatience is how long the deletion of a member takes before that is a finding.
const leavingPatience = 5 * time.Minute

var memberResource = v1alpha1.GroupVersion.WithResource("memberclusters").GroupResource()

// timeFormat is that of times in findings.
const timeFormat = time.RFC3339

// subject is a member of the host, and what was observed of its cluster.
type subject struct {
	*judge
	*v1alpha1.MemberCluster
	// context leads to its cluster; empty when none does.
	context string
}

func (s subject) name() v1alpha1.MemberName { return v1alpha1.MemberName(s.Name) }

// way is how commands lead to the cluster.
func (s subject) way() command.Cluster {
	at := s.cluster(s.context)
	if at.Context == "" {
		at.ServerKey = endpoint.Of(s.MemberCluster).ServerKey()
	}
	return at
}

// onHost adds a finding on the host. It is about the MemberCluster where it names no object.
func (s subject) onHost(f Finding) {
	f.Side, f.Member, f.Object = cluster.Host, s.Name, cmp.Or(f.Object, host.MemberRef(s.name()).String())
	s.add(f)
}

// onMember adds a finding on the member.
func (s subject) onMember(f Finding) {
	f.Side, f.Member = cluster.Member, s.Name
	s.add(f)
}

// join is the command that joins the member again, which keeps what c does not change.
func (s subject) join(c command.Join) string {
	c.Member, c.Federation, c.Cluster = s.name(), s.Federation(), s.way()
	return s.line(c)
}

// reset is the command that stores how a context reaches the cluster, or where none does, c.
func (s subject) reset(c command.Join) string {
	if s.context != "" {
		c = command.Join{ResetEndpoint: true}
	}
	return s.join(c)
}

// renew is the command that replaces the credential. A rotation is refused where the membership record or the account is
// missing; what could not be read is not.
func (s subject) renew() string {
	for _, o := range []*Observation{s.contexts[s.Spec.ClusterID], s.credentials[s.name()]} {
		if o == nil || o.State == nil {
			continue
		}
		k, account := o.State.Membership, member.ManagerAccountRef()
		if k == nil && o.State.Denied[member.MembershipRef()] == nil || k != nil && k.MemberUID != s.UID ||
			o.Context != "" && o.State.Objects[account] == nil && o.State.Denied[account] == nil {
			return s.join(command.Join{})
		}
	}
	return s.line(command.Rotate{Member: s.name(), Cluster: s.way()})
}

// label is the command that labels the cluster with its federation; overwrite says that it has another.
func (s subject) label(overwrite bool) string {
	return s.line(command.Label{Cluster: s.way(), Federation: s.Federation(), Overwrite: overwrite})
}

// evaluate judges the MemberCluster and everything that was observed of its cluster.
func (s subject) evaluate() {
	if s.federations[s.Federation()] == nil {
		s.onHost(Finding{Code: FederationMissing, Severity: Error, Cause: fmt.Sprintf("names federation %q, which does not exist", s.Federation()),
			Remedy: s.line(command.CreateFederation{Name: s.Federation()})})
	}
	if s.Status.Phase == "" || s.Status.ObservedGeneration < s.Generation {
		s.onHost(s.manager(Finding{Code: StatusStale, Severity: Warning, Cause: "the manager has not updated its status yet"}))
	}
	if at := s.DeletionTimestamp; at != nil && s.Now.Sub(at.Time) > leavingPatience {
		s.onHost(Finding{Code: LeavingLong, Severity: Warning,
			Cause:  fmt.Sprintf("is being deleted since %s, and waits for its finalizers: %s", at.UTC().Format(timeFormat), strings.Join(s.Finalizers, ", ")),
			Remedy: s.line(command.KubectlGet{Object: command.Object{GroupResource: memberResource, Name: s.Name}})})
	}
	if endpoint.ScopeOf(s.Spec.Server) == endpoint.Loopback && endpoint.ScopeOf(s.Host.Server) != endpoint.Loopback {
		s.onHost(Finding{Code: EndpointLoopback, Severity: Warning, Cause: "its endpoint " + s.Spec.Server + " is a loopback address, where the host reaches itself",
			Remedy: s.join(command.Join{Server: "URL"})})
	}
	s.violations()
	s.published()
	s.source()
	s.credential()
	if o := s.credentials[s.name()]; o != nil {
		s.throughCredential(o)
	}
	if o := s.contexts[s.Spec.ClusterID]; o != nil {
		s.drift(o)
	}
	s.unwell()
}

// credential judges the stored credential by the condition that the manager set, the clock, and whether it exists.
func (s subject) credential() {
	report := func(severity Severity, reason, cause, remedy string) {
		s.onHost(Finding{Code: Code(reason), Severity: severity, Object: host.CredentialRef(s.name()).String(), Cause: cause, Remedy: remedy})
	}
	missing := "does not exist: no join has finished yet"
	if s.JoinFinished() {
		missing = "does not exist: its Secret was deleted"
	}
	valid := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionCredentialValid)
	expiry := s.Status.CredentialExpiry
	switch {
	case s.Host.Credentials != nil && !s.Host.Credentials[s.name()]:
		report(Error, v1alpha1.ReasonCredentialMissing, missing, s.join(command.Join{}))
	case valid == nil: // the manager has not updated the status, which is a finding of its own
	case expiry != nil && !s.Now.Before(expiry.Time):
		report(Error, v1alpha1.ReasonCredentialExpired, "expired at "+expiry.UTC().Format(timeFormat), s.renew())
	case valid.Reason == v1alpha1.ReasonCredentialExpiring && expiry != nil:
		report(Warning, valid.Reason, "expires at "+expiry.UTC().Format(timeFormat), s.renew())
	case valid.Reason == v1alpha1.ReasonCredentialRenewalFailed && expiry != nil:
		remedy := s.renew()
		if granted := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionGranted); granted != nil && granted.Reason == v1alpha1.ReasonRenewalForbidden {
			remedy = s.join(command.Join{})
		}
		report(Warning, valid.Reason, "could not be renewed, and expires at "+expiry.UTC().Format(timeFormat), remedy)
	case valid.Status == metav1.ConditionTrue:
	case valid.Reason == v1alpha1.ReasonCredentialMissing && s.Host.Credentials != nil: // stored since the manager looked
	case valid.Reason == v1alpha1.ReasonCredentialMissing:
		report(Error, valid.Reason, missing, s.join(command.Join{}))
	case valid.Reason == v1alpha1.ReasonCredentialRevoked && s.credentials[s.name()] != nil: // it was tried just now
	case valid.Reason == v1alpha1.ReasonCredentialRevoked:
		report(Error, valid.Reason, "is refused by the member", s.join(command.Join{}))
	case valid.Reason == v1alpha1.ReasonCredentialMismatch:
		report(Error, valid.Reason, credentialCauses[valid.Reason], s.join(command.Join{ResetEndpoint: true, TrustContext: true}))
	default:
		report(Error, valid.Reason, cmp.Or(credentialCauses[valid.Reason], valid.Message), s.renew())
	}
}

// credentialCauses are the manager's reasons without a remedy, which the finding has.
var credentialCauses = map[string]string{
	v1alpha1.ReasonCredentialNotOwned:      "was made for another member or federation, or its label kubefederate.io/discovered does not fit the member",
	v1alpha1.ReasonCredentialMalformed:     "is not a kubeconfig that the host accepts",
	v1alpha1.ReasonCredentialMismatch:      "leads elsewhere than its MemberCluster",
	v1alpha1.ReasonCredentialWithoutExpiry: "does not expire",
}

// throughCredential judges whether the stored credential works, and the cluster that it leads to where no context does.
func (s subject) throughCredential(o *Observation) {
	at := "endpoint " + cluster.Quoted(s.Spec.Server)
	switch fault := cluster.FaultOf(o.Err); {
	case fault == cluster.FaultUnauthorized:
		f := Finding{Code: Unauthorized, Severity: Error, Object: at, Cause: "does not accept the stored credential (401)", Remedy: s.join(command.Join{})}
		if there := s.elsewhere(); there != nil && s.Spec.InsecureSkipTLSVerify {
			f.Cause += fmt.Sprintf("; its certificate is not verified, so another cluster may answer there, and context %s reaches this one at %s",
				cluster.Quoted(there.Context), there.Server)
			f.Remedy, f.alone = s.join(command.Join{ResetEndpoint: true}), true
		}
		s.onMember(f)
	case fault == cluster.FaultForbidden, fault == cluster.FaultAnonymous:
		s.onMember(Finding{Code: Forbidden, Severity: Error, Object: at,
			Cause: "does not let the stored credential read " + cluster.IdentityNamespace.String() + " (403)", Remedy: s.join(command.Join{})})
	case fault == cluster.FaultCertificate:
		f := Finding{Code: CertificateInvalid, Severity: Error, Object: at, Cause: "its certificate does not verify: " + cluster.Cause(o.Err)}
		switch cluster.CertificateFaultOf(o.Err) {
		case cluster.CertificateName:
			f.Remedy = s.reset(command.Join{TLSServerName: new("NAME")})
		case cluster.CertificateExpired, cluster.CertificateNotYetValid, cluster.CertificateUnfit:
			// nothing that the host stores mends it
		default:
			f.Remedy = s.reset(command.Join{CertificateAuthority: new("FILE")})
			f = s.moved(f)
		}
		s.onMember(f)
	case o.Err != nil:
		s.onMember(Finding{Code: Unreachable, Severity: Warning, Object: at, Cause: "could not be reached from here: " + cluster.Cause(o.Err)})
	case string(o.State.ID) != s.Spec.ClusterID:
		s.onMember(s.moved(Finding{Code: IdentityMismatch, Severity: Error, Object: at,
			Cause: fmt.Sprintf("leads to another cluster (ID %s, the member has %s)", o.State.ID, s.Spec.ClusterID), Remedy: s.join(command.Join{Server: "URL"})}))
	case s.context == "":
		s.drift(o)
	}
}

// drift compares the member's cluster with the host's record of it.
func (s subject) drift(o *Observation) {
	state := o.State
	// A stored credential may read only the membership record and the properties.
	complete := o.Context != "" && len(state.Denied) == 0
	if !s.membership(o) {
		return
	}
	if complete {
		s.grants(state)
	}
	s.properties(state)
	request := state.JoinRequest
	at := cluster.Ref{Resource: cluster.Namespaces, Name: request.Namespace}.String()
	switch {
	case request.Federation == "" && complete:
		s.onMember(Finding{Code: LabelMissing, Severity: Info, Object: cluster.IdentityNamespace.String(),
			Cause:  fmt.Sprintf("does not have the label %s=%s, by which discovery would find the member again", v1alpha1.LabelFederation, s.Federation()),
			Remedy: s.label(false)})
	case request.Federation != "" && request.Federation != s.Federation():
		s.onMember(Finding{Code: LabelDiffers, Severity: Warning, Object: at,
			Cause:  fmt.Sprintf("names federation %q, but the cluster is a member of %q", request.Federation, s.Federation()),
			Remedy: s.label(true)})
	}
}

// membership judges the membership record, and says whether there is more to judge.
func (s subject) membership(o *Observation) bool {
	k, at := o.State.Membership, member.MembershipRef().String()
	switch {
	case k == nil && o.State.Denied[member.MembershipRef()] != nil:
		f := Finding{Code: NotChecked, Severity: Warning, Object: at, Cause: "could not be checked: you are not allowed to read it"}
		if o.Context == "" {
			f.Cause, f.Remedy = "could not be checked: the host's stored credential may not read it", s.line(command.Check{Cluster: new(s.way())})
		}
		s.onMember(f)
		return false
	case k == nil:
		s.onMember(Finding{Code: MembershipMissing, Severity: Error, Object: at,
			Cause: "does not exist: without it another host could join this cluster", Remedy: s.join(command.Join{})})
		return false
	case k.HostID == member.UnknownHost:
		s.onMember(Finding{Code: MembershipOfAnother, Severity: Error, Object: at,
			Cause: "makes the cluster " + k.String(), Remedy: s.join(command.Join{TakeOver: true})})
		return false
	case k.HostID != s.Host.ID:
		s.onMember(Finding{Code: MembershipOfAnother, Severity: Error, Object: at,
			Cause: "makes the cluster " + k.String(), Remedy: s.line(command.Unjoin{Member: s.name(), Force: true})})
		return false
	case k.Member != s.name() || k.Federation != s.Federation():
		s.onMember(Finding{Code: MembershipDiffers, Severity: Error, Object: at,
			Cause:  fmt.Sprintf("makes the cluster member %q of federation %q", k.Member, k.Federation),
			Remedy: s.line(command.Unjoin{Member: k.Member, Cluster: s.way()})})
		return false
	case k.MemberUID != s.UID:
		s.onMember(Finding{Code: MembershipDiffers, Severity: Error, Object: at, Cause: "is that of an earlier member of this name", Remedy: s.join(command.Join{})})
	}
	return true
}

// grants judges the accounts, roles and bindings that a join makes.
func (s subject) grants(state *member.State) {
	g := member.Grants{Properties: state.Properties, Binding: state.Binding().Name}
	f := s.federations[s.Federation()]
	if f != nil && f.Spec.Access != nil {
		g.AccessRole = f.Spec.Access.ClusterRole
	}
	if f != nil && f.Spec.Services != nil {
		g.Services = member.JoinNamespaces(f.Spec.Services.Namespaces)
	}
	for _, o := range s.objects(g) {
		live := state.Objects[o.Ref]
		switch {
		case live == nil && state.WithoutNamespace(o.Ref):
		case live == nil:
			s.onMember(Finding{Code: GrantMissing, Severity: Error, Object: o.Ref.String(), Cause: "does not exist, and the host's credential needs it", Remedy: s.join(command.Join{})})
		case !cluster.Covers(live.Object, o.Manifest.Object):
			s.onMember(Finding{Code: GrantChanged, Severity: Error, Object: o.Ref.String(), Cause: "differs from what join creates", Remedy: s.join(command.Join{})})
		}
	}
	if f != nil && f.Spec.Access == nil {
		for _, ref := range member.ConsumerRefs() {
			if live := state.Objects[ref]; live != nil && member.ByJoin(live) {
				s.onMember(Finding{Code: GrantChanged, Severity: Error, Object: ref.String(),
					Cause: "exists, and the federation gives no access", Remedy: s.join(command.Join{})})
			}
		}
	}
	refs := member.BindingRefs()
	if state.Objects[refs[0]] != nil && state.Objects[refs[1]] != nil {
		s.onMember(Finding{Code: RotationUnfinished, Severity: Warning, Object: refs[1].String(),
			Cause: "exists as well as " + refs[0].String() + ": a rotation was interrupted, and the old credential may still work", Remedy: s.renew()})
	}
}

// properties judges the ClusterProperties, where the cluster serves the About API (KEP-2149).
func (s subject) properties(state *member.State) {
	if !state.Properties {
		return
	}
	want := [][2]string{{v1alpha1.PropertyClusterID, s.Spec.ClusterID}}
	if accepted := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAccepted); accepted != nil && accepted.Status == metav1.ConditionTrue {
		want = append(want, [2]string{v1alpha1.PropertyClusterSet, string(s.Federation())})
	}
	for _, w := range want {
		ref := member.PropertyRef(w[0])
		live := state.Objects[ref]
		if live == nil {
			if state.Denied[ref] == nil {
				s.onMember(Finding{Code: PropertyMissing, Severity: Warning, Object: ref.String(), Cause: fmt.Sprintf("does not exist; its value should be %q", w[1]), Remedy: s.join(command.Join{})})
			}
			continue
		}
		value, _, _ := unstructured.NestedString(live.Object, "spec", "value")
		if value == w[1] {
			continue
		}
		f := Finding{Code: PropertyDiffers, Severity: Error, Object: ref.String(), Cause: fmt.Sprintf("is %q, and should be %q", value, w[1]), Remedy: s.join(command.Join{})}
		if _, managed := live.GetLabels()[v1alpha1.LabelFederation]; !managed {
			f.Cause += ", and was not set by kubectl federate"
			at := s.way()
			f.Remedy = s.line(command.KubectlDelete{Object: ref.Object(), Cluster: &at})
		}
		s.onMember(f)
	}
}

// objects are those that grants put on a member.
func (j *judge) objects(g member.Grants) []member.Object {
	if j.granted[g] == nil {
		j.granted[g] = append(g.BaseObjects(), g.Bindings()...)
	}
	return j.granted[g]
}
