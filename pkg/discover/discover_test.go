package discover

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const (
	hostID  v1alpha1.ClusterID = "00000000-host"
	otherID v1alpha1.ClusterID = "99999999-other-host"
)

// seen is a cluster that answered and carries no label; a case states what else it says.
func seen(name string, id v1alpha1.ClusterID, say func(*Answer)) Observation {
	answer := &Answer{Self: member.Self{ID: id}}
	if say != nil {
		say(answer)
	}
	return Observation{Candidate: Candidate{Source: "kubeconfig", Name: name}, Answer: answer, Reached: server(id)}
}

// server is where a cluster itself answers.
func server(id v1alpha1.ClusterID) endpoint.Endpoint {
	return endpoint.Endpoint{Server: fmt.Sprintf("https://%s.example.com", id)}
}

func requests(federation v1alpha1.FederationName) func(*Answer) {
	return func(a *Answer) { a.JoinRequest.Federation = federation }
}

func recorded(host v1alpha1.ClusterID) func(*Answer) {
	return func(a *Answer) {
		a.JoinRequest.Federation = "prod"
		a.Membership = &member.Membership{HostID: host, Federation: "test", Member: "was"}
	}
}

func view() View {
	federation := func(name string) (f v1alpha1.Federation) {
		f.Name = name
		return f
	}
	ending := federation("old")
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(0, 0)}
	m := v1alpha1.MemberCluster{}
	m.Name, m.Labels, m.Spec.ClusterID = "web", map[string]string{v1alpha1.LabelFederation: "prod"}, "11111111-web"
	server("11111111-web").Store(&m.Spec)
	m.Status.SigningKeys = []string{"key of 11111111-web"}
	return View{HostID: hostID, Federations: []v1alpha1.Federation{federation("prod"), federation("test"), ending}, Members: []v1alpha1.MemberCluster{m}}
}

// row is what a person sees of a Cluster.
type row struct {
	Name, Member, Federation string
	State                    State
	Reason                   string
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		observations []Observation
		want         []row
	}{
		{"no answer", []Observation{{Candidate: Candidate{Name: "a"}, Err: errors.New("member: no answer")}},
			[]row{{"a", "", "", Unreachable, "member: no answer"}}},
		{"no federation label", []Observation{seen("a", "2", nil)}, []row{{"a", "", "", Unlabeled, ""}}},
		{"wants", []Observation{seen("a", "2", requests("prod"))}, []row{{"a", "a", "prod", Wants, ""}}},
		{"the host itself", []Observation{seen("a", hostID, requests("prod"))}, []row{{"a", "a", "prod", Wants, "it is the host itself"}}},
		{"joined without a federation label", []Observation{seen("a", "11111111-web", nil)}, []row{{"a", "web", "prod", Joined, ""}}},
		{"joined as it asks for", []Observation{seen("a", "11111111-web", requests("prod"))}, []row{{"a", "web", "prod", Joined, ""}}},
		{"joined elsewhere", []Observation{seen("a", "11111111-web", requests("test"))}, []row{{"a", "web", "prod", Conflict,
			`its label names federation "test", but it is a member of "prod"; move it there: kubectl federate move web --to test --member-context a`}}},
		{"mistyped", []Observation{seen("a", "2", requests("prdo"))}, []row{{"a", "", "prdo", Conflict,
			`federation "prdo" does not exist; did you mean "prod"? To correct the label: kubectl federate label --member-context a --federation prod --overwrite`}}},
		{"no such federation", []Observation{seen("a", "2", requests("warehouse"))}, []row{{"a", "", "warehouse", Conflict,
			`federation "warehouse" does not exist; create it: kubectl federate create federation warehouse`}}},
		{"no federation can be called so", []Observation{seen("a", "2", requests("prod.eu_1"))}, []row{{"a", "", "prod.eu_1", Conflict,
			`federation "prod.eu_1" does not exist; no federation can have this name; correct the label: kubectl federate label --member-context a --federation FEDERATION --overwrite`}}},
		{"ending federation", []Observation{seen("a", "2", requests("old"))}, []row{{"a", "", "old", Conflict, `federation "old" is being deleted`}}},
		{"left", []Observation{seen("a", "2", func(a *Answer) { a.JoinRequest.Federation, a.JoinRequest.Left = "prod", "prod" })}, []row{{"a", "", "prod", Left,
			`it left federation "prod" and still carries its label; to let it join again: kubectl federate label --member-context a --federation prod`}}},
		{"left another", []Observation{seen("a", "2", func(a *Answer) { a.JoinRequest.Federation, a.JoinRequest.Left = "prod", "test" })},
			[]row{{"a", "a", "prod", Wants, ""}}},
		{"another host's", []Observation{seen("a", "2", recorded(otherID))}, []row{{"a", "", "prod", Conflict,
			`it is member "was" of federation "test" of another host, cluster 99999999-other-host; unjoin it there first, or, if that host is gone for good, take it over: ` +
				`kubectl federate join a --federation prod --member-context a --take-over`}}},
		{"left over", []Observation{seen("a", "2", recorded(hostID))}, []row{{"a", "", "prod", Conflict,
			`it carries the membership record of member "was", which this host no longer has; remove its ConfigMap kubefederate-member/membership: kubectl federate unjoin was --member-context a`}}},
		{"a record with a hostile name", []Observation{seen("a", "2", func(a *Answer) {
			a.JoinRequest.Federation, a.Membership = "prod", &member.Membership{HostID: hostID, Member: "x; touch f #"}
		})}, []row{{"a", "", "prod", Conflict, `it carries the membership record of member "x; touch f #", which this host no longer has; remove its ConfigMap kubefederate-member/membership`}}},
		{"one cluster, two contexts", []Observation{seen("a", "2", requests("prod")), seen("b", "2", requests("prod"))},
			[]row{{"a", "a", "prod", Wants, ""}}},
		{"two clusters, one name", []Observation{seen("x@default", "22222222-x", requests("prod")), seen("y@default", "33333333-y", requests("prod"))},
			[]row{{"x@default", "default-22222222", "prod", Wants, `the name "default" would also be that of y@default; to choose another: kubectl federate join NAME --federation prod --member-context x@default`},
				{"y@default", "default-33333333", "prod", Wants, `the name "default" would also be that of x@default; to choose another: kubectl federate join NAME --federation prod --member-context y@default`}}},
		{"a name that is taken", []Observation{seen("web", "22222222-x", requests("prod"))}, []row{{"web", "web-22222222", "prod", Wants,
			`member "web" is another cluster; to choose another: kubectl federate join NAME --federation prod --member-context web`}}},
		{"no usable name", []Observation{seen("日本", "22222222-x", requests("prod"))}, []row{{"日本", "22222222", "prod", Wants, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []row
			for _, c := range Judge(view(), tt.observations) {
				got = append(got, row{c.Name, string(c.Member), string(c.Federation), c.State, c.Reason})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJudgeNamesOtherContexts(t *testing.T) {
	t.Parallel()
	clusters := Judge(view(), []Observation{seen("a", "2", nil), seen("b", "2", nil), seen("c", "3", nil)})
	if len(clusters) != 2 || len(clusters[0].Also) != 1 || clusters[0].Also[0] != "b" {
		t.Errorf("got %+v, want two clusters, the first also under b", clusters)
	}
}

// TestProbeDeadline shows that clusters that never answer cost the deadline once, whatever their number.
func TestProbeDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := Candidate{Name: "hang", Connect: func() (*member.Cluster, error) {
			<-release
			return nil, errors.New("too late")
		}}
		broken := Candidate{Name: "broken", Connect: func() (*member.Cluster, error) { return nil, errors.New("no such context") }}
		started := time.Now()
		answers := 0
		observations := Probe(t.Context(), []Candidate{hang, broken, hang, hang}, 3*time.Second, func(n int) { answers = n })
		if took := time.Since(started); took != 3*time.Second {
			t.Errorf("took %s, want the deadline of 3s", took)
		}
		if answers != 1 {
			t.Errorf("%d answers were reported, want 1", answers)
		}
		var got []string
		for _, s := range observations {
			got = append(got, s.Name+": "+s.Err.Error())
		}
		want := []string{"hang: no answer within 3s", "broken: no such context", "hang: no answer within 3s", "hang: no answer within 3s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		close(release)
	})
}

// TestUnreadableAnswer shows that what cannot be read is an error, not a cluster without a federation label.
func TestUnreadableAnswer(t *testing.T) {
	t.Parallel()
	m, err := member.Connect(&rest.Config{Host: "https://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if answer, err := readAnswer(ctx, m); err == nil {
		t.Errorf("got %+v from a port on which no server listens", answer)
	}
}
