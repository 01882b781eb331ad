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

// Snapshot is the host as rules see it.
type Snapshot struct {
	// Now is the time to judge certificates by.
	Now time.Time
	// Federations are those of the host.
	Federations Federations
	// Identities find members by what must be unique, or better is.
	Identities Identities
	// Memberships count and list the members of a federation.
	Memberships Memberships
	// Namespaces tell of the namespace that FederationChange.NamespaceToRead names. Only changes of Federations need
	// it.
	Namespaces Namespaces
}

// Federations are the federations of a host.
type Federations interface {
	// Federation is nil when there is none of the name.
	Federation(v1alpha1.FederationName) *v1alpha1.Federation
	// FederationNames are sorted.
	FederationNames() []v1alpha1.FederationName
}

// Identities find members by what they claim to be. The results are sorted by name and not to be changed.
type Identities interface {
	MembersWithID(v1alpha1.ClusterID) []*v1alpha1.MemberCluster
	// MembersAt finds members by their server, as endpoint.KeyOf gives it.
	MembersAt(endpoint.Key) []*v1alpha1.MemberCluster
}

// Memberships are the members of federations.
type Memberships interface {
	// Count is the number of members in a bucket, not counting the member of the name except.
	Count(bucket Bucket, except v1alpha1.MemberName) int
	// Members of a federation, in any order. They are not to be changed.
	Members(v1alpha1.FederationName) iter.Seq[*v1alpha1.MemberCluster]
}

// Namespaces are the namespaces of a host.
type Namespaces interface {
	// Namespace is nil when there is none of the name.
	Namespace(name string) *metav1.ObjectMeta
}

// Bucket is what a Limit counts: the members of a federation, or with a Key those among them that have the
// label.
type Bucket struct {
	Federation v1alpha1.FederationName
	Key, Value string
}

// MemberChange is a write of a MemberCluster. Old is nil when it is created. Deleting one is nobody's business
// here: a cluster may always leave.
type MemberChange struct{ Old, New *v1alpha1.MemberCluster }

// stored is the change as API servers make it: what is created has no status, and only the manager's writes, of which no
// rule is asked, change one. A manifest may claim anything.
func (c MemberChange) stored() MemberChange {
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

// FederationChange is a write of a Federation. Old is nil when it is created, New when it is deleted.
type FederationChange struct{ Old, New *v1alpha1.Federation }

// Findings are what a rule has to say, in its own order.
type Findings struct {
	Refusals, Warnings field.ErrorList
	// Grounds are what the refusals rest on.
	Grounds Grounds
	// Named are the members behind OnNamed, each once, sorted.
	Named []v1alpha1.MemberName
}

func (f *Findings) refuse(e ...*field.Error) { f.Refusals = append(f.Refusals, e...) }
func (f *Findings) warn(e *field.Error)      { f.Warnings = append(f.Warnings, e) }
func (f *Findings) add(more Findings) {
	f.Refusals = append(f.Refusals, more.Refusals...)
	f.Warnings = append(f.Warnings, more.Warnings...)
	f.Grounds |= more.Grounds
	f.name(more.Named)
}

// name takes notice of members that a refusal names.
func (f *Findings) name(members []v1alpha1.MemberName) {
	if len(members) > 0 {
		f.Named = slices.Compact(slices.Sorted(slices.Values(append(f.Named, members...))))
	}
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
	// Grounds are what each of its refusals rests on; one may rest on more.
	Grounds Grounds
}

// Grounds are what a refusal rests on beside the object that is written: objects that may have changed since they
// were read.
type Grounds uint8

// Grounds.
const (
	// OnFederation is the Federation that the write is about.
	OnFederation Grounds = 1 << iota
	// OnFederations are all Federations.
	OnFederations
	// OnHolders are the members that have the cluster ID.
	OnHolders
	// OnMembers are all members of the federation: who they are and in which buckets.
	OnMembers
	// OnNamed are the members that the refusal names first, each as it is.
	OnNamed
)

// Has says whether any of some is among the grounds.
func (g Grounds) Has(some Grounds) bool { return g&some != 0 }

// MemberRules are the rules on members, in the order in which their findings are printed.
var MemberRules = []Rule[MemberChange]{
	{ID: FederationExists, Judge: worse(federationExists), Grounds: OnFederation},
	{ID: ClusterIDUnique, Judge: clusterIDUnique, Grounds: OnHolders},
	{ID: ReservedKeys, Judge: worse(reservedMemberKeys)},
	{ID: Labels, Judge: worse(labels), Soft: true, Grounds: OnFederation},
	{ID: ImmutableLabels, Judge: immutableLabels, Soft: true, Grounds: OnFederation},
	{ID: Limits, Judge: limits, Soft: true, Grounds: OnFederation | OnMembers},
	{ID: KubernetesVersion, Judge: worse(kubernetesVersion), Soft: true, Grounds: OnFederation},
	{ID: Expressions, Judge: expressions, Soft: true, Grounds: OnFederation},
	{ID: InventoryName, Judge: inventoryName, Grounds: OnFederation},
	{ID: Topology, Judge: worse(topology)},
	{ID: Endpoint, Judge: worse(memberEndpoint)},
	{ID: Proxy, Judge: worse(proxy)},
	{ID: CABundle, Judge: worse(caBundle)},
	{ID: InsecureTLS, Judge: worse(insecureTLS), Grounds: OnFederation},
}

// FederationRules are the rules on federations, in the order in which their findings are printed.
var FederationRules = []Rule[FederationChange]{
	{ID: FederationEmpty, Judge: federationEmpty, Grounds: OnNamed},
	{ID: ReservedKeys, Judge: worseFederation(reservedFederationKeys)},
	{ID: LabelRules, Judge: worseFederation(labelRules)},
	{ID: LimitRules, Judge: worseFederation(limitRules)},
	{ID: VersionRange, Judge: worseFederation(versionRange)},
	{ID: ExpressionRules, Judge: worseFederation(expressionRules)},
	{ID: AccessRole, Judge: worseFederation(accessRole)},
	{ID: Inventory, Judge: inventory, Grounds: OnFederations | OnNamed},
	{ID: InventoryNamespace, Judge: inventoryNamespace},
	{ID: MembersKeepRules, Judge: membersKeepRules, Grounds: OnFederation | OnNamed},
}

// Verdict is what all rules say about one change, in the order of their table.
type Verdict struct{ Findings }

// JudgeMember asks every rule on members.
func JudgeMember(s Snapshot, c MemberChange) Verdict {
	c = c.stored()
	warn := false
	if federation := s.Federations.Federation(c.New.Federation()); federation != nil {
		warn = federation.Spec.Enforcement == v1alpha1.EnforceWarn
	}
	return judge(MemberRules, s, c, warn)
}

// JudgeFederation asks every rule on federations.
func JudgeFederation(s Snapshot, c FederationChange) Verdict {
	return judge(FederationRules, s, c, false)
}

// WrongAlone says whether a change of a federation is refused for what it is, whoever the members are. It is quick.
func (c FederationChange) WrongAlone(s Snapshot) bool {
	return slices.ContainsFunc(FederationRules, func(rule Rule[FederationChange]) bool {
		return rule.Grounds == 0 && len(rule.Judge(s, c).Refusals) > 0
	})
}

func judge[C any](table []Rule[C], s Snapshot, c C, warn bool) Verdict {
	var v Verdict
	for _, rule := range table {
		found := rule.Judge(s, c).stamped(rule.ID)
		if rule.Soft && warn {
			found = Findings{Warnings: slices.Concat(found.Refusals, found.Warnings)}
		}
		if len(found.Refusals) > 0 {
			found.Grounds |= rule.Grounds
		}
		v.add(found)
	}
	return v
}

// worse makes a rule of a function that judges a member as it stands: what was as wrong before is left out.
func worse(state func(Snapshot, *v1alpha1.MemberCluster) Findings) func(Snapshot, MemberChange) Findings {
	return func(s Snapshot, c MemberChange) Findings {
		found := state(s, c.New)
		if c.Old == nil || len(found.Refusals)+len(found.Warnings) == 0 {
			return found
		}
		return found.without(state(s, c.Old))
	}
}

// worseFederation is worse for federations. A deletion is not judged.
func worseFederation(state func(Snapshot, *v1alpha1.Federation) Findings) func(Snapshot, FederationChange) Findings {
	return func(s Snapshot, c FederationChange) Findings {
		if c.New == nil {
			return Findings{}
		}
		found := state(s, c.New)
		if c.Old == nil || len(found.Refusals)+len(found.Warnings) == 0 {
			return found
		}
		return found.without(state(s, c.Old))
	}
}

// without leaves out what was found before as well. Two findings are one when they read the same.
func (f Findings) without(before Findings) Findings {
	f.Refusals, f.Warnings = subtract(f.Refusals, before.Refusals), subtract(f.Warnings, before.Warnings)
	return f
}

func subtract(now, before field.ErrorList) field.ErrorList {
	return slices.DeleteFunc(now, func(e *field.Error) bool {
		return slices.ContainsFunc(before, func(b *field.Error) bool { return b.Error() == e.Error() })
	})
}
