//go:build unix

package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

const members = "/apis/kubefederate.io/v1alpha1/memberclusters"

// attacker sends requests as one user, without anything that a client library would mend or leave out.
type attacker struct {
	base string
	http *http.Client
}

func newAttacker(t *testing.T, config *rest.Config) attacker {
	t.Helper()
	c, err := rest.HTTPClientFor(config)
	must(t, err)
	return attacker{config.Host, c}
}

// send gives the status code and the body of the answer.
func (a attacker) send(t *testing.T, method, path, contentType string, body any) (int, []byte) {
	t.Helper()
	text, err := json.Marshal(body)
	must(t, err)
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, a.base+path, bytes.NewReader(text))
	must(t, err)
	request.Header.Set("Content-Type", contentType)
	response, err := a.http.Do(request)
	must(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, answer
}

// edit is a change of one field: nil removes it.
type edit struct {
	path  []string
	value any
}

// edits are changes of every field of a member that its administrator can change.
func edits(live map[string]any) map[string]edit {
	m := func(key string) []string { return []string{"metadata", key} }
	annotation := func(key string) []string { return []string{"metadata", "annotations", key} }
	spec := func(key string) []string { return []string{"spec", key} }
	managers := live["metadata"].(map[string]any)["managedFields"].([]any)
	renamed := json2(managers)
	renamed[0].(map[string]any)["manager"] = "mallory"
	return map[string]edit{
		"label":                    {[]string{"metadata", "labels", "example.com/new"}, "x"},
		"label of another value":   {[]string{"metadata", "labels", "team"}, "x"},
		"label gone":               {[]string{"metadata", "labels", "team"}, nil},
		"federation":               {[]string{"metadata", "labels", v1alpha1.LabelFederation}, "mine"},
		"no federation":            {[]string{"metadata", "labels", v1alpha1.LabelFederation}, nil},
		"annotation":               {annotation("example.com/new"), "x"},
		"annotation gone":          {annotation("example.com/note"), nil},
		"joined by":                {annotation(v1alpha1.AnnotationJoinedBy), "mallory"},
		"probe":                    {annotation(v1alpha1.AnnotationProbeRequested), "1"},
		"last applied":             {annotation(lastApplied), `{"spec":{"suspended":true}}`},
		"last applied gone":        {annotation(lastApplied), nil},
		"finalizer":                {m("finalizers"), []any{"example.com/a", "example.com/b", "mallory.example/stay"}},
		"finalizers in order":      {m("finalizers"), []any{"example.com/b", "example.com/a"}},
		"finalizer twice":          {m("finalizers"), []any{"example.com/a", "example.com/b", "example.com/b"}},
		"finalizers gone":          {m("finalizers"), nil},
		"orphan":                   {m("finalizers"), []any{"example.com/a", "example.com/b", "orphan"}},
		"foreground":               {m("finalizers"), []any{"example.com/a", "example.com/b", "foregroundDeletion"}},
		"owner":                    {m("ownerReferences"), []any{map[string]any{"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "x"}}},
		"owners gone":              {m("ownerReferences"), nil},
		"generated name":           {m("generateName"), "mallory-"},
		"managers reset":           {m("managedFields"), []any{map[string]any{}}},
		"manager renamed":          {m("managedFields"), renamed},
		"clusterID":                {spec("clusterID"), "another"},
		"server":                   {spec("server"), "https://mallory.example.com"},
		"caBundle":                 {spec("caBundle"), "Z2FyYmFnZQ=="},
		"proxyURL":                 {spec("proxyURL"), "http://mallory.example.com"},
		"tlsServerName":            {spec("tlsServerName"), "mallory.example.com"},
		"insecureSkipTLSVerify":    {spec("insecureSkipTLSVerify"), true},
		"insecureSkipTLSVerify no": {spec("insecureSkipTLSVerify"), false},
		"accepted":                 {spec("accepted"), true},
		"accepted no":              {spec("accepted"), false},
		"suspended no":             {spec("suspended"), false},
		"suspended gone":           {spec("suspended"), nil},
		"joinedWith":               {spec("joinedWith"), map[string]any{"kubernetesVersion": "v1.36.3"}},
	}
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func json2[T any](value T) (copied T) {
	text, _ := json.Marshal(value)
	_ = json.Unmarshal(text, &copied)
	return copied
}

// nested is an object with one field.
func (e edit) nested() map[string]any {
	value := e.value
	for _, key := range slices.Backward(e.path) {
		value = map[string]any{key: value}
	}
	return value.(map[string]any)
}

// requests are all ways to ask for the edit of a member.
func (e edit) requests(live map[string]any) map[string]func(*testing.T, attacker, string) (int, []byte) {
	pointer := ""
	for _, key := range e.path {
		pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
	}
	operation := map[string]any{"op": "add", "path": pointer, "value": e.value}
	put := json2(live)
	if e.value == nil {
		operation = map[string]any{"op": "remove", "path": pointer}
		unstructured.RemoveNestedField(put, e.path...)
	} else if err := unstructured.SetNestedField(put, json2(e.value), e.path...); err != nil {
		panic(err)
	}
	apply := e.nested()
	apply["apiVersion"], apply["kind"] = v1alpha1.GroupVersion.String(), "MemberCluster"
	send := func(method, query, contentType string, body any) func(*testing.T, attacker, string) (int, []byte) {
		return func(t *testing.T, a attacker, name string) (int, []byte) {
			return a.send(t, method, members+"/"+name+query, contentType, body)
		}
	}
	return map[string]func(*testing.T, attacker, string) (int, []byte){
		"merge patch":      send(http.MethodPatch, "", string(types.MergePatchType), e.nested()),
		"JSON patch":       send(http.MethodPatch, "", string(types.JSONPatchType), []any{operation}),
		"strategic patch":  send(http.MethodPatch, "", string(types.StrategicMergePatchType), e.nested()),
		"apply":            send(http.MethodPatch, "?fieldManager=mallory&force=true", string(types.ApplyPatchType), apply),
		"update":           send(http.MethodPut, "", "application/json", put),
		"update of status": send(http.MethodPut+"", "/status", "application/json", put),
		"patch of status":  send(http.MethodPatch, "/status", string(types.MergePatchType), e.nested()),
	}
}

// stored is a member as the API server keeps it, without what each write changes, and what the manager alone writes.
func stored(t *testing.T, admin attacker, name string) (text string, live map[string]any) {
	t.Helper()
	code, body := admin.send(t, http.MethodGet, members+"/"+name, "application/json", nil)
	must(t, json.Unmarshal(body, &live))
	if code != http.StatusOK {
		t.Fatalf("get %s: %s", name, body)
	}
	copied := json2(live)
	unstructured.RemoveNestedField(copied, "metadata", "resourceVersion")
	unstructured.RemoveNestedField(copied, "status")
	metadata := copied["metadata"].(map[string]any)
	if managers, ok := metadata["managedFields"].([]any); ok {
		metadata["managedFields"] = slices.DeleteFunc(managers, func(e any) bool { return e.(map[string]any)["subresource"] != nil })
	}
	out, err := json.MarshalIndent(copied, "", " ")
	must(t, err)
	return string(out), live
}

// victim is a member that has something in each field.
func victim(name string, owner *rbacv1.ClusterRole) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "MemberCluster",
		"metadata": map[string]any{
			"name": name, "labels": map[string]any{v1alpha1.LabelFederation: "theirs", "team": "one"},
			"annotations":     map[string]any{"example.com/note": "x", lastApplied: `{"spec":{}}`},
			"finalizers":      []any{"example.com/a", "example.com/b"},
			"ownerReferences": []any{map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": owner.Name, "uid": string(owner.UID)}},
		},
		"spec": map[string]any{"clusterID": "id-" + name, "server": "https://" + name + ".example.com", "suspended": true, "joinedWith": map[string]any{"kubernetesVersion": "v1.35.0"}},
	}}
}

// TestOtherFederation attacks the members of one federation as users who have every right on another one: no byte of
// them changes, by any verb, kind of patch and field.
func TestOtherFederation(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	theirs := fed("theirs")
	theirs.Spec.AllowInsecureTLS = true
	owner := &rbacv1.ClusterRole{ObjectMeta: objectMeta("test:theirs")}
	h.create(t, fed("mine"), theirs, owner, member("mine-1", "mine"))
	admin := newAttacker(t, h.Config())
	for _, name := range []string{"theirs-1", "theirs-2"} {
		h.create(t, victim(name, owner))
		t.Cleanup(func() {
			admin.send(t, http.MethodPatch, members+"/"+name, string(types.MergePatchType), edit{[]string{"metadata", "finalizers"}, nil}.nested())
		})
	}
	h.create(t, credentialOf(t, h, "theirs-1"))

	roles := map[string]func(v1alpha1.FederationName, ...rbacv1.Subject) []*unstructured.Unstructured{
		"joiner": manifests.JoinerBinding, "approver": manifests.ApproverBinding, "integrator": manifests.IntegratorBinding,
	}
	// What each may do in their own federation, so that the refusals are not those of a user without any right.
	control := map[string]edit{
		"joiner": {[]string{"metadata", "labels", "a"}, "b"}, "approver": {[]string{"spec", "accepted"}, true},
		"integrator": {[]string{"metadata", "annotations", "a"}, "b"}, "all": {[]string{"metadata", "labels", "a"}, "b"},
	}
	var everyRole [][]*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		everyRole = append(everyRole, roles[name]("mine", subject("mallory-joiner"), subject("mallory-approver"), subject("mallory-integrator"), subject("mallory-all")))
	}
	for _, name := range slices.Sorted(maps.Keys(control)) {
		user := "mallory-" + name
		var grants [][]*unstructured.Unstructured
		for i, role := range slices.Sorted(maps.Keys(roles)) {
			if name == role || name == "all" {
				grants = append(grants, only(everyRole[i], user))
			}
		}
		h.user(t, user, grants...)
		mallory := newAttacker(t, h.User(user))
		eventually(t, "rights on the own federation", func() error {
			code, body := mallory.send(t, http.MethodPatch, members+"/mine-1?dryRun=All", string(types.MergePatchType), control[name].nested())
			if code != http.StatusOK {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
		before, live := stored(t, admin, "theirs-1")
		unchanged := func(what string) {
			t.Helper()
			if after, _ := stored(t, admin, "theirs-1"); after != before {
				t.Fatalf("%s, %s: changed\n%s\nto\n%s", user, what, before, after)
			}
		}
		all := edits(live)
		for _, field := range slices.Sorted(maps.Keys(all)) {
			requests := all[field].requests(live)
			ways := slices.Sorted(maps.Keys(requests))
			if name != "all" {
				ways = []string{"apply", "merge patch"}
			}
			for _, way := range ways {
				code, body := requests[way](t, mallory, "theirs-1")
				if bytes.Contains(body, []byte("cost")) {
					t.Errorf("%s, %s by %s: %d %s", user, field, way, code, body)
				}
			}
			unchanged(field)
		}
		for what, request := range whole(live) {
			code, body := request(t, mallory)
			if code < 400 {
				t.Errorf("%s, %s: %d %s", user, what, code, body)
			}
			unchanged(what)
		}
	}

	// Negative control: each edit changes the member where who asks for it may, so the comparison would have seen it. Some are
	// refused by the schema or a rule, for every user.
	refused := []string{"federation", "no federation", "clusterID", "caBundle", "joinedWith"}
	_, live := stored(t, admin, "theirs-2")
	all := edits(live)
	for _, field := range slices.Sorted(maps.Keys(all)) {
		before, now := stored(t, admin, "theirs-2")
		code, body := all[field].requests(now)["merge patch"](t, admin, "theirs-2")
		after, _ := stored(t, admin, "theirs-2")
		if changed := before != after; changed == slices.Contains(refused, field) || changed != (code == http.StatusOK) {
			t.Errorf("as an administrator, %s: changed %t, %d %s", field, changed, code, body)
		}
		eventually(t, "it is put back", func() error { // the manager writes as well
			_, again := stored(t, admin, "theirs-2")
			now["metadata"].(map[string]any)["resourceVersion"] = again["metadata"].(map[string]any)["resourceVersion"]
			if code, body := admin.send(t, http.MethodPut, members+"/theirs-2", "application/json", now); code != http.StatusOK {
				return fmt.Errorf("after %s: %d %s", field, code, body)
			}
			return nil
		})
	}
}

// only are the objects of RBAC of one role with a name of its own for one of their subjects.
func only(objects []*unstructured.Unstructured, user string) []*unstructured.Unstructured {
	var made []*unstructured.Unstructured
	for _, o := range objects {
		o = o.DeepCopy()
		if o.GetKind() != "ClusterRole" {
			o.SetName(o.GetName() + ":" + user)
			subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
			subjects = slices.DeleteFunc(subjects, func(s any) bool { return s.(map[string]any)["name"] != user })
			_ = unstructured.SetNestedSlice(o.Object, subjects, "subjects")
		}
		made = append(made, o)
	}
	return made
}

// credentialOf is a credential of a member that is on the host.
func credentialOf(t *testing.T, h installed, name string) client.Object {
	t.Helper()
	m := &v1alpha1.MemberCluster{}
	must(t, h.admin.Get(t.Context(), client.ObjectKey{Name: name}, m))
	return credential(m)
}

// whole are requests about a member as a whole, and its credential.
func whole(live map[string]any) map[string]func(*testing.T, attacker) (int, []byte) {
	send := func(method, path, contentType string, body any) func(*testing.T, attacker) (int, []byte) {
		return func(t *testing.T, a attacker) (int, []byte) { return a.send(t, method, path, contentType, body) }
	}
	remove := func(policy metav1.DeletionPropagation) func(*testing.T, attacker) (int, []byte) {
		return send(http.MethodDelete, members+"/theirs-1", "application/json", map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy})
	}
	fresh := func(change func(map[string]any)) map[string]any {
		o := json2(live)
		o["metadata"] = map[string]any{"name": "theirs-3", "labels": map[string]any{v1alpha1.LabelFederation: "theirs"}}
		o["spec"] = map[string]any{"clusterID": "id-theirs-3", "server": "https://x.example.com"}
		change(o)
		return o
	}
	same := map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "MemberCluster", "metadata": map[string]any{"labels": map[string]any{"team": "one"}},
		"spec": live["spec"],
	}
	secret := "/api/v1/namespaces/" + v1alpha1.CredentialsNamespace + "/secrets/theirs-1"
	return map[string]func(*testing.T, attacker) (int, []byte){
		"delete": remove(metav1.DeletePropagationBackground), "delete in the foreground": remove(metav1.DeletePropagationForeground),
		"delete and orphan":   remove(metav1.DeletePropagationOrphan),
		"delete a collection": send(http.MethodDelete, members+"?labelSelector=kubefederate.io/federation%3Dtheirs", "application/json", nil),
		"create again":        send(http.MethodPost, members, "application/json", live),
		"create another":      send(http.MethodPost, members, "application/json", fresh(func(map[string]any) {})),
		"create one by a generated name": send(http.MethodPost, members, "application/json", fresh(func(o map[string]any) {
			o["metadata"].(map[string]any)["generateName"] = "theirs-"
			delete(o["metadata"].(map[string]any), "name")
		})),
		"apply one that is new":  send(http.MethodPatch, members+"/theirs-3?fieldManager=mallory", string(types.ApplyPatchType), fresh(func(map[string]any) {})),
		"apply the same values":  send(http.MethodPatch, members+"/theirs-1?fieldManager=mallory&force=true", string(types.ApplyPatchType), same),
		"own the same values":    send(http.MethodPatch, members+"/theirs-1?fieldManager=kubectl-create", string(types.ApplyPatchType), same),
		"write the status":       send(http.MethodPatch, members+"/theirs-1/status", string(types.MergePatchType), map[string]any{"status": map[string]any{"phase": "Ready"}}),
		"delete the credential":  send(http.MethodDelete, secret, "application/json", nil),
		"read the credential":    send(http.MethodGet, secret, "application/json", nil),
		"patch the credential":   send(http.MethodPatch, secret, string(types.MergePatchType), map[string]any{}),
		"change the federation":  send(http.MethodPatch, "/apis/kubefederate.io/v1alpha1/federations/theirs", string(types.MergePatchType), map[string]any{"spec": map[string]any{"description": "x"}}),
		"bind oneself to a role": send(http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "application/json", map[string]any{"metadata": map[string]any{"name": "x"}, "roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubefederate-admin"}}),
	}
}

// mayNotOwn is how a user is refused who would own fields of a member, and change none.
const mayNotOwn = `may not own fields of members of federation \"unpaid\": it takes one of the verbs join, leave, approve and integrate`

// refusedWith is how a user without a verb is refused one of the edits: in the words of the check that is for it, not of another
// one that sees who owns the fields afterwards.
func refusedWith(field string) string {
	switch field {
	case "clusterID", "joinedWith":
		return "immutable"
	case "federation":
		return "cannot change"
	case "no federation":
		return "is missing"
	case "manager renamed", "managers reset":
		return mayNotOwn
	case "annotation", "annotation gone", "finalizer", "finalizers in order", "finalizer twice", "finalizers gone":
		return "may not change annotations or finalizers of members"
	case "joined by", "last applied", "last applied gone":
		return "may not change annotations of kubefederate.io and kubectl apply"
	case "probe":
		return "may not change the annotation kubefederate.io/probe-requested"
	case "orphan", "foreground", "owner", "owners gone":
		return "may not change the ownerReferences, or the finalizers orphan and foregroundDeletion"
	case "accepted", "accepted no":
		return "may not change spec.accepted"
	}
	return "may not change labels or spec"
}

// TestNoVerb changes a member in every way, in one request and each by itself, as a user who may write members as far as
// RBAC goes and holds no verb: each check of the authorizer is made then, and all that is answered is the refusal.
func TestNoVerb(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	owner := &rbacv1.ClusterRole{ObjectMeta: objectMeta("test:unpaid")}
	h.create(t, fed("unpaid"), owner)
	m := victim("unpaid-1", owner)
	m.SetLabels(map[string]string{v1alpha1.LabelFederation: "unpaid", "team": "one"})
	h.create(t, m)
	admin := newAttacker(t, h.Config())
	t.Cleanup(func() {
		admin.send(t, http.MethodPatch, members+"/unpaid-1", string(types.MergePatchType), edit{[]string{"metadata", "finalizers"}, nil}.nested())
	})
	oscar := h.user(t, "oscar", broad("oscar"))
	const labels = `user "oscar" may not change labels or spec of members of federation "unpaid": it takes the verb join on federations/unpaid`
	answers(t, denied(membershipPolicy, memberclusters, "unpaid-1", labels), func() error {
		return mergePatch(oscar, t, "unpaid-1", `{"metadata":{"labels":{"a":"b"}}}`)
	})
	noverb := newAttacker(t, h.User("oscar"))
	before, live := stored(t, admin, "unpaid-1")
	refused := func(what, want string, code int, body []byte) {
		t.Helper()
		if code < 400 || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: %d %.800s\nwant %s", what, code, body, want)
		}
	}
	everything := json2(live)
	all := edits(live)
	for _, field := range slices.Sorted(maps.Keys(all)) {
		want := refusedWith(field)
		requests := all[field].requests(live)
		for _, way := range []string{"merge patch", "JSON patch"} {
			code, body := requests[way](t, noverb, "unpaid-1")
			refused(field+" by "+way, want, code, body)
		}
		if e := all[field]; e.value != nil && strings.HasPrefix(want, "may not change") {
			must(t, unstructured.SetNestedField(everything, json2(e.value), e.path...))
		}
	}
	code, body := noverb.send(t, http.MethodPut, members+"/unpaid-1", "application/json", everything)
	refused("everything", "may not change labels or spec", code, body)
	same := map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": "MemberCluster", "metadata": map[string]any{"labels": map[string]any{"team": "one"}}}
	apply := func(who attacker, manager string) (int, []byte) {
		return who.send(t, http.MethodPatch, members+"/unpaid-1?fieldManager="+manager, string(types.ApplyPatchType), same)
	}
	code, body = apply(noverb, "oscar")
	refused("the same values", mayNotOwn, code, body)
	if after, _ := stored(t, admin, "unpaid-1"); after != before {
		t.Error("the member was changed")
	}

	// With as many annotations, finalizers and field managers as a user with rights may leave behind, who may still can.
	annotated := func(n int) any {
		notes := map[string]any{}
		for i := range n {
			notes[fmt.Sprintf("n%d", i)] = ""
		}
		return edit{[]string{"metadata", "annotations"}, notes}.nested()
	}
	finalized := func(n int) any {
		var holds []any
		for i := range n {
			holds = append(holds, fmt.Sprintf("example.com/f%d", i))
		}
		return edit{[]string{"metadata", "finalizers"}, holds}.nested()
	}
	const most = "at most 32 finalizers, 32 ownerReferences and 256 annotations"
	for _, many := range []any{annotated(257), finalized(33)} {
		code, body := admin.send(t, http.MethodPatch, members+"/unpaid-1", string(types.MergePatchType), many)
		refused("too many", most, code, body)
		created := json2(many).(map[string]any)
		maps.Copy(created, map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": "MemberCluster", "spec": live["spec"]})
		metadata := created["metadata"].(map[string]any)
		metadata["name"], metadata["labels"] = "unpaid-2", map[string]any{v1alpha1.LabelFederation: "unpaid"}
		code, body = admin.send(t, http.MethodPost, members, "application/json", created)
		refused("too many at once", most, code, body)
	}
	for _, many := range []any{annotated(250), finalized(32)} {
		if code, body := admin.send(t, http.MethodPatch, members+"/unpaid-1", string(types.MergePatchType), many); code != http.StatusOK {
			t.Fatalf("%d %.800s", code, body)
		}
	}
	for i := range 70 {
		if code, body := apply(admin, fmt.Sprintf("m%d", i)); code != http.StatusOK {
			t.Fatalf("%d %.800s", code, body)
		}
	}
	code, body = apply(noverb, "oscar")
	refused("the same values with many managers", mayNotOwn, code, body)
	code, body = noverb.send(t, http.MethodPatch, members+"/unpaid-1", string(types.MergePatchType), edit{[]string{"metadata", "annotations"}, nil}.nested())
	refused("many annotations", "may not change annotations", code, body)
	code, body = admin.send(t, http.MethodPatch, members+"/unpaid-1", string(types.MergePatchType), edit{[]string{"metadata", "annotations"}, nil}.nested())
	if code != http.StatusOK {
		t.Errorf("an administrator: %d %.800s", code, body)
	}
}
