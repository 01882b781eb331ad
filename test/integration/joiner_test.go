//go:build unix

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// prepare applies docs/joiner.yaml to a cluster; the end takes it away again.
func prepare(t *testing.T, c *env.Cluster) (end func()) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "joiner.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, c)
	var refs []cluster.Ref
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		apply(t, c.Config(), o)
		kind := cluster.Resource{GroupVersionResource: schema.GroupVersionResource{
			Group: o.GroupVersionKind().Group, Version: "v1", Resource: map[string]string{
				"ValidatingAdmissionPolicy": cluster.AdmissionPolicies.Resource,
			}[o.GetKind()],
		}, Kind: o.GetKind()}
		if kind.Resource == "" {
			kind.Resource = strings.ToLower(o.GetKind()) + "s"
		}
		refs = append(refs, kind.Of(o))
	}
	return func() {
		m := connectMember(t, c.Config())
		for _, ref := range slices.Backward(refs) {
			if err := m.Delete(t.Context(), ref, cluster.Preconditions{}, cluster.DryRunNone); err != nil {
				t.Error(err)
			}
		}
		becomes(t, c.Name, before, c)
	}
}

// withdraw takes one verb on a resource from a role of docs/joiner.yaml, and gives it back with the returned function.
func withdraw(t *testing.T, c *env.Cluster, role cluster.Ref, verb, resource string) (restore func()) {
	t.Helper()
	m := connectMember(t, c.Config())
	o, err := m.Get(t.Context(), role)
	if err != nil {
		t.Fatal(err)
	}
	before := o.DeepCopy()
	rules := o.Object["rules"].([]any)
	found := false
	for _, r := range rules {
		rule := r.(map[string]any)
		verbs := rule["verbs"].([]any)
		if !slices.Contains(rule["resources"].([]any), any(resource)) || !slices.Contains(verbs, any(verb)) {
			continue
		}
		found = true
		rule["verbs"] = slices.DeleteFunc(slices.Clone(verbs), func(v any) bool { return v == any(verb) })
		if len(rule["verbs"].([]any)) == 0 {
			rule["verbs"] = []any{"watch"} // a rule has verbs
		}
	}
	if !found {
		t.Fatalf("no rule gives %s %s", verb, resource)
	}
	write := func(o *unstructured.Unstructured) {
		if _, err := m.MergePatch(context.WithoutCancel(t.Context()), role, map[string]any{"rules": o.Object["rules"]}, cluster.DryRunNone); err != nil {
			t.Error(err)
		}
	}
	write(o)
	return func() { write(before) }
}

// TestNarrowJoiner joins, rotates and unjoins with the rights of docs/joiner.yaml on a member. One verb less is named before
// anything is written.
func TestNarrowJoiner(t *testing.T) {
	p := newPair(t, "narrow", nil)
	defer prepare(t, p.member)()
	p.remember()
	p.m = connectMember(t, p.member.User("nina", "cluster-joiners"))
	env.Eventually(t, "the bindings hold", func(ctx context.Context) error {
		_, err := p.m.Get(ctx, cluster.IdentityNamespace)
		return err
	})
	west := command.Cluster{Context: "west"}
	role := cluster.Ref{Resource: cluster.Roles, Namespace: v1alpha1.MemberNamespace, Name: "kubefederate-joiner"}
	clusterRole := cluster.Ref{Resource: cluster.ClusterRoles, Name: "kubefederate-joiner"}
	plans := map[string]func(context.Context) error{
		"join": func(ctx context.Context) error {
			_, err := federate.PlanJoin(ctx, p.h, p.m, p.options(federate.JoinOptions{Cluster: west, DryRun: cluster.DryRunServer}))
			return err
		},
		"rotate": func(ctx context.Context) error {
			_, err := federate.PlanRotate(ctx, p.h, p.m, federate.RotateOptions{Name: "narrow", Cluster: west})
			return err
		},
		"unjoin": func(ctx context.Context) error {
			_, err := federate.PlanUnjoin(ctx, p.h, p.m, federate.UnjoinOptions{Name: "narrow", Cluster: west})
			return err
		},
	}
	lacks := func(plan, verb, resource string, of cluster.Ref, want string) {
		t.Helper()
		restore := withdraw(t, p.member, of, verb, resource)
		env.Eventually(t, plan+" without the right to "+verb+" "+resource, func(ctx context.Context) error {
			err := plans[plan](ctx)
			refusal, ok := errors.AsType[*federate.Refusal](err)
			if !ok || !strings.Contains(err.Error(), "\n* member: you are user \"nina\" (groups \"cluster-joiners\", \"system:authenticated\"), and not allowed to do what follows\n* member: you are not allowed to "+want) {
				return fmt.Errorf("the answer is %w", cmpErr(err))
			}
			for _, f := range refusal.Findings[1:] {
				if !strings.HasPrefix(f.Cause, "you are not allowed to "+verb+" ") {
					t.Errorf("%s without %s %s: %s", plan, verb, resource, f)
				}
			}
			return nil
		})
		restore()
		env.Eventually(t, plan+" with it", plans[plan])
	}
	lacks("join", "patch", "secrets", role, `patch secrets "kubefederate-manager-binding" in namespace "kubefederate-member"`)
	lacks("join", "create", "configmaps", role, `create configmaps in namespace "kubefederate-member"`)
	lacks("join", "list", "nodes", clusterRole, `list nodes`)
	p.joined(federate.JoinOptions{Cluster: west, RequestedBy: command.Object{GroupResource: schema.GroupResource{Group: "cluster.x-k8s.io", Resource: "clusters"}, Namespace: "team-x", Name: "narrow"}})
	old := p.credential()
	lacks("rotate", "delete", "serviceaccounts", role, `delete serviceaccounts "kubefederate-manager" in namespace "kubefederate-member"`)
	if _, err := rotate(t.Context(), p.h, p.m, federate.RotateOptions{Name: "narrow", Cluster: west}); err != nil {
		t.Fatal(err)
	}
	p.rotated("rotate", old)
	lacks("unjoin", "delete", "configmaps", role, `delete configmaps "membership" in namespace "kubefederate-member"`)

	// A label on kube-system takes a right that the manifest does not give: without it, an unjoin once ended halfway for ever.
	admin := connectMember(t, p.member.Config())
	if _, err := admin.SetJoinRequest(t.Context(), "narrow", cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, plans["unjoin"](t.Context()), `cannot unjoin "narrow"; nothing was changed
* member: you are user "nina" (groups "cluster-joiners", "system:authenticated"), and not allowed to do what follows
* member: you are not allowed to patch namespaces "kube-system"`)
	if _, err := admin.RemoveLabel(t.Context(), cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
	result := p.unjoined(federate.UnjoinOptions{Cluster: west})
	const note = `host: clusters.cluster.x-k8s.io/team-x/narrow: carried the label kubefederate.io/federation=narrow, which asked to join; if it still does, discovery joins the cluster again, ` +
		`since you are not allowed to patch namespaces "kube-system": remove the label: kubectl label clusters.cluster.x-k8s.io narrow --namespace team-x kubefederate.io/federation-`
	if got := fmt.Sprint(result.Notes); got != "["+note+"]" {
		t.Errorf("notes %s, want [%s]", got, note)
	}
	p.unchanged()
	p.revoked("after unjoin", old)
}
