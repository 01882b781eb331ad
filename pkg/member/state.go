package member

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// State is what a plan knows of a member.
type State struct {
	ID      v1alpha1.ClusterID
	Version string
	Topology
	// Namespace is kubefederate-member; nil when it does not exist.
	Namespace   *unstructured.Unstructured
	Membership  *Membership
	JoinRequest JoinRequest
	// Properties says whether the member serves the About API.
	Properties bool
	// Policies says whether the member serves ValidatingAdmissionPolicies, as Kubernetes 1.30 and later do; PoliciesDenied that the
	// caller may not read that of a membership, and nothing is known of it.
	Policies, PoliciesDenied bool
	// Objects are those of a membership that exist, by reference.
	Objects map[cluster.Ref]*unstructured.Unstructured
	// ServiceNamespaces are those in which an earlier join gave rights on services.
	ServiceNamespaces []string
	// Denied are the reads that the member forbade. What they read is missing from the state.
	Denied cluster.Denied
}

// Read reads all of it at once. Reads that the member forbids are in Denied; any other failure is returned.
func (c *Cluster) Read(ctx context.Context) (*State, error) {
	s := &State{Objects: map[cluster.Ref]*unstructured.Unstructured{}, Properties: true, Policies: true}
	refs := append(refs(), cluster.IdentityNamespace, NamespaceRef(), MembershipRef())
	found := make([]*unstructured.Unstructured, len(refs))
	reads := []func() error{
		func() (err error) { s.Version, err = c.Version(ctx); return err },
		func() (err error) { s.Topology, err = c.Topology(ctx); return err },
	}
	for i, ref := range refs {
		reads = append(reads, func() (err error) { found[i], err = c.Get(ctx, ref); return err })
	}
	for _, err := range cluster.Together(reads...) {
		failed, isAnswer := errors.AsType[*cluster.Error](err)
		if err != nil && !isAnswer {
			return nil, err
		}
		switch {
		case err == nil:
		case slices.Contains(PolicyRefs(), failed.Object) && failed.Fault == cluster.FaultForbidden:
			s.PoliciesDenied = true
		case s.Denied.Add(err):
		case !apierrors.IsNotFound(err) || failed.Object.Name == "":
			return nil, err
		case failed.Object == cluster.IdentityNamespace:
			return nil, fmt.Errorf("member: %s has no namespace %q, whose UID is a cluster's identity: this is not a Kubernetes cluster: %w",
				c.Server(), v1alpha1.IdentityNamespace, err)
		case failed.Object.Resource == cluster.ClusterProperties && cluster.IsNotServed(err):
			s.Properties = false
		case failed.Object.Resource == cluster.AdmissionPolicies && cluster.IsNotServed(err):
			s.Policies = false
		}
	}
	var identity *unstructured.Unstructured
	for i, o := range found {
		switch {
		case o == nil:
		case refs[i] == cluster.IdentityNamespace:
			id, err := c.IDOf(o)
			if err != nil {
				return nil, err
			}
			s.ID, identity = id, o
		case refs[i] == NamespaceRef():
			s.Namespace = o
		case refs[i] == MembershipRef():
			s.Membership = MembershipOf(o)
		default:
			s.Objects[refs[i]] = o
		}
	}
	s.JoinRequest = requestOf(identity, s.Namespace)
	return s, c.readServices(ctx, s)
}

// Found are the refs of the objects that exist, in the order in which they are to be removed.
func (s *State) Found() []cluster.Ref {
	return slices.DeleteFunc(append(servicesRefs(s.ServiceNamespaces), refs()...), func(r cluster.Ref) bool { return s.Objects[r] == nil })
}
