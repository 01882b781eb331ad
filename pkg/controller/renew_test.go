package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// renewing is a host with one member, whose credential was stored an hour ago for three and is due, and a renewer.
type renewing struct {
	*renewer
	host   client.WithWatch
	member *stub
	seen   seen
	events *events.FakeRecorder
	woken  chan event.TypedGenericEvent[string]
	// issues is the token that the member issues next.
	issues func(asked *authenticationv1.TokenRequest) string
	// asked is what was asked for.
	asked []authenticationv1.TokenRequestSpec
	// bearers are the tokens that requests came with.
	bearers []string
}

func newRenewing(t *testing.T) *renewing {
	t.Helper()
	r := &renewing{member: newStub(t), events: events.NewFakeRecorder(10), woken: make(chan event.TypedGenericEvent[string], 10)}
	o := renewable(t)
	began := time.Now()
	o.now = began
	ca := r.member.access()
	o.member.Spec.ClusterID, o.member.Spec.Server, o.member.Spec.CABundle = "id-1", ca.Server, ca.CABundle
	o.store(t, func(a *kubeconfig.Access) { a.Token = ownToken(began.Add(-time.Hour), began.Add(2*time.Hour)) })
	o.credential.ManagedFields, o.credential.CreationTimestamp.Time = nil, began.Add(-time.Hour)
	o.credential.Annotations = map[string]string{v1alpha1.AnnotationTokenLifetime: "24h0m0s", "example.com/kept": "yes"}
	o.member.Status = o.status(o.judgeCredential())
	r.seen = o
	c, _ := host(t, o.member, o.credential, o.federation)
	r.host = c
	m, err := newMetrics(prometheus.NewRegistry(), c)
	if err != nil {
		t.Fatal(err)
	}
	r.renewer = &renewer{
		client: c, direct: c, schedule: schedule{RenewalShare}, timeout: time.Minute, log: logr.Discard(), metrics: m, recorder: r.events,
		changes: r.woken, queue: workqueue.NewTypedDelayingQueue[string](),
	}
	r.issues = func(*authenticationv1.TokenRequest) string { return ownToken(began, began.Add(3*time.Hour)) }
	r.member.answer = r.answer
	return r
}

// answer issues tokens.
func (r *renewing) answer(w http.ResponseWriter, q *http.Request) bool {
	r.bearers = append(r.bearers, strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer "))
	if q.URL.Path != askToken {
		return false
	}
	var asked authenticationv1.TokenRequest
	if err := json.NewDecoder(q.Body).Decode(&asked); err != nil {
		panic(err)
	}
	r.asked = append(r.asked, asked.Spec)
	if issued := r.issues(&asked); issued != "" {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"kind":"TokenRequest","status":{"token":%q}}`, issued)
	} else {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","message":"no tokens for you"}`)
	}
	return true
}

// stored is the Secret as it is now; nil when there is none.
func (r *renewing) stored(t *testing.T) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	err := r.host.Get(t.Context(), client.ObjectKeyFromObject(r.seen.credential), &s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func (r *renewing) run(t *testing.T) {
	t.Helper()
	if err := r.renew(t.Context(), "us-east"); err != nil {
		t.Fatal(err)
	}
}

func (r *renewing) results() map[string]int {
	counts := map[string]int{}
	for _, result := range []string{renewalRenewed, renewalFailed, renewalDropped} {
		if n := int(testutil.ToFloat64(r.metrics.renewals.WithLabelValues(result))); n > 0 {
			counts[result] = n
		}
	}
	return counts
}

// TestRenew renews a credential: what was asked for, what is stored, and what is not touched.
func TestRenew(t *testing.T) {
	t.Parallel()
	r := newRenewing(t)
	before := r.stored(t)
	old, want := r.seen.judgeCredential().hash, r.issues(nil)
	r.run(t)
	if len(r.asked) != 1 || *r.asked[0].ExpirationSeconds != 24*60*60 || r.asked[0].BoundObjectRef == nil ||
		r.asked[0].BoundObjectRef.Name != "kubefederate-manager-binding" || r.asked[0].BoundObjectRef.UID != "uid-b" || len(r.asked[0].Audiences) != 0 {
		t.Errorf("asked for %+v", r.asked)
	}
	const id = "/api/v1/namespaces/kube-system without a token" // without the one of the stub
	if diff := cmp.Diff([]string{id, askToken + " without a token", id}, r.member.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	former, err := kubeconfig.Parse(before.Data[v1alpha1.CredentialKey])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{former.Token, former.Token, want}, r.bearers); diff != "" {
		t.Errorf("tokens of the requests (-want +got):\n%s", diff)
	}
	after := r.stored(t)
	access, err := kubeconfig.OfMember(after, after.Data[v1alpha1.CredentialKey], r.seen.member, false)
	if err != nil || access.Token != want {
		t.Errorf("stored %v, %v", access, err)
	}
	if got := after.Annotations[v1alpha1.AnnotationRenewed]; got != old {
		t.Errorf("it replaced %q, want %q", got, old)
	}
	after.Data, after.ResourceVersion = before.Data, before.ResourceVersion
	delete(after.Annotations, v1alpha1.AnnotationRenewed)
	after.ManagedFields = before.ManagedFields
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("it changed more (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{renewalRenewed: 1}, r.results()); diff != "" {
		t.Error(diff)
	}

	// The status is of the former credential still, so that the new one is not renewed.
	r.run(t)
	if asked := r.member.requests(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
	if len(r.events.Events) > 0 {
		t.Errorf("event %s", <-r.events.Events)
	}
}

// TestRenewFaults has each part of a renewal fail: the credential that is stored stays.
func TestRenewFaults(t *testing.T) {
	t.Parallel()
	began := time.Now()
	issues := func(token string) func(*renewing) {
		return func(r *renewing) { r.issues = func(*authenticationv1.TokenRequest) string { return token } }
	}
	// second answers requests for the ID from the second on, with the new token.
	second := func(answer func(http.ResponseWriter)) func(*renewing) {
		return func(r *renewing) {
			n := 0
			r.member.answer = func(w http.ResponseWriter, q *http.Request) bool {
				if q.URL.Path == "/api/v1/namespaces/kube-system" {
					if n++; n == 2 {
						answer(w)
						return true
					}
				}
				return r.answer(w, q)
			}
		}
	}
	claims := func(sub, name, uid string) string {
		return token(fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d,"kubernetes.io":{"secret":{"name":%q,"uid":%q}}}`, sub, began.Unix(), began.Add(time.Hour).Unix(), name, uid))
	}
	const binding = "kubefederate-manager-binding"
	for name, tt := range map[string]struct {
		fault     func(*renewing)
		want      string
		forbidden bool
	}{
		"no right": {issues(""), "create token of ServiceAccount kubefederate-member/kubefederate-manager: 403 Forbidden: no tokens for you", true},
		"an error": {func(r *renewing) {
			r.member.answer = func(w http.ResponseWriter, q *http.Request) bool {
				if q.URL.Path == askToken {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				return q.URL.Path == askToken
			}
		}, "create token of ServiceAccount kubefederate-member/kubefederate-manager: 503 Service Unavailable", false},
		"another cluster answers":            {func(r *renewing) { r.member.id = "id-2" }, `another cluster answers: its ID is "id-2" and not "id-1"`, false},
		"no answer":                          {func(r *renewing) { r.member.Close() }, "no answer: connection refused", false},
		"a token of another account":         {issues(claims("system:serviceaccount:a:b", binding, "uid-b")), `the member issued a token of "system:serviceaccount:a:b" and not of "` + managerSubject + `"`, false},
		"a token that ends with no Secret":   {issues(claims(managerSubject, "", "")), `the member issued a token that is bound to Secret "" and not to "` + binding + `"`, false},
		"a token that ends with a later one": {issues(claims(managerSubject, binding, "uid-c")), `the member issued a token that is bound to Secret "` + binding + `" and not to "` + binding + `"`, false},
		"a token without times": {issues(token(fmt.Sprintf(`{"sub":%q,"kubernetes.io":{"secret":{"name":%q,"uid":"uid-b"}}}`, managerSubject, binding))),
			"the member issued a token that does not say how long it lives", false},
		"a token of megabytes":            {issues(strings.Repeat("x", 2<<20)), "create token of ServiceAccount kubefederate-member/kubefederate-manager: the response is too long", false},
		"a token that is larger than any": {issues(strings.Repeat("x", 20<<10)), `the member issued a token of "" and not of "` + managerSubject + `"`, false},
		"no token":                        {issues("x"), `the member issued a token of "" and not of "` + managerSubject + `"`, false},
		"a broken token":                  {issues(claims(managerSubject, binding, "uid-b") + " x"), "the member issued a token that cannot be stored: kubeconfig refused: user.token has characters that a token cannot have", false},
		"the new token is refused": {second(func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }),
			"the member issued a token that does not work: get namespace kube-system: 401 Unauthorized", false},
		"the new token is forbidden": {second(func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }),
			"the member issued a token that does not work: get namespace kube-system: 403 Forbidden", false},
		"the new token leads elsewhere": {second(func(w http.ResponseWriter) { fmt.Fprint(w, `{"metadata":{"uid":"id-2"}}`) }),
			`the member issued a token that does not work: another cluster answers: its ID is "id-2" and not "id-1"`, false},
		"the host refuses it": {func(r *renewing) {
			r.client = interceptor.NewClient(r.host, interceptor.Funcs{Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "us-east", errors.New("not yours"))
			}})
		}, `the host does not store the new credential: secrets "us-east" is forbidden: not yours`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRenewing(t)
			tt.fault(r)
			before := r.stored(t)
			r.run(t)
			if diff := cmp.Diff(before, r.stored(t)); diff != "" {
				t.Errorf("stored (-before +after):\n%s", diff)
			}
			hash := r.seen.judgeCredential().hash
			got := r.last("us-east", hash)
			if got.fault != tt.want || got.failures != 1 || got.forbidden != tt.forbidden {
				t.Errorf("got %+v\nwant %s", got, tt.want)
			}
			if r.last("us-east", "another") != (attempt{}) {
				t.Error("another credential has failed as well")
			}
			if left := time.Until(got.next); left < 45*time.Second || left > time.Minute {
				t.Errorf("again after %s", left)
			}
			if diff := cmp.Diff(map[string]int{renewalFailed: 1}, r.results()); diff != "" {
				t.Error(diff)
			}
			if changed := <-r.woken; changed.Object != "us-east" {
				t.Errorf("changed %q", changed.Object)
			}
			// Not before it is due again, by the clock.
			r.member.requests()
			r.run(t)
			if asked := r.member.requests(); len(asked) > 0 {
				t.Errorf("asked again: %v", asked)
			}
			if n := len(r.events.Events); n != 1 {
				t.Errorf("%d events", n)
			}
		})
	}
}

// TestRenewAgain has a renewal fail twice and succeed: one Event for the failures, and one for their end.
func TestRenewAgain(t *testing.T) {
	t.Parallel()
	r := newRenewing(t)
	good := r.issues
	r.issues = func(*authenticationv1.TokenRequest) string { return "" }
	hash := r.seen.judgeCredential().hash
	for range 2 {
		r.run(t)
		a := r.attempts.of["us-east"]
		a.next = time.Time{} // its time has come
		r.attempts.of["us-east"] = a
	}
	if a := r.last("us-east", hash); a.failures != 2 {
		t.Errorf("%+v", a)
	}
	r.issues = good
	r.run(t)
	if a := r.last("us-east", hash); a != (attempt{}) {
		t.Errorf("%+v", a)
	}
	end := timestamp(r.seen.judgeCredential().end)
	close(r.events.Events)
	want := []string{
		"Warning CredentialRenewalFailed create token of ServiceAccount kubefederate-member/kubefederate-manager: 403 Forbidden: no tokens for you; the stored credential works until " + end,
		"Normal CredentialRenewed the credential is renewed again; it works until ",
	}
	var got []string
	for e := range r.events.Events {
		got = append(got, e)
	}
	if len(got) != 2 || got[0] != want[0] || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("Events %q, want %q", got, want)
	}
	if diff := cmp.Diff(map[string]int{renewalFailed: 2, renewalRenewed: 1}, r.results()); diff != "" {
		t.Error(diff)
	}
}

// TestRenewRaces has others write at each moment of a renewal: what they store stays.
func TestRenewRaces(t *testing.T) {
	t.Parallel()
	rotate := func(t *testing.T, r *renewing) {
		t.Helper()
		r.seen.store(t, func(a *kubeconfig.Access) { a.Token = ownToken(time.Now(), time.Now().Add(time.Hour)) })
		s := r.stored(t)
		s.Data, s.Annotations = r.seen.credential.Data, nil
		if err := r.host.Update(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
	unjoin := func(t *testing.T, r *renewing) {
		t.Helper()
		if err := r.host.Delete(t.Context(), r.stored(t)); err != nil {
			t.Error(err)
		}
	}
	for name, other := range map[string]func(*testing.T, *renewing){
		"a rotation": rotate, "an unjoin": unjoin,
		"another manager": func(t *testing.T, r *renewing) {
			t.Helper()
			second := *newRenewing(t)
			second.client, second.direct, second.renewer.attempts = r.host, r.host, attempts{}
			second.run(t)
		},
	} {
		for at := 1; at <= 3; at++ {
			t.Run(fmt.Sprintf("%s at request %d", name, at), func(t *testing.T) {
				t.Parallel()
				r := newRenewing(t)
				var during func()
				n := 0
				answer := r.answer
				r.member.answer = func(w http.ResponseWriter, q *http.Request) bool {
					if n++; n == at {
						during()
					}
					return answer(w, q)
				}
				var left *corev1.Secret
				during = func() {
					r.member.mu.Unlock()
					other(t, r)
					r.member.mu.Lock()
					left = r.stored(t)
				}
				r.run(t)
				if diff := cmp.Diff(left, r.stored(t)); diff != "" {
					t.Errorf("stored (-by the other +now):\n%s", diff)
				}
				if diff := cmp.Diff(map[string]int{renewalDropped: 1}, r.results()); diff != "" {
					t.Error(diff)
				}
				if len(r.events.Events) > 0 {
					t.Errorf("event %s", <-r.events.Events)
				}
			})
		}
	}
}

// TestRenewNot goes through members whose credential is not to be renewed when its turn comes: nothing is asked of them.
func TestRenewNot(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*renewing, *v1alpha1.MemberCluster, *corev1.Secret){
		"replaced since": func(_ *renewing, _ *v1alpha1.MemberCluster, s *corev1.Secret) {
			s.Data = map[string][]byte{v1alpha1.CredentialKey: []byte("x")}
		},
		"does not answer": func(_ *renewing, m *v1alpha1.MemberCluster, _ *corev1.Secret) {
			for i := range m.Status.Conditions {
				m.Status.Conditions[i].Reason = v1alpha1.ReasonTimedOut
			}
		},
		"leads elsewhere since": func(_ *renewing, m *v1alpha1.MemberCluster, _ *corev1.Secret) {
			m.Spec.Server = "https://elsewhere.example.com"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRenewing(t)
			var m v1alpha1.MemberCluster
			if err := r.host.Get(t.Context(), client.ObjectKey{Name: "us-east"}, &m); err != nil {
				t.Fatal(err)
			}
			s := r.stored(t)
			change(r, &m, s)
			if err := errors.Join(r.host.Update(t.Context(), &m), r.host.Update(t.Context(), s)); err != nil {
				t.Fatal(err)
			}
			r.run(t)
			if asked := r.member.requests(); len(asked) > 0 || len(r.results()) > 0 {
				t.Errorf("asked %v, %v", asked, slices.Collect(maps.Keys(r.results())))
			}
		})
	}
	// What is gone is no error.
	r := newRenewing(t)
	if err := r.renew(t.Context(), "gone"); err != nil {
		t.Error(err)
	}
	// A manager that ends counts nothing as failed.
	ended, cancel := context.WithCancel(t.Context())
	r.issues = func(*authenticationv1.TokenRequest) string { cancel(); return "" }
	if err := r.renew(ended, "us-east"); err != nil || len(r.results()) > 0 || len(r.attempts.of) > 0 {
		t.Errorf("%v %v %v", err, r.results(), r.attempts.of)
	}
}

// TestReconnectWithinARenewal ends the connection after the ID was read: the token is not requested over another one.
func TestReconnectWithinARenewal(t *testing.T) {
	t.Parallel()
	r := newRenewing(t)
	r.member.answer = func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path == "/api/v1/namespaces/kube-system" {
			w.Header().Set("Connection", "close")
		}
		return r.answer(w, q)
	}
	r.run(t)
	if len(r.asked) > 0 || r.results()[renewalFailed] != 1 {
		t.Errorf("asked %v, %v", r.asked, r.results())
	}
	if got, want := r.attempts.of["us-east"].fault, "no answer: "+errReconnected.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRenewerRetries has the host not answer when a renewal begins: it is tried again later.
func TestRenewerRetries(t *testing.T) {
	t.Parallel()
	r := newRenewing(t)
	clock := clocktesting.NewFakeClock(now)
	r.queue = workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[string]{Clock: clock})
	var failures atomic.Int32
	r.direct = interceptor.NewClient(r.host, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if failures.Add(1) == 1 {
				return errors.New("the host is away")
			}
			return c.Get(ctx, key, o, options...)
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Start(ctx) }()
	r.request("us-east")
	until(t, "a renewal that could not begin", func() bool { return failures.Load() > 0 && r.queue.Len() == 0 })
	until(t, "the credential is renewed", func() bool {
		clock.Step(hostRetry)
		return r.results()[renewalRenewed] == 1
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
