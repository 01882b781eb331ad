package journal

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// ClientError is an error that is for the client as it is. Clients wait and try again by themselves where its code is 429.
type ClientError struct{ *apierrors.StatusError }

// retrySeconds is when a client tries again.
const retrySeconds = 1

var errFull error = ClientError{apierrors.NewTooManyRequests("the kubefederate journal is full of writes under way: try again in a moment", 5)}

func errShare(name v1alpha1.FederationName) error {
	return ClientError{apierrors.NewTooManyRequests(fmt.Sprintf(
		"the kubefederate journal has as many writes under way of federation %q as it takes: try again in a moment", name), 5)}
}

func errPending(name v1alpha1.FederationName) error {
	return ClientError{apierrors.NewTooManyRequests(fmt.Sprintf(
		"it depends on other writes of federation %q that are under way: try again in a moment", name), retrySeconds)}
}

func errTooLarge(e *Entry, size int) error {
	return ClientError{apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
		"%s %q takes %d bytes in the kubefederate journal, more than %d", e.Kind, e.Name, size, maxEntrySize))}
}

// errUnknown is what etcd would say of a change of an object that is not as the review claims.
func errUnknown(r Request) error {
	resource, name := "federations", string(r.federation())
	if r.Member != nil {
		resource, name = "memberclusters", r.Member.New.Name
	}
	return ClientError{apierrors.NewConflict(v1alpha1.GroupVersion.WithResource(resource).GroupResource(), name,
		errors.New("the object is not there as it was read: read it again"))}
}

// alreadyExists is what etcd would say, in a moment in which it might not say it any more.
func alreadyExists(member string) error {
	return ClientError{apierrors.NewAlreadyExists(v1alpha1.GroupVersion.WithResource("memberclusters").GroupResource(), member)}
}
