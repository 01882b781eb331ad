//go:build unix

package integration

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
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
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestJoinAndUnjoin is the whole way: a join does what its plan says, a second one finds nothing to do, and after
// unjoin every object of both sides is as it was.
func TestJoinAndUnjoin(t *testing.T) {
	p := newPairOf(t, joinHost(t), joinFleet(t).Cluster("east"), "prod", nil)
	options := federate.JoinOptions{Name: "us-east-1", Cluster: command.Cluster{Context: "east"}, Labels: map[string]string{"example.com/team": "blue"}}
	plan, err := p.planJoin(options)
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
	if result.Done != "joined" {
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
	first := credential(t, p.host, "us-east-1")

	if result = p.joined(options); result.Done != "renewed" {
		t.Fatalf("joining again: %+v", result)
	}
	if credential(t, p.host, "us-east-1").Token == first.Token {
		t.Error("joining again did not renew the credential")
	}

	if left := p.unjoined(federate.UnjoinOptions{Name: "us-east-1", Cluster: command.Cluster{Context: "east"}}); left.Reason == "" || len(left.Notes) > 0 {
		t.Fatalf("%+v", left)
	}
	p.unchanged()
}

// TestAdoption completes a MemberCluster that was written by hand.
func TestAdoption(t *testing.T) {
	p := newPair(t, "adopt", nil)
	byHand := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"clusterID": p.member.ID, "server": p.m.Server(), "caBundle": base64.StdEncoding.EncodeToString(p.m.Config().CAData)}}}
	byHand.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MemberCluster"))
	byHand.SetName("adopt")
	byHand.SetLabels(map[string]string{v1alpha1.LabelFederation: "adopt"})
	apply(t, p.host.Config(), byHand)
	made, err := p.h.Member(t.Context(), "adopt")
	if err != nil {
		t.Fatal(err)
	}
	result := p.joined(federate.JoinOptions{})
	if result.Member.UID != made.UID || result.Member.Annotations[v1alpha1.AnnotationAttempt] != "" || result.Member.Annotations[v1alpha1.AnnotationJoinedBy] == "" {
		t.Errorf("adopted: %v, annotations %v", result.Member.UID == made.UID, result.Member.Annotations)
	}
	p.credential()
	p.left("adopt")
}

// TestHostAsMember joins the host to its own federation and lets it leave; both times everything else works on.
func TestHostAsMember(t *testing.T) {
	p := newPairOf(t, joinHost(t), joinHost(t), "self", viewAccess)
	plan, err := p.planJoin(federate.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := plan.Notes()[len(plan.Notes())-1].String(), "member: host and member are one and the same cluster"; got != want {
		t.Errorf("note %q, want %q", got, want)
	}
	if _, err := plan.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p.left("self")
	if err := p.h.Enforcing(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestJoinInterrupted ends the context in the middle of a join: what was begun is rolled back all the same.
func TestJoinInterrupted(t *testing.T) {
	p := newPair(t, "interrupt", nil).furnished()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	plan, err := federate.PlanJoin(ctx, p.h, p.m, p.options(federate.JoinOptions{}))
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
	p.unchanged()
}

// TestJoinRoundTrips measures how many round trips follow one another, by making each of them long. A machine that is busy with other
// things adds to them, never takes away: the least of some measurements counts.
func TestJoinRoundTrips(t *testing.T) {
	p := newPair(t, "trips", viewAccess)
	const delay = 300 * time.Millisecond
	run := func(delay time.Duration) (joined, left time.Duration) {
		hc, mc := p.host.Config(), p.member.Config()
		for _, c := range []*rest.Config{hc, mc} {
			c.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return env.RoundTripper(func(r *http.Request) (*http.Response, error) {
					select {
					case <-r.Context().Done():
					case <-time.After(delay):
					}
					return next.RoundTrip(r)
				})
			})
		}
		p.h, p.m = connectHost(t, hc), connectMember(t, mc)
		start := time.Now()
		p.joined(federate.JoinOptions{})
		joined = time.Since(start)
		start = time.Now()
		p.unjoined(federate.UnjoinOptions{})
		left = time.Since(start)
		p.unchanged()
		return joined, left
	}
	const maxJoin, maxLeave = 12, 9
	trips := func(slow, plain time.Duration) int { return int((slow - plain + delay/2) / delay) }
	joinTrips, leaveTrips := math.MaxInt, math.MaxInt
	for try := 0; try < 4 && (joinTrips > maxJoin || leaveTrips > maxLeave); try++ {
		plainJoin, plainLeave := run(0)
		slowJoin, slowLeave := run(delay)
		joinTrips, leaveTrips = min(joinTrips, trips(slowJoin, plainJoin)), min(leaveTrips, trips(slowLeave, plainLeave))
		t.Logf("join: %d round trips one after another, %s; unjoin: %d, %s", joinTrips, plainJoin, leaveTrips, plainLeave)
	}
	if joinTrips > maxJoin {
		t.Errorf("a join takes %d round trips one after another, want at most %d", joinTrips, maxJoin)
	}
	if leaveTrips > maxLeave {
		t.Errorf("an unjoin takes %d round trips one after another, want at most %d", leaveTrips, maxLeave)
	}
}
