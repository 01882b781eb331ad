package federate

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// JoinOptions say what to join and how.
type JoinOptions struct {
	Name       v1alpha1.MemberName
	Federation v1alpha1.FederationName
	// Labels are the member's labels beside the federation's.
	Labels map[string]string
	// Server, ProxyURL and CABundle are what the host uses to reach the member, where that differs from
	// what the caller uses.
	Server   string
	ProxyURL string
	CABundle []byte
	// TokenLifetime is how long the credential is asked to live; 0 means DefaultTokenLifetime.
	TokenLifetime time.Duration
	DryRun        DryRun
	// MemberContext is the name of the member's context. It appears in messages only.
	MemberContext string
	// Progress is told of every wait while planning; it may be nil.
	Progress func(Step)
}

// DefaultTokenLifetime is how long a credential lives when nothing else is asked for.
const DefaultTokenLifetime = 90 * 24 * time.Hour

// Verb is what a step does.
type Verb string

// Verbs of steps.
const (
	VerbCreate    Verb = "create"
	VerbUpdate    Verb = "update"
	VerbUnchanged Verb = "unchanged"
	VerbDelete    Verb = "delete"
	VerbRequest   Verb = "request"
	VerbTry       Verb = "try"
	VerbWait      Verb = "wait"
	VerbKeep      Verb = "keep"
)

// Step is one line of a plan.
type Step struct {
	Side   Side
	Verb   Verb
	Object cluster.Ref
	// Planned marks an object whose namespace is yet to be made, which no server can judge before.
	Planned bool
	// Note says more; it may be empty.
	Note string
	// Manifest is the object as it will be sent; nil where none is.
	Manifest *unstructured.Unstructured
}

// String is the step as one line.
func (s Step) String() string { return string(s.Side) }

// JoinPlan is what a join will do.
type JoinPlan struct {
	Options JoinOptions
	Steps   []Step
	// Notes are what a person should know and what does not stand against the join.
	Notes []Finding
}

// Text is the plan with one line per step.
func (p *JoinPlan) Text() string { return "" }

// Objects are what the plan writes, in order; secrets are left out of them.
func (p *JoinPlan) Objects() []*unstructured.Unstructured { return nil }

// JoinResult is a join that is done.
type JoinResult struct {
	// Already says that nothing but the credential had to change.
	Already bool
	Member  *v1alpha1.MemberCluster
	// Expires is when the stored credential ends.
	Expires time.Time
	Notes   []Finding
}

// PlanJoin reads both sides and judges. It writes nothing.
func PlanJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (*JoinPlan, error) {
	return &JoinPlan{Options: o}, nil
}

// Apply carries the plan out and tells progress of each step that is done.
func (p *JoinPlan) Apply(ctx context.Context, progress func(Step)) (*JoinResult, error) {
	return &JoinResult{}, nil
}

// UnjoinOptions say what leaves and how.
type UnjoinOptions struct {
	Name v1alpha1.MemberName
	// DropLabel removes the wish as well.
	DropLabel bool
	// Force lets the member go without being reached.
	Force         bool
	DryRun        DryRun
	MemberContext string
	Progress      func(Step)
}

// UnjoinPlan is what an unjoin will do.
type UnjoinPlan struct {
	Options UnjoinOptions
	Steps   []Step
	Notes   []Finding
}

// Text is the plan with one line per step.
func (p *UnjoinPlan) Text() string { return "" }

// Objects are what the plan deletes, as far as they are known.
func (p *UnjoinPlan) Objects() []*unstructured.Unstructured { return nil }

// UnjoinResult is an unjoin that is done.
type UnjoinResult struct {
	// Already says that there was nothing to do.
	Already bool
	// Finishing says that Kubernetes is still emptying our namespace on the member.
	Finishing bool
	Notes     []Finding
}

// PlanUnjoin reads both sides and judges. It writes nothing. m may be nil where o.Force is set.
func PlanUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o UnjoinOptions) (*UnjoinPlan, error) {
	return &UnjoinPlan{Options: o}, nil
}

// Apply carries the plan out and tells progress of each step that is done.
func (p *UnjoinPlan) Apply(ctx context.Context, progress func(Step)) (*UnjoinResult, error) {
	return &UnjoinResult{}, nil
}
