package install

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// TestLacking holds which rights applying a role and its binding takes: to write both, and what they give, unless the caller may escalate
// the one and bind the other.
func TestLacking(t *testing.T) {
	t.Parallel()
	const write = "get clusterroles,create clusterroles,patch clusterroles,get clusterrolebindings,create clusterrolebindings,patch clusterrolebindings,"
	for _, tt := range []struct{ name, may, want string }{
		{"an administrator", "* *", ""},
		{"who has the verbs", write + "discover federations,leave federations", ""},
		{"who has one of them", write + "discover federations", `leave federations.kubefederate.io "prod" is given`},
		{"who may escalate", write + "escalate clusterroles", `discover federations.kubefederate.io "prod" is given; leave federations.kubefederate.io "prod" is given`},
		{"who may bind", write + "bind clusterroles", `discover federations.kubefederate.io "prod" is given; leave federations.kubefederate.io "prod" is given`},
		{"who may escalate and bind", write + "escalate clusterroles,bind clusterroles", ""},
		{"who may not write", "discover federations,leave federations,get clusterroles,patch clusterroles,get clusterrolebindings",
			`create clusterroles.rbac.authorization.k8s.io; create clusterrolebindings.rbac.authorization.k8s.io; patch clusterrolebindings.rbac.authorization.k8s.io "kubefederate-discovery:prod"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var review authorizationv1.SelfSubjectAccessReview
				if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
					t.Error(err)
				}
				a := review.Spec.ResourceAttributes
				review.Status.Allowed = slices.Contains(strings.Split(tt.may, ","), a.Verb+" "+a.Resource)
				w.Header().Set("Content-Type", "application/json")
				if err := json.NewEncoder(w).Encode(review); err != nil {
					t.Error(err)
				}
			}))
			t.Cleanup(server.Close)
			h, err := host.Connect(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			lacks, err := Lacking(t.Context(), h, manifests.DiscoveryBinding("prod", "discover", "leave"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range lacks {
				text := l.String()
				if l.Given {
					text += " is given"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
