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
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// JoinOptions say what to join and how.
type JoinOptions struct {
	Name       v1alpha1.MemberName
	Federation v1alpha1.FederationName
	// Labels are the member's labels beside the federation's.
	Labels map[string]string
	// Server, ProxyURL, TLSServerName and CABundle are what the host uses to reach the member. One that is not given is that
	// of the member where it exists, else what the caller uses. A ProxyURL or TLSServerName that points to "" clears the
	// stored one, and a CABundle that is empty and not nil stands for the roots that the host trusts.
	Server                  string
	ProxyURL, TLSServerName *string
	CABundle                []byte
	// CertificateAuthority is the file that CABundle came from, as it was typed; it may point to "", and be nil.
	CertificateAuthority *string
	// TokenLifetime is how long the credential is asked to live, within the bounds of pkg/member; 0 means
	// DefaultTokenLifetime.
	TokenLifetime time.Duration
	// RequestedBy is the object on the host whose label asks to join: when the cluster leaves, its request is remembered as
	// fulfilled. It may be empty.
	RequestedBy command.Object
	// Discovered is the object that the discovery controller joins the member by: the MemberCluster carries it, and the join takes
	// the verb discover on the federation in place of join. It is nil where a person joins.
	Discovered *v1alpha1.Discovered
	// Tune changes each configuration of the member's endpoint that the join makes, as to judge what it dials; nil changes none.
	Tune func(*rest.Config)
	// TakeOver takes a cluster that belongs to another host, which is gone: what that host may do on it is removed.
	TakeOver bool
	Way
	// ResetEndpoint stores how the caller reaches a member that exists, in place of what is stored.
	ResetEndpoint bool
	// KeepEndpoint keeps that of a member that exists, whatever Server and the like say: of many members that are joined at
	// once, none moves unnoticed.
	KeepEndpoint bool
	DryRun       cluster.DryRun
	// Cluster leads to the member. It appears in messages only.
	Cluster command.Cluster
	// Progress is called for every wait while planning; it may be nil.
	Progress func(Step)

	commands command.Host
	moving
}

func (o JoinOptions) lifetime() time.Duration {
	return cmp.Or(o.TokenLifetime, o.keptLifetime, DefaultTokenLifetime)
}

func (o JoinOptions) operation() string {
	if o.moves {
		return fmt.Sprintf("move %q to federation %q", o.Name, o.Federation)
	}
	return fmt.Sprintf("join %q to federation %q", o.Name, o.Federation)
}

// command is the command that joins again, or moves.
func (o JoinOptions) command() command.Command {
	if o.moves {
		return command.Move(o.join())
	}
	return o.join()
}

// join is the command that joins the cluster in this way.
func (o JoinOptions) join() command.Join {
	c := command.Join{
		Member: o.Name, Federation: o.Federation, Cluster: o.Cluster, Labels: o.Labels, TokenLifetime: o.TokenLifetime, TakeOver: o.TakeOver, TrustContext: o.TrustContext,
		ResetEndpoint: o.ResetEndpoint, Server: o.Server, ProxyURL: o.ProxyURL, TLSServerName: o.TLSServerName, CertificateAuthority: o.CertificateAuthority,
	}
	if c.CertificateAuthority == nil && len(o.CABundle) > 0 {
		c.CertificateAuthority = new("FILE")
	}
	return c
}

func (o JoinOptions) again() string { return o.commands.Line(o.command()) }

// repeat is what to do when others changed something meanwhile.
func (o JoinOptions) repeat() string {
	if o.moves {
		return o.commands.To("move it again", o.command())
	}
	return o.commands.To("join again", o.command())
}

func (o JoinOptions) unjoin(name v1alpha1.MemberName) command.Unjoin {
	return command.Unjoin{Member: name, Cluster: o.Cluster}
}

// PlanJoin reads both sides at once and judges what it read. It writes nothing. The error is a *Refusal with
// everything that stands against the join, or says what could not be read.
func PlanJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (*JoinPlan, error) {
	o.commands = h.Commands
	if err := refuse(o, append(judgeName(cluster.MemberClusters, string(o.Name)), judgeName(cluster.Federations, string(o.Federation))...)); err != nil {
		return nil, err
	}
	facts, err := readJoin(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	return judgeJoin(ctx, h, m, facts, o)
}

// judgeJoin plans by what was read, and refuses what stands against the plan.
func judgeJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, facts *joinFacts, o JoinOptions) (*JoinPlan, error) {
	if facts.Unproven != nil {
		trusting := o
		trusting.TrustContext = true
		remedy := o.commands.To("if it is that member all the same, say so", trusting.command())
		if silent := rules.NeverAnswered(facts.Host.Member, facts.Now); silent != "" {
			remedy += "; the member " + silent + ", and " + o.commands.To("if it does not stand for this cluster, free the ID", command.Unjoin{Member: o.Name, Force: true})
		}
		return nil, facts.Unproven.refuse(o, remedy)
	}
	plan, findings := planJoin(*facts, o)
	plan.host, plan.member = h, m
	if o.DryRun != cluster.DryRunClient {
		judged, err := plan.ask(ctx)
		if err != nil {
			return nil, err
		}
		if facts.Member.ID == "" { // which is reported
			judged = slices.DeleteFunc(judged, func(f Finding) bool { return f.field == "spec.clusterID" })
		}
		findings = append(findings, explainPlaces(withoutEchoes(judged, findings), facts, o)...)
	}
	label := field.NewPath("metadata", "labels").Key(v1alpha1.LabelFederation).String()
	if facts.Host.Federation == nil && !mentions(findings, label) && len(facts.Host.Denied) == 0 {
		findings = append(findings, Finding{Side: cluster.Host, Object: "Federation " + cluster.Quoted(string(o.Federation)), Cause: "not found",
			Remedy: o.commands.To("list the federations", command.Federations) + "; or " + o.commands.To("create it", command.CreateFederation{Name: o.Federation})})
	}
	if err := refuse(o, introduce(ctx, h, m, findings)); err != nil {
		return nil, err
	}
	return plan, nil
}

// judgeName refuses a name that no server accepts, before any is asked: a name with a slash would ask for something else.
func judgeName(r cluster.Resource, name string) []Finding {
	if len(validation.IsDNS1123Label(name)) == 0 {
		return nil
	}
	return []Finding{{Side: cluster.Host, Object: r.Kind + " " + cluster.Quoted(name),
		Cause: "the name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit"}}
}

// joinFacts are everything that a join's plan is made from.
type joinFacts struct {
	Host host.State
	// Leaving is the MemberCluster that a move deletes first; Host is as it is without it. Nil where none is deleted.
	Leaving    *v1alpha1.MemberCluster
	Member     member.State
	HostServer string
	// Endpoint is what will be stored, and Caller how the caller reaches the member.
	Endpoint, Caller endpoint.Endpoint
	// Tried is why the endpoint does not respond; nil when it does or was not tried.
	Tried error
	// Unproven says why the member's cluster is not proved to be the one that answers; nil when it is.
	Unproven *Unproven
	// RefusesTokens says that the endpoint takes no token of the member's own.
	RefusesTokens bool
	// HostMissing are rights that the caller lacks on the host; UndoMissing are those that only rolling back needs.
	HostMissing, UndoMissing []missing
	// MemberLacks are rights on the member that the caller lacks, of those that the plan takes and that the host gets there.
	MemberLacks []cluster.Right
	// Others are what others have in a namespace that is there already, and OthersUnread why that could not be read. They are read
	// where the Federation gives access, which those who hold a token of the accounts there have as well.
	Others       []member.Other
	OthersUnread error
	// CanCreateEvents says whether the caller may write Events on the host.
	CanCreateEvents bool
	Now             time.Time
	Attempt         attempt
}

// proven says that the caller's own requests went the way that the host's will.
func (f *joinFacts) proven() bool { return f.Endpoint.Equal(f.Caller) }

// readJoin reads both sides until nothing stands in the way that ends by itself: a namespace that Kubernetes
// still empties, a member being deleted, another join that is rolling back.
func readJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (f *joinFacts, err error) {
	err = await(ctx, planInterval, o.Progress, func() (*Step, error) {
		if f, err = readJoinOnce(ctx, h, m, o); err != nil {
			return nil, err
		}
		return waitsForMember(f.Host.Member, f.Now, waitsForNamespace(f.Member.Namespace)), nil
	})
	return f, err
}

// waitsForMember is what has to end before a join of an existing member can begin; otherwise where nothing has.
func waitsForMember(existing *v1alpha1.MemberCluster, now time.Time, otherwise *Step) *Step {
	if existing == nil {
		return otherwise
	}
	s := &Step{Side: cluster.Host, Verb: VerbWait, Object: host.MemberRef(v1alpha1.MemberName(existing.Name))}
	switch {
	case existing.DeletionTimestamp != nil:
		s.Note = "it is being deleted"
		if len(existing.Finalizers) > 0 {
			s.Note += "; waiting for finalizers " + strings.Join(existing.Finalizers, ", ")
		}
		return s
	case parseAttempt(existing.Annotations[v1alpha1.AnnotationAttempt]).underway(now):
		s.Note = "another join of this member failed and is rolling back"
		return s
	}
	return otherwise
}

// waitsForNamespace is the end of a namespace on the member that is being deleted; nil where none is.
func waitsForNamespace(o *unstructured.Unstructured) *Step {
	if o == nil || o.GetDeletionTimestamp() == nil {
		return nil
	}
	s := &Step{Side: cluster.Member, Verb: VerbWait, Object: member.NamespaceRef(), Note: "it is being deleted"}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		// What keeps Kubernetes from finishing it.
		if c, _ := c.(map[string]any); c["status"] == "True" {
			s.Note += "; " + fmt.Sprint(c["message"])
		}
	}
	return s
}

func readJoinOnce(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (*joinFacts, error) {
	f := &joinFacts{HostServer: h.Server(), Now: time.Now()}
	f.Attempt = newAttempt(f.Now)
	target := host.Target{Member: o.Name, Federation: o.Federation, Discovered: o.Discovered}
	hostRights := slices.Concat(target.JoinRights(), []cluster.Right{target.EventRight()}, target.LeaveRights())

	var hostState *host.State
	var memberState *member.State
	var hostLacks []cluster.Right
	var administers bool // on the member
	var enforcing error
	if err := bothSides(cluster.Together(
		func() (err error) { hostState, err = h.Read(ctx, target); return err },
		func() (err error) { memberState, err = m.Read(ctx); return err },
		func() (err error) { hostLacks, err = h.Lacking(ctx, hostRights); return err },
		func() (err error) { administers, err = m.HasAllRights(ctx); return err },
		func() error {
			if o.DryRun != cluster.DryRunClient {
				enforcing = h.EnforcingFor(ctx, target)
			}
			return nil
		},
	)); err != nil {
		return nil, err
	}
	f.Host, f.Member = *hostState, *memberState
	f.CanCreateEvents = !slices.Contains(hostLacks, target.EventRight())
	f.HostMissing = missingOf(cluster.Host, hostLacks, target.JoinRights())
	f.UndoMissing = missingOf(cluster.Host, hostLacks, target.LeaveRights())
	if err := f.Host.Denied.First(); err != nil && len(f.HostMissing) == 0 {
		return nil, err
	}
	if enforcing != nil && !(apierrors.IsForbidden(enforcing) && len(f.HostMissing) > 0) {
		return nil, enforcing
	}
	if err := f.Member.Denied[member.VersionRef]; err != nil {
		return nil, err
	}
	var err error
	if f.Unproven, err = o.unproven(ctx, m, f.Host.Member, f.Member.ID); err != nil || f.Unproven != nil {
		return f, err // no token of this cluster is sent to that member's endpoint
	}
	if fed := f.Host.Federation; fed != nil && fed.Spec.Services != nil {
		if err := m.ReadServices(ctx, &f.Member, fed.Spec.Services.Namespaces); err != nil {
			return nil, err
		}
	}
	if f.Member.Namespace != nil && f.grants().AccessRole != "" {
		f.Others, f.OthersUnread = m.Others(ctx)
	}
	record := f.Host.Member
	other := record != nil && record.Spec.ClusterID != string(f.Member.ID)
	f.Caller = m.Endpoint()
	f.Endpoint = endpointOf(o, f.Caller, cmp.Or(o.returns, record))
	if o.moves && record != nil && record.Federation() != o.Federation {
		if err := f.leave(ctx, h, o); err != nil {
			return nil, err
		}
	}
	if administers {
		if err := f.Member.Denied.First(); err != nil {
			return nil, err
		}
	} else {
		// The plan says which rights it takes.
		plan, _ := planJoin(*f, o)
		var err error
		if f.MemberLacks, err = m.LackingOf(ctx, append(plan.rights(), plan.given()...)); err != nil {
			return nil, err
		}
	}
	if len(f.Endpoint.Validate(nil)) > 0 {
		return f, nil
	}
	if !f.proven() {
		f.Tried = tryEndpoint(ctx, o.config(f.Endpoint, ""))
	}
	// A join that began a membership is rolled back when its credential is refused in the end; one that changes another
	// endpoint is not. The token that shows it is a real one, in a dry run too.
	tryFirst := o.DryRun == cluster.DryRunNone && record != nil && !f.proven() && f.Tried == nil
	rancher := o.DryRun != cluster.DryRunClient && endpoint.RancherProxyID(f.Endpoint.Server) != ""
	// The endpoint of a member that is another cluster gets no token of this one: the name is refused.
	if (tryFirst || rancher) && !other {
		f.RefusesTokens = refusesTokens(ctx, o, f.Endpoint, m)
	}
	return f, nil
}

// grants are what the member gets.
func (f *joinFacts) grants() member.Grants {
	g := member.Grants{Properties: f.Member.Properties, Binding: f.Member.Binding().Name}
	if f.Host.Federation != nil && f.Host.Federation.Spec.Access != nil {
		g.AccessRole = f.Host.Federation.Spec.Access.ClusterRole
	}
	if f.Host.Federation != nil && f.Host.Federation.Spec.Services != nil {
		g.Services = member.JoinNamespaces(f.Host.Federation.Spec.Services.Namespaces)
	}
	return g
}
