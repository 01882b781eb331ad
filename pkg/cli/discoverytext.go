package cli

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// describeDiscovery describes which clusters join a federation without a person, and what discovery found; nothing where none do.
func describeDiscovery(s *output.Sheet, f *v1alpha1.Federation) {
	d, found := f.Spec.Discovery, f.Status.Discovery
	if d != nil {
		s.List("Discovery", discoveryLines(d))
	}
	if found == nil {
		return
	}
	s.Line("Discovered", fmt.Sprintf("%s found, %d joined, %d gone", output.Count(int(found.Found), "cluster", "clusters"), found.Joined, found.Gone))
	rows := [][]string{{"CLUSTER", "STATE", "REASON"}}
	for _, c := range found.NotJoined {
		rows = append(rows, []string{c.Cluster, c.State, c.Reason})
	}
	s.Table("Not joined", rows)
}

// defaultGonePatience is how long an object must be gone where the federation does not say.
const defaultGonePatience = "1h"

func discoveryLines(d *v1alpha1.Discovery) []string {
	gone := string(cmp.Or(d.WhenGone, v1alpha1.GoneKeep))
	if gone != string(v1alpha1.GoneKeep) || d.GonePatience != "" {
		gone += " after " + cmp.Or(d.GonePatience, defaultGonePatience)
	}
	lines := []string{
		"acceptance " + string(cmp.Or(d.Acceptance, v1alpha1.DiscoveryManual)),
		"when an object is gone: " + gone,
		"endpoints " + strings.Join(d.Endpoints, ", "),
	}
	for i := range d.Sources {
		lines = append(lines, sourceLine(&d.Sources[i]))
	}
	return lines
}

func sourceLine(source *v1alpha1.DiscoverySource) string {
	line := "source " + string(source.Kind)
	if source.Name != "" {
		line += " " + source.Name
	}
	if len(source.Namespaces) > 0 {
		line += " in " + strings.Join(source.Namespaces, ", ")
	}
	if text := selectorText(source.Selector); text != "" {
		line += ", with labels " + text
	}
	if len(source.MemberLabels) > 0 {
		line += "; members get its labels " + strings.Join(source.MemberLabels, ", ")
	}
	return line
}

// selectorText is a selector as kubectl's -l takes it where it is valid.
func selectorText(selector *metav1.LabelSelector) string {
	if selector == nil {
		return ""
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(selector.MatchLabels)) {
		parts = append(parts, key+"="+selector.MatchLabels[key])
	}
	for _, e := range selector.MatchExpressions {
		switch values := strings.Join(e.Values, ","); e.Operator {
		case metav1.LabelSelectorOpExists:
			parts = append(parts, e.Key)
		case metav1.LabelSelectorOpDoesNotExist:
			parts = append(parts, "!"+e.Key)
		default:
			parts = append(parts, fmt.Sprintf("%s %s (%s)", e.Key, strings.ToLower(string(e.Operator)), values))
		}
	}
	return strings.Join(parts, ",")
}

// discoveredText names the object that a member was discovered by.
func discoveredText(d *v1alpha1.Discovered) string {
	return fmt.Sprintf("%s %s (UID %s)", d.Kind, path.Join(d.Namespace, d.Name), d.UID)
}
