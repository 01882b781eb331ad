package v1alpha1

// Reasons of the conditions of a MemberCluster. They are part of the API: other tools wait for them.
const (
	ReasonAccepted          = "Accepted"
	ReasonAwaitingApproval  = "AwaitingApproval"
	ReasonFederationMissing = "FederationMissing"
	ReasonCredentialStored  = "CredentialStored"
	// ReasonCredentialExpiring is a valid credential with a fifth or less of its lifetime left.
	ReasonCredentialExpiring = "CredentialExpiring"
	// ReasonCredentialRenewalFailed is a valid credential that the manager could not renew when it was to.
	ReasonCredentialRenewalFailed = "CredentialRenewalFailed"
	ReasonCredentialMissing       = "CredentialMissing"
	ReasonCredentialNotOwned      = "CredentialNotOwned"
	ReasonCredentialMalformed     = "CredentialMalformed"
	ReasonCredentialMismatch      = "CredentialMismatch"
	ReasonCredentialWithoutExpiry = "CredentialWithoutExpiry"
	ReasonCredentialExpired       = "CredentialExpired"
	// ReasonCredentialRevoked is a credential that the member has refused: with 401, or with 403 the request for its ID.
	ReasonCredentialRevoked = "CredentialRevoked"
)

// Reasons of the condition Compliant. RulesBroken and FactsUnknown are reasons of Accepted, too, until the member has kept the
// rules; FederationMissing is one of Unknown.
const (
	// ReasonRulesKept is the one reason of True.
	ReasonRulesKept   = "RulesKept"
	ReasonRulesBroken = "RulesBroken"
	// ReasonFactsUnknown is a member of which the manager does not know a fact that a rule needs.
	ReasonFactsUnknown = "FactsUnknown"
)

// Reasons of the condition Published.
const (
	// ReasonPublished is a reason of True, of the condition InventoryPublished of a Federation, too.
	ReasonPublished = "Published"
	// ReasonNotAccepted is a member that is not published before it is accepted, or that leaves.
	ReasonNotAccepted = "NotAccepted"
	// ReasonInventoryUnavailable is a namespace in which the manager cannot publish: the condition InventoryPublished of the
	// Federation says why.
	ReasonInventoryUnavailable = "InventoryUnavailable"
	// ReasonProfileTaken is a ClusterProfile, or a Secret, of the member's name that the manager did not make.
	ReasonProfileTaken = "ProfileTaken"
	// ReasonProfileRefused is a write that the host refused.
	ReasonProfileRefused = "ProfileRefused"
	// ReasonConsumerCredentialFailed is a member that issues no token of the account for those who read the inventory. It is True
	// while the last one works.
	ReasonConsumerCredentialFailed = "ConsumerCredentialFailed"
)

// Reasons of the condition InventoryPublished of a Federation, beside Published.
const (
	ReasonNamespaceMissing    = "NamespaceMissing"
	ReasonNamespaceNotLabeled = "NamespaceNotLabeled"
	ReasonNamespaceReplaced   = "NamespaceReplaced"
	// ReasonProfilesNotServed is a host without the CustomResourceDefinition of ClusterProfile.
	ReasonProfilesNotServed = "ProfilesNotServed"
	// ReasonInventoryForbidden is a namespace in which the manager lacks a right.
	ReasonInventoryForbidden = "InventoryForbidden"
	// ReasonInventoryUnreadable is a namespace that the manager could not read.
	ReasonInventoryUnreadable = "InventoryUnreadable"
)

// Reasons of the condition ServicesPublished of a Federation, beside Published and NamespaceMissing.
const (
	// ReasonServicesIncomplete is names that are written, while something is left out: the message says what.
	ReasonServicesIncomplete = "ServicesIncomplete"
	// ReasonDNSEndpointsNotServed is a host without the CustomResourceDefinition of DNSEndpoint.
	ReasonDNSEndpointsNotServed = "DNSEndpointsNotServed"
	// ReasonDNSForbidden is a namespace in which the manager lacks a right on DNSEndpoints.
	ReasonDNSForbidden = "DNSForbidden"
	// ReasonDNSFailed is a namespace that could not be read for another cause.
	ReasonDNSFailed = "DNSFailed"
)

// Reasons of the condition WithinLimits of a Federation.
const (
	ReasonLimitsKept    = "LimitsKept"
	ReasonLimitExceeded = "LimitExceeded"
)

// Reasons of the condition Granted.
const (
	// ReasonGranted is the one reason of True.
	ReasonGranted = "Granted"
	// ReasonKeysNotReadable is a member that does not show which key signs its tokens. It is Ready all the same, but no way
	// to it can be proved.
	ReasonKeysNotReadable = "KeysNotReadable"
	// ReasonRenewalForbidden is a member that does not let the manager's account have another token.
	ReasonRenewalForbidden = "RenewalForbidden"
	// ReasonServicesForbidden is a member that does not let the manager read the services that its federation asks for.
	ReasonServicesForbidden = "ServicesForbidden"
	// ReasonMembershipMissing is a member without its membership record, and ReasonMembershipDiffers one whose membership
	// record is that of another member.
	ReasonMembershipMissing = "MembershipMissing"
	ReasonMembershipDiffers = "MembershipDiffers"
)

// Reasons of the condition PropertiesSet.
const (
	// ReasonPropertiesMatch and ReasonPropertyRepaired are the reasons of True; the latter of a property that others had changed
	// when the manager looked last.
	ReasonPropertiesMatch  = "PropertiesMatch"
	ReasonPropertyRepaired = "PropertyRepaired"
	// ReasonPropertyForeign is a property that others set to another value, so that the cluster belongs to another ClusterSet.
	ReasonPropertyForeign = "PropertyForeign"
	// ReasonPropertyForbidden is a cluster that does not let the manager read or set a property. It is a reason of Granted, too.
	ReasonPropertyForbidden = "PropertyForbidden"
	// ReasonPropertyFailed is a property that could not be read or set for another cause.
	ReasonPropertyFailed = "PropertyFailed"
)

// Reasons of the condition Ready. While the stored credential cannot be used its reason is that of CredentialValid.
const (
	// ReasonReachable is the one reason of True: the cluster responds, accepts the credential and is the one that joined.
	ReasonReachable = "Reachable"
	// ReasonNotProbed is the one reason of Unknown.
	ReasonNotProbed = "NotProbed"

	// The cluster does not respond: phase Offline.
	ReasonNameNotFound      = "NameNotFound"
	ReasonConnectionRefused = "ConnectionRefused"
	ReasonTimedOut          = "TimedOut"
	// ReasonUnreachable is every other failure to get a response.
	ReasonUnreachable = "Unreachable"

	// It responds, but not as a healthy member: phase NotReady.
	ReasonCertificateInvalid = "CertificateInvalid"
	ReasonUnauthorized       = "Unauthorized"
	ReasonForbidden          = "Forbidden"
	ReasonServerError        = "ServerError"
	ReasonUnexpectedAnswer   = "UnexpectedAnswer"
	// ReasonIdentityMismatch is another cluster behind the endpoint.
	ReasonIdentityMismatch = "IdentityMismatch"

	// The manager does not connect to a member that discovery joined: phase NotReady. spec.discovery.endpoints of its federation do
	// not allow the place, or no list allows it.
	ReasonEndpointNotAllowed   = "EndpointNotAllowed"
	ReasonEndpointNeverAllowed = "EndpointNeverAllowed"
)

// Reasons of the condition SourcePresent, which the discovery controller writes on members that it joined.
const (
	// ReasonSourcePresent is the one reason of True: the object is there and carries the label.
	ReasonSourcePresent = "SourcePresent"
	// ReasonLabelRemoved and ReasonObjectGone are the reasons of False.
	ReasonLabelRemoved = "LabelRemoved"
	ReasonObjectGone   = "ObjectGone"
	// ReasonSecretServed is one of Unknown: a Secret that a cluster joined by may go then.
	ReasonSecretServed = "SecretServed"
	// ReasonSourcePaused and ReasonSourceUnreadable are the others; the second is one of Discovering, too.
	ReasonSourcePaused     = "SourcePaused"
	ReasonSourceUnreadable = "SourceUnreadable"
)

// Reasons of the condition Discovering of a Federation, beside ReasonSourceUnreadable.
const (
	// ReasonDiscovering is the one reason of True.
	ReasonDiscovering = "Discovering"
	// ReasonNotGranted is a federation that discovery may not join clusters to.
	ReasonNotGranted = "NotGranted"
)
