package member_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestUnidentified holds that a server which gives the namespace kube-system no UID is no cluster, however it is asked: an
// empty ID would skip the judgement of identity.
func TestUnidentified(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system"}}`))
	}))
	t.Cleanup(server.Close)
	m, err := member.Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	want := `member: namespace "kube-system" of ` + server.URL + ` has no UID, which is a cluster's identity: this is not a Kubernetes cluster`
	for name, ask := range map[string]func() error{
		"Self": func() error { _, err := m.Self(t.Context()); return err },
		"Read": func() error { _, err := m.Read(t.Context()); return err },
		"ID":   func() error { _, err := m.ID(t.Context()); return err },
	} {
		if err := ask(); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
