// Package discover finds clusters that wish to be in a federation: a cluster says so by the label
// kubefederate.io/federation. A wish gives nothing by itself; joining it takes the rights and passes the
// rules of a normal join.
package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Source knows ways to reach clusters.
type Source interface {
	// Candidates lists them without asking any cluster.
	Candidates(ctx context.Context) ([]Candidate, error)
}

// Candidate is one way to reach a cluster.
type Candidate struct {
	// Source that knows it, as "kubeconfig".
	Source string
	// Name by which the source calls it: a context.
	Name string
	// Connect opens it. It sends no request. What Probe has opened stays open.
	Connect func() (*member.Cluster, error)
}

// Sighting is what a candidate answered.
type Sighting struct {
	Candidate
	// Look is what was seen; nil when Err says why nothing was.
	Look *Look
	Err  error
}

// Look is what a cluster says of itself.
type Look struct {
	ID v1alpha1.ClusterID
	member.Wish
	// Marker is nil where the cluster belongs to no federation.
	Marker *member.Marker
}

func lookAt(ctx context.Context, m *member.Cluster) (*Look, error) {
	look := &Look{}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { look.ID, err = m.ID(ctx); return err })
	group.Go(func() (err error) { look.Wish, err = m.Wish(ctx); return err })
	group.Go(func() (err error) { look.Marker, err = m.Marker(ctx); return err })
	return look, group.Wait()
}

// Probe looks at every candidate at once and returns when all have answered or the deadline has passed,
// so that one dead cluster never holds up the rest. Sightings come in the order of the candidates. Seen
// is called with the number of answers so far.
func Probe(ctx context.Context, candidates []Candidate, deadline time.Duration, seen func(int)) []Sighting {
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("no answer within %s", deadline))
	defer cancel()
	type answer struct {
		index  int
		opened *member.Cluster
		look   *Look
		err    error
	}
	answers := make(chan answer, len(candidates))
	for i, c := range candidates {
		go func() {
			m, err := c.Connect()
			if err != nil {
				answers <- answer{index: i, err: err}
				return
			}
			look, err := lookAt(ctx, m)
			answers <- answer{i, m, look, err}
		}()
	}
	sightings := make([]Sighting, len(candidates))
	for i, c := range candidates {
		sightings[i] = Sighting{Candidate: c, Err: context.DeadlineExceeded}
	}
	// What answers late is dropped: the channel holds every answer, so that no goroutine hangs on it.
	for n := range candidates {
		select {
		case a := <-answers:
			s := &sightings[a.index]
			s.Look, s.Err = a.look, a.err
			if a.opened != nil {
				// Whoever joins it next need not shake hands again.
				s.Connect = func() (*member.Cluster, error) { return a.opened, nil }
			}
			seen(n + 1)
			continue
		case <-ctx.Done():
		}
		break
	}
	for i := range sightings {
		if ctx.Err() != nil && errors.Is(sightings[i].Err, ctx.Err()) {
			sightings[i].Err = context.Cause(ctx)
		}
	}
	return sightings
}

// State of a cluster that was discovered.
type State string

// States, in the words of the table.
const (
	// Joined clusters are members.
	Joined State = "Joined"
	// Wants is a wish that a join can fulfil.
	Wants State = "WantsToJoin"
	// Left clusters were members; their old wish does not bring them back.
	Left State = "Left"
	// Conflict is a wish that contradicts what is, which only a person resolves.
	Conflict State = "Conflict"
	// Unreachable candidates did not answer.
	Unreachable State = "Unreachable"
	// NoWish clusters answered and carry no label.
	NoWish State = "NoWish"
)

// Cluster is one row of what was discovered: one cluster, however many candidates lead to it.
type Cluster struct {
	// Candidate through which it is joined: the first that answered.
	Candidate
	// Also names the other candidates of the same cluster.
	Also []string
	// ID is empty when the cluster did not answer.
	ID v1alpha1.ClusterID
	// Member is the name that it has or would get.
	Member v1alpha1.MemberName
	// Federation that it is in, or wishes to be in.
	Federation v1alpha1.FederationName
	State      State
	// Reason says why, where the state needs it, and what to do.
	Reason string
}

// View is what the host knows.
type View struct {
	// HostID is the host's own cluster ID.
	HostID      v1alpha1.ClusterID
	Federations []v1alpha1.Federation
	Members     []v1alpha1.MemberCluster
}

// Judge says what each sighted cluster is to the host. Its order is that of the sightings.
func Judge(view View, sightings []Sighting) []Cluster {
	return view.each(sightings, view.judge)
}

// each makes one Cluster of all sightings of a cluster.
func (v View) each(sightings []Sighting, judge func(Sighting) Cluster) []Cluster {
	var clusters []Cluster
	byID := map[v1alpha1.ClusterID]int{}
	for _, s := range sightings {
		if s.Err != nil {
			clusters = append(clusters, Cluster{Candidate: s.Candidate, State: Unreachable, Reason: s.Err.Error()})
			continue
		}
		if first, ok := byID[s.Look.ID]; ok {
			clusters[first].Also = append(clusters[first].Also, s.Name)
			continue
		}
		byID[s.Look.ID] = len(clusters)
		clusters = append(clusters, judge(s))
	}
	v.name(clusters)
	return clusters
}

// member is the member of a cluster ID; nil where the host has none.
func (v View) member(id v1alpha1.ClusterID) *v1alpha1.MemberCluster {
	i := slices.IndexFunc(v.Members, func(m v1alpha1.MemberCluster) bool { return m.Spec.ClusterID == string(id) })
	if i < 0 {
		return nil
	}
	return &v.Members[i]
}

func (v View) judge(s Sighting) Cluster {
	look := s.Look
	c := Cluster{Candidate: s.Candidate, ID: look.ID, Federation: look.Wish.Federation}
	if m := v.member(look.ID); m != nil {
		c.Member, c.Federation, c.State = v1alpha1.MemberName(m.Name), m.Federation(), Joined
		if look.Wish.Federation != "" && look.Wish.Federation != m.Federation() {
			c.State = Conflict
			c.Reason = fmt.Sprintf("its label wishes federation %q, but it is a member of %q; let it leave first: kubectl federate unjoin %s --member-context %s",
				look.Wish.Federation, m.Federation(), m.Name, s.Name)
		}
		return c
	}
	switch {
	case look.Wish.Federation == "":
		c.State = NoWish
	case look.Wish.Left == look.Wish.Federation:
		c.State = Left
		c.Reason = fmt.Sprintf("it left %q and its label stayed; to let it in again: kubectl federate label --member-context %s --federation %s",
			look.Wish.Federation, s.Name, look.Wish.Federation)
	case look.Marker != nil && look.Marker.HostID != v.HostID:
		c.State = Conflict
		c.Reason = elsewhere(look.Marker) + fmt.Sprintf("; it leaves that one first, or, if that host is gone for good: kubectl federate join %s --federation %s --member-context %s --take-over",
			cmp.Or(string(NameFor(s.Name)), "NAME"), look.Wish.Federation, s.Name)
	case look.Marker != nil:
		c.State = Conflict
		c.Reason = fmt.Sprintf("it carries the marker of member %q, which this host no longer has; remove it: kubectl federate unjoin %s --member-context %s",
			look.Marker.Member, look.Marker.Member, s.Name)
	default:
		c.State, c.Reason = v.wanted(look.Wish.Federation)
	}
	if c.State == Wants && look.ID == v.HostID {
		c.Reason = "it is the host itself"
	}
	return c
}

// elsewhere says that a cluster belongs to another host.
func elsewhere(k *member.Marker) string {
	return fmt.Sprintf("it is member %q of federation %q of another host, cluster %s", k.Member, k.Federation, k.HostID)
}

// wanted judges a wish of a cluster that is in no federation.
func (v View) wanted(wish v1alpha1.FederationName) (State, string) {
	var names []v1alpha1.FederationName
	for i := range v.Federations {
		f := &v.Federations[i]
		if f.Name != string(wish) {
			names = append(names, v1alpha1.FederationName(f.Name))
			continue
		}
		if f.DeletionTimestamp != nil {
			return Conflict, fmt.Sprintf("federation %q is being deleted", wish)
		}
		return Wants, ""
	}
	if near, ok := rules.Nearest(wish, names); ok {
		return Conflict, fmt.Sprintf("federation %q does not exist; did you mean %q?", wish, near)
	}
	return Conflict, fmt.Sprintf("federation %q does not exist; create it: kubectl federate create federation %s", wish, wish)
}

// name gives every cluster that would join, and has no name yet, the name it would get. Clusters that would share
// a name, or have one that is taken, are told apart by their IDs. A cluster that does not answer counts as one more:
// when it answers the next time, the others keep their names.
func (v View) name(clusters []Cluster) {
	namer := newNamer(v.Members)
	for i := range clusters {
		if c := &clusters[i]; c.State != Joined || c.Member != NameFor(c.Name) {
			namer.count(c.Name)
		}
	}
	for i := range clusters {
		if c := &clusters[i]; c.State == Wants && c.Member != "" && !namer.take(c.Member) {
			c.Member = "" // two markers with one name, or with that of another member
		}
	}
	for i := range clusters {
		if c := &clusters[i]; c.State == Wants && c.Member == "" {
			c.Member = namer.name(c.Name, c.ID)
		}
	}
}

// Sort orders rows for a person: by federation, then by name; what has none comes last.
func Sort(clusters []Cluster) {
	slices.SortStableFunc(clusters, func(a, b Cluster) int {
		if (a.Federation == "") != (b.Federation == "") {
			if a.Federation == "" {
				return 1
			}
			return -1
		}
		if d := strings.Compare(string(a.Federation), string(b.Federation)); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
}
