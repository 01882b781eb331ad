package docs

import (
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
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

// TestAlerts holds that each alert is about a metric that docs/operations.md explains, and says what to do.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var file alerts
	read(t, filepath.Join(root, "manifests", "monitoring", "alerts.yaml"), &file)
	operations := page(t, "docs/operations.md").Text
	metric := regexp.MustCompile(`kubefederate_[a-z_]+`)
	seen := map[string]bool{}
	for _, group := range file.Spec.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || seen[rule.Alert] || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("alert %q is incomplete, or there are two", rule.Alert)
			}
			seen[rule.Alert] = true
			names := metric.FindAllString(rule.Expr, -1)
			if len(names) == 0 {
				t.Errorf("alert %s reads no metric", rule.Alert)
			}
			for _, name := range names {
				if !strings.Contains(operations, "| `"+name+"` |") {
					t.Errorf("alert %s: docs/operations.md has no metric %s", rule.Alert, name)
				}
			}
		}
	}
	if len(seen) == 0 {
		t.Error("there are no alerts")
	}
	if security := page(t, "docs/security.md").Text; !strings.Contains(security, "`KubefederateWritesNeverSeen`") || !seen["KubefederateWritesNeverSeen"] {
		t.Error("docs/security.md names an alert that there is not")
	}
}
