package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// TestRevokeWaits holds that revoke takes no right away while the manager still has to remove what it published with it, and that it
// does not wait for ever.
func TestRevokeWaits(t *testing.T) {
	t.Parallel()
	const refused = `error: cannot revoke what federation "prod" was granted; nothing was changed
* host: namespace "fleet": what the manager published there was not removed in time (--timeout), and would stay: leave it there with --wait=false, or see what is wrong: kubectl federate check --kubeconfig FILE
`
	for _, tt := range []struct {
		name, flags string
		// reads is how often the federation still has the namespace.
		reads  int
		code   int
		stderr string
		wrote  bool
	}{
		{"nothing is there", "", 0, 0, "", true},
		{"it is removed", "", 3, 0, "", true},
		{"it is not removed", "--timeout=400ms", 1000, 2, refused, false},
		{"it may stay", "--wait=false", 1000, 0, "", true},
		{"a dry run", "--dry-run=server", 1000, 0, "Warning: revoke waits until the manager has removed what it published in namespace \"fleet\"\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			reads, wrote := 0, []string{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.Method != http.MethodGet:
					wrote = append(wrote, r.Method+" "+r.URL.Path)
					fmt.Fprint(w, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"fleet"}}`)
				case r.URL.Path == "/apis/kubefederate.io/v1alpha1/federations/prod":
					status := "{}"
					// The first read is for what stands against it.
					if reads++; reads <= tt.reads+1 {
						status = `{"inventory":{"namespaces":["fleet"]}}`
					}
					fmt.Fprintf(w, `{"apiVersion":"kubefederate.io/v1alpha1","kind":"Federation","metadata":{"name":"prod"},"status":%s}`, status)
				case r.URL.Path == "/api/v1/namespaces/fleet":
					fmt.Fprint(w, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"fleet","uid":"u","labels":{"kubefederate.io/inventory":"prod"}}}`)
				default:
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":404,"reason":"NotFound","details":{"name":"x","kind":"roles"}}`)
				}
			}))
			t.Cleanup(server.Close)
			config := clientcmdapi.NewConfig()
			config.Clusters["c"], config.Contexts["c"], config.CurrentContext = &clientcmdapi.Cluster{Server: server.URL}, &clientcmdapi.Context{Cluster: "c"}, "c"
			file := filepath.Join(t.TempDir(), "config")
			if err := clientcmd.WriteToFile(*config, file); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := mistype(t, "revoke prod --inventory fleet --kubeconfig "+file+" "+tt.flags)
			if want := strings.ReplaceAll(tt.stderr, "FILE", file); code != tt.code || stderr != want {
				t.Errorf("exit code %d: %s\nwant %d: %s", code, stderr, tt.code, want)
			}
			mu.Lock()
			defer mu.Unlock()
			if slices.Contains(wrote, "PATCH /api/v1/namespaces/fleet") != tt.wrote {
				t.Errorf("wrote %q", wrote)
			}
			if tt.reads < 1000 && reads != tt.reads+2 {
				t.Errorf("the federation was read %d times", reads)
			}
		})
	}
}
