package federate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Way says what is known of the connection through which an operation reaches a member. Any server that answers can
// claim to be the cluster with an ID.
type Way struct {
	// ProvenFor is the UID of the MemberCluster whose cluster the connection is proved to reach; empty where that is still to
	// be proved.
	ProvenFor types.UID
	// TrustContext says that a person answers for it where it cannot be proved.
	TrustContext bool
}

// unproven is why the connection m, at whose end a cluster claims to have the ID, is not proved to reach the member; nil where
// it is, or where there is nothing to prove. The stored endpoint is proof, and so is a token that one of the member's keys
// signed.
func (w Way) unproven(ctx context.Context, m *member.Cluster, record *v1alpha1.MemberCluster, id v1alpha1.ClusterID) (*Unproven, error) {
	if record == nil || record.Spec.ClusterID != string(id) || w.TrustContext || w.ProvenFor == record.UID {
		return nil, nil
	}
	u := &Unproven{Member: v1alpha1.MemberName(record.Name), Stored: endpoint.Of(record), Caller: m.Endpoint()}
	keys := record.Status.SigningKeys
	switch {
	case u.Stored.SameServer(u.Caller):
		return nil, nil
	case len(keys) == 0:
		u.NotYetProved = true
		u.Reason = "the manager has seen no signing key of the member yet"
		return u, nil
	}
	signature, err := m.Sign(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, err
	case err != nil:
		u.Reason = "no token shows which cluster answers: " + cluster.Cause(err)
	case !signature.By(keys):
		u.Reason = "its tokens are signed by a key that has not signed for the member"
	default:
		return nil, nil
	}
	return u, nil
}

// Unproven is a connection that is not proved to reach the member whose cluster ID answers there.
type Unproven struct {
	Member v1alpha1.MemberName
	// Stored is the member's endpoint on the host, and Caller the one that answered.
	Stored, Caller endpoint.Endpoint
	Reason         string
	// NotYetProved says that nothing could have proved it.
	NotYetProved bool
}

func (u *Unproven) Error() string {
	stored := "is " + cluster.Quoted(u.Stored.Server)
	if endpoint.KeyOf(u.Stored.Server) == endpoint.KeyOf(u.Caller.Server) {
		stored = "has another CA or name for that server, or does not verify it"
	}
	return fmt.Sprintf("is not proved to be member %q, whose stored endpoint %s: %s", u.Member, stored, u.Reason)
}

// refuse is the refusal of an operation whose connection is not proved; trusting is the command that goes on all the same.
func (u *Unproven) refuse(o operation, trusting string) error {
	return &Refusal{Operation: o.operation(), Findings: []Finding{atEndpoint(u.Caller.Server, u.Error(), trusting)}, Err: u}
}

// OnMember says whether something on the side of the member stands against an operation, so that another way to it, with other
// rights, may do better; and how much that is.
func OnMember(err error) (findings int, ok bool) {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return len(refusal.Findings), slices.ContainsFunc(refusal.Findings, func(f Finding) bool { return f.Side == cluster.Member })
	}
	return 0, sideOf(err) == cluster.Member
}
