package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/services"
)

// exporting is a host with two members, whose clusters contexts lead to and which export one service.
func exporting() *Facts {
	f := well()
	west := *f.member().DeepCopy()
	west.Name, west.UID, west.Spec.ClusterID, west.Spec.Server = "west", "uid-2", "cccccccc-0000-4000-8000-000000000003", "https://west.example.com"
	f.Host.Members = append(f.Host.Members, west)
	f.Host.Credentials["west"] = true
	at := state(true)
	at.ID, at.Membership = v1alpha1.ClusterID(west.Spec.ClusterID), &member.Membership{Federation: "prod", HostID: hostID, Member: "west", MemberUID: "uid-2"}
	f.Observations = append(f.Observations, Observation{Context: "west", State: at})
	export := func() *services.Member {
		e := services.Export{Name: services.Name{Namespace: "shop", Name: "web"}, Created: now, Service: &services.Definition{
			Type: services.ClusterSetIP, Ports: []services.Port{{Name: "http", Protocol: "TCP", Port: 80}}, SessionAffinity: "None",
		}, Conditions: []services.Condition{{Type: "Valid", Status: "True"}}}
		return &services.Member{API: "multicluster.x-k8s.io/v1beta1", Exports: []services.Export{e}, Namespaces: map[string]bool{"shop": true}}
	}
	f.Observations[1].Services, f.Observations[2].Services = export(), export()
	return f
}

// TestServices reports what is wrong with exports where contexts lead to members, and has an area for it only where ServiceExport is
// served.
func TestServices(t *testing.T) {
	t.Parallel()
	const checked = "ServiceExports and ServiceImports where they are served, in 2 clusters, by the rules of KEP-1645"
	for _, tt := range []struct {
		name    string
		fault   func(*Facts)
		want    []string
		checked string
	}{
		{"all is well", func(*Facts) {}, nil, checked},
		{"nothing is served", func(f *Facts) {
			f.Observations[1].Services, f.Observations[2].Services = &services.Member{}, &services.Member{}
		}, nil, ""},
		{"not read", func(f *Facts) {
			f.Observations[1].Services, f.Observations[2].Services = nil, nil
			f.Observations[2].ServicesErr = errors.New("no right")
		}, []string{"info west NotChecked clusters what it exports and imports could not be checked: no right"}, ""},
		{"a conflict", func(f *Facts) { f.Observations[2].Services.Exports[0].Service.SessionAffinity = "ClientIP" }, []string{
			`warning west ExportConflict services ServiceExport "shop/web" SessionAffinityConflict: ClientIP, and None on east => kubectl federate services web --namespace shop --federation prod`,
			`info west ConflictNotReported services ServiceExport "shop/web" conflicts with an older export, and its condition Conflict does not say so => kubectl federate services web --namespace shop --federation prod`,
		}, checked},
		{"an import of what no member exports", func(f *Facts) {
			f.Observations[1].Services.Imports = []services.Import{{Name: services.Name{Namespace: "shop", Name: "api"}}}
		}, []string{
			`warning east ImportOrphan services ServiceImport "shop/api" is of a service that no member of the federation exports => kubectl federate services api --namespace shop --federation prod`,
		}, checked},
		{"an import where a member was not read", func(f *Facts) {
			f.Observations[1].Services.Imports = []services.Import{{Name: services.Name{Namespace: "shop", Name: "api"}}}
			f.Observations = f.Observations[:2]
		}, nil, strings.Replace(checked, "2 clusters", "1 clusters", 1)},
		{"a namespace", func(f *Facts) {
			f.Observations[2].Services.Exports, f.Observations[2].Services.Namespaces = nil, map[string]bool{}
		}, []string{`info west NamespaceMissing services has no namespace "shop", in which others export web: it imports nothing of that`}, checked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := exporting()
			tt.fault(f)
			found := slices.DeleteFunc(Judge(*f), func(x Finding) bool { return x.Area != Services && !strings.Contains(x.Cause, "exports") })
			var got []string
			for _, x := range found {
				line := fmt.Sprintf("%s %s %s %s %s", x.Severity, x.Member, x.Code, x.Area, strings.TrimSpace(x.Object+" "+x.Cause))
				if x.Remedy != "" {
					line += " => " + x.Remedy
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			areas := Areas(*f, found)
			i := slices.IndexFunc(areas, func(a Area) bool { return a.Name == Services })
			if i < 0 != (tt.checked == "") || i >= 0 && areas[i].Checked != tt.checked {
				t.Errorf("areas: %+v", areas)
			}
		})
	}
}

// TestServiceSeverities holds that each finding of package services has a severity.
func TestServiceSeverities(t *testing.T) {
	t.Parallel()
	for _, code := range []services.FindingCode{
		services.ExportInvalid, services.ExportConflict, services.ExportNotReady, services.ExportNotServed, services.ConflictNotReported,
		services.ImportDiffers, services.ImportOrphan, services.NamespaceMissing, services.NetworkOverlap, services.DomainNotConfigured,
	} {
		if serviceSeverities[code] == "" {
			t.Errorf("%s has no severity", code)
		}
	}
}
