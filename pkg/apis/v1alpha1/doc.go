// Package v1alpha1 is the API of kubectl federate: the kinds Federation and MemberCluster of group
// kubefederate.io, and every name that the plugin, the manager and the manifests agree on.
//
// A Federation is SIG Multicluster's ClusterSet (KEP-1645) under rules. A MemberCluster is one
// cluster's membership in one federation, named by the label LabelFederation.
//
// +kubebuilder:object:generate=true
// +groupName=kubefederate.io
package v1alpha1
