package federate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
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
	// TokenLifetime is how long the credential is asked to live, within the bounds of pkg/member; 0 means
	// DefaultTokenLifetime.
	TokenLifetime time.Duration
	// RequestedBy is the object on the host whose label asks for the membership: when the cluster leaves, its
	// request is remembered as fulfilled. It may be empty.
	RequestedBy command.Object
	// TakeOver takes a cluster that belongs to another host, which is gone: what that host may do on it is removed.
	TakeOver bool
	DryRun   DryRun
	// MemberContext is the name of the member's context. It appears in messages only.
	MemberContext string
	// Progress is told of every wait while planning; it may be nil.
	Progress func(Step)
}

func (o JoinOptions) lifetime() time.Duration { return cmp.Or(o.TokenLifetime, DefaultTokenLifetime) }

func (o JoinOptions) operation() string {
	return fmt.Sprintf("join %q to federation %q", o.Name, o.Federation)
}

// command is the command line that joins again.
func (o JoinOptions) command() string {
	words := []string{"kubectl federate join", string(o.Name), "--federation", string(o.Federation), "--member-context", contextWord(o.MemberContext)}
	if o.Server != "" {
		words = append(words, "--member-server", o.Server)
	}
	if o.ProxyURL != "" {
		words = append(words, "--member-proxy-url", o.ProxyURL)
	}
	if len(o.CABundle) > 0 {
		words = append(words, "--member-certificate-authority", "FILE")
	}
	if o.TakeOver {
		words = append(words, "--take-over")
	}
	return strings.Join(words, " ")
}

// unjoinCommand is the command line that lets a member leave.
func unjoinCommand(name v1alpha1.MemberName, context string) string {
	return "kubectl federate unjoin " + string(name) + " --member-context " + contextWord(context)
}

// contextWord is a context's name as a shell takes it.
func contextWord(name string) string { return command.Word(cmp.Or(name, "CONTEXT")) }

// waitTimeout bounds how long a plan waits for a namespace that Kubernetes still empties, and the like.
const waitTimeout = 2 * time.Minute

// PlanJoin reads both sides at once and judges what it read. It writes nothing. The error is a *Refusal with
// everything that stands against the join, or says what could not be read.
func PlanJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (*JoinPlan, error) {
	if names := judgeNames(o); len(names) > 0 {
		return nil, &Refusal{Operation: o.operation(), Findings: names}
	}
	facts, err := readJoin(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	plan, findings := planJoin(*facts, o)
	plan.host, plan.member = h, m
	if o.DryRun != DryRunClient && len(plan.blocked) == 0 {
		judged, err := plan.ask(ctx)
		if err != nil {
			return nil, err
		}
		findings = append(findings, withoutEchoes(judged, findings)...)
	}
	if facts.Host.Federation == nil && !mentions(findings, "federation") && len(facts.Host.Denied) == 0 {
		findings = append(findings, Finding{Side: SideHost, Object: "Federation " + cluster.Quoted(string(o.Federation)), Cause: "not found",
			Remedy: "choose one of kubectl federate get federations, or make it: kubectl federate create federation " + string(o.Federation)})
	}
	if len(findings) > 0 {
		return nil, &Refusal{Operation: o.operation(), Findings: findings}
	}
	return plan, nil
}

// mentions says whether a server's findings already speak of a label's field.
func mentions(findings []Finding, word string) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool {
		return f.Side == SideHost && strings.HasPrefix(f.Cause, "metadata.labels["+v1alpha1.Prefix+word)
	})
}

// joinFacts are everything that a join's plan is made from.
type joinFacts struct {
	Host       host.State
	Member     member.State
	HostServer string
	Endpoint   endpoint
	// Tried is why the endpoint does not answer; nil when it does or was not tried.
	Tried error
	// EndpointRefused says that the endpoint takes no token of the member's own.
	EndpointRefused bool
	// HostMissing and MemberMissing are rights that the caller has not; UndoMissing are those that only
	// rolling back needs.
	HostMissing, MemberMissing, UndoMissing []missing
	// CanCreateEvents says whether the caller may write Events on the host.
	CanCreateEvents bool
	Now             time.Time
	Attempt         attempt
}

// missing is a right that the caller has not on a side.
type missing struct {
	side  Side
	right cluster.Right
}

// readJoin reads both sides until nothing is in the way that ends by itself: a namespace that Kubernetes
// still empties, a member being deleted, another join that is rolling back.
func readJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (*joinFacts, error) {
	deadline := time.Now().Add(waitTimeout)
	told := ""
	for {
		facts, err := readJoinOnce(ctx, h, m, o)
		if err != nil {
			return nil, err
		}
		wait := facts.waitsFor()
		if wait == nil {
			return facts, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s: %s: gave up after %s: %s", wait.Side, wait.Object, waitTimeout, wait.Note)
		}
		if told != wait.Note && o.Progress != nil {
			o.Progress(*wait)
			told = wait.Note
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %s: %s: %w", wait.Side, wait.Object, wait.Note, stopped(ctx, ctx.Err()))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// waitsFor is what has to end before a join can begin; nil when nothing has.
func (f *joinFacts) waitsFor() *Step {
	if existing := f.Host.Member; existing != nil {
		ref := host.MemberRef(v1alpha1.MemberName(existing.Name))
		if existing.DeletionTimestamp != nil {
			note := "it is being deleted"
			if len(existing.Finalizers) > 0 {
				note += "; waiting for finalizers " + strings.Join(existing.Finalizers, ", ")
			}
			return &Step{Side: SideHost, Verb: VerbWait, Object: ref, Note: note}
		}
		if parseAttempt(existing.Annotations[v1alpha1.AnnotationAttempt]).underway(f.Now) {
			return &Step{Side: SideHost, Verb: VerbWait, Object: ref, Note: "another join of it failed and is rolling back"}
		}
	}
	if f.Member.Terminating() {
		note := "it is being deleted"
		if why := namespaceBlocked(f.Member.Namespace); why != "" {
			note += "; " + why
		}
		return &Step{Side: SideMember, Verb: VerbWait, Object: member.NamespaceRef(), Note: note}
	}
	return nil
}

// namespaceBlocked is what Kubernetes says keeps a namespace from finishing.
func namespaceBlocked(o *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var why []string
	for _, c := range conditions {
		c, _ := c.(map[string]any)
		if c["status"] == "True" {
			why = append(why, fmt.Sprint(c["message"]))
		}
	}
	return strings.Join(why, "; ")
}

func readJoinOnce(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (*joinFacts, error) {
	f := &joinFacts{HostServer: h.Server(), Now: time.Now()}
	f.Attempt = newAttempt(f.Now)
	target := host.Target{Member: o.Name, Federation: o.Federation}
	// What the member serves and what the federation gives is not known yet: the rights are asked for all of
	// it, and those that turn out not to be needed are dropped.
	grants := member.Grants{Properties: true, AccessRole: "any"}

	var hostState *host.State
	var memberState *member.State
	hostRights := append(target.JoinRights(), target.EventRight())
	hostUndo, memberRights, memberUndo := target.LeaveRights(), grants.JoinRights(), grants.LeaveRights()
	grants.Binding = member.BindingRefs()[1].Name
	memberRights = append(memberRights, grants.JoinRights()...)
	var hostMay, hostMayUndo, memberMay, memberMayUndo []bool
	var guard error
	work := []func() error{
		func() (err error) { hostState, err = h.Read(ctx, target); return err },
		func() (err error) { memberState, err = m.Read(ctx); return err },
		func() (err error) { hostMay, err = h.Allowed(ctx, hostRights); return err },
		func() (err error) { hostMayUndo, err = h.Allowed(ctx, hostUndo); return err },
		func() (err error) { memberMay, err = m.Allowed(ctx, memberRights); return err },
		func() (err error) { memberMayUndo, err = m.Allowed(ctx, memberUndo); return err },
		func() error {
			if o.DryRun != DryRunClient {
				guard = h.EnforcingFor(ctx, o.Federation)
			}
			return nil
		},
	}
	errs := cluster.Together(work...)
	if err := bothSides(errs); err != nil {
		return nil, err
	}
	f.Host, f.Member = *hostState, *memberState

	last := len(hostRights) - 1
	f.CanCreateEvents = hostMay[last]
	f.HostMissing = lacking(SideHost, hostRights[:last], hostMay[:last])
	f.UndoMissing = lacking(SideHost, hostUndo, hostMayUndo)
	needed := f.grants()
	f.MemberMissing = lacking(SideMember, memberRights, memberMay, needed.JoinRights()...)
	f.UndoMissing = append(f.UndoMissing, lacking(SideMember, memberUndo, memberMayUndo, needed.LeaveRights()...)...)

	if err := cmp.Or(f.Host.Denied.First(), f.Member.Denied.First()); err != nil && len(f.HostMissing)+len(f.MemberMissing) == 0 {
		return nil, err
	}
	if guard != nil && !(apierrors.IsForbidden(guard) && len(f.HostMissing) > 0) {
		return nil, guard
	}
	f.Endpoint = endpointOf(o, m, f.Host.Member)
	if !f.Endpoint.Proven && judgeURL(f.Endpoint.Server, "https") == "" {
		f.Tried = f.Endpoint.try(ctx)
	}
	if o.DryRun != DryRunClient && len(f.MemberMissing) == 0 {
		f.EndpointRefused = !f.Endpoint.takesTokens(ctx, m)
	}
	return f, nil
}

// grants are what the member gets.
func (f *joinFacts) grants() member.Grants {
	g := member.Grants{Properties: f.Member.Properties, Binding: f.Member.Binding().Name}
	if f.Host.Federation != nil && f.Host.Federation.Spec.Access != nil {
		g.AccessRole = f.Host.Federation.Spec.Access.ClusterRole
	}
	return g
}

// lacking are the rights that were denied, and of these only the needed ones when any are named.
func lacking(side Side, rights []cluster.Right, may []bool, needed ...cluster.Right) []missing {
	var out []missing
	for i, r := range rights {
		if !may[i] && (len(needed) == 0 || slices.Contains(needed, r)) {
			out = append(out, missing{side, r})
		}
	}
	return out
}

// bothSides is what went wrong, told once per side: when a server cannot be reached, every request to it
// fails in the same way.
func bothSides(errs []error) error {
	var told []error
	seen := map[string]bool{}
	for _, err := range errs {
		if err == nil {
			continue
		}
		key := sideOf(err)
		if !seen[key] {
			seen[key] = true
			told = append(told, err)
		}
	}
	switch len(told) {
	case 0:
		return nil
	case 1:
		return told[0]
	}
	// Which of the requests at once failed first says nothing; the host is told first, always.
	slices.SortFunc(told, func(a, b error) int { return strings.Compare(sideOf(a), sideOf(b)) })
	return several(told)
}
