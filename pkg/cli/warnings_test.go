package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// TestWarnings asks a server that warns of everything: each warning is told once, with the member's name where there
// are many, and never behind a live line.
func TestWarnings(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Warning", `299 - "127.0.0.1 is a loopback address"`)
		w.Header().Add("Warning", `199 - "not of an API server"`)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"MemberCluster","apiVersion":"kubefederate.io/v1alpha1","metadata":{"name":"x"}}`)
	}))
	t.Cleanup(server.Close)
	var out bytes.Buffer
	d := &factory{IOStreams: genericiooptions.IOStreams{ErrOut: &out}}
	d.warnings.d = d
	h, err := host.Connect(d.tuned(&rest.Config{Host: server.URL}))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(names ...string) {
		t.Helper()
		members := make([]v1alpha1.MemberCluster, len(names))
		for i, name := range names {
			members[i].Name = name
		}
		for i := range members {
			if _, err := h.Member(aboutOne(t.Context(), members, i), "x"); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask("one")
	ask("one")
	p := newProgress(d, "working")
	p.terminal = true
	p.update("working")
	ask("us-east", "us-west", "us-east")
	p.end()
	ask("us-east", "eu-west")
	want := "Warning: 127.0.0.1 is a loopback address\n" +
		"\r\x1b[Kworking\r\x1b[KWarning: us-east: 127.0.0.1 is a loopback address\n" +
		"Warning: us-west: 127.0.0.1 is a loopback address\n" +
		"Warning: eu-west: 127.0.0.1 is a loopback address\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
