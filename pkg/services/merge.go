package services

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// MergedPort is a port of the merged service.
type MergedPort struct {
	Port
	// Member has the export that it is taken from.
	Member string `json:"member"`
}

// Service is what the exports of one name come to.
type Service struct {
	Name
	// Exports are those of all members: what is exported, the oldest first, then those that export nothing.
	Exports []Export
	// Valid is how many of them export.
	Valid int
	Ports []MergedPort
	// Dropped says what was left out of the merged service; empty for nothing.
	Dropped   string
	Conflicts []Conflict
	Imports   []Import
	// WithoutNamespace are the members that do not have the namespace.
	WithoutNamespace []string

	byName, byNumber map[string]MergedPort
}

// Type is ClusterSetIP or Headless; empty where nothing is exported.
func (s *Service) Type() string {
	if s.Valid == 0 {
		return ""
	}
	return s.Exports[0].Service.Type
}

// Oldest is the member whose export decides; empty where nothing is exported.
func (s *Service) Oldest() string {
	if s.Valid == 0 {
		return ""
	}
	return s.Exports[0].Member
}

// Reasons are those of all conflicts, each once.
func (s *Service) Reasons() []string { return sortedReasons(s.Conflicts) }

// maxMergedPorts bounds what many exports may add up to.
const maxMergedPorts = 1000

// merge makes one service of exports of one name, by the rules of KEP-1645.
func merge(name Name, exports []Export) Service {
	s := Service{Name: name, Exports: exports, byName: map[string]MergedPort{}, byNumber: map[string]MergedPort{}}
	slices.SortStableFunc(s.Exports, compareExports)
	for i := range s.Exports {
		e := &s.Exports[i]
		if e.Invalid() != "" {
			break
		}
		s.Valid++
		for _, p := range e.Service.Ports {
			s.addPort(MergedPort{p, e.Member})
		}
	}
	for i := range s.Exports[:s.Valid] {
		e := &s.Exports[i]
		for _, r := range Rules {
			if how, winner := r.differs(&s, e); how != "" {
				s.Conflicts = append(s.Conflicts, Conflict{Rule: r.ID, Reason: r.Reason, Member: e.Member, Winner: winner, How: how})
			}
		}
	}
	return s
}

// addPort adds a port that no older export has taken the name or the number of.
func (s *Service) addPort(p MergedPort) {
	if _, taken := s.byName[p.Port.Name]; taken {
		return
	}
	if _, taken := s.byNumber[p.Number()]; taken {
		return
	}
	if len(s.Ports) == maxMergedPorts {
		s.Dropped = "ports after the first 1000"
		return
	}
	s.byName[p.Port.Name], s.byNumber[p.Number()] = p, p
	s.Ports = append(s.Ports, p)
}

// compareExports orders those that export before others, the oldest first, and those of one time by member. One without a
// creationTimestamp, which no API server sends, is the newest.
func compareExports(a, b Export) int {
	return cmp.Or(compareBool(a.Invalid() != "", b.Invalid() != ""), compareBool(a.Created.IsZero(), b.Created.IsZero()),
		a.Created.Compare(b.Created), cmp.Compare(a.Member, b.Member))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Report is what the exports of the members of one federation come to.
type Report struct {
	// Services are sorted by name.
	Services []Service
	// Overlaps are networks that more than one member uses.
	Overlaps []Overlap
}

// Judge merges the exports of the members of one federation. It is pure; of two exports that one member sends of one name, the first
// counts.
func Judge(members []Member) Report {
	exports, imports := map[Name][]Export{}, map[Name][]Import{}
	for i := range members {
		seen := map[Name]bool{}
		for _, e := range members[i].Exports {
			if !seen[e.Name] {
				seen[e.Name] = true
				e.Member = members[i].Name
				exports[e.Name] = append(exports[e.Name], e)
			}
		}
		for _, im := range members[i].Imports {
			im.Member = members[i].Name
			imports[im.Name] = append(imports[im.Name], im)
		}
	}
	r := Report{Overlaps: overlaps(members)}
	for _, name := range slices.SortedFunc(maps.Keys(exports), compareNames) {
		s := merge(name, exports[name])
		s.Imports = imports[name]
		for i := range members {
			if ns := members[i].Namespaces; ns != nil && !ns[name.Namespace] {
				s.WithoutNamespace = append(s.WithoutNamespace, members[i].Name)
			}
		}
		r.Services = append(r.Services, s)
	}
	return r
}

// Future says whether an export claims a creation that is still to come: the clock of its API server is wrong, or it lies.
func (e *Export) Future(now time.Time) bool { return e.Created.After(now.Add(maxSkew)) }

// maxSkew is how much clocks of clusters may differ.
const maxSkew = 5 * time.Minute
