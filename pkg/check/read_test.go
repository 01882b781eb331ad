package check

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestObserveUnidentified holds that a cluster whose ID is not known was not checked.
func TestObserveUnidentified(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		fault  cluster.Fault
		want   string
	}{
		{"forbidden", http.StatusForbidden, cluster.FaultForbidden, `namespaces "kube-system" is forbidden: User "bob" cannot get it`},
		{"without an ID", http.StatusOK, cluster.FaultAnswer, `member: namespace "kube-system" of SERVER has no UID, which is a cluster's identity: this is not a Kubernetes cluster`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				if tt.status == http.StatusOK {
					_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Thing","metadata":{"name":"x"}}`))
					return
				}
				_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Status","status":"Failure","code":403,"reason":"Forbidden",` +
					`"message":"namespaces \"kube-system\" is forbidden: User \"bob\" cannot get it"}`))
			}))
			t.Cleanup(server.Close)
			ways := []way{{connect: func() (*member.Cluster, error) { return member.Connect(&rest.Config{Host: server.URL}) }}}
			seen := observe(ways, func(_ int, work func(context.Context, int) error) []error { return []error{work(t.Context(), 0)} })
			if seen[0].State != nil {
				t.Error("it counts as read")
			}
			if err := seen[0].Err; err == nil || cluster.FaultOf(err) != tt.fault || cluster.Cause(err) != strings.ReplaceAll(tt.want, "SERVER", server.URL) {
				t.Errorf("error %v (%d), want %q (%d)", err, cluster.FaultOf(err), tt.want, tt.fault)
			}
		})
	}
}
