package discover

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// SourceName is how a person calls a source.
type SourceName string

// SourceType is one place that clusters are found in: a row of Sources.
type SourceType struct {
	Name SourceName
	// Kind is how spec.discovery of a Federation names the source; empty where its objects are not on the host.
	Kind v1alpha1.DiscoverySourceKind
	// Title is what messages and the help call the way to a cluster through it: "then Cluster API".
	Title string
	// Help follows the name in the help of discover.
	Help string
	// Kinds are those that stand for clusters, each in all its versions, the newest first. A host that serves none of them does
	// not have the source.
	Kinds [][]cluster.Resource
	// ClusterWide are those of Kinds, in their newest version, whose objects have no namespace, or one that no tenant has.
	ClusterWide []cluster.Resource
	// Select selects the objects of Kinds that are read; its zero value selects all.
	Select cluster.ListOptions
	// Read makes the candidates of the objects of Kinds, a list each, without what their Secrets hold. It is pure, and takes
	// objects with anything in them. Of Secrets it gets the metadata only.
	Read func(objects [][]unstructured.Unstructured) []Candidate
	// Credential is what the Secret of a candidate holds, and may change how the candidate is called. It is pure, and takes
	// Secrets with anything in them.
	Credential func(*Candidate, *corev1.Secret) (*kubeconfig.Access, error)
	// Renewal is what the user does about a credential of the source that has expired.
	Renewal string
	// Open makes the source. It sends no request.
	Open func(Environment) Source
}

// Sources are all there are, the most direct first: a cluster that several know is joined through the first of them. A
// context is the caller's own way, with a credential of their own. Cluster API's credential is an administrator's and leads
// to the cluster itself; Rancher's leads through Rancher. Those between hold what a person gave them.
var Sources = []SourceType{
	kubeconfigSource, clusterAPISource, argoCDSource, karmadaSource, kubeFedSource, fleetSource, secretSource, clusterProfileSource,
	openClusterManagementSource, rancherSource,
}

// Environment is what sources read, and how they open what they find.
type Environment struct {
	Host *host.Cluster
	// Elsewhere is the API server that has the objects of all sources, where that is not the host, and Context how the caller's
	// kubeconfig calls it.
	Elsewhere *host.Cluster
	Context   string
	// Connect opens the member that a candidate's configuration reaches. It sends no request.
	Connect func(*Candidate, *rest.Config) (*member.Cluster, error)
	// Permit says whether a candidate may be looked at; nil permits all. It is asked before the candidate's Secret is read, and
	// its error becomes the candidate's Err: the Secret is not read, and nothing is dialed.
	Permit func(*Candidate) error
	// AllKinds has a kind of a source that the host does not serve be an error also where it serves others of it.
	AllKinds bool
	// Namespaces are those in which objects are listed that have one; nil is all of them.
	Namespaces []string
	// Secrets are single ones of other namespaces that are looked at as well, where the objects of a source are Secrets.
	Secrets []cluster.Ref
	// Contexts are those of the caller's kubeconfig.
	Contexts Source
}

// Source knows ways to reach clusters.
type Source interface {
	// Candidates lists them without asking any cluster. An error beside candidates says what of the source could not be
	// read; a NotServed error says that the host does not have the source.
	Candidates(ctx context.Context) ([]Candidate, error)
}

// SourceNames are those of all sources, in their order.
func SourceNames() []string {
	names := make([]string, len(Sources))
	for i, s := range Sources {
		names[i] = string(s.Name)
	}
	return names
}

// OfKind is the source that spec.discovery of a Federation names by kind; false where there is none.
func OfKind(kind v1alpha1.DiscoverySourceKind) (SourceType, bool) {
	i := slices.IndexFunc(Sources, func(s SourceType) bool { return s.Kind == kind && kind != "" })
	if i < 0 {
		return SourceType{}, false
	}
	return Sources[i], true
}

// directness is the source's place in Sources.
func (n SourceName) directness() int {
	return slices.IndexFunc(Sources, func(s SourceType) bool { return s.Name == n })
}

// row is the source's in Sources; the zero SourceType where it has none.
func (n SourceName) row() SourceType {
	if i := n.directness(); i >= 0 {
		return Sources[i]
	}
	return SourceType{}
}
