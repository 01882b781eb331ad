//go:build unix

package integration

import (
	"context"
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestClaimedID has a joiner of another federation claim the ID of a cluster that is not theirs. The refusal of the cluster's own
// join names who holds the ID, and the command that frees it.
func TestClaimedID(t *testing.T) {
	federation(t, joinHost(t), "squatters", nil)
	p := newPair(t, "claimed", nil)
	for _, o := range manifests.JoinerBinding("squatters", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "mallory"}) {
		apply(t, p.host.Config(), o)
	}
	p.remember()
	mallory := connectHost(t, p.host.User("mallory"))
	env.Eventually(t, "the bindings hold", func(ctx context.Context) error {
		_, err := mallory.Federation(ctx, "squatters")
		return err
	})
	claim := func(by string) error {
		o := cluster.MemberClusters.New("", "squat")
		o.SetLabels(map[string]string{v1alpha1.LabelFederation: "squatters"})
		o.SetAnnotations(map[string]string{v1alpha1.AnnotationCreatedBy: by})
		o.Object["spec"] = map[string]any{"clusterID": p.member.ID, "server": "https://mallory.example.com"}
		_, err := mallory.PostMember(t.Context(), o, cluster.DryRunNone)
		return err
	}
	if err := claim("admin"); !apierrors.IsInvalid(err) {
		t.Errorf("a claim in another's name: %v", err)
	}
	if err := claim("mallory"); err != nil {
		t.Fatal(err)
	}
	if _, err := mallory.PatchMember(t.Context(), "squat", map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationCreatedBy: "admin"}}}, cluster.DryRunNone); !apierrors.IsInvalid(err) {
		t.Errorf("a claim in another's name, later: %v", err)
	}
	west := command.Cluster{Context: "west"}
	p.refused(federate.JoinOptions{Cluster: west}, fmt.Sprintf(`cannot join "claimed" to federation "claimed"; nothing was changed
* host: MemberCluster "claimed": spec.clusterID: Duplicate value: %q: this cluster is already member "squat" of federation "squatters", which was created by "mallory" and has never answered the manager; `+
		`if it does not stand for this cluster, free the ID: kubectl federate unjoin squat --force`, p.member.ID))
	p.h.Commands = command.Host{Flags: []command.Flag{{Name: "context", Value: "host"}}}
	p.refused(federate.JoinOptions{Name: "squat", Federation: "squatters", Cluster: west}, fmt.Sprintf(`cannot join "squat" to federation "squatters"; nothing was changed
* member: endpoint %q: is not proved to be member "squat", whose stored endpoint is "https://mallory.example.com": the manager has seen no signing key of the member yet: `+
		`if it is that member all the same, say so: kubectl federate join squat --federation squatters --member-context west --trust-context --context host; `+
		`the member was created by "mallory" and has never answered the manager, and if it does not stand for this cluster, free the ID: kubectl federate unjoin squat --force --context host`, p.member.Config().Host))
	if _, err := unjoin(t.Context(), p.h, nil, federate.UnjoinOptions{Name: "squat", Force: true}); err != nil {
		t.Fatal(err)
	}
	p.joined(federate.JoinOptions{Cluster: west})
	made, err := p.h.Member(t.Context(), "claimed")
	if err != nil || made.Annotations[v1alpha1.AnnotationCreatedBy] != "admin" {
		t.Errorf("created by %q, %v", made.Annotations[v1alpha1.AnnotationCreatedBy], err)
	}
	p.left("claimed")
}
