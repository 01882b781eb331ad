//go:build unix

package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// aboutAPI is the CustomResourceDefinition of the About API, with the fields that KEP-2149 names.
const aboutAPI = `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "clusterproperties.about.k8s.io",
	"annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/3084"}}, "spec": {
	"group": "about.k8s.io", "scope": "Cluster", "names": {"kind": "ClusterProperty", "plural": "clusterproperties"},
	"versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
		"spec": {"type": "object", "required": ["value"], "properties": {"value": {"type": "string"}}}}}}}]}}`

// TestAbout follows what a cluster says of its membership: the About API comes after the join, the member is approved late, others
// change and delete properties, it is suspended, and leaves.
func TestAbout(t *testing.T) {
	west := fleet(t).Cluster("west")
	h, m := connect(t, west)
	hosts, members := administrator(t, fleet(t).Cluster("host")), administrator(t, west)
	const name, fed = "west", "about"
	if _, err := h.CreateFederation(t.Context(), &v1alpha1.Federation{
		ObjectMeta: metav1.ObjectMeta{Name: fed}, Spec: v1alpha1.FederationSpec{Acceptance: v1alpha1.AcceptManual},
	}, cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
	patch := func(text string) {
		t.Helper()
		if err := hosts.Patch(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, client.RawPatch("application/merge-patch+json", []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	requests := 0
	probe := func() {
		t.Helper()
		requests++
		request := fmt.Sprint("about-", requests)
		patch(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationProbeRequested, request))
		env.Eventually(t, "the answer to a request to probe", func(ctx context.Context) error {
			now, err := h.Member(ctx, name)
			if err == nil && now.Status.ObservedProbeRequest != request {
				err = fmt.Errorf("status.observedProbeRequest is %q", now.Status.ObservedProbeRequest)
			}
			return err
		})
	}
	// is waits for the member's phase, what the conditions say and the properties of its cluster.
	is := func(phase v1alpha1.Phase, set, granted string, values ...string) (at []string) {
		t.Helper()
		env.Eventually(t, fmt.Sprintf("%s, %s, %q", phase, set, values), func(ctx context.Context) error {
			now, err := h.Member(ctx, name)
			if err != nil {
				return err
			}
			of := func(kind string) string {
				c := meta.FindStatusCondition(now.Status.Conditions, kind)
				if c == nil {
					return ""
				}
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			}
			at = nil
			var got []string
			for _, property := range []string{v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet} {
				o, err := m.Find(ctx, member.PropertyRef(property))
				if err != nil && !cluster.IsNotServed(err) {
					return err
				}
				if o != nil {
					value, _, _ := unstructured.NestedString(o.Object, "spec", "value")
					got, at = append(got, value+" "+o.GetLabels()[v1alpha1.LabelFederation]), append(at, o.GetResourceVersion())
				}
			}
			want := fmt.Sprint(phase, "\n", set, "\n", granted, "\n", values)
			if diff := cmp.Diff(want, fmt.Sprint(now.Status.Phase, "\n", of(v1alpha1.ConditionPropertiesSet), "\n", of(v1alpha1.ConditionGranted), "\n", got)); diff != "" {
				return errors.New("(-want +got)\n" + diff)
			}
			return nil
		})
		return at
	}
	const (
		allGranted = "True Granted: the manager may do on the cluster what it needs to"
		match      = "True PropertiesMatch: the ClusterProperties of the cluster say what it is a member of"
	)

	join(t, h, m, federate.JoinOptions{Name: name, Federation: fed})
	is(v1alpha1.PhasePending, "", allGranted)
	record, err := h.Member(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	id, set := record.Spec.ClusterID+" "+fed, fed+" "+fed

	crd := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(aboutAPI), crd); err != nil {
		t.Fatal(err)
	}
	if err := members.Create(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = members.Delete(context.WithoutCancel(t.Context()), crd) })
	env.Eventually(t, "the About API is served", func(ctx context.Context) error {
		_, err := m.List(ctx, cluster.ClusterProperties, cluster.ListOptions{})
		return err
	})
	refused := "create ClusterProperty cluster.clusterset.k8s.io: 403 Forbidden: clusterproperties.about.k8s.io is forbidden: User " +
		`"system:serviceaccount:kubefederate-member:kubefederate-manager" cannot create resource "clusterproperties" in API group "about.k8s.io" at the cluster scope` +
		"; restore the manager's permissions: kubectl federate join west --federation about --member-context CONTEXT"
	probe()
	is(v1alpha1.PhasePending, "False PropertyForbidden: "+refused, "False PropertyForbidden: the manager may not do all that it needs to: "+refused)
	join(t, h, m, federate.JoinOptions{Name: name, Federation: fed})
	is(v1alpha1.PhasePending, match, allGranted, id)

	patch(`{"spec":{"accepted":true}}`)
	set0 := is(v1alpha1.PhaseReady, match, allGranted, id, set)
	probe()
	if set1 := is(v1alpha1.PhaseReady, match, allGranted, id, set); !cmp.Equal(set0, set1) {
		t.Errorf("what is as it is to be was written: %s, then %s", set0, set1)
	}

	property := func(name string) *unstructured.Unstructured { return cluster.ClusterProperties.New("", name) }
	if err := errors.Join(
		members.Patch(t.Context(), property(v1alpha1.PropertyClusterSet), client.RawPatch("application/merge-patch+json",
			[]byte(`{"metadata":{"annotations":{"example.com/a":"b"}},"spec":{"value":"elsewhere"}}`))),
		members.Delete(t.Context(), property(v1alpha1.PropertyClusterID)),
	); err != nil {
		t.Fatal(err)
	}
	repaired := fmt.Sprintf(`ClusterProperty cluster.clusterset.k8s.io was deleted; the manager set it to %q; `+
		`ClusterProperty clusterset.k8s.io had become "elsewhere"; the manager set it to "about"`, record.Spec.ClusterID)
	probe()
	is(v1alpha1.PhaseReady, "True PropertyRepaired: "+repaired, allGranted, id, set)
	if o, err := m.Get(t.Context(), member.PropertyRef(v1alpha1.PropertyClusterSet)); err != nil || o.GetAnnotations()["example.com/a"] != "b" {
		t.Errorf("what others wrote is gone: %v %v", o, err)
	}
	probe()
	is(v1alpha1.PhaseReady, match, allGranted, id, set)

	patch(`{"spec":{"suspended":true}}`)
	probe()
	is(v1alpha1.PhaseSuspended, match, allGranted, id, set)
	env.Eventually(t, "Events of the properties", func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := hosts.List(ctx, &list, client.InNamespace(metav1.NamespaceDefault)); err != nil {
			return err
		}
		var got []string
		for _, e := range list.Items {
			if e.Regarding.UID == record.UID && strings.HasPrefix(e.Reason, "Propert") {
				got = append(got, e.Type+" "+e.Reason+": "+e.Note)
			}
		}
		if diff := cmp.Diff([]string{"Warning PropertyForbidden: " + refused, "Warning PropertyRepaired: " + repaired}, got); diff != "" {
			return errors.New("(-want +got)\n" + diff)
		}
		return nil
	})

	unjoin(t, h, m, name)
	for _, name := range []string{v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet} {
		if o, err := m.Find(t.Context(), member.PropertyRef(name)); o != nil || err != nil {
			t.Errorf("after it left: %v %v", o, err)
		}
	}
}
