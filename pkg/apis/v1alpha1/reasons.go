package v1alpha1

// Reasons of the conditions of a MemberCluster. They are part of the API: others wait for them.
const (
	ReasonAccepted          = "Accepted"
	ReasonAwaitingApproval  = "AwaitingApproval"
	ReasonFederationMissing = "FederationMissing"
	ReasonCredentialStored  = "CredentialStored"
	// ReasonCredentialExpiring is a credential that is good, and of whose life a fifth or less is left.
	ReasonCredentialExpiring  = "CredentialExpiring"
	ReasonCredentialMissing   = "CredentialMissing"
	ReasonCredentialForeign   = "CredentialForeign"
	ReasonCredentialMalformed = "CredentialMalformed"
	ReasonCredentialMismatch  = "CredentialMismatch"
	ReasonCredentialEndless   = "CredentialEndless"
	ReasonCredentialExpired   = "CredentialExpired"
)
