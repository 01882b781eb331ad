package check

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// throughCredential judges what the stored credential is worth, and what it shows where no context shows more.
func (j *judge) throughCredential(m *v1alpha1.MemberCluster, s Observation, context string, say func(Finding)) {
	endpoint := "endpoint " + cluster.Quoted(m.Spec.Server)
	if s.Err != nil {
		failed, ok := errors.AsType[*cluster.Error](s.Err)
		switch {
		case ok && failed.Fault == cluster.FaultUnauthorized:
			say(Finding{Code: CredentialRefused, Severity: Error, Side: cluster.Member, Object: endpoint,
				Cause: "does not take the stored credential (401)", Remedy: j.rotate(m, context)})
		case ok && failed.Fault == cluster.FaultCertificate:
			say(Finding{Code: CertificateInvalid, Severity: Error, Side: cluster.Member, Object: endpoint,
				Cause: "its certificate does not verify: " + cluster.Cause(failed.Err), Remedy: j.join(m, context, command.Join{CertificateAuthority: "FILE"})})
		default:
			say(Finding{Code: Unreachable, Severity: Warning, Side: cluster.Member, Object: endpoint,
				Cause: "could not be looked at from here: " + causeOf(s.Err)})
		}
		return
	}
	if string(s.State.ID) != m.Spec.ClusterID {
		say(Finding{Code: IdentityMismatch, Severity: Error, Side: cluster.Member, Object: endpoint,
			Cause: fmt.Sprintf("leads to another cluster (ID %s, the member has %s)", s.State.ID, m.Spec.ClusterID), Remedy: j.join(m, context, command.Join{Server: "URL"})})
		return
	}
	if context == "" {
		j.drift(m, s, say)
	}
}

// drift judges what the member's own cluster says against the host's record.
func (j *judge) drift(m *v1alpha1.MemberCluster, s Observation, say func(Finding)) {
	state, context := s.State, s.Context
	side := func(f Finding) {
		f.Side = cluster.Member
		say(f)
	}
	// Through a stored credential only the membership record and the properties are to be seen.
	whole := s.Context != "" && len(state.Denied) == 0
	if !j.membership(m, s, side) {
		return
	}
	if whole {
		j.grants(m, s, side)
	}
	j.properties(m, s, side)
	request := state.JoinRequest
	at := cluster.Ref{Resource: cluster.Namespaces, Name: request.Namespace}.String()
	switch {
	case request.Federation == "" && whole:
		side(Finding{Code: LabelMissing, Severity: Info, Object: cluster.Ref{Resource: cluster.Namespaces, Name: v1alpha1.IdentityNamespace}.String(),
			Cause:  fmt.Sprintf("does not carry the label %s=%s, by which discovery would find the member again", v1alpha1.LabelFederation, m.Federation()),
			Remedy: j.line(command.Label{Cluster: j.cluster(context), Federation: m.Federation()})})
	case request.Federation != "" && request.Federation != m.Federation():
		side(Finding{Code: LabelDiffers, Severity: Warning, Object: at,
			Cause:  fmt.Sprintf("names federation %q, but the cluster is a member of %q", request.Federation, m.Federation()),
			Remedy: j.line(command.Label{Cluster: j.cluster(context), Federation: m.Federation()})})
	}
}

// membership judges whose the cluster says it is, and whether there is more to judge.
func (j *judge) membership(m *v1alpha1.MemberCluster, s Observation, side func(Finding)) bool {
	k, at := s.State.Membership, member.MembershipRef().String()
	switch {
	case k == nil && s.State.Denied[member.MembershipRef()] != nil:
		side(Finding{Code: NotChecked, Severity: Warning, Object: at, Cause: "could not be checked: you have no right to read it"})
		return false
	case k == nil:
		side(Finding{Code: MembershipMissing, Severity: Error, Object: at,
			Cause: "is not there: the cluster does not say whose it is, and another host may take it", Remedy: j.join(m, s.Context, command.Join{})})
		return false
	case k.HostID != j.Host.ID:
		side(Finding{Code: MembershipOfAnother, Severity: Error, Object: at,
			Cause: "says that the cluster is " + k.String(), Remedy: j.line(command.Unjoin{Member: v1alpha1.MemberName(m.Name), Force: true})})
		return false
	case k.Member != v1alpha1.MemberName(m.Name) || k.Federation != m.Federation():
		side(Finding{Code: MembershipDiffers, Severity: Error, Object: at,
			Cause:  fmt.Sprintf("says that the cluster is member %q of federation %q", k.Member, k.Federation),
			Remedy: j.line(command.Unjoin{Member: k.Member, Cluster: j.cluster(s.Context)})})
		return false
	case k.MemberUID != m.UID:
		side(Finding{Code: MembershipDiffers, Severity: Error, Object: at, Cause: "was made by an earlier member of this name", Remedy: j.join(m, s.Context, command.Join{})})
	}
	return true
}

// causeOf is why a look failed, without the side and the request, which the finding names.
func causeOf(err error) string {
	if failed, ok := errors.AsType[*cluster.Error](err); ok {
		return cluster.Cause(failed.Err)
	}
	return cluster.Cause(err)
}

// grants judges the accounts, roles and bindings that a join makes.
func (j *judge) grants(m *v1alpha1.MemberCluster, s Observation, side func(Finding)) {
	g := member.Grants{Properties: s.State.Properties, Binding: s.State.Binding().Name}
	if f := j.federation(m.Federation()); f != nil && f.Spec.Access != nil {
		g.AccessRole = f.Spec.Access.ClusterRole
	}
	for _, o := range append(g.BaseObjects(), g.Bindings()...) {
		live := s.State.Objects[o.Ref]
		switch {
		case live == nil:
			side(Finding{Code: GrantMissing, Severity: Error, Object: o.Ref.String(), Cause: "is not there, and the host's credential rests on it", Remedy: j.join(m, s.Context, command.Join{})})
		case !cluster.Covers(live.Object, o.Manifest.Object):
			side(Finding{Code: GrantChanged, Severity: Error, Object: o.Ref.String(), Cause: "is not as join makes it", Remedy: j.join(m, s.Context, command.Join{})})
		}
	}
	refs := member.BindingRefs()
	if s.State.Objects[refs[0]] != nil && s.State.Objects[refs[1]] != nil {
		side(Finding{Code: RotationUnfinished, Severity: Warning, Object: refs[1].String(),
			Cause: "exists together with " + refs[0].String() + ": a rotation did not end, and an old credential may still work", Remedy: j.rotate(m, s.Context)})
	}
}

// properties judges what the cluster says about its identity and its set, where it serves the About API (KEP-2149).
func (j *judge) properties(m *v1alpha1.MemberCluster, s Observation, side func(Finding)) {
	if !s.State.Properties {
		return
	}
	want := [][2]string{{v1alpha1.PropertyClusterID, m.Spec.ClusterID}}
	if accepted := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionAccepted); accepted != nil && accepted.Status == metav1.ConditionTrue {
		want = append(want, [2]string{v1alpha1.PropertyClusterSet, string(m.Federation())})
	}
	for _, w := range want {
		ref := member.PropertyRef(w[0])
		live := s.State.Objects[ref]
		if live == nil {
			if s.State.Denied[ref] == nil {
				side(Finding{Code: PropertyMissing, Severity: Warning, Object: ref.String(), Cause: fmt.Sprintf("is not there; it should say %q", w[1]), Remedy: j.join(m, s.Context, command.Join{})})
			}
			continue
		}
		value, _, _ := unstructured.NestedString(live.Object, "spec", "value")
		if value == w[1] {
			continue
		}
		f := Finding{Code: PropertyDiffers, Severity: Error, Object: ref.String(), Cause: fmt.Sprintf("says %q and not %q", value, w[1]), Remedy: j.join(m, s.Context, command.Join{})}
		if _, managed := live.GetLabels()[v1alpha1.LabelFederation]; !managed {
			f.Cause += ", and was not set by kubectl federate"
			at := j.cluster(s.Context)
			f.Remedy = j.line(command.KubectlDelete{Object: ref.Object(), Cluster: &at})
		}
		side(f)
	}
}

// stranger judges a cluster that the host has no record of.
func (j *judge) stranger(s Observation) {
	if s.Context == "" {
		return // a stored credential: reported with its member
	}
	say := func(f Finding) {
		f.Side, f.Member = cluster.Member, s.Context
		j.add(f)
	}
	if s.Err != nil {
		f := Finding{Code: ContextUnreachable, Severity: Warning, Object: "context " + cluster.Quoted(s.Context), Cause: "could not be looked at: " + causeOf(s.Err)}
		if failed, ok := errors.AsType[*cluster.Error](s.Err); ok && failed.Fault == cluster.FaultUnauthorized {
			f.Code, f.Cause = ContextWithoutAccess, "its cluster does not take your credential (401)"
		}
		say(f)
		return
	}
	if s.Context != j.contexts[string(s.State.ID)] {
		return // another context leads there too
	}
	if slices.ContainsFunc(j.Host.Members, func(m v1alpha1.MemberCluster) bool { return m.Spec.ClusterID == string(s.State.ID) }) {
		return
	}
	j.leftover(s, say)
	j.request(s, say)
}

// leftover judges what an earlier membership left.
func (j *judge) leftover(s Observation, say func(Finding)) {
	leave := func(name v1alpha1.MemberName) string {
		return j.line(command.Unjoin{Member: name, Cluster: j.cluster(s.Context)})
	}
	k := s.State.Membership
	switch {
	case k != nil && k.HostID == j.Host.ID:
		say(Finding{Code: Leftover, Severity: Error, Object: member.MembershipRef().String(),
			Cause: fmt.Sprintf("says that the cluster is member %q of federation %q, which this host does not have", k.Member, k.Federation), Remedy: leave(k.Member)})
	case k != nil:
		say(Finding{Code: MemberOfOtherHost, Severity: Info, Object: member.MembershipRef().String(),
			Cause: "says that the cluster is " + k.String()})
	default:
		for _, ref := range s.State.Found() {
			if s.State.Objects[ref].GetLabels()[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByJoin {
				say(Finding{Code: Leftover, Severity: Error, Object: ref.String(),
					Cause: "is left by a membership that is no more", Remedy: leave("")})
				return // one command takes all of it
			}
		}
	}
}

// request judges a federation label of a cluster that is in no federation of this host.
func (j *judge) request(s Observation, say func(Finding)) {
	w := s.State.JoinRequest
	at := cluster.Ref{Resource: cluster.Namespaces, Name: w.Namespace}.String()
	switch {
	case w.Federation == "" || s.State.Membership != nil:
	case j.federation(w.Federation) == nil:
		say(Finding{Code: LabelDangling, Severity: Warning, Object: at, Cause: fmt.Sprintf("names federation %q, which does not exist", w.Federation),
			Remedy: j.line(command.Label{Cluster: j.cluster(s.Context), Remove: true})})
	case w.Left != w.Federation:
		say(Finding{Code: JoinPending, Severity: Info, Object: at, Cause: fmt.Sprintf("names federation %q, and is not in it", w.Federation),
			Remedy: j.line(command.Discover{Federation: w.Federation, Join: true})})
	}
}
