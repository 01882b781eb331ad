package services

import (
	"fmt"
	"slices"
	"strings"
)

// FindingCode names what is wrong with exports, imports and networks. It is part of the output of check.
type FindingCode string

// What Findings report.
const (
	// ExportInvalid is a ServiceExport that exports nothing, ExportConflict one that differs from an older one, and ExportNotReady one of
	// which its implementation says that it is not valid or not ready.
	ExportInvalid  FindingCode = "ExportInvalid"
	ExportConflict FindingCode = "ExportConflict"
	ExportNotReady FindingCode = "ExportNotReady"
	// ExportNotServed is a ServiceExport that no implementation has written a condition to.
	ExportNotServed FindingCode = "ExportNotServed"
	// ConflictNotReported is a condition Conflict that does not say what the exports say.
	ConflictNotReported FindingCode = "ConflictNotReported"
	// ImportDiffers is a ServiceImport that is not what the exports come to, and ImportOrphan one of a service that no member exports.
	ImportDiffers FindingCode = "ImportDiffers"
	ImportOrphan  FindingCode = "ImportOrphan"
	// NamespaceMissing is a namespace in which members export services, and others do not have it.
	NamespaceMissing FindingCode = "NamespaceMissing"
	// NetworkOverlap is a range of addresses that several members use.
	NetworkOverlap FindingCode = "NetworkOverlap"
	// DomainNotConfigured is cluster DNS that does not serve clusterset.local, where services are imported.
	DomainNotConfigured FindingCode = "ClusterSetDNSMissing"
)

// Finding is one thing that is wrong on a member.
type Finding struct {
	Code   FindingCode
	Member string
	// Kind is that of the object, "ServiceExport" or "ServiceImport", and Name its name; both are empty where it is about the member.
	Kind  string
	Name  Name
	Cause string
}

// Findings judge the exports and imports of the members of one federation, also those that others made, against the rules. Complete
// says that all members of the federation are among those that were read: only then is it known what a ServiceImport should be.
func Findings(members []Member, complete bool) (found []Finding) {
	r := Judge(members)
	for i := range r.Services {
		found = append(found, r.Services[i].findings(complete)...)
	}
	if complete {
		found = append(found, orphans(members, r)...)
	}
	found = append(found, missingNamespaces(r)...)
	return append(found, networkFindings(members)...)
}

// missingNamespaces report each namespace once for a member, whatever is exported there.
func missingNamespaces(r Report) (found []Finding) {
	exported := map[Name][]string{} // by namespace and member
	var order []Name
	for _, s := range r.Services {
		for _, member := range s.WithoutNamespace {
			at := Name{s.Namespace, member}
			if exported[at] == nil {
				order = append(order, at)
			}
			exported[at] = append(exported[at], s.Name.Name)
		}
	}
	for _, at := range order {
		found = append(found, Finding{Code: NamespaceMissing, Member: at.Name,
			Cause: fmt.Sprintf("has no namespace %q, in which others export %s: it imports nothing of that", at.Namespace, some(exported[at]))})
	}
	return found
}

func (s *Service) findings(complete bool) (found []Finding) {
	add := func(code FindingCode, member, kind, cause string) {
		found = append(found, Finding{code, member, kind, s.Name, cause})
	}
	for i := range s.Exports {
		e := &s.Exports[i]
		if reason := e.Invalid(); reason != "" {
			add(ExportInvalid, e.Member, "ServiceExport", "exports nothing: "+reason+e.invalidDetail())
			continue
		}
		for _, c := range s.Conflicts {
			if c.Member == e.Member {
				add(ExportConflict, e.Member, "ServiceExport", c.String())
			}
		}
		s.judgeConditions(e, func(code FindingCode, cause string) { add(code, e.Member, "ServiceExport", cause) })
	}
	if complete {
		for i := range s.Imports {
			if how := s.Differs(&s.Imports[i]); how != "" {
				add(ImportDiffers, s.Imports[i].Member, "ServiceImport", how)
			}
		}
	}
	return found
}

func (e *Export) invalidDetail() string {
	switch {
	case e.Fault != "":
		return ": " + e.Fault
	case e.Service == nil:
		return fmt.Sprintf(": there is no Service %q", e.Name)
	}
	return ": its Service is of the type ExternalName"
}

// String says how an export differs, and which rule that breaks.
func (c Conflict) String() string { return c.Reason + ": " + c.How }

// judgeConditions compares what an implementation says of an export with what the exports say. A conflict must be reported at least on
// the export that conflicts, and may be on all of the service.
func (s *Service) judgeConditions(e *Export, add func(FindingCode, string)) {
	if len(e.Conditions) == 0 {
		add(ExportNotServed, "has no conditions: nothing that serves exports of other clusters has looked at it")
		return
	}
	for _, name := range []string{conditionValid, conditionReady} {
		if c := find(e.Conditions, name); c != nil && c.Status != "True" {
			add(ExportNotReady, fmt.Sprintf("its condition %s is %s: %s", name, c.Status, c.text()))
			return
		}
	}
	c := find(e.Conditions, conditionConflict)
	reported := c != nil && c.Status == "True"
	own := slices.ContainsFunc(s.Conflicts, func(x Conflict) bool { return x.Member == e.Member })
	switch {
	case own && !reported:
		add(ConflictNotReported, "conflicts with an older export, and its condition Conflict does not say so")
	case reported && len(s.Conflicts) == 0:
		add(ConflictNotReported, "its condition Conflict is True, and its exports do not conflict: "+c.text())
	}
}

func (c *Condition) text() string {
	if c.Message == "" {
		return orNone(c.Reason)
	}
	return c.Reason + ": " + c.Message
}

// Differs says how a ServiceImport differs from what the exports come to; empty where it does not, or nothing is exported. Submariner
// writes no ports of headless services.
func (s *Service) Differs(im *Import) string {
	if s.Valid == 0 {
		return ""
	}
	if im.Fault != "" {
		return "cannot be read: " + im.Fault
	}
	var how []string
	if im.Type != s.Type() {
		how = append(how, fmt.Sprintf("its type is %s, and that of the oldest export %s", orNone(im.Type), s.Type()))
	}
	if im.Type != Headless || len(im.Ports) > 0 {
		if missing := s.portsWithout(im); len(missing) > 0 {
			how = append(how, "it has no port "+some(missing))
		}
		var extra []string
		for _, p := range im.Ports {
			if used, ok := s.byNumber[p.Number()]; !ok || used.Name != p.Name {
				extra = append(extra, p.String())
			}
		}
		if len(extra) > 0 {
			how = append(how, "it has port "+some(extra)+", which the exports do not come to")
		}
	}
	if oldest := s.Exports[0].Service; im.Type == ClusterSetIP && im.SessionAffinity != oldest.SessionAffinity {
		how = append(how, fmt.Sprintf("its session affinity is %s, and that of the oldest export %s", im.SessionAffinity, oldest.SessionAffinity))
	}
	return strings.Join(how, "; ")
}

// portsWithout are the merged ports that an import does not have.
func (s *Service) portsWithout(im *Import) (missing []string) {
	has := map[Port]bool{}
	for _, p := range im.Ports {
		p.AppProtocol = ""
		has[p] = true
	}
	for _, used := range s.Ports {
		if p := (Port{Name: used.Port.Name, Protocol: used.Protocol, Port: used.Port.Port}); !has[p] {
			missing = append(missing, p.String())
		}
	}
	return missing
}

// orphans are imports of what no member exports.
func orphans(members []Member, r Report) (found []Finding) {
	exported := map[Name]bool{}
	for i := range r.Services {
		exported[r.Services[i].Name] = r.Services[i].Valid > 0
	}
	for i := range members {
		for _, im := range members[i].Imports {
			if !exported[im.Name] {
				found = append(found, Finding{ImportOrphan, members[i].Name, "ServiceImport", im.Name,
					"is of a service that no member of the federation exports" + importedFrom(im.Clusters)})
			}
		}
	}
	return found
}

func importedFrom(clusters []string) string {
	if len(clusters) == 0 {
		return ""
	}
	return "; it names the clusters " + some(clusters)
}

// networkFindings report the networks of members that use services of each other.
func networkFindings(members []Member) (found []Finding) {
	members = slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return len(m.Exports)+len(m.Imports) == 0 })
	for i := range members {
		m := &members[i]
		if len(m.Imports) > 0 && m.Network != nil && m.Network.Domain == DomainNotServed {
			found = append(found, Finding{Code: DomainNotConfigured, Member: m.Name,
				Cause: "imports services, and its cluster DNS does not serve " + clusterSetDomain + ": pods cannot find them by that name"})
		}
	}
	for _, o := range overlaps(members) {
		var uses []string
		for _, u := range o.Uses {
			uses = append(uses, u.String())
		}
		found = append(found, Finding{Code: NetworkOverlap, Member: o.Members()[0], Cause: "addresses overlap, which is right only where members do not reach each other's pods directly: " + some(uses)})
	}
	return found
}
