package discovery

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

func memberOf(kind v1alpha1.DiscoverySourceKind, name string) *v1alpha1.MemberCluster {
	return &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "member", Labels: map[string]string{v1alpha1.LabelFederation: "prod"}},
		Spec: v1alpha1.MemberClusterSpec{ClusterID: "cluster-" + name, Discovered: &v1alpha1.Discovered{
			Kind: kind, Namespace: "team-x", Name: name, UID: "uid-" + name,
		}},
	}
}

// TestPresenceOf holds what counts as gone: an object that is not there, or has lost its label, and nothing that only could not be
// read.
func TestPresenceOf(t *testing.T) {
	t.Parallel()
	asking := candidateOf("team-x", map[string]string{v1alpha1.LabelFederation: "prod"})
	paused := asking
	paused.Paused = true
	for name, c := range map[string]struct {
		kind      v1alpha1.DiscoverySourceKind
		candidate *discover.Candidate
		label     v1alpha1.FederationName
		unread    error
		// was is the reason of the condition before.
		was            string
		status, reason string
		message        string
	}{
		"there":       {candidate: &asking, label: "prod", status: "True", reason: "SourcePresent", message: `ClusterAPI object "team-x/a" asks for the membership`},
		"not labeled": {candidate: &asking, status: "False", reason: "LabelRemoved", message: `the label of ClusterAPI object "team-x/a" was removed`},
		"labeled otherwise": {candidate: &asking, label: "edge", status: "False", reason: "LabelRemoved",
			message: `the label of ClusterAPI object "team-x/a" names federation "edge" by now`},
		"gone": {was: "SourcePresent", status: "False", reason: "ObjectGone", message: `ClusterAPI object "team-x/a" is gone`},
		"not readable": {unread: errors.New("host: forbidden"), status: "Unknown", reason: "SourceUnreadable",
			message: `ClusterAPI object "team-x/a" cannot be looked for: host: forbidden`},
		"not served": {unread: &discover.NotServed{Source: discover.FromClusterAPI}, status: "Unknown", reason: "SourceUnreadable",
			message: `ClusterAPI object "team-x/a" cannot be looked for: host: source cluster-api: the host serves no clusters.cluster.x-k8s.io`},
		"paused": {candidate: &paused, label: "prod", status: "Unknown", reason: "SourcePaused",
			message: `ClusterAPI object "team-x/a" is paused, as clusterctl move has it before an object goes elsewhere`},
		"moved": {was: "SourcePaused", status: "Unknown", reason: "SourcePaused", message: `ClusterAPI object "team-x/a" was paused, and is gone since: it was moved elsewhere`},
		"a Secret that went": {kind: v1alpha1.SourceSecret, status: "Unknown", reason: "SecretServed",
			message: `Secret object "team-x/a" served to join, and is not looked for again`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.kind == "" {
				c.kind = v1alpha1.SourceClusterAPI
			}
			m := memberOf(c.kind, "a")
			if c.was != "" {
				m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSourcePresent, Reason: c.was}}
			}
			got := presenceOf(m, c.candidate, c.label, c.unread)
			if string(got.Status) != c.status || got.Reason != c.reason || got.Message != c.message {
				t.Errorf("%s %s %s", got.Status, got.Reason, got.Message)
			}
		})
	}
}

// TestPatienceAndBudget holds how slowly members leave by themselves.
func TestPatienceAndBudget(t *testing.T) {
	t.Parallel()
	f := federationOf("prod")
	for text, want := range map[string]time.Duration{"": time.Hour, "90m": 90 * time.Minute, "nonsense": time.Hour} {
		f.Spec.Discovery.GonePatience = text
		if got := patience(f); got != want {
			t.Errorf("patience %q: %s", text, got)
		}
	}
	for discovered, want := range map[int]int{1: 1, 19: 1, 20: 2, 500: 50} {
		if got := budget(discovered); got != want {
			t.Errorf("of %d: %d", discovered, got)
		}
	}
}
