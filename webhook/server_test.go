package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// server is what an API server answers: some objects, or an error. The journal is always there.
type server struct {
	client.Client
	federations []v1alpha1.Federation
	members     []v1alpha1.MemberCluster
	namespaces  []metav1.ObjectMeta
	err         error
	// asked are the reads, without those of the journal.
	asked   []string
	journal corev1.ConfigMap
}

// asking is held to note what is asked: several reads are under way at once.
var asking sync.Mutex

func (s *server) ask(what string) {
	asking.Lock()
	defer asking.Unlock()
	s.asked = append(s.asked, what)
}

func (s *server) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if m, is := o.(*corev1.ConfigMap); is {
		s.journal.DeepCopyInto(m)
		return nil
	}
	s.ask("get " + key.Name)
	if s.err != nil {
		return s.err
	}
	switch o := o.(type) {
	case *v1alpha1.Federation:
		for _, f := range s.federations {
			if f.Name == key.Name {
				f.DeepCopyInto(o)
				return nil
			}
		}
	case *v1alpha1.MemberCluster:
		for _, m := range s.members {
			if m.Name == key.Name {
				m.DeepCopyInto(o)
				return nil
			}
		}
	case *metav1.PartialObjectMetadata:
		for _, n := range s.namespaces {
			if n.Name == key.Name {
				n.DeepCopyInto(&o.ObjectMeta)
				return nil
			}
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// Update takes the journal.
func (s *server) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	o.(*corev1.ConfigMap).DeepCopyInto(&s.journal)
	return nil
}

// List gives the members one a page.
func (s *server) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(options)
	if _, is := list.(*v1alpha1.FederationList); is {
		s.ask("list federations")
		if s.err == nil {
			list.(*v1alpha1.FederationList).Items = s.federations
		}
		return s.err
	}
	if all, is := list.(*v1alpha1.MemberClusterList); is { // the journal's own, where it has missed something
		all.Items = s.members
		return s.err
	}
	s.ask("list " + o.LabelSelector.String())
	if s.err != nil {
		return s.err
	}
	members := slices.DeleteFunc(slices.Clone(s.members), func(m v1alpha1.MemberCluster) bool {
		return !o.LabelSelector.Matches(labels.Set(m.Labels)) || m.Name <= o.Continue
	})
	if len(members) > 0 {
		list.(*metav1.PartialObjectMetadataList).Items = []metav1.PartialObjectMetadata{{ObjectMeta: members[0].ObjectMeta}}
		if len(members) > 1 {
			list.SetContinue(members[0].Name)
		}
	}
	return nil
}

func federation(name string, limits ...v1alpha1.Limit) v1alpha1.Federation {
	return v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-of-" + name)}, Spec: v1alpha1.FederationSpec{Limits: limits}}
}

func cluster(name, federation, id string) v1alpha1.MemberCluster {
	return v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-of-" + name + "-" + id), Labels: map[string]string{v1alpha1.LabelFederation: federation},
		},
		Spec: v1alpha1.MemberClusterSpec{ClusterID: id, Server: "https://" + name + ".example.com"},
	}
}

// serverOf is a webhook server whose watch brought one thing and whose API server says another.
func serverOf(t testing.TB, seen, now *server) *Server {
	t.Helper()
	host := journal.NewHost()
	for i := range seen.federations {
		host.Set(&seen.federations[i])
	}
	for i := range seen.members {
		host.Set(&seen.members[i])
	}
	noon := clocktesting.NewFakePassiveClock(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	g := &Server{informers: &informers{}, reader: now, journal: journal.New(journal.Options{Host: host, Client: now, Clock: noon})}
	go g.Start(t.Context())
	return g
}

func TestRefusalsAreConfirmed(t *testing.T) {
	t.Parallel()
	one := v1alpha1.Limit{Max: 1}
	down := errors.New("connection refused")
	strict := federation("f")
	strict.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}}
	for name, test := range map[string]struct {
		seen, now server
		// request is a member to create, or a federation to delete.
		member     v1alpha1.MemberCluster
		federation string
		want       string
		asked      string
	}{
		"admitted without asking": {
			seen: server{federations: []v1alpha1.Federation{federation("f")}}, now: server{err: down},
			member: cluster("m", "f", "x"),
		},
		"refused without asking": {
			seen: server{federations: []v1alpha1.Federation{federation("f")}}, now: server{err: down},
			member: func() v1alpha1.MemberCluster { m := cluster("m", "f", "x"); m.Spec.Server = "https://"; return m }(),
			want:   `MemberCluster.kubefederate.io "m" is invalid: spec.server: Invalid value: it must have a host`,
		},
		"the federation is new": {
			now: server{federations: []v1alpha1.Federation{federation("f")}}, member: cluster("m", "f", "x"), asked: "get f, list federations",
		},
		"there is no federation": {
			member: cluster("m", "f", "x"), asked: "get f, list federations",
			want: `MemberCluster.kubefederate.io "m" is invalid: metadata.labels[kubefederate.io/federation]: Not found: "f": no federation has this name; there is none yet, create it: kubectl federate create federation f`,
		},
		"the holder is gone": {
			seen: server{federations: []v1alpha1.Federation{federation("f")}, members: []v1alpha1.MemberCluster{cluster("old", "f", "x")}},
			now:  server{federations: []v1alpha1.Federation{federation("f")}}, member: cluster("m", "f", "x"), asked: "get old",
		},
		"the holder is another cluster now": {
			seen:   server{federations: []v1alpha1.Federation{federation("f")}, members: []v1alpha1.MemberCluster{cluster("old", "f", "x")}},
			now:    server{federations: []v1alpha1.Federation{federation("f")}, members: []v1alpha1.MemberCluster{cluster("old", "f", "y")}},
			member: cluster("m", "f", "x"), asked: "get old",
		},
		"the federation has a free place again": {
			seen:   server{federations: []v1alpha1.Federation{federation("f", one)}, members: []v1alpha1.MemberCluster{cluster("old", "f", "y")}},
			now:    server{federations: []v1alpha1.Federation{federation("f", one)}, members: []v1alpha1.MemberCluster{cluster("other", "g", "z")}},
			member: cluster("m", "f", "x"), asked: "get f, list kubefederate.io/federation=f",
		},
		"the federation is full, as two pages say": {
			seen:   server{federations: []v1alpha1.Federation{federation("f", one)}, members: []v1alpha1.MemberCluster{cluster("a", "f", "y"), cluster("b", "f", "z")}},
			now:    server{federations: []v1alpha1.Federation{federation("f", one)}, members: []v1alpha1.MemberCluster{cluster("a", "f", "y"), cluster("b", "f", "z")}},
			member: cluster("m", "f", "x"), asked: "get f, list kubefederate.io/federation=f, list kubefederate.io/federation=f",
			want: `MemberCluster.kubefederate.io "m" is invalid: metadata.labels[kubefederate.io/federation]: Forbidden: federation "f" has 2 members and takes at most 1`,
		},
		"the last member has left": {
			seen:       server{federations: []v1alpha1.Federation{federation("f")}, members: []v1alpha1.MemberCluster{cluster("old", "f", "x")}},
			federation: "f", asked: "list kubefederate.io/federation=f",
		},
		"one member has left, another has not": {
			seen: server{federations: []v1alpha1.Federation{federation("f")}, members: []v1alpha1.MemberCluster{cluster("old", "f", "x"), cluster("older", "f", "y")}}, federation: "f",
			now:   server{members: []v1alpha1.MemberCluster{cluster("older", "f", "y")}},
			asked: "list kubefederate.io/federation=f",
			want:  `federation "f" has 1 member: older; unjoin them first: kubectl federate unjoin older`,
		},
		"could not ask": {
			seen: server{federations: []v1alpha1.Federation{federation("f")}, members: []v1alpha1.MemberCluster{cluster("old", "f", "x")}},
			now:  server{err: down}, member: cluster("m", "f", "x"), asked: "get old",
			want: `Internal error occurred: the kubefederate manager could not judge member "m": read member "old": connection refused`,
		},
		"no answer in time": {
			seen: server{federations: []v1alpha1.Federation{federation("f")}, members: []v1alpha1.MemberCluster{cluster("old", "f", "x")}},
			now:  server{err: journal.ErrNoAnswer}, member: cluster("m", "f", "x"), asked: "get old",
			want: `Internal error occurred: the kubefederate manager could not judge member "m": read member "old": the API server does not answer`,
		},
		"our right is missing": {
			seen:   server{federations: []v1alpha1.Federation{strict}},
			now:    server{err: apierrors.NewForbidden(schema.GroupResource{Resource: "federations"}, "f", errors.New("no"))},
			member: cluster("m", "f", "x"), asked: "get f",
			want: `Internal error occurred: the kubefederate manager could not judge member "m": read federation "f": federations "f" is forbidden: no`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := serverOf(t, &test.seen, &test.now)
			ctx := admission.NewContextWithRequest(t.Context(), admission.Request{})
			var err error
			if test.federation != "" {
				f := federation(test.federation)
				_, err = federations{g}.ValidateDelete(ctx, &f)
			} else {
				_, err = members{g}.ValidateCreate(ctx, &test.member)
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			slices.Sort(test.now.asked) // several at once
			if asked := strings.Join(test.now.asked, ", "); asked != test.asked {
				t.Errorf("asked for %s, want %s", asked, test.asked)
			}
			if strings.HasPrefix(test.want, "Internal") != apierrors.IsInternalError(err) {
				t.Errorf("%T", err)
			}
			if seconds, again := apierrors.SuggestsClientDelay(err); again != strings.Contains(test.want, "does not answer") || again && seconds != 1 {
				t.Errorf("clients try again: %t, after %d s", again, seconds)
			}
		})
	}
}

// TestNamespaceIsRead holds that the namespace of an inventory is read when a change names another one, and only then;
// that a namespace which cannot be read is an internal error; and that a new one is seen at once.
func TestNamespaceIsRead(t *testing.T) {
	t.Parallel()
	with := func(namespaces ...string) *v1alpha1.Federation {
		f := federation("f")
		f.Spec.Inventory = &v1alpha1.Inventory{Namespaces: namespaces}
		return &f
	}
	own := metav1.ObjectMeta{Name: "ns", Labels: map[string]string{v1alpha1.LabelInventory: "f"}}
	none := federation("f")
	for name, test := range map[string]struct {
		before, after *v1alpha1.Federation
		now           server
		want, asked   string
	}{
		"no inventory": {after: &none},
		"an inventory": {after: with("ns"), now: server{namespaces: []metav1.ObjectMeta{own}}, asked: "get ns"},
		"the same":     {before: with("ns"), after: with("ns")},
		"removed":      {before: with("ns"), after: &none},
		"another":      {before: with("old"), after: with("ns"), now: server{namespaces: []metav1.ObjectMeta{own}}, asked: "get ns"},
		"one more":     {before: with("old"), after: with("old", "ns"), now: server{namespaces: []metav1.ObjectMeta{own}}, asked: "get ns"},
		"deleted":      {before: with("ns")},
		"no such namespace": {
			after: with("ns"), asked: "get ns",
			want: `Federation.kubefederate.io "f" is invalid: spec.inventory.namespaces[0]: Not found: "ns": no namespace has this name; create it and let the federation use it: kubectl federate grant f --inventory ns`,
		},
		"our right is missing": {
			after: with("ns"), asked: "get ns",
			now:  server{err: apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "ns", errors.New("no"))},
			want: `Internal error occurred: the kubefederate manager could not judge federation "f": read namespace "ns": namespaces "ns" is forbidden: no`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := federations{serverOf(t, &server{federations: []v1alpha1.Federation{none}}, &test.now)}
			ctx := admission.NewContextWithRequest(t.Context(), admission.Request{})
			var err error
			switch {
			case test.before == nil:
				_, err = f.ValidateCreate(ctx, test.after)
			case test.after == nil:
				_, err = f.ValidateDelete(ctx, test.before)
			default:
				_, err = f.ValidateUpdate(ctx, test.before, test.after)
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if asked := strings.Join(test.now.asked, ", "); asked != test.asked {
				t.Errorf("asked for %s, want %s", asked, test.asked)
			}
			if strings.HasPrefix(test.want, "Internal") != apierrors.IsInternalError(err) {
				t.Errorf("%T", err)
			}
		})
	}
}

// TestNotReadYet holds that a server which has not seen the host admits and refuses nothing.
func TestNotReadYet(t *testing.T) {
	t.Parallel()
	g := serverOf(t, &server{}, &server{})
	g.informers.hasSynced = append(g.informers.hasSynced, func() bool { return false })
	m := cluster("m", "f", "x")
	_, err := members{g}.ValidateCreate(t.Context(), &m)
	const want = `Internal error occurred: the kubefederate manager could not judge member "m": the federations and members of the host have not been read yet`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if seconds, _ := apierrors.SuggestsClientDelay(err); seconds != 1 {
		t.Errorf("clients try again after %d s", seconds)
	}
	if err := g.Ready()(nil); !errors.Is(err, errNotSynced) {
		t.Errorf("readiness: %v", err)
	}
}

func review(t testing.TB, o runtime.Object, dryRun bool) []byte {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "1", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw}, DryRun: &dryRun,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// answer sends a body to the webhook of members.
func answer(t testing.TB, g *Server, body []byte) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, PathMemberClusters, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	admission.WithValidator[*v1alpha1.MemberCluster](scheme, members{g}).ServeHTTP(recorder, request)
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil || got.Response == nil || got.Response.Result == nil {
		t.Fatalf("no answer: %v: %s", err, recorder.Body)
	}
}
