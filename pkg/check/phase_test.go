package check

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestUnwell holds what is said of a member that the manager finds Offline or NotReady, and that it is an error.
func TestUnwell(t *testing.T) {
	t.Parallel()
	const began = "is Offline for the manager since 0001-01-01T00:00:00Z: Unreachable: no answer"
	state := &member.State{
		ID: "id", Membership: &member.Membership{Member: "east", Federation: "prod"}, Denied: cluster.Denied{member.ManagerAccountRef(): errors.New("forbidden")},
	}
	for _, tt := range []struct {
		name     string
		change   func(*v1alpha1.MemberCluster)
		seen     []Observation
		code     Code
		cause    string
		remedy   string
		severity Severity
	}{
		{"no context is known", nil, nil, MemberOffline, began, "kubectl federate check --all-contexts", Error},
		{"no context leads there", nil, []Observation{{Context: "c", Err: errors.New("no answer")}}, MemberOffline,
			began + "; no context that was checked leads to it", "", Error},
		{"it answers here", nil, []Observation{{Credential: "east", State: state, Server: "https://east.example.com"}}, MemberOffline,
			began + "; it answers here at the same address: something between the host and the member keeps the manager from it", "", Error},
		{"a context leads elsewhere", nil, []Observation{{Context: "c", State: state, Server: "https://new.example.com"}}, MemberOffline,
			began + `; context "c" reaches the cluster at https://new.example.com`,
			"kubectl federate join east --federation prod --member-context c --member-server https://new.example.com", Error},
		{"suspended", func(m *v1alpha1.MemberCluster) { m.Status.Phase = v1alpha1.PhaseSuspended }, nil, "", "", "", ""},
		{"well", func(m *v1alpha1.MemberCluster) { m.Status.Phase = v1alpha1.PhaseReady }, nil, "", "", "", ""},
		{"another finding says why", nil, []Observation{{Credential: "east", Err: errors.New("no"), Server: ""}, {Context: "c", State: &member.State{ID: "id"}}}, "", "", "", ""},
	} {
		m := v1alpha1.MemberCluster{
			ObjectMeta: metav1.ObjectMeta{Name: "east", Labels: map[string]string{v1alpha1.LabelFederation: "prod"}},
			Spec:       v1alpha1.MemberClusterSpec{ClusterID: "id", Server: "https://east.example.com"},
			Status: v1alpha1.MemberClusterStatus{Phase: v1alpha1.PhaseOffline, Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonUnreachable, Message: "no answer"},
				{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionTrue},
			}},
		}
		if tt.change != nil {
			tt.change(&m)
		}
		f := Facts{Plugin: "v1", Observations: tt.seen, Host: HostFacts{
			Installed: "v1", Members: []v1alpha1.MemberCluster{m}, Federations: []v1alpha1.Federation{{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}},
		}}
		var got Finding
		for _, x := range Judge(f) {
			if strings.HasPrefix(string(x.Code), "Member") && x.Code != MembershipMissing {
				got = x
			}
		}
		if got.Code != tt.code || got.Cause != tt.cause || got.Remedy != tt.remedy || got.Severity != tt.severity {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
