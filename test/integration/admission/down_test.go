//go:build unix

package admission

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestWebhookDown holds what goes on without a manager: everything but what a rule reads.
func TestWebhookDown(t *testing.T) {
	h := enforcing(t)
	empty := fed("down-empty")
	h.create(t, empty, fed("down"))
	m := member("down-1", "down")
	m.Finalizers = []string{"example.com/hold"}
	h.create(t, m, member("down-2", "down"))

	word := keysOf(t, h.admin).Word
	h.manager.Stop()
	defer func() {
		must(t, h.manager.Start(t.Context()))
		must(t, h.manager.Wait(t.Context()))
		// Negative control: with the manager back, the same request is admitted.
		answers(t, "", func() error { return h.admin.Create(t.Context(), member("down-3", "down"), client.DryRunAll) })
	}()

	status := func(m *v1alpha1.MemberCluster) error {
		return h.admin.Status().Patch(t.Context(), m, client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Offline"}}`)))
	}
	for _, test := range []struct {
		name    string
		request func() error
		refused string
	}{
		{"create a member", func() error { return h.admin.Create(t.Context(), member("down-3", "down")) }, "memberclusters"},
		{"change a label", func() error { return mergePatch(h.admin, t, m.Name, `{"metadata":{"labels":{"a":"b"}}}`) }, "changes.memberclusters"},
		{"change an endpoint", func() error { return mergePatch(h.admin, t, m.Name, `{"spec":{"server":"https://x.example.com"}}`) }, "changes.memberclusters"},
		{"create a federation", func() error { return h.admin.Create(t.Context(), fed("down-new")) }, "federations"},
		{"change a federation", func() error {
			return h.admin.Patch(t.Context(), fed("down"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"enforcement":"Warn"}}`)))
		}, "federations"},
		{"delete a federation", func() error { return h.admin.Delete(t.Context(), fed("down-empty")) }, "federations"},

		{"accept", func() error { return mergePatch(h.admin, t, m.Name, `{"spec":{"accepted":true}}`) }, ""},
		{"suspend", func() error { return mergePatch(h.admin, t, m.Name, `{"spec":{"suspended":true}}`) }, ""},
		{"annotate", func() error { return mergePatch(h.admin, t, m.Name, `{"metadata":{"annotations":{"a":"b"}}}`) }, ""},
		{"annotate a federation", func() error {
			return h.admin.Patch(t.Context(), fed("down"), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`)))
		}, ""},
		{"write a status", func() error { return status(member("down-1", "down")) }, ""},
		{"delete a member", func() error { return h.admin.Delete(t.Context(), member("down-2", "down")) }, ""},
		{"delete a member with a finalizer", func() error { return h.admin.Delete(t.Context(), member("down-1", "down")) }, ""},
		{"let go of it", func() error { return mergePatch(h.admin, t, m.Name, `{"metadata":{"finalizers":null}}`) }, ""},
		{"write an object of another project", func() error {
			return h.admin.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "down"}})
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := text(test.request())
			if test.refused == "" {
				if got != "" {
					t.Errorf("refused: %s", got)
				}
				return
			}
			want := fmt.Sprintf(`500 Internal error occurred: failed calling webhook "%s.kubefederate.io": failed to call webhook: Post "%s/validate/%s/%s?timeout=5s": dial tcp`,
				test.refused, h.manager.URL, strings.TrimPrefix(test.refused, "changes."), word)
			if !strings.HasPrefix(got, want) {
				t.Errorf("got  %s\nwant %s...", got, want)
			}
		})
	}
}

// TestJournalIsMissing holds that no member is admitted without it, and that the message says what brings it back.
func TestJournalIsMissing(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("unwritten"))
	leaver := member("unwritten-0", "unwritten")
	h.create(t, leaver)
	must(t, h.admin.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kubefederate-system", Name: "kubefederate-journal"}}))
	defer func() {
		must(t, h.manager.Install(t.Context()))
		answers(t, "", func() error { return h.admin.Create(t.Context(), member("unwritten-1", "unwritten"), client.DryRunAll) })
		h.create(t, member("unwritten-1", "unwritten"))
	}()
	must(t, h.admin.Delete(t.Context(), leaver))
	answers(t, `500 admission webhook "memberclusters.kubefederate.io" denied the request: Internal error occurred: the kubefederate manager could not judge member "unwritten-1": read the journal: configmaps "kubefederate-journal" not found; restore it: kubectl federate init`,
		func() error { return h.admin.Create(t.Context(), member("unwritten-1", "unwritten"), client.DryRunAll) })
}
