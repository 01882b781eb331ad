package rules

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// FederationEmpty: a federation is not deleted from under its members.
//
// Reads: the members of the Federation.
// Allows: deleting a Federation without members. One that is being deleted is still a member.
// Does not promise: that nobody joins in between; the snapshot must do that.
const FederationEmpty ID = "federationEmpty"

func federationEmpty(s Snapshot, c FederationChange) (found Findings) {
	if c.New != nil {
		return found
	}
	name := v1alpha1.FederationName(c.Old.Name)
	if s.Memberships.Count(Bucket{Federation: name}, "") == 0 {
		return found
	}
	var members []string
	for m := range s.Memberships.Members(name) {
		members = append(members, m.Name)
	}
	slices.Sort(members)
	unjoin := "NAME..."
	if len(members) <= fewNames {
		unjoin = strings.Join(members, " ")
	}
	found.refuse(field.Forbidden(field.NewPath("metadata", "name"), fmt.Sprintf(
		"federation %q has %s: %s; they leave first, with kubectl federate unjoin %s",
		name, count(len(members), "member"), some(members), unjoin)))
	found.name(first(members))
	return found
}
