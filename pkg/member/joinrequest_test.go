package member_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestJoinRequestRefused holds to which namespace the federation label goes where labels of kube-system are refused: by a right, a policy or
// a webhook. Any other failure is one, and a label on kube-system counts before that on the other namespace.
func TestJoinRequestRefused(t *testing.T) {
	t.Parallel()
	const second = "kubefederate-member"
	for _, tt := range []struct {
		name string
		// code and reason are the answer for kube-system, and secondCode that for the other namespace.
		code       int
		reason     string
		secondCode int
		// label is what kube-system carries.
		label, want string
	}{
		{"a right", 403, "Forbidden", 200, "", second},
		{"a policy", 422, "Invalid", 200, "", second},
		{"a webhook that names no code", 400, "BadRequest", 200, "", second},
		{"a webhook that fails", 500, "InternalError", 200, "", ""},
		{"a conflict", 409, "Conflict", 200, "", ""},
		{"both", 422, "Invalid", 400, "", ""},
		{"an older label stays", 422, "Invalid", 200, "edge", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const namespace = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q,"labels":{"kubefederate.io/federation":%q}}}`
			const status = `{"apiVersion":"v1","kind":"Status","status":"Failure","code":%d,"reason":%q,"message":"no, says %s"}`
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.Method == http.MethodGet:
					fmt.Fprintf(w, namespace, "kube-system", tt.label)
				case r.URL.Path == "/api/v1/namespaces/kube-system":
					w.WriteHeader(tt.code)
					fmt.Fprintf(w, status, tt.code, tt.reason, "kube-system")
				case tt.secondCode != http.StatusOK:
					w.WriteHeader(tt.secondCode)
					fmt.Fprintf(w, status, tt.secondCode, "BadRequest", second)
				default:
					fmt.Fprintf(w, namespace, second, "prod")
				}
			}))
			t.Cleanup(server.Close)
			m, err := member.Connect(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.SetJoinRequest(t.Context(), "prod", cluster.DryRunNone)
			if got.Namespace != tt.want {
				t.Errorf("the label is on %q, want %q: %v", got.Namespace, tt.want, err)
			}
			const refused = `member: patch Namespace "kube-system": no, says kube-system`
			if tt.want == "" && (err == nil || err.Error() != refused) || tt.want != "" && err != nil {
				t.Errorf("error %v", err)
			}
		})
	}
}
