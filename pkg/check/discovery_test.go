package check

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

// discovers makes the federation one that discovers, with the condition that the controller set, and a controller that runs.
func (f *Facts) discovers(c metav1.Condition) {
	c.Type = v1alpha1.ConditionDiscovering
	f.Host.Federations[0].Spec.Discovery = &v1alpha1.Discovery{}
	f.Host.Federations[0].Status.Conditions = []metav1.Condition{c}
	f.Host.Discovery = &host.Discovery{Installed: true, Deployed: true, Available: 1}
}

// found are the clusters that discovery has found, and some of those that are not joined.
func (f *Facts) found(found, joined int32, notJoined ...v1alpha1.NotJoined) {
	f.discovers(metav1.Condition{Status: metav1.ConditionTrue})
	f.Host.Federations[0].Status.Discovery = &v1alpha1.DiscoveryStatus{Found: found, Joined: joined, NotJoined: notJoined}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	noSecret := metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotGranted, Message: "as the controller says"}
	unreadable := metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSourceUnreadable, Message: "ClusterAPI: it is not served"}
	sources := []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{"team-x"}}, {Kind: v1alpha1.SourceSecret, Namespaces: []string{"a", "b"}}}
	refused := v1alpha1.NotJoined{Cluster: "cluster-api:team-x/a", State: "Refused", Reason: "it has no team"}
	for _, tt := range []struct {
		name  string
		fault func(*Facts)
		want  string
	}{
		{"works", func(f *Facts) { f.discovers(metav1.Condition{Status: metav1.ConditionTrue}) }, ""},
		{"is not installed", func(f *Facts) {
			f.found(1, 0, refused)
			f.Host.Discovery = &host.Discovery{}
		}, `error host - DiscoveryMissing Federation "prod": has spec.discovery, and no discovery controller is installed, so no cluster is discovered => kubectl federate init --discovery`},
		{"is not installed, nor asked for", func(f *Facts) { f.Host.Discovery = &host.Discovery{} }, ""},
		{"does not run, and may not join", func(f *Facts) {
			f.found(1, 0, refused)
			f.Host.Discovery = &host.Discovery{Installed: true, Deployed: true, NotGranted: []v1alpha1.FederationName{"prod"}}
		}, `error host - DiscoveryStopped Deployment "kubefederate-system/kubefederate-discovery": has no available pod, so no cluster is discovered => kubectl get pods --namespace kubefederate-system
warning host - DiscoveryNotGranted Federation "prod": has spec.discovery, and the discovery controller may not join clusters to it => kubectl federate grant prod --discovery`},
		{"does not run, and may not do more than join", func(f *Facts) {
			f.discovers(metav1.Condition{Status: metav1.ConditionTrue})
			f.Host.Discovery.NotGranted, f.Host.Discovery.LeaveNotGranted = []v1alpha1.FederationName{"prod"}, []v1alpha1.FederationName{"prod"}
			f.Host.Federations[0].Spec.Discovery.WhenGone = v1alpha1.GoneLeave
		}, `warning host - DiscoveryNotGranted Federation "prod": has spec.discovery, and the discovery controller may not join clusters to it => kubectl federate grant prod --discovery --leave`},
		{"may let no member leave", func(f *Facts) {
			f.discovers(metav1.Condition{Status: metav1.ConditionTrue})
			f.Host.Discovery.LeaveNotGranted = []v1alpha1.FederationName{"prod"}
			f.Host.Federations[0].Spec.Discovery.WhenGone = v1alpha1.GoneLeave
		}, `warning host - DiscoveryNotGranted Federation "prod": has spec.discovery.whenGone Leave, and the discovery controller may not let members leave it => kubectl federate grant prod --discovery --leave`},
		{"runs outside", func(f *Facts) {
			f.discovers(metav1.Condition{Status: metav1.ConditionTrue})
			f.Host.Discovery.Deployed, f.Host.Discovery.Available = false, 0
		}, ""},
		{"has not looked", func(f *Facts) {
			f.discovers(metav1.Condition{Status: metav1.ConditionTrue, ObservedGeneration: 1})
			f.Host.Federations[0].Generation = 2
		}, `warning host - StatusStale Federation "prod": the discovery controller has not looked at its spec.discovery yet => kubectl get pods --namespace kubefederate-system`},
		{"has never looked", func(f *Facts) {
			f.discovers(metav1.Condition{})
			f.Host.Federations[0].Status.Conditions = nil
		}, `warning host - StatusStale Federation "prod": the discovery controller has not looked at its spec.discovery yet => kubectl get pods --namespace kubefederate-system`},

		{"may read no Secret", func(f *Facts) {
			f.discovers(noSecret)
			f.Host.Federations[0].Spec.Discovery.Sources = sources
			f.Host.Grants = &install.Grants{Objects: manifests.DiscoverySecretBinding("a", "x")}
		}, `warning host - DiscoveryNotGranted Federation "prod": has a source in namespace "b", and the discovery controller may read no Secret there => kubectl federate grant --discovery-secret b/NAME`},
		{"may read no Secret, though that was granted", func(f *Facts) {
			f.discovers(noSecret)
			f.Host.Federations[0].Spec.Discovery.Sources = sources
			f.Host.Grants = &install.Grants{Objects: append(manifests.DiscoverySecretBinding("a", "x"), manifests.DiscoveryNamespaceBinding("b")...)}
		}, `warning host - DiscoveryNotGranted Federation "prod": as the controller says`},
		{"may read no Secret, and grants cannot be read", func(f *Facts) {
			f.discovers(noSecret)
			f.Host.Federations[0].Spec.Discovery.Sources, f.Host.Discovery = sources, nil
		}, `warning host - DiscoveryNotGranted Federation "prod": as the controller says`},

		{"a source cannot be read", func(f *Facts) {
			f.discovers(unreadable)
			f.Host.Compared = 40
		}, `error host - SourceUnreadable Federation "prod": its source cannot be read: ClusterAPI: it is not served`},
		{"a source cannot be read, and rights may be missing", func(f *Facts) {
			f.discovers(unreadable)
			f.Host.Compared, f.Host.Missing = 40, []cluster.Ref{{Resource: cluster.ClusterRoles, Name: "b"}}
		}, `error host - InstallMissing ClusterRole "b": does not exist, and init installs it => kubectl federate init
error host - SourceUnreadable Federation "prod": its source cannot be read: ClusterAPI: it is not served => kubectl federate init`},
		{"a source cannot be read, and rights are not known", func(f *Facts) { f.discovers(unreadable) },
			`error host - SourceUnreadable Federation "prod": its source cannot be read: ClusterAPI: it is not served => kubectl federate init`},

		{"clusters that are not joined", func(f *Facts) {
			f.found(15, 1, refused,
				v1alpha1.NotJoined{Cluster: "secret:a/b", State: "WantsToJoin"}, v1alpha1.NotJoined{Cluster: "secret:a/c", State: "WantsToJoin", Reason: "not joined: no answer"},
				v1alpha1.NotJoined{Cluster: "secret:a/d", State: "Left", Reason: "it left"}, v1alpha1.NotJoined{Cluster: "secret:a/e", State: "Unreachable"})
		}, `warning host - NotJoined Federation "prod": the cluster cluster-api:team-x/a has not joined: Refused: it has no team => kubectl federate discover --federation prod
warning host - NotJoined Federation "prod": the cluster secret:a/c has not joined: WantsToJoin: not joined: no answer => kubectl federate discover --federation prod
info host - NotJoined Federation "prod": the cluster secret:a/d has not joined: Left: it left => kubectl federate discover --federation prod
warning host - NotJoined Federation "prod": the cluster secret:a/e has not joined: Unreachable => kubectl federate discover --federation prod
warning host - NotJoined Federation "prod": 9 more clusters have not joined => kubectl federate discover --federation prod`},
		{"a cluster that is not joined, beside a source that cannot be read", func(f *Facts) {
			f.found(1, 0, refused)
			f.discovers(unreadable)
			f.Host.Compared = 40
		}, `error host - SourceUnreadable Federation "prod": its source cannot be read: ClusterAPI: it is not served
warning host - NotJoined Federation "prod": the cluster cluster-api:team-x/a has not joined: Refused: it has no team => kubectl federate discover --federation prod`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := well()
			tt.fault(f)
			if got := lines(Judge(*f)); got != tt.want {
				t.Errorf("found:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

// TestSource holds when a member whose object is gone, or cannot be looked for, is a finding.
func TestSource(t *testing.T) {
	t.Parallel()
	discovers := func(f *Facts) { f.discovers(metav1.Condition{Status: metav1.ConditionTrue}) }
	leaves := func(f *Facts) {
		discovers(f)
		f.Host.Federations[0].Spec.Discovery.WhenGone = v1alpha1.GoneLeave
	}
	for _, tt := range []struct {
		name       string
		federation func(*Facts)
		status     metav1.ConditionStatus
		reason     string
		since      time.Duration
		want       string
	}{
		{"there", discovers, metav1.ConditionTrue, v1alpha1.ReasonSourcePresent, 0, ""},
		{"has served", discovers, metav1.ConditionUnknown, v1alpha1.ReasonSecretServed, 0, ""},
		{"rests", leaves, metav1.ConditionUnknown, v1alpha1.ReasonSourcePaused, 0, ""},
		{"gone, and the member stays", discovers, metav1.ConditionFalse, v1alpha1.ReasonObjectGone, 48 * time.Hour,
			`info host east ObjectGone MemberCluster "east": it is so => kubectl federate unjoin east --member-context east`},
		{"gone, and nothing is discovered any more", func(*Facts) {}, metav1.ConditionFalse, v1alpha1.ReasonLabelRemoved, 0,
			`info host east LabelRemoved MemberCluster "east": it is so => kubectl federate unjoin east --member-context east`},
		{"gone, and the member leaves", leaves, metav1.ConditionFalse, v1alpha1.ReasonLabelRemoved, 70 * time.Minute,
			`info host east LabelRemoved MemberCluster "east": it is so`},
		{"gone, and the member should have left", leaves, metav1.ConditionFalse, v1alpha1.ReasonLabelRemoved, 71 * time.Minute,
			`warning host east LabelRemoved MemberCluster "east": has not left by itself: it is so => kubectl federate unjoin east --member-context east`},
		{"gone, and the member should have left soon", func(f *Facts) {
			leaves(f)
			f.Host.Federations[0].Spec.Discovery.GonePatience = "1m"
		}, metav1.ConditionFalse, v1alpha1.ReasonObjectGone, 12 * time.Minute,
			`warning host east ObjectGone MemberCluster "east": has not left by itself: it is so => kubectl federate unjoin east --member-context east`},
		{"cannot be looked for", discovers, metav1.ConditionUnknown, v1alpha1.ReasonSourceUnreadable, 0,
			`warning host east SourceUnreadable MemberCluster "east": it is so`},
		{"cannot be looked for, as its federation says", func(f *Facts) {
			f.discovers(metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSourceUnreadable, Message: "no"})
		}, metav1.ConditionUnknown, v1alpha1.ReasonSourceUnreadable, 0,
			`error host - SourceUnreadable Federation "prod": its source cannot be read: no => kubectl federate init`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := well()
			tt.federation(f)
			f.member().Status.Conditions = append(f.member().Status.Conditions, metav1.Condition{
				Type: v1alpha1.ConditionSourcePresent, Status: tt.status, Reason: tt.reason, Message: "it is so", LastTransitionTime: metav1.Time{Time: now.Add(-tt.since)},
			})
			found := Judge(*f)
			if got := lines(found); got != tt.want {
				t.Errorf("found:\n%s\nwant:\n%s", got, tt.want)
			}
			Areas(*f, found) // each finding has its area
		})
	}
}
