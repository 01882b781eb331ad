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

// JoinFinished says that a join has finished once: it recorded that, or the manager has probed the cluster, for which it needs a
// credential.
func (m *MemberCluster) JoinFinished() bool {
	return m.Annotations[AnnotationJoinedBy] != "" || m.Status.LastProbeTime != nil
}

// KnownFacts is what is known about the member's cluster: what the manager saw last, or else the joiner. An empty
// field is unknown.
func (m *MemberCluster) KnownFacts() JoinFacts {
	switch {
	case m.Status.Facts != nil:
		return m.Status.Facts.JoinFacts
	case m.Spec.JoinedWith != nil:
		return *m.Spec.JoinedWith
	}
	return JoinFacts{}
}
