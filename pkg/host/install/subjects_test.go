package install_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

// TestSubjectsMeanwhile holds that who gives or takes a role while another person does the same loses nothing of the other's.
func TestSubjectsMeanwhile(t *testing.T) {
	t.Parallel()
	user := func(name string) rbacv1.Subject {
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
	}
	const path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
	binding := manifests.ApproverBinding("prod", user("ann"))[1]
	for _, tt := range []struct {
		name string
		// has are the subjects at first, and meanwhile those before the first write; nil is no binding.
		has, meanwhile []string
		remove         bool
		outcome, want  string
	}{
		{"no binding", nil, nil, false, "created", "ann"},
		{"another gives it first", nil, []string{"bob"}, false, "configured", "bob ann"},
		{"another gives the same first", nil, []string{"ann"}, false, "unchanged", "ann"},
		{"others have it", []string{"bob"}, []string{"bob"}, false, "configured", "bob ann"},
		{"another gets it", []string{"bob"}, []string{"bob", "eve"}, false, "configured", "bob eve ann"},
		{"another loses it", []string{"bob", "eve"}, []string{"eve"}, false, "configured", "eve ann"},
		{"all lose it", []string{"bob"}, nil, false, "created", "ann"},
		{"taken from one", []string{"ann", "bob"}, []string{"ann", "bob", "eve"}, true, "configured", "bob eve"},
		{"taken from the last one", []string{"ann"}, []string{"ann"}, true, "deleted", ""},
		{"taken from the last one, while another gets it", []string{"ann"}, []string{"ann", "bob"}, true, "configured", "bob"},
		{"taken from one without it", []string{"bob"}, []string{"bob"}, true, "unchanged", "bob"},
		{"no binding to take it from", nil, nil, true, "absent", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			version, writes := 1, 0
			object := func(subjects []string) *unstructured.Unstructured {
				if subjects == nil {
					return nil
				}
				o := binding.DeepCopy()
				list := make([]any, len(subjects))
				for i, name := range subjects {
					list[i] = map[string]any{"apiGroup": rbacv1.GroupName, "kind": "User", "name": name}
				}
				o.Object["subjects"] = list
				o.SetUID("u")
				return o
			}
			stored := object(tt.has)
			answer := func(w http.ResponseWriter, code int, reason string) {
				w.WriteHeader(code)
				fmt.Fprintf(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":%d,"reason":%q,"details":{"name":"x","kind":"y"}}`, code, reason)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				w.Header().Set("Content-Type", "application/json")
				var sent unstructured.Unstructured
				if r.Method != http.MethodGet {
					if writes++; writes == 1 {
						stored = object(tt.meanwhile)
						version++
					}
					sent.Object = map[string]any{}
					if err := json.NewDecoder(r.Body).Decode(&sent.Object); err != nil {
						t.Error(err)
					}
				}
				precondition := sent.GetResourceVersion()
				if r.Method == http.MethodDelete {
					precondition, _, _ = unstructured.NestedString(sent.Object, "preconditions", "resourceVersion")
				}
				switch {
				case r.Method == http.MethodPost && stored != nil:
					answer(w, http.StatusConflict, "AlreadyExists")
					return
				case r.Method == http.MethodPost:
					stored = &sent
				case stored == nil:
					answer(w, http.StatusNotFound, "NotFound")
					return
				case r.Method == http.MethodGet:
				case precondition != strconv.Itoa(version):
					answer(w, http.StatusConflict, "Conflict")
					return
				case r.Method == http.MethodPatch:
					stored.Object["subjects"] = sent.Object["subjects"]
				case r.Method == http.MethodDelete:
					stored = nil
					fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Success"}`)
					return
				}
				if !strings.HasPrefix(r.URL.Path, path) {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				stored.SetResourceVersion(strconv.Itoa(version))
				_ = json.NewEncoder(w).Encode(stored.Object)
			}))
			t.Cleanup(server.Close)
			h, err := host.Connect(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			outcome := ""
			report := func(_ *unstructured.Unstructured, o install.Outcome) { outcome = string(o) }
			objects := []*unstructured.Unstructured{binding.DeepCopy()}
			if tt.remove {
				err = install.RemoveSubjects(t.Context(), h, objects, cluster.DryRunNone, report, func(*unstructured.Unstructured) { outcome = "absent" })
			} else {
				err = install.AddSubjects(t.Context(), h, objects, cluster.DryRunNone, report)
			}
			got := ""
			if stored != nil {
				list, _, _ := unstructured.NestedSlice(stored.Object, "subjects")
				names := make([]string, len(list))
				for i, s := range list {
					names[i], _ = s.(map[string]any)["name"].(string)
				}
				got = strings.Join(names, " ")
			}
			if err != nil || outcome != tt.outcome || got != tt.want {
				t.Errorf("%s, %q, %v; want %s, %q", outcome, got, err, tt.outcome, tt.want)
			}
		})
	}
}

// TestSubjectsOfAnotherRole holds that a binding that gives another role is left alone.
func TestSubjectsOfAnotherRole(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"kubefederate-approver:prod"},"roleRef":{"kind":"ClusterRole","name":"view"}}`)
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	objects := manifests.ApproverBinding("prod", rbacv1.Subject{Kind: rbacv1.UserKind, Name: "ann"})[1:2]
	err = install.AddSubjects(t.Context(), h, objects, cluster.DryRunNone, func(*unstructured.Unstructured, install.Outcome) {})
	const want = `host: ClusterRoleBinding "kubefederate-approver:prod" gives role "view" in place of "kubefederate-approver:prod": delete it first`
	if err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

// TestUnboundRole holds that the role goes with its last binding, unless another binding, made by a person, gives it.
func TestUnboundRole(t *testing.T) {
	t.Parallel()
	const own, another = "kubefederate-approver:prod", "mine"
	for _, tt := range []struct {
		name     string
		bindings []string
		code     int
		want     []string
	}{
		{"no other binding", []string{own}, 200, []string{"ClusterRoleBinding", "ClusterRole"}},
		{"another binding", []string{own, another}, 200, []string{"ClusterRoleBinding"}},
		{"bindings that may not be listed", []string{own}, 403, []string{"ClusterRoleBinding"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const group = "/apis/rbac.authorization.k8s.io/v1/"
			object := func(kind, name string) string {
				return fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":%q,"metadata":{"name":%q,"resourceVersion":"1"},`+
					`"roleRef":{"kind":"ClusterRole","name":%q},"subjects":[{"kind":"User","name":"ann"}]}`, kind, name, own)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case r.Method == http.MethodDelete:
					fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Success"}`)
				case r.URL.Path == group+"clusterroles/"+own:
					fmt.Fprint(w, object("ClusterRole", own))
				case r.URL.Path == group+"clusterrolebindings/"+own:
					fmt.Fprint(w, object("ClusterRoleBinding", own))
				case r.URL.Path == group+"clusterrolebindings" && tt.code == http.StatusOK:
					var items []string
					for _, name := range tt.bindings {
						items = append(items, object("ClusterRoleBinding", name))
					}
					fmt.Fprintf(w, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBindingList","metadata":{},"items":[%s]}`, strings.Join(items, ","))
				default:
					w.WriteHeader(tt.code)
					fmt.Fprintf(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":%d,"reason":"Forbidden"}`, tt.code)
				}
			}))
			t.Cleanup(server.Close)
			h, err := host.Connect(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			deleted := func(o *unstructured.Unstructured, _ install.Outcome) { got = append(got, o.GetKind()) }
			objects := manifests.ApproverBinding("prod", rbacv1.Subject{Kind: rbacv1.UserKind, Name: "ann"})[:2]
			err = install.RemoveSubjects(t.Context(), h, objects, cluster.DryRunNone, deleted, func(o *unstructured.Unstructured) { t.Errorf("%s is absent", o.GetName()) })
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("deleted %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
