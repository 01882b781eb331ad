package discover

import (
	"context"
	"fmt"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Prove requests tokens through the ways that have to prove which cluster they lead to, and puts into the observations what
// they show: where several ways, or a way and a member, claim one cluster ID. All others cost no request. It returns when all
// have answered or the deadline has passed: see askEach.
func Prove(ctx context.Context, members []v1alpha1.MemberCluster, observations []Observation, deadline time.Duration) {
	var ask ways
	for _, c := range claims(newJudge(View{Members: members}).members, observations) {
		ask = append(ask, c.unproved()...)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("no answer within %s", deadline))
	defer cancel()
	for i, proof := range askEach(ctx, len(ask), deadline, func(i int) *Proof { return ask[i].prove(ctx) }) {
		ask[i].Proof = proof
	}
	for _, o := range ask {
		if o.Proof == nil {
			o.Proof = &Proof{Err: context.Cause(ctx)}
		}
	}
}

func (o *Observation) prove(ctx context.Context) *Proof {
	m, err := o.Connect()
	if err != nil {
		return &Proof{Err: err}
	}
	p := &Proof{}
	if p.Signature, p.Err = m.Sign(ctx); p.Err != nil && ctx.Err() != nil {
		p.Err = context.Cause(ctx)
	}
	return p
}
