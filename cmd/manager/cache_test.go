package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestCacheHoldsNoCredential holds that the manager asks the API server for the metadata of credentials alone, in their
// namespace, and keeps nothing else of it: what joiners store would fill its memory.
func TestCacheHoldsNoCredential(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		asked []string
	)
	secret := metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1alpha1.CredentialsNamespace, Name: "east", UID: "u", ResourceVersion: "1",
			Labels:      map[string]string{v1alpha1.LabelFederation: "prod"},
			Annotations: map[string]string{"a": strings.Repeat("x", 1000)},
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Accept"))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			_ = json.NewEncoder(w).Encode(metav1.PartialObjectMetadataList{
				TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
				ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []metav1.PartialObjectMetadata{secret},
			})
			return
		}
		if r.URL.Query().Get("sendInitialEvents") == "true" {
			end := secret.DeepCopy()
			end.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": secret})
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "BOOKMARK", "object": end})
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)

	options := cacheOptions()
	mapper := meta.NewDefaultRESTMapper(nil)
	kind := corev1.SchemeGroupVersion.WithKind("Secret")
	mapper.Add(kind, meta.RESTScopeNamespace)
	options.Mapper, options.Scheme = mapper, clientgoscheme.Scheme
	c, err := cache.New(&rest.Config{Host: server.URL}, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = c.Start(ctx) }()
	if !c.WaitForCacheSync(ctx) {
		t.Fatal("the cache does not start")
	}
	got := &metav1.PartialObjectMetadata{}
	got.SetGroupVersionKind(kind)
	if err := c.Get(ctx, client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: "east"}, got); err != nil {
		t.Fatal(err)
	}
	if got.UID != "u" || got.Labels[v1alpha1.LabelFederation] != "prod" || len(got.Annotations) > 0 {
		t.Errorf("the cache holds %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, request := range asked {
		if !strings.HasPrefix(request, fmt.Sprintf("/api/v1/namespaces/%s/secrets ", v1alpha1.CredentialsNamespace)) || !strings.Contains(request, "as=PartialObjectMetadata") {
			t.Errorf("the API server is asked %s", request)
		}
	}
	if len(asked) == 0 {
		t.Error("no request came")
	}
}
