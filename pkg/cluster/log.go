package cluster

import (
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/transport"

	"github.com/kubefederate/kubectl-federate/pkg/redact"
)

// LogRequests prints a line for each request that is sent: its method and URL, and the code and the time of the response. It prints
// neither headers nor bodies, where credentials are: client-go's own (transport.DebugWrappers) prints headers, and hides only one of them.
func LogRequests(show func(line string)) transport.WrapperFunc {
	return func(next http.RoundTripper) http.RoundTripper { return &requestLog{next, show} }
}

type requestLog struct {
	http.RoundTripper
	show func(string)
}

// RoundTrip implements http.RoundTripper.
func (l *requestLog) RoundTrip(r *http.Request) (*http.Response, error) {
	what, begin := r.Method+" "+redact.URL(r.URL), time.Now()
	response, err := l.RoundTripper.RoundTrip(r)
	took := time.Since(begin).Round(time.Millisecond)
	if err != nil {
		l.show(fmt.Sprintf("%s: no answer in %s: %s", what, took, redact.Text(Shortened(Cause(err)))))
		return nil, err
	}
	l.show(fmt.Sprintf("%s %d in %s", what, response.StatusCode, took))
	return response, nil
}

// WrappedRoundTripper lets idle connections be closed.
func (l *requestLog) WrappedRoundTripper() http.RoundTripper { return l.RoundTripper }
