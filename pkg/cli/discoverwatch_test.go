package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
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
