package host_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/host"
)

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
