package federate

import (
	"slices"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

func discovered() *v1alpha1.Discovered {
	return &v1alpha1.Discovered{Kind: "ClusterAPI", Namespace: "team-x", Name: "east", UID: "uid-object"}
}

// TestPlanDiscovered plans joins by the discovery controller, and those of a person where it has joined.
func TestPlanDiscovered(t *testing.T) {
	t.Parallel()
	byDiscovery := func(o *JoinOptions) { o.Discovered = discovered() }
	found := func(change func(*v1alpha1.MemberCluster)) func(*joinFacts) {
		return func(f *joinFacts) {
			joined(f)
			f.Host.Member.Spec.Discovered = discovered()
			if change != nil {
				change(f.Host.Member)
			}
		}
	}
	for _, tt := range []struct {
		name    string
		facts   func(*joinFacts)
		options func(*JoinOptions)
		against string
		// record is what the MemberCluster that is posted says, and label that of the credential.
		record *v1alpha1.Discovered
		label  string
	}{
		{"discovery joins", nil, byDiscovery, "", discovered(), "true"},
		{"discovery joins again", found(nil), byDiscovery, "", nil, "true"},
		{"a person joins", nil, nil, "", nil, ""},
		{"a person joins what discovery joined", found(nil), nil, "", nil, "true"},
		{"discovery finds what a person joined", found(func(m *v1alpha1.MemberCluster) { m.Spec.Discovered = nil }), byDiscovery,
			`host: MemberCluster "east": a person joined it, and discovery changes no such member: join it again yourself: kubectl federate join east --federation prod --member-context ctx-east`, nil, ""},
		{"discovery finds another object", found(func(m *v1alpha1.MemberCluster) { m.Spec.Discovered.UID = "uid-before" }), byDiscovery,
			`host: MemberCluster "east": was joined by discovery of another object, ClusterAPI "team-x/east" with UID uid-before: if that one does not stand for the cluster any more, unjoin it first: ` +
				`kubectl federate unjoin east --member-context ctx-east`, nil, "true"},
		{"discovery may not", func(f *joinFacts) {
			target := host.Target{Member: "east", Federation: "prod", Discovered: discovered()}
			f.HostMissing = missingOf(cluster.Host, host.FederationRef("prod").Rights(v1alpha1.VerbDiscover), target.JoinRights())
		}, byDiscovery,
			`host: you are not allowed to discover federations.kubefederate.io "prod": ask an administrator of the host for the role discovery of the federation`, discovered(), "true"},
	} {
		plan, against := planJoin(facts(tt.facts), joinOptions(tt.options))
		compare(t, tt.name, texts(against), tt.against)
		record, label := (*v1alpha1.Discovered)(nil), ""
		if plan.creates != nil {
			record = plan.creates.Spec.Discovered
		}
		for _, s := range plan.Steps {
			if s.Object == host.CredentialRef("east") {
				label = s.Manifest.GetLabels()[v1alpha1.LabelDiscovered]
			}
		}
		if (record == nil) != (tt.record == nil) || record != nil && *record != *tt.record || label != tt.label {
			t.Errorf("%s: spec.discovered is %v and the credential's label %q, want %v and %q", tt.name, record, label, tt.record, tt.label)
		}
	}
}

// TestDiscoveredWaits holds that a cluster that discovery joins is not put into the set before it is accepted.
func TestDiscoveredWaits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		acceptance v1alpha1.AcceptancePolicy
		discovery  *v1alpha1.Discovery
		by         *v1alpha1.Discovered
		want       string
	}{
		{v1alpha1.AcceptAutomatic, nil, nil, ""},
		{v1alpha1.AcceptAutomatic, nil, discovered(), "lets clusters that discovery joined wait for approval (spec.discovery.acceptance)"},
		{v1alpha1.AcceptAutomatic, &v1alpha1.Discovery{Acceptance: v1alpha1.DiscoveryManual}, discovered(), "lets clusters that discovery joined wait for approval (spec.discovery.acceptance)"},
		{v1alpha1.AcceptAutomatic, &v1alpha1.Discovery{Acceptance: v1alpha1.DiscoveryAsFederation}, discovered(), ""},
		{v1alpha1.AcceptManual, &v1alpha1.Discovery{Acceptance: v1alpha1.DiscoveryAsFederation}, discovered(), "accepts members by hand"},
	} {
		plan, _ := planJoin(facts(func(f *joinFacts) {
			f.Member.Properties = true
			f.Host.Federation.Spec.Acceptance, f.Host.Federation.Spec.Discovery = tt.acceptance, tt.discovery
		}), joinOptions(func(o *JoinOptions) { o.Discovered = tt.by }))
		want := ""
		if tt.want != "" {
			want = `host: Federation "prod": ` + tt.want + ", so this one stays Pending: accept it, which takes the verb approve: kubectl federate approve east"
		}
		compare(t, "notes", texts(plan.notes), want)
		set := slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Object == member.PropertyRef(v1alpha1.PropertyClusterSet) })
		if set != (want == "") {
			t.Errorf("acceptance %s, %+v: the cluster is put into the set: %t", tt.acceptance, tt.discovery, set)
		}
	}
}

// TestDiscoveredTakesOneVerb holds that a join by discovery takes the verb discover and not join, and nothing else that another
// join does not take.
func TestDiscoveredTakesOneVerb(t *testing.T) {
	t.Parallel()
	target := host.Target{Member: "east", Federation: "prod"}
	list := func() string {
		var lines []string
		for _, r := range target.JoinRights() {
			lines = append(lines, r.String())
		}
		return strings.Join(lines, "\n")
	}
	want := strings.Replace(list(), "join federations", "discover federations", 1)
	target.Discovered = discovered()
	compare(t, "rights", list(), want)
}

// TestAdoptsNoOther holds that a join that finds a member which another run has just made goes on with it only where that is what it
// would have made itself. A person goes on with what discovery made.
func TestAdoptsNoOther(t *testing.T) {
	t.Parallel()
	made := func(d *v1alpha1.Discovered) *v1alpha1.MemberCluster {
		plan, _ := planJoin(facts(nil), joinOptions(func(o *JoinOptions) { o.Discovered = d }))
		return plan.creates
	}
	another := discovered()
	another.UID = "uid-another"
	for _, tt := range []struct {
		found, want *v1alpha1.Discovered
		different   string
	}{
		{nil, nil, ""},
		{discovered(), discovered(), ""},
		{discovered(), nil, ""},
		{nil, discovered(), "spec.discovered"},
		{another, discovered(), "spec.discovered"},
	} {
		if got := differs(made(tt.found), made(tt.want)); got != tt.different {
			t.Errorf("%v where %v was to be: a different %q, want %q", tt.found, tt.want, got, tt.different)
		}
	}
}
