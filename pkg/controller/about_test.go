package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestPropertyChanges is what becomes of a ClusterProperty, by what it is and is to be.
func TestPropertyChanges(t *testing.T) {
	t.Parallel()
	managed, others := func(value string) *property { return &property{value: value, labeled: true} }, func(value string) *property { return &property{value: value} }
	for _, tt := range []struct {
		name  string
		live  *property
		want  string
		known bool
		is    propertyChange
	}{
		{"it is not known what it is to be", managed("test"), "", false, propertyStays},
		{"there is none, as it is to be", nil, "", true, propertyStays},
		{"there is none", nil, "prod", true, propertyCreated},
		{"it is as it is to be", managed("prod"), "prod", true, propertyStays},
		{"others set what it is to be", others("prod"), "prod", true, propertyStays},
		{"it was changed", managed("test"), "prod", true, propertyUpdated},
		{"it was emptied, or holds too much", managed(""), "prod", true, propertyUpdated},
		{"others set another value", others("test"), "prod", true, propertyForeign},
		{"others emptied it", others(""), "prod", true, propertyForeign},
		{"there is to be none", managed("prod"), "", true, propertyDeleted},
		{"there is to be none, and it is empty", managed(""), "", true, propertyDeleted},
		{"there is to be none, and others set it", others("prod"), "", true, propertyStays},
	} {
		if got := changeOf(tt.live, tt.want, tt.known); got != tt.is {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.is)
		}
	}
}

// TestAnnounced is what a cluster is to say of its membership: from its acceptance until it leaves.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status   metav1.ConditionStatus
		reason   string
		set      string
		isKnown  bool
		changeOf func(*v1alpha1.MemberCluster)
	}{
		{"", "", "", false, nil},
		{metav1.ConditionTrue, v1alpha1.ReasonAccepted, "prod", true, nil},
		{metav1.ConditionTrue, v1alpha1.ReasonAccepted, "prod", true, func(m *v1alpha1.MemberCluster) { m.Spec.Suspended = true }},
		{metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval, "", true, nil},
		{metav1.ConditionFalse, v1alpha1.ReasonRulesBroken, "", true, nil},
		{metav1.ConditionFalse, v1alpha1.ReasonFederationMissing, "", false, nil},
		{metav1.ConditionUnknown, v1alpha1.ReasonFactsUnknown, "", false, nil},
		{metav1.ConditionFalse, v1alpha1.ReasonFactsUnknown, "", true, nil},
		{metav1.ConditionTrue, v1alpha1.ReasonFactsUnknown, "prod", true, nil},
	} {
		o := good(t)
		if tt.status != "" {
			o.member.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: tt.status, Reason: tt.reason}}
		}
		if tt.changeOf != nil {
			tt.changeOf(o.member)
		}
		a := o.known(o.judgeCredential()).announced
		if id, known := a.value(v1alpha1.PropertyClusterID, "id-1"); id != "id-1" || !known {
			t.Errorf("%s %s: the ID is %q, %v", tt.status, tt.reason, id, known)
		}
		if set, known := a.value(v1alpha1.PropertyClusterSet, "id-1"); set != tt.set || known != tt.isKnown {
			t.Errorf("%s %s: the set is %q, %v", tt.status, tt.reason, set, known)
		}
	}
}

const askProperties = "/apis/about.k8s.io/v1beta1/clusterproperties"

// aboutStub is a stub that serves ClusterProperties: their name, which is shortened, and the object.
type aboutStub struct {
	*stub
	has map[string]map[string]any
	// did are the requests for them.
	did []string
	// refuses, when not empty, is the body of the answer to each request with that method, with the code.
	method, refuses string
	code            int
}

var shortNames = map[string]string{v1alpha1.PropertyClusterID: "id", v1alpha1.PropertyClusterSet: "set"}

func newAboutStub(t *testing.T) *aboutStub {
	t.Helper()
	s := &aboutStub{stub: newStub(t), has: map[string]map[string]any{}}
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		name, about := strings.CutPrefix(r.URL.Path, askProperties)
		if about {
			var body map[string]any
			if data, _ := io.ReadAll(r.Body); len(data) > 0 && json.Unmarshal(data, &body) != nil {
				t.Errorf("%s %s sends %q", r.Method, name, data)
			}
			s.serveProperty(w, r, strings.TrimPrefix(name, "/"), body)
		}
		return about
	}
	return s
}

func (s *aboutStub) serveProperty(w http.ResponseWriter, r *http.Request, name string, body map[string]any) {
	metadata, _ := body["metadata"].(map[string]any)
	if r.Method == http.MethodPost {
		name, _ = metadata["name"].(string)
	}
	name = shortNames[name]
	s.did = append(s.did, r.Method+" "+name)
	status := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","reason":%q}`, reason)
	}
	live := s.has[name]
	version := func() any { return live["metadata"].(map[string]any)["resourceVersion"] }
	switch {
	case s.method == r.Method && s.code > 0:
		w.WriteHeader(s.code)
		fmt.Fprint(w, s.refuses)
	case live == nil && r.Method != http.MethodPost:
		status(http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(live)
	case r.Method == http.MethodDelete:
		if body["preconditions"].(map[string]any)["resourceVersion"] != version() {
			status(http.StatusConflict, metav1.StatusReasonConflict)
			return
		}
		delete(s.has, name)
		fmt.Fprint(w, `{"kind":"Status"}`)
	case live != nil && (r.Method == http.MethodPost || metadata["resourceVersion"] != version()), r.URL.Query().Get("fieldManager") != "kubefederate-manager":
		status(http.StatusConflict, metav1.StatusReasonConflict)
	default:
		s.has[name] = body
		metadata["resourceVersion"], metadata["uid"] = fmt.Sprint(len(s.did)), "uid-2"
		fmt.Fprintf(w, `{"metadata":{"annotations":{"long":%q}}}`, strings.Repeat("x", 4<<10)) // as API servers send what they stored
	}
}

func (s *aboutStub) metadata(name string) map[string]any {
	return s.has[name]["metadata"].(map[string]any)
}

func (s *aboutStub) set(name, value string) { s.has[name]["spec"].(map[string]any)["value"] = value }

// values are those of all properties.
func (s *aboutStub) values() (all string) {
	for _, name := range []string{"id", "set"} {
		if o := s.has[name]; o != nil {
			all += fmt.Sprintf("%s=%v ", name, o["spec"].(map[string]any)["value"])
		}
	}
	return strings.TrimSpace(all)
}

// TestProperties follows a membership: it waits for acceptance, is accepted, others change its properties, and it is no longer
// accepted. One property is read when the next is due, and nothing is written when nothing changed.
func TestProperties(t *testing.T) {
	t.Parallel()
	s := newAboutStub(t)
	f := follow(t, s.access())
	announce := func(b belonging) { f.properties.follow(announced{"prod", b}) }
	announce(belongsNot)
	const (
		match, repaired, foreign = v1alpha1.ReasonPropertiesMatch, v1alpha1.ReasonPropertyRepaired, v1alpha1.ReasonPropertyForeign
		changedID                = `ClusterProperty cluster.clusterset.k8s.io had become "another"; the manager set it to "id-1"`
		deletedSet               = `ClusterProperty clusterset.k8s.io was deleted; the manager set it to "prod"`
		theirs                   = `ClusterProperty cluster.clusterset.k8s.io is "theirs" and not "id-1", and was not set by kubectl federate`
	)
	for _, step := range []struct {
		name   string
		change func()
		did    string
		values string
		state  propertyState
	}{
		{"joined", func() {}, "GET id, POST id, GET set", "id=id-1", propertyState{match, ""}},
		{"five minutes later", func() {}, "GET set", "id=id-1", propertyState{match, ""}},
		{"ten minutes later", func() {}, "GET id", "id=id-1", propertyState{match, ""}},
		{"approved", func() { announce(belongs) }, "GET id, GET set, POST set", "id=id-1 set=prod", propertyState{match, ""}},
		{"as before", func() { announce(belongs) }, "GET id", "id=id-1 set=prod", propertyState{match, ""}},
		{"at rest", func() {}, "GET set", "id=id-1 set=prod", propertyState{match, ""}},
		{"the ID was changed", func() { s.set("id", "another"); s.metadata("id")["annotations"] = map[string]any{"theirs": "kept"} },
			"GET id, PUT id", "id=id-1 set=prod", propertyState{repaired, changedID}},
		{"the set was deleted", func() { delete(s.has, "set") }, "GET set, POST set", "id=id-1 set=prod", propertyState{repaired, changedID + "; " + deletedSet}},
		{"the ID stays", func() {}, "GET id", "id=id-1 set=prod", propertyState{repaired, deletedSet}},
		{"both stay", func() {}, "GET set", "id=id-1 set=prod", propertyState{match, ""}},
		{"others took it", func() { s.set("id", "theirs"); delete(s.metadata("id"), "labels") }, "GET id", "id=theirs set=prod", propertyState{foreign, theirs}},
		{"it is not known", func() { announce(belongingUnknown) }, "GET id, GET set", "id=theirs set=prod", propertyState{foreign, theirs}},
		{"no longer accepted", func() { announce(belongsNot); delete(s.has, "id") }, "GET id, POST id, GET set, DELETE set", "id=id-1", propertyState{match, ""}},
		{"others add the set", func() { s.has["set"] = s.has["id"]; f.properties.next = 1 }, "GET set, DELETE set", "id=id-1",
			propertyState{repaired, `ClusterProperty clusterset.k8s.io had been set to "id-1"; the manager deleted it, since the cluster is not accepted`}},
		{"the record is another member's", func() { f.membership = v1alpha1.ReasonMembershipDiffers; delete(s.has, "id") }, "", "",
			propertyState{repaired, `ClusterProperty clusterset.k8s.io had been set to "id-1"; the manager deleted it, since the cluster is not accepted`}},
	} {
		step.change()
		s.did = nil
		at := f.properties.due
		if at.IsZero() {
			at = now
		}
		for _, later := range []time.Duration{0, factsRetry - time.Second} { // and no sooner again
			if err := f.keepProperties(t.Context(), time.Minute, newBudget(), at.Add(later)); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		if did := strings.Join(s.did, ", "); did != step.did {
			t.Errorf("%s: %s, want %s", step.name, did, step.did)
		}
		if got := s.values(); got != step.values {
			t.Errorf("%s: %s, want %s", step.name, got, step.values)
		}
		if got := f.properties.state(); got != step.state {
			t.Errorf("%s: %+v, want %+v", step.name, got, step.state)
		}
		if step.name == "the ID was changed" && s.metadata("id")["annotations"] == nil {
			t.Error("an annotation of others is gone")
		}
	}
}

// TestPropertiesRefused is what follows when a member does not serve a request for a ClusterProperty, and when it is tried again.
func TestPropertiesRefused(t *testing.T) {
	t.Parallel()
	const notFound = `{"kind":"Status","reason":"NotFound"}`
	const id = "ClusterProperty cluster.clusterset.k8s.io"
	long := fmt.Sprintf(`{"metadata":{"annotations":{"a":%q}}}`, strings.Repeat("x", maxProperty))
	for _, tt := range []struct {
		name, method string
		code         int
		body         string
		state        propertyState
		again        time.Duration
		err          bool
	}{
		{"no About API", "GET", 404, "404 page not found", propertyState{reason: notServed}, nodesInterval, false},
		{"no right to read", "GET", 403, "", propertyState{v1alpha1.ReasonPropertyForbidden, "get " + id + ": 403 Forbidden"}, countInterval, false},
		{"no right to create", "POST", 403, `{"kind":"Status","message":"no\u001b"}`,
			propertyState{v1alpha1.ReasonPropertyForbidden, "create " + id + `: 403 Forbidden: no\x1b`}, countInterval, false},
		{"an answer of a policy", "POST", 422, "", propertyState{v1alpha1.ReasonPropertyFailed, "create " + id + ": 422 Unprocessable Entity"}, countInterval, false},
		{"a webhook that fails", "POST", 500, "", propertyState{v1alpha1.ReasonPropertyFailed, "create " + id + ": 500 Internal Server Error"}, countInterval, false},
		{"an API server that fails", "GET", 500, "", propertyState{}, factsRetry, false},
		{"created meanwhile", "POST", 409, "", propertyState{}, factsRetry, false},
		{"gone meanwhile", "POST", 404, notFound, propertyState{}, factsRetry, false},
		{"no object", "GET", 200, "<html>", propertyState{v1alpha1.ReasonPropertyFailed, "get " + id + ": the response is not the JSON of that object"}, countInterval, false},
		{"too long", "GET", 200, long, propertyState{v1alpha1.ReasonPropertyFailed, "get " + id + ": the response is too long"}, countInterval, false},
		{"the credential is refused", "GET", 401, "", propertyState{}, factsRetry, true},
	} {
		s := newAboutStub(t)
		s.method, s.code, s.refuses = tt.method, tt.code, tt.body
		f := follow(t, s.access())
		f.properties.follow(announced{"prod", belongs})
		err := f.keepProperties(t.Context(), time.Minute, newBudget(), now)
		if failed := (*statusError)(nil); errors.As(err, &failed) != tt.err {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := f.properties.states[0]; got != tt.state {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.state)
		}
		if again := f.properties.due.Sub(now); again > tt.again || again < tt.again*7/8 {
			t.Errorf("%s: again after %s, want %s", tt.name, again, tt.again)
		}
	}
}

// TestPropertiesUnserved holds that a cluster without the About API is asked once an hour, and says so when it gets it.
func TestPropertiesUnserved(t *testing.T) {
	t.Parallel()
	s := newAboutStub(t)
	s.method, s.code = http.MethodGet, http.StatusNotFound
	f := follow(t, s.access())
	f.properties.follow(announced{"prod", belongs})
	keep := func(at time.Time) string {
		t.Helper()
		s.did = nil
		if err := f.keepProperties(t.Context(), time.Minute, newBudget(), at); err != nil {
			t.Fatal(err)
		}
		return strings.Join(s.did, ", ")
	}
	if did := keep(now); did != "GET id" || f.properties.state().reason != notServed {
		t.Errorf("%s, %+v", did, f.properties.state())
	}
	f.properties.follow(announced{"prod", belongsNot})
	f.properties.follow(announced{"prod", belongs})
	if did := keep(now.Add(nodesInterval / 2)); did != "" {
		t.Errorf("half an hour later: %s", did)
	}
	s.code = 0
	if did := keep(now.Add(nodesInterval)); did != "GET id, POST id, GET set, POST set" || f.properties.state().reason != v1alpha1.ReasonPropertiesMatch {
		t.Errorf("%s, %+v", did, f.properties.state())
	}
}

// TestProbeKeepsProperties holds that a probe keeps the properties of a member, at once when it is accepted, that a manager which
// starts reads one and knows what it was to be, and that who requests a probe has both read.
func TestProbeKeepsProperties(t *testing.T) {
	t.Parallel()
	s := newAboutStub(t)
	p := probing(t, time.Hour, time.Minute)
	start(t, p)
	to := func(b belonging, k known) {
		t.Helper()
		k.announced = announced{"prod", b}
		if _, err := p.follow("m", target{uid: "uid-1", id: "id-1"}, opening(s.access()), k); err != nil {
			t.Fatal(err)
		}
	}
	becomes := func(values, did string, state propertyState) {
		t.Helper()
		until(t, values+" after "+did, func() bool {
			o := p.found("m")
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.values() == values && strings.Join(s.did, ", ") == did && o != nil && o.properties == state
		})
		s.stub.set(func(*stub) { s.did = nil })
	}
	match := propertyState{reason: v1alpha1.ReasonPropertiesMatch}
	to(belongsNot, known{})
	becomes("id=id-1", "GET id, POST id, GET set", match)
	to(belongs, known{})
	becomes("id=id-1 set=prod", "GET id, GET set, POST set", match)
	s.stub.set(func(*stub) { delete(s.has, "set") })
	to(belongs, known{request: "a"})
	becomes("id=id-1 set=prod", "GET id, GET set, POST set",
		propertyState{v1alpha1.ReasonPropertyRepaired, `ClusterProperty clusterset.k8s.io was deleted; the manager set it to "prod"`})
	p.drop("m")
	s.stub.set(func(*stub) { delete(s.has, "id") })
	to(belongs, known{propertiesMatch: true, request: "b"})
	becomes("id=id-1 set=prod", "GET id, POST id, GET set",
		propertyState{v1alpha1.ReasonPropertyRepaired, `ClusterProperty cluster.clusterset.k8s.io was deleted; the manager set it to "id-1"`})
}

// TestPropertiesSet is the condition PropertiesSet for each state, and the Event that it brings.
func TestPropertiesSet(t *testing.T) {
	t.Parallel()
	const join = "; restore the manager's permissions: kubectl federate join us-east --federation prod --member-context CONTEXT"
	for _, tt := range []struct {
		state propertyState
		// want is the condition, granted the condition Granted where it says more, and event the Event's type and reason.
		want, granted, event string
	}{
		{propertyState{}, "True PropertiesMatch: as before", "", ""},
		{propertyState{notServed, ""}, "", "", ""},
		{propertyState{v1alpha1.ReasonPropertiesMatch, ""}, "True PropertiesMatch: the ClusterProperties of the cluster say what it is a member of", "", ""},
		{propertyState{v1alpha1.ReasonPropertyRepaired, "it was x"}, "True PropertyRepaired: it was x", "", "Warning PropertyRepaired it was x"},
		{propertyState{v1alpha1.ReasonPropertyForeign, "it is x"},
			"False PropertyForeign: it is x; see what the cluster is a member of: kubectl federate check --member-contexts CONTEXT", "",
			"Warning PropertyForeign it is x; see what the cluster is a member of: kubectl federate check --member-contexts CONTEXT"},
		{propertyState{v1alpha1.ReasonPropertyForbidden, "create it: 403"}, "False PropertyForbidden: create it: 403" + join,
			"False PropertyForbidden: the manager may not do all that it needs to: create it: 403" + join, "Warning PropertyForbidden create it: 403" + join},
		{propertyState{v1alpha1.ReasonPropertyFailed, "create it: 422"}, "False PropertyFailed: create it: 422", "", "Warning PropertyFailed create it: 422"},
	} {
		o := good(t)
		o.member.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionPropertiesSet, Status: "True", Reason: "PropertiesMatch", Message: "as before"}}
		o.probe.properties = tt.state
		status := o.status(o.judgeCredential())
		said := func(name string) string {
			if c := meta.FindStatusCondition(status.Conditions, name); c != nil {
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			}
			return ""
		}
		if got := said(v1alpha1.ConditionPropertiesSet); got != tt.want || said(v1alpha1.ConditionGranted) != tt.granted || status.Phase != v1alpha1.PhaseReady {
			t.Errorf("phase %s, %s\nwant %s\ngranted %s", status.Phase, got, tt.want, said(v1alpha1.ConditionGranted))
		}
		recorder := events.NewFakeRecorder(3)
		updated := o.member.DeepCopy()
		updated.Status = status
		recordProperties(recorder, updated, o.member.Status.Conditions)
		recordProperties(recorder, updated, status.Conditions) // and not again
		close(recorder.Events)
		got := ""
		for event := range recorder.Events {
			got += event
		}
		if got != tt.event {
			t.Errorf("Event %q, want %q", got, tt.event)
		}
	}
}
