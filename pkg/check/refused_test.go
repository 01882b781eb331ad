package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestRefusedTogether is a host that was restored from a backup older than the credentials of some members.
func TestRefusedTogether(t *testing.T) {
	t.Parallel()
	for members, want := range map[int]string{
		1:            "kubectl federate join m00 --federation prod --member-context CONTEXT",
		2:            "kubectl federate rotate m00 m01",
		maxNamed + 1: "kubectl federate rotate --all",
	} {
		f := well()
		f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialRevoked)
		refused := *f.member()
		f.Observations = nil
		f.Host.Members, f.Host.Credentials = nil, map[v1alpha1.MemberName]bool{}
		for i := range members + 1 {
			m := *refused.DeepCopy()
			m.Name = fmt.Sprintf("m%02d", i)
			m.Spec.ClusterID = fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", i)
			f.Host.Credentials[v1alpha1.MemberName(m.Name)] = true
			if i == members {
				m.Status.Conditions[0] = metav1.Condition{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCredentialStored}
			}
			f.Host.Members = append(f.Host.Members, m)
		}
		found := 0
		for _, x := range Judge(*f) {
			if x.Code != v1alpha1.ReasonCredentialRevoked {
				continue
			}
			found++
			if x.Remedy != want {
				t.Errorf("%d members refuse: %s: %s, want %s", members, x.Member, x.Remedy, want)
			}
		}
		if found != members {
			t.Errorf("found %d, want %d:\n%s", found, members, strings.TrimSpace(lines(Judge(*f))))
		}
	}
}

// TestRefusedOnce holds that a member whose credential has expired and is refused is named once, and alone keeps its own remedies.
func TestRefusedOnce(t *testing.T) {
	t.Parallel()
	both := []Finding{{Code: Unauthorized, Member: "a", Remedy: "own"}, {Code: v1alpha1.ReasonCredentialExpired, Member: "a", Remedy: "own"}}
	for want, found := range map[string][]Finding{
		"own":                         both,
		"kubectl federate rotate a b": {both[0], {Code: Unauthorized, Member: "b"}, both[1]},
	} {
		j := &judge{found: slices.Clone(found)}
		j.together()
		for _, f := range j.found {
			if f.Remedy != want {
				t.Errorf("%s %s: %s, want %s", f.Code, f.Member, f.Remedy, want)
			}
		}
	}
}
