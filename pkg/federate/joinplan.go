package federate

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// JoinPlan is what a join will do.
type JoinPlan struct {
	Options JoinOptions
	Steps   []Step
	// Notes are what a person should know and what does not stand against the join.
	Notes []Finding

	host   *host.Cluster
	member *member.Cluster
	facts  joinFacts
	grants member.Grants
	// record is the MemberCluster as it is posted; patch is what changes when it exists.
	record *v1alpha1.MemberCluster
	patch  map[string]any
	// stamped says that this run's attempt is on the MemberCluster once the plan is applied.
	stamped bool
	// takenFrom is the host from which this join takes the cluster over; empty when it does not.
	takenFrom v1alpha1.ClusterID
	// blocked are the findings that make asking the servers pointless.
	blocked []Finding
}

// Text is the plan with one line per step.
func (p *JoinPlan) Text() string { return text(p.Steps) }

// Objects are what the plan writes, in order. The credential is there without its content.
func (p *JoinPlan) Objects() []*unstructured.Unstructured { return objects(p.Steps) }

// Already says that nothing but the credential has to change.
func (p *JoinPlan) Already() bool {
	return !slices.ContainsFunc(p.Steps, func(s Step) bool {
		return !s.silent() && s.stage < stageCredential && s.Verb != VerbRequest ||
			s.stage == stageCredential && s.Side == SideMember && !s.silent()
	})
}

// planJoin makes the plan and says what stands against it. It is pure.
func planJoin(f joinFacts, o JoinOptions) (*JoinPlan, []Finding) {
	p := &JoinPlan{Options: o, facts: f, grants: f.grants(), takenFrom: takenFrom(f, o)}
	var against []Finding
	add := func(findings ...Finding) { against = append(against, findings...) }

	rights, notes := judgeRights(f)
	add(rights...)
	p.Notes = append(p.Notes, notes...)
	p.blocked = rights

	endpointAgainst, notes := f.Endpoint.judge(f.Host.Federation, f.Tried)
	add(endpointAgainst...)
	if f.EndpointRefused {
		add(f.Endpoint.judgeProxy())
	}
	p.Notes = append(p.Notes, notes...)
	if o.DryRun == DryRunClient {
		p.Notes = append(p.Notes, f.Endpoint.loopback(f.HostServer)...)
	}

	add(judgeMember(f, o)...)
	add(judgeLifetime(o.lifetime())...)
	add(p.judgeEviction()...)
	if f.Host.ID != "" && f.Host.ID == f.Member.ID {
		p.Notes = append(p.Notes, Finding{Side: SideMember, Cause: "host and member are one and the same cluster"})
	}
	if fed := f.Host.Federation; fed != nil && fed.Spec.Acceptance == v1alpha1.AcceptManual && !p.accepted() {
		p.Notes = append(p.Notes, Finding{Side: SideHost, Object: "Federation " + cluster.Quoted(fed.Name), Cause: "accepts members by hand, so this one stays Pending",
			Remedy: "kubectl federate approve " + string(o.Name)})
	}

	recordFindings := p.planRecord()
	add(recordFindings...)
	p.blocked = append(p.blocked, recordFindings...)
	add(p.planMember()...)
	add(p.planRest()...)
	return p, against
}

// accepted says whether the cluster is a member as soon as it has joined.
func (p *JoinPlan) accepted() bool {
	fed, m := p.facts.Host.Federation, p.facts.Host.Member
	return fed == nil || fed.Spec.Acceptance != v1alpha1.AcceptManual || m != nil && m.Spec.Accepted
}

// judgeNames refuses names that no server takes, before any is asked: a name with a slash would ask for
// something else.
func judgeNames(o JoinOptions) []Finding {
	return append(judgeName(cluster.MemberClusters, string(o.Name)), judgeName(cluster.Federations, string(o.Federation))...)
}

func judgeName(r cluster.Resource, name string) []Finding {
	if len(validation.IsDNS1123Label(name)) == 0 {
		return nil
	}
	return []Finding{{Side: SideHost, Object: r.Kind + " " + cluster.Quoted(name),
		Cause: "the name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit"}}
}

func judgeRights(f joinFacts) (against, notes []Finding) {
	for _, m := range slices.Concat(f.HostMissing, f.MemberMissing) {
		finding := Finding{Side: m.side, Cause: "you have no right to " + m.right.String()}
		if m.right.Verb == v1alpha1.VerbJoin {
			finding.Remedy = "an administrator of the federation gives it"
		}
		against = append(against, finding)
	}
	if len(against) > 0 {
		return against, nil
	}
	var lacking []string
	for _, m := range f.UndoMissing {
		lacking = append(lacking, string(m.side)+": "+m.right.String())
	}
	if len(lacking) > 0 {
		notes = append(notes, Finding{Cause: "should the join fail halfway, not all of it can be rolled back, since you have no right to: " + strings.Join(lacking, "; ")})
	}
	return nil, notes
}

// oldestMember is the oldest Kubernetes that can be a member.
const oldestMember = "1.24.0"

// judgeMember is what the member told: its version, and whose it is.
func judgeMember(f joinFacts, o JoinOptions) []Finding {
	var against []Finding
	if v, err := version.ParseGeneric(f.Member.Version); err == nil && v.LessThan(version.MustParseGeneric(oldestMember)) {
		against = append(against, Finding{Side: SideMember, Cause: fmt.Sprintf("runs Kubernetes %s; members need at least 1.24", f.Member.Version), Remedy: "upgrade it first"})
	}
	if k := f.Member.Membership; k != nil {
		against = append(against, judgeMembership(k, f, o)...)
	}
	return against
}

// judgeMembership says what stands against taking the cluster that carries the membership record k.
func judgeMembership(k *member.Membership, f joinFacts, o JoinOptions) []Finding {
	object := member.MembershipRef().String()
	switch {
	case k.HostID != f.Host.ID && f.Host.ID != "":
		if o.TakeOver {
			return nil
		}
		return []Finding{{Side: SideMember, Object: object,
			Cause: fmt.Sprintf("this cluster is member %q of federation %q of another host (cluster ID %s, this one has %s)", k.Member, k.Federation, k.HostID, f.Host.ID),
			Remedy: "let it leave there first: " + unjoinCommand(k.Member, o.MemberContext) + " --context OTHER-HOST; or, if that host is gone for good: " +
				o.takingOver().command()}}
	case o.TakeOver && (k.Federation != o.Federation || k.Member != o.Name):
		return []Finding{{Side: SideMember, Object: object,
			Cause:  fmt.Sprintf("this cluster is member %q of federation %q of this host, which is not gone: there is nothing to take over", k.Member, k.Federation),
			Remedy: "let it leave first: " + unjoinCommand(k.Member, o.MemberContext)}}
	case k.Federation != o.Federation || k.Member != o.Name:
		return []Finding{{Side: SideMember, Object: object,
			Cause:  fmt.Sprintf("this cluster is member %q of federation %q of this host", k.Member, k.Federation),
			Remedy: "let it leave first: " + unjoinCommand(k.Member, o.MemberContext)}}
	}
	return nil
}

// planRecord plans the MemberCluster.
func (p *JoinPlan) planRecord() []Finding {
	f, o := p.facts, p.Options
	ref := host.MemberRef(o.Name)
	labels := map[string]string{}
	maps.Copy(labels, o.Labels)
	labels[v1alpha1.LabelFederation] = string(o.Federation)
	facts := &v1alpha1.JoinFacts{KubernetesVersion: f.Member.Version, Regions: f.Member.Regions, Zones: f.Member.Zones}

	existing := f.Host.Member
	if existing == nil {
		setDefault(labels, "topology.kubernetes.io/region", f.Member.Region)
		setDefault(labels, "topology.kubernetes.io/zone", f.Member.Zone)
		p.record = &v1alpha1.MemberCluster{
			Spec: v1alpha1.MemberClusterSpec{
				ClusterID: string(f.Member.ID), Server: f.Endpoint.Server, CABundle: f.Endpoint.CABundle,
				ProxyURL: f.Endpoint.ProxyURL, InsecureSkipTLSVerify: f.Endpoint.Insecure, JoinedWith: facts,
			},
		}
		p.record.Name, p.record.Labels = string(o.Name), labels
		p.record.Annotations = map[string]string{v1alpha1.AnnotationAttempt: f.Attempt.String()}
		p.stamped = true
		manifest, err := cluster.ToUnstructured(cluster.MemberClusters, p.record)
		if err != nil {
			return []Finding{{Side: SideHost, Object: ref.String(), Cause: err.Error()}}
		}
		p.step(Step{Side: SideHost, Verb: VerbCreate, Object: ref, Manifest: manifest, stage: stageRecord})
		return nil
	}

	if existing.Spec.ClusterID != string(f.Member.ID) && f.Member.ID != "" {
		return []Finding{{Side: SideHost, Object: ref.String(),
			Cause:  fmt.Sprintf("the name is taken by another cluster (ID %s, this one has %s)", existing.Spec.ClusterID, f.Member.ID),
			Remedy: "join under another name, or let that one leave first: " + unjoinCommand(o.Name, "")}}
	}
	if existing.Federation() != o.Federation {
		return []Finding{{Side: SideHost, Object: ref.String(),
			Cause:  fmt.Sprintf("this cluster is in federation %q", existing.Federation()),
			Remedy: "a cluster leaves before it joins another: " + unjoinCommand(o.Name, o.MemberContext)}}
	}
	p.patch = changes(existing, labels, f.Endpoint, facts)
	standing := existing.Annotations[v1alpha1.AnnotationAttempt]
	joinedBefore := existing.Annotations[v1alpha1.AnnotationJoinedBy] != ""
	if standing != "" || !joinedBefore || len(p.patch) > 0 || p.takenFrom != "" {
		p.stamped = true
	}
	verb, note := VerbUnchanged, ""
	if p.stamped {
		verb, note = VerbUpdate, p.describe()
		metadata, _ := p.patch["metadata"].(map[string]any)
		if metadata == nil {
			metadata = map[string]any{}
			p.patch["metadata"] = metadata
		}
		metadata["annotations"] = map[string]any{v1alpha1.AnnotationAttempt: f.Attempt.String()}
	}
	s := Step{Side: SideHost, Verb: verb, Object: ref, Note: note, stage: stageRecord}
	if p.stamped {
		s.Manifest = ref.Resource.New("", ref.Name)
		maps.Copy(s.Manifest.Object, map[string]any{"metadata": merged(map[string]any{"name": ref.Name}, p.patch["metadata"])})
		if spec, ok := p.patch["spec"]; ok {
			s.Manifest.Object["spec"] = spec
		}
		s.Manifest = s.Manifest.DeepCopy()
	}
	p.step(s)
	return nil
}

func merged(into map[string]any, from any) map[string]any {
	if from, ok := from.(map[string]any); ok {
		maps.Copy(into, from)
	}
	return into
}

// describe names what a patch changes, for people.
func (p *JoinPlan) describe() string {
	var what []string
	if spec, ok := p.patch["spec"].(map[string]any); ok {
		what = slices.Sorted(maps.Keys(spec))
	}
	if metadata, ok := p.patch["metadata"].(map[string]any); ok {
		if labels, ok := metadata["labels"].(map[string]any); ok {
			for _, k := range slices.Sorted(maps.Keys(labels)) {
				what = append(what, "label "+k)
			}
		}
	}
	return strings.Join(what, ", ")
}

// changes are the fields of an existing member that a join sets anew, as a merge patch. Labels that the
// caller did not name stay as they are.
func changes(m *v1alpha1.MemberCluster, labels map[string]string, e endpoint, facts *v1alpha1.JoinFacts) map[string]any {
	patch, spec, set := map[string]any{}, map[string]any{}, map[string]any{}
	for k, v := range labels {
		if m.Labels[k] != v {
			set[k] = v
		}
	}
	if m.Spec.Server != e.Server {
		spec["server"] = e.Server
	}
	if string(m.Spec.CABundle) != string(e.CABundle) {
		spec["caBundle"] = orNull(len(e.CABundle) > 0, base64Of(e.CABundle))
	}
	if m.Spec.ProxyURL != e.ProxyURL {
		spec["proxyURL"] = orNull(e.ProxyURL != "", e.ProxyURL)
	}
	if m.Spec.InsecureSkipTLSVerify != e.Insecure {
		spec["insecureSkipTLSVerify"] = orNull(e.Insecure, e.Insecure)
	}
	if m.Spec.JoinedWith == nil {
		joinedWith := map[string]any{}
		if facts.KubernetesVersion != "" {
			joinedWith["kubernetesVersion"] = facts.KubernetesVersion
		}
		if len(facts.Regions) > 0 {
			joinedWith["regions"] = anys(facts.Regions)
		}
		if len(facts.Zones) > 0 {
			joinedWith["zones"] = anys(facts.Zones)
		}
		spec["joinedWith"] = joinedWith
	}
	if len(set) > 0 {
		patch["metadata"] = map[string]any{"labels": set}
	}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return patch
}

func orNull(set bool, v any) any {
	if !set {
		return nil
	}
	return v
}

func anys(s []string) []any {
	out := make([]any, len(s))
	for i := range s {
		out[i] = s[i]
	}
	return out
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func setDefault(labels map[string]string, key, value string) {
	if _, given := labels[key]; !given && value != "" {
		labels[key] = value
	}
}

func (p *JoinPlan) step(s Step) { p.Steps = append(p.Steps, s) }

// membership is the membership record as this join writes it. The member's UID is known once the record is made.
func (p *JoinPlan) membership() member.Membership {
	k := member.Membership{Federation: p.Options.Federation, HostID: p.facts.Host.ID, Member: p.Options.Name, TakenFrom: p.takenFrom, RequestedBy: p.Options.RequestedBy}
	if m := p.facts.Host.Member; m != nil {
		k.MemberUID = m.UID
	}
	if p.stamped || p.facts.Member.Membership == nil { // what this run makes, it may have to roll back
		k.Attempt = p.facts.Attempt.String()
	}
	// Whoever joins it again need not know who asked for it.
	if standing := p.facts.Member.Membership; standing != nil && k.RequestedBy == (command.Object{}) && sameMembership(standing, k) {
		k.RequestedBy = standing.RequestedBy
	}
	return k
}

// planMember plans everything on the member but the token and what follows it.
func (p *JoinPlan) planMember() []Finding {
	f := p.facts
	var against []Finding
	planned := f.Member.Namespace == nil
	if planned {
		p.step(Step{Side: SideMember, Verb: VerbCreate, Object: member.NamespaceRef(), Manifest: member.NamespaceManifest(), stage: stageNamespace})
	} else {
		p.step(Step{Side: SideMember, Verb: VerbUnchanged, Object: member.NamespaceRef(), stage: stageNamespace, live: f.Member.Namespace})
	}

	k := p.membership()
	membership := Step{Side: SideMember, Verb: VerbCreate, Object: member.MembershipRef(), Planned: planned, Manifest: k.Manifest(), stage: stageMembership}
	if standing := f.Member.Membership; standing != nil {
		membership.Verb, membership.live = VerbUpdate, standing.Manifest()
		if k.MemberUID != "" && standing.MemberUID == k.MemberUID && standing.HostID == k.HostID {
			membership.Verb = VerbUnchanged
			membership.Manifest = nil
		} else {
			membership.Note = "left by an earlier membership of this name"
		}
		if standing.HostID != k.HostID {
			membership.Note = fmt.Sprintf("was member %q of federation %q of the host with cluster ID %s", standing.Member, standing.Federation, standing.HostID)
		}
	}
	p.step(membership)
	p.planEviction()

	for _, o := range p.grants.BaseObjects() {
		against = append(against, p.planObject(o, stageBase, planned)...)
	}
	if p.grants.Properties {
		id := member.Property(v1alpha1.PropertyClusterID, string(f.Member.ID), p.Options.Federation)
		against = append(against, p.planProperty(id, stageBase)...)
	}
	if p.takenFrom != "" {
		p.step(Step{Side: SideMember, Verb: VerbUpdate, Object: member.MembershipRef(), Note: "nothing of the other host is left", stage: stageBinding})
	}
	for _, o := range p.grants.Bindings() {
		against = append(against, p.planObject(o, stageBinding, planned)...)
	}
	if p.grants.AccessRole == "" {
		// The Federation gave access once, and gives none now.
		for _, ref := range member.ConsumerRefs() {
			if live := p.facts.Member.Objects[ref]; live != nil && managed(live) {
				p.step(Step{Side: SideMember, Verb: VerbDelete, Object: ref, Note: "the federation gives no access", stage: stageBinding, live: live})
			}
		}
	}
	return against
}

func managed(o *unstructured.Unstructured) bool {
	return o.GetLabels()[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByJoin
}

// planObject plans one account, role, binding or Secret.
func (p *JoinPlan) planObject(o member.Object, at stage, planned bool) []Finding {
	live := p.facts.Member.Objects[o.Ref]
	s := Step{Side: SideMember, Verb: VerbCreate, Object: o.Ref, Planned: planned && o.Ref.Namespace != "", Manifest: o.Manifest, stage: at, live: live}
	if live != nil {
		switch {
		case !managed(live):
			return []Finding{{Side: SideMember, Object: o.Ref.String(),
				Cause:  "is there already and not ours (it lacks the label " + v1alpha1.LabelManagedBy + "=" + v1alpha1.ManagedByJoin + ")",
				Remedy: "see whose it is, then delete or rename it"}}
		case cluster.Covers(live.Object, o.Manifest.Object):
			s.Verb, s.Manifest = VerbUnchanged, nil
		case o.Manifest.Object["roleRef"] != nil && !cluster.Covers(live.Object["roleRef"], o.Manifest.Object["roleRef"]):
			s.Verb = VerbReplace
		default:
			s.Verb = VerbUpdate
		}
	}
	p.step(s)
	return nil
}

// planProperty plans one ClusterProperty. One that is there without our label is somebody else's: it is left
// alone when it says the same, and the cluster is in another set when it does not.
func (p *JoinPlan) planProperty(o member.Object, at stage) []Finding {
	live := p.facts.Member.Objects[o.Ref]
	s := Step{Side: SideMember, Verb: VerbCreate, Object: o.Ref, Manifest: o.Manifest, stage: at, live: live}
	if live != nil {
		_, ours := live.GetLabels()[v1alpha1.LabelFederation]
		same := cluster.Covers(live.Object["spec"], o.Manifest.Object["spec"])
		switch {
		case !ours && !same:
			value, _, _ := unstructured.NestedString(live.Object, "spec", "value")
			want, _, _ := unstructured.NestedString(o.Manifest.Object, "spec", "value")
			return []Finding{{Side: SideMember, Object: o.Ref.String(),
				Cause:  fmt.Sprintf("is %q, set by somebody else (this join would set %q): the cluster belongs to another ClusterSet", value, want),
				Remedy: "let it leave that set first"}}
		case !ours:
			s.Verb, s.Manifest, s.Note = VerbKeep, nil, "somebody else's, with the same value"
		case cluster.Covers(live.Object, o.Manifest.Object):
			s.Verb, s.Manifest = VerbUnchanged, nil
		default:
			s.Verb = VerbUpdate
		}
	}
	p.step(s)
	return nil
}

// planRest plans the credential, its proof, and the word that it is done.
func (p *JoinPlan) planRest() []Finding {
	o, f := p.Options, p.facts
	var against []Finding
	name := host.MemberRef(o.Name)
	p.step(Step{Side: SideMember, Verb: VerbRequest, Object: member.ManagerAccountRef(), Planned: f.Member.Namespace == nil,
		Note: "a token for " + short(o.lifetime()) + ", bound to " + f.Member.Binding().String(), stage: stageBinding})
	record := &v1alpha1.MemberCluster{}
	record.Name, record.Labels = string(o.Name), map[string]string{v1alpha1.LabelFederation: string(o.Federation)}
	if f.Host.Member != nil {
		record.UID = f.Host.Member.UID
	}
	p.step(Step{Side: SideHost, Verb: VerbStore, Object: host.CredentialRef(o.Name), Manifest: host.CredentialManifest(record), stage: stageCredential})
	if p.grants.Properties && p.accepted() {
		set := member.Property(v1alpha1.PropertyClusterSet, string(o.Federation), o.Federation)
		against = p.planProperty(set, stageCredential)
	}
	p.step(Step{Side: SideMember, Verb: VerbTry, Note: "the stored credential at " + f.Endpoint.Server, stage: stageProof})
	if f.Host.Member == nil || f.Host.Member.Annotations[v1alpha1.AnnotationJoinedBy] == "" || p.stamped {
		p.step(Step{Side: SideHost, Verb: VerbUpdate, Object: name, Note: "who joined it, and when", stage: stageDone})
		if f.CanCreateEvents {
			p.step(Step{Side: SideHost, Verb: VerbCreate, Object: cluster.Ref{Resource: cluster.Events, Namespace: "default", Name: string(o.Name)}, stage: stageDone})
		}
	}
	return against
}

// ask lets the servers judge, with dry runs: the host the MemberCluster, the member every right that the join
// gives away.
func (p *JoinPlan) ask(ctx context.Context) ([]Finding, error) {
	dry := cluster.DryRunServer
	work := []func() error{
		func() error {
			if p.record != nil {
				_, err := p.host.CreateMember(ctx, p.record, dry)
				if apierrors.IsAlreadyExists(err) {
					return nil // since it was read; applying looks at what there is then
				}
				return err
			}
			if !p.stamped {
				return nil
			}
			_, err := p.host.PatchMember(ctx, p.Options.Name, p.patch, dry)
			return err
		},
		func() error {
			probe := p.grants.EscalationProbe()
			_, err := p.member.Apply(ctx, probe.Ref.Resource, probe.Manifest, dry)
			return err
		},
		func() error {
			probe := p.grants.AccessProbe()
			if probe == nil {
				return nil
			}
			if live := p.facts.Member.Objects[probe.Ref]; live != nil {
				return nil // an existing binding is judged when it is replaced: its role cannot be changed
			}
			if p.evicts(probe.Ref) {
				// As it stands, it binds the other host's role for ever.
				probe.Manifest.SetName(probe.Ref.Name + ":probe")
			}
			_, err := p.member.Apply(ctx, probe.Ref.Resource, probe.Manifest, dry)
			return err
		},
	}
	errs := cluster.Together(work...)
	var findings []Finding
	var failed []error
	for i, err := range errs {
		switch {
		case err == nil:
		case isRefused(err) && i == 0:
			findings = append(findings, findingsOf(err)...)
		case isRefused(err) || cluster.IsAbsent(err):
			for _, f := range findingsOf(err) {
				f.Remedy = "Kubernetes lets nobody give rights that they do not hold: join as an administrator of the member"
				findings = append(findings, f)
			}
		default:
			failed = append(failed, err)
		}
	}
	return findings, bothSides(failed)
}
