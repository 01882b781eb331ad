// Package forger plays a pod of a host cluster that connects to the webhook's port and sends reviews of its own, as
// an attacker of its federations would. It has no credential.
package forger

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Forger sends reviews to one webhook.
type Forger struct {
	// URL is what it sends them to.
	URL    string
	client *http.Client
}

// New makes a forger that knows the URL of a webhook. It does not verify the server's certificate.
func New(url string) *Forger {
	return &Forger{URL: url, client: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: insecure(), MaxIdleConnsPerHost: 100,
		},
	}}
}

func insecure() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true}
}

// printed is how an API server prints the URL of a call that failed in transport.
var printed = regexp.MustCompile(`Post "(https://[^"?]+)\?timeout=`)

// Learn gives the URL that an API server printed to a user whose request failed, or an empty string.
func Learn(message string) string {
	if found := printed.FindStringSubmatch(message); found != nil {
		return found[1]
	}
	return ""
}

// Close ends its connections.
func (f *Forger) Close() { f.client.CloseIdleConnections() }

// Review is what is claimed.
type Review struct {
	Operation admissionv1.Operation
	// Old and New are the object before and after.
	Old, New client.Object
	DryRun   bool
	// User is who is claimed to ask.
	User authenticationv1.UserInfo
}

// Answer is what the webhook says.
type Answer struct {
	// Code is that of HTTP, Status what is decided.
	Code    int
	Allowed bool
	Status  *metav1.Status
}

func (a Answer) String() string {
	if a.Status == nil {
		return fmt.Sprintf("%d allowed=%v", a.Code, a.Allowed)
	}
	return fmt.Sprintf("%d allowed=%v %s", a.Code, a.Allowed, a.Status.Message)
}

// Send sends a review.
func (f *Forger) Send(ctx context.Context, r Review) (Answer, error) {
	body, err := body(r)
	if err != nil {
		return Answer{}, err
	}
	return f.SendBody(ctx, bytes.NewReader(body))
}

func body(r Review) ([]byte, error) {
	object := r.New
	if object == nil {
		object = r.Old
	}
	kind, resource := "MemberCluster", "memberclusters"
	if _, is := object.(*v1alpha1.Federation); is {
		kind, resource = "Federation", "federations"
	}
	request := &admissionv1.AdmissionRequest{
		UID: uuid.NewUUID(), Name: object.GetName(), Operation: r.Operation, DryRun: &r.DryRun, UserInfo: r.User,
		Kind:     metav1.GroupVersionKind{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: kind},
		Resource: metav1.GroupVersionResource{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: resource},
	}
	for into, o := range map[*runtime.RawExtension]client.Object{&request.Object: r.New, &request.OldObject: r.Old} {
		if o == nil {
			continue
		}
		o = o.DeepCopyObject().(client.Object)
		o.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		raw, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		into.Raw = raw
	}
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"}, Request: request,
	})
}

// SendBody sends what may be no review at all.
func (f *Forger) SendBody(ctx context.Context, body io.Reader) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL, body)
	if err != nil {
		return Answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Code: response.StatusCode}
	var review admissionv1.AdmissionReview
	if json.Unmarshal(text, &review) == nil && review.Response != nil {
		answer.Allowed, answer.Status = review.Response.Allowed, review.Response.Result
	} else {
		answer.Status = &metav1.Status{Message: string(bytes.TrimSpace(text))}
	}
	return answer, nil
}

// Connect opens a connection, without a handshake.
func (f *Forger) Connect(ctx context.Context) (net.Conn, error) {
	u, err := url.Parse(f.URL)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", u.Host)
}

// Begin begins a request whose body claims a length, and sends only a part of it.
func (f *Forger) Begin(ctx context.Context, length int, part []byte) (net.Conn, error) {
	u, err := url.Parse(f.URL)
	if err != nil {
		return nil, err
	}
	c, err := f.Connect(ctx)
	if err != nil {
		return nil, err
	}
	over := tls.Client(c, insecure())
	if _, err := fmt.Fprintf(over, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		u.Path, u.Host, length, part); err != nil {
		_ = c.Close()
		return nil, err
	}
	return over, nil
}
