package controller

import (
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestUnreadableNamespace holds that a request of the host that failed is no word on any member, of which there may be thousands.
func TestUnreadableNamespace(t *testing.T) {
	t.Parallel()
	for reason, faults := range map[string]int{v1alpha1.ReasonInventoryUnreadable: 0, v1alpha1.ReasonNamespaceMissing: 2} {
		var done publication
		p, n, m := &publisher{}, &inventoryNamespace{fault: &fault{reason, "x"}}, &v1alpha1.MemberCluster{}
		if err := p.keepProfile(t.Context(), n, "east", m, true, secretPlace{}, &done); err != nil {
			t.Fatal(err)
		}
		if err := p.keepSecret(t.Context(), n, "east", m, true, &done); err != nil {
			t.Fatal(err)
		}
		if len(done.faults) != faults || done.pending != (faults == 0) {
			t.Errorf("%s: %+v", reason, done)
		}
	}
}
