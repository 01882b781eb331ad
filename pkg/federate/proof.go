package federate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// proofPatience is how long a new credential is tried: API servers learn of new bindings within moments.
const proofPatience = 5 * time.Second

// proof tries a new credential before anybody relies on it.
type proof struct {
	// endpoint is what messages name.
	endpoint string
	// id is the cluster that must answer.
	id v1alpha1.ClusterID
	// ifOther and ifRefused say what to do when another cluster answers, and when the credential is not taken.
	ifOther, ifRefused string
}

// of is nil when the cluster takes the credential of config, a *Refusal when it does not or is another one, and
// what went wrong otherwise.
func (p proof) of(ctx context.Context, config *rest.Config) error {
	c, err := member.Connect(config)
	if err != nil {
		return err
	}
	refuse := func(cause, remedy string) error {
		return &Refusal{Findings: []Finding{{Side: SideMember, Object: "endpoint " + cluster.Quoted(p.endpoint), Cause: cause, Remedy: remedy}}}
	}
	deadline := time.Now().Add(proofPatience)
	for {
		id, err := c.ID(ctx)
		switch {
		case err == nil && id == p.id:
			return nil
		case err == nil:
			return refuse(fmt.Sprintf("leads to another cluster (ID %s, this member has %s)", id, p.id), p.ifOther)
		case ctx.Err() != nil || !rejected(err):
			return err
		}
		if time.Now().After(deadline) {
			return refuse("does not take the new credential: "+cluster.Cause(errors.Unwrap(err)), p.ifRefused)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// rejected says whether err is an API server's answer to a credential that it does not know or that gives nothing.
// At another cluster's endpoint the token of this member means nothing, too.
func rejected(err error) bool {
	failed, ok := errors.AsType[*cluster.Error](err)
	return ok && (failed.Fault == cluster.FaultUnauthorized || failed.Fault == cluster.FaultForbidden)
}

// unauthorized says whether err is an API server's answer to a token that it does not take, or no longer.
func unauthorized(err error) bool {
	failed, ok := errors.AsType[*cluster.Error](err)
	return ok && failed.Fault == cluster.FaultUnauthorized
}
