package discovery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

const (
	// maxJoins is how many clusters join at once, joinTimeout how long each may take, and joinsTime how long a round begins joins.
	maxJoins    = 8
	joinTimeout = time.Minute
	joinsTime   = 30 * time.Second
)

// joinAll joins the clusters that want to and were asked in this round. One that was asked earlier is due again at once, and so is one
// whose turn does not come in time: clusters that hang keep others waiting for so long only. Federations take turns.
func (c *controller) joinAll(ctx context.Context, s *state, rows []row) {
	var group errgroup.Group
	group.SetLimit(maxJoins)
	end := time.Now().Add(joinsTime)
	for _, r := range inTurns(rows) {
		begun := s.discovered[r.source().UID]
		if r.ID == c.hostID && r.ID != "" {
			r.State, r.Reason = discover.Refused, errHost.Error()
		}
		if r.State != discover.Joined && r.answered(true) && r.answered(false) {
			// What its ways may is proved only of those that are asked together.
			r.State, r.Reason = discover.NotYetProved, "its other ways are asked again"
			c.again(r.of)
			continue
		}
		switch {
		case r.State == discover.Joined && begun != nil && unfinished(begun) && begun.UID == r.MemberUID: // it goes on
		case !r.wants():
			r.settle(s.view.Now)
			continue
		}
		ways := r.ways()
		fresh := slices.ContainsFunc(ways, func(f *found) bool { return f.fresh })
		stale := slices.ContainsFunc(ways, func(f *found) bool { return !f.fresh })
		if stale && (fresh || !r.waits(s.view.Now)) {
			// All ways to it are asked in one round, so that it joins by the best.
			c.again(ways)
			continue
		}
		if stale || len(ways) == 0 {
			r.Reason = r.of[0].entry.result
			continue
		}
		group.Go(func() error {
			if time.Now().After(end) {
				c.again(ways)
			} else {
				c.join(ctx, s, r)
			}
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
}

// answered says whether a candidate of the cluster has answered: in this round, or before it.
func (r *row) answered(fresh bool) bool {
	return slices.ContainsFunc(r.of, func(f *found) bool {
		return f.fresh == fresh && f.entry.observation != nil && f.entry.observation.Err == nil
	})
}

// again has candidates be looked at in the next round.
func (c *controller) again(all []*found) {
	for _, f := range all {
		f.entry.made, f.entry.due, f.entry.waits = "", time.Time{}, false
	}
	c.alarm.in(0)
}

// inTurns are the rows such that the first of each federation come first, then the second ones; and within a federation in the same way
// by namespace. Who may write in one keeps no other from its turn.
func inTurns(rows []row) []*row {
	all := make([]*row, len(rows))
	for i := range rows {
		all[i] = &rows[i]
	}
	for _, of := range []func(*row) string{
		func(r *row) string { return r.federation.Name + " " + namespaceOf(&r.of[0].candidate) },
		func(r *row) string { return r.federation.Name },
	} {
		turn, count := map[*row]int{}, map[string]int{}
		for _, r := range all {
			turn[r] = count[of(r)]
			count[of(r)]++
		}
		slices.SortStableFunc(all, func(a, b *row) int { return cmp.Compare(turn[a], turn[b]) })
	}
	return all
}

// ways are the candidates by which the cluster may join: those that ask for its federation, the preferred first.
func (r *row) ways() []*found {
	var all []*found
	for i := range r.Ways {
		if f := r.foundBy(&r.Ways[i]); f != nil {
			all = append(all, f)
		}
	}
	return all
}

// waits says whether all candidates rest, or wait for a change.
func (r *row) waits(now time.Time) bool {
	return !slices.ContainsFunc(r.of, func(f *found) bool { return !now.Before(f.entry.due) || f.entry.waits && f.entry.members != f.members })
}

// source is the object whose label asks for the membership.
func (r *row) source() discover.Object {
	if ways := r.ways(); len(ways) > 0 {
		return ways[0].request.object
	}
	return r.of[0].request.object
}

// foundBy is the candidate of a way; nil where its object asks for another federation.
func (r *row) foundBy(way *discover.Candidate) *found {
	i := slices.IndexFunc(r.of, func(f *found) bool {
		return f.candidate.String() == way.String() && f.request.federation.Name == r.federation.Name
	})
	if i < 0 {
		return nil
	}
	return r.of[i]
}

// settle says when the candidates of a cluster that does not join are looked at again.
func (r *row) settle(now time.Time) {
	for _, f := range r.of {
		if !f.fresh {
			continue
		}
		_, missing := errors.AsType[*notPermitted](f.candidate.Err)
		switch {
		case missing:
			*f.entry = entry{observation: f.entry.observation} // it is looked at as soon as it may be
		case f.candidate.Err != nil:
			f.entry.failed(firstHostRest, longestHostRest, now)
		case r.State == discover.Unreachable || r.State == discover.NoAccess:
			f.entry.failed(firstMemberRest, longestMemberRest, now)
		default:
			f.entry.refused(f.members, now)
		}
	}
}

// join joins one cluster by the first of its ways that will do.
func (c *controller) join(ctx context.Context, s *state, r *row) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	var err error
	for i := range r.Ways {
		way := &r.Ways[i]
		f := r.foundBy(way)
		if f == nil {
			continue
		}
		var done *federate.Result
		if done, err = c.joinBy(ctx, s, r, f, way); err == nil {
			c.joined(r, f, done)
			return
		}
		if ctx.Err() != nil || partly(err) {
			break
		}
	}
	c.notJoined(s, r, err)
}

// partly says whether a join has left something that another way must not repeat.
func partly(err error) bool {
	_, ok := errors.AsType[*federate.Partial](err)
	return ok
}

func (c *controller) joinBy(ctx context.Context, s *state, r *row, f *found, way *discover.Candidate) (*federate.Result, error) {
	allowed, err := endpoint.AllowListOf(r.federation)
	if err != nil {
		return nil, err
	}
	m, err := way.Connect()
	if err != nil {
		return nil, err
	}
	defer m.CloseIdle()
	o := federate.JoinOptions{
		Name: r.Member, Federation: v1alpha1.FederationName(r.federation.Name), Labels: f.request.memberLabels(&f.candidate),
		RequestedBy: f.request.object.Object(), KeepEndpoint: true, Discovered: f.request.discovered(), Tune: c.dialer(allowed).Apply,
	}
	if begun := s.discovered[types.UID(o.Discovered.UID)]; begun != nil {
		o.Name = v1alpha1.MemberName(begun.Name)
	}
	o.ProvenFor = r.MemberUID
	if way.Endpoint != nil {
		o.Server, o.CABundle = way.Endpoint.Server, way.Endpoint.CABundle
	}
	plan, err := federate.PlanJoin(ctx, c.host, m, o)
	if err != nil {
		return nil, err
	}
	return plan.Apply(ctx, nil)
}

// joined records a cluster that joined.
func (c *controller) joined(r *row, f *found, done *federate.Result) {
	r.State, r.Reason = discover.Joined, ""
	r.Member, r.MemberUID = v1alpha1.MemberName(done.Member.Name), done.Member.UID
	for _, f := range r.of {
		f.entry.result = ""
	}
	c.metrics.joined.WithLabelValues(resultJoined).Inc()
	c.log.Info("joined", "member", r.Member, "federation", r.federation.Name, "by", f.candidate.String(), "cluster", r.ID)
}

// notJoined records why a cluster did not join.
func (c *controller) notJoined(s *state, r *row, err error) {
	if err == nil {
		err = errors.New("no way to it can be used")
	}
	r.Reason = "not joined: " + output.Reason(err)
	_, refused := errors.AsType[*federate.Refusal](err)
	result := resultFailed
	if refused {
		result = resultRefused
	}
	c.metrics.joined.WithLabelValues(result).Inc()
	for _, f := range r.of {
		f.entry.result = r.Reason
		if refused {
			f.entry.refused(f.members, s.view.Now)
		} else {
			f.entry.failed(firstMemberRest, longestMemberRest, s.view.Now)
		}
	}
	c.log.Info("not joined", "federation", r.federation.Name, "cluster", r.Candidate.String(), "reason", cluster.Printable(r.Reason))
}
