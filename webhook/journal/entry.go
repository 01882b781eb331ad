package journal

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// Entry is one admitted write that perhaps not everybody has seen.
type Entry struct {
	// Number counts the entries that ever were.
	Number int64     `json:"number"`
	Kind   Kind      `json:"kind"`
	Name   string    `json:"name"`
	UID    types.UID `json:"uid"`
	// Request is of the one decision that wrote it down. An object may be written by several at one time.
	Request types.UID `json:"request"`
	// After is the resourceVersion that an update or a deletion was judged upon; 0 for a create.
	After uint64 `json:"after,omitempty"`
	// At is when it was admitted, for people: nothing is judged by it.
	At metav1.Time `json:"at"`
	// Seen says that a replica has seen the object.
	Seen bool `json:"seen,omitempty"`
	// Deletion says that the object is to be deleted. A member's is noted whoever deletes it, and judged by nobody.
	Deletion bool `json:"deletion,omitempty"`

	Labels     map[string]string           `json:"labels,omitempty"`
	Member     *v1alpha1.MemberClusterSpec `json:"member,omitempty"`
	Federation *v1alpha1.FederationSpec    `json:"federation,omitempty"`
}

// leaves says that it is of a member that is to be deleted. It counts until it is gone.
func (e *Entry) leaves() bool { return e.Kind == Member && e.Deletion }

// member is the member as it will be.
func (e *Entry) member() *v1alpha1.MemberCluster {
	return &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: e.Name, UID: e.UID, Labels: e.Labels}, Spec: *e.Member}
}

// federation is the federation as it will be.
func (e *Entry) federation() *v1alpha1.Federation {
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: e.Name, UID: e.UID, Labels: e.Labels}, Spec: *e.Federation}
	if e.Deletion {
		f.DeletionTimestamp = &e.At
	}
	return f
}

// State is the content of the journal.
type State struct {
	// Last is the number of the newest entry that ever was.
	Last int64 `json:"last"`
	// Dropped is the number of the newest entry that was dropped after it had been seen: whoever had not read the
	// journal up to it has missed something.
	Dropped int64   `json:"dropped"`
	Entries []Entry `json:"entries"`
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

// Request is a write to decide on: exactly one of Member, Federation and Leaving is set.
type Request struct {
	Member     *rules.MemberChange
	Federation *rules.FederationChange
	// Leaving is a member that is to be deleted. No rule is asked.
	Leaving *v1alpha1.MemberCluster
	// Namespaces are those that a Federation names, as they are now.
	Namespaces rules.Namespaces
	// UID tells this asking from any other. API servers ask again under the UID of their own when a connection
	// breaks, so that does not.
	UID types.UID
	// DryRun requests are judged like others and not written down.
	DryRun bool
}

// judge asks the rules.
func (r Request) judge(s rules.Snapshot) rules.Verdict {
	s.Namespaces = r.Namespaces
	switch {
	case r.Leaving != nil:
		return rules.Verdict{}
	case r.Member != nil:
		return rules.JudgeMember(s, *r.Member)
	}
	return rules.JudgeFederation(s, *r.Federation)
}

// federation is the one that the request is about.
func (r Request) federation() v1alpha1.FederationName {
	switch {
	case r.Leaving != nil:
		return r.Leaving.Federation()
	case r.Member != nil:
		return r.Member.New.Federation()
	case r.Federation.New != nil:
		return v1alpha1.FederationName(r.Federation.New.Name)
	}
	return v1alpha1.FederationName(r.Federation.Old.Name)
}

// creates says whether the request creates a member of the name that another one has.
func (r Request) creates(other client.Object) bool {
	return r.Member != nil && r.Member.Old == nil && other != nil &&
		r.Member.New.Name == other.GetName() && r.Member.New.UID != other.GetUID()
}

// concerns says whether a refusal of the request may rest on an entry.
func (r Request) concerns(e *Entry) bool {
	if e.Kind == Federation {
		return e.Name == string(r.federation())
	}
	return e.Labels[v1alpha1.LabelFederation] == string(r.federation()) ||
		r.Member != nil && e.Member.ClusterID == r.Member.New.Spec.ClusterID
}

// asksJournal says whether the journal is to be read before a refusal is spoken: it takes the place of one read of the
// federation, or of one of all members. A change of a federation may count what no limit counted before, and takes long
// to judge, which reading the journal does.
func (r Request) asksJournal(grounds rules.Grounds) bool {
	return r.Member != nil && (grounds == rules.OnFederation || grounds.Has(rules.OnMembers))
}

// entry is what to write down, or nil when no other decision rests on the write. Versions are the federation's
// as they are and may become.
func (r Request) entry(now time.Time, versions []*v1alpha1.Federation) *Entry {
	if r.DryRun {
		return nil
	}
	e := &Entry{Request: r.UID, At: metav1.NewTime(now.UTC().Truncate(time.Second))}
	if m := r.Leaving; m != nil {
		e.Kind, e.Name, e.UID, e.After, e.Deletion = Member, m.Name, m.UID, version(m), true
		e.Labels = map[string]string{v1alpha1.LabelFederation: string(m.Federation())}
		e.Member = &v1alpha1.MemberClusterSpec{ClusterID: m.Spec.ClusterID}
		return e
	}
	if r.Member != nil {
		if !matters(*r.Member, versions) {
			return nil
		}
		m := r.Member.New
		e.Kind, e.Name, e.UID, e.Labels = Member, m.Name, m.UID, m.Labels
		e.Member = &v1alpha1.MemberClusterSpec{
			ClusterID: m.Spec.ClusterID, Server: m.Spec.Server, ProxyURL: m.Spec.ProxyURL, TLSServerName: m.Spec.TLSServerName,
			InsecureSkipTLSVerify: m.Spec.InsecureSkipTLSVerify, JoinedWith: m.Spec.JoinedWith,
		}
		if m.Status.Facts != nil {
			// An entry carries no status. What rules know of the cluster by it stands in its place.
			facts := m.KnownFacts()
			e.Member.JoinedWith = &facts
		}
		if r.Member.Old != nil {
			e.After = version(r.Member.Old)
		}
		return e
	}
	before, after := r.Federation.Old, r.Federation.New
	if before == nil {
		return nil
	}
	e.Kind, e.Name, e.UID, e.After = Federation, before.Name, before.UID, version(before)
	if after == nil {
		e.Deletion, e.Labels, e.Federation = true, before.Labels, &before.Spec
		return e
	}
	// All of it, since expressions may read all of it.
	if maps.Equal(before.Labels, after.Labels) && equality.Semantic.DeepEqual(before.Spec, after.Spec) {
		return nil
	}
	e.Labels, e.Federation = after.Labels, &after.Spec
	return e
}

// matters says whether decisions on other objects rest on a write of a member.
func matters(c rules.MemberChange, versions []*v1alpha1.Federation) bool {
	if c.Old == nil || c.Old.Spec.ClusterID != c.New.Spec.ClusterID || c.Old.Federation() != c.New.Federation() ||
		!c.Old.Spec.InsecureSkipTLSVerify && c.New.Spec.InsecureSkipTLSVerify {
		return true
	}
	for _, f := range versions {
		for _, l := range f.Spec.Limits {
			was, had := c.Old.Labels[l.PerLabel]
			is, has := c.New.Labels[l.PerLabel]
			if had != has || was != is {
				return true
			}
		}
	}
	return false
}
