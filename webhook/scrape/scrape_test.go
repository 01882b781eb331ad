package scrape_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/webhook/scrape"
)

// TestWithoutTheHost holds that no request passes while the API server cannot be asked, that the cause goes to the log
// only, and that a request without a token is refused without asking. test/integration/admission has a real API server.
func TestWithoutTheHost(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	filter, err := scrape.Filter(&rest.Config{Host: gone.URL}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	var logged []string
	log := funcr.New(func(_, args string) { logged = append(logged, args) }, funcr.Options{})
	handler, err := filter(log, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was read") }))
	if err != nil {
		t.Fatal(err)
	}
	const unauthorized, failed = "401 requires a bearer token of the host cluster\n", "500 the host's API server could not authorize the request\n"
	for _, test := range []struct {
		authorization, want string
		logs                int
	}{
		{"", unauthorized, 0},
		{"Bearer", unauthorized, 0},
		{"Bearer  ", unauthorized, 0},
		{"Basic dTpw", unauthorized, 0},
		{"Bearer secret", failed, 1},
		{"bearer secret", failed, 1},
	} {
		logged = nil
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		request.Header.Set("Authorization", test.authorization)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if got := fmt.Sprint(recorder.Code, " ", recorder.Body); got != test.want {
			t.Errorf("%q: got %s", test.authorization, got)
		}
		if len(logged) != test.logs || strings.Contains(strings.Join(logged, ""), "secret") {
			t.Errorf("%q: logged %q", test.authorization, logged)
		}
	}
}

// TestAudience holds that a token which comes through an API server counts for its own audience alone, also where what reviews tokens knows
// no audiences: then it says who has it, and none.
func TestAudience(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, header, answered string
		asked                  string
		code                   int
	}{
		{"a collector", "Authorization", ``, "", http.StatusOK},
		{"through an API server", manifests.MetricsHeader, `"kubefederate-metrics"`, "kubefederate-metrics", http.StatusOK},
		{"of another audience", manifests.MetricsHeader, `"https://kubernetes.default.svc"`, "kubefederate-metrics", http.StatusUnauthorized},
		{"of no audience", manifests.MetricsHeader, ``, "kubefederate-metrics", http.StatusUnauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked := ""
			host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if strings.HasSuffix(r.URL.Path, "/subjectaccessreviews") {
					fmt.Fprint(w, `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`)
					return
				}
				var review authenticationv1.TokenReview
				if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
					t.Error(err)
				}
				asked = strings.Join(review.Spec.Audiences, ",")
				fmt.Fprintf(w, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":true,"user":{"username":"a"},"audiences":[%s]}}`, test.answered)
			}))
			t.Cleanup(host.Close)
			asJSON := rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}
			filter, err := scrape.Filter(&rest.Config{Host: host.URL, ContentConfig: asJSON}, host.Client())
			if err != nil {
				t.Fatal(err)
			}
			handler, err := filter(logr.Discard(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			if err != nil {
				t.Fatal(err)
			}
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
			request.Header.Set(test.header, "Bearer secret")
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			if recorder.Code != test.code || asked != test.asked {
				t.Errorf("%d, asked for %q; want %d, %q", recorder.Code, asked, test.code, test.asked)
			}
		})
	}
}
