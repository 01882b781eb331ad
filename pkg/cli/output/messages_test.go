package output

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// TestWarnings asks a server that warns of everything: each warning is printed once, with the member's name where there
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
	messages := &Messages{W: &out}
	h, err := host.Connect(&rest.Config{Host: server.URL, WarningHandlerWithContext: messages})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(names ...string) {
		t.Helper()
		for _, name := range names {
			ctx := t.Context()
			if name != "" {
				ctx = About(ctx, name)
			}
			if _, err := h.Member(ctx, "x"); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask("")
	ask("")
	p := messages.Progress("working")
	p.terminal = os.Stdout // any file: what is printed goes to W
	p.Update("working")
	ask("us-east", "us-west", "us-east")
	p.End()
	ask("us-east", "eu-west")
	want := "Warning: 127.0.0.1 is a loopback address\n" +
		"\r\x1b[Kworking\r\x1b[KWarning: us-east: 127.0.0.1 is a loopback address\n" +
		"Warning: us-west: 127.0.0.1 is a loopback address\n" +
		"Warning: eu-west: 127.0.0.1 is a loopback address\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLongWarning bounds what a server can fill a terminal with.
func TestLongWarning(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	(&Messages{W: &out}).HandleWarningHeaderWithContext(t.Context(), 299, "", strings.Repeat("x", 60_000))
	if want := "Warning: " + strings.Repeat("x", 4<<10-3) + "…\n"; out.String() != want {
		t.Errorf("%d bytes, want %d", out.Len(), len(want))
	}
}

// TestProgressOfMany pins what is printed of each cluster: a line that counts on a terminal, a line each elsewhere.
func TestProgressOfMany(t *testing.T) {
	t.Parallel()
	for terminal, want := range map[bool]string{
		true:  "\r\x1b[K1 of 2 clusters done\r\x1b[Knote: x\n",
		false: "us-east: joined\nnote: x\n",
	} {
		var out bytes.Buffer
		p := (&Messages{W: &out}).Progress("working")
		if terminal {
			p.terminal = os.Stdout // any file: what is printed goes to W
		}
		p.Step("1 of 2 clusters done", "us-east: joined")
		p.Line("note: x")
		p.End()
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("terminal %v:\n%s", terminal, diff)
		}
	}
}
