package main

import (
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
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// newCache is the manager's cache of a host that has one object: list is what it lists, and last the object with the annotation that
// ends the initial events.
func newCache(t *testing.T, list, object, last any, asked func(*http.Request)) cache.Cache {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked(r)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			_ = json.NewEncoder(w).Encode(list)
			return
		}
		if r.URL.Query().Get("sendInitialEvents") == "true" {
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": object})
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "BOOKMARK", "object": last})
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)

	options := cacheOptions()
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	mapper.Add(v1alpha1.GroupVersion.WithKind("MemberCluster"), meta.RESTScopeRoot)
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	options.Mapper, options.Scheme = mapper, scheme
	c, err := cache.New(&rest.Config{Host: server.URL}, options)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.Start(t.Context()) }()
	if !c.WaitForCacheSync(t.Context()) {
		t.Fatal("the cache does not start")
	}
	return c
}

var initialEventsEnd = map[string]string{metav1.InitialEventsAnnotationKey: "true"}

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
	list := metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []metav1.PartialObjectMetadata{secret},
	}
	end := secret.DeepCopy()
	end.Annotations = initialEventsEnd
	c := newCache(t, list, secret, end, func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Accept"))
	})
	got := &metav1.PartialObjectMetadata{}
	got.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: "east"}, got); err != nil {
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

// TestCacheHoldsNoManagedFields holds that the cache keeps no managedFields of members, which take more memory than the rest.
func TestCacheHoldsNoManagedFields(t *testing.T) {
	t.Parallel()
	m := v1alpha1.MemberCluster{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MemberCluster"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "east", UID: "u", ResourceVersion: "1",
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1("{}")}},
		},
	}
	m.Spec.Server = "https://east.example.com"
	list := v1alpha1.MemberClusterList{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MemberClusterList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []v1alpha1.MemberCluster{m},
	}
	end := m.DeepCopy()
	end.Annotations = initialEventsEnd
	c := newCache(t, list, m, end, func(*http.Request) {})
	got := &v1alpha1.MemberCluster{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "east"}, got); err != nil {
		t.Fatal(err)
	}
	if got.UID != "u" || got.Spec.Server != m.Spec.Server || len(got.ManagedFields) > 0 {
		t.Errorf("the cache holds %+v", got)
	}
}
