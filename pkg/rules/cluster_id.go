package rules

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// ClusterIDUnique: a cluster is a member once on a host, of one federation, under one name.
//
// Reads: spec.clusterID, and those of all members.
// Allows: an ID that no other member holds. A member that is being deleted holds its ID until it is gone.
// Does not promise: that the ID is that of the cluster behind the endpoint. The manager compares when it probes.
const ClusterIDUnique ID = "clusterIDUnique"

func clusterIDUnique(s Snapshot, c MemberChange) (found Findings) {
	if c.Old != nil && c.Old.Spec.ClusterID == c.New.Spec.ClusterID {
		return found
	}
	for _, holder := range s.MembersWithID(v1alpha1.ClusterID(c.New.Spec.ClusterID)) {
		if holder.Name == c.New.Name {
			continue
		}
		e := field.Duplicate(specPath.Child("clusterID"), c.New.Spec.ClusterID)
		e.Detail = fmt.Sprintf("this cluster is already member %q of federation %q; ", holder.Name, holder.Federation()) +
			command.Host{}.To("let it leave first", command.Unjoin{Member: v1alpha1.MemberName(holder.Name)})
		if holder.DeletionTimestamp != nil {
			e.Detail = fmt.Sprintf("this cluster is still member %q of federation %q, which is being deleted", holder.Name, holder.Federation())
		}
		found.refuse(e)
	}
	return found
}
