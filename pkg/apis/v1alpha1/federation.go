package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// AcceptancePolicy says whether a cluster that joined is a member at once.
// +kubebuilder:validation:Enum=Automatic;Manual
type AcceptancePolicy string

const (
	// AcceptAutomatic makes a cluster a member when its join is complete.
	AcceptAutomatic AcceptancePolicy = "Automatic"
	// AcceptManual leaves a cluster Pending until someone with the verb approve accepts it.
	AcceptManual AcceptancePolicy = "Manual"
)

// Enforcement says what a violated rule does.
// +kubebuilder:validation:Enum=Deny;Warn
type Enforcement string

const (
	// EnforceDeny refuses the request.
	EnforceDeny Enforcement = "Deny"
	// EnforceWarn admits the request and warns the caller.
	EnforceWarn Enforcement = "Warn"
)

// Federation is a named set of clusters and the rules that its members keep. Other tools call it a
// ClusterSet (KEP-1645).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=kubefederate","app.kubernetes.io/part-of=kubefederate","app.kubernetes.io/version=v0.0.0-dev"}
// +kubebuilder:resource:scope=Cluster,shortName=fed
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.status.members`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.ready`
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.pending`
// +kubebuilder:printcolumn:name="Violating",type=integer,JSONPath=`.status.violating`
// +kubebuilder:printcolumn:name="Acceptance",type=string,JSONPath=`.spec.acceptance`
// +kubebuilder:printcolumn:name="Enforcement",type=string,JSONPath=`.spec.enforcement`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Description",type=string,JSONPath=`.spec.description`,priority=1
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",message="a federation's name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit"
type Federation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	// +kubebuilder:default={}
	Spec FederationSpec `json:"spec,omitempty"`
	// +optional
	Status FederationStatus `json:"status,omitempty"`
}

// FederationSpec holds the rules of a federation.
type FederationSpec struct {
	// Description is for people.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"`

	// Acceptance says whether a cluster that joined is a member at once (Automatic) or waits for
	// someone with the verb approve (Manual).
	// +optional
	// +kubebuilder:default=Automatic
	Acceptance AcceptancePolicy `json:"acceptance,omitempty"`

	// Enforcement says whether a violation of labels, limits, kubernetesVersions and rules refuses
	// (Deny) or only warns (Warn).
	// +optional
	// +kubebuilder:default=Deny
	Enforcement Enforcement `json:"enforcement,omitempty"`

	// Labels are rules on the labels of members, one per key.
	// +optional
	// +listType=map
	// +listMapKey=key
	// +kubebuilder:validation:MaxItems=64
	Labels []LabelRule `json:"labels,omitempty"`

	// Limits bound the number of members, in all and per value of a label.
	// +optional
	// +listType=map
	// +listMapKey=perLabel
	// +kubebuilder:validation:MaxItems=16
	Limits []Limit `json:"limits,omitempty"`

	// KubernetesVersions is a range that a member's Kubernetes version must be in, as
	// ">=1.33 <1.38". Versions are compared by major, minor and patch; what a distribution appends
	// (-eks-…, -gke.…, +k3s1) is ignored.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	KubernetesVersions string `json:"kubernetesVersions,omitempty"`

	// Rules are CEL expressions (https://cel.dev) that hold for every member.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=20
	Rules []Rule `json:"rules,omitempty"`

	// Access is what readers of the inventory may do on members. Without it they may do nothing.
	// +optional
	Access *Access `json:"access,omitempty"`

	// Inventory is where the members are published, for other tools.
	// +optional
	Inventory *Inventory `json:"inventory,omitempty"`

	// Discovery lets the discovery controller join clusters whose objects on the host carry the federation's label. Without it
	// every join takes a person.
	// +optional
	Discovery *Discovery `json:"discovery,omitempty"`

	// Services are found by name across the federation, where members export them. Without it none are read.
	// +optional
	Services *Services `json:"services,omitempty"`

	// Health is how often the manager probes the members, and when it reports that one fails.
	// +optional
	Health *Health `json:"health,omitempty"`

	// AllowInsecureTLS lets members set insecureSkipTLSVerify.
	// +optional
	AllowInsecureTLS bool `json:"allowInsecureTLS,omitempty"`
}

// LabelRule is a rule on one label of a member.
type LabelRule struct {
	// Key is the label's key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key"`
	// Required refuses members without the label.
	// +optional
	Required bool `json:"required,omitempty"`
	// Values lists the allowed values. Empty allows all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	Values []string `json:"values,omitempty"`
	// Pattern is a regular expression (RE2) that matches the whole value.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Pattern string `json:"pattern,omitempty"`
	// Immutable lets the label be set once; it is neither changed nor removed after.
	// +optional
	Immutable bool `json:"immutable,omitempty"`
	// Message is added to what a violation prints.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// Limit bounds the number of members of a federation.
type Limit struct {
	// PerLabel is the key of a label: the limit then holds for each of its values. Empty counts all
	// members.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=317
	PerLabel string `json:"perLabel"`
	// Max is the largest number of members allowed.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	Max int32 `json:"max"`
}

// Rule is a CEL expression that holds for every member.
type Rule struct {
	// Name is what a refusal calls the rule.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// Expression is a bool over cluster (name, labels, spec, facts), oldCluster (the same before an
	// update, null on creation) and federation (name, labels, spec). It may cost at most 50000 units
	// of the API server's. A fact that is not known warns instead of refusing.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Expression string `json:"expression"`
	// Message is printed for a violation, instead of the expression.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
	// Enforcement may be Warn where that of the federation is Deny. A rule is never harder than its
	// federation. Empty is as the federation.
	// +optional
	Enforcement Enforcement `json:"enforcement,omitempty"`
}

// Inventory is where the members of a federation are published, as ClusterProfiles (KEP-4322), and where those who read them find
// credentials. Each namespace is there already, and is of this federation alone.
type Inventory struct {
	// Namespaces on the host that get a ClusterProfile for each member. Each carries the label
	// kubefederate.io/inventory=<federation>. There are several because tools read those of their own namespace.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces"`
	// CredentialsNamespace on the host gets, where the federation has access, one Secret for each member: a kubeconfig of the
	// account that access is given to. It holds nothing else, and carries the label
	// kubefederate.io/inventory-credentials=<federation>.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	CredentialsNamespace string `json:"credentialsNamespace,omitempty"`
}

// Access is what readers of the inventory may do on members.
type Access struct {
	// ClusterRole is the name of a ClusterRole on each member.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClusterRole string `json:"clusterRole"`
}

// MaxServiceNamespaces is how many namespaces of members a federation reads services in.
const MaxServiceNamespaces = 16

// Services says which exported services of members (ServiceExports of KEP-1645) are found by name, and how.
type Services struct {
	// Namespaces on members whose exported services are read. Who may export there is trusted for all services of these namespaces.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces"`
	// DNS is where the names are written.
	DNS ServicesDNS `json:"dns"`
}

// ServicesDNS says where external-dns finds the names of services, and what they end with.
type ServicesDNS struct {
	// Domain is what all names end with: a service is <service>.<namespace>.<federation>.svc.<domain>, and the same with .<region>, and
	// .<zone>.<region>, after svc.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=150
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$`
	Domain string `json:"domain"`
	// Namespace on the host that gets one DNSEndpoint of external-dns for each service.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace"`
	// TTL of the records in seconds.
	// +optional
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	TTL int32 `json:"ttl,omitempty"`
}

// Health is how often the manager probes the members of a federation, and when it reports that one fails. A member that stops
// answering is Offline after interval + (failures - 1) × interval/6 + failures × 10s at most, where 10s is how long a probe
// waits: 55s by default. It is Ready again at most interval + 10s after its return.
type Health struct {
	// Interval is the longest time between two probes of a member, from 5s to 1h, as 30s or 1m30s. Without it, it is
	// --probe-interval of the manager, 30s by default. While a member fails and that is not reported yet, it is probed again
	// after a sixth of the interval.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') && duration(self) >= duration('5s') && duration(self) <= duration('1h')",message="must be a duration from 5s to 1h, such as 30s or 1m30s"
	Interval string `json:"interval,omitempty"`
	// Failures is how many probes in a row of a member that was reachable get no answer, or an error of its API server (5xx,
	// 429), before it is reported Offline or NotReady; 2 by default. What a member answers clearly, as that it does not take the
	// credential, is reported at once.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	Failures int32 `json:"failures,omitempty"`
}

// DiscoveryAcceptance says whether a cluster that discovery joined is a member at once.
// +kubebuilder:validation:Enum=Manual;AsFederation
type DiscoveryAcceptance string

const (
	// DiscoveryManual leaves it Pending until someone with the verb approve accepts it.
	DiscoveryManual DiscoveryAcceptance = "Manual"
	// DiscoveryAsFederation does with it as with any other: see spec.acceptance.
	DiscoveryAsFederation DiscoveryAcceptance = "AsFederation"
)

// WhenGone says what becomes of a member that discovery joined when its object, or the label of that, is gone.
// +kubebuilder:validation:Enum=Keep;Leave
type WhenGone string

const (
	// GoneKeep keeps the member, with the condition SourcePresent False.
	GoneKeep WhenGone = "Keep"
	// GoneLeave lets it leave, after a time.
	GoneLeave WhenGone = "Leave"
)

// Discovery says which clusters the discovery controller may join, and how.
type Discovery struct {
	// Acceptance says whether a cluster that discovery joined waits for someone with the verb approve (Manual), or is treated as
	// any other (AsFederation). The manager judges it.
	// +optional
	// +kubebuilder:default=Manual
	Acceptance DiscoveryAcceptance `json:"acceptance,omitempty"`
	// Sources are the objects on the host that may stand for members.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Sources []DiscoverySource `json:"sources"`
	// Endpoints are where API servers of members, and proxies to them, may be: a host name (api.example.com), a domain with all
	// names below it (.example.com), an IP address, an address range in CIDR notation (10.20.0.0/16), or "*" for any. Loopback,
	// link-local, unspecified and multicast addresses, those of metadata services and of the host's own API server are refused
	// even by "*". Names are judged when a cluster is taken, and the addresses that they resolve to at each connection.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Endpoints []string `json:"endpoints"`
	// WhenGone says what becomes of a member that discovery joined when its object, or the label of that, is gone.
	// +optional
	// +kubebuilder:default=Keep
	WhenGone WhenGone `json:"whenGone,omitempty"`
	// GonePatience is how long an object, or its label, must be gone before its member leaves, from 1m to 720h; one hour by
	// default. It begins anew when the discovery controller starts.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') && duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="must be a duration from 1m to 720h, such as 1h or 90m"
	GonePatience string `json:"gonePatience,omitempty"`
}

// DiscoverySourceKind is a kind of objects on the host that stand for clusters.
// +kubebuilder:validation:Enum=Rancher;ClusterAPI;OpenClusterManagement;ClusterProfile;ArgoCD;Fleet;KubeFed;Secret
type DiscoverySourceKind string

// Kinds of objects on the host that stand for clusters.
const (
	SourceRancher    DiscoverySourceKind = "Rancher"
	SourceClusterAPI DiscoverySourceKind = "ClusterAPI"
	// SourceOpenClusterManagement is the one kind whose objects have no namespace.
	SourceOpenClusterManagement DiscoverySourceKind = "OpenClusterManagement"
	SourceClusterProfile        DiscoverySourceKind = "ClusterProfile"
	SourceArgoCD                DiscoverySourceKind = "ArgoCD"
	SourceFleet                 DiscoverySourceKind = "Fleet"
	SourceKubeFed               DiscoverySourceKind = "KubeFed"
	// SourceSecret is any Secret that holds one kubeconfig.
	SourceSecret DiscoverySourceKind = "Secret"
)

// DiscoverySource selects objects of one kind on the host.
type DiscoverySource struct {
	// Name distinguishes the sources of a federation; a single one needs none.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Kind of the objects. Secret is any Secret that holds one kubeconfig.
	Kind DiscoverySourceKind `json:"kind"`
	// Namespaces that the objects may be in. For OpenClusterManagement, whose objects have none, the names of the clusters'
	// namespaces; without it all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces,omitempty"`
	// Selector selects objects by their labels, beside the federation's. Empty selects all.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// MemberLabels are the keys of labels that the member gets from the object. A label that the object does not have, or
	// whose key is reserved, is left out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	MemberLabels []string `json:"memberLabels,omitempty"`
}

// ConditionDiscovering is the condition of a Federation with spec.discovery that says whether the discovery controller can read
// all of its sources.
const ConditionDiscovering = "Discovering"

// ConditionWithinLimits is the condition of a Federation that says whether it has at most as many members as its limits allow.
const ConditionWithinLimits = "WithinLimits"

// ConditionInventoryPublished is the condition of a Federation with an inventory that says whether the manager can publish in each
// of its namespaces.
const ConditionInventoryPublished = "InventoryPublished"

// ConditionServicesPublished is the condition of a Federation with spec.services that says whether the manager can write the names of
// all exported services.
const ConditionServicesPublished = "ServicesPublished"

// FederationStatus is written by the manager alone.
type FederationStatus struct {
	// ObservedGeneration is the generation of the spec that the numbers were counted under: every member has been judged by
	// its rules.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Members is the number of MemberClusters in the federation.
	// +optional
	Members int32 `json:"members"`
	// Ready is the number of members in phase Ready.
	// +optional
	Ready int32 `json:"ready"`
	// Pending is the number of members in phase Pending.
	// +optional
	Pending int32 `json:"pending"`
	// Violating is the number of members that break a rule, with enforcement Warn or Deny.
	// +optional
	Violating int32 `json:"violating"`
	// Inventory is where the manager may have published members.
	// +optional
	Inventory *InventoryStatus `json:"inventory,omitempty"`
	// Services is what the manager found of exported services.
	// +optional
	Services *ServicesStatus `json:"services,omitempty"`
	// Discovery is what the discovery controller found, which writes it.
	// +optional
	Discovery *DiscoveryStatus `json:"discovery,omitempty"`
	// Conditions: WithinLimits, InventoryPublished, ServicesPublished, and Discovering, which the discovery controller writes.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// InventoryStatus is where the manager may have published members: the namespaces of spec.inventory, and those that were there
// before until they are empty again. It is written before anything is published there.
type InventoryStatus struct {
	// Namespaces may hold ClusterProfiles.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	Namespaces []string `json:"namespaces,omitempty"`
	// CredentialsNamespaces may hold Secrets of members.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	CredentialsNamespaces []string `json:"credentialsNamespaces,omitempty"`
	// UIDs are those that these namespaces had when the manager could first publish there, by name. Nothing is published in one that
	// was deleted and made anew, which takes only the right to make namespaces, until the federation has ceased to name it and names it again.
	// +optional
	UIDs map[string]types.UID `json:"uids,omitempty"`
}

// ServicesStatus is what the manager found of the exported services of a federation.
type ServicesStatus struct {
	// Exported is how many services members export, each counted once.
	// +optional
	Exported int32 `json:"exported"`
	// Records is how many record sets of DNS they have.
	// +optional
	Records int32 `json:"records"`
	// Namespace is where DNSEndpoints of the federation may be: that of spec.services.dns, or until it is empty the one before.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// Reports are what is left out and why: the first ten.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=1024
	Reports []string `json:"reports,omitempty"`
}

// DiscoveryStatus is what the discovery controller found for a federation. Its numbers count clusters, each once.
type DiscoveryStatus struct {
	// Found is how many clusters have an object whose label names the federation.
	// +optional
	Found int32 `json:"found"`
	// Joined is how many of them are members of the federation.
	// +optional
	Joined int32 `json:"joined"`
	// Gone is how many members that discovery joined have no such object any more.
	// +optional
	Gone int32 `json:"gone"`
	// NotJoined are clusters that are found and not joined: the first ten, as `kubectl federate discover` prints them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	NotJoined []NotJoined `json:"notJoined,omitempty"`
}

// NotJoined is a cluster that discovery found and did not join.
type NotJoined struct {
	// Cluster is its name, with the source in front: "cluster-api:team-x/prod-a".
	// +kubebuilder:validation:MaxLength=317
	Cluster string `json:"cluster"`
	// State as `kubectl federate discover` prints it.
	// +kubebuilder:validation:MaxLength=63
	State string `json:"state"`
	// Reason says why, and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// FederationList is a list of federations.
// +kubebuilder:object:root=true
type FederationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Federation `json:"items"`
}
