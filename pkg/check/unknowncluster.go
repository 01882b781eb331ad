package check

import (
	"fmt"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// unknownCluster judges a cluster that a context leads to and that the host has no record of.
func (j *judge) unknownCluster(o *Observation) {
	if o.Context == "" {
		return // a stored credential: judged with its member
	}
	if o.Err != nil {
		f := Finding{Code: ContextUnreachable, Severity: Warning, Object: "context " + cluster.Quoted(o.Context), Cause: "could not be read: " + cluster.Cause(o.Err)}
		switch cluster.FaultOf(o.Err) {
		case cluster.FaultUnauthorized:
			f.Code, f.Cause = ContextWithoutAccess, "its cluster does not accept your credential (401)"
		case cluster.FaultAnonymous:
			f.Code, f.Cause = ContextWithoutAccess, "its cluster sees no credential: the user of the context has none, or a proxy does not pass it on"
		case cluster.FaultForbidden:
			f.Code, f.Cause = ContextWithoutAccess, "could not be checked: "+cluster.Cause(o.Err)
		}
		j.inContext(o, f)
		return
	}
	if id := string(o.State.ID); o == j.contexts[id] && !j.clusterIDs[id] {
		j.leftover(o)
		j.request(o)
	}
}

// inContext adds a finding about the cluster of a context.
func (j *judge) inContext(o *Observation, f Finding) {
	f.Side, f.Member = cluster.Member, o.Context
	j.add(f)
}

// leftover judges the objects of an earlier membership.
func (j *judge) leftover(o *Observation) {
	leave := func(name v1alpha1.MemberName) string {
		return j.line(command.Unjoin{Member: name, Cluster: j.cluster(o.Context)})
	}
	k := o.State.Membership
	switch {
	case k != nil && k.HostID == j.Host.ID:
		j.inContext(o, Finding{Code: Leftover, Severity: Error, Object: member.MembershipRef().String(),
			Cause: fmt.Sprintf("makes the cluster member %q of federation %q, which this host does not have", k.Member, k.Federation), Remedy: leave(k.Member)})
	case k != nil:
		j.inContext(o, Finding{Code: MemberOfOtherHost, Severity: Info, Object: member.MembershipRef().String(),
			Cause: "makes the cluster " + k.String()})
	default:
		for _, ref := range o.State.Found() {
			if member.ByJoin(o.State.Objects[ref]) {
				j.inContext(o, Finding{Code: Leftover, Severity: Error, Object: ref.String(),
					Cause: "is left over from an earlier membership", Remedy: leave("")})
				return // one command removes all of it
			}
		}
		j.leftNamespace(o)
	}
}

// leftNamespace judges a namespace that a join created and an unjoin left, for what others put into it or for want of rights.
func (j *judge) leftNamespace(o *Observation) {
	namespace := o.State.Namespace
	if namespace == nil || !member.ByJoin(namespace) || namespace.GetDeletionTimestamp() != nil || o.State.JoinRequest.Namespace == v1alpha1.MemberNamespace {
		return
	}
	at := j.cluster(o.Context)
	j.inContext(o, Finding{Code: Leftover, Severity: Warning, Object: member.NamespaceRef().String(),
		Cause:  "is left over from an earlier membership: it held objects that kubectl federate did not create, its contents could not be read, or the caller was not allowed to delete it",
		Remedy: j.line(command.KubectlDelete{Object: member.NamespaceRef().Object(), Cluster: &at})})
}

// request judges a federation label of a cluster that is in no federation of this host.
func (j *judge) request(o *Observation) {
	w := o.State.JoinRequest
	at := cluster.Ref{Resource: cluster.Namespaces, Name: w.Namespace}.String()
	switch {
	case w.Federation == "" || o.State.Membership != nil:
	case j.federations[w.Federation] == nil:
		j.inContext(o, Finding{Code: LabelDangling, Severity: Warning, Object: at, Cause: fmt.Sprintf("names federation %q, which does not exist", w.Federation),
			Remedy: j.line(command.Label{Cluster: j.cluster(o.Context), Remove: true})})
	case w.Left != w.Federation:
		j.inContext(o, Finding{Code: JoinPending, Severity: Info, Object: at, Cause: fmt.Sprintf("asks to join federation %q", w.Federation),
			Remedy: j.line(command.Discover{Federation: w.Federation, Join: true})})
	}
}
