package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// TestWebhookDown holds what to do where API servers cannot call the webhook: look at the manager's pods, or where it runs outside of the
// host at its log.
func TestWebhookDown(t *testing.T) {
	t.Parallel()
	const pods, log = "see that its pods run: kubectl get pods --namespace kubefederate-system", "look at the log of the manager that serves there"
	for call, want := range map[string]string{
		`"x": failed to call webhook: Post "https://kubefederate-webhook.kubefederate-system.svc:443/validate/memberclusters?timeout=5s": no endpoints available`: pods,
		`"x": could not get REST client: unable to load root certificates`:                                                                                        pods,
		`"x": failed to call webhook: Post "https://10.0.0.1:9443/validate/memberclusters?timeout=5s": connection refused`:                                        log,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			if err := json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError,
				Code: http.StatusInternalServerError, Message: "failed calling webhook " + call,
			}); err != nil {
				t.Error(err)
			}
		}))
		t.Cleanup(server.Close)
		h, err := host.Connect(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		want = "host: " + host.ErrWebhookDown.Error() + ", so the API server refuses every change of a federation or a member (" + call + "): " + want
		if _, err := h.Federation(t.Context(), "prod"); !errors.Is(err, host.ErrWebhookDown) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// warned counts warnings.
type warned int

func (w *warned) HandleWarningHeaderWithContext(context.Context, int, string, string) { *w++ }

// TestEnforcingIsQuiet holds that what a host warns of the member by which the webhook is tried is not shown: it is no member of the
// user's.
func TestEnforcingIsQuiet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		code         int
		want         error
	}{
		{"enforcing", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"details":{"causes":[{"field":"metadata.labels[x]"}]}}`, 422, nil},
		{"not enforcing", `{"kind":"MemberCluster","apiVersion":"kubefederate.io/v1alpha1"}`, 201, host.ErrNotEnforcing},
		{"down", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"InternalError","code":500,"message":"failed calling webhook \"x\": no answer"}`, 500, host.ErrWebhookDown},
	} {
		var asked string
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.Method + " " + r.URL.RequestURI()
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Warning", `299 - "spec.joinedWith.kubernetesVersion: the version is unknown"`)
			w.WriteHeader(tt.code)
			fmt.Fprint(w, tt.answer)
		}))
		t.Cleanup(server.Close)
		var warnings warned
		h, err := host.Connect(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, WarningHandlerWithContext: &warnings})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.EnforcingFor(t.Context(), host.Target{Federation: "prod"}); !errors.Is(err, tt.want) || warnings > 0 {
			t.Errorf("%s: %v, %d warnings", tt.name, err, warnings)
		}
		if want := "POST /apis/kubefederate.io/v1alpha1/memberclusters?dryRun=All&fieldManager=kubectl-federate"; asked != want {
			t.Errorf("%s: asked %s, want %s", tt.name, asked, want)
		}
	}
}
