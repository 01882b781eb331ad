package v1alpha1

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Phase sums a member's conditions up in one word.
// +kubebuilder:validation:Enum=Joining;Pending;Ready;NotReady;Offline;Suspended;Leaving
type Phase string

const (
	// PhaseJoining has had no credential yet, or the manager has never probed the cluster, or has not seen the facts that the rules
	// of the federation need.
	PhaseJoining Phase = "Joining"
	// PhasePending waits for acceptance, or has broken a rule with enforcement Deny since the manager first saw it.
	PhasePending Phase = "Pending"
	// PhaseReady is accepted, reachable and has a valid credential.
	PhaseReady Phase = "Ready"
	// PhaseNotReady responds, but not as a healthy member.
	PhaseNotReady Phase = "NotReady"
	// PhaseOffline does not respond.
	PhaseOffline Phase = "Offline"
	// PhaseSuspended is registered, but not offered to consumers.
	PhaseSuspended Phase = "Suspended"
	// PhaseLeaving is being deleted.
	PhaseLeaving Phase = "Leaving"
)

// Condition types of a MemberCluster. Every False carries the real cause.
const (
	ConditionAccepted        = "Accepted"
	ConditionReady           = "Ready"
	ConditionCredentialValid = "CredentialValid"
	// ConditionGranted says whether the member lets the manager do what it needs to beyond Ready.
	ConditionGranted = "Granted"
	// ConditionCompliant says whether the member keeps the rules of its federation. It is Unknown where a rule needs a fact that
	// is not known.
	ConditionCompliant = "Compliant"
	// ConditionPublished says whether the member is published where its federation's inventory says. A member of a federation
	// without an inventory does not have it.
	ConditionPublished = "Published"
	// ConditionPropertiesSet says whether the ClusterProperties of the member's cluster (KEP-2149) say what it is a member of. It is
	// absent where the cluster does not serve them.
	ConditionPropertiesSet = "PropertiesSet"
	// ConditionSourcePresent says whether the object that a member was discovered by is still there and carries the label. The
	// discovery controller writes it, and only on members that it joined.
	ConditionSourcePresent = "SourcePresent"
)

// MemberCluster is a cluster's membership in the federation that its label
// kubefederate.io/federation names.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=kubefederate","app.kubernetes.io/part-of=kubefederate","app.kubernetes.io/version=v0.0.0-dev"}
// +kubebuilder:resource:scope=Cluster,shortName=mc
// +kubebuilder:printcolumn:name="Federation",type=string,JSONPath=`.metadata.labels.kubefederate\.io/federation`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.facts.kubernetesVersion`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.metadata.labels.topology\.kubernetes\.io/region`
// +kubebuilder:printcolumn:name="Zone",type=string,JSONPath=`.metadata.labels.topology\.kubernetes\.io/zone`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Compliant",type=string,JSONPath=`.status.conditions[?(@.type=="Compliant")].status`,priority=1
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.server`,priority=1
// +kubebuilder:printcolumn:name="ClusterID",type=string,JSONPath=`.spec.clusterID`,priority=1
// +kubebuilder:printcolumn:name="CredentialExpiry",type=string,JSONPath=`.status.credentialExpiry`,priority=1
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",message="a member's name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit"
type MemberCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec MemberClusterSpec `json:"spec"`
	// +optional
	Status MemberClusterStatus `json:"status,omitempty"`
}

// MemberClusterSpec says which cluster is the member and how the host reaches it.
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.joinedWith) || (has(self.joinedWith) && self.joinedWith == oldSelf.joinedWith)",message="joinedWith is immutable once set",fieldPath=".joinedWith"
// +kubebuilder:validation:XValidation:rule="has(oldSelf.discovered) == has(self.discovered) && (!has(self.discovered) || self.discovered == oldSelf.discovered)",message="discovered is immutable: a member was joined by a person or by discovery"
type MemberClusterSpec struct {
	// ClusterID is the UID of the member's kube-system namespace. No two members of a host share it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clusterID is immutable: another cluster joins under another name"
	ClusterID string `json:"clusterID"`
	// Server is the URL where the host reaches the member's API server.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https://`
	Server string `json:"server"`
	// CABundle is the PEM bundle that verifies the server's certificate. Empty means the roots that the
	// host trusts.
	// +optional
	// +kubebuilder:validation:MaxLength=54616
	CABundle []byte `json:"caBundle,omitempty"`
	// ProxyURL is the proxy through which the host reaches the server: http, https or socks5.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	ProxyURL string `json:"proxyURL,omitempty"`
	// TLSServerName is the name that the server's certificate is verified for. Empty means the host of the server's URL.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TLSServerName string `json:"tlsServerName,omitempty"`

	// InsecureSkipTLSVerify leaves the server's certificate unverified. The Federation must allow it.
	// +optional
	InsecureSkipTLSVerify bool `json:"insecureSkipTLSVerify,omitempty"`

	// Accepted is the approver's word. It is read only where the Federation's acceptance is Manual.
	// +optional
	Accepted bool `json:"accepted,omitempty"`
	// Suspended members stay registered, but are not offered to consumers.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
	// Suspension says of a suspended member why it is, and until when. Without suspended it says nothing.
	// +optional
	Suspension *Suspension `json:"suspension,omitempty"`

	// JoinedWith is what the joiner saw on the member. It is set once.
	// +optional
	JoinedWith *JoinFacts `json:"joinedWith,omitempty"`

	// Discovered is the object on the host whose label asked for the membership. It is set when the discovery controller joins a
	// cluster, which takes the verb discover, and is absent where a person joined it.
	// +optional
	Discovered *Discovered `json:"discovered,omitempty"`
}

// Suspension is why and until when a member is suspended.
type Suspension struct {
	// Reason is for people.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`
	// Until is when the suspension ends by itself: from then on spec.suspended counts no more. Absent, a person ends it.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// SuspendedAt says whether the member is suspended at a time.
func (m *MemberCluster) SuspendedAt(now time.Time) bool {
	s := m.Spec.Suspension
	return m.Spec.Suspended && (s == nil || s.Until == nil || now.Before(s.Until.Time))
}

// SuspensionText is why a member is suspended, and until when: "maintenance; until 2026-12-01T18:00:00Z". It is empty where that was not given.
func (m *MemberCluster) SuspensionText() string {
	s := m.Spec.Suspension
	if s == nil {
		return ""
	}
	text := s.Reason
	if s.Until != nil {
		text = strings.TrimPrefix(text+"; until "+s.Until.UTC().Format(time.RFC3339), "; ")
	}
	return text
}

// Discovered names an object on the host that stands for a cluster.
type Discovered struct {
	// Kind of the source that the object belongs to.
	Kind DiscoverySourceKind `json:"kind"`
	// Namespace of the object. Empty for objects without one.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// UID of the object: one that is made anew under the same name is another.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	UID string `json:"uid"`
}

// JoinFacts is what a joiner saw on the member.
type JoinFacts struct {
	// KubernetesVersion is the member's version as its API server reports it: "v1.36.3".
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^(v?[0-9]+\\\\.[0-9]+[-+.~0-9A-Za-z]*)?$')",message="must be a Kubernetes version as an API server reports it, such as v1.36.3"
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// Regions of the member's nodes, sorted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	Regions []string `json:"regions,omitempty"`
	// Zones of the member's nodes, sorted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	Zones []string `json:"zones,omitempty"`
}

// Facts is what the manager saw on a member.
type Facts struct {
	JoinFacts `json:",inline"`
	// Nodes is how many nodes the member has.
	// +optional
	Nodes int32 `json:"nodes"`
	// Capacity is what all nodes have together: cpu, memory and pods.
	// +optional
	Capacity corev1.ResourceList `json:"capacity,omitempty"`
}

// MemberClusterStatus is written by the manager alone.
type MemberClusterStatus struct {
	// ObservedGeneration is the generation of the spec that the status was computed from.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Phase sums the conditions up.
	// +optional
	Phase Phase `json:"phase,omitempty"`
	// Facts is what the manager saw on the member when it last answered.
	// +optional
	Facts *Facts `json:"facts,omitempty"`
	// AcceptedTime is when the manager had seen the facts of the member and first found it accepted and keeping every rule
	// with enforcement Deny. Until then a member that breaks one stays Pending; from then on a violation is only reported. It is
	// removed when the first node with a region or zone contradicts the member's label.
	// +optional
	AcceptedTime *metav1.Time `json:"acceptedTime,omitempty"`
	// Violations are the rules that the member breaks, by its labels, spec and facts: the first 10. The condition Compliant
	// says how many there are. Limits count all members and are reported by the Federation.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Violations []Violation `json:"violations,omitempty"`
	// LastProbeTime is when a probe last found the member reachable: to three hours while it is, and to a probe when it is not any
	// more. It is empty before the first time.
	// +optional
	LastProbeTime *metav1.Time `json:"lastProbeTime,omitempty"`
	// CredentialExpiry is when the credential that the host keeps ends.
	// +optional
	CredentialExpiry *metav1.Time `json:"credentialExpiry,omitempty"`
	// SigningKeys are the RFC 7638 thumbprints of the keys that have signed a token which the manager got through the
	// stored endpoint, the newest first: a cluster that signs with one of them is this member. A join
	// or rotation that stores another credential begins the list anew.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9_-]{43}$`
	SigningKeys []string `json:"signingKeys,omitempty"`
	// ObservedCredential is the SHA-256 of the stored credential that signingKeys belong to, in hex.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ObservedCredential string `json:"observedCredential,omitempty"`
	// ObservedProbeRequest is the value of the annotation kubefederate.io/probe-requested that the manager last answered: a
	// probe that began after the value was set has ended, and the conditions say how.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ObservedProbeRequest string `json:"observedProbeRequest,omitempty"`
	// Conditions: Accepted, CredentialValid, Ready, Granted, Compliant, Published, PropertiesSet, and SourcePresent of discovered members.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Violation is a rule that a member breaks.
type Violation struct {
	// Rule is the ID of the rule: labels, kubernetesVersion, expressions (CEL), topology, or another one that holds for
	// every member.
	// +kubebuilder:validation:MaxLength=63
	Rule string `json:"rule"`
	// Enforcement is what the rule does to a request that breaks it.
	Enforcement Enforcement `json:"enforcement"`
	// Message says what is wrong, in the words of a refusal.
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
}

// MemberClusterList is a list of members.
// +kubebuilder:object:root=true
type MemberClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MemberCluster `json:"items"`
}
