package discovery

import (
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

var now = time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)

// TestFailuresRestLonger holds how long a candidate rests.
func TestFailuresRestLonger(t *testing.T) {
	t.Parallel()
	e := &entry{}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		e.failed(firstMemberRest, longestMemberRest, now)
		if got := e.due.Sub(now); got != want {
			t.Errorf("failure %d: %s, want %s", i+1, got, want)
		}
	}
	e.refused(3, now)
	e.failed(firstHostRest, longestHostRest, now)
	if got := e.due.Sub(now); got != firstHostRest || e.waits {
		t.Errorf("after a refusal: %s, waits %v", got, e.waits)
	}
}

// TestLooks holds when the Secret of a candidate is looked at: every five minutes, however long it rests.
func TestLooks(t *testing.T) {
	t.Parallel()
	resting, waiting := &entry{failures: 10}, &entry{}
	resting.failed(firstMemberRest, longestMemberRest, now)
	waiting.refused(3, now)
	for at := now; at.Before(now.Add(longestMemberRest)); at = at.Add(lookRest) {
		for name, e := range map[string]*entry{"one that rests": resting, "one that waits": waiting} {
			if !e.rests(at) || !e.rests(at.Add(lookRest-1)) || e.rests(at.Add(lookRest)) {
				t.Errorf("%s, at %s: due %s, look %s", name, at, e.due, e.look)
			}
			e.unchanged(at.Add(lookRest))
		}
	}
	if got := resting.due.Sub(now); got != longestMemberRest {
		t.Errorf("it rests for %s, want %s", got, longestMemberRest)
	}
}

// TestChanged holds what wakes a candidate.
func TestChanged(t *testing.T) {
	t.Parallel()
	f := federationOf("prod")
	label := map[string]string{v1alpha1.LabelFederation: "prod"}
	candidate := candidateOf("team-x", label)
	made := madeOf(&candidate, f)
	waiting, resting := &entry{made: made}, &entry{made: made, due: now.Add(time.Hour)}
	waiting.refused(3, now)
	reported := candidateOf("team-x", label)
	reported.Hint = "it is not up yet"
	if waiting.changed(made, 3) || resting.changed(made, 3) || resting.changed(made, 4) || resting.changed(madeOf(&reported, f), 3) {
		t.Error("nothing has changed that matters, and wakes it")
	}
	if !waiting.changed(made, 4) {
		t.Error("a member more does not wake one that a limit may have refused")
	}
	relabeled := candidateOf("team-x", map[string]string{v1alpha1.LabelFederation: "prod", "env": "test"})
	anew := candidateOf("team-x", label)
	anew.Objects[0].UID = "another"
	changed := f.DeepCopy()
	changed.Generation++
	for name, made := range map[string]string{
		"a label": madeOf(&relabeled, f), "another object": madeOf(&anew, f), "a rule, or an endpoint that is allowed": madeOf(&candidate, changed),
	} {
		for _, e := range []*entry{waiting, resting} {
			if !e.changed(made, 3) {
				t.Errorf("%s does not wake it", name)
			}
		}
	}
}
