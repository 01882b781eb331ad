package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// alerts is what manifests/monitoring holds.
type alerts struct {
	Spec struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Alert       string            `json:"alert"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

// pageURL is where the pages of a release's alerts are read.
const pageURL = "https://github.com/kubefederate/kubectl-federate/blob/main/docs/operations.md#"

// TestAlerts holds that each alert says what is wrong and how bad it is, and leads to a section of docs/operations.md; and that there
// is no section without an alert. test/tools/monitoring tests when they fire.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var file alerts
	read(t, filepath.Join(root, "manifests", "monitoring", "alerts.yaml"), &file)
	operations := page(t, "docs/operations.md")
	sections := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^### (Kubefederate\w+)$`).FindAllStringSubmatch(operations.Text, -1) {
		sections[heading[1]] = true
	}
	anchors := operations.Anchors()
	for _, group := range file.Spec.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("alert %q is incomplete", rule.Alert)
			}
			if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" && severity != "info" {
				t.Errorf("alert %s has the severity %q", rule.Alert, severity)
			}
			anchor := strings.ToLower(rule.Alert)
			if rule.Annotations["runbook_url"] != pageURL+anchor || !anchors[anchor] || !sections[rule.Alert] {
				t.Errorf("alert %s leads to %s; docs/operations.md needs a section for it", rule.Alert, rule.Annotations["runbook_url"])
			}
			delete(sections, rule.Alert)
		}
	}
	for name := range sections {
		t.Errorf("docs/operations.md has a section for %s, which is no alert", name)
	}
	if security := page(t, "docs/security.md").Text; !strings.Contains(security, "`KubefederateWritesNeverSeen`") || !anchors["kubefederatewritesneverseen"] {
		t.Error("docs/security.md names an alert that there is not")
	}
}

// TestMetricsAreDocumented holds that the tables of docs/operations.md have exactly the manager's own metrics, and the discovery controller's.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	var text string
	for _, name := range []string{"metrics.txt", "discovery.txt"} {
		lines, err := os.ReadFile(filepath.Join(root, "test", "tools", "monitoring", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(lines)
	}
	rows := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(kubefederate_[a-z_]+)` \\|").FindAllStringSubmatch(page(t, "docs/operations.md").Text, -1) {
		rows[row[1]] = true
	}
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(name, "kubefederate_") {
			continue
		}
		if !rows[name] {
			t.Errorf("docs/operations.md does not have the metric %s", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("docs/operations.md has the metric %s, which nothing serves", name)
	}
}
