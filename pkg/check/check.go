// Package check reads a host and members and reports what is wrong, each finding with the one command that repairs it. Judge
// is pure; Read reads the clusters and changes nothing.
package check

import (
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/services"
)

// Severity says how much a finding matters.
type Severity string

// Severities, the worst first.
const (
	// Error is what does not work, or is not enforced, until a person acts.
	Error Severity = "error"
	// Warning is what will stop working, or could not be checked.
	Warning Severity = "warning"
	// Info is what may be of interest.
	Info Severity = "info"
)

// Severities are all, the worst first.
var Severities = []Severity{Error, Warning, Info}

// Code names a kind of finding. It is part of the output, on which scripts depend. What the manager finds too has the reason
// of the manager's condition.
type Code string

// Codes of what is wrong on a host.
const (
	NotInstalled        Code = "NotInstalled"
	VersionSkew         Code = "VersionSkew"
	WebhookNotEnforcing Code = "WebhookNotEnforcing"
	ProbesStopped       Code = "ProbesStopped"
	InstallMissing      Code = "InstallMissing"
	InstallChanged      Code = "InstallChanged"
	KeysMissing         Code = "KeysMissing"
	KeysDiffer          Code = "KeysDiffer"
	KeysChanging        Code = "KeysChanging"
	KeysExpiring        Code = "KeysExpiring"
	NotChecked          Code = "NotChecked"
	NoRight             Code = "NoRight"
	FederationMissing   Code = v1alpha1.ReasonFederationMissing
	StatusStale         Code = "StatusStale"
	LeavingLong         Code = "LeavingLong"
	EndpointLoopback    Code = "EndpointLoopback"
	CredentialOrphan    Code = "CredentialOrphan"
	RulesBroken         Code = v1alpha1.ReasonRulesBroken
	LimitExceeded       Code = v1alpha1.ReasonLimitExceeded
	NotPublished        Code = "NotPublished"
	GrantOrphan         Code = "GrantOrphan"
	DiscoveryMissing    Code = "DiscoveryMissing"
	DiscoveryStopped    Code = "DiscoveryStopped"
	DiscoveryNotGranted Code = "DiscoveryNotGranted"
	SourceUnreadable    Code = v1alpha1.ReasonSourceUnreadable
	NotJoined           Code = "NotJoined"
)

// Codes of what is found on a cluster before an install; NotInstalled, Leftover and NoRight are others.
const (
	KubernetesTooOld Code = "KubernetesTooOld"
	KindNotServed    Code = "KindNotServed"
	AlreadyInstalled Code = "AlreadyInstalled"
	ForeignObject    Code = "ForeignObject"
	ForeignKinds     Code = "ForeignKinds"
	BeingDeleted     Code = "BeingDeleted"
	InstallRefused   Code = "InstallRefused"
	ClockSkew        Code = "ClockSkew"
)

// Codes of what is wrong with a credential; the others are the reasons of the condition CredentialValid.
const (
	Unauthorized         Code = v1alpha1.ReasonUnauthorized
	Forbidden            Code = v1alpha1.ReasonForbidden
	RotationUnfinished   Code = "RotationUnfinished"
	Unreachable          Code = v1alpha1.ReasonUnreachable
	CertificateInvalid   Code = v1alpha1.ReasonCertificateInvalid
	IdentityMismatch     Code = v1alpha1.ReasonIdentityMismatch
	ContextUnreachable   Code = "ContextUnreachable"
	ContextWithoutAccess Code = "ContextWithoutAccess"
)

// Codes of what differs between host and member.
const (
	MembershipMissing   Code = "MembershipMissing"
	MembershipOfAnother Code = "MembershipOfAnother"
	MembershipDiffers   Code = "MembershipDiffers"
	GrantMissing        Code = "GrantMissing"
	GrantChanged        Code = "GrantChanged"
	PropertyMissing     Code = "PropertyMissing"
	PropertyDiffers     Code = "PropertyDiffers"
	LabelDiffers        Code = "LabelDiffers"
	LabelMissing        Code = "LabelMissing"
	LabelDangling       Code = "LabelDangling"
	JoinPending         Code = "JoinPending"
	Leftover            Code = "Leftover"
	MemberOfOtherHost   Code = "MemberOfOtherHost"
)

// Finding is one thing that is wrong.
type Finding struct {
	Code     Code         `json:"code"`
	Area     AreaName     `json:"area"`
	Severity Severity     `json:"severity"`
	Side     cluster.Side `json:"side"`
	// Member is the member that it is about, or else the context.
	Member string `json:"member,omitempty"`
	Object string `json:"object,omitempty"`
	Cause  string `json:"cause"`
	// Remedy is the one command that repairs it; empty where no command does.
	Remedy string `json:"remedy,omitempty"`
	// alone says that one command for several members does not repair it.
	alone bool
}

// Facts are everything that findings are made from.
type Facts struct {
	Now time.Time
	// Commands renders remedies. MemberKubeconfig is the file that holds the contexts, where it is not the host's.
	Commands         command.Host
	MemberKubeconfig string
	// Plugin is the version of the plugin.
	Plugin string
	Host   HostFacts
	// Observations are what was read of clusters.
	Observations []Observation
}

// HostFacts are the facts of a host.
type HostFacts struct {
	ID     v1alpha1.ClusterID
	Server string
	// Installed is the version that is installed; empty when none is.
	Installed string
	// WebhookURL is where a manager outside the cluster serves; empty where it runs inside.
	WebhookURL string
	// Keys are what the webhook and API servers have in common; nil when they could not be read.
	Keys *install.KeyState
	// NotEnforcing is why the webhook does not refuse what it must; nil when it does.
	NotEnforcing error
	// Probes say until when the manager has probed members.
	Probes host.Probes
	// Discovery is the discovery controller; nil where no federation asks for it, or it could not be read.
	Discovery *host.Discovery
	// Choose is how to choose another host, where nothing is installed here.
	Choose string
	// Missing and Changed are objects of the installation that do not exist, or differ.
	Missing, Changed []cluster.Ref
	// Compared is how many objects of the installation were compared; 0 where another version is installed.
	Compared int
	// Lacking are verbs on federations that the caller does not have.
	Lacking []cluster.Right
	// Denied are the checks that could not run.
	Denied []Denial

	Federations []v1alpha1.Federation
	Members     []v1alpha1.MemberCluster
	// Grants are what grant has made; nil when the caller may not read them.
	Grants *install.Grants
	// Credentials are the members that a credential is stored for, whether they exist or not; nil when the caller may not
	// read them.
	Credentials map[v1alpha1.MemberName]bool
}

// Denial is a check that could not run, mostly because the caller is not allowed to read something.
type Denial struct {
	Area AreaName
	// What was not checked.
	What string
	Err  error
}

// Observation is one way to a cluster, and what was read there.
type Observation struct {
	// Context that leads there; empty for a credential that the host keeps.
	Context string
	// Credential is the member whose stored credential was used; empty for a context.
	Credential v1alpha1.MemberName
	// State is nil when Err says why nothing was read, or why it is not known which cluster it is.
	State *member.State
	Err   error
	// Server is where it was read; empty where it was not.
	Server string
	// Services are what the cluster exports and imports, read through a context; nil where ServicesErr says why they were not read, and
	// for a stored credential, which has no right to.
	Services    *services.Member
	ServicesErr error
}
