package discover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Observation is what a candidate answered.
type Observation struct {
	Candidate
	// Reached is where it was asked; its zero value when it could not be.
	Reached endpoint.Endpoint
	// Answer is nil when Err says why there is none.
	Answer *Answer
	Err    error
	// Refused says that Err is a server's answer to the caller: 401 or 403.
	Refused bool
	// Proof is nil where no token was requested through it: see Prove.
	Proof *Proof
}

// Answer is what a cluster reports of itself.
type Answer struct {
	member.Self
	// Membership is nil where the cluster belongs to no federation.
	Membership *member.Membership
}

func readAnswer(ctx context.Context, m *member.Cluster) (*Answer, error) {
	answer := &Answer{}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		self, err := m.Self(ctx)
		if err == nil {
			answer.Self = *self
		}
		return err
	})
	group.Go(func() (err error) { answer.Membership, err = m.Membership(ctx); return err })
	return answer, group.Wait()
}

// maxOpen is how many connections stay open after the answer. A join of those clusters need not shake hands again; a thousand
// would only fill memory, and each costs its API server some.
const maxOpen = 100

// Probe asks every candidate and returns when all have answered or the deadline has passed: see askEach. Observations come in
// the order of the candidates. Progress is called with the number of answers so far.
func Probe(ctx context.Context, candidates []Candidate, deadline time.Duration, progress func(int)) []Observation {
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("no answer within %s", deadline))
	defer cancel()
	type reply struct {
		opened *member.Cluster
		answer *Answer
		err    error
	}
	observations := make([]Observation, len(candidates))
	var ask []*Observation
	answered := 0
	for i, c := range candidates {
		observations[i] = Observation{Candidate: c, Err: context.DeadlineExceeded}
		if c.Err == nil {
			ask = append(ask, &observations[i])
			continue
		}
		observations[i].Err = c.Err
		answered++
		progress(answered)
	}
	open := 0
	for i, a := range askEach(ctx, len(ask), deadline, func(i int) reply {
		m, err := ask[i].Candidate.Connect()
		if err != nil {
			return reply{err: err}
		}
		answer, err := readAnswer(ctx, m)
		return reply{m, answer, err}
	}) {
		s := ask[i]
		s.Answer, s.Err = a.answer, a.err
		if a.opened != nil {
			s.Reached = a.opened.Endpoint()
			if a.err == nil && open < maxOpen {
				open++
				s.Connect = func() (*member.Cluster, error) { return a.opened, nil }
			} else {
				a.opened.CloseIdle()
			}
		}
		answered++
		progress(answered)
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
		s.Refused = refused(s.Err)
		s.Err = s.explain()
	}
	return observations
}

func refused(err error) bool {
	failed, ok := errors.AsType[*cluster.Error](err)
	return ok && failed.Side == cluster.Member && (failed.Fault == cluster.FaultUnauthorized || failed.Fault == cluster.FaultForbidden)
}

// explain is the error of an observation in the words of its source: what the user of a context does next is not what the
// user of another system does.
func (s *Observation) explain() error {
	err := s.Err
	if failed, ok := errors.AsType[*cluster.Error](err); ok && failed.Side == cluster.Member && s.Secret.Name != "" {
		cause := cluster.Printable(cluster.Cause(failed.Err))
		switch failed.Fault {
		case cluster.FaultUnauthorized:
			err = fmt.Errorf("member: %s does not accept the credential in %s (401): it has expired or was revoked; %s",
				failed.Server, s.Secret, s.Source.row().Renewal)
		case cluster.FaultUnreachable:
			err = fmt.Errorf("member: no answer from %s: %s; check that this machine can reach it", failed.Server, cause)
		case cluster.FaultCertificate:
			remedy := fmt.Sprintf("the CA in %s did not sign it", s.Secret)
			switch cluster.CertificateFaultOf(failed.Err) {
			case cluster.CertificateName:
				remedy = fmt.Sprintf("it is not for the host of the endpoint in %s", s.Secret)
			case cluster.CertificateExpired, cluster.CertificateNotYetValid, cluster.CertificateUnfit:
				remedy = "the cluster's administrator must replace it"
			}
			err = fmt.Errorf("member: the certificate of %s does not verify: %s; %s", failed.Server, cause, remedy)
		}
	}
	if s.Hint != "" {
		err = fmt.Errorf("%w (%s)", err, s.Hint)
	}
	return err
}
