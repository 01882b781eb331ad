package controller

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// TestConsumerTokenDue is when a token for those who read the inventory is issued.
func TestConsumerTokenDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good := consumerToken{Issued: now, Expires: now.Add(24 * time.Hour), Stored: now, With: "h1"}
	for name, test := range map[string]struct {
		said  consumerToken
		last  attempt
		ready string
		// earliest and latest are after now; never is without either.
		earliest, latest time.Duration
		never            bool
	}{
		"there is none": {},
		"a third of a day, less at most an eighth":                  {said: good, earliest: 7 * time.Hour, latest: 8 * time.Hour},
		"it was requested with a credential that is stored no more": {said: consumerToken{Issued: now, Expires: now.Add(time.Hour), Stored: now, With: "h0"}},
		"it does not say how long it lives":                         {said: consumerToken{With: "h1", Stored: now}},
		"the last attempt failed":                                   {last: attempt{credential: "h1", failures: 1, next: now.Add(time.Minute)}, earliest: time.Minute, latest: time.Minute},
		"a renewal failed":                                          {said: consumerToken{Issued: now.Add(-9 * time.Hour), Expires: now.Add(15 * time.Hour), Stored: now.Add(-9 * time.Hour), With: "h1"}, last: attempt{credential: "h1", failures: 3, next: now.Add(time.Minute)}, earliest: time.Minute, latest: time.Minute},
		"the member is offline":                                     {ready: v1alpha1.ReasonTimedOut, never: true},
		"the member has an error":                                   {ready: v1alpha1.ReasonServerError},
	} {
		m := &v1alpha1.MemberCluster{}
		m.UID = "uid-1"
		m.Status.ObservedCredential = "h1"
		reason, status := v1alpha1.ReasonReachable, metav1.ConditionTrue
		if test.ready != "" {
			reason, status = test.ready, metav1.ConditionFalse
		}
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason})
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCredentialStored})
		due, ok := test.said.due(m, test.last, schedule{RenewalShare})
		if ok == test.never {
			t.Errorf("%s: due at %s: %t", name, due, ok)
			continue
		}
		if test.never || test.latest == 0 && due.IsZero() {
			continue
		}
		if due.Before(now.Add(test.earliest)) || due.After(now.Add(test.latest)) {
			t.Errorf("%s: due %s from now", name, due.Sub(now))
		}
		m.Status.ObservedCredential = ""
		if _, ok := test.said.due(m, test.last, schedule{RenewalShare}); ok {
			t.Errorf("%s: due without a credential", name)
		}
	}
}

// TestConsumerTokenOf reads what a Secret says, valid or not.
func TestConsumerTokenOf(t *testing.T) {
	t.Parallel()
	m := publishableMember()
	want := consumerToken{Issued: time.Unix(1, 0).UTC(), Expires: time.Unix(2, 0).UTC(), Stored: time.Unix(3, 0).UTC(), With: "h", For: issuedFor(m)}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]consumerToken{"": {}, "{": {}, `{"issued":"soon"}`: {}, string(data): want} {
		secret := &metav1.PartialObjectMetadata{}
		secret.Annotations = map[string]string{v1alpha1.AnnotationConsumerToken: text}
		if got := consumerTokenOf(secret, m); got != want {
			t.Errorf("%s: got %+v", text, got)
		}
	}
	if got := consumerTokenOf(nil, m); got != (consumerToken{}) {
		t.Errorf("of no Secret: %+v", got)
	}
	var none client.Object
	if got := consumerTokenOf(none, m); got != (consumerToken{}) {
		t.Errorf("of no Secret: %+v", got)
	}
}

// TestPublished is what the condition Published says of the credential.
func TestPublished(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	works := consumerToken{Expires: now.Add(time.Hour), With: "h1"}
	failed := attempt{credential: "h1", failures: 1, fault: "no answer: timed out"}
	forbidden := attempt{credential: "h1", failures: 1, fault: "404 Not Found", forbidden: true}
	const fails = "the credential for those who read the inventory could not be issued: "
	for name, test := range map[string]struct {
		said    consumerToken
		last    attempt
		silent  bool
		warning string
		fault   string
		pending bool
	}{
		"it works":                 {said: works},
		"it works, and is offline": {said: works, silent: true},
		"not issued yet":           {pending: true},
		"not issued, and offline":  {silent: true, fault: "the credential for those who read the inventory is issued when the member answers: see Ready"},
		"of another credential":    {said: consumerToken{Expires: now.Add(time.Hour), With: "h0"}, pending: true},
		"expired":                  {said: consumerToken{Expires: now, With: "h1"}, pending: true},
		"renewal failed":           {said: works, last: failed, warning: fails + "no answer: timed out; the last one works until 2026-03-01T13:00:00Z"},
		"failed":                   {last: failed, fault: fails + "no answer: timed out"},
		"no account there": {last: forbidden, fault: fails +
			"404 Not Found; grant the account for them: kubectl federate join us-east --federation prod --member-context CONTEXT"},
	} {
		m := &v1alpha1.MemberCluster{}
		m.Name, m.Labels = "us-east", map[string]string{v1alpha1.LabelFederation: "prod"}
		m.Status.ObservedCredential = "h1"
		var d publication
		d.credential(m, test.said, test.last, !test.silent, now)
		got := ""
		for _, f := range d.faults {
			got += f.message
		}
		if got != test.fault || d.warning != test.warning || d.pending != test.pending {
			t.Errorf("%s: fault %q, warning %q, pending %t", name, got, d.warning, d.pending)
		}
	}
}

// TestJudgeConsumerToken is that a token that has ended is not stored.
func TestJudgeConsumerToken(t *testing.T) {
	t.Parallel()
	const ended = "the member issued a token that ended at 1970-01-01T01:00:00Z: compare its clock with that of the host"
	for claims, test := range map[string]struct {
		now  int64
		want string
	}{
		`{"sub":"` + consumerSubject + `","iat":1,"exp":3600}`:    {3599, ""},
		`{"sub":"` + consumerSubject + `","iat":2,"exp":3600}`:    {3600, ended},
		`{"sub":"` + consumerSubject + `","iat":3,"exp":3600}`:    {7200, ended},
		`{"sub":"` + managerSubject + `","iat":1,"exp":3600}`:     {1, `the member issued a token of "` + managerSubject + `" and not of "` + consumerSubject + `"`},
		`{"sub":"` + consumerSubject + `","iat":3600,"exp":3600}`: {1, "the member issued a token that does not say how long it lives"},
	} {
		got := ""
		if err := judgeConsumerToken(&kubeconfig.Access{Token: token(claims)}, &kubeconfig.Access{}, time.Unix(test.now, 0)); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s at %d: %q", claims, test.now, got)
		}
	}
}

// TestConsumerTokenLife is how long the token lives that is asked of a member: a day, or less where the manager's own lives less.
func TestConsumerTokenLife(t *testing.T) {
	t.Parallel()
	for annotation, want := range map[string]int64{"2160h0m0s": 86400, "24h0m0s": 86400, "23h0m0s": 23 * 3600, "1s": 600, "": 3 * 3600} {
		r := newRenewing(t)
		var asked authenticationv1.TokenRequest
		r.member.answer = func(w http.ResponseWriter, q *http.Request) bool {
			if q.URL.Path != consumerRequest.path {
				return false
			}
			if err := json.NewDecoder(q.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusCreated)
			issued := strings.Replace(claimsOfOwn(time.Now(), time.Now().Add(time.Hour)), managerSubject, consumerSubject, 1)
			fmt.Fprintf(w, `{"kind":"TokenRequest","status":{"token":%q}}`, token(issued))
			return true
		}
		r.seen.credential.Annotations = map[string]string{v1alpha1.AnnotationTokenLifetime: annotation}
		c := &consumers{timeout: time.Minute}
		got, err := c.issue(t.Context(), r.seen.memberState, r.seen.credential, r.seen.readCredential(r.seen.credential))
		if err != nil || got.Subject() != consumerSubject {
			t.Errorf("%q: %+v, %v", annotation, got, err)
		}
		if life := asked.Spec.ExpirationSeconds; life == nil || *life != want {
			t.Errorf("%q: a life of %v seconds is asked for, want %d", annotation, life, want)
		}
		if bound := asked.Spec.BoundObjectRef; bound == nil || bound.Name != "kubefederate-manager-binding" || bound.UID != "uid-b" {
			t.Errorf("%q: it is bound to %+v", annotation, bound)
		}
	}
}
