package rules

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// ClusterIDUnique: a cluster is a member once on a host, of one federation, under one name.
//
// Reads: spec.clusterID, and those of all members.
// Allows: an ID that no other member holds. A member that is being deleted holds its ID until it is gone.
// Does not promise: that the ID is that of the cluster behind the endpoint. The manager compares when it probes. The text names
// who created a member that has never answered: any joiner can make one with the ID of a cluster that is not theirs.
const ClusterIDUnique ID = "clusterIDUnique"

func clusterIDUnique(s Snapshot, c MemberChange) (found Findings) {
	if c.Old != nil && c.Old.Spec.ClusterID == c.New.Spec.ClusterID {
		return found
	}
	for _, holder := range s.MembersWithID(v1alpha1.ClusterID(c.New.Spec.ClusterID)) {
		if holder.Name == c.New.Name {
			continue
		}
		unjoin := command.Unjoin{Member: v1alpha1.MemberName(holder.Name)}
		e := field.Duplicate(specPath.Child("clusterID"), c.New.Spec.ClusterID)
		e.Detail = fmt.Sprintf("this cluster is already member %q of federation %q", holder.Name, holder.Federation())
		silent := NeverAnswered(holder, s.Now)
		switch {
		case holder.DeletionTimestamp != nil:
			e.Detail = fmt.Sprintf("this cluster is still member %q of federation %q, which is being deleted", holder.Name, holder.Federation())
		case silent != "":
			unjoin.Force = true
			e.Detail += ", which " + silent + "; " + command.Host{}.To("if it does not stand for this cluster, free the ID", unjoin)
		default:
			e.Detail += "; " + command.Host{}.To("let it leave first", unjoin)
		}
		found.refuse(e)
	}
	return found
}

// joinGrace is how long after its creation a member that carries what a join writes is taken for one that joins, or has just
// joined: the manager has not probed it yet.
const joinGrace = 5 * time.Minute

// NeverAnswered says that a member on the host has never answered the manager, and who created it where that is known: "was created
// by "alice" and has never answered the manager". It is empty for all others.
func NeverAnswered(m *v1alpha1.MemberCluster, now time.Time) string {
	joins := m.Annotations[v1alpha1.AnnotationAttempt] != "" || m.Annotations[v1alpha1.AnnotationJoinedBy] != ""
	switch {
	case m.ResourceVersion == "": // as admitted or in a file, where there is no status
		return ""
	case m.Status.Facts != nil || len(m.Status.SigningKeys) > 0:
		return ""
	case joins && now.Sub(m.CreationTimestamp.Time) < joinGrace:
		return ""
	}
	const silent = "has never answered the manager"
	by := text.Cut(m.Annotations[v1alpha1.AnnotationCreatedBy], v1alpha1.MaxCreatedBy)
	if by == "" {
		return silent
	}
	return fmt.Sprintf("was created by %q and ", by) + silent
}
