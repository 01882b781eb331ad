package scrape_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/rest"

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
