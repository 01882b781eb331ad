package discover

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// FromOpenClusterManagement is the source of the clusters of an Open Cluster Management hub.
const FromOpenClusterManagement SourceName = "open-cluster-management"

var (
	managedClusters        = foreignKind(schema.GroupVersion{Group: "cluster.open-cluster-management.io", Version: "v1"}, "managedclusters", "ManagedCluster")
	managedServiceAccounts = []cluster.Resource{
		foreignKind(schema.GroupVersion{Group: "authentication.open-cluster-management.io", Version: "v1beta1"}, "managedserviceaccounts", "ManagedServiceAccount"),
		foreignKind(schema.GroupVersion{Group: "authentication.open-cluster-management.io", Version: "v1alpha1"}, "managedserviceaccounts", "ManagedServiceAccount"),
	}
)

const (
	// accountSecretLabel is on the Secrets of ManagedServiceAccounts, with the value true. Any other Secret of the namespace may hold
	// what must not be sent to the cluster.
	accountSecretLabel = "authentication.open-cluster-management.io/is-managed-serviceaccount"
	// maxClientConfigs is how many addresses of one cluster are tried.
	maxClientConfigs = 4
)

// openClusterManagementSource reads ManagedClusters, of which the hub has no credential by itself: it is that of a
// ManagedServiceAccount in the namespace with the cluster's name. Each address that the cluster reports is a candidate.
var openClusterManagementSource = SourceType{
	Name: FromOpenClusterManagement, Kind: "OpenClusterManagement", Title: "Open Cluster Management",
	Help:        "managedclusters.cluster.open-cluster-management.io, with a ManagedServiceAccount",
	Kinds:       [][]cluster.Resource{{managedClusters}, managedServiceAccounts},
	ClusterWide: []cluster.Resource{managedClusters, managedServiceAccounts[0]},
	Read: func(objects [][]unstructured.Unstructured) []Candidate {
		return managedClusterCandidates(objects[0], objects[1])
	},
	Credential: managedAccountCredential,
	Renewal:    "run this again when Open Cluster Management has written a new one",
	Open:       func(e Environment) Source { return objectSource{e, FromOpenClusterManagement} },
}

func managedAccountCredential(c *Candidate, secret *corev1.Secret) (*kubeconfig.Access, error) {
	if secret.Labels[accountSecretLabel] != "true" {
		return nil, fmt.Errorf("it is not the Secret of a ManagedServiceAccount: it has no label %s=true", accountSecretLabel)
	}
	return tokenAt(c, secret)
}

func managedClusterCandidates(clusters, accounts []unstructured.Unstructured) []Candidate {
	accountsOf := map[string][]*unstructured.Unstructured{}
	for _, o := range standing(accounts) {
		if text(o, "status", "tokenSecretRef", "name") != "" {
			accountsOf[o.GetNamespace()] = append(accountsOf[o.GetNamespace()], o)
		}
	}
	var candidates []Candidate
	for _, o := range standing(clusters) {
		c := candidateOf(FromOpenClusterManagement, managedClusters, o)
		c.Hint = managedClusterHint(o)
		account, err := accountOf(o.GetName(), accountsOf[o.GetName()])
		configs := objectsIn(o, "spec", "managedClusterClientConfigs")
		if err == nil && len(configs) == 0 {
			err = noCredential("the object has no address of the cluster in spec.managedClusterClientConfigs: set externalServerURLs in the spec of its Klusterlet, " +
				"or join it by a context of your own")
		}
		if err != nil {
			c.Err = err
			candidates = append(candidates, c)
			continue
		}
		c.Secret = secretRef(o.GetName(), text(account, "status", "tokenSecretRef", "name"))
		for i := range configs[:min(len(configs), maxClientConfigs)] {
			way := c
			if i > 0 {
				way.Name, way.OtherName = fmt.Sprintf("%s/%d", c.Name, i+1), c.String()
			}
			way.server.Server = text(&configs[i], "url")
			way.server.CABundle, way.Err = bytesIn(&configs[i], "caBundle")
			candidates = append(candidates, way)
		}
	}
	return candidates
}

// accountOf chooses the ManagedServiceAccount of a cluster, of those in its namespace that have a Secret: the only one, or the only
// one with the federation label.
func accountOf(namespace string, all []*unstructured.Unstructured) (*unstructured.Unstructured, error) {
	switch len(all) {
	case 0:
		return nil, noCredential("there is no ManagedServiceAccount with a token in namespace %q: create one, and give its account the rights of a joiner on the cluster",
			cluster.Shortened(namespace))
	case 1:
		return all[0], nil
	}
	labeled := slices.DeleteFunc(slices.Clone(all), func(o *unstructured.Unstructured) bool { return o.GetLabels()[v1alpha1.LabelFederation] == "" })
	if len(labeled) == 1 {
		return labeled[0], nil
	}
	return nil, noCredential("there are %d ManagedServiceAccounts with a token in namespace %q, and nothing says which to use: label one of them with %s",
		len(all), cluster.Shortened(namespace), v1alpha1.LabelFederation)
}

// managedClusterHint is what the hub reports of a cluster that it does not reach.
func managedClusterHint(o *unstructured.Unstructured) string {
	if !isTrue(o, "spec", "hubAcceptsClient") {
		return "the hub of Open Cluster Management has not accepted it"
	}
	if status, message := condition(o, "ManagedClusterConditionAvailable"); status != "True" {
		return hint("Open Cluster Management does not report it available", message)
	}
	return ""
}
