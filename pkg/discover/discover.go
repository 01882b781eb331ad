// Package discover finds clusters that ask to join a federation by the label kubefederate.io/federation, on themselves or
// on the object that stands for them on the host. The label gives nothing by itself: joining takes the rights and passes
// the rules of any join.
package discover

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// NotServed means that a host does not serve the kinds that a source reads.
type NotServed struct{ Source SourceName }

func (e *NotServed) Error() string {
	var kinds []string
	for _, versions := range e.Source.row().Kinds {
		kinds = append(kinds, "no "+versions[0].GroupResource().String())
	}
	return fmt.Sprintf("host: source %s: the host serves %s", e.Source, strings.Join(kinds, " and "))
}

// NoCredential is the Err of a candidate whose object leads to no credential that could be used, and says what to do.
type NoCredential struct{ Why string }

func (e *NoCredential) Error() string { return e.Why }

// Object stands for a cluster on the host. The zero Ref is the cluster itself.
type Object struct {
	cluster.Ref
	// UID is the object's own: one that is made anew under its name has another.
	UID types.UID
	// Context leads to the API server that has the object, where that is not the host.
	Context string
	// JoinRequest is the federation that the label of the object names; empty when it carries none.
	JoinRequest v1alpha1.FederationName
}

// Candidate is one way to reach a cluster.
type Candidate struct {
	// Source that knows it.
	Source SourceName
	// Name by which the source calls it: a context, Rancher's display name, the namespace and name of a Cluster.
	Name string
	// Base is what its member's name is made of, where that is not Name.
	Base string
	// Objects stand for it on the host. Created is when the first of them was made.
	Objects []Object
	Created time.Time
	// Labels are those of its objects.
	Labels map[string]string
	// Secret holds its credential; zero for a context. SecretVersion is that of it which was read; empty where it was not.
	Secret        cluster.Ref
	SecretVersion string
	// Paused says that its object is at rest, as `clusterctl move` has it before the object goes to another host.
	Paused bool
	// OtherName is another source's name for the same cluster, where an object has it: "cluster-api:team-x/prod-a".
	OtherName string
	// Note is for Permit: what it writes here stays.
	Note string
	// Endpoint is what the host is to store; nil where that is the one that Connect reaches.
	Endpoint *endpoint.Endpoint
	// EndpointMissing says why no credential of the cluster's own works at any endpoint that the source knows, and what to
	// do; empty when one may.
	EndpointMissing string
	// Err says why the source has no way to the cluster; Connect is not called then.
	Err error
	// Hint is what the source reports of a cluster's health. It follows the reason when the cluster does not answer.
	Hint string
	// Connect opens it. It sends no request. What Probe has opened may stay open.
	Connect func() (*member.Cluster, error)

	// id distinguishes candidates of one source that share a Name; see distinguish.
	id string
	// isHost is set for the cluster that the source itself runs in.
	isHost bool
	// secretGroup is that of the Cluster that Secret may belong to; empty where it is not looked at.
	secretGroup string
	// server is where the object says that the cluster is, where its Secret holds a token alone, or must agree.
	server endpoint.Endpoint
	// key and context are those of the kubeconfig in Secret, where the object names them.
	key, context string
}

// String names the candidate among those of all sources.
func (c Candidate) String() string {
	if c.Source == FromKubeconfig {
		return c.Name
	}
	return string(c.Source) + ":" + c.Name
}

// Context is the kubeconfig context of the candidate; empty for other sources.
func (c Candidate) Context() string {
	if c.Source == FromKubeconfig {
		return c.Name
	}
	return ""
}

// List lists the candidates of all sources at once, in the order of the sources. What could not be read of one source
// does not keep the others: it is in errs, one entry per source, nil where all was read.
func List(ctx context.Context, sources ...Source) (candidates []Candidate, errs []error) {
	lists := make([][]Candidate, len(sources))
	errs = cluster.ForEach(len(sources), func(i int) (err error) { lists[i], err = sources[i].Candidates(ctx); return err })
	for _, l := range lists {
		candidates = append(candidates, l...)
	}
	return candidates, errs
}
