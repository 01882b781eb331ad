package v1alpha1

// Reasons of the conditions of a MemberCluster. They are part of the API: others wait for them.
const (
	ReasonAccepted          = "Accepted"
	ReasonAwaitingApproval  = "AwaitingApproval"
	ReasonFederationMissing = "FederationMissing"
	ReasonCredentialStored  = "CredentialStored"
	// ReasonCredentialExpiring is a credential that is good, and of whose life a fifth or less is left.
	ReasonCredentialExpiring      = "CredentialExpiring"
	ReasonCredentialMissing       = "CredentialMissing"
	ReasonCredentialNotOwned      = "CredentialNotOwned"
	ReasonCredentialMalformed     = "CredentialMalformed"
	ReasonCredentialMismatch      = "CredentialMismatch"
	ReasonCredentialWithoutExpiry = "CredentialWithoutExpiry"
	ReasonCredentialExpired       = "CredentialExpired"
)

// Reasons of the condition Ready. While the stored credential cannot be used its reason is that of CredentialValid.
const (
	// ReasonReachable is the one reason of True: the cluster answers, takes the credential and is the cluster that joined.
	ReasonReachable = "Reachable"
	// ReasonNotProbed is the one reason of Unknown.
	ReasonNotProbed = "NotProbed"

	// The cluster does not answer: phase Offline.
	ReasonNameNotFound      = "NameNotFound"
	ReasonConnectionRefused = "ConnectionRefused"
	ReasonTimedOut          = "TimedOut"
	// ReasonUnreachable is every other way not to get an answer.
	ReasonUnreachable = "Unreachable"

	// It answers, and is not well: phase NotReady.
	ReasonCertificateInvalid = "CertificateInvalid"
	ReasonUnauthorized       = "Unauthorized"
	ReasonForbidden          = "Forbidden"
	ReasonServerError        = "ServerError"
	ReasonUnexpectedAnswer   = "UnexpectedAnswer"
	// ReasonIdentityMismatch is another cluster behind the endpoint.
	ReasonIdentityMismatch = "IdentityMismatch"
)
