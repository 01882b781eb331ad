package cluster_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestLacking asks for each right once, and for none of an administrator, who has all of them.
func TestLacking(t *testing.T) {
	t.Parallel()
	account := cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: "n", Name: "a"}
	token := account
	token.Subresource = "token"
	rights := append(append(account.Rights("get", "create", "get", "delete"), account.Rights("delete")...), token.Rights("create")...)
	for _, tt := range []struct {
		verb     string // the one that the caller has
		requests int32
		want     string
	}{
		{"*", 1, "[]"},
		{"get", 5, `[create serviceaccounts in namespace "n" delete serviceaccounts "a" in namespace "n" create serviceaccounts/token "a" in namespace "n"]`},
		{"create", 5, `[get serviceaccounts "a" in namespace "n" delete serviceaccounts "a" in namespace "n"]`},
	} {
		var requests atomic.Int32
		c := connectTo(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			var review struct {
				Spec struct{ ResourceAttributes struct{ Verb string } }
			}
			if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			sends(fmt.Sprintf(`{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":%t}}`, review.Spec.ResourceAttributes.Verb == tt.verb))(w)
		})
		lacking, err := c.Lacking(t.Context(), rights)
		if got := fmt.Sprint(lacking); err != nil || got != tt.want || requests.Load() != tt.requests {
			t.Errorf("%s: %s after %d requests, error %v; want %s after %d", tt.verb, got, requests.Load(), err, tt.want, tt.requests)
		}
	}
}
