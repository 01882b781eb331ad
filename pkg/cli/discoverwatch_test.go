package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

// TestChanges shows which rows a watch prints again.
func TestChanges(t *testing.T) {
	t.Parallel()
	row := func(name, id string, state discover.State) discover.Cluster {
		return discover.Cluster{Candidate: discover.Candidate{Source: discover.FromRancher, Name: name}, ID: v1alpha1.ClusterID(id), State: state}
	}
	shown := func(clusters ...discover.Cluster) *discovered { return &discovered{all: clusters, clusters: clusters} }
	reason := row("a", "1", discover.Wants)
	reason.Reason = "why"
	also := row("a", "1", discover.Wants)
	also.Also = []string{"b"}
	for _, tt := range []struct {
		name          string
		before, after *discovered
		want          []string
	}{
		{"as it was", shown(row("a", "1", discover.Wants)), shown(row("a", "1", discover.Wants)), nil},
		{"new", shown(), shown(row("a", "1", discover.Wants)), []string{"a WantsToJoin"}},
		{"another state", shown(row("a", "1", discover.Wants)), shown(row("a", "1", discover.Joined)), []string{"a Joined"}},
		{"another reason", shown(row("a", "1", discover.Wants)), shown(reason), []string{"a WantsToJoin"}},
		{"another name beside", shown(row("a", "1", discover.Wants)), shown(also), []string{"a WantsToJoin"}},
		{"gone", shown(row("a", "1", discover.Wants), row("b", "2", discover.Wants)), shown(row("b", "2", discover.Wants)), []string{"a Gone"}},
		{"its label is gone", shown(row("a", "1", discover.Wants)), &discovered{all: []discover.Cluster{row("a", "1", discover.Unlabeled)}}, []string{"a Unlabeled"}},
		{"no answer any more", shown(row("a", "1", discover.Wants)), shown(row("a", "", discover.Unreachable)), []string{"a Unreachable"}},
		{"made anew under its name", shown(row("a", "1", discover.Wants)), shown(row("a", "2", discover.Wants)), []string{"a WantsToJoin"}},
	} {
		var got []string
		for _, c := range changes(tt.before, tt.after) {
			got = append(got, c.Name+" "+string(c.State))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// TestWatchGoesOn holds that a watch of a source survives rounds in which the source, or the host, cannot be read: it says so once, and what
// it has shown is not gone.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	row := func(name string, source discover.SourceName, state discover.State) discover.Cluster {
		return discover.Cluster{Candidate: discover.Candidate{Source: source, Name: name}, ID: v1alpha1.ClusterID("id-" + name), State: state}
	}
	shown := func(clusters ...discover.Cluster) *discovered { return &discovered{all: clusters, clusters: clusters} }
	a, b := row("a", discover.FromRancher, discover.Wants), row("b", discover.FromKubeconfig, discover.Wants)
	failing := func(err error, clusters ...discover.Cluster) *discovered {
		d := shown(clusters...)
		d.err, d.unread = err, map[discover.SourceName]bool{discover.FromRancher: true}
		return d
	}
	down := errors.New("rancher is down")
	joined := b
	joined.State = discover.Joined
	var out, errOut bytes.Buffer
	d := newFactory(command.Plugin, genericiooptions.IOStreams{Out: &out, ErrOut: &errOut})
	o := &discoverOptions{discoverFlags: discoverFlags{operationFlags: newOperationFlags(d)}}
	o.watch.interval = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	rounds := []func() (*discovered, error){
		func() (*discovered, error) { return shown(a, b), nil },
		func() (*discovered, error) { return nil, errors.New("the host is down") },
		func() (*discovered, error) { return nil, errors.New("the host is down") },
		func() (*discovered, error) { return failing(down, b), nil },
		func() (*discovered, error) { return failing(down, joined), nil },
		func() (*discovered, error) { return shown(a, joined), nil },
		func() (*discovered, error) { return shown(joined), nil },
		func() (*discovered, error) { cancel(); return nil, ctx.Err() },
	}
	round := 0
	err := o.poll(ctx, func(context.Context) (*discovered, error) { round++; return rounds[round-1]() })
	if err != nil || round != len(rounds) {
		t.Fatalf("ended in round %d: %v", round, err)
	}
	const want = `NAME SOURCE FEDERATION STATE MEMBER REASON
a rancher <none> WantsToJoin <none>
b kubeconfig <none> WantsToJoin <none>
b kubeconfig <none> Joined <none>
a rancher <none> Gone <none>
`
	var rows strings.Builder
	for line := range strings.Lines(out.String()) {
		rows.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	if diff := cmp.Diff(want, rows.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("note: the host is down; trying again\nnote: rancher is down; trying again\n", errOut.String()); diff != "" {
		t.Error(diff)
	}
	if err := o.poll(t.Context(), func(context.Context) (*discovered, error) { return failing(down), nil }); !errors.Is(err, down) {
		t.Errorf("a source that cannot be read at first: %v", err)
	}
}
