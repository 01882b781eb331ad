package check

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/keys"
)

// TestAreas holds what is said of each area, and that each finding is counted in the right one.
func TestAreas(t *testing.T) {
	t.Parallel()
	const passed = `installation: version v1.2.0: 40 objects, compared with what init installs
webhook: a bad member, which it must refuse; its keys, whose CA ends at 2036-11-23T12:00:00Z
probes: whether members are probed: each was after 2026-11-23T12:00:00Z
federations: 1, with their limits, inventories and grants
members: 1, by status, endpoint, and the rules of their federations
credentials: 1 stored; the first ends at 2026-11-23T13:00:00Z
clusters: 1, reached in 2 of 2 ways, by identity, membership record and grants
rights: yours, in each federation`
	for _, tt := range []struct {
		name  string
		fault func(f *Facts)
		// want are pairs of what is said otherwise.
		want []string
	}{
		{"well", func(*Facts) {}, nil},
		{"not installed", func(f *Facts) { f.Host.Installed = "" }, []string{passed, "installation map[error:1]: the kinds on https://host.example.com"}},
		{"an older release", func(f *Facts) {
			f.Host.Installed, f.Host.Compared = "v1.1.0", 0
			f.Host.Probes = host.Probes{Err: apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "x")}
		}, []string{
			"installation: version v1.2.0: 40 objects, compared with what init installs", "installation map[warning:1]: version v1.1.0",
			"whether members are probed: each was after 2026-11-23T12:00:00Z", "the release that is installed does not say when members were probed",
		}},
		{"no probe yet", func(f *Facts) { f.Host.Probes.Until, f.Host.Probes.Installed = time.Time{}, now }, []string{": each was after 2026-11-23T12:00:00Z", ""}},
		{"cert-manager", func(f *Facts) { f.Host.Keys = &install.KeyState{CertManager: true} },
			[]string{"its keys, whose CA ends at 2036-11-23T12:00:00Z", "cert-manager issues its certificate"}},
		{"keys and credentials that may not be read", func(f *Facts) {
			f.Host.Keys, f.Host.Credentials = nil, nil
			f.Host.Denied = []Denial{{Installation, "a", errors.New("no")}, {Webhook, "b", errors.New("no")}, {Credentials, "c", errors.New("no")}, {Probing, "d", errors.New("no")}}
		}, []string{
			"installation:", "installation map[warning:1]:", "webhook:", "webhook map[warning:1]:", "; its keys, whose CA ends at 2036-11-23T12:00:00Z", "",
			"probes:", "probes map[warning:1]:", "credentials: 1 stored; the first ends at 2026-11-23T13:00:00Z", "credentials map[warning:1]: their statuses only",
		}},
		{"discovery", func(f *Facts) {
			f.discovers(metav1.Condition{Status: metav1.ConditionTrue})
			f.Host.Discovery = &host.Discovery{Installed: true, Deployed: true, Available: 1}
		}, []string{"members: 1", "discovery: the controller's account, how many of its pods are available (1), and federations that ask for it (1), with what was found for them\nmembers: 1"}},
		{"discovery outside", func(f *Facts) {
			f.Host.Federations[0].Spec.Discovery = &v1alpha1.Discovery{}
			f.Host.Discovery = &host.Discovery{Installed: true, NotGranted: []v1alpha1.FederationName{"prod"}}
		}, []string{"members: 1", "discovery map[warning:1]: the controller's account, which runs outside the cluster, and federations that ask for it (1), with what was found for them\nmembers: 1"}},
		{"discovery that may not be read", func(f *Facts) {
			f.discovers(metav1.Condition{Status: metav1.ConditionTrue})
			f.Host.Discovery, f.Host.Denied = nil, []Denial{{Discovery, "a", errors.New("no")}}
		}, []string{"members: 1", "discovery map[warning:1]: federations that ask for it (1), with what was found for them\nmembers: 1"}},
		{"host", func(f *Facts) {
			f.Host.Missing, f.Host.Changed = []cluster.Ref{{Name: "a"}}, []cluster.Ref{{Name: "b"}}
			f.Host.NotEnforcing, f.Host.Lacking = host.ErrWebhookDown, host.MayRights("prod")[:2]
		}, []string{"installation:", "installation map[error:2]:", "webhook:", "webhook map[error:1]:", "rights:", "rights map[info:2]:"}},
		{"member", func(f *Facts) {
			f.member().Generation = 3
			f.member().Status.CredentialExpiry.Time = now.Add(-time.Hour)
			f.Observations[0] = Observation{Credential: "east", Err: failing(cluster.FaultUnreachable, errors.New("refused"))}
		}, []string{
			"members:", "members map[warning:1]:", "credentials:", "credentials map[error:1]:", "clusters: 1, reached in 2 of 2 ways", "clusters map[warning:1]: 1, reached in 1 of 2 ways",
			"2026-11-23T13:00:00Z", "2026-11-23T11:00:00Z",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := well()
			f.Host.Compared = 40
			f.Host.Keys = &install.KeyState{Keys: &keys.Keys{CA: &x509.Certificate{NotAfter: now.AddDate(10, 0, 0)}}}
			f.Host.Probes = host.Probes{Until: now, Patience: time.Hour, Now: now}
			tt.fault(f)
			found := slices.DeleteFunc(Judge(*f), func(x Finding) bool { return strings.HasPrefix(string(x.Code), "Keys") })
			var got []string
			for _, a := range Areas(*f, found) {
				line := string(a.Name)
				if !a.Passed() {
					line += fmt.Sprint(" ", a.Findings)
				}
				got = append(got, line+": "+a.Checked)
			}
			if diff := cmp.Diff(strings.NewReplacer(tt.want...).Replace(passed), strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
