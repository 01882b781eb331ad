package rules

import (
	"iter"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// ID names a rule. It is the Origin of the rule's field errors, and a value of a metric's label.
type ID string

// Snapshot is what a rule judges by: the host, at a time.
type Snapshot struct {
	// Now is the time to judge certificates by.
	Now time.Time
	Host
	// budget bounds what expressions may cost when all members of a federation are asked. Nil is without a bound.
	budget *budget
}

// Host is a host as rules see it. What it returns must not be changed.
type Host interface {
	// Federation is nil when there is none of the name.
	Federation(v1alpha1.FederationName) *v1alpha1.Federation
	// FederationNames are sorted.
	FederationNames() []v1alpha1.FederationName
	// MembersWithID are the members with a cluster ID, sorted by name.
	MembersWithID(v1alpha1.ClusterID) []*v1alpha1.MemberCluster
	// MembersAt are the members with a server, as endpoint.KeyOf gives it, sorted by name.
	MembersAt(endpoint.Key) []*v1alpha1.MemberCluster
	// Count is the number of members in a bucket, not counting the member of the name except.
	Count(bucket Bucket, except v1alpha1.MemberName) int
	// Members of a federation, in any order.
	Members(v1alpha1.FederationName) iter.Seq[*v1alpha1.MemberCluster]
	// Namespace is nil when there is none of the name. Only those that NamespacesToRead names are asked for.
	Namespace(name string) *metav1.ObjectMeta
}

// Bucket is what a Limit counts: the members of a federation, or with a Key those among them that have the
// label.
type Bucket struct {
	Federation v1alpha1.FederationName
	Key, Value string
}

// Change is a write of an object. Old is nil when it is created, New when it is deleted.
type Change[T any] struct{ Old, New *T }

// MemberChange is a write of a MemberCluster. Its deletion is never judged: a cluster may always leave.
type MemberChange = Change[v1alpha1.MemberCluster]

// FederationChange is a write of a Federation.
type FederationChange = Change[v1alpha1.Federation]

// stored is a change as API servers store it: what is created has no status, and only the manager's writes, which no rule
// judges, change one. A manifest may claim anything.
func stored(c MemberChange) MemberChange {
	var status v1alpha1.MemberClusterStatus
	if c.Old != nil {
		status = c.Old.Status
	}
	if c.New.Status.Facts == status.Facts {
		return c
	}
	written := *c.New
	written.Status = status
	return MemberChange{Old: c.Old, New: &written}
}

// Findings are what a rule has to say, in its own order.
type Findings struct {
	Refusals, Warnings field.ErrorList
}

func (f *Findings) refuse(e ...*field.Error) { f.Refusals = append(f.Refusals, e...) }
func (f *Findings) warn(e *field.Error)      { f.Warnings = append(f.Warnings, e) }
func (f *Findings) add(more Findings) {
	f.Refusals = append(f.Refusals, more.Refusals...)
	f.Warnings = append(f.Warnings, more.Warnings...)
}

func (f Findings) stamped(id ID) Findings {
	f.Refusals, f.Warnings = stamp(f.Refusals, id), stamp(f.Warnings, id)
	return f
}
func stamp(l field.ErrorList, id ID) field.ErrorList {
	for _, e := range l {
		e.Origin = string(id)
	}
	return l
}

// Rule is one row of a table.
type Rule[C any] struct {
	ID ID
	// Judge gives its findings on a change.
	Judge func(Snapshot, C) Findings
	// Soft rules are those that a Federation with enforcement Warn only warns about.
	Soft bool
	// Spec is the field of a Federation's spec, by its name in JSON, that members are judged by. When the field
	// changes, MembersKeepRules asks the rule about every member.
	Spec string
	// Lasting rules judge a member by itself and its Federation alone, whatever the time and the other members are:
	// JudgeCompliance asks them.
	Lasting bool
}

// Ask gives a rule's findings on a change, and what it has read of the host for them.
func (r Rule[C]) Ask(s Snapshot, c C) (Findings, Reads) {
	recorder := &recorder{host: s.Host}
	s.Host = recorder
	found := r.Judge(s, c).stamped(r.ID)
	return found, recorder.all()
}

// MemberRules are the rules on members, in the order in which their findings are printed.
var MemberRules = []Rule[MemberChange]{
	{ID: FederationExists, Judge: worse(federationExists)},
	{ID: ClusterIDUnique, Judge: clusterIDUnique},
	{ID: ReservedKeys, Judge: worse(reservedMemberKeys), Lasting: true},
	{ID: Labels, Judge: worse(labels), Soft: true, Spec: "labels", Lasting: true},
	{ID: ImmutableLabels, Judge: immutableLabels, Soft: true},
	{ID: Limits, Judge: limits, Soft: true, Spec: "limits"},
	{ID: KubernetesVersion, Judge: worse(kubernetesVersion), Soft: true, Spec: "kubernetesVersions", Lasting: true},
	{ID: Expressions, Judge: expressions, Soft: true, Spec: "rules", Lasting: true},
	{ID: InventoryName, Judge: inventoryName, Spec: "inventory", Lasting: true},
	{ID: Topology, Judge: worse(topology), Lasting: true},
	{ID: Endpoint, Judge: worse(memberEndpoint), Lasting: true},
	{ID: Proxy, Judge: worse(proxy), Lasting: true},
	{ID: DiscoveredEndpoint, Judge: worse(discoveredEndpoint), Lasting: true},
	{ID: CABundle, Judge: worse(caBundle)},
	{ID: InsecureTLS, Judge: worse(insecureTLS), Spec: "allowInsecureTLS", Lasting: true},
}

// FederationRules are the rules on federations, in the order in which their findings are printed.
var FederationRules = []Rule[FederationChange]{
	{ID: FederationEmpty, Judge: federationEmpty},
	{ID: ReservedKeys, Judge: worse(reservedFederationKeys)},
	{ID: LabelRules, Judge: worse(labelRules)},
	{ID: LimitRules, Judge: worse(limitRules)},
	{ID: VersionRange, Judge: worse(versionRange)},
	{ID: ExpressionRules, Judge: worse(expressionRules)},
	{ID: AccessRole, Judge: worse(accessRole)},
	{ID: DiscoveryEndpoints, Judge: worse(discoveryEndpoints)},
	{ID: Inventory, Judge: inventory},
	{ID: InventoryNamespace, Judge: inventoryNamespace},
	{ID: DiscoverySources, Judge: worse(discoverySources)},
	{ID: Services, Judge: worse(services)},
	{ID: MembersKeepRules, Judge: membersKeepRules},
}

// Verdict is what all rules say about one change, in the order of their table.
type Verdict struct {
	Findings
	// Reads is what the rules that refuse have read of the host: a refusal rests on it.
	Reads Reads
	// deletion says that the change deletes the object.
	deletion bool
}

// JudgeMember asks every rule on members.
func JudgeMember(s Snapshot, c MemberChange) Verdict {
	c = stored(c)
	warn := false
	if federation := s.Federation(c.New.Federation()); federation != nil {
		warn = federation.Spec.Enforcement == v1alpha1.EnforceWarn
	}
	return judge(MemberRules, s, c, warn)
}

// JudgeFederation asks every rule on federations.
func JudgeFederation(s Snapshot, c FederationChange) Verdict {
	v := judge(FederationRules, s, c, false)
	v.deletion = c.New == nil
	return v
}

func judge[C any](table []Rule[C], s Snapshot, c C, warn bool) Verdict {
	var v Verdict
	for _, rule := range table {
		found, reads := rule.Ask(s, c)
		if rule.Soft && warn {
			found = Findings{Warnings: slices.Concat(found.Refusals, found.Warnings)}
		}
		if len(found.Refusals) > 0 {
			v.Reads |= reads
		}
		v.add(found)
	}
	return v
}

// worse makes a rule of a function that judges an object as it is: faults that it had before the change are left out. Two
// faults are the same when they read the same. A deletion is not judged.
func worse[T any](state func(Snapshot, *T) Findings) func(Snapshot, Change[T]) Findings {
	return func(s Snapshot, c Change[T]) Findings {
		if c.New == nil {
			return Findings{}
		}
		found := state(s, c.New)
		if c.Old == nil || len(found.Refusals)+len(found.Warnings) == 0 {
			return found
		}
		before := state(s, c.Old)
		return Findings{subtract(found.Refusals, before.Refusals), subtract(found.Warnings, before.Warnings)}
	}
}

func subtract(now, before field.ErrorList) field.ErrorList {
	return slices.DeleteFunc(now, func(e *field.Error) bool {
		return slices.ContainsFunc(before, func(b *field.Error) bool { return b.Error() == e.Error() })
	})
}
