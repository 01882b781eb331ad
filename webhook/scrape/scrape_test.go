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

// TestWithoutTheHost holds that nobody reads while the API server cannot be asked, that the cause is for the log
// alone, and that whoever shows no token costs no question. test/integration/admission has the answers of a real one.
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
	const anybody, broken = "401 it takes a token of the host cluster\n", "500 the host's API server did not say who may read this\n"
	for _, test := range []struct {
		authorization, want string
		logs                int
	}{
		{"", anybody, 0},
		{"Bearer", anybody, 0},
		{"Bearer  ", anybody, 0},
		{"Basic dTpw", anybody, 0},
		{"Bearer secret", broken, 1},
		{"bearer secret", broken, 1},
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
