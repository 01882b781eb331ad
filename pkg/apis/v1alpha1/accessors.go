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

// JoinFinished says that a join has finished once: it recorded that, or the manager has reached the cluster, for which it needs a
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

// AcceptanceOf is how the federation accepts members with that spec.discovered, which is nil for those that people joined. What
// discovery joined waits for someone with the verb approve, unless spec.discovery.acceptance is AsFederation.
func (f *Federation) AcceptanceOf(d *Discovered) AcceptancePolicy {
	if f.Spec.Acceptance == AcceptManual {
		return AcceptManual
	}
	if d != nil && (f.Spec.Discovery == nil || f.Spec.Discovery.Acceptance != DiscoveryAsFederation) {
		return AcceptManual
	}
	return AcceptAutomatic
}

// Accepts says whether the federation accepts a member as it is now. The manager asks its rules beside that.
func (f *Federation) Accepts(m *MemberCluster) bool {
	return m.Spec.Accepted || f.AcceptanceOf(m.Spec.Discovered) == AcceptAutomatic
}
