package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
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
	// FaultAnonymous means that the server saw no credential.
	FaultAnonymous
	// FaultNotAPI means that something else than a Kubernetes API server answers.
	FaultNotAPI
	// FaultNotAllowed means that a Dialer refused the connection.
	FaultNotAllowed
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
	// Proxy is the URL of the proxy on the way; empty where there is none.
	Proxy string
	Err   error
}

func (e *Error) Error() string {
	cause := Printable(Shortened(Cause(e.Err)))
	refused, byProxy := errors.AsType[*ProxyRefused](e.Err)
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
		if byProxy {
			return string(e.Side) + ": no answer from " + e.Server + during + ": " + cause + ": " + refused.remedy()
		}
		if e.Proxy != "" {
			return string(e.Side) + ": no answer from " + e.Server + " through the proxy " + e.Proxy + during + ": " + cause +
				": check the endpoint of the context, its proxy, and that this machine can reach both"
		}
		return string(e.Side) + ": no answer from " + e.Server + during + ": " + cause +
			": check the endpoint of the context and that this machine can reach it"
	case FaultCertificate:
		return string(e.Side) + ": the certificate of " + e.Server + " does not verify: " + cause + ": " + certificateRemedies[CertificateFaultOf(e.Err)]
	case FaultUnauthorized:
		code := " (401)"
		if refusesCertificate(e.Err) {
			code = ": " + cause
		}
		return string(e.Side) + ": " + e.Server + " does not accept the credential of the context" + code + ": log in again or choose another context"
	case FaultBounds:
		return string(e.Side) + ": " + what + ": " + cause + ": check that " + e.Server + " is the API server that the context is meant for"
	case FaultAnonymous:
		return string(e.Side) + ": " + e.Server + " sees no credential (system:anonymous): the user of the context has none, or a proxy on the way does not pass it on; " +
			"name another user in the context, or choose another context"
	case FaultCaller:
		return string(e.Side) + ": no request could be sent to " + e.Server + ": " + cause +
			": repair the user of the context in the kubeconfig"
	case FaultNotAllowed:
		return string(e.Side) + ": " + cause
	case FaultNotAPI:
		return string(e.Side) + ": " + e.Server + " is not a Kubernetes API server: " + cause +
			": check the URL in the kubeconfig; a page to sign in, or a proxy, may answer in its place"
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
	if refused, ok := errors.AsType[*endpoint.NotAllowed](err); ok {
		return refused.Error()
	}
	if refused, ok := errors.AsType[*ProxyRefused](err); ok {
		return refused.Error()
	}
	if isReset(err) {
		return "the connection was reset" // HTTP/2's own text has numbers that help no reader
	}
	if n := notAPI(err); n != nil {
		return n.Error() // those of decoders have the whole answer in them
	}
	if isPlain(err) {
		return "it speaks HTTP without TLS"
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
		login   *LoginError
		record  tls.RecordHeaderError
		network net.Error
		request *url.Error
		status  apierrors.APIStatus
		refused *endpoint.NotAllowed
	)
	switch {
	case errors.As(err, &refused):
		return FaultNotAllowed
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
	case errors.As(err, &login):
		return FaultCaller
	case CertificateFaultOf(err) != "":
		return FaultCertificate
	case notAPI(err) != nil, isPlain(err):
		return FaultNotAPI
	case refusesCertificate(err):
		return FaultUnauthorized
	case errors.As(err, &record), errors.As(err, &request), errors.As(err, &network), isLost(err):
		return FaultUnreachable
	}
	return FaultAnswer
}

// ProxyRefused is a proxy's answer that it does not connect to a server.
type ProxyRefused struct {
	// Proxy is its URL, without a password.
	Proxy string
	Code  int
}

func (r *ProxyRefused) Error() string {
	return strings.TrimRight(fmt.Sprintf("the proxy %s refuses to connect to it (%d %s", r.Proxy, r.Code, http.StatusText(r.Code)), " ") + ")"
}

func (r *ProxyRefused) remedy() string {
	if r.Code == http.StatusProxyAuthRequired {
		return "name a user and a password that it accepts in the URL of the proxy"
	}
	return "let the proxy's administrator allow it, or choose another proxy (proxy-url of the cluster in the kubeconfig, or HTTPS_PROXY)"
}

// connected fails where a proxy does not connect to the server that it was asked to.
func connected(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyRefused{Proxy: proxy.Redacted(), Code: answer.StatusCode}
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

// certificateAlerts are those with which a server refuses a client's certificate: bad, unsupported, revoked, expired, unknown,
// of an unknown CA, and required (RFC 8446, section 6).
var certificateAlerts = []uint64{42, 43, 44, 45, 46, 48, 116}

// refusesCertificate says whether a server ended the handshake over TLS because of the client's certificate.
func refusesCertificate(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return false
	}
	alert := reflect.ValueOf(op.Err) // crypto/tls does not export its type
	return alert.Kind() == reflect.Uint8 && slices.Contains(certificateAlerts, alert.Uint())
}

// CertificateFault is why a server's certificate does not verify, as far as it changes what a person does next.
type CertificateFault string

// Faults of certificates.
const (
	// CertificateAuthority is a certificate that no CA has signed which the client knows.
	CertificateAuthority CertificateFault = "authority"
	// CertificateName is a certificate for other names.
	CertificateName CertificateFault = "name"
	// CertificateExpired and CertificateNotYetValid are by the client's clock.
	CertificateExpired     CertificateFault = "expired"
	CertificateNotYetValid CertificateFault = "not yet valid"
	// CertificateUnfit is any other fault.
	CertificateUnfit CertificateFault = "unfit"
)

var certificateRemedies = map[CertificateFault]string{
	CertificateAuthority:   "put the CA that signed it into the kubeconfig",
	CertificateName:        "use a URL whose host is in the certificate, or set tls-server-name of the cluster in the kubeconfig to a name that is",
	CertificateExpired:     "let the cluster's administrator renew it, and check the clock of this machine",
	CertificateNotYetValid: "check the clocks of this machine and of the server",
	CertificateUnfit:       "let the cluster's administrator replace it",
}

// CertificateFaultOf says why a server's certificate does not verify; empty where that is not the error.
func CertificateFaultOf(err error) CertificateFault {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return CertificateAuthority
	case errors.As(err, &hostname):
		return CertificateName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore):
		return CertificateNotYetValid
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CertificateExpired
	case errors.As(err, &verification), errors.As(err, &invalid):
		return CertificateUnfit
	}
	return ""
}

// isPlain says whether a server answered HTTP where TLS begins.
func isPlain(err error) bool {
	var record tls.RecordHeaderError
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/"
}

// isAnonymous says whether an API server forbade a request because it saw no credential.
func isAnonymous(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && strings.Contains(status.Status().Message, `"system:anonymous"`)
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

// IsRefused says whether err is an API server's refusal of a request: for want of a right, or by a policy or a webhook. A policy that
// names no reason refuses with 422, and a webhook that names no code with 400.
func IsRefused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// IsNotServed says whether err is an API server's answer for a kind that it does not serve, which is not
// the same as an object that is not there: that one is named. Of a group of which it serves other kinds it answers with a Status
// that names nothing, of any other path with what is no Status.
func IsNotServed(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Kind == "" && details.Name == "" || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
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
