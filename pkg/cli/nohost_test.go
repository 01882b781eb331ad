package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// TestNoHost is what a command says of a cluster that is no host: which context leads to one, where the current one does and another
// was named.
func TestNoHost(t *testing.T) {
	t.Parallel()
	serve := func(isHost bool) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if isHost && r.URL.Path == "/apis/kubefederate.io" {
				fmt.Fprint(w, `{"kind":"APIGroup","apiVersion":"v1","name":"kubefederate.io"}`)
				return
			}
			http.NotFound(w, r)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	config := clientcmdapi.NewConfig()
	for name, server := range map[string]string{"home": serve(true), "us-west": serve(false), "us-east": serve(false)} {
		config.Clusters[name], config.Contexts[name] = &clientcmdapi.Cluster{Server: server}, &clientcmdapi.Context{Cluster: name}
	}
	const choose = "choose the host, which keeps federations and members, with --context"
	for _, tt := range []struct{ current, flag, want string }{
		{"home", " --context us-west", `the current context "home" leads to a host, so leave out --context`},
		{"us-east", " --context us-west", choose},
		{"us-west", " --context us-west", choose},
		{"us-west", "", choose},
		{"", " --context us-west", choose},
	} {
		config.CurrentContext = tt.current
		file := filepath.Join(t.TempDir(), "config")
		if err := clientcmd.WriteToFile(*config, file); err != nil {
			t.Fatal(err)
		}
		flags := " --kubeconfig " + file + tt.flag
		code, out, got := mistype(t, "get"+flags)
		want := "error: host: this cluster is not a host yet: it does not serve kubefederate.io: " + tt.want + "; or make this cluster a host: kubectl federate init"
		if code != 1 || out != "" || !strings.HasPrefix(got, want+" --") {
			t.Errorf("current context %q,%s: exit code %d: %s%s\nwant %s", tt.current, tt.flag, code, out, got, want)
		}
	}
}
