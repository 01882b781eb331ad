package v1alpha1

// Label and annotation keys. Every key under Prefix that is not listed here is reserved and refused on
// our objects.
const (
	// Prefix starts every key that belongs to this project.
	Prefix = "kubefederate.io/"

	// LabelFederation carries the name of a federation. On a MemberCluster it is the membership; on the
	// kube-system namespace of a cluster it asks to join; on the membership record it says what the cluster
	// belongs to; on a credential it says for which federation the credential was made.
	LabelFederation = Prefix + "federation"
	// LabelMember carries the name of the MemberCluster that a credential belongs to.
	LabelMember = Prefix + "member"
	// LabelInventory on a namespace of the host lets the federation that it names publish its members there.
	LabelInventory = Prefix + "inventory"
	// LabelInventoryCredentials on a namespace of the host lets the federation that it names keep credentials of those who read its
	// inventory there.
	LabelInventoryCredentials = Prefix + "inventory-credentials"
	// LabelDiscovered, with the value DiscoveredValue, is on the credential of a member that the discovery controller joined: who has
	// the verb discover and not join may write no other.
	LabelDiscovered = Prefix + "discovered"
	// LabelManagedBy marks what `kubectl federate` made on a member cluster, with the value ManagedByJoin.
	LabelManagedBy = "app.kubernetes.io/managed-by"

	// AnnotationJoinedBy records who joined a member and when: "<user> <RFC 3339 time>".
	AnnotationJoinedBy = Prefix + "joined-by"
	// AnnotationCreatedBy is the name of the user who created a member, as the host knows it: the host refuses any other name and any
	// change. It is absent where the member was not created by `join`.
	AnnotationCreatedBy = Prefix + "created-by"
	// AnnotationAttempt is stamped by each run of join on the MemberCluster and on the membership record:
	// "<random ID> <RFC 3339 time>". A run undoes its own work only while its attempt stands.
	AnnotationAttempt = Prefix + "attempt"
	// AnnotationProbeRequested asks the manager to probe a member at once. When a probe has ended that began after the
	// annotation was set, status.observedProbeRequest has its value, of at most MaxProbeRequest bytes.
	AnnotationProbeRequested = Prefix + "probe-requested"
	// AnnotationTokenLifetime on a credential says how long it was asked to live, as a duration of Go: "2160h0m0s". The
	// manager asks for the same when it renews it.
	AnnotationTokenLifetime = Prefix + "token-lifetime"
	// AnnotationRenewed on a credential is the SHA-256, in hex, of the credential that the manager renewed when it stored
	// this one. Only the manager may set it.
	AnnotationRenewed = Prefix + "renewed"
	// AnnotationConsumerToken on a credential for those who read an inventory says what it was issued for, and how long it lives.
	AnnotationConsumerToken = Prefix + "consumer-token"
	// AnnotationExporters on a DNSEndpoint that the manager wrote says what each member exported of the service when it was read last,
	// as JSON by the UID of the MemberCluster: a manager that starts while a member does not answer reads it there.
	AnnotationExporters = Prefix + "exporters"
	// AnnotationLeft is set next to a federation label on a cluster that left the federation of that name, so that
	// discovery does not join it again. `kubectl federate label --member-context` removes it.
	AnnotationLeft = Prefix + "left"
	// AnnotationAllowDeletion on one of our CustomResourceDefinitions, or of our namespaces on the host, lets it be deleted.
	// Deleting a CustomResourceDefinition deletes every object of its kind without admission.
	AnnotationAllowDeletion = Prefix + "allow-deletion"
)

// MaxCreatedBy is the length of the value of AnnotationCreatedBy that `join` writes and messages print, in bytes.
const MaxCreatedBy = 256

// MaxProbeRequest is the length of the value of AnnotationProbeRequested that is answered, in bytes.
const MaxProbeRequest = 253

// Names of objects and namespaces that both sides of a membership agree on.
const (
	// HostNamespace holds the manager and its keys. It exists on hosts only.
	HostNamespace = "kubefederate-system"
	// CredentialsNamespace holds one Secret per member and nothing else. It exists on hosts only.
	CredentialsNamespace = "kubefederate-credentials"
	// MemberNamespace holds the membership record and the accounts of the host. It exists on members only.
	MemberNamespace = "kubefederate-member"

	// MembershipName is the ConfigMap in MemberNamespace that says which federation of which host a cluster
	// belongs to. It is taken with a plain create, so the member's etcd decides between two joins.
	MembershipName = "membership"
	// ManagerAccount is the ServiceAccount in MemberNamespace whose token the host keeps.
	ManagerAccount = "kubefederate-manager"
	// ConsumerAccount is the ServiceAccount in MemberNamespace that readers of the inventory use. It
	// exists only where the Federation has spec.access.
	ConsumerAccount = "kubefederate-consumer"

	// ServicesAccount is the ServiceAccount in MemberNamespace by which the manager reads exported services. It exists only where the
	// Federation has spec.services.
	ServicesAccount = "kubefederate-services"

	// CredentialType is the type of a credential Secret.
	CredentialType = Prefix + "credential"
	// ConsumerCredentialType is the type of a Secret with a credential for those who read an inventory.
	ConsumerCredentialType = Prefix + "consumer-credential"
	// CredentialKey is the one key of a credential Secret: a kubeconfig with one cluster, one user with
	// an inline token, and one context.
	CredentialKey = "kubeconfig"

	// IdentityNamespace is the namespace whose UID is the cluster ID, on every cluster.
	IdentityNamespace = "kube-system"

	// DiscoveryAccount is the ServiceAccount in HostNamespace that the discovery controller runs as.
	DiscoveryAccount = "kubefederate-discovery"
	// DiscoveredValue is the value of LabelDiscovered.
	DiscoveredValue = "true"

	// ManagedByJoin is the value of LabelManagedBy.
	ManagedByJoin = "kubectl-federate"
	// FieldOwner is the field manager of the plugin's server-side applies.
	FieldOwner = "kubectl-federate"
	// ManagerFieldOwner is the field manager of the manager's writes.
	ManagerFieldOwner = "kubefederate-manager"
	// DiscoveryFieldOwner is the field manager of the discovery controller's writes of status.
	DiscoveryFieldOwner = "kubefederate-discovery"
)

// Keys of the membership record's data.
const (
	MembershipFederation = "federation"
	MembershipHostID     = "hostID"
	MembershipMember     = "member"
	MembershipMemberUID  = "memberUID"
	// MembershipTakenFrom is the cluster ID of a host from which the cluster was taken over and whose grants are not all
	// removed yet; it is absent otherwise.
	MembershipTakenFrom = "takenFrom"
	// MembershipRequestedBy is the object on the host whose label asked for the membership, as RESOURCE.GROUP/NAMESPACE/NAME.
	// It is absent where the cluster itself asked for it, or a person joined it.
	MembershipRequestedBy = "requestedBy"
)

// RBAC verbs on federations/<name>, which the ValidatingAdmissionPolicies in manifests/ check.
const (
	// VerbJoin lets a user create members of a federation, and change all of them but what needs another verb below, and their
	// credential.
	VerbJoin = "join"
	// VerbLeave lets a user delete members of a federation, and change their ownerReferences and the finalizers orphan and
	// foregroundDeletion.
	VerbLeave = "leave"
	// VerbApprove lets a user change spec.accepted of members of a federation.
	VerbApprove = "approve"
	// VerbIntegrate lets a controller of others change annotations and finalizers of members of a federation, except
	// those that need another verb.
	VerbIntegrate = "integrate"
	// VerbDiscover lets the discovery controller create members of a federation that carry spec.discovered, and change those and
	// their credentials, but not spec.accepted. To delete one takes VerbLeave as well.
	VerbDiscover = "discover"
)

// ClusterProperty names of the About API (KEP-2149) that a membership sets.
const (
	PropertyClusterID  = "cluster.clusterset.k8s.io"
	PropertyClusterSet = "clusterset.k8s.io"
)
