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
	e.refused("world", now)
	e.failed(firstHostRest, longestHostRest, now)
	if got := e.due.Sub(now); got != firstHostRest || e.waits {
		t.Errorf("after a refusal: %s, waits %v", got, e.waits)
	}
}

// TestChanged holds what wakes a candidate.
func TestChanged(t *testing.T) {
	t.Parallel()
	f := federationOf("prod")
	label := map[string]string{v1alpha1.LabelFederation: "prod"}
	candidate := candidateOf("team-x", "a", label)
	made, world := madeOf(&candidate), worldOf(f, 3)
	e := &entry{made: made}
	if e.refused(world, now); e.changed(made, world) {
		t.Error("nothing has changed, and wakes it")
	}
	relabelled := candidateOf("team-x", "a", map[string]string{v1alpha1.LabelFederation: "prod", "env": "test"})
	anew := candidateOf("team-x", "a", label)
	anew.Objects[0].UID = "another"
	reported := candidateOf("team-x", "a", label)
	reported.Hint = "it is not up yet"
	for name, made := range map[string]string{"a label": madeOf(&relabelled), "another object": madeOf(&anew), "its state": madeOf(&reported)} {
		if !e.changed(made, world) {
			t.Errorf("%s does not wake it", name)
		}
	}
	changed := f.DeepCopy()
	changed.Generation++
	for name, world := range map[string]string{"a rule": worldOf(changed, 3), "a member": worldOf(f, 4)} {
		if !e.changed(made, world) {
			t.Errorf("%s does not wake it", name)
		}
		resting := &entry{made: made, due: now.Add(time.Hour)}
		if resting.changed(made, world) {
			t.Errorf("%s wakes one that does not answer", name)
		}
	}
}
