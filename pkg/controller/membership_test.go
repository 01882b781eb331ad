package controller

import (
	"net/http"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestMembershipRecord holds what follows from the membership record, of a member that is reachable whatever it says.
func TestMembershipRecord(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	f := follow(t, s.access())
	answer := func(code int, body string) func(*stub) {
		return func(s *stub) {
			s.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == askRecord {
					w.WriteHeader(code)
					_, _ = w.Write([]byte(body))
				}
				return r.URL.Path == askRecord
			}
		}
	}
	record := func(uid string) func(*stub) { return func(s *stub) { s.record, s.answer = uid, nil } }
	for i, step := range []struct {
		name   string
		is     func(*stub)
		want   string
		signed bool
	}{
		{"as the join wrote it", record("uid-1"), "", true},
		{"deleted", record(""), v1alpha1.ReasonMembershipMissing, false},
		{"back", record("uid-1"), "", true},
		{"of another member", record("uid-2"), v1alpha1.ReasonMembershipDiffers, false},
		{"no right to it", answer(http.StatusForbidden, ""), "", true},
		{"without data", answer(http.StatusOK, `{"kind":"ConfigMap"}`), v1alpha1.ReasonMembershipDiffers, false},
		{"no object", answer(http.StatusOK, "<html>"), "", true},
		{"not known", answer(http.StatusInternalServerError, ""), "", false},
	} {
		s.set(step.is)
		s.requests()
		got, err := f.probe(t.Context(), time.Minute, now.Add(time.Duration(i)*countInterval))
		if got != reachable || (err != nil) != (step.name == "not known") {
			t.Errorf("%s: %v, %v", step.name, got, err)
		}
		if f.membership != step.want {
			t.Errorf("%s: %q, want %q", step.name, f.membership, step.want)
		}
		signed := false
		for _, asked := range s.requests() {
			signed = signed || asked == askToken
		}
		if signed != step.signed {
			t.Errorf("%s: the condition Granted is looked at again: %v", step.name, signed)
		}
	}
}

// TestRequestReadsTheRecord holds that who requests a probe learns of the membership record.
func TestRequestReadsTheRecord(t *testing.T) {
	t.Parallel()
	p := probing(t, time.Hour, time.Minute)
	start(t, p)
	s := newStub(t)
	ask := func(request string) {
		t.Helper()
		k := known{granted: true, facts: &v1alpha1.Facts{}, request: request}
		if _, err := p.follow("m", target{uid: "uid-1", id: "id-1"}, opening(s.access()), k); err != nil {
			t.Fatal(err)
		}
		until(t, "it is found", func() bool { o := p.found("m"); return o != nil && o.request == request })
	}
	ask("")
	s.set(func(s *stub) { s.record = "" })
	ask("a")
	if o := p.found("m"); o.membership != v1alpha1.ReasonMembershipMissing {
		t.Errorf("observed: %+v", o)
	}
}
