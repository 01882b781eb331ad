package federate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestEngine applies steps whose last one fails, and rolls them back: in the opposite order, only what was made, and what
// holds others only after them.
func TestEngine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, stuck, undone, left string
	}{
		{"all of it", "", "grant account record", ""},
		{"a grant stays, and what holds it", "grant", "account", "host: ConfigMap \"grant\" host: ConfigMap \"record\""},
		{"the record stays", "record", "grant account", "host: ConfigMap \"record\""},
	} {
		var done, undone []string
		var e *engine
		step := func(name string, at phase, made, holds bool) Step {
			ref := cluster.Ref{Resource: cluster.ConfigMaps, Name: name}
			return Step{Side: SideHost, Object: ref, phase: at, holds: holds, do: func(context.Context) error {
				done = append(done, name)
				if made {
					e.mark(ref)
				}
				if name == "last" {
					return errors.New("no")
				}
				return nil
			}, undo: func(context.Context) error {
				if name == tt.stuck {
					return errors.New("stuck")
				}
				undone = append(undone, name)
				return nil
			}}
		}
		engine := start(JoinOptions{}, []Step{step("grant", 3, true, false), step("found", 2, false, false), step("account", 1, true, false), step("record", 0, true, true), step("last", 4, false, false)}, nil, nil)
		e = &engine
		if err := e.apply(t.Context()); err == nil || strings.Join(done, " ") != "record account found grant last" || e.done[4] {
			t.Errorf("%s: done %v, %v, error %v", tt.name, done, e.done, err)
		}
		left, err := e.rollBack(t.Context())
		if got := strings.Join(undone, " "); got != tt.undone || strings.Join(left, " ") != tt.left || (err != nil) != (tt.left != "") {
			t.Errorf("%s: undone %q, left %q, error %v", tt.name, got, left, err)
		}
	}
}
