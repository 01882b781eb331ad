package services

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// fixture is a member with the objects of a file of testdata, after the replacements: pairs of what is replaced and by what.
func fixture(t *testing.T, file, name string, replacements ...string) Member {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("%s.yaml does not hold %q", file, replacements[i])
		}
		text = strings.ReplaceAll(text, replacements[i], replacements[i+1])
	}
	m := Member{Name: name, API: APIs[0].String(), Namespaces: map[string]bool{"shop": true}}
	found := map[Name]*Definition{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		raw, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ Kind string }
		if err := json.Unmarshal(raw, &head); err != nil {
			t.Fatal(err)
		}
		o, at, ok := decodeName(raw)
		if !ok {
			t.Fatalf("no name: %s", raw)
		}
		switch head.Kind {
		case "Service":
			if found[at], err = decodeService(raw); err != nil {
				t.Fatal(err)
			}
		case "ServiceExport":
			m.Exports = append(m.Exports, decodeExport(raw, o, at))
		case "ServiceImport":
			if !o.transported() {
				m.Imports = append(m.Imports, decodeImport(raw, at))
			}
		}
	}
	for i := range m.Exports {
		m.Exports[i].Service = found[m.Exports[i].Name]
	}
	return m
}

// younger makes the export of a fixture a day younger than that of another member with the same file.
var younger = []string{"2026-03-02T08:00:00Z", "2026-03-03T08:00:00Z"}

// TestRules has a case that conflicts for each rule, on objects as Cilium and Submariner write them; without the change nothing does.
func TestRules(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, file, rule, reason string
		// change is what the younger export has otherwise.
		change []string
		want   string
	}{
		{"another number for a name", "cilium", "PortName", "PortConflict", []string{"{name: http, port: 80,", "{name: http, port: 8080,"},
			`west: port "http" is 8080/TCP, and 80/TCP on east`},
		{"another protocol for a name", "cilium", "PortName", "PortConflict", []string{"name: http, port: 80, protocol: TCP", "name: http, port: 80, protocol: UDP"},
			`west: port "http" is 80/UDP, and 80/TCP on east`},
		{"another name for a number", "cilium", "PortNumber", "PortConflict", []string{"{name: http, port: 80,", "{name: web, port: 80,"},
			`west: port 80/TCP is "web", and "http" on east`},
		{"no name for a number", "submariner", "PortNumber", "PortConflict", []string{"{name: sql, port: 5432,", "{port: 5432,"},
			`west: port 5432/TCP is without a name, and "sql" on east`},
		{"another application protocol", "cilium", "PortAppProtocol", "PortConflict", []string{"appProtocol: http}", "appProtocol: kubernetes.io/h2c}"},
			`west: the appProtocol of port http 80/TCP is kubernetes.io/h2c, and http on east`},
		{"a port less", "cilium", "PortMissing", "PortConflict", []string{"  - {name: metrics, port: 9090, protocol: TCP, targetPort: metrics}\n", ""},
			`west: has no port metrics 9090/TCP of east`},
		{"a port more", "submariner", "PortMissing", "PortConflict", []string{"  ports:\n  - {name: sql", "  ports:\n  - {name: admin, port: 5433, protocol: TCP}\n  - {name: sql"},
			`east: has no port admin 5433/TCP of west`},
		{"headless or not", "cilium", "Headless", "TypeConflict", []string{"clusterIP: 10.96.14.7", "clusterIP: None"},
			`west: Headless, and ClusterSetIP on east`},
		{"not headless", "submariner", "Headless", "TypeConflict", []string{"clusterIP: None", "clusterIP: 10.96.3.3"},
			`west: ClusterSetIP, and Headless on east`},
		{"session affinity", "cilium", "SessionAffinity", "SessionAffinityConflict", []string{"sessionAffinity: ClientIP", "sessionAffinity: None"},
			`west: None, and ClientIP on east`},
		{"session affinity's time", "cilium", "SessionAffinityConfig", "SessionAffinityConfigConflict", []string{"timeoutSeconds: 10800", "timeoutSeconds: 60"},
			`west: timeout of 60 s, and 10800 s on east`},
		{"internal traffic policy", "cilium", "InternalTrafficPolicy", "InternalTrafficPolicyConflict", []string{"internalTrafficPolicy: Cluster", "internalTrafficPolicy: Local"},
			`west: Local, and Cluster on east`},
		{"traffic distribution", "cilium", "TrafficDistribution", "TrafficDistributionConflict", []string{"internalTrafficPolicy: Cluster", "trafficDistribution: PreferClose"},
			`west: PreferClose, and not set on east`},
		{"no IP family in common", "submariner", "IPFamilies", "IPFamilyConflict", []string{"ipFamilies: [IPv4]", "ipFamilies: [IPv6]"},
			`west: IPv6, and IPv4 on east`},
		{"labels", "cilium", "Labels", "LabelsConflict", []string{"exportedLabels: {team: checkout}", "exportedLabels: {team: payments, tier: a}"},
			`west: other values than on east of team, tier`},
		{"annotations", "cilium", "Annotations", "AnnotationsConflict", []string{"  exportedAnnotations: {example.com/docs: https://example.com/web}\n", ""},
			`west: other values than on east of example.com/docs`},
	}
	failed := map[string]bool{}
	for _, tt := range cases {
		failed[tt.rule] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, change := range [][]string{nil, tt.change} {
				later := append(slices.Clone(change), "2T08:00:00Z\"}", "3T08:00:00Z\"}")
				r := Judge([]Member{fixture(t, tt.file, "west", later...), fixture(t, tt.file, "east")})
				if len(r.Services) != 1 || r.Services[0].Oldest() != "east" || r.Services[0].Valid != 2 {
					t.Fatalf("services: %+v", r.Services)
				}
				var got []string
				for _, c := range r.Services[0].Conflicts {
					got = append(got, fmt.Sprintf("%s %s %s: %s", c.Rule, c.Reason, c.Member, c.How))
					if c.Says() == "" || c.Winner == c.Member {
						t.Errorf("conflict %+v has no rule, or no winner", c)
					}
				}
				var want []string
				if change != nil {
					want = []string{tt.rule + " " + tt.reason + " " + tt.want}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	for _, r := range Rules {
		if !failed[r.ID] {
			t.Errorf("rule %s has no case", r.ID)
		}
		if r.Says == "" || r.Section == "" || !strings.HasSuffix(r.Reason, "Conflict") {
			t.Errorf("rule %s is incomplete", r.ID)
		}
	}
}

// TestPrecedence says whose export is the oldest, whatever the order in which members are read.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	const created = `creationTimestamp: "2026-03-02T08:00:00Z"`
	for _, tt := range []struct{ name, west, east, oldest string }{
		{"older", "2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z", "west"},
		{"newer", "2026-03-03T08:00:00Z", "2026-03-02T08:00:00Z", "east"},
		{"by name at one time", "2026-03-02T08:00:00Z", "2026-03-02T08:00:00Z", "east"},
		{"at one time in other zones", "2026-03-02T09:00:00+01:00", "2026-03-02T08:00:00Z", "east"},
		{"in the future", "2999-01-01T00:00:00Z", "2026-03-02T08:00:00Z", "east"},
		{"none is the newest", "", "2026-03-02T08:00:00Z", "east"},
		{"no time is the newest", "yesterday", "2026-03-02T08:00:00Z", "east"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			west := fixture(t, "cilium", "west", created, `creationTimestamp: "`+tt.west+`"`)
			east := fixture(t, "cilium", "east", created, `creationTimestamp: "`+tt.east+`"`)
			for _, members := range [][]Member{{west, east}, {east, west}} {
				if got := Judge(members).Services[0].Oldest(); got != tt.oldest {
					t.Errorf("%s is the oldest, want %s", got, tt.oldest)
				}
			}
		})
	}
}

// TestMergedPorts is the union of the ports, by name and then by protocol and number.
func TestMergedPorts(t *testing.T) {
	t.Parallel()
	east := fixture(t, "cilium", "east")
	west := fixture(t, "cilium", "west", append(slices.Clone(younger), "- {name: http, port: 80, protocol: TCP, targetPort: 8080, appProtocol: http}",
		"- {name: http, port: 81, protocol: TCP}\n  - {name: other, port: 9090, protocol: TCP}\n  - {name: dns, port: 9090, protocol: UDP}")...)
	var got []string
	for _, p := range Judge([]Member{west, east}).Services[0].Ports {
		got = append(got, p.Port.String()+" of "+p.Member)
	}
	want := []string{"http 80/TCP of east", "metrics 9090/TCP of east", "dns 9090/UDP of west"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFindings judges what implementations say of exports and imports.
func TestFindings(t *testing.T) {
	t.Parallel()
	const noConflict = "{type: Conflict, status: \"False\", reason: NoConflicts, message: ServiceExport has no conflicts, lastTransitionTime: \"2026-03-02T08:00:01Z\"}"
	for _, tt := range []struct {
		name, file string
		change     []string
		want       []string
	}{
		{"as Cilium leaves them", "cilium", nil, nil},
		{"as Submariner leaves them", "submariner", nil, nil},
		{"a conflict that Cilium reports", "cilium", append([]string{"timeoutSeconds: 10800}}\n  selector", "timeoutSeconds: 60}}\n  selector",
			noConflict, "{type: Conflict, status: \"True\", reason: SessionAffinityConfigConflict, message: 1/2 clusters disagree}"}, younger...),
			[]string{"ExportConflict west ServiceExport shop/web SessionAffinityConfigConflict: timeout of 60 s, and 10800 s on east"}},
		{"a conflict that is not reported", "cilium", append([]string{"timeoutSeconds: 10800}}\n  selector", "timeoutSeconds: 60}}\n  selector"}, younger...),
			[]string{"ExportConflict west ServiceExport shop/web SessionAffinityConfigConflict: timeout of 60 s, and 10800 s on east",
				"ConflictNotReported west ServiceExport shop/web conflicts with an older export, and its condition Conflict does not say so"}},
		{"a conflict that is none", "cilium", []string{noConflict, "{type: Conflict, status: \"True\", reason: PortConflict, message: ports differ}"},
			[]string{"ConflictNotReported west ServiceExport shop/web its condition Conflict is True, and its exports do not conflict: PortConflict: ports differ"}},
		{"no Service", "submariner", []string{"kind: Service\nmetadata: {namespace: shop, name: db", "kind: Service\nmetadata: {namespace: shop, name: gone"},
			[]string{`ExportInvalid west ServiceExport shop/db exports nothing: NoService: there is no Service "shop/db"`}},
		{"an ExternalName", "submariner", []string{"type: ClusterIP", "type: ExternalName"},
			[]string{"ExportInvalid west ServiceExport shop/db exports nothing: InvalidServiceType: its Service is of the type ExternalName"}},
		{"not ready", "submariner", []string{`{type: Ready, status: "True", reason: "", message: Service was successfully exported to the broker`,
			`{type: Ready, status: "False", reason: AwaitingExport, message: awaiting aggregation on the broker`},
			[]string{"ExportNotReady west ServiceExport shop/db its condition Ready is False: AwaitingExport: awaiting aggregation on the broker"}},
		{"not served", "submariner", []string{"kind: ServiceExport\nmetadata: {namespace: shop, name: db, generation: 1, creationTimestamp: \"2026-02-02T08:00:00Z\"}\nstatus:",
			"kind: ServiceExport\nmetadata: {namespace: shop, name: db, generation: 1, creationTimestamp: \"2026-02-02T08:00:00Z\"}\nspec:"},
			[]string{"ExportNotServed west ServiceExport shop/db has no conditions: nothing that serves exports of other clusters has looked at it"}},
		{"an import of another type", "cilium", []string{"type: ClusterSetIP", "type: Headless"},
			[]string{"ImportDiffers west ServiceImport shop/web its type is Headless, and that of the oldest export ClusterSetIP"}},
		{"an import without a port", "cilium", []string{"  - {name: metrics, port: 9090, protocol: TCP}\n", "  - {name: metric, port: 9090, protocol: TCP}\n"},
			[]string{"ImportDiffers west ServiceImport shop/web it has no port metrics 9090/TCP; it has port metric 9090/TCP, which the exports do not come to"}},
		{"an import with another affinity", "cilium", []string{"internalTrafficPolicy: Cluster\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 10800}}\n  ports",
			"sessionAffinity: None\n  ports"},
			[]string{"ImportDiffers west ServiceImport shop/web its session affinity is None, and that of the oldest export ClientIP"}},
		{"an import of what no member exports", "cilium", []string{"kind: ServiceImport\nmetadata:\n  namespace: shop\n  name: web", "kind: ServiceImport\nmetadata:\n  namespace: shop\n  name: api"},
			[]string{"ImportOrphan west ServiceImport shop/api is of a service that no member of the federation exports; it names the clusters mesh-1, mesh-2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			members := []Member{fixture(t, tt.file, "east"), fixture(t, tt.file, "west", tt.change...)}
			if diff := cmp.Diff(tt.want, lines(Findings(members, true))); diff != "" {
				t.Error(diff)
			}
			for _, f := range Findings(members, false) {
				if f.Code == ImportDiffers || f.Code == ImportOrphan {
					t.Errorf("an import is judged though not all members were read: %+v", f)
				}
			}
		})
	}
}

func lines(found []Finding) (all []string) {
	for _, f := range found {
		line := fmt.Sprintf("%s %s", f.Code, f.Member)
		if f.Kind != "" {
			line += fmt.Sprintf(" %s %s", f.Kind, f.Name)
		}
		all = append(all, line+" "+f.Cause)
	}
	return all
}

// TestMissingNamespace reports a namespace that others export in once for a member, and not where it is not known.
func TestMissingNamespace(t *testing.T) {
	t.Parallel()
	east := fixture(t, "cilium", "east")
	api := east.Exports[0]
	api.Name.Name = "api"
	east.Exports = append(east.Exports, api)
	west, south := Member{Name: "west", Namespaces: map[string]bool{"default": true}}, Member{Name: "south"}
	want := []string{`NamespaceMissing west has no namespace "shop", in which others export api, web: it imports nothing of that`}
	if diff := cmp.Diff(want, lines(Findings([]Member{east, west, south}, false))); diff != "" {
		t.Error(diff)
	}
}

// TestHostile bounds what a member may send, and reports what is left out.
func TestHostile(t *testing.T) {
	t.Parallel()
	many := &strings.Builder{}
	for i := range 5000 {
		fmt.Fprintf(many, `{"name":"p%d","port":%d},`, i, i+1)
	}
	for _, tt := range []struct{ name, service, want string }{
		{"thousands of ports", `{"spec":{"ports":[` + strings.TrimSuffix(many.String(), ",") + `]}}`, "100 ports: 4900 ports after the first 100"},
		{"ports that are none", `{"spec":{"ports":[{"port":0},{"port":70000},{"port":-1},{"name":"` + strings.Repeat("x", 64) + `","port":1},{"port":1,"protocol":"ICMP"},{"port":80}]}}`,
			"1 ports: 5 of its ports that are none"},
		{"a port that is text", `{"spec":{"ports":[{"port":"http"}]}}`, "its field spec.ports.port is a JSON string"},
		{"ports that are an object", `{"spec":{"ports":{}}}`, "its field spec.ports is a JSON object"},
		{"no object", `[1]`, "its field  is a JSON array"},
		{"a long type", `{"spec":{"sessionAffinity":"` + strings.Repeat("a", 1<<20) + `"}}`, "0 ports: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, err := decodeService(json.RawMessage(tt.service))
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprintf("%d ports: %s", len(d.Ports), d.Dropped)
				if len(d.SessionAffinity) > maxWord {
					t.Errorf("%d bytes are kept", len(d.SessionAffinity))
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	garbage := `{"metadata":{"namespace":"shop","name":"web","labels":7},"spec":{"exportedLabels":["a"]}}`
	o, name, ok := decodeName(json.RawMessage(garbage))
	e := decodeExport(json.RawMessage(garbage), o, name)
	if !ok || e.Invalid() != "Unreadable" || e.Fault != "its field spec.exportedLabels is a JSON array" {
		t.Errorf("garbage is %q: %+v", name, e)
	}
	entries := map[string]string{}
	for i := range 101 {
		entries[fmt.Sprint(i)] = ""
	}
	if got := boundEntries(entries); got != "are more than 100" {
		t.Errorf("101 labels: %q", got)
	}
	for _, raw := range []string{`{"metadata":{"namespace":"../x","name":"web"}}`, `{"metadata":{"namespace":"shop","name":"a\u001b[2J"}}`, `{"metadata":{"namespace":"shop"}}`, `7`} {
		if _, name, ok := decodeName(json.RawMessage(raw)); ok {
			t.Errorf("%s has the name %q", raw, name)
		}
	}
	// One that lists an export twice has no second vote, and many exporters add up to no more than a bound.
	var members []Member
	for i := range 30 {
		m := Member{Name: fmt.Sprintf("m%02d", i)}
		e := Export{Name: Name{"shop", "web"}, Service: &Definition{Type: ClusterSetIP}}
		for p := range maxPorts {
			e.Service.Ports = append(e.Service.Ports, Port{Name: fmt.Sprintf("p%d-%d", i, p), Protocol: "TCP", Port: int32(i*maxPorts + p + 1)})
		}
		m.Exports = []Export{e, e}
		members = append(members, m)
	}
	s := Judge(members).Services[0]
	if len(s.Exports) != 30 || len(s.Ports) != maxMergedPorts || s.Dropped == "" {
		t.Errorf("%d exports, %d ports, dropped: %q", len(s.Exports), len(s.Ports), s.Dropped)
	}
}
