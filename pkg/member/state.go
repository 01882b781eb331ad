package member

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

func isAlreadyExists(err error) bool { return apierrors.IsAlreadyExists(err) }

// State is what a member looks like to a plan.
type State struct {
	ID      v1alpha1.ClusterID
	Version string
	Topology
	// Namespace is our namespace; nil when it is not there.
	Namespace   *unstructured.Unstructured
	Membership  *Membership
	JoinRequest JoinRequest
	// Properties says whether the member serves the About API.
	Properties bool
	// Objects are what a membership may have left or made, by reference; what is not there is absent.
	Objects map[cluster.Ref]*unstructured.Unstructured
	// Denied are reads that the member forbade. What they would have told is missing from the state.
	Denied []error
}

// Terminating says whether our namespace is being deleted.
func (s *State) Terminating() bool {
	return s.Namespace != nil && s.Namespace.GetDeletionTimestamp() != nil
}

// OurNamespace says whether join or label made our namespace.
func (s *State) OurNamespace() bool {
	return s.Namespace != nil && s.Namespace.GetLabels()[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByJoin
}

// Read reads all of it at once. Reads that the member forbids are gathered in Denied; any other failure is
// returned.
func (c *Cluster) Read(ctx context.Context) (*State, error) {
	s := &State{Objects: map[cluster.Ref]*unstructured.Unstructured{}, Properties: true}
	objects := append(refs(), namespaceRef(v1alpha1.IdentityNamespace), NamespaceRef(), MembershipRef())
	found := make([]*unstructured.Unstructured, len(objects))
	errs := make([]error, len(objects)+2)
	cluster.Parallel(len(errs), func(i int) {
		switch i - len(objects) {
		case 0:
			s.Version, errs[i] = c.Version(ctx)
		case 1:
			s.Topology, errs[i] = c.Topology(ctx)
		default:
			found[i], errs[i] = c.Get(ctx, objects[i])
		}
	})
	for i, err := range errs {
		switch {
		case err == nil:
		case i < len(objects) && cluster.IsAbsent(err):
			if objects[i].Resource == cluster.ClusterProperties && cluster.IsNotServed(err) {
				s.Properties = false
			}
			if objects[i].Name == v1alpha1.IdentityNamespace {
				return nil, fmt.Errorf("member: %s has no namespace %q, whose UID is a cluster's identity: this is no Kubernetes cluster: %w",
					c.Server(), v1alpha1.IdentityNamespace, err)
			}
			found[i] = nil
		case apierrors.IsForbidden(err):
			s.Denied = append(s.Denied, err)
			if i < len(found) {
				found[i] = nil
			}
		default:
			return nil, err
		}
	}
	for i, o := range found {
		if o == nil {
			continue
		}
		switch objects[i] {
		case namespaceRef(v1alpha1.IdentityNamespace):
			s.ID = v1alpha1.ClusterID(o.GetUID())
			s.JoinRequest = requestOn(o)
		case NamespaceRef():
			s.Namespace = o
		case MembershipRef():
			s.Membership = MembershipOf(o)
		default:
			s.Objects[objects[i]] = o
		}
	}
	if s.JoinRequest.Federation == "" {
		s.JoinRequest = requestOn(s.Namespace)
	}
	return s, nil
}

// Found are the refs of the objects that are there, in the order in which they are to be removed.
func (s *State) Found() []cluster.Ref {
	return slices.DeleteFunc(refs(), func(r cluster.Ref) bool { return s.Objects[r] == nil })
}
