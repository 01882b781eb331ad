package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// AreaName is a part of what is checked.
type AreaName string

// Areas, in the order in which they are reported.
const (
	Installation AreaName = "installation"
	Webhook      AreaName = "webhook"
	Probing      AreaName = "probes"
	Federations  AreaName = "federations"
	Discovery    AreaName = "discovery"
	Members      AreaName = "members"
	Credentials  AreaName = "credentials"
	Clusters     AreaName = "clusters"
	Services     AreaName = "services"
	Rights       AreaName = "rights"
)

// Area is what was looked at of one area, whatever was found there.
type Area struct {
	Name AreaName `json:"name"`
	// Findings are how many there are of each severity; empty where everything passed.
	Findings map[Severity]int `json:"findings,omitempty"`
	Checked  string           `json:"checked"`
	// NotChecked says that it could not be checked.
	NotChecked bool `json:"notChecked,omitempty"`
}

// Passed says that the area was checked, and nothing was found.
func (a Area) Passed() bool { return len(a.Findings) == 0 && !a.NotChecked }

// hostAreas are those of findings on the host; all others are about credentials. What is found on a member is about clusters.
var hostAreas = map[Code]AreaName{
	NotInstalled: Installation, VersionSkew: Installation, InstallMissing: Installation, InstallChanged: Installation,
	WebhookNotEnforcing: Webhook, KeysMissing: Webhook, KeysDiffer: Webhook, KeysChanging: Webhook, KeysExpiring: Webhook,
	ProbesStopped: Probing,
	LimitExceeded: Federations, NotPublished: Federations, GrantOrphan: Federations,
	StatusStale: Members, LeavingLong: Members, EndpointLoopback: Members, RulesBroken: Members, FederationMissing: Members,
	DiscoveryStopped: Discovery,
	NoRight:          Rights,
}

func areaOf(f Finding) AreaName {
	if f.Side == cluster.Member {
		return Clusters
	}
	if area, ok := hostAreas[f.Code]; ok {
		return area
	}
	return Credentials
}

// Areas say what was looked at, and where something was found. They are pure.
func Areas(f Facts, found []Finding) []Area {
	h := f.Host
	areas := []Area{{Name: Installation, Checked: "the kinds on " + h.Server}}
	if h.Installed != "" {
		seen, reached := map[v1alpha1.ClusterID]bool{}, 0
		for _, o := range f.Observations {
			if o.State != nil {
				reached++
				seen[o.State.ID] = true
			}
		}
		areas = []Area{
			{Name: Installation, Checked: h.installation()},
			{Name: Webhook, Checked: h.webhook()},
			{Name: Probing, Checked: h.probes()},
			{Name: Federations, Checked: fmt.Sprintf("%d, with their limits, inventories and grants", len(h.Federations))},
			{Name: Members, Checked: fmt.Sprintf("%d, by status, endpoint, and the rules of their federations", len(h.Members))},
			{Name: Credentials, Checked: h.credentials()},
			{Name: Clusters, Checked: fmt.Sprintf("%d, reached in %d of %d ways, by identity, membership record and grants", len(seen), reached, len(f.Observations))},
			{Name: Rights, Checked: "yours, in each federation"},
		}
	}
	if len(h.discovering()) > 0 && h.Installed != "" {
		i := slices.IndexFunc(areas, func(a Area) bool { return a.Name == Members })
		areas = slices.Insert(areas, i, Area{Name: Discovery, Checked: h.discovery()})
	}
	if exporting := f.exporting(); exporting > 0 && h.Installed != "" {
		i := slices.IndexFunc(areas, func(a Area) bool { return a.Name == Rights })
		areas = slices.Insert(areas, i, Area{Name: Services, Checked: fmt.Sprintf("ServiceExports and ServiceImports where they are served, in %d clusters, by the rules of KEP-1645", exporting)})
	}
	return counted(areas, found)
}

// counted adds to areas how much was found there.
func counted(areas []Area, found []Finding) []Area {
	for _, x := range found {
		i := slices.IndexFunc(areas, func(a Area) bool { return a.Name == x.Area })
		if areas[i].Findings == nil {
			areas[i].Findings = map[Severity]int{}
		}
		areas[i].Findings[x.Severity]++
	}
	return areas
}

func (h HostFacts) installation() string {
	if h.Compared == 0 {
		return "version " + h.Installed
	}
	return fmt.Sprintf("version %s: %d objects, compared with what init installs", h.Installed, h.Compared)
}

func (h HostFacts) webhook() string {
	what := "a bad member, which it must refuse"
	switch {
	case h.Keys == nil:
	case h.Keys.CertManager:
		what += "; cert-manager issues its certificate"
	case h.Keys.Keys != nil:
		what += "; its keys, whose CA ends at " + h.Keys.Keys.CA.NotAfter.UTC().Format(timeFormat)
	}
	return what
}

func (h HostFacts) probes() string {
	switch {
	case h.Probes.NotInstalled():
		return "the release that is installed does not say when members were probed"
	case h.Probes.Until.IsZero():
		return "whether members are probed"
	}
	return "whether members are probed: each was after " + h.Probes.Until.UTC().Format(timeFormat)
}

func (h HostFacts) credentials() string {
	if h.Credentials == nil {
		return "their statuses only"
	}
	var first time.Time
	for i := range h.Members {
		if end := h.Members[i].Status.CredentialExpiry; end != nil && (first.IsZero() || end.Time.Before(first)) {
			first = end.Time
		}
	}
	what := fmt.Sprintf("%d stored", len(h.Credentials))
	if !first.IsZero() {
		what += "; the first ends at " + first.UTC().Format(timeFormat)
	}
	return what
}
