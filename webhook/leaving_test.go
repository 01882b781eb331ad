package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// written is a client that keeps the journal's text, or fails.
type written struct {
	client.Client
	text string
	err  error
}

func (w *written) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if m, is := o.(*corev1.ConfigMap); is {
		m.Data = map[string]string{"journal": w.text}
	}
	return w.err
}

func (w *written) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	if m, is := o.(*corev1.ConfigMap); is && w.err == nil {
		w.text = m.Data["journal"]
	}
	return w.err
}

// TestLeaving holds that whoever leaves is written down and admitted, and admitted also when that fails.
func TestLeaving(t *testing.T) {
	t.Parallel()
	m := cluster("m", "f", "x")
	m.UID = "m-1"
	raw, err := json.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	const counted = "kubefederate_admission_decisions_total{dry_run=false,operation=DELETE,outcome="
	for name, test := range map[string]struct {
		raw     []byte
		dryRun  bool
		err     error
		noted   bool
		outcome string
	}{
		"a member":                  {raw: raw, noted: true, outcome: counted + "allowed,resource=memberclusters} 1"},
		"a dry run":                 {raw: raw, dryRun: true, outcome: "kubefederate_admission_decisions_total{dry_run=true,operation=DELETE,outcome=allowed,resource=memberclusters} 1"},
		"nothing":                   {outcome: counted + "undecided,resource=memberclusters} 1"},
		"garbage":                   {raw: []byte(`{"metadata":[]}`), outcome: counted + "undecided,resource=memberclusters} 1"},
		"no member":                 {raw: []byte(`{"metadata":{"name":"m"}}`), outcome: counted + "undecided,resource=memberclusters} 1"},
		"the journal cannot be had": {raw: raw, err: errors.New("etcd is away"), outcome: counted + "undecided,resource=memberclusters} 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &written{err: test.err}
			g, registry := instrumented(t, &Guard{view: &view{}, journal: journal.New(journal.Options{Host: journal.NewHost(), Client: store})})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				g.Start(ctx)
			}()
			request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Delete, DryRun: &test.dryRun}}
			request.OldObject.Raw = test.raw
			answer := leaving{g}.Handle(t.Context(), request)
			stop()
			<-ended
			if !answer.Allowed || strings.Contains(store.text, `"uid":"m-1"`) != test.noted {
				t.Errorf("allowed %v; the journal holds %s", answer.Allowed, store.text)
			}
			_, got := series(t, registry)
			got = slices.DeleteFunc(got, func(s string) bool { return !strings.Contains(s, "decisions") })
			if diff := cmp.Diff([]string{test.outcome}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
