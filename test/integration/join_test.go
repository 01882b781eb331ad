//go:build unix

package integration

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestJoinAndUnjoin is the whole way: a join does what its plan says, a second one finds nothing to do, and after
// unjoin every object of both sides is as it was.
func TestJoinAndUnjoin(t *testing.T) {
	hostCluster := joinHost(t)
	east := joinFleet(t).Cluster("east")
	prod := federation(t, hostCluster, "prod", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, east.Config())
	hostBefore, before := snapshot(t, hostCluster), snapshot(t, east)

	options := federate.JoinOptions{Name: "us-east-1", Federation: prod, Cluster: command.Cluster{Context: "east"}, Labels: map[string]string{"example.com/team": "blue"}}
	plan, err := federate.PlanJoin(t.Context(), h, m, options)
	if err != nil {
		t.Fatal(err)
	}
	var done []string
	result, err := plan.Apply(t.Context(), func(s federate.Step) { done = append(done, s.String()) })
	if err != nil {
		t.Fatal(err)
	}
	planned := strings.Split(strings.TrimSpace(plan.Text()), "\n")
	slices.Sort(planned) // steps of one stage end in any order
	slices.Sort(done)
	if !slices.Equal(done, planned) {
		t.Errorf("done:\n%s\nplanned:\n%s", strings.Join(done, "\n"), strings.Join(planned, "\n"))
	}
	if result.Already {
		t.Error("a fresh cluster is said to have been joined already")
	}
	by, at, _ := strings.Cut(result.Member.Annotations[v1alpha1.AnnotationJoinedBy], " ")
	if when, err := time.Parse(time.RFC3339, at); by != "admin" || err != nil || time.Since(when) > time.Minute {
		t.Errorf("joined by %q at %q", by, at)
	}
	if result.Member.Annotations[v1alpha1.AnnotationAttempt] != "" || result.Member.Labels["example.com/team"] != "blue" {
		t.Errorf("annotations %v, labels %v", result.Member.Annotations, result.Member.Labels)
	}
	if left := time.Until(result.Expires); left < federate.DefaultTokenLifetime-time.Minute || left > federate.DefaultTokenLifetime {
		t.Errorf("the credential ends in %s, want %s", left, federate.DefaultTokenLifetime)
	}
	first := credential(t, hostCluster, "us-east-1")

	if result, err = join(t, h, m, options); err != nil || !result.Already {
		t.Fatalf("joining again: %+v, %v", result, err)
	}
	if credential(t, hostCluster, "us-east-1").Token == first.Token {
		t.Error("joining again did not renew the credential")
	}

	left, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "us-east-1", Cluster: command.Cluster{Context: "east"}})
	if err != nil || !left.Finishing || len(left.Notes) > 0 {
		t.Fatalf("%+v, %v", left, err)
	}
	becomes(t, "the member after unjoin", before, east)
	becomes(t, "the host after unjoin", hostBefore, hostCluster)
}

// TestAdoption completes a MemberCluster that was written by hand.
func TestAdoption(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west)
	fed := federation(t, hostCluster, "adopt", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	byHand := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"clusterID": west.ID, "server": m.Server(), "caBundle": base64.StdEncoding.EncodeToString(west.Config().CAData)}}}
	byHand.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MemberCluster"))
	byHand.SetName("adopt")
	byHand.SetLabels(map[string]string{v1alpha1.LabelFederation: "adopt"})
	apply(t, hostCluster.Config(), byHand)
	made, err := h.Member(t.Context(), "adopt")
	if err != nil {
		t.Fatal(err)
	}
	result, err := join(t, h, m, federate.JoinOptions{Name: "adopt", Federation: fed})
	if err != nil {
		t.Fatal(err)
	}
	if result.Member.UID != made.UID || result.Member.Annotations[v1alpha1.AnnotationAttempt] != "" || result.Member.Annotations[v1alpha1.AnnotationJoinedBy] == "" {
		t.Errorf("adopted: %v, annotations %v", result.Member.UID == made.UID, result.Member.Annotations)
	}
	credential(t, hostCluster, "adopt")
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "adopt"}); err != nil {
		t.Fatal(err)
	}
}

// TestHostAsMember joins the host to its own federation and lets it leave; both times everything else works on.
func TestHostAsMember(t *testing.T) {
	hostCluster := joinHost(t)
	fed := federation(t, hostCluster, "self", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	before := snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, hostCluster.Config())
	plan, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "self", Federation: fed})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := plan.Notes[len(plan.Notes)-1].String(), "member: host and member are one and the same cluster"; got != want {
		t.Errorf("note %q, want %q", got, want)
	}
	if _, err := plan.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "self"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Enforcing(t.Context()); err != nil {
		t.Error(err)
	}
	becomes(t, "the host", before, hostCluster)
}

// TestJoinInterrupted ends the context in the middle of a join: what was begun is rolled back all the same.
func TestJoinInterrupted(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "interrupt", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	plan, err := federate.PlanJoin(ctx, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: "interrupt", Federation: fed})
	if err != nil {
		t.Fatal(err)
	}
	var undone []string
	_, err = plan.Apply(ctx, func(s federate.Step) {
		switch {
		case s.Verb == federate.VerbRequest:
			cancel()
		case s.Verb == federate.VerbUndo:
			undone = append(undone, s.String())
		}
	})
	var u *federate.Undone
	if !errors.As(err, &u) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %T: %v", err, err)
	}
	if len(undone) < 5 || undone[len(undone)-1] != `host   undo      MemberCluster "interrupt"` {
		t.Errorf("undone:\n%s", strings.Join(undone, "\n"))
	}
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// slow adds a delay to every request.
type slow struct {
	next  http.RoundTripper
	delay time.Duration
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
	case <-time.After(s.delay):
	}
	return s.next.RoundTrip(r)
}

// TestJoinRoundTrips measures how many round trips follow one another, by making each of them long.
func TestJoinRoundTrips(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "trips", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	const delay = 300 * time.Millisecond
	connect := func(delay time.Duration) (*host.Cluster, *member.Cluster) {
		hc, mc := hostCluster.Config(), west.Config()
		for _, c := range []*rest.Config{hc, mc} {
			c.Wrap(func(next http.RoundTripper) http.RoundTripper { return slow{next, delay} })
		}
		return connectHost(t, hc), connectMember(t, mc)
	}
	run := func(delay time.Duration) (joined, left time.Duration) {
		h, m := connect(delay)
		snapshot(t, west)
		start := time.Now()
		if _, err := join(t, h, m, federate.JoinOptions{Name: "trips", Federation: fed}); err != nil {
			t.Fatal(err)
		}
		joined = time.Since(start)
		start = time.Now()
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "trips"}); err != nil {
			t.Fatal(err)
		}
		return joined, time.Since(start)
	}
	plainJoin, plainLeave := run(0)
	slowJoin, slowLeave := run(delay)
	trips := func(slow, plain time.Duration) int { return int((slow - plain + delay/2) / delay) }
	joinTrips, leaveTrips := trips(slowJoin, plainJoin), trips(slowLeave, plainLeave)
	t.Logf("join: %d round trips one after another, %s; unjoin: %d, %s", joinTrips, plainJoin, leaveTrips, plainLeave)
	if joinTrips > 12 {
		t.Errorf("a join takes %d round trips one after another, want at most 12", joinTrips)
	}
}
