package rules

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestNeverAnswered distinguishes made-up members from those that join, and from those that no API server has stored.
func TestNeverAnswered(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	const silent, byAlice = "has never answered the manager", `was created by "alice" and has never answered the manager`
	created := func(by string) func(*v1alpha1.MemberCluster) {
		return func(m *v1alpha1.MemberCluster) { m.Annotations[v1alpha1.AnnotationCreatedBy] = by }
	}
	writes := func(annotation string, age time.Duration) func(*v1alpha1.MemberCluster) {
		return func(m *v1alpha1.MemberCluster) {
			m.Annotations[annotation] = "x"
			m.CreationTimestamp = metav1.NewTime(now.Add(-age))
		}
	}
	for _, tt := range []struct {
		name   string
		member []func(*v1alpha1.MemberCluster)
		want   string
	}{
		{"by hand", nil, silent},
		{"by a join", []func(*v1alpha1.MemberCluster){created("alice")}, byAlice},
		{"a join that runs", []func(*v1alpha1.MemberCluster){created("alice"), writes(v1alpha1.AnnotationAttempt, time.Minute)}, ""},
		{"a join that ran just now", []func(*v1alpha1.MemberCluster){created("alice"), writes(v1alpha1.AnnotationJoinedBy, time.Minute)}, ""},
		{"what a join writes, forged", []func(*v1alpha1.MemberCluster){created("alice"), writes(v1alpha1.AnnotationJoinedBy, joinGrace)}, byAlice},
		{"facts", []func(*v1alpha1.MemberCluster){func(m *v1alpha1.MemberCluster) { m.Status.Facts = &v1alpha1.Facts{} }}, ""},
		{"keys", []func(*v1alpha1.MemberCluster){func(m *v1alpha1.MemberCluster) { m.Status.SigningKeys = []string{"k"} }}, ""},
		{"in a file", []func(*v1alpha1.MemberCluster){func(m *v1alpha1.MemberCluster) { m.ResourceVersion = "" }}, ""},
		{"a name that hides", []func(*v1alpha1.MemberCluster){created("a\u202e\n")}, `was created by "a\u202e\n" and has never answered the manager`},
		{"a name without end", []func(*v1alpha1.MemberCluster){created("a" + strings.Repeat("é", 1000))}, `was created by "a` + strings.Repeat("é", 126) + `…" and has never answered the manager`},
	} {
		m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "1", Annotations: map[string]string{}}}
		for _, change := range tt.member {
			change(m)
		}
		if got := NeverAnswered(m, now); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
