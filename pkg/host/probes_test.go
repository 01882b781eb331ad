package host_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// TestProbesByTheClockOfTheHost holds that the age of the Lease is judged by the clock of the server that gives it.
func TestProbesByTheClockOfTheHost(t *testing.T) {
	t.Parallel()
	renewed := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC) // long ago on this machine's clock
	for _, tt := range []struct {
		spec    string
		after   time.Duration
		stopped bool
	}{
		{`{"renewTime":"2020-02-03T04:05:06.000000Z","leaseDurationSeconds":30}`, 30 * time.Second, false},
		{`{"renewTime":"2020-02-03T04:05:06.000000Z","leaseDurationSeconds":30}`, 31 * time.Second, true},
		{`{"renewTime":"2020-02-03T04:05:06.000000Z"}`, 90 * time.Second, false},
		{`{"renewTime":"2020-02-03T04:05:06.000000Z"}`, 91 * time.Second, true},
		// It was installed at that time, and never renewed.
		{`{}`, 90 * time.Second, false},
		{`{}`, 91 * time.Second, true},
		// A clock that is behind that of the server which the Lease was written to.
		{`{"renewTime":"2020-02-03T04:05:06.000000Z"}`, -time.Hour, false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/apis/coordination.k8s.io/v1/namespaces/kubefederate-system/leases/kubefederate-probes" {
				t.Errorf("it is asked for %s", r.URL)
			}
			w.Header().Set("Date", renewed.Add(tt.after).Format(http.TimeFormat))
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"kubefederate-probes",
"creationTimestamp":"2020-02-03T04:05:06Z"},"spec":%s}`, tt.spec)
		}))
		t.Cleanup(server.Close)
		h, err := host.Connect(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		p := h.Probes(t.Context())
		if p.Err != nil || p.Stopped() != tt.stopped || !p.Since().Equal(renewed) || !p.Now.Equal(renewed.Add(tt.after)) {
			t.Errorf("%s, %s after that: stopped %v, %+v", tt.spec, tt.after, p.Stopped(), p)
		}
	}
}
