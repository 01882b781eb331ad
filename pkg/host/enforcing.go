package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// webhookProbe is a name that no federation has; a member of it must be refused.
const webhookProbe = "kubefederate-webhook-probe"

// Enforcing is nil when the webhook refuses what it must, and ErrNotEnforcing or ErrWebhookDown when it does not. The
// caller must hold the verb join on every federation.
func (c *Cluster) Enforcing(ctx context.Context) error {
	return c.EnforcingFor(ctx, Target{Federation: webhookProbe})
}

// EnforcingRights are the rights that Enforcing uses.
func EnforcingRights() []cluster.Right {
	return slices.Concat(MemberRef(webhookProbe).Rights("create"), FederationRef(webhookProbe).Rights(v1alpha1.VerbJoin))
}

// EnforcingFor is Enforcing for a caller who may join members as t does, to its federation only. It is a server dry run of a
// member with a label under the reserved prefix, which no federation allows.
func (c *Cluster) EnforcingFor(ctx context.Context, t Target) error {
	bad := &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: webhookProbe,
			Labels: map[string]string{
				v1alpha1.LabelFederation:          string(t.Federation),
				v1alpha1.Prefix + "webhook-probe": "",
			},
		},
		Spec: v1alpha1.MemberClusterSpec{ClusterID: webhookProbe, Server: "https://webhook-probe.invalid", Discovered: t.Discovered},
	}
	// What the host warns of this member is of no use.
	o, err := cluster.ToUnstructured(cluster.MemberClusters, bad)
	if err == nil {
		err = c.explain(c.Judge(ctx, cluster.MemberClusters, o))
	}
	if err == nil {
		return fmt.Errorf("host: %w: %s", ErrNotEnforcing, c.Commands.To("install it again", command.Init{}))
	}
	if refusedLabel(err) {
		return nil
	}
	return err
}

// refusedLabel says whether err is the webhook's refusal of a label: nothing else on a host names the field
// metadata.labels of a member.
func refusedLabel(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	for _, cause := range status.Status().Details.Causes {
		if strings.HasPrefix(cause.Field, "metadata.labels") {
			return true
		}
	}
	return false
}
