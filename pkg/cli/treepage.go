package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	ownversion "github.com/kubefederate/kubectl-federate/pkg/version"
)

// htmlFormat is the format for browsers.
const htmlFormat = "html"

// printPage prints members, by their federations, as a page for a browser.
func (o *treeOptions) printPage(ctx context.Context, h targets.Members, members []v1alpha1.MemberCluster, note string) error {
	federations, err := h.Federations(ctx)
	if err != nil && !apierrors.IsForbidden(err) {
		return err
	}
	if o.query.Federation != "" || o.query.Selector != "" {
		shown := map[string]bool{string(o.query.Federation): true}
		for i := range members {
			shown[string(members[i].Federation())] = true
		}
		federations = slices.DeleteFunc(federations, func(f v1alpha1.Federation) bool { return !shown[f.Name] })
	}
	page := pageOf(o.commands(), federations, pointers(members), time.Now())
	page.Host, page.Note = h.Server(), strings.TrimPrefix(note, "warning: ")
	return output.PrintPage(o.Out, page)
}

// pageOf is a page of members and the federations that they are in. A caller who may not read federations gives none.
func pageOf(commands command.Host, federations []v1alpha1.Federation, members []*v1alpha1.MemberCluster, now time.Time) *output.Page {
	known := map[v1alpha1.FederationName]*v1alpha1.Federation{}
	var names []v1alpha1.FederationName
	for i := range federations {
		name := v1alpha1.FederationName(federations[i].Name)
		known[name], names = &federations[i], append(names, name)
	}
	all := federationsOf(names, members)
	page := &output.Page{
		Title: "Federations", Read: now.UTC().Format(time.RFC3339), By: "kubectl federate " + ownversion.Version,
		Summary: fmt.Sprintf("%s in %s.", output.Count(len(members), "member", "members"), output.Count(len(all), "federation", "federations")),
		Skew:    skew(members),
	}
	if len(all) == 1 {
		page.Title = "Federation " + all[0].name
	}
	byPhase, byVersion := map[v1alpha1.Phase]int{}, map[string]int{}
	for _, m := range slices.SortedFunc(slices.Values(members), targets.ByFederation) {
		byPhase[phaseOf(m)]++
		byVersion[cmp.Or(m.KnownFacts().KubernetesVersion, "unknown version")]++
		why := causeOf(m)
		if why.Reason != "" || phaseOf(m) != v1alpha1.PhaseReady {
			wrong := pageMember(m, now)
			wrong.Cause, wrong.Message, wrong.Server = why.title(), why.Message, m.Spec.Server
			if why.Message == wrong.Cause {
				wrong.Message = ""
			}
			if !why.Since.IsZero() {
				wrong.Since = why.Since.UTC().Format(time.RFC3339) + why.age(now)
			}
			if at := m.Status.LastProbeTime; at != nil {
				wrong.LastContact += " (" + age(*at, now) + " ago)"
			}
			if next := nextStep(m, why.Reason, known[m.Federation()]); next != nil {
				wrong.Command = commands.Line(next)
			}
			page.Wrong = append(page.Wrong, wrong)
		}
	}
	slices.SortStableFunc(page.Wrong, func(a, b output.PageMember) int {
		return urgency(v1alpha1.Phase(a.Phase)) - urgency(v1alpha1.Phase(b.Phase))
	})
	for _, p := range phases {
		if n := byPhase[p]; n > 0 {
			page.Phases = append(page.Phases, output.PageCount{Name: string(p), Count: n, Class: levelOf(p).Class()})
		}
	}
	for v, n := range byVersion {
		page.Versions = append(page.Versions, output.PageCount{Name: v, Count: n})
	}
	slices.SortFunc(page.Versions, func(a, b output.PageCount) int { return compareKnown(a.Name, b.Name) })
	for _, g := range all {
		f := output.PageFederation{Name: g.name, Summary: tally(g.members)}
		if federation := known[v1alpha1.FederationName(g.name)]; federation != nil {
			f.Description = federation.Spec.Description
		}
		for _, m := range g.members {
			f.Members = append(f.Members, pageMember(m, now))
		}
		page.Federations = append(page.Federations, f)
	}
	return page
}

// pageMember is a member without what is wrong with it.
func pageMember(m *v1alpha1.MemberCluster, now time.Time) output.PageMember {
	shown := output.PageMember{
		Name: m.Name, Federation: output.OrNone(string(m.Federation())), Phase: string(phaseOf(m)), Class: levelOf(phaseOf(m)).Class(),
		Credential: credentialLeft(m, now), Version: m.KnownFacts().KubernetesVersion, Region: strings.Join(regionsOf(m), ", "),
		Zones: strings.Join(zonesOf(m), ", "), Nodes: nodesOf(m), LastContact: output.None,
	}
	if at := m.Status.LastProbeTime; at != nil {
		shown.LastContact = at.UTC().Format(time.RFC3339)
	}
	return shown
}

// skew says how far apart the versions of Kubernetes of members are; empty where they are the same, or not known.
func skew(members []*v1alpha1.MemberCluster) string {
	var oldest, newest *version.Version
	for _, m := range members {
		v, err := version.ParseGeneric(m.KnownFacts().KubernetesVersion)
		if err != nil {
			continue
		}
		if oldest == nil || v.LessThan(oldest) {
			oldest = v
		}
		if newest == nil || newest.LessThan(v) {
			newest = v
		}
	}
	if oldest == nil || oldest.Major() == newest.Major() && oldest.Minor() == newest.Minor() {
		return ""
	}
	apart := output.Count(int(newest.Minor())-int(oldest.Minor()), "minor version", "minor versions")
	if oldest.Major() != newest.Major() {
		apart = "major versions"
	}
	return fmt.Sprintf("Versions of Kubernetes are %s apart: v%s to v%s.", apart, oldest, newest)
}
