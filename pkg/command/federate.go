package command

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Init is kubectl federate init.
type Init struct {
	WebhookURL string
	// Certificates says who issues the webhook's certificate; empty means the manager.
	Certificates string
	// Discovery installs the discovery controller.
	Discovery bool
	// Only is the part that is made anew; empty means everything.
	Only string
}

func (c Init) render(l *line) {
	l.federate("init")
	l.flag("webhook-url", c.WebhookURL)
	l.flag("certificates", c.Certificates)
	l.flagIf(c.Discovery, "discovery")
	l.flag("only", c.Only)
}

// CreateFederation is kubectl federate create federation.
type CreateFederation struct{ Name v1alpha1.FederationName }

func (c CreateFederation) render(l *line) {
	l.federate("create", "federation", l.name(string(c.Name), "NAME"))
}

// Grant is kubectl federate grant of something to a federation.
type Grant struct {
	Federation v1alpha1.FederationName
	// Joiners, Approvers and Integrators are as --joiner, --approver and --integrator take them.
	Joiners, Approvers, Integrators []string
	// Yes accepts what is refused without it.
	Yes bool
	// Inventory and Credentials are namespaces for profiles and for credentials of its inventory; empty is none.
	Inventory, Credentials string
	// DNS is a namespace for the names of its exported services; empty is none.
	DNS string
	// Discovery lets the discovery controller join clusters to it, and with Leave let them leave.
	Discovery, Leave bool
}

func (c Grant) render(l *line) {
	l.federate("grant", l.name(string(c.Federation), "NAME"))
	for _, who := range c.Joiners {
		l.flag("joiner", who)
	}
	for _, who := range c.Approvers {
		l.flag("approver", who)
	}
	for _, who := range c.Integrators {
		l.flag("integrator", who)
	}
	l.flagIf(c.Yes, "yes")
	l.inventory(c.Inventory, c.Credentials)
	if c.DNS != "" {
		l.flag("dns", l.name(c.DNS, ""))
	}
	l.flagIf(c.Discovery, "discovery")
	l.flagIf(c.Leave, "leave")
}

// Revoke is kubectl federate revoke, which removes what Grant makes.
type Revoke struct {
	Federation             v1alpha1.FederationName
	Inventory, Credentials string
	DNS                    string
	Discovery              bool
}

func (c Revoke) render(l *line) {
	l.federate("revoke", l.name(string(c.Federation), "NAME"))
	l.inventory(c.Inventory, c.Credentials)
	if c.DNS != "" {
		l.flag("dns", l.name(c.DNS, ""))
	}
	l.flagIf(c.Discovery, "discovery")
}

func (l *line) inventory(profiles, credentials string) {
	if profiles != "" {
		l.flag("inventory", l.name(profiles, ""))
	}
	if credentials != "" {
		l.flag("inventory-credentials", l.name(credentials, ""))
	}
}

// GrantSecret is kubectl federate grant of one Secret to the discovery controller, which reads it for every federation.
type GrantSecret struct{ Namespace, Name string }

func (c GrantSecret) render(l *line) {
	name := cmp.Or(c.Name, "NAME")
	l.invalid = l.invalid || c.Name != "" && len(validation.IsDNS1123Subdomain(c.Name)) > 0
	l.federate("grant")
	l.flag("discovery-secret", l.name(c.Namespace, "NAMESPACE")+"/"+name)
}

// Label is kubectl federate label of a cluster, which asks to join the federation, or asks no more.
type Label struct {
	Cluster    Cluster
	Federation v1alpha1.FederationName
	// Overwrite replaces the label of a cluster that asks to join another federation.
	Overwrite, Remove bool
}

func (c Label) render(l *line) {
	l.federate("label")
	l.member(c.Cluster)
	if l.flagIf(c.Remove, "remove"); !c.Remove {
		l.flag("federation", l.name(string(c.Federation), "FEDERATION"))
		l.flagIf(c.Overwrite, "overwrite")
	}
}

// Discover is kubectl federate discover.
type Discover struct {
	Federation v1alpha1.FederationName
	Join       bool
}

func (c Discover) render(l *line) {
	l.federate("discover")
	if c.Federation != "" {
		l.flag("federation", l.name(string(c.Federation), ""))
	}
	l.flagIf(c.Join, "join")
}

// Join is kubectl federate join of one cluster.
type Join struct {
	Member     v1alpha1.MemberName
	Federation v1alpha1.FederationName
	Cluster    Cluster
	Labels     map[string]string
	// Server, CertificateAuthority (a file), ProxyURL and TLSServerName are the flags --member-…. One that points to ""
	// clears what is stored; nil leaves the flag out.
	Server                                        string
	CertificateAuthority, ProxyURL, TLSServerName *string
	ResetEndpoint                                 bool
	// TokenLifetime of zero is the default.
	TokenLifetime time.Duration
	TakeOver      bool
	TrustContext  bool
}

func (c Join) render(l *line) {
	l.federate("join", l.name(string(c.Member), "NAME"))
	l.flag("federation", l.name(string(c.Federation), "FEDERATION"))
	l.member(c.Cluster)
	c.renderFlags(l)
}

// renderFlags renders what says how the member is kept.
func (c Join) renderFlags(l *line) {
	l.labels(c.Labels)
	l.flagIf(c.ResetEndpoint, "reset-endpoint")
	l.flag("member-server", c.Server)
	l.given("member-certificate-authority", c.CertificateAuthority)
	l.given("member-proxy-url", c.ProxyURL)
	l.given("member-tls-server-name", c.TLSServerName)
	l.lifetime(c.TokenLifetime)
	l.flagIf(c.TakeOver, "take-over")
	l.flagIf(c.TrustContext, "trust-context")
}

// Move is kubectl federate move of one member to the federation of a Join, whose flags it takes except TakeOver. Cluster may be the
// zero one: the plugin then looks among the contexts for the member.
type Move Join

func (c Move) render(l *line) {
	l.federate("move", l.name(string(c.Member), "NAME"))
	l.flag("to", l.name(string(c.Federation), "FEDERATION"))
	l.memberIfKnown(c.Cluster)
	c.TakeOver = false
	Join(c).renderFlags(l)
}

// Unjoin is kubectl federate unjoin of one member.
type Unjoin struct {
	Member v1alpha1.MemberName
	// Cluster may be the zero one: the plugin then looks among the contexts for the member. Force needs none.
	Cluster      Cluster
	DropLabel    bool
	Force        bool
	TrustContext bool
}

func (c Unjoin) render(l *line) {
	l.federate("unjoin", l.name(string(c.Member), "NAME"))
	if l.flagIf(c.Force, "force"); !c.Force {
		l.memberIfKnown(c.Cluster)
	}
	l.flagIf(c.DropLabel, "drop-label")
	l.flagIf(c.TrustContext, "trust-context")
}

// UnjoinMany is kubectl federate unjoin of many members, which the plugin looks for among the contexts.
type UnjoinMany struct{ Members []v1alpha1.MemberName }

func (c UnjoinMany) render(l *line) {
	l.federate("unjoin")
	for _, name := range c.Members {
		l.words = append(l.words, l.name(string(name), "NAME"))
	}
	if len(c.Members) == 0 {
		l.words = append(l.words, "NAME...")
	}
}

// Rotate is kubectl federate rotate of one member.
type Rotate struct {
	Member v1alpha1.MemberName
	// Cluster may be the zero one: the plugin then looks among the contexts for the member.
	Cluster       Cluster
	TokenLifetime time.Duration
	TrustContext  bool
}

func (c Rotate) render(l *line) {
	l.federate("rotate", l.name(string(c.Member), "NAME"))
	l.memberIfKnown(c.Cluster)
	l.lifetime(c.TokenLifetime)
	l.flagIf(c.TrustContext, "trust-context")
}

// RotateMany is kubectl federate rotate of many members, which the plugin looks for among the contexts.
type RotateMany struct {
	// Members that it names; none is all.
	Members []v1alpha1.MemberName
}

func (c RotateMany) render(l *line) {
	l.federate("rotate")
	for _, name := range c.Members {
		l.words = append(l.words, l.name(string(name), "NAME"))
	}
	l.flagIf(len(c.Members) == 0, "all")
}

// Approve is kubectl federate approve of one member.
type Approve struct{ Member v1alpha1.MemberName }

func (c Approve) render(l *line) { l.federate("approve", l.name(string(c.Member), "NAME")) }

// Suspend is kubectl federate suspend of one member. Reason and Until are left out where they are empty.
type Suspend struct {
	Member        v1alpha1.MemberName
	Reason, Until string
}

func (c Suspend) render(l *line) {
	l.federate("suspend", l.name(string(c.Member), "NAME"))
	l.flag("reason", c.Reason)
	l.flag("until", c.Until)
}

// Resume is kubectl federate resume of one member.
type Resume struct{ Member v1alpha1.MemberName }

func (c Resume) render(l *line) { l.federate("resume", l.name(string(c.Member), "NAME")) }

// Describe is kubectl federate describe of one member.
type Describe struct{ Member v1alpha1.MemberName }

func (c Describe) render(l *line) { l.federate("describe", l.name(string(c.Member), "NAME")) }

// Get is kubectl federate get, which lists members.
type Get struct {
	Federation v1alpha1.FederationName
	// Violating leaves out members that keep all rules.
	Violating bool
	// ByPhase puts what is wrong first.
	ByPhase bool
}

func (c Get) render(l *line) {
	l.federate("get")
	if c.Federation != "" {
		l.flag("federation", l.name(string(c.Federation), ""))
	}
	l.flagIf(c.Violating, "violating")
	if c.ByPhase {
		l.flag("sort-by", "phase")
	}
}

// Check is kubectl federate check.
type Check struct {
	// Cluster is looked at as well, if it is not nil, and AllContexts are those of all contexts.
	Cluster     *Cluster
	AllContexts bool
}

func (c Check) render(l *line) {
	l.federate("check")
	if c.Cluster != nil {
		l.flag("member-contexts", l.context(*c.Cluster))
		l.flag("member-kubeconfig", c.Cluster.Kubeconfig)
	}
	l.flagIf(c.AllContexts, "all-contexts")
}
