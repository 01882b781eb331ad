package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"syscall"

	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fault is what went wrong on the way to an API server or in it, as far as it changes what a person does next.
type Fault int

// Faults.
const (
	// FaultAnswer is an error that the API server answered, and none of the others.
	FaultAnswer Fault = iota
	// FaultUnreachable means no answer: refused, unknown name, timeout, connection lost.
	FaultUnreachable
	// FaultCertificate means that the server's certificate does not verify.
	FaultCertificate
	// FaultUnauthorized means that the server does not accept the credential.
	FaultUnauthorized
	// FaultForbidden means that the caller has no right to the request.
	FaultForbidden
	// FaultBounds means a response that was not read, or not to its end: it is too large, or leads elsewhere.
	FaultBounds
	// FaultCaller means that the request never left: the caller's own kubeconfig or its credential
	// plugin is at fault.
	FaultCaller
)

// Error is a request that failed, with the side and the endpoint it went to. It unwraps to the cause, so
// apierrors.IsNotFound and the like work on it.
type Error struct {
	Side   Side
	Server string
	// Verb and Object say what was tried; Object may be the zero Ref.
	Verb   string
	Object Ref
	Fault  Fault
	Err    error
}

func (e *Error) Error() string {
	cause := Printable(Shortened(Cause(e.Err)))
	what := e.Verb
	if e.Object != (Ref{}) {
		what += " " + e.Object.String()
	}
	switch e.Fault {
	case FaultUnreachable:
		// Of several reads at once any may fail first; which one has no meaning.
		during := ""
		if e.Verb != "get" && e.Verb != "list" {
			during = " (" + what + ")"
		}
		return string(e.Side) + ": no answer from " + e.Server + during + ": " + cause +
			": check the endpoint of the context and that this machine can reach it"
	case FaultCertificate:
		return string(e.Side) + ": the certificate of " + e.Server + " does not verify: " + cause +
			": put the CA that signed it into the kubeconfig"
	case FaultUnauthorized:
		return string(e.Side) + ": " + e.Server + " does not accept the credential of the context (401): log in again or choose another context"
	case FaultBounds:
		return string(e.Side) + ": " + what + ": " + cause + ": check that " + e.Server + " is the API server that the context is meant for"
	case FaultCaller:
		return string(e.Side) + ": no request could be sent to " + e.Server + ": " + cause +
			": repair the user of the context in the kubeconfig"
	}
	return string(e.Side) + ": " + what + ": " + cause
}

func (e *Error) Unwrap() error { return e.Err }

// Cause is the text of err without what only names the request again: the side, verb and object of an Error, the method and
// URL that net/http puts in front, and what timed out.
func Cause(err error) string {
	if failed, ok := errors.AsType[*Error](err); ok {
		err = failed.Err
	}
	if bounds := boundsOf(err); bounds != nil {
		return bounds.Error()
	}
	if isReset(err) {
		return "the connection was reset" // HTTP/2's own text has numbers that help no reader
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Timeout() {
			return "timed out"
		}
		return u.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timed out"
	}
	return err.Error()
}

// FaultOf says what went wrong.
func FaultOf(err error) Fault {
	if failed, ok := errors.AsType[*Error](err); ok {
		return failed.Fault
	}
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		record       tls.RecordHeaderError
		network      net.Error
		request      *url.Error
		status       apierrors.APIStatus
	)
	switch {
	case errors.As(err, &status):
		switch status.Status().Code {
		case http.StatusUnauthorized:
			return FaultUnauthorized
		case http.StatusForbidden:
			return FaultForbidden
		}
		return FaultAnswer
	case boundsOf(err) != nil:
		return FaultBounds
	case errors.As(err, &verification), errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid):
		return FaultCertificate
	case errors.As(err, &record):
		return FaultUnreachable
	case errors.As(err, &request):
		// A credential plugin that fails does so inside the transport: net/http wraps a plain error.
		var op *net.OpError
		var dns *net.DNSError
		if errors.As(err, &op) || errors.As(err, &dns) || request.Timeout() || errors.As(request.Err, &network) || isLost(request.Err) {
			return FaultUnreachable
		}
		return FaultCaller
	case errors.As(err, &network), isLost(err):
		return FaultUnreachable
	}
	return FaultAnswer
}

// boundsOf is what of err is about a response that was not read, or not to its end; nil where nothing is.
func boundsOf(err error) error {
	if large, ok := errors.AsType[*TooLarge](err); ok {
		return large
	}
	if redirect, ok := errors.AsType[*Redirect](err); ok {
		return redirect
	}
	return nil
}

// isLost says whether a connection ended before the answer came.
func isLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || isReset(err)
}

// isReset says whether a server, or what stands before it, gave up a request or its whole connection over HTTP/2.
func isReset(err error) bool {
	var stream http2.StreamError
	var away http2.GoAwayError
	return errors.As(err, &stream) || errors.As(err, &away)
}

// IsNotServed says whether err is an API server's answer for a kind that it does not serve, which is not
// the same as an object that is not there.
func IsNotServed(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// Denied are the requests that a server forbade, by what they were about.
type Denied map[Ref]error

// Add keeps err if it is a request that was forbidden, and says whether it is.
func (d *Denied) Add(err error) bool {
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Fault != FaultForbidden {
		return false
	}
	if *d == nil {
		*d = Denied{}
	}
	(*d)[failed.Object] = err
	return true
}

// First is one of them, the same in each run, that is about none of ignored; nil when there is none.
func (d Denied) First(ignored ...Ref) error {
	var first error
	name := ""
	for ref, err := range d {
		if text := ref.String(); !slices.Contains(ignored, ref) && (first == nil || text < name) {
			first, name = err, text
		}
	}
	return first
}
