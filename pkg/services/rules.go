package services

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Rule is one of the rules of KEP-1645 by which the exports of one service become one service.
type Rule struct {
	// ID names the rule. Several rules may have one Reason.
	ID string
	// Reason is that of the condition Conflict of a ServiceExport.
	Reason string
	// Section is the heading in the KEP, and Says what it says there, in our words.
	Section, Says string
	// differs says in which way an export differs from the merged service, and the member whose export is followed in that; both are
	// empty where it does not differ.
	differs func(s *Service, e *Export) (how, winner string)
}

// KEP is where the sections are that rules name.
const KEP = "https://github.com/kubernetes/enhancements/tree/master/keps/sig-multicluster/1645-multi-cluster-services-api"

// Rules are all, in the order in which a person reads what they find. The reasons are those of v1beta1 (sigs.k8s.io/mcs-api v0.5.2).
var Rules = []Rule{
	{
		"PortName", "PortConflict", "Service Port",
		"No two ports of the merged service have one name: a name that exports use for several ports is that of the oldest.",
		portName,
	},
	{
		"PortNumber", "PortConflict", "Service Port",
		"No two ports of the merged service have one protocol and number: of several names for one, the oldest export's is used.",
		portNumber,
	},
	{
		"PortAppProtocol", "PortConflict", "Service Port",
		"A port that exports describe differently is as the oldest export describes it.",
		portAppProtocol,
	},
	{
		"PortMissing", "PortConflict", "Service Port",
		"The merged service has the ports of all exports; what is sent to a port reaches only clusters that have it.",
		portMissing,
	},
	{
		"Headless", "TypeConflict", "Headlessness",
		"Whether the merged service is headless is what the oldest export says.",
		differsIn(func(d *Definition) string { return d.Type }),
	},
	{
		"SessionAffinity", "SessionAffinityConflict", "Session Affinity",
		"The merged service has the session affinity of the oldest export.",
		differsIn(func(d *Definition) string { return d.SessionAffinity }),
	},
	{
		"SessionAffinityConfig", "SessionAffinityConfigConflict", "Session Affinity",
		"The merged service keeps clients as long on an endpoint as the oldest export says.",
		affinityTimeout,
	},
	{
		"InternalTrafficPolicy", "InternalTrafficPolicyConflict", "Internal Traffic Policy",
		"The merged service has the internal traffic policy of the oldest export.",
		differsIn(func(d *Definition) string { return d.InternalTrafficPolicy }),
	},
	{
		"TrafficDistribution", "TrafficDistributionConflict", "Traffic Distribution",
		"The merged service has the traffic distribution of the oldest export.",
		differsIn(func(d *Definition) string { return d.TrafficDistribution }),
	},
	{
		"IPFamilies", "IPFamilyConflict", "Exporting Services",
		"Exports without an IP family in common conflict where clients of one family reach only some of the endpoints.",
		ipFamilies,
	},
	{
		"Labels", "LabelsConflict", "Labels and Annotations",
		"The merged service has the exported labels of the oldest export, where those of others are not the same.",
		func(s *Service, e *Export) (string, string) { return differsInMap(s, s.Exports[0].Labels, e.Labels) },
	},
	{
		"Annotations", "AnnotationsConflict", "Labels and Annotations",
		"The merged service has the exported annotations of the oldest export, where those of others are not the same.",
		func(s *Service, e *Export) (string, string) {
			return differsInMap(s, s.Exports[0].Annotations, e.Annotations)
		},
	},
}

// Precedence is the rule that decides all conflicts.
const Precedence = "Of exports that conflict, the one with the oldest creationTimestamp wins (Global Properties)."

// Validity are the reasons for which a ServiceExport exports nothing, with what the KEP says of them.
var Validity = map[string]string{
	"NoService":          "A ServiceExport exports the Service of its own name and namespace, and nothing while there is none (Exporting Services).",
	"InvalidServiceType": "A Service of the type ExternalName cannot be exported (Service Types).",
	"Unreadable":         "An object that is not of the kind's shape exports nothing that others understand.",
}

// Conflict is one way in which an export differs from the merged service.
type Conflict struct {
	// Rule is the ID of the rule, and Reason that of the condition Conflict.
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	// Member has the export that differs, and Winner the one that is followed, or has what the other lacks.
	Member string `json:"member"`
	Winner string `json:"winner"`
	// How says how they differ.
	How string `json:"how"`
}

// Says is what the KEP says of a conflict.
func (c Conflict) Says() string {
	for _, r := range Rules {
		if r.ID == c.Rule {
			return r.Says + " (" + r.Section + ")"
		}
	}
	return ""
}

// differsIn is a rule on one property, in which the oldest export is followed.
func differsIn(of func(*Definition) string) func(*Service, *Export) (string, string) {
	return func(s *Service, e *Export) (how, winner string) {
		mine, oldest := of(e.Service), of(s.Exports[0].Service)
		if mine == oldest {
			return "", ""
		}
		return fmt.Sprintf("%s, and %s on %s", orNone(mine), orNone(oldest), s.Oldest()), s.Oldest()
	}
}

func orNone(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

func affinityTimeout(s *Service, e *Export) (how, winner string) {
	oldest := s.Exports[0].Service
	if e.Service.SessionAffinity != oldest.SessionAffinity || e.Service.AffinityTimeout == oldest.AffinityTimeout {
		return "", ""
	}
	return fmt.Sprintf("timeout of %d s, and %d s on %s", e.Service.AffinityTimeout, oldest.AffinityTimeout, s.Oldest()), s.Oldest()
}

func ipFamilies(s *Service, e *Export) (how, winner string) {
	oldest := s.Exports[0].Service.IPFamilies
	if len(oldest) == 0 || len(e.Service.IPFamilies) == 0 ||
		slices.ContainsFunc(e.Service.IPFamilies, func(family string) bool { return slices.Contains(oldest, family) }) {
		return "", ""
	}
	return fmt.Sprintf("%s, and %s on %s", strings.Join(e.Service.IPFamilies, ", "), strings.Join(oldest, ", "), s.Oldest()), s.Oldest()
}

// differsInMap compares what is exported of labels or annotations. Their values may be long, and are compared but not shown.
func differsInMap(s *Service, oldest, mine map[string]string) (how, winner string) {
	var keys []string
	for key := range mine {
		if value, has := oldest[key]; !has || value != mine[key] {
			keys = append(keys, key)
		}
	}
	for key := range oldest {
		if _, has := mine[key]; !has {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return "", ""
	}
	slices.Sort(keys)
	return fmt.Sprintf("other values than on %s of %s", s.Oldest(), some(keys)), s.Oldest()
}

// maxShown is how many of a list a text names.
const maxShown = 3

// some are the first of many, and how many more there are.
func some(all []string) string {
	if len(all) > maxShown {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxShown], ", "), len(all)-maxShown)
	}
	return strings.Join(all, ", ")
}

// ports is a rule on the ports of an export: against says how one differs from the merged ports, and who has the one that is used. What
// differs within one export, which no API server takes, is no conflict.
func ports(e *Export, against func(Port) (how, winner string)) (string, string) {
	var all []string
	var first string
	for _, p := range e.Service.Ports {
		if how, winner := against(p); how != "" && winner != e.Member {
			all = append(all, how)
			if first == "" {
				first = winner
			}
		}
	}
	return some(all), first
}

func portName(s *Service, e *Export) (how, winner string) {
	return ports(e, func(p Port) (string, string) {
		used, ok := s.byName[p.Name]
		if !ok || used.sameNumber(p) {
			return "", ""
		}
		return fmt.Sprintf("port %s is %s, and %s on %s", portTitle(p), p.Number(), used.Number(), used.Member), used.Member
	})
}

func portNumber(s *Service, e *Export) (how, winner string) {
	return ports(e, func(p Port) (string, string) {
		if used, named := s.byName[p.Name]; named && !used.sameNumber(p) {
			return "", "" // its name decides
		}
		used, ok := s.byNumber[p.Number()]
		if !ok || used.Name == p.Name {
			return "", ""
		}
		return fmt.Sprintf("port %s is %s, and %s on %s", p.Number(), portTitle(p), portTitle(used.Port), used.Member), used.Member
	})
}

func portAppProtocol(s *Service, e *Export) (how, winner string) {
	return ports(e, func(p Port) (string, string) {
		used, ok := s.byNumber[p.Number()]
		if !ok || used.Name != p.Name || used.AppProtocol == p.AppProtocol {
			return "", ""
		}
		return fmt.Sprintf("the appProtocol of port %s is %s, and %s on %s", p, orNone(p.AppProtocol), orNone(used.AppProtocol), used.Member), used.Member
	})
}

func portMissing(s *Service, e *Export) (how, winner string) {
	names, numbers := map[string]bool{}, map[string]bool{}
	for _, p := range e.Service.Ports {
		names[p.Name], numbers[p.Number()] = true, true
	}
	var missing []string
	for _, used := range s.Ports {
		if used.Member != e.Member && !names[used.Port.Name] && !numbers[used.Number()] {
			missing = append(missing, used.Port.String()+" of "+used.Member)
			if winner == "" {
				winner = used.Member
			}
		}
	}
	if len(missing) == 0 {
		return "", ""
	}
	return "has no port " + some(missing), winner
}

// portTitle is the name of a port, which may be empty.
func portTitle(p Port) string {
	if p.Name == "" {
		return "without a name"
	}
	return strconv.Quote(p.Name)
}

// Invalid is the reason for which an export exports nothing; empty where it exports.
func (e *Export) Invalid() string {
	switch {
	case e.Fault != "":
		return "Unreadable"
	case e.Service == nil:
		return "NoService"
	case e.Service.Type == external:
		return "InvalidServiceType"
	}
	return ""
}

// sortedReasons are the reasons of conflicts, each once, in the order of the rules.
func sortedReasons(conflicts []Conflict) (reasons []string) {
	found := map[string]bool{}
	for _, c := range conflicts {
		found[c.Reason] = true
	}
	for _, r := range Rules {
		if found[r.Reason] && !slices.Contains(reasons, r.Reason) {
			reasons = append(reasons, r.Reason)
		}
	}
	return reasons
}
