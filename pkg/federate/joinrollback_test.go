package federate

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// store is a server that holds objects by resource and name. It knows the annotation of an attempt and no more: what a real
// API server answers is tested in test/integration.
type store struct {
	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured
	// broken is what cannot be deleted.
	broken string
	writes []string
	// meanwhile is what happens when the membership record is deleted.
	meanwhile func()
}

func (s *store) put(ref cluster.Ref, attempt string) {
	o := ref.Resource.New(ref.Namespace, ref.Name)
	if ref == member.MembershipRef() {
		o = member.Membership{Federation: "prod", HostID: hostID, Member: "east", Attempt: attempt}.Manifest()
	}
	o.SetAnnotations(map[string]string{v1alpha1.AnnotationAttempt: attempt})
	s.objects[ref.Resource.Resource+"/"+ref.Name] = o
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Base(path.Dir(r.URL.Path)) + "/" + path.Base(r.URL.Path)
	if r.Method != http.MethodGet {
		s.writes = append(s.writes, strings.ToLower(r.Method)+" "+name)
	}
	o := s.objects[name]
	code, answer := http.StatusOK, any(o)
	switch {
	case o == nil:
		code = http.StatusNotFound
	case r.Method == http.MethodPatch:
		var operations []struct{ Op, Value string }
		_ = json.NewDecoder(r.Body).Decode(&operations)
		if o.GetAnnotations()[v1alpha1.AnnotationAttempt] != operations[0].Value {
			code = http.StatusUnprocessableEntity
			break
		}
		o.SetAnnotations(map[string]string{v1alpha1.AnnotationAttempt: operations[1].Value})
	case r.Method == http.MethodDelete && name == s.broken:
		code = http.StatusForbidden
	case r.Method == http.MethodDelete:
		delete(s.objects, name)
		if s.meanwhile != nil && o.GetKind() == cluster.ConfigMaps.Kind {
			s.meanwhile()
		}
	}
	if code != http.StatusOK {
		answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": map[int]string{
			http.StatusNotFound: "NotFound", http.StatusUnprocessableEntity: "Invalid", http.StatusForbidden: "Forbidden",
		}[code], "details": map[string]any{"name": path.Base(r.URL.Path)}}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

// newStore is a store that is both sides, with the objects of a join.
func newStore(t *testing.T, p *plan) *store {
	t.Helper()
	s := &store{objects: map[string]*unstructured.Unstructured{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	var errs [2]error
	p.host, errs[0] = host.Connect(&rest.Config{Host: server.URL})
	p.member, errs[1] = member.Connect(&rest.Config{Host: server.URL})
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRollBack rolls back a join that made a member, its membership record and an account, and nothing that another run
// relies on.
func TestRollBack(t *testing.T) {
	t.Parallel()
	const record, account, joined = "configmaps/membership", "serviceaccounts/kubefederate-manager", "memberclusters/east"
	const cannot, not = `cannot join "east" to federation "prod"; all changes were rolled back`, "done: host: MemberCluster \"east\" "
	credential, made := host.CredentialRef("east"), host.MemberRef("east")
	const sent = "patch " + joined + ", delete secrets/east, delete " + account + ", delete " + record
	for _, tt := range []struct {
		name   string
		change func(*JoinPlan, *store)
		writes string
		err    string // a line of the error
	}{
		{"all of it", nil, sent + ", delete " + joined, cannot},
		{"the member was removed", func(_ *JoinPlan, s *store) { delete(s.objects, joined) }, "delete " + account + ", delete " + record, cannot},
		{"another run has taken the member over", func(_ *JoinPlan, s *store) { s.put(made, "another") }, "",
			"* " + not + "was not rolled back: another join has taken it over, or this one had just ended"},
		{"another run takes the member over meanwhile", func(_ *JoinPlan, s *store) { s.meanwhile = func() { s.put(made, "another") } }, sent + ", patch " + joined,
			"* " + not + "was not rolled back: another join has taken it over, or this one had just ended"},
		{"the member is made anew meanwhile", func(_ *JoinPlan, s *store) { s.meanwhile = func() { s.objects[joined].SetUID("uid-2") } }, sent, cannot},
		{"another run has taken the cluster over", func(_ *JoinPlan, s *store) { s.put(member.MembershipRef(), "another") },
			"patch " + joined + ", delete secrets/east, delete " + joined, cannot},
		{"the member is older", func(r *JoinPlan, _ *store) { r.first, r.created = false, false }, "",
			"* " + not + "existed before this run, so nothing was rolled back"},
		{"the request for the member never arrived", func(r *JoinPlan, s *store) {
			delete(s.objects, joined)
			r.first, r.made = false, map[cluster.Ref]bool{made: true}
		}, "", "lost"},
		{"an account that stays", func(_ *JoinPlan, s *store) { s.broken = account },
			"patch " + joined + ", delete secrets/east, delete " + account + ", patch " + joined,
			`* left: member: ServiceAccount "kubefederate-member/kubefederate-manager"`},
		{"the member may not be deleted", func(r *JoinPlan, _ *store) {
			rights := host.Target{Member: "east", Federation: "prod"}.LeaveRights()
			r.facts.UndoMissing = missingOf(cluster.Host, rights, rights[1:])
		}, sent + ", patch " + joined, `* left: host: MemberCluster "east", since you are not allowed to leave federations.kubefederate.io "prod"`},
	} {
		plan, _ := planJoin(facts(nil), joinOptions(nil))
		s, mine := newStore(t, &plan.plan), plan.facts.Attempt.String()
		plan.start(nil)
		plan.record, plan.first, plan.created = &v1alpha1.MemberCluster{}, true, true
		for _, ref := range []cluster.Ref{made, credential, member.MembershipRef(), member.ManagerAccountRef()} {
			s.put(ref, mine)
			plan.mark(ref)
		}
		if tt.change != nil {
			tt.change(plan, s)
		}
		err := plan.failed(t.Context(), errors.New("lost"))
		if got := strings.Join(s.writes, ", "); got != tt.writes || !slices.Contains(strings.Split(err.Error(), "\n"), tt.err) {
			t.Errorf("%s: sent %q, want %q; error %v", tt.name, got, tt.writes, err)
		}
		if o := s.objects[joined]; o != nil && s.broken != "" && o.GetAnnotations()[v1alpha1.AnnotationAttempt] != mine {
			t.Errorf("%s: another run waits for this one: %v", tt.name, o.GetAnnotations())
		}
	}
}

// TestRollBackRotation deletes the Secret that this run made, and not one of another rotation.
func TestRollBackRotation(t *testing.T) {
	t.Parallel()
	ref := member.BindingRefs()[1]
	for by, want := range map[string]string{attempt{id: "run", at: now}.String(): "delete secrets/" + ref.Name, "another": ""} {
		plan, _ := planRotate(rotating(nil), RotateOptions{Name: "east"})
		s := newStore(t, &plan.plan)
		s.put(ref, by)
		plan.attempt = attempt{id: "run", at: now}
		if err := plan.unbind(t.Context()); err != nil || strings.Join(s.writes, ", ") != want || plan.undone != (want != "") {
			t.Errorf("a Secret of attempt %q: sent %q, want %q; error %v", by, s.writes, want, err)
		}
	}
}
