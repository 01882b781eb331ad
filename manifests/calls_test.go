package manifests_test

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
)

// TestCallsAreReadBack holds that what init wrote into a configuration is read from it again, and that a patch changes that
// and nothing else.
func TestCallsAreReadBack(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "https://127.0.0.1:9443", "https://manager.example/validate/memberclusters"} {
		for _, calls := range []*manifests.Calls{nil, {}, {Word: "w"}, {CABundle: []byte("pem")}, {CABundle: []byte("pem"), Word: "w"}} {
			configuration := find(t, objects(t, manifests.Options{WebhookURL: url, Calls: calls}), "ValidatingWebhookConfiguration")
			got, err := manifests.CallsOf(configuration)
			if err != nil || len(got) != 3 {
				t.Fatal(len(got), err)
			}
			want := manifests.Call{URL: url, HasPath: url != "" || calls != nil}
			if calls != nil {
				want.Calls = *calls
			}
			for _, call := range got {
				if fmt.Sprint(call) != fmt.Sprint(want) {
					t.Errorf("got %v, want %v", call, want)
				}
			}

			next := manifests.Calls{CABundle: []byte("next"), Word: "x"}
			configuration.SetResourceVersion("7")
			operations, err := manifests.PatchCalls(configuration, next)
			if err != nil {
				t.Fatal(err)
			}
			if op := operations[0]; op["op"] != "test" || op["path"] != "/metadata/resourceVersion" || op["value"] != "7" {
				t.Errorf("another change in between is not seen: %v", op)
			}
			webhooks, _, _ := unstructured.NestedSlice(configuration.Object, "webhooks")
			for i, op := range operations[1:] {
				if op["op"] != "replace" || op["path"] != fmt.Sprintf("/webhooks/%d/clientConfig", i) {
					t.Fatalf("operation %v", op)
				}
				webhooks[i].(map[string]any)["clientConfig"] = op["value"]
			}
			if err := unstructured.SetNestedSlice(configuration.Object, webhooks, "webhooks"); err != nil {
				t.Fatal(err)
			}
			wanted := find(t, objects(t, manifests.Options{WebhookURL: url, Calls: &next}), "ValidatingWebhookConfiguration")
			wanted.SetResourceVersion("7")
			if got, want := fmt.Sprint(configuration.Object), fmt.Sprint(wanted.Object); got != want {
				t.Errorf("patched to\n%s\nwant\n%s", got, want)
			}
		}
	}
}

func TestServerNames(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][]string{
		"":                              {"kubefederate-webhook.kubefederate-system.svc", "kubefederate-webhook.kubefederate-system.svc.cluster.local"},
		"https://127.0.0.1:9443/base":   {"127.0.0.1"},
		"https://[::1]:9443":            {"::1"},
		"https://[0:0::1]":              {"::1"},
		"https://Manager.Example.com./": {"manager.example.com"},
	} {
		if got := manifests.ServerNames(url); !slices.Equal(got, want) {
			t.Errorf("%s: %v", url, got)
		}
	}
}
