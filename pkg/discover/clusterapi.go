package discover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// ClusterAPI is the source of clusters.cluster.x-k8s.io on the host. A cluster's kubeconfig is in the Secret
// <name>-kubeconfig beside it; it is an administrator's (system:masters), and is used to join and kept nowhere.
//
// Contract: https://cluster-api.sigs.k8s.io/developer/providers/contracts/control-plane
type ClusterAPI struct {
	Host    *host.Cluster
	Connect Opener
}

// Candidates lists the Clusters by namespace and name, and reads their Secrets. Those that are being deleted are left
// out, and so are those that Rancher made: they are its own.
func (s ClusterAPI) Candidates(ctx context.Context) ([]Candidate, error) {
	objects, served, err := s.Host.Foreign(ctx, cluster.ClusterAPIClusters...)
	if err != nil {
		return nil, err
	}
	if !served {
		return nil, &NotServed{FromClusterAPI, cluster.ClusterAPIClusters[:1]}
	}
	candidates := clusterAPICandidates(objects)
	now := time.Now()
	eachOf(len(candidates), secretsAtOnce, func(i int) {
		c := &candidates[i]
		access, err := accessOf(ctx, s.Host, c.Secret, now, FromClusterAPI)
		c.Err = err
		c.Connect = func() (*member.Cluster, error) { return s.Connect(access.RESTConfig()) }
	})
	return candidates, nil
}

// clusterAPICandidates are the candidates but for what their Secrets hold.
func clusterAPICandidates(objects []unstructured.Unstructured) []Candidate {
	var candidates []Candidate
	for i := range objects {
		o := &objects[i]
		if o.GetDeletionTimestamp() != nil || slices.ContainsFunc(o.GetOwnerReferences(), ofRancher) {
			continue
		}
		candidates = append(candidates, Candidate{
			Source: FromClusterAPI, Name: o.GetNamespace() + "/" + o.GetName(), Base: o.GetName(),
			Objects: []Object{objectOf(kindOf(cluster.ClusterAPIClusters[0], o), o)}, Labels: o.GetLabels(),
			Secret: cluster.Ref{Resource: cluster.Secrets, Namespace: o.GetNamespace(), Name: o.GetName() + "-kubeconfig"},
			Hint:   clusterAPIHint(o),
		})
	}
	slices.SortFunc(candidates, func(a, b Candidate) int { return strings.Compare(a.Name, b.Name) })
	return candidates
}

func ofRancher(o metav1.OwnerReference) bool {
	return o.Kind == cluster.RancherProvisioned.Kind && strings.HasPrefix(o.APIVersion, cluster.RancherProvisioned.Group+"/")
}

// clusterAPIHint says that a cluster is not there yet, or not well; empty when the object says neither. v1beta2 tells of
// the control plane in status.initialization, v1beta1 in status.controlPlaneReady.
func clusterAPIHint(o *unstructured.Unstructured) string {
	phase := text(o, "status", "phase")
	up := truth(o, "status", "initialization", "controlPlaneInitialized") || truth(o, "status", "controlPlaneReady")
	switch {
	case !up && phase != "" && phase != "Provisioned":
		return fmt.Sprintf("Cluster API says that it is %s", phase)
	case !up:
		return "Cluster API says that its control plane is not there yet"
	case phase == "Failed":
		return "Cluster API says that it is Failed"
	}
	return ""
}
