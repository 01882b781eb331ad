package discover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Observation is what a candidate answered.
type Observation struct {
	Candidate
	// Server is the URL that it was asked at; empty when there is none.
	Server string
	// Answer is what was seen; nil when Err says why nothing was.
	Answer *Answer
	Err    error
}

// Answer is what a cluster says of itself.
type Answer struct {
	ID v1alpha1.ClusterID
	member.JoinRequest
	// Labels are those of its kube-system namespace.
	Labels map[string]string
	// LeftObject is the federation that the cluster left while the federation label on its object stayed.
	LeftObject v1alpha1.FederationName
	// Membership is nil where the cluster belongs to no federation.
	Membership *member.Membership
}

func readAnswer(ctx context.Context, m *member.Cluster) (*Answer, error) {
	answer := &Answer{}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		self, err := m.Self(ctx)
		if err == nil {
			answer.ID, answer.Labels, answer.JoinRequest, answer.LeftObject = self.ID, self.Labels, self.JoinRequest, self.Left
		}
		return err
	})
	group.Go(func() (err error) { answer.Membership, err = m.Membership(ctx); return err })
	return answer, group.Wait()
}

const (
	// atOnce is how many clusters are asked at once, but for those that let their askers wait.
	atOnce = 64
	// mostOpen is how many connections stay open after the answer. Whoever joins those clusters next need not shake
	// hands again; a thousand would only fill memory, and each costs its API server some.
	mostOpen = 100
)

// patience is how long a cluster that does not answer counts among those that are asked. It is such that n clusters
// that all never answer have all been asked when a quarter of the deadline is over.
func patience(deadline time.Duration, n int) time.Duration {
	rounds := (n + atOnce - 1) / atOnce
	return deadline / 4 / time.Duration(max(rounds, 1))
}

// Probe looks at every candidate and returns when all have answered or the deadline has passed, so that dead
// clusters never hold up the rest: few are asked at once, and one that does not answer soon makes room for the next while
// it is waited for. Observations come in the order of the candidates. Seen is called with the number of answers so far.
func Probe(ctx context.Context, candidates []Candidate, deadline time.Duration, seen func(int)) []Observation {
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("no answer within %s", deadline))
	defer cancel()
	type reply struct {
		index  int
		opened *member.Cluster
		answer *Answer
		err    error
	}
	// What answers late is dropped: the channel holds every answer, so that no goroutine hangs on it.
	answers := make(chan reply, len(candidates))
	ask := func(i int, done func()) {
		defer done()
		m, err := candidates[i].Connect()
		if err != nil {
			answers <- reply{index: i, err: err}
			return
		}
		answer, err := readAnswer(ctx, m)
		answers <- reply{i, m, answer, err}
	}
	observations := make([]Observation, len(candidates))
	var todo []int
	for i, c := range candidates {
		observations[i] = Observation{Candidate: c, Err: context.DeadlineExceeded}
		if c.Err != nil {
			answers <- reply{index: i, err: c.Err}
		} else {
			todo = append(todo, i)
		}
	}
	go func() {
		slots := make(chan struct{}, atOnce)
		wait := patience(deadline, len(todo))
		for _, i := range todo {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				answered, done := context.WithCancel(ctx)
				go ask(i, done)
				select {
				case <-answered.Done():
				case <-time.After(wait):
				}
				<-slots
			}()
		}
	}()
	open := 0
	for n := range candidates {
		select {
		case a := <-answers:
			s := &observations[a.index]
			s.Answer, s.Err = a.answer, a.err
			if a.opened != nil {
				s.Server = a.opened.Server()
				if a.err == nil && open < mostOpen {
					open++
					s.Connect = func() (*member.Cluster, error) { return a.opened, nil }
				} else {
					a.opened.CloseIdle()
				}
			}
			seen(n + 1)
			continue
		case <-ctx.Done():
		}
		break
	}
	for i := range observations {
		s := &observations[i]
		if s.Err == nil {
			continue
		}
		s.Answer = nil
		if ctx.Err() != nil && errors.Is(s.Err, ctx.Err()) {
			s.Err = context.Cause(ctx)
		}
		s.Err = s.words()
	}
	return observations
}

// words is the error of an observation in the words of its source: what a context's user does next is not what the user of
// another system does.
func (s *Observation) words() error {
	err := s.Err
	if failed, ok := errors.AsType[*cluster.Error](err); ok && failed.Side == cluster.Member && s.Secret.Name != "" {
		switch failed.Fault {
		case cluster.FaultUnauthorized:
			err = fmt.Errorf("member: %s does not take the credential in %s (401): it has ended or was revoked; look again when %s has written a new one",
				failed.Server, s.Secret, s.Source.title())
		case cluster.FaultUnreachable:
			err = fmt.Errorf("member: no answer from %s: %s: see that this machine can reach it", failed.Server, cluster.Printable(cluster.Cause(failed.Err)))
		case cluster.FaultCertificate:
			err = fmt.Errorf("member: the certificate of %s does not verify: %s: the CA in %s is not the one that signed it",
				failed.Server, cluster.Printable(cluster.Cause(failed.Err)), s.Secret)
		}
	}
	if s.Hint != "" {
		err = fmt.Errorf("%w (%s)", err, s.Hint)
	}
	return err
}

// title is how the system behind a source calls itself.
func (n SourceName) title() string {
	if n == FromRancher {
		return "Rancher"
	}
	return "Cluster API"
}
