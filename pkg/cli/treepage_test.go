package cli

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// pageText is a page of a fleet, as it is printed.
func pageText(t *testing.T, members ...*v1alpha1.MemberCluster) string {
	t.Helper()
	federations := []v1alpha1.Federation{
		{ObjectMeta: metav1.ObjectMeta{Name: "edge"}}, {ObjectMeta: metav1.ObjectMeta{Name: "prod"}, Spec: v1alpha1.FederationSpec{Description: "Production"}},
	}
	page := pageOf(command.Host{}, federations, members, noon)
	page.Host, page.Note = "https://host.example.com", "probes have stopped"
	var out bytes.Buffer
	if err := output.PrintPage(output.NewStream(&out), page); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestPage has what a person looks for in an incident.
func TestPage(t *testing.T) {
	t.Parallel()
	old := func(m *v1alpha1.MemberCluster) { m.Status.Facts.KubernetesVersion = "v1.34.2" }
	text := pageText(t, ready("us-east"), ready("us-west", old), ready("eu-west", offline), ready("far", expires(-3*time.Hour), phase(v1alpha1.PhaseNotReady), inEdge))
	for _, want := range []string{
		"4 members in 2 federations.", `<li class="bad"><b>1</b>Offline</li>`, `<li class="good"><b>2</b>Ready</li>`, "<b>3</b>v1.37.0", "<b>1</b>v1.34.2",
		"Versions of Kubernetes are 3 minor versions apart: v1.34.2 to v1.37.0.", "Read from https://host.example.com at ", "probes have stopped", "<h2>edge</h2>", "<p>Production</p>",
		`<strong>eu-west</strong> of prod: <strong class="bad">Offline</strong>, Unreachable <span class="dim">since `, "https://eu-west.example.com:6443: connection refused",
		"<dd>expired 3h ago</dd>", "<pre>kubectl federate check",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if before, after := strings.Index(text, "<strong>eu-west</strong>"), strings.Index(text, "<strong>far</strong>"); before < 0 || after < before {
		t.Error("the most urgent is not first")
	}
	if text := pageText(t, ready("us-east")); !strings.Contains(text, `<p class="good">Nothing.</p>`) || strings.Contains(text, "apart") {
		t.Error("a fleet that is well has something wrong")
	}
}

// TestPageRunsNothing holds that a page runs and loads nothing, whatever members say of themselves.
func TestPageRunsNothing(t *testing.T) {
	t.Parallel()
	const evil = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\u202e{{.}}\x1b[31m"
	member := spoiled[v1alpha1.MemberCluster](evil)
	member.Labels = map[string]string{v1alpha1.LabelFederation: evil}
	federations := []v1alpha1.Federation{{ObjectMeta: metav1.ObjectMeta{Name: evil}, Spec: v1alpha1.FederationSpec{Description: evil}}}
	page := pageOf(command.Host{}, federations, []*v1alpha1.MemberCluster{member}, noon)
	page.Host, page.Note = evil, evil
	var out bytes.Buffer
	if err := output.PrintPage(output.NewStream(&out), page); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, tag := range regexp.MustCompile(`<[/a-zA-Z!][^>]*>`).FindAllString(text, -1) {
		name := strings.ToLower(strings.Trim(strings.Fields(strings.Trim(tag, "</>"))[0], "!"))
		if !slices.Contains(strings.Fields("doctype html head meta title style body header main h1 h2 p ul li b section article strong span dl div dt dd pre table thead tr th tbody td"), name) {
			t.Errorf("the page has a tag %s", tag)
		}
		if strings.Contains(tag, "onerror") || strings.Contains(tag, "src=") || strings.Contains(tag, "href=") {
			t.Errorf("the page loads or runs something by %s", tag)
		}
	}
	if strings.Contains(text, "url(") || strings.Contains(text, "@import") || strings.ContainsAny(text, "\u202e\x1b") {
		t.Error("the page loads something, or has text that acts")
	}
}
