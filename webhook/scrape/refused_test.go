package scrape_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/webhook/scrape"
)

// TestMadeUpTokens holds that made-up tokens do not make one request each of the host, and keep no collector out that the host
// knows.
func TestMadeUpTokens(t *testing.T) {
	t.Parallel()
	var reviews atomic.Int32
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/subjectaccessreviews") {
			_ = json.NewEncoder(w).Encode(authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}})
			return
		}
		reviews.Add(1)
		var review authenticationv1.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		review.Status.Authenticated = review.Spec.Token == "good"
		_ = json.NewEncoder(w).Encode(review)
	}))
	defer host.Close()
	filter, err := scrape.Filter(&rest.Config{Host: host.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := filter(logr.Discard(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		t.Fatal(err)
	}
	get := func(token string) int {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		request.Header.Set("Authorization", "Bearer "+token)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		return recorder.Code
	}
	asks := func(what string, most int32, request func()) {
		t.Helper()
		before := reviews.Load()
		request()
		if n := reviews.Load() - before; n > most {
			t.Errorf("%s: the host was asked %d times", what, n)
		}
	}
	if code := get("good"); code != http.StatusOK {
		t.Fatalf("a collector: %d", code)
	}
	asks("one made-up token", 1, func() {
		for range 500 {
			if code := get("forged"); code != http.StatusUnauthorized {
				t.Fatal(code)
			}
		}
	})
	codes := map[int]int{}
	asks("many", 40, func() {
		for i := range 900 {
			codes[get(fmt.Sprint("forged-", i))]++
		}
	})
	if codes[http.StatusUnauthorized] == 0 || codes[http.StatusTooManyRequests] < 800 {
		t.Errorf("made-up tokens were answered with %v", codes)
	}
	asks("the collector again", 1, func() {
		if code := get("good"); code != http.StatusOK {
			t.Errorf("the collector: %d", code)
		}
	})
}
