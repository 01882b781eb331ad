//go:build unix

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// fault is what happens to one request.
type fault string

const (
	faultReset        fault = "reset before it arrives"
	faultLost         fault = "answer lost after it was done"
	faultGone         fault = "reset, as are all that follow"
	faultUnauthorized fault = "answered 401"
	faultForbidden    fault = "answered 403"
	faultConflict     fault = "answered 409"
	faultBusy         fault = "answered 429 with Retry-After"
	faultInternal     fault = "answered 500"
	faultStalled      fault = "no answer until the command's time is over"
)

// faultMeanwhile is no fault of a server: something else happens before the request is handed on.
const faultMeanwhile fault = "answered after something else happened"

var faults = []fault{faultReset, faultLost, faultGone, faultUnauthorized, faultForbidden, faultConflict, faultBusy, faultInternal, faultStalled}

// proxy stands between a command and its clusters. It fails the k-th request of those that count, once; with k 0 it
// only counts.
type proxy struct {
	kind fault
	side cluster.Side
	k    int
	// only says which requests of the side count; nil counts all.
	only func(*http.Request) bool
	// over ends the command's time.
	over context.CancelFunc
	// meanwhile is what happens before a request with faultMeanwhile.
	meanwhile func()

	mu    sync.Mutex
	count int
	// hit is the request that failed; empty when there was none.
	hit string
	// wrote says whether any request was sent, to either side, that can change something.
	wrote bool
	// tokens are what the clusters issued.
	tokens []string
}

// through sends what config sends through p.
func (p *proxy) through(config *rest.Config, side cluster.Side) *rest.Config {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &proxied{p, side, next} })
	return config
}

type proxied struct {
	*proxy
	side cluster.Side
	next http.RoundTripper
}

func (p *proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	writes := changes(r)
	counts := p.side == p.proxy.side && (p.only == nil || p.only(r))
	p.mu.Lock()
	p.wrote = p.wrote || writes
	mine := false
	if counts {
		p.count++
		mine = p.count == p.k
	}
	if mine {
		p.hit = r.Method + " " + r.URL.Path
		p.wrote = p.wrote || p.kind == faultMeanwhile
	}
	gone := p.kind == faultGone && p.hit != "" && p.side == p.proxy.side
	p.mu.Unlock()
	if gone {
		return nil, syscall.EPIPE
	}
	if !mine {
		return p.pass(r)
	}
	switch p.kind {
	case faultMeanwhile:
		p.meanwhile()
		return p.pass(r)
	case faultLost:
		answer, err := p.pass(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return nil, io.ErrUnexpectedEOF
	case faultUnauthorized:
		return status(r, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized"), nil
	case faultForbidden:
		return status(r, http.StatusForbidden, metav1.StatusReasonForbidden, "injected is forbidden"), nil
	case faultConflict:
		if r.Method == http.MethodPost {
			return status(r, http.StatusConflict, metav1.StatusReasonAlreadyExists, "injected already exists"), nil
		}
		return status(r, http.StatusConflict, metav1.StatusReasonConflict, "injected has been modified"), nil
	case faultBusy:
		answer := status(r, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests")
		// API servers say 1; that it is waited for is client-go's own affair.
		answer.Header.Set("Retry-After", "0")
		return answer, nil
	case faultInternal:
		return status(r, http.StatusInternalServerError, metav1.StatusReasonInternalError, "Internal error occurred: injected"), nil
	case faultStalled:
		p.over()
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return nil, syscall.EPIPE
}

// serve is RoundTrip where a server stands in the way.
func (p *proxy) serve(w http.ResponseWriter, r *http.Request, side cluster.Side, pass http.Handler) {
	next := env.RoundTripper(func(r *http.Request) (*http.Response, error) {
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		return answer.Result(), nil
	})
	answer, err := (&proxied{p, side, next}).RoundTrip(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	replay(w, answer)
}

// replay sends a recorded answer.
func replay(w http.ResponseWriter, answer *http.Response) {
	defer answer.Body.Close()
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

// pass lets a request through, and remembers a token that comes back.
func (p *proxied) pass(r *http.Request) (*http.Response, error) {
	answer, err := p.next.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/token") {
		return answer, err
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens = append(p.tokens, issued(body)...)
	return answer, nil
}

// issued is the token in an answer to a TokenRequest; none where it was refused.
func issued(answer []byte) []string {
	var request struct{ Status struct{ Token string } }
	if json.Unmarshal(answer, &request) != nil || request.Status.Token == "" {
		return nil
	}
	return []string{request.Status.Token}
}

// status is an API server's answer to r.
func status(r *http.Request, code int, reason metav1.StatusReason, message string) *http.Response {
	body, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
	return &http.Response{
		Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}
}

// deadline is a context whose time is over when the test says so, which no clock has to be waited for.
type deadline struct {
	context.Context
}

// newDeadline is a context below parent, and what ends its time.
func newDeadline(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	return deadline{ctx}, cancel
}

func (d deadline) Err() error {
	if d.Context.Err() != nil {
		return context.DeadlineExceeded
	}
	return nil
}

// Value hides the context inside from its children, which would else see that they were cancelled.
func (d deadline) Value(any) any { return nil }

// changes says whether a request can change something.
func changes(r *http.Request) bool {
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "selfsubject") || r.URL.Query().Get("dryRun") == "All" {
		return false
	}
	if r.Method != http.MethodDelete || r.Body == nil {
		return true
	}
	// The options of a delete are in its body.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var options metav1.DeleteOptions
	return json.Unmarshal(body, &options) != nil || !slices.Equal(options.DryRun, []string{"All"})
}
