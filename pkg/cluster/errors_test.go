package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/version"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// answering is a server that gives one answer to everything.
func answering(t *testing.T, code int, reason metav1.StatusReason, message string) *rest.Config {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.UserAgent(), "kubectl-federate/"+version.Version; got != want {
			t.Errorf("%s %s: User-Agent %q, want %q", r.Method, r.URL.Path, got, want)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		})
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}, BearerToken: "very-secret-token"}
}

// anonymous is what a person reads whose credential no server sees.
const anonymous = `member: SERVER sees no credential (system:anonymous): the user of the context has none, or a proxy on the way does not pass it on; ` +
	`name another user in the context, or choose another context`

// serving is a server whose certificate ends at a time, an hour after it began.
func serving(t *testing.T, end time.Time) *rest.Config {
	t.Helper()
	certificate, key := cases.KeyPair(end)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: certificate, ServerName: "test"}}
}

// page is what answers in place of an API server.
func page(t *testing.T, code int, contentType, body string) func(start func(*httptest.Server) string) *rest.Config {
	t.Helper()
	return func(start func(*httptest.Server) string) *rest.Config {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}))
		config := &rest.Config{Host: start(server), TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
		t.Cleanup(server.Close)
		return config
	}
}

// plain starts a server that is reached as it is.
func plain(s *httptest.Server) string {
	s.StartTLS()
	return s.URL
}

// TestErrors pins what a person reads when an API server cannot be used. SERVER stands for its URL.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config func(*testing.T) *rest.Config
		fault  cluster.Fault
		want   string
	}{
		{
			name: "a port without a server",
			config: func(t *testing.T) *rest.Config {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				return &rest.Config{Host: "https://" + l.Addr().String()}
			},
			fault: cluster.FaultUnreachable,
			want: `member: no answer from SERVER: dial tcp ADDRESS: connect: connection refused: ` +
				`check the endpoint of the context and that this machine can reach it`,
		},
		{
			name: "a server that does not answer",
			config: func(t *testing.T) *rest.Config {
				done := make(chan struct{})
				server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done }))
				t.Cleanup(func() { close(done); server.Close() })
				return &rest.Config{Host: server.URL, Timeout: 50 * time.Millisecond}
			},
			fault: cluster.FaultUnreachable,
			want: `member: no answer from SERVER: timed out: ` +
				`check the endpoint of the context and that this machine can reach it`,
		},
		{
			name: "a server that gives the request up over HTTP/2",
			config: func(t *testing.T) *rest.Config {
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
				server.EnableHTTP2 = true
				server.StartTLS()
				t.Cleanup(server.Close)
				ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
				return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
			},
			fault: cluster.FaultUnreachable,
			want:  `member: no answer from SERVER: the connection was reset: check the endpoint of the context and that this machine can reach it`,
		},
		{
			name: "a certificate for another name",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 200, "", "")
				config.CAData = nil
				return config
			},
			fault: cluster.FaultCertificate,
			want: `member: the certificate of SERVER does not verify: tls: failed to verify certificate: x509: certificate signed by unknown authority: ` +
				`put the CA that signed it into the kubeconfig`,
		},
		{
			name: "a name that the certificate does not have",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 200, "", "")
				config.ServerName = "other.invalid"
				return config
			},
			fault: cluster.FaultCertificate,
			want: `member: the certificate of SERVER does not verify: tls: failed to verify certificate: x509: certificate is valid for example.com, *.example.com, not other.invalid: ` +
				`use a URL whose host is in the certificate, or set tls-server-name of the cluster in the kubeconfig to a name that is`,
		},
		{
			name: "a certificate that has expired",
			config: func(t *testing.T) *rest.Config {
				return serving(t, time.Now().Add(-time.Minute))
			},
			fault: cluster.FaultCertificate,
			want: `member: the certificate of SERVER does not verify: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: TIME: ` +
				`let the cluster's administrator renew it, and check the clock of this machine`,
		},
		{
			name: "a certificate that is not valid yet",
			config: func(t *testing.T) *rest.Config {
				return serving(t, time.Now().Add(24*time.Hour))
			},
			fault: cluster.FaultCertificate,
			want: `member: the certificate of SERVER does not verify: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: TIME: ` +
				`check the clocks of this machine and of the server`,
		},
		{
			name: "a server without TLS",
			config: func(t *testing.T) *rest.Config {
				return page(t, http.StatusOK, "text/html", "<html>")(func(s *httptest.Server) string {
					s.Start()
					return "https://" + s.Listener.Addr().String()
				})
			},
			fault: cluster.FaultNotAPI,
			want: `member: SERVER is not a Kubernetes API server: it speaks HTTP without TLS: ` +
				`check the URL in the kubeconfig; a page to sign in, or a proxy, may answer in its place`,
		},
		{
			name: "a page to sign in",
			config: func(t *testing.T) *rest.Config {
				return page(t, http.StatusOK, "text/html; charset=utf-8", "<html>Sign in")(plain)
			},
			fault: cluster.FaultNotAPI,
			want: `member: SERVER is not a Kubernetes API server: it answers with text/html in place of JSON: ` +
				`check the URL in the kubeconfig; a page to sign in, or a proxy, may answer in its place`,
		},
		{
			name: "a page to sign in that forbids",
			config: func(t *testing.T) *rest.Config {
				return page(t, http.StatusForbidden, "text/html", "<html>Sign in")(plain)
			},
			fault: cluster.FaultNotAPI,
			want: `member: SERVER is not a Kubernetes API server: it answers with text/html in place of JSON: ` +
				`check the URL in the kubeconfig; a page to sign in, or a proxy, may answer in its place`,
		},
		{
			name: "JSON of something else",
			config: func(t *testing.T) *rest.Config {
				return page(t, http.StatusOK, "application/json", `{"status": "up"}`)(plain)
			},
			fault: cluster.FaultNotAPI,
			want: `member: SERVER is not a Kubernetes API server: its answer is not an object of the Kubernetes API: ` +
				`check the URL in the kubeconfig; a page to sign in, or a proxy, may answer in its place`,
		},
		{
			name: "a balancer without a server behind it",
			config: func(t *testing.T) *rest.Config {
				return page(t, http.StatusBadGateway, "text/html", "<html>Bad gateway")(plain)
			},
			fault: cluster.FaultAnswer,
			want:  `member: get Namespace "kube-system": an error on the server ("<html>Bad gateway") has prevented the request from succeeding`,
		},
		{
			name: "no credential, and a server without anonymous users",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 401, metav1.StatusReasonUnauthorized, "Unauthorized")
				config.BearerToken = ""
				return config
			},
			fault: cluster.FaultAnonymous,
			want:  anonymous,
		},
		{
			name: "basic authentication",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 401, metav1.StatusReasonUnauthorized, "Unauthorized")
				config.BearerToken, config.Username, config.Password = "", "ann", "very-secret"
				return config
			},
			fault: cluster.FaultAnonymous,
			want:  anonymous,
		},
		{
			name: "a credential that does not arrive",
			config: func(t *testing.T) *rest.Config {
				return answering(t, 403, metav1.StatusReasonForbidden, `namespaces "kube-system" is forbidden: User "system:anonymous" cannot get resource "namespaces"`)
			},
			fault: cluster.FaultAnonymous,
			want:  anonymous,
		},
		{
			name: "a client certificate that is not accepted",
			config: func(t *testing.T) *rest.Config {
				server := httptest.NewUnstartedServer(http.NotFoundHandler())
				server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
				server.StartTLS()
				t.Cleanup(server.Close)
				certificate, key := cases.KeyPair(time.Now().Add(time.Hour))
				return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true, CertData: certificate, KeyData: key}}
			},
			fault: cluster.FaultUnauthorized,
			want:  `member: SERVER does not accept the credential of the context: remote error: tls: CAUSE: log in again or choose another context`,
		},
		{
			name:   "a proxy that refuses",
			config: refusingProxy(http.StatusForbidden),
			fault:  cluster.FaultUnreachable,
			want: `member: no answer from SERVER: the proxy http://ann:xxxxx@PROXY refuses to connect to it (403 Forbidden): ` +
				`let the proxy's administrator allow it, or choose another proxy (proxy-url of the cluster in the kubeconfig, or HTTPS_PROXY)`,
		},
		{
			name:   "a proxy that asks for a login",
			config: refusingProxy(http.StatusProxyAuthRequired),
			fault:  cluster.FaultUnreachable,
			want: `member: no answer from SERVER: the proxy http://ann:xxxxx@PROXY refuses to connect to it (407 Proxy Authentication Required): ` +
				`name a user and a password that it accepts in the URL of the proxy`,
		},
		{
			name: "a credential that is not accepted",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 401, metav1.StatusReasonUnauthorized, "Unauthorized")
				return config
			},
			fault: cluster.FaultUnauthorized,
			want:  `member: SERVER does not accept the credential of the context (401): log in again or choose another context`,
		},
		{
			name: "a right that is missing",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 403, metav1.StatusReasonForbidden, `namespaces "kube-system" is forbidden: User "ann" cannot get it`)
				return config
			},
			fault: cluster.FaultForbidden,
			want:  `member: get Namespace "kube-system": namespaces "kube-system" is forbidden: User "ann" cannot get it`,
		},
		{
			name: "an answer that would color the terminal",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 500, metav1.StatusReasonInternalError, "bang \x1b[31m\r\nok")
				return config
			},
			fault: cluster.FaultAnswer,
			want:  `member: get Namespace "kube-system": bang \x1b[31m  ok`,
		},
		{
			name: "a credential plugin that fails",
			config: func(t *testing.T) *rest.Config {
				config := answering(t, 200, "", "")
				config.BearerToken = ""
				config.ExecProvider = &clientcmdapi.ExecConfig{
					APIVersion: "client.authentication.k8s.io/v1", Command: "/bin/false", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
				}
				return config
			},
			fault: cluster.FaultCaller,
			want: `member: no request could be sent to SERVER: getting credentials: exec: executable /bin/false failed with exit code 1: ` +
				`repair the user of the context in the kubeconfig`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := tt.config(t)
			c, err := cluster.Connect(cluster.Member, config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.ID(t.Context())
			failed, ok := err.(*cluster.Error) //nolint:errorlint // that the type is on top is what is tested
			if !ok {
				t.Fatalf("error %T: %v", err, err)
			}
			if failed.Fault != tt.fault {
				t.Errorf("fault %v, want %v", failed.Fault, tt.fault)
			}
			got := strings.ReplaceAll(err.Error(), config.Host, "SERVER")
			got = strings.ReplaceAll(got, strings.TrimPrefix(config.Host, "https://"), "ADDRESS")
			got = varying.ReplaceAllString(got, "${1}TIME")
			got = regexp.MustCompile(`@127[^ ]*:\d+`).ReplaceAllString(got, "@PROXY")
			got = regexp.MustCompile(`remote error: tls: [a-z ]+`).ReplaceAllString(got, "remote error: tls: CAUSE")
			if got != tt.want {
				t.Errorf("message:\n%s\nwant:\n%s", got, tt.want)
			}
			if strings.Contains(err.Error(), "very-secret") {
				t.Error("the message holds the token")
			}
		})
	}
}

var varying = regexp.MustCompile(`(valid: )current time [-0-9TZ:+]+ is (?:after|before) [-0-9TZ:]+Z`)

func TestConnectNamesMissingFiles(t *testing.T) {
	t.Parallel()
	_, err := cluster.Connect(cluster.Host, &rest.Config{Host: "https://h", TLSClientConfig: rest.TLSClientConfig{CAFile: "no/such/ca.crt"}})
	if want := "host: read the certificates that the kubeconfig names: open no/such/ca.crt: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                "plain",
		"größer ≤ 日本":          "größer ≤ 日本",
		"\x1b]0;title\x07":     `\x1b]0;title\a`,
		"two\nlines\tand tabs": "two lines and tabs",
		"right\u202eto left":   `right\u202eto left`,
		"broken\xff\x9b":       `broken\xff\x9b`,
		"replaced\ufffd":       `replaced\ufffd`,
		"\u009b31m\u0085\x7f":  `\u009b31m\u0085\x7f`,
		"\u2066\u2069\u200e\u200f\ufeff\u200b\u200d\u2060\u00ad\u061c": `\u2066\u2069\u200e\u200f\ufeff\u200b\u200d\u2060\u00ad\u061c`,
		"\u2028\u2029\u00a0\u3000":                                     `\u2028\u2029\u00a0\u3000`,
		"\u3164\u115f\ufe0f\u2800\u034f":                               `\u3164\u115f\ufe0f\u2800\u034f`,
		"\U000e0041":                                                   `\U000e0041`,
	} {
		if got := cluster.Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestRefusedPaths pins that the message of a server is reported for requests whose response is not an object, too.
func TestRefusedPaths(t *testing.T) {
	t.Parallel()
	config := answering(t, 403, metav1.StatusReasonForbidden, `User "ann" cannot do it`)
	c, err := cluster.Connect(cluster.Member, config)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Delete(t.Context(), cluster.Ref{Resource: cluster.Namespaces, Name: "a"}, cluster.Preconditions{}, cluster.DryRunNone)
	if want := `member: delete Namespace "a": User "ann" cannot do it`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	err = c.GetPath(t.Context(), "/version", &struct{}{})
	if want := `member: get /version: User "ann" cannot do it`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestDenied keeps the requests that were forbidden, and no others.
func TestDenied(t *testing.T) {
	t.Parallel()
	var denied cluster.Denied
	fails := func(path string, fault cluster.Fault) error {
		return fmt.Errorf("wrapped: %w", &cluster.Error{Object: cluster.Ref{Path: path}, Fault: fault, Err: errors.New("no")})
	}
	if denied.Add(nil) || denied.Add(fails("/a", cluster.FaultUnauthorized)) || denied.First() != nil {
		t.Errorf("kept %v", denied)
	}
	c, b := fails("/c", cluster.FaultForbidden), fails("/b", cluster.FaultForbidden)
	if !denied.Add(c) || !denied.Add(b) || !errors.Is(denied[cluster.Ref{Path: "/c"}], c) {
		t.Errorf("kept %v", denied)
	}
	if first, other := denied.First(), denied.First(cluster.Ref{Path: "/b"}); !errors.Is(first, b) || !errors.Is(other, c) {
		t.Errorf("first %v, without it %v", first, other)
	}
}

// refusingProxy is the configuration of a server behind a proxy that answers with a status, and whose URL has a password.
func refusingProxy(status int) func(*testing.T) *rest.Config {
	return func(t *testing.T) *rest.Config {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(server.Close)
		config := answering(t, 200, "", "")
		proxy, err := url.Parse(strings.Replace(server.URL, "http://", "http://ann:very-secret@", 1))
		if err != nil {
			t.Fatal(err)
		}
		config.Proxy = http.ProxyURL(proxy)
		return config
	}
}
