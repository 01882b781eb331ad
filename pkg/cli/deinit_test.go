package cli

import (
	"fmt"
	"net/http"
	"testing"
)

// TestDeinitNamesFederations holds that what is deleted with the kind Federation is named.
func TestDeinitNamesFederations(t *testing.T) {
	t.Parallel()
	const list = `{"apiVersion":"kubefederate.io/v1alpha1","kind":"FederationList","metadata":{},"items":[{"metadata":{"name":"edge"}},{"metadata":{"name":"prod"}}]}`
	const definition = "customresourcedefinition.apiextensions.k8s.io/federations.kubefederate.io deleted (dry run)\n"
	for _, tt := range []struct {
		name, list, out, errOut string
		code                    int
	}{
		{"two federations", list, "federation.kubefederate.io/edge deleted (dry run)\nfederation.kubefederate.io/prod deleted (dry run)\n" + definition, "", 200},
		{"no right to list them", `{"apiVersion":"v1","kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"no"}`, definition,
			"Warning: which federations are deleted is not known: host: list federations.kubefederate.io: no: ask an administrator of the host for the ClusterRole kubefederate-viewer\n", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := answering(t, func(w http.ResponseWriter, r *http.Request) {
				switch path := r.URL.Path; {
				case path == "/apis/kubefederate.io/v1alpha1/federations":
					w.WriteHeader(tt.code)
					fmt.Fprint(w, tt.list)
				case path == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/federations.kubefederate.io":
					fmt.Fprint(w, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"federations.kubefederate.io"}}`)
				case r.URL.Query().Has("limit"): // lists
					fmt.Fprint(w, `{"apiVersion":"v1","kind":"List","metadata":{},"items":[]}`)
				default:
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, notFound)
				}
			})
			if code, out, errOut := mistype(t, "deinit --dry-run=client --kubeconfig "+config); code != 0 || out != tt.out || errOut != tt.errOut {
				t.Errorf("exit code %d:\n%s%s\nwant:\n%s%s", code, out, errOut, tt.out, tt.errOut)
			}
		})
	}
}
