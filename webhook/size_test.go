package webhook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// TestSizes holds that what is as large as may be is judged in a moment, and that what is larger is not judged: a review that is
// forged may hold a megabyte of rules, patterns or labels, which took minutes.
func TestSizes(t *testing.T) {
	t.Parallel()
	many := func(n int, prefix string) map[string]string {
		keys := map[string]string{}
		for i := range n {
			keys[fmt.Sprint(prefix, i)] = strings.Repeat("a", 63)
		}
		return keys
	}
	for name, test := range map[string]struct {
		change func(*v1alpha1.MemberCluster, *v1alpha1.Federation)
		want   string
	}{
		"labels":      {func(m *v1alpha1.MemberCluster, _ *v1alpha1.Federation) { m.Labels = many(257, "l") }, `"m" has 257 labels, more than 256`},
		"long label":  {func(m *v1alpha1.MemberCluster, _ *v1alpha1.Federation) { m.Labels["l"] = strings.Repeat("a", 64) }, `"m" has a label that is too long`},
		"annotations": {func(m *v1alpha1.MemberCluster, _ *v1alpha1.Federation) { m.Annotations = many(257, v1alpha1.Prefix) }, `"m" has 257 annotations kubefederate.io/…, more than 256`},
		"others'":     {func(m *v1alpha1.MemberCluster, _ *v1alpha1.Federation) { m.Annotations = many(5000, "a") }, ""},
		"rules": {func(_ *v1alpha1.MemberCluster, f *v1alpha1.Federation) { f.Spec.Rules = make([]v1alpha1.Rule, 21) },
			`"f" has a spec that exceeds the bounds of its CustomResourceDefinition`},
		"pattern": {func(_ *v1alpha1.MemberCluster, f *v1alpha1.Federation) {
			f.Spec.Labels = []v1alpha1.LabelRule{{Pattern: strings.Repeat("a", 513)}}
		}, `"f" has a spec that exceeds the bounds of its CustomResourceDefinition`},
	} {
		m, f := cluster("m", "f", "x"), federation("f")
		test.change(&m, &f)
		old := cluster("m", "f", "x")
		for _, r := range []journal.Request{
			{Member: &rules.MemberChange{New: &m}}, {Member: &rules.MemberChange{Old: &old, New: &m}},
			{Federation: &rules.FederationChange{New: &f}}, {Federation: &rules.FederationChange{Old: &f, New: &f}},
		} {
			if r.Federation == nil != strings.Contains(test.want, `"m"`) {
				continue
			}
			if err := checkSizes(r); test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !apierrors.IsRequestEntityTooLargeError(err)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := checkSizes(journal.Request{Federation: &rules.FederationChange{Old: &f}}); err != nil {
			t.Errorf("%s: deletion: %v", name, err)
		}
	}

	largest, f := cluster("m", "f", "x"), federation("f")
	largest.Labels, largest.Annotations = many(255, v1alpha1.Prefix), many(256, v1alpha1.Prefix)
	largest.Labels[v1alpha1.LabelFederation] = "f"
	for i := range maxRules {
		f.Spec.Rules = append(f.Spec.Rules, v1alpha1.Rule{Name: fmt.Sprint("r", i), Expression: fmt.Sprintf(`!cluster.labels.exists(k, k == "%d")`, i)})
	}
	hosts := &server{federations: []v1alpha1.Federation{f}}
	g := serverOf(t, hosts, hosts)
	began := time.Now()
	answer(t, g, review(t, &largest, true))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the largest member was judged in %s", took)
	}
}

// TestSizesAreThoseOfTheKind compares the bounds with the CustomResourceDefinition.
func TestSizesAreThoseOfTheKind(t *testing.T) {
	t.Parallel()
	objects, err := manifests.Objects(manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" || !strings.HasPrefix(o.GetName(), "federations.") {
			continue
		}
		versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions")
		spec, _, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
		for want, at := range map[int64][]string{
			maxLabelRules: {"labels", "maxItems"}, maxLimits: {"limits", "maxItems"}, maxRules: {"rules", "maxItems"},
			maxLabelValues: {"labels", "items", "properties", "values", "maxItems"}, maxPattern: {"labels", "items", "properties", "pattern", "maxLength"},
			maxExpression: {"rules", "items", "properties", "expression", "maxLength"},
		} {
			if got, _, _ := unstructured.NestedFieldNoCopy(spec, at...); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s is %v in the CustomResourceDefinition, and %d here", strings.Join(at, "."), got, want)
			}
		}
		return
	}
	t.Fatal("there is no CustomResourceDefinition")
}
