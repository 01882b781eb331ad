package cli

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestFirstStep holds what get says on a host without members, and that only a list of all says it.
func TestFirstStep(t *testing.T) {
	t.Parallel()
	const none = "No members found\n"
	for _, tt := range []struct{ name, flags, federations, want string }{
		{"a new host", "", "", none + "to create a federation, run: kubectl federate create federation NAME --kubeconfig FILE\n"},
		{"one federation", "", `{"metadata":{"name":"prod"}}`, none + "to join a cluster, run: kubectl federate join NAME --federation prod --member-context CONTEXT --kubeconfig FILE\n"},
		{"two federations", "", `{"metadata":{"name":"prod"}},{"metadata":{"name":"edge"}}`,
			none + "to join a cluster, run: kubectl federate join NAME --federation FEDERATION --member-context CONTEXT --kubeconfig FILE\n"},
		{"some members", " -l a=b", "", none},
		{"for a program", " -o json", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := answering(t, func(w http.ResponseWriter, r *http.Request) {
				const list = `{"apiVersion":"kubefederate.io/v1alpha1","kind":"%sList","metadata":{"resourceVersion":"1"},"items":[%s]}`
				switch {
				case strings.HasSuffix(r.URL.Path, "/memberclusters"):
					fmt.Fprintf(w, list, "MemberCluster", "")
				case strings.HasSuffix(r.URL.Path, "/federations"):
					fmt.Fprintf(w, list, "Federation", tt.federations)
				default:
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, notFound)
				}
			})
			code, _, errOut := mistype(t, "get --kubeconfig "+config+tt.flags)
			if want := strings.ReplaceAll(tt.want, "FILE", config); code != 0 || !strings.HasSuffix(errOut, want) || want == "" && strings.Contains(errOut, "to join") {
				t.Errorf("exit code %d\n%s\nwant\n%s", code, errOut, want)
			}
		})
	}
}
