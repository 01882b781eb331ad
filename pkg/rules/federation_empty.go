package rules

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// FederationEmpty: a federation is not deleted from under its members.
//
// Reads: the members of the Federation.
// Allows: deleting a Federation without members. One that is being deleted is still a member.
// Does not promise: that no cluster joins in between; the snapshot must do that.
const FederationEmpty ID = "federationEmpty"

func federationEmpty(s Snapshot, c FederationChange) (found Findings) {
	if c.New != nil {
		return found
	}
	name := v1alpha1.FederationName(c.Old.Name)
	if s.Count(Bucket{Federation: name}, "") == 0 {
		return found
	}
	var members []string
	for m := range s.Members(name) {
		members = append(members, m.Name)
	}
	slices.Sort(members)
	var unjoin command.UnjoinMany
	if len(members) <= fewNames {
		for _, name := range members {
			unjoin.Members = append(unjoin.Members, v1alpha1.MemberName(name))
		}
	}
	found.refuse(field.Forbidden(field.NewPath("metadata", "name"), fmt.Sprintf(
		"federation %q has %s: %s; ", name, count(len(members), "member"), some(members))+command.Host{}.To("unjoin them first", unjoin)))
	return found
}
