package journal

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Kind of the object that an entry writes.
type Kind string

// Kinds.
const (
	Member     Kind = "member"
	Federation Kind = "federation"
)

// Entry is one admitted write that perhaps not every replica has seen.
type Entry struct {
	// Number counts the entries that ever were.
	Number int64     `json:"number"`
	Kind   Kind      `json:"kind"`
	Name   string    `json:"name"`
	UID    types.UID `json:"uid"`
	// Request is of the one decision that wrote the entry. An object may be written by several at one time.
	Request types.UID `json:"request"`
	// After is the resourceVersion that an update or a deletion was judged upon; 0 for a create.
	After uint64 `json:"after,omitempty"`
	// At is when it was admitted, for people: nothing is judged by it.
	At metav1.Time `json:"at"`
	// Seen says that a replica has seen the object.
	Seen bool `json:"seen,omitempty"`
	// Member is what other decisions read of a member. What a Federation will be is not kept: while it changes,
	// decisions that read it wait.
	Member *MemberEntry `json:"member,omitempty"`
}

// MemberEntry is what uniqueness and limits read of a member.
type MemberEntry struct {
	Federation v1alpha1.FederationName `json:"federation"`
	ClusterID  v1alpha1.ClusterID      `json:"clusterID"`
	// Labels are those that the federation has limits for.
	Labels map[string]string `json:"labels,omitempty"`
}

// object is the one that the entry writes.
func (e *Entry) object() objectKey { return objectKey{named{e.Kind, e.Name}, e.UID} }

// federation is the one whose share of the journal the entry takes.
func (e *Entry) federation() v1alpha1.FederationName {
	if e.Member != nil {
		return e.Member.Federation
	}
	return v1alpha1.FederationName(e.Name)
}

// member is as much as is known of the member as it will be.
func (e *Entry) member() *v1alpha1.MemberCluster {
	m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: e.Name, UID: e.UID, Labels: maps.Clone(e.Member.Labels)}}
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	m.Labels[v1alpha1.LabelFederation] = string(e.Member.Federation)
	m.Spec.ClusterID = string(e.Member.ClusterID)
	return m
}

// State is the content of the journal.
type State struct {
	// Writes counts how often the journal was written, and Marks has four random digits of each of the last of these writes: a
	// journal that lacks what was read of it is that of a host which was restored from a backup, however many writes it has
	// had since.
	Writes int64  `json:"writes"`
	Marks  string `json:"marks,omitempty"`
	// Last is the number of the newest entry that ever was.
	Last int64 `json:"last"`
	// Dropped is the number of the newest entry that was dropped after it had been seen: a replica that had not read the
	// journal up to it has missed something.
	Dropped int64 `json:"dropped"`
	// Replicas are the replicas of the manager that wrote the journal, the last writer last.
	Replicas []string `json:"replicas,omitempty"`
	Entries  []Entry  `json:"entries"`
}

// with is the state with an entry more. The state is not changed.
func (s State) with(e Entry) State {
	if slices.ContainsFunc(s.Entries, func(other Entry) bool { return other.Request == e.Request }) {
		// An Update whose answer was lost has been made.
		return s
	}
	s.Last++
	e.Number = s.Last
	s.Entries = append(slices.Clip(s.Entries), e)
	return s
}

// maxReplicas is how many writers the journal remembers. More than two are there while a new version is rolled out.
const maxReplicas = 4

const (
	// markLength is the number of digits of a mark.
	markLength = 4
	// maxMarks is how many writes have their mark, more than others make while a replica reads the journal once.
	maxMarks = 256
)

// mark is that of the last write, and empty before the first one.
func (s State) mark() string { return s.Marks[max(0, len(s.Marks)-markLength):] }

// follows says whether the state was written after one that had so many writes, the last one with a mark.
func (s State) follows(writes int64, mark string) bool {
	since := s.Writes - writes
	if mark == "" || since < 0 {
		return since >= 0
	}
	at := int64(len(s.Marks)) - (since+1)*markLength
	return at >= 0 && s.Marks[at:at+markLength] == mark
}

// writtenBy is the state as a replica writes it. The state is not changed.
func (s State) writtenBy(replica string) State {
	s.Writes++
	s.Marks += fmt.Sprintf("%0*x", markLength, rand.N(1<<(4*markLength))) //nolint:gosec // nothing secret
	s.Marks = s.Marks[max(0, len(s.Marks)-maxMarks*markLength):]
	s.Replicas = append(slices.DeleteFunc(slices.Clone(s.Replicas), func(r string) bool { return r == replica }), replica)
	s.Replicas = s.Replicas[max(0, len(s.Replicas)-maxReplicas):]
	return s
}

// Request is a write to decide on: exactly one of Member and Federation is set.
type Request struct {
	Member     *rules.MemberChange
	Federation *rules.FederationChange
	// Namespaces are those that a Federation's change is judged by, as they are now. Those that do not exist are not among them.
	Namespaces []*metav1.ObjectMeta
	// UID distinguishes this asking from any other. API servers ask again under their own UID when a connection breaks, so
	// that does not.
	UID types.UID
	// DryRun requests are judged like others and not written down.
	DryRun bool
}

// judge asks the rules.
func (r Request) judge(now time.Time, h rules.Host) rules.Verdict {
	s := rules.Snapshot{Now: now, Host: h}
	if r.Member != nil {
		return rules.JudgeMember(s, *r.Member)
	}
	return rules.JudgeFederation(s, *r.Federation)
}

// federation is the one that the request is about.
func (r Request) federation() v1alpha1.FederationName {
	switch {
	case r.Member != nil:
		return r.Member.New.Federation()
	case r.Federation.New != nil:
		return v1alpha1.FederationName(r.Federation.New.Name)
	}
	return v1alpha1.FederationName(r.Federation.Old.Name)
}

// creates says whether the request creates a member of the name that another object has.
func (r Request) creates(name string, uid types.UID) bool {
	return r.Member != nil && r.Member.Old == nil && r.Member.New.Name == name && r.Member.New.UID != uid
}

// changesRules says whether members may be judged differently after the request.
func (r Request) changesRules() bool {
	c := r.Federation
	// All of it, since expressions may read all of it.
	return c != nil && c.Old != nil && c.New != nil &&
		(!maps.Equal(c.Old.Labels, c.New.Labels) || !equality.Semantic.DeepEqual(c.Old.Spec, c.New.Spec))
}

// concerns says whether a decision on the request may rest on an entry.
func (r Request) concerns(e *Entry) bool {
	return e.federation() == r.federation() ||
		r.Member != nil && e.Member != nil && e.Member.ClusterID == v1alpha1.ClusterID(r.Member.New.Spec.ClusterID)
}

// entry is what to write down, or nil when no other decision rests on the write. The federation is that of a member, as
// far as it is known.
func (r Request) entry(now time.Time, federation *v1alpha1.Federation) *Entry {
	e := &Entry{Request: r.UID, At: metav1.NewTime(now.UTC().Truncate(time.Second))}
	switch {
	case r.DryRun || r.Member != nil && federation == nil:
		return nil
	case r.Member != nil:
		limited := limitedLabels(federation, r.Member.New)
		if !matters(*r.Member, federation, limited) {
			return nil
		}
		m := r.Member.New
		e.Kind, e.Name, e.UID = Member, m.Name, m.UID
		e.Member = &MemberEntry{Federation: m.Federation(), ClusterID: v1alpha1.ClusterID(m.Spec.ClusterID), Labels: limited}
		if r.Member.Old != nil {
			e.After = version(r.Member.Old)
		}
		return e
	case r.Federation.Old == nil || r.Federation.New != nil && !r.changesRules():
		return nil
	}
	before := r.Federation.Old
	e.Kind, e.Name, e.UID, e.After = Federation, before.Name, before.UID, version(before)
	return e
}

// limitedLabels are the labels of a member that its federation has limits for.
func limitedLabels(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) map[string]string {
	limited := map[string]string{}
	for _, l := range f.Spec.Limits {
		if value, has := m.Labels[l.PerLabel]; has {
			limited[l.PerLabel] = value
		}
	}
	return limited
}

// matters says whether decisions on other objects rest on a write of a member.
func matters(c rules.MemberChange, f *v1alpha1.Federation, limited map[string]string) bool {
	return c.Old == nil || c.Old.Spec.ClusterID != c.New.Spec.ClusterID || c.Old.Federation() != c.New.Federation() ||
		// A federation that allows it no more asks its members.
		!c.Old.Spec.InsecureSkipTLSVerify && c.New.Spec.InsecureSkipTLSVerify ||
		!maps.Equal(limitedLabels(f, c.Old), limited)
}
