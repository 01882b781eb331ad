package v1alpha1

// FederationName is the name of a Federation.
type FederationName string

// ClusterID is the UID of a cluster's kube-system namespace.
type ClusterID string

// MemberName is the name of a MemberCluster.
type MemberName string

// Federation is the federation that the member belongs to; empty when its label is missing.
func (m *MemberCluster) Federation() FederationName {
	return FederationName(m.Labels[LabelFederation])
}
