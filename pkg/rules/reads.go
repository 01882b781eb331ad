package rules

import (
	"iter"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Reads are what a rule has read of a host beside the object that is written.
type Reads uint32

// Reads. A namespace is none of them: it is read live for each request.
const (
	// ReadsFederation is the Federation that the write is about, or another one by its name.
	ReadsFederation Reads = 1 << iota
	// ReadsFederations are the names of all Federations.
	ReadsFederations
	// ReadsIdentity are the members with a cluster ID.
	ReadsIdentity
	// ReadsMembers are the members of a federation: who they are, or how many.
	ReadsMembers
	// ReadsObject is the object that is written. No rule has read it of the host: the webhook's journal does.
	ReadsObject
)

// Has says whether any of some is among the reads.
func (r Reads) Has(some Reads) bool { return r&some != 0 }

// recorder is a host that remembers what it was asked for. Several goroutines may ask.
// The host is not embedded: the compiler asks about each method of Host whether it is recorded.
type recorder struct {
	host  Host
	reads atomic.Uint32
}

func (r *recorder) all() Reads { return Reads(r.reads.Load()) }

func (r *recorder) record(what Reads) { r.reads.Or(uint32(what)) }

// Federation implements Host.
func (r *recorder) Federation(name v1alpha1.FederationName) *v1alpha1.Federation {
	r.record(ReadsFederation)
	return r.host.Federation(name)
}

// FederationNames implements Host.
func (r *recorder) FederationNames() []v1alpha1.FederationName {
	r.record(ReadsFederations)
	return r.host.FederationNames()
}

// MembersWithID implements Host.
func (r *recorder) MembersWithID(id v1alpha1.ClusterID) []*v1alpha1.MemberCluster {
	r.record(ReadsIdentity)
	return r.host.MembersWithID(id)
}

// MembersAt implements Host. It is not recorded: only warnings read it.
func (r *recorder) MembersAt(key endpoint.Key) []*v1alpha1.MemberCluster {
	return r.host.MembersAt(key)
}

// Count implements Host.
func (r *recorder) Count(bucket Bucket, except v1alpha1.MemberName) int {
	r.record(ReadsMembers)
	return r.host.Count(bucket, except)
}

// Members implements Host.
func (r *recorder) Members(name v1alpha1.FederationName) iter.Seq[*v1alpha1.MemberCluster] {
	r.record(ReadsMembers)
	return r.host.Members(name)
}

// Namespace implements Host. It is not recorded: it is read live for each request.
func (r *recorder) Namespace(name string) *metav1.ObjectMeta { return r.host.Namespace(name) }
