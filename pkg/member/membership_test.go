package member_test

import (
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

func TestMembershipRoundTrip(t *testing.T) {
	t.Parallel()
	full := member.Membership{
		Federation: "prod", HostID: "host-1", Member: "east", MemberUID: "u", TakenFrom: "host-2", Attempt: "abc 2026-11-28T00:00:00Z",
		RequestedBy: command.Object{GroupResource: schema.GroupResource{Group: "cluster.x-k8s.io", Resource: "clusters"}, Namespace: "team-x", Name: "east"},
	}
	for _, k := range []member.Membership{full, {Federation: "prod", HostID: "host-1", Member: "east"}} {
		if got := member.MembershipOf(k.Manifest()); !reflect.DeepEqual(*got, k) {
			t.Errorf("got %+v, want %+v", *got, k)
		}
	}
}

// What the administrator of a member writes into the record never reaches a message or a command: a record that cannot be
// one is that of an unknown host.
func TestMembershipThatIsNotValid(t *testing.T) {
	t.Parallel()
	for _, key := range []string{v1alpha1.MembershipFederation, v1alpha1.MembershipMember, v1alpha1.MembershipHostID, v1alpha1.MembershipTakenFrom} {
		for _, value := range []string{"x; touch f #", "$(touch f)", "a\nb", "--force", "a\u202eb", "Prod"} {
			o := member.Membership{Federation: "prod", HostID: "host-1", Member: "east", TakenFrom: "host-2"}.Manifest()
			o.Object["data"].(map[string]any)[key] = value
			if got := member.MembershipOf(o); !reflect.DeepEqual(*got, member.Membership{HostID: member.UnknownHost}) {
				t.Errorf("%s %q: %+v", key, value, *got)
			}
		}
	}
	o := member.Membership{Federation: "prod", HostID: "host-1", Member: "east"}.Manifest()
	o.Object["data"].(map[string]any)[v1alpha1.MembershipRequestedBy] = "clusters.cluster.x-k8s.io/east; rm -r ~"
	if got := member.MembershipOf(o); got.RequestedBy != (command.Object{}) || got.Member != "east" {
		t.Errorf("%+v", *got)
	}
}
