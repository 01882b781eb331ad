package federate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Phases of a join, in order.
const (
	phaseLeave         phase = iota // the MemberCluster of the federation that a move leaves
	phaseRecord                     // the MemberCluster: admission decides before the member is touched
	phaseNamespace                  // the namespace on the member
	phaseMembership                 // the membership record: whose the member is
	phaseEvictServices              // bindings that another host put into other namespaces: only its role says where they are
	phaseEvict                      // what another host put on the member, from which it is taken over
	phaseBase                       // accounts, roles, the Secret that the token is bound to, the cluster's property
	phaseBinding                    // bindings and the token, which refer to base objects; the end of a take-over
	phaseCredential                 // the credential on the host, and the set's property
	phaseTrial                      // the credential is tried, everything is read back
	phaseJoined                     // who joined, and the Event
)

// JoinPlan is what a join will do.
type JoinPlan struct {
	Options JoinOptions
	plan

	facts  joinFacts
	grants member.Grants
	// creates is the MemberCluster that is created; nil when it exists.
	creates *v1alpha1.MemberCluster
	// sent is the MemberCluster as it is posted, or the merge patch that brings an existing one up to date. It carries this
	// run's attempt. It is nil where the MemberCluster stays as it is.
	sent *unstructured.Unstructured
	// takenFrom is the host from which this join takes the cluster over; empty when it does not.
	takenFrom v1alpha1.ClusterID
	// blocked says that a finding makes asking the host pointless.
	blocked bool

	// What follows is how far the join has come. record and membership are as they were last read or written.
	record     *v1alpha1.MemberCluster
	membership *member.Membership
	token      cluster.Token
	binding    member.Binding // what the token is bound to
	takeOver   takeOver
	// first says that this run began the membership: nothing that it makes can be something that others rely on.
	first bool
	// created says that this run created the MemberCluster, or perhaps did.
	created bool
	// sealed is the attempt on the MemberCluster while this run rolls back; empty where there is no MemberCluster.
	sealed string
	// kept says that the MemberCluster that this run created stays, since the caller may not delete it.
	kept bool
}

// Already says that nothing but the credential has to change.
func (p *JoinPlan) Already() bool {
	return !slices.ContainsFunc(p.Steps, func(s Step) bool {
		return !s.silent() && s.phase < phaseCredential && s.Verb != VerbRequest ||
			s.phase == phaseCredential && s.Side == cluster.Member && !s.silent()
	})
}

// Verb is "renew" where nothing but the credential has to change.
func (p *JoinPlan) Verb() string {
	switch {
	case p.Options.moves:
		return "move"
	case p.Already():
		return "renew"
	}
	return "join"
}

// planJoin makes the plan and says what stands against it. It is pure.
func planJoin(f joinFacts, o JoinOptions) (*JoinPlan, []Finding) {
	p := &JoinPlan{Options: o, plan: plan{of: o}, facts: f, grants: f.grants(), takenFrom: takenFrom(f, o), record: f.Host.Member, membership: f.Member.Membership}
	p.grants.TokenLifetime = o.lifetime()
	p.blocked = len(f.HostMissing) > 0
	against, notes := judgeEndpoint(f.Endpoint, f.Host.Federation, f.Tried)
	p.notes = append(p.notes, notes...)
	if f.RefusesTokens {
		against = append(against, refusedTokens(f, o))
	}
	if o.DryRun == cluster.DryRunClient {
		p.notes = append(p.notes, loopback(f.Endpoint, f.HostServer)...)
		p.notes = append(p.notes, requiredPlaces(&f, o)...)
	}
	against = append(against, judgeMember(f, o)...)
	if f.Host.ID != "" && f.Host.ID == f.Member.ID {
		p.note(Finding{Side: cluster.Member, Cause: "host and member are one and the same cluster"})
	}
	if fed := f.Host.Federation; fed != nil && !p.accepted() {
		cause := "accepts members by hand"
		if fed.Spec.Acceptance != v1alpha1.AcceptManual {
			cause = "lets clusters that discovery joined wait for approval (spec.discovery.acceptance)"
		}
		p.note(Finding{Side: cluster.Host, Object: "Federation " + cluster.Quoted(fed.Name), Cause: cause + ", so this one stays Pending",
			Remedy: o.commands.To("accept it, which takes the verb approve", command.Approve{Member: o.Name})})
	}

	p.noteOthers()
	record := append(p.planLeave(), p.planRecord()...)
	p.blocked = p.blocked || len(record) > 0
	against = append(against, record...)
	against = append(against, p.planMember()...)
	against = append(against, p.planCredential()...)
	lacking, undo := p.lacking(f.MemberLacks)
	denied := slices.Concat(f.HostMissing, unread(f.Member.Denied, p.grants.ReadRefs()), lacking)
	if len(denied) == 0 {
		p.noteRollback(append(f.UndoMissing, undo...))
	}
	return p, append(deniedRights(denied), against...)
}

// noteOthers warns of those who can have what the Federation gives to readers of the inventory, because they had rights in the
// namespace, or a token of an account, before the join. An administrator may prepare the namespace, so it is no refusal.
func (p *JoinPlan) noteOthers() {
	f, o := p.facts, p.Options
	if f.Member.Namespace == nil || p.grants.AccessRole == "" {
		return
	}
	reach := ", and so have the access of ClusterRole " + cluster.Quoted(p.grants.AccessRole) + " that the federation gives"
	const most = 10
	for i, other := range f.Others {
		if i == most {
			p.note(about(cluster.Member, member.NamespaceRef(), fmt.Sprintf("holds %d more of the kind", len(f.Others)-most), ""))
			break
		}
		p.note(about(cluster.Member, other.Ref, other.Does+reach,
			o.commands.To("if that is not intended, delete it", command.KubectlDelete{Object: other.Ref.Object(), Cluster: &p.Options.Cluster})))
	}
	if f.OthersUnread != nil {
		p.note(about(cluster.Member, member.NamespaceRef(), "exists already, and it could not be seen who may create tokens in it"+reach+": "+cluster.Cause(f.OthersUnread),
			"let an administrator of the cluster look at its RoleBindings and Secrets"))
	}
	if f.Member.Membership != nil {
		return
	}
	for _, account := range p.grants.Accounts() {
		if f.Member.Objects[account.Ref] != nil {
			p.note(about(cluster.Member, account.Ref, "was there before the join: who has a token of it keeps it"+reach,
				o.commands.To("make the accounts anew after the join, which ends such tokens", command.Rotate{Member: o.Name, Cluster: o.Cluster})))
		}
	}
}

// accepted says whether the cluster is a member as soon as it has joined.
func (p *JoinPlan) accepted() bool {
	fed, m := p.facts.Host.Federation, cmp.Or(p.facts.Host.Member, p.Options.returns)
	if m == nil {
		m = &v1alpha1.MemberCluster{Spec: v1alpha1.MemberClusterSpec{Discovered: p.Options.Discovered}}
	}
	return fed == nil || fed.Accepts(m)
}

// noteRollback warns of rights that only rolling back needs.
func (p *JoinPlan) noteRollback(undo []missing) {
	var lacking []string
	for _, m := range undo {
		lacking = append(lacking, string(m.side)+": "+m.right.String())
	}
	if len(lacking) > 0 {
		p.note(Finding{Cause: "if the " + p.Verb() + " fails halfway, not all of it can be rolled back, since you are not allowed to: " + strings.Join(lacking, "; ")})
	}
}

// oldestMember is the oldest Kubernetes that can be a member.
const oldestMember = "1.24.0"

// judgeMember judges the member's version, and which host it belongs to.
func judgeMember(f joinFacts, o JoinOptions) []Finding {
	var against []Finding
	if v, err := version.ParseGeneric(f.Member.Version); err == nil && v.LessThan(version.MustParseGeneric(oldestMember)) {
		against = append(against, Finding{Side: cluster.Member, Cause: fmt.Sprintf("runs Kubernetes %s; members need at least 1.24", f.Member.Version), Remedy: "upgrade it first"})
	}
	if k := f.Member.Membership; k != nil && !f.stale(o) {
		against = append(against, judgeMembership(k, f.Host.ID, o)...)
	}
	return against
}

// stale says that the membership record is of this member, and of a MemberCluster that this host does not have any more: what it
// gave to the federation that it names ended with that.
func (f *joinFacts) stale(o JoinOptions) bool {
	k, m := f.Member.Membership, f.Host.Member
	return k != nil && f.Host.ID != "" && k.HostID == f.Host.ID && k.Member == o.Name && (m == nil || m.UID != k.MemberUID)
}

// judgeMembership says what stands against taking the cluster that carries the membership record k.
func judgeMembership(k *member.Membership, hostID v1alpha1.ClusterID, o JoinOptions) []Finding {
	is := fmt.Sprintf("this cluster is member %q of federation %q of ", k.Member, k.Federation)
	against := func(cause, remedy string) []Finding {
		return []Finding{about(cluster.Member, member.MembershipRef(), is+cause, remedy)}
	}
	unjoin := o.commands.To("unjoin it first", o.unjoin(k.Member))
	switch {
	case k.HostID != hostID && hostID != "" && o.TakeOver:
		return nil
	case k.HostID != hostID && hostID != "":
		return against(fmt.Sprintf("another host (cluster ID %s, this one has %s)", k.HostID, hostID),
			leaveThere(k, o.Cluster)+"; or "+o.commands.To("if that host is gone for good, take it over", o.takingOver().command()))
	case k.Federation == o.Federation && k.Member == o.Name:
		return nil
	case o.TakeOver:
		return against("this host, which is not gone: there is nothing to take over", unjoin)
	case k.Member == o.Name && k.Federation != o.Federation:
		return against("this host", o.move())
	}
	return against("this host", unjoin)
}

// move proposes to move the member to the federation.
func (o JoinOptions) move() string {
	return o.commands.To("move it", command.Move{Member: o.Name, Federation: o.Federation, Cluster: o.Cluster})
}

// leaveThere proposes to unjoin a cluster on the other host that its membership record names.
func leaveThere(k *member.Membership, c command.Cluster) string {
	other := command.Host{Flags: []command.Flag{{Name: "context", Value: "OTHER-HOST"}}}
	return other.To("unjoin it there first", command.Unjoin{Member: k.Member, Cluster: c})
}

// otherCluster refuses a context that leads to another cluster than the member's.
func otherCluster(record *v1alpha1.MemberCluster, id v1alpha1.ClusterID) Finding {
	return about(cluster.Member, host.MemberRef(v1alpha1.MemberName(record.Name)), fmt.Sprintf("has cluster ID %s, but the context leads to cluster %s", record.Spec.ClusterID, id),
		"name the member's own context with --member-context")
}

// planRecord plans the MemberCluster.
func (p *JoinPlan) planRecord() []Finding {
	f, o, existing := p.facts, p.Options, p.facts.Host.Member
	ref := host.MemberRef(o.Name)
	against := func(cause, remedy string) []Finding { return []Finding{about(cluster.Host, ref, cause, remedy)} }
	s := Step{Side: cluster.Host, Verb: VerbCreate, Object: ref, phase: phaseRecord, do: p.createRecord, undo: p.undoRecord, undoLast: true}
	desired := &v1alpha1.MemberCluster{Spec: v1alpha1.MemberClusterSpec{ClusterID: string(f.Member.ID)}}
	if as := f.as(o); as != nil {
		desired.Labels, desired.Spec = as.Labels, as.Spec
	}
	if existing != nil {
		desired = existing.DeepCopy()
		s.Verb, s.do = VerbUpdate, p.updateRecord
		if existing.Spec.ClusterID != string(f.Member.ID) && f.Member.ID != "" {
			return against(fmt.Sprintf("the name is taken by another cluster (ID %s, this one has %s)", existing.Spec.ClusterID, f.Member.ID),
				o.commands.To("join under another name, or unjoin that one first", command.Unjoin{Member: o.Name}))
		}
		if existing.Federation() != o.Federation {
			return against(fmt.Sprintf("this cluster is in federation %q", existing.Federation()), o.move())
		}
		if otherObject(existing, o.Discovered) {
			return []Finding{judgeOther(existing, o)}
		}
	}

	desired.Name = string(o.Name)
	if desired.Labels == nil {
		desired.Labels = map[string]string{}
	}
	maps.Copy(desired.Labels, o.Labels)
	desired.Labels[v1alpha1.LabelFederation] = string(o.Federation)
	f.Endpoint.Store(&desired.Spec)
	if desired.Spec.JoinedWith == nil {
		desired.Spec.JoinedWith = &v1alpha1.JoinFacts{KubernetesVersion: f.Member.Version, Regions: f.Member.Regions, Zones: f.Member.Zones}
	}
	if existing == nil {
		desired.Spec.Discovered = cmp.Or(desired.Spec.Discovered, o.Discovered)
		for _, place := range placesOf(f.Member.Topology) {
			setDefault(desired.Labels, place.key, place.agreed)
		}
		p.creates = desired
	}
	var err error
	if p.sent, err = recordToSend(existing, desired); err != nil {
		return against(err.Error(), "")
	}
	if existing != nil {
		s.Note = changedFields(p.sent)
		p.noteEndpoint(endpoint.Of(existing))
		joinedBefore := existing.Annotations[v1alpha1.AnnotationAttempt] == "" && existing.Annotations[v1alpha1.AnnotationJoinedBy] != ""
		if joinedBefore && s.Note == "" && p.takenFrom == "" {
			p.sent, s.Verb, s.do = nil, VerbUnchanged, nil
		}
	}
	if p.sent != nil {
		annotate(p.sent, v1alpha1.AnnotationAttempt, f.Attempt.String())
		if by := f.Host.User; existing == nil && by != "" && len(by) <= v1alpha1.MaxCreatedBy {
			annotate(p.sent, v1alpha1.AnnotationCreatedBy, by)
		}
	}
	s.Manifest = p.sent
	p.step(s)
	return nil
}

// recordToSend is the object that is posted, or else the merge patch that makes desired of existing.
func recordToSend(existing, desired *v1alpha1.MemberCluster) (*unstructured.Unstructured, error) {
	whole, err := cluster.ToUnstructured(cluster.MemberClusters, desired)
	if err != nil || existing == nil {
		return whole, err
	}
	before, err := cluster.ToUnstructured(cluster.MemberClusters, existing)
	if err != nil {
		return nil, err
	}
	patch := cluster.MemberClusters.New("", desired.Name)
	for key, value := range mergePatch(before.Object, whole.Object) {
		if key == "metadata" {
			value.(map[string]any)["name"] = desired.Name
		}
		patch.Object[key] = value
	}
	return patch, nil
}

// mergePatch is the JSON merge patch (RFC 7386) that makes to of from.
func mergePatch(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for key, value := range to {
		before, isMap := from[key].(map[string]any)
		after, staysMap := value.(map[string]any)
		if isMap && staysMap {
			if inner := mergePatch(before, after); len(inner) > 0 {
				patch[key] = inner
			}
		} else if !reflect.DeepEqual(from[key], value) {
			patch[key] = value
		}
	}
	for key := range from {
		if _, stays := to[key]; !stays {
			patch[key] = nil
		}
	}
	return patch
}

// annotate sets an annotation of an object, beside its others.
func annotate(o *unstructured.Unstructured, key, value string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	o.SetAnnotations(annotations)
}

// changedFields names what a patch changes, for people.
func changedFields(patch *unstructured.Unstructured) string {
	spec, _ := patch.Object["spec"].(map[string]any)
	what := slices.Sorted(maps.Keys(spec))
	for _, key := range slices.Sorted(maps.Keys(patch.GetLabels())) {
		what = append(what, "label "+key)
	}
	return strings.Join(what, ", ")
}

// noteEndpoint reports the old and the new endpoint of a member where they differ.
func (p *JoinPlan) noteEndpoint(old endpoint.Endpoint) {
	e := p.facts.Endpoint
	var changes []string
	for _, c := range []struct{ field, from, to string }{
		{"spec.server", old.Server, e.Server},
		{"spec.proxyURL", old.ProxyURL, e.ProxyURL},
		{"spec.tlsServerName", old.TLSServerName, e.TLSServerName},
	} {
		if c.from != c.to {
			changes = append(changes, fmt.Sprintf("%s from %q to %q", c.field, c.from, c.to))
		}
	}
	if string(old.CABundle) != string(e.CABundle) {
		changes = append(changes, "spec.caBundle")
	}
	if old.InsecureSkipTLSVerify != e.InsecureSkipTLSVerify {
		changes = append(changes, fmt.Sprintf("spec.insecureSkipTLSVerify to %v", e.InsecureSkipTLSVerify))
	}
	if len(changes) > 0 {
		p.note(about(cluster.Host, host.MemberRef(p.Options.Name), "the stored endpoint changes: "+strings.Join(changes, ", "), ""))
	}
}

func setDefault(labels map[string]string, key, value string) {
	if _, given := labels[key]; !given && value != "" {
		labels[key] = value
	}
}

// wanted is the membership record as this join writes it. The member's UID is known once the MemberCluster exists.
func (p *JoinPlan) wanted() member.Membership {
	k := member.Membership{Federation: p.Options.Federation, HostID: p.facts.Host.ID, Member: p.Options.Name, TakenFrom: p.takenFrom, RequestedBy: p.Options.RequestedBy}
	if m := p.facts.Host.Member; m != nil {
		k.MemberUID = m.UID
	}
	if p.sent != nil || p.facts.Member.Membership == nil { // what this run makes, it may have to roll back
		k.Attempt = p.facts.Attempt.String()
	}
	// A join that runs again need not know which object asked for the membership.
	if standing := p.facts.Member.Membership; standing != nil && k.RequestedBy == (command.Object{}) && sameMembership(standing, k) {
		k.RequestedBy = standing.RequestedBy
	}
	return k
}

// planMember plans everything on the member but the token and what follows it.
func (p *JoinPlan) planMember() []Finding {
	f := p.facts.Member
	namespace := Step{Side: cluster.Member, Verb: VerbUnchanged, Object: member.NamespaceRef(), phase: phaseNamespace, live: f.Namespace, undo: p.undoNamespace, undoLast: true}
	planned := f.Namespace == nil
	if planned {
		namespace.Verb, namespace.Manifest, namespace.posted, namespace.do = VerbCreate, member.NamespaceManifest(), true, p.makeNamespace
	}
	p.step(namespace)
	p.planMembership(planned)
	p.planEviction()
	p.planServicesEnd()

	var against []Finding
	for _, o := range p.grants.BaseObjects() {
		against = append(against, p.planObject(o, phaseBase, planned)...)
	}
	p.planPolicy()
	if p.grants.Properties {
		id := member.Property(v1alpha1.PropertyClusterID, string(f.ID), p.Options.Federation)
		against = append(against, p.planObject(id, phaseBase, planned)...)
	}
	if p.takenFrom != "" {
		p.step(Step{Side: cluster.Member, Verb: VerbUpdate, Object: member.MembershipRef(), Note: "nothing of " + p.evicted() + " is left", phase: phaseBinding, do: p.endTakeOver})
	}
	for _, o := range p.grants.Bindings() {
		if !p.noteNamespace(o) {
			against = append(against, p.planObject(o, phaseBinding, planned)...)
		}
	}
	if p.grants.AccessRole == "" {
		// The Federation gave access once, and gives none now.
		for _, ref := range member.ConsumerRefs() {
			if live := p.facts.Member.Objects[ref]; live != nil && member.ByJoin(live) {
				p.step(Step{Side: cluster.Member, Verb: VerbDelete, Object: ref, Note: "the federation gives no access", phase: phaseBinding, live: live,
					do: func(ctx context.Context) error { return p.delete(ctx, ref, live) }})
			}
		}
	}
	return against
}

// planMembership plans the membership record.
func (p *JoinPlan) planMembership(planned bool) {
	k, standing := p.wanted(), p.facts.Member.Membership
	s := Step{Side: cluster.Member, Verb: VerbCreate, Object: member.MembershipRef(), Planned: planned, Manifest: k.Manifest(), phase: phaseMembership, posted: true,
		do: p.takeMembership, undo: p.undoMembership, undoLast: true}
	if standing != nil {
		s.Verb, s.live = VerbUpdate, standing.Manifest()
		switch {
		case standing.HostID == k.HostID && standing.Federation != k.Federation:
			s.Note = fmt.Sprintf("was in federation %q", standing.Federation)
		case standing.HostID != k.HostID:
			s.Note = fmt.Sprintf("was member %q of federation %q of the host with cluster ID %s", standing.Member, standing.Federation, standing.HostID)
		case k.MemberUID != "" && standing.MemberUID == k.MemberUID:
			s.Verb, s.Manifest, s.do = VerbUnchanged, nil, nil
		default:
			s.Note = "left by an earlier membership of this name"
		}
	}
	p.step(s)
}

// notByJoin refuses to touch an object that has the name of one that a join creates.
func notByJoin(ref cluster.Ref) []Finding {
	return []Finding{about(cluster.Member, ref, "already exists and was not created by kubectl federate (it lacks the label "+v1alpha1.LabelManagedBy+"="+v1alpha1.ManagedByJoin+")",
		"find out who uses it, then delete or rename it")}
}

// judgeForeign says what stands against an object that others created under the name of o. A ClusterProperty with another
// value puts the cluster into another set; one with the same value may stay.
func judgeForeign(o member.Object, live *unstructured.Unstructured) []Finding {
	switch {
	case o.StandsFor(live):
		return nil
	case o.Ref.Resource != cluster.ClusterProperties:
		return notByJoin(o.Ref)
	}
	value, _, _ := unstructured.NestedString(live.Object, "spec", "value")
	want, _, _ := unstructured.NestedString(o.Manifest.Object, "spec", "value")
	return []Finding{about(cluster.Member, o.Ref, fmt.Sprintf("has the value %q, which kubectl federate did not set (this join would set %q): the cluster belongs to another ClusterSet", value, want),
		"remove it from that set first")}
}

// planObject plans one object on the member: it is written if it differs, and undone only where this join creates it.
func (p *JoinPlan) planObject(o member.Object, at phase, planned bool) []Finding {
	live := p.facts.Member.Objects[o.Ref]
	s := Step{Side: cluster.Member, Verb: VerbUpdate, Object: o.Ref, Planned: planned && o.Ref.Namespace == v1alpha1.MemberNamespace, Manifest: o.Manifest, phase: at, live: live}
	switch {
	case live == nil:
		s.Verb = VerbCreate
	case !member.ByJoin(live):
		if against := judgeForeign(o, live); len(against) > 0 {
			return against
		}
		s.Verb, s.Manifest, s.Note = VerbKeep, nil, "not made by kubectl federate, with the same content"
	case cluster.Covers(live.Object, o.Manifest.Object):
		s.Verb, s.Manifest = VerbUnchanged, nil
	case o.Manifest.Object["roleRef"] != nil && !cluster.Covers(live.Object["roleRef"], o.Manifest.Object["roleRef"]):
		s.Verb = VerbReplace
	}
	if !s.silent() {
		s.do = func(ctx context.Context) error { return p.write(ctx, s) }
	}
	if s.Verb == VerbCreate {
		s.undo = func(ctx context.Context) error { return p.member.Remove(ctx, s.Object, cluster.Preconditions{}) }
	}
	p.step(s)
	return nil
}

// planPolicy plans the policy that holds the host's account to tokens that can be revoked. A join goes on without it.
func (p *JoinPlan) planPolicy() {
	switch f := p.facts.Member; {
	case f.PoliciesDenied:
		p.noteWithoutPolicy("you are not allowed to get " + member.PolicyRefs()[1].Resource.GroupResource().String())
		return
	case !f.Policies:
		p.noteWithoutPolicy("Kubernetes " + f.Version + " serves no ValidatingAdmissionPolicies")
		return
	}
	before := len(p.Steps)
	for _, o := range p.grants.Policy() {
		if against := p.planObject(o, phaseBase, false); len(against) > 0 {
			p.Steps = p.Steps[:before]
			p.noteWithoutPolicy(o.Ref.String() + " was not made by kubectl federate and differs from what this join would make")
			return
		}
	}
	for _, s := range p.Steps[before:] {
		if lacks := missingOf(cluster.Member, p.facts.MemberLacks, s.rights()); len(lacks) > 0 {
			p.Steps = p.Steps[:before]
			p.noteWithoutPolicy("you are not allowed to " + lacks[0].right.String())
			return
		}
	}
}

// noteWithoutPolicy warns that no policy limits the tokens of the host's account.
func (p *JoinPlan) noteWithoutPolicy(why string) {
	p.note(Finding{Side: cluster.Member, Cause: "a stolen token of the host can be exchanged for one that lives for years, since " + why,
		Remedy: "rotate and unjoin end all of them"})
}

// given are the rights whose lack explains that a member refuses to give rights away.
func (p *JoinPlan) given() []cluster.Right {
	rights := p.grants.Given()
	if p.grants.AccessRole != "" {
		rights = append(rights, p.accessRight())
	}
	return rights
}

func (p *JoinPlan) accessRight() cluster.Right {
	return cluster.Right{Verb: "bind", Resource: cluster.ClusterRoles, Name: p.grants.AccessRole}
}

// escalates says what to do when a member does not let the caller give rights away; empty where that is not why it refuses.
func (p *JoinPlan) escalates(s Step) string {
	lacked := func(r cluster.Right) bool { return slices.Contains(p.facts.MemberLacks, r) }
	gives := s.Object.Resource.Group == cluster.Roles.Group && slices.ContainsFunc(p.grants.Given(), lacked)
	if s.Object == member.ConsumerRefs()[0] {
		gives = lacked(p.accessRight())
	}
	if !gives {
		return ""
	}
	return "Kubernetes does not let you grant rights that you do not hold: join as an administrator of the member"
}

// planCredential plans the credential, its trial, and the record of the join.
func (p *JoinPlan) planCredential() (against []Finding) {
	o, f := p.Options, p.facts
	p.binding.Ref = f.Member.Binding()
	if live := f.Member.Objects[p.binding.Ref]; live != nil {
		p.binding.UID = live.GetUID()
	}
	account := member.ManagerAccountRef()
	p.step(Step{Side: cluster.Member, Verb: VerbRequest, Object: account, Planned: f.Member.Namespace == nil, live: f.Member.Objects[account], boundTo: f.Member.Objects[p.binding.Ref],
		Note: "a token for " + short(o.lifetime()) + ", bound to " + p.binding.Ref.String(), phase: phaseBinding, do: p.requestToken})
	record := &v1alpha1.MemberCluster{}
	record.Name, record.Labels = string(o.Name), map[string]string{v1alpha1.LabelFederation: string(o.Federation)}
	record.Spec.Discovered = o.Discovered
	if m := f.Host.Member; m != nil {
		record.UID, record.Spec.Discovered = m.UID, m.Spec.Discovered
	}
	p.step(Step{Side: cluster.Host, Verb: VerbStore, Object: host.CredentialRef(o.Name), Manifest: host.CredentialManifest(record), phase: phaseCredential,
		do: p.storeCredential, undo: p.undoCredential})
	if p.grants.Properties && p.accepted() {
		set := member.Property(v1alpha1.PropertyClusterSet, string(o.Federation), o.Federation)
		against = p.planObject(set, phaseCredential, false)
	}
	p.step(Step{Side: cluster.Member, Verb: VerbTry, Note: "the stored credential at " + f.Endpoint.Server, phase: phaseTrial, do: p.confirm})
	if p.sent == nil {
		return against
	}
	p.step(Step{Side: cluster.Host, Verb: VerbUpdate, Object: host.MemberRef(o.Name), Note: "who joined it, and when", phase: phaseJoined, do: p.recordJoin})
	if f.CanCreateEvents {
		p.step(Step{Side: cluster.Host, Verb: VerbCreate, Object: cluster.Ref{Resource: cluster.Events, Namespace: "default", Name: string(o.Name)}, phase: phaseJoined, do: p.writeEvent})
	}
	return against
}

// ask lets both servers judge, by dry runs, all that the join writes. What it cannot do without the policy is reported in a note.
func (p *JoinPlan) ask(ctx context.Context) ([]Finding, error) {
	var questions []question
	if !p.blocked {
		questions = p.hostQuestions()
	}
	findings, others, err := answers(ctx, append(questions, p.questions(p.facts.MemberLacks, p.escalates)...))
	if p.Options.DryRun == cluster.DryRunServer {
		p.noteElsewhere(others)
	}
	var against []Finding
	for _, f := range findings {
		ofPolicy := func(ref cluster.Ref) bool { return ref.String() == f.Object }
		if !slices.ContainsFunc(member.PolicyRefs(), ofPolicy) {
			against = append(against, f)
			continue
		}
		if p.dropPolicy() {
			p.noteWithoutPolicy(f.Cause)
		}
	}
	return against, err
}

// noteElsewhere notes what no server could judge.
func (p *JoinPlan) noteElsewhere(refused []Finding) {
	for _, f := range refused {
		f.Cause, f.Remedy = fmt.Sprintf("cannot be judged yet; in namespace %q it is refused: %s", judgeNamespaces[0], f.Cause), ""
		p.note(f)
	}
}

// dropPolicy leaves the policy out of the plan, and says whether it was there.
func (p *JoinPlan) dropPolicy() bool {
	before := len(p.Steps)
	p.Steps = slices.DeleteFunc(p.Steps, func(s Step) bool { return slices.Contains(member.PolicyRefs(), s.Object) })
	return len(p.Steps) < before
}

// hostQuestions are those about the MemberCluster and its credential.
func (p *JoinPlan) hostQuestions() []question {
	o, dry := p.Options, cluster.DryRunServer
	record := p.creates
	if record == nil {
		record = p.facts.Host.Member
	}
	return []question{
		{about: host.MemberRef(o.Name), ask: p.askLeave},
		{about: host.MemberRef(o.Name), ask: func(ctx context.Context) error {
			if p.sent == nil {
				return nil
			}
			if p.creates == nil {
				_, err := p.host.PatchMember(ctx, o.Name, p.sent.Object, dry)
				return err
			}
			_, err := p.host.PostMember(ctx, p.sent, dry)
			if apierrors.IsAlreadyExists(err) {
				return nil // since it was read; applying looks at what there is then
			}
			return err
		}},
		{about: host.CredentialRef(o.Name), ask: func(ctx context.Context) error { return p.host.JudgeCredential(ctx, record) }},
	}
}
