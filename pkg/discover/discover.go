// Package discover finds clusters that ask to be in a federation: a cluster says so by the label
// kubefederate.io/federation, on itself or on the object that stands for it on the host. A federation label gives nothing by
// itself; joining it takes the rights and passes the rules of a normal join.
package discover

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// SourceName is how a person calls a source.
type SourceName string

// The sources, the most direct first.
const (
	FromKubeconfig SourceName = "kubeconfig"
	FromClusterAPI SourceName = "cluster-api"
	FromRancher    SourceName = "rancher"
)

// Sources are all of them.
var Sources = []SourceName{FromKubeconfig, FromRancher, FromClusterAPI}

// Source knows ways to reach clusters.
type Source interface {
	// Candidates lists them without asking any cluster. An error beside candidates says what of the source could not be
	// read; a NotServed error says that the source is not there at all.
	Candidates(ctx context.Context) ([]Candidate, error)
}

// NotServed means that a host does not have what a source reads.
type NotServed struct {
	Source SourceName
	// Kinds are those that the source looks for.
	Kinds []cluster.Resource
}

func (e *NotServed) Error() string {
	kinds := make([]string, len(e.Kinds))
	for i, k := range e.Kinds {
		kinds[i] = "no " + k.GroupResource().String()
	}
	return fmt.Sprintf("host: source %s: the host serves %s", e.Source, strings.Join(kinds, " and "))
}

// Object stands for a cluster on the host.
type Object struct {
	cluster.Ref
	// JoinRequest is the federation that the object's label names; empty when it carries none.
	JoinRequest v1alpha1.FederationName
}

// Keep is an endpoint that the host is to keep instead of the one that the candidate connects to.
type Keep struct {
	Server   string
	CABundle []byte
}

// Candidate is one way to reach a cluster.
type Candidate struct {
	// Source that knows it.
	Source SourceName
	// Name by which the source calls it: a context, Rancher's display name, the namespace and name of a Cluster.
	Name string
	// Base is what its member's name is made of, where that is not Name.
	Base string
	// Objects stand for it on the host.
	Objects []Object
	// Labels are those of its objects.
	Labels map[string]string
	// Secret holds its credential; zero for a context.
	Secret cluster.Ref
	// OtherName is another source's name for the same cluster, where an object says so: "cluster-api:team-x/prod-a".
	OtherName string
	// Keep is nil where the host keeps the endpoint that Connect reaches.
	Keep *Keep
	// Unkept says why no credential of the cluster's own works at the endpoint, and what to do; empty when one may.
	Unkept string
	// Err says why the source has no way to the cluster; Connect is not called then.
	Err error
	// Hint is what the source says of a cluster's health; it stands behind the reason when the cluster does not answer.
	Hint string
	// Connect opens it. It sends no request. What Probe has opened may stay open.
	Connect func() (*member.Cluster, error)
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

// otherName is the name by which other sources may know the cluster.
func (c Candidate) otherName() string {
	if c.OtherName != "" {
		return c.OtherName
	}
	return c.String()
}

// List lists the candidates of all sources at once, in the order of the sources. What could not be read of one source
// does not keep the others: it is in errs, one entry per source, nil where all was read.
func List(ctx context.Context, sources ...Source) (candidates []Candidate, errs []error) {
	lists := make([][]Candidate, len(sources))
	errs = make([]error, len(sources))
	cluster.Parallel(len(sources), func(i int) { lists[i], errs[i] = sources[i].Candidates(ctx) })
	for _, l := range lists {
		candidates = append(candidates, l...)
	}
	return candidates, errs
}

// eachOf calls f with 0 to n-1, at most limit at once, and waits for all.
func eachOf(n, limit int, f func(i int)) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, limit)
	for i := range n {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wait.Wait()
}

// secretsAtOnce bounds how many Secrets are asked for at once: the host has others to serve.
const secretsAtOnce = 20
