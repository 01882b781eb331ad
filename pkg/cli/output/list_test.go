package output

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestLists are the same bytes as of the whole list at once.
func TestLists(t *testing.T) {
	t.Parallel()
	member := func(name, message string) v1alpha1.MemberCluster {
		return v1alpha1.MemberCluster{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"a": "yes", "b": "1"}},
			Spec:       v1alpha1.MemberClusterSpec{Server: "https://" + name, CABundle: []byte("ca\n")},
			Status:     v1alpha1.MemberClusterStatus{Conditions: []metav1.Condition{{Type: "Ready", Message: message}}},
		}
	}
	for _, members := range [][]v1alpha1.MemberCluster{
		{},
		{member("a", "plain"), member("b", "two\nlines\n\n  and a blank\n")},
		{member("a", " leading\nblanks"), member("b", "#no comment"), member("c", "- a: b"), member("d", "\n")},
	} {
		whole := WithKind(&v1alpha1.MemberClusterList{Items: members}, "MemberClusterList")
		for i := range members {
			WithKind(&members[i], "MemberCluster")
		}
		asJSON, err := json.MarshalIndent(whole, "", "    ")
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := yaml.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		for format, want := range map[string]string{"json": string(asJSON) + "\n", "yaml": string(asYAML)} {
			f := NewFlags()
			f.Value = format
			var out bytes.Buffer
			if err := f.Object(NewStream(&out), whole); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Errorf("%s of %d members:\n%s", format, len(members), diff)
			}
		}
	}
}
