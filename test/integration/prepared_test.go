//go:build unix

package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestPreparedNamespace joins a cluster on which a user who may make namespaces has made kubefederate-member, and kept rights in it: the
// join is let through, and says who has the access that the federation gives.
func TestPreparedNamespace(t *testing.T) {
	p := newPair(t, "prepared", viewAccess)
	for _, text := range []string{
		`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubefederate-member", "labels": {"app.kubernetes.io/managed-by": "kubectl-federate"}}}`,
		`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "minter", "namespace": "kubefederate-member"},
			"rules": [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["kubefederate-consumer"], "verbs": ["create"]}]}`,
		`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "minter", "namespace": "kubefederate-member"},
			"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "minter"},
			"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team-x"}]}`,
		`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "owner", "namespace": "kubefederate-member"},
			"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
			"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory\u001b[31m"}]}`,
		`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader", "namespace": "kubefederate-member"},
			"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
			"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]}`,
		`{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "kubefederate-consumer", "namespace": "kubefederate-member",
			"labels": {"app.kubernetes.io/managed-by": "kubectl-federate"}}}`,
		`{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": {"name": "kept", "namespace": "kubefederate-member",
			"annotations": {"kubernetes.io/service-account.name": "kubefederate-consumer"}}}`,
	} {
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(text), o); err != nil {
			t.Fatal(err)
		}
		apply(t, p.member.Config(), o)
	}
	plan, err := p.planJoin(federate.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, note := range plan.Notes() {
		if strings.Contains(note.Cause, "that the federation gives") {
			got = append(got, note.Object+" "+note.Cause)
		}
	}
	slices.Sort(got)
	const reach = `, and so have the access of ClusterRole "view" that the federation gives`
	want := []string{
		`RoleBinding "kubefederate-member/minter" lets Group "team-x" create tokens of its accounts` + reach,
		`RoleBinding "kubefederate-member/owner" lets User "mallory\x1b[31m" create tokens of its accounts, act as its accounts, read its Secrets, run pods as its accounts, give rights in it` + reach,
		`Secret "kubefederate-member/kept" holds a token of ServiceAccount "kubefederate-consumer" that does not expire` + reach,
		`ServiceAccount "kubefederate-member/kubefederate-consumer" was there before the join: who has a token of it keeps it` + reach,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	p.joined(federate.JoinOptions{})
	p.unjoined(federate.UnjoinOptions{})
	if err := p.m.Remove(t.Context(), member.NamespaceRef(), cluster.Preconditions{}); err != nil {
		t.Log(err) // Kubernetes still empties it
	}
	p.unchanged()
}
