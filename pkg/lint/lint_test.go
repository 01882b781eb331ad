package lint_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/lint"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

func schemas(t testing.TB) *lint.Schemas {
	t.Helper()
	s, err := lint.LoadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func texts(l field.ErrorList) (found []string) {
	for _, e := range l {
		found = append(found, e.Error())
	}
	return found
}

// TestCases writes every case of the rules as manifests. What lint says of the object that is written is, text by
// text, what the rules say of its creation; test/integration/admission holds that an API server says so too.
func TestCases(t *testing.T) {
	t.Parallel()
	loaded := schemas(t)
	judged := 0
	for _, c := range cases.All() {
		written := c.Written()
		if written == nil {
			continue // a deletion
		}
		t.Run(c.Name, func(t *testing.T) {
			x := c.Host()
			s := rules.Snapshot{Now: cases.Now, Host: x}
			var v rules.Verdict
			if c.Member != nil {
				x.SetMember(c.Member.New)
				v = rules.JudgeMember(s, rules.MemberChange{New: c.Member.New})
			} else {
				x.SetFederation(c.Federation.New)
				v = rules.JudgeFederation(s, rules.FederationChange{New: c.Federation.New})
			}
			if diff := cmp.Diff(c.Refusals, texts(v.Refusals), cmpopts.EquateEmpty()); c.Creates() && diff != "" {
				t.Fatalf("the case itself (-want +got):\n%s", diff)
			}

			m := lint.NewManifests(loaded)
			if errs := m.Read("case.yaml", bytes.NewReader(c.Manifests())); len(errs) > 0 {
				t.Fatal(errs)
			}
			findings := m.Judge(cases.Now)
			got := findings[len(findings)-1]
			if got.Name != written.GetName() {
				t.Fatalf("the last object is %s", got.Name)
			}
			if len(got.Refusals) > 0 && got.Refusals[0].Origin == string(lint.Schema) {
				if !strings.HasPrefix(c.Unreachable, "the schema") {
					t.Errorf("a fault of the schema: %v", got.Refusals)
				}
				return
			}
			if c.Member != nil && c.Member.New.Federation() != "" && x.Federation(c.Member.New.Federation()) == nil {
				if len(got.NotJudged) == 0 || got.NotJudged[0] != rules.FederationExists {
					t.Errorf("not judged: %v", got.NotJudged)
				}
				return
			}
			if federation, ok := written.(*v1alpha1.Federation); ok && slices.ContainsFunc(rules.NamespacesToRead(rules.FederationChange{New: federation}), func(name string) bool { return x.Namespace(name) == nil }) {
				if len(got.NotJudged) != 1 || got.NotJudged[0] != rules.InventoryNamespace {
					t.Errorf("not judged: %v", got.NotJudged)
				}
				return
			}
			judged++
			if diff := cmp.Diff(texts(v.Refusals), texts(got.Refusals), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("refusals (-rules +lint):\n%s", diff)
			}
			if diff := cmp.Diff(v.WarningTexts(), got.WarningTexts(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings (-rules +lint):\n%s", diff)
			}
			want := c.Error(v)
			if err := got.Err(); fmt.Sprint(err) != fmt.Sprint(want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
	if judged < 50 {
		t.Errorf("%d cases were judged by the rules; are they read right?", judged)
	}
}

// read judges one text and gives what is said, object by object.
func read(t *testing.T, text string) (said []string) {
	t.Helper()
	m := lint.NewManifests(schemas(t))
	for _, err := range m.Read("in.yaml", strings.NewReader(text)) {
		said = append(said, "unread: "+err.Error())
	}
	findings := m.Judge(cases.Now)
	for i := range findings {
		f := &findings[i]
		at := fmt.Sprintf("%s: %s %q: ", f.Source, f.Kind, f.Name)
		for _, e := range f.Refusals {
			said = append(said, at+e.Error()+" ("+e.Origin+")")
		}
		if len(f.NotJudged) > 0 {
			said = append(said, at+"not judged: "+f.Why)
		}
	}
	for kind, n := range m.Skipped {
		said = append(said, fmt.Sprintf("skipped: %d %q", n, kind))
	}
	return said
}

// unread is what is said of a manifest that cannot be read.
const unread = "not judged: the manifest cannot be read as its kind"

const (
	federation = "apiVersion: kubefederate.io/v1alpha1\nkind: Federation\nmetadata: {name: prod}\n"
	member     = "apiVersion: kubefederate.io/v1alpha1\nkind: MemberCluster\nmetadata: {name: a, labels: {kubefederate.io/federation: prod}}\n" +
		"spec: {clusterID: a, server: 'https://a.example.com'}\n"
)

func TestManifests(t *testing.T) {
	t.Parallel()
	const at = `in.yaml, document 1: Federation "prod": `
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"nothing":    {"# only a comment\n---\n---\n", nil},
		"clean":      {federation + "---\n" + member, nil},
		"JSON":       {`{"apiVersion":"v1","kind":"ConfigMap"} {"apiVersion":"kubefederate.io/v1alpha1","kind":"Federation","metadata":{"name":"prod"}}`, []string{`skipped: 1 "ConfigMap"`}},
		"others":     {"a: b\n---\napiVersion: apps/v1\nkind: Deployment\n", []string{`skipped: 1 "Deployment"`, `skipped: 1 ""`}},
		"exported":   {federation + "status: {members: 1, ready: 1, conditions: []}\n", nil},
		"namespaced": {strings.Replace(federation, "name: prod", "name: prod, namespace: default", 1), nil},
		"no object":  {"- a\n---\n" + federation, []string{"unread: in.yaml, document 1: not a Kubernetes object: apiVersion and kind are required"}},
		"bad YAML": {"a: {\n---\n" + federation + "spec: {limits: [{max: 1.5}]}\n", []string{
			"unread: in.yaml, document 1: yaml: line 1: did not find expected node content",
			`in.yaml, document 2: Federation "prod": <nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.limits[0].max (schema)`,
			`in.yaml, document 2: Federation "prod": spec.limits[0].max: Invalid value: "float64": spec.limits[0].max in body must be of type int32: "float64" (schema)`,
			`in.yaml, document 2: Federation "prod": ` + unread,
		}},
		"twice in YAML": {federation + "kind: Federation\n", []string{"unread: in.yaml, document 1: yaml: unmarshal errors:\n  line 4: key \"kind\" already set in map"}},
		"bad JSON":      {`{"a":`, []string{"unread: in.yaml, document 1: yaml: line 1: did not find expected node content"}},
		"bad separator": {federation + "--- {a: b}\n---\n" + federation, []string{
			"unread: in.yaml, document 2: kubectl takes nothing but a comment behind ---: begin the document on the next line",
			`in.yaml, document 3: Federation "prod": metadata.name: Duplicate value: "prod": it is also in in.yaml, document 1 (manifestTwice)`,
		}},
		"list": {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: kubefederate.io/v1alpha1, kind: Federation, metadata: {name: prod}}\n- 1\n", []string{
			"unread: in.yaml, document 1: item 2: not a Kubernetes object: apiVersion and kind are required",
		}},
		"own list": {"apiVersion: kubefederate.io/v1alpha1\nkind: FederationList\nitems:\n- {apiVersion: kubefederate.io/v1alpha1, kind: Federation, metadata: {name: B}}\n", []string{
			`in.yaml, document 1, item 1: Federation "B": metadata.name: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, ` +
				`'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is ` +
				`'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*') (schema)`,
			`in.yaml, document 1, item 1: Federation "B": <nil>: Invalid value: a federation's name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit (schema)`,
		}},
		"versions": {strings.Replace(federation, "v1alpha1", "v1", 1) + "---\n" + strings.Replace(federation, "kind: Federation", "kind: Fedration", 1), []string{
			at + `apiVersion: Unsupported value: "kubefederate.io/v1": supported values: "kubefederate.io/v1alpha1" (schema)`,
			at + unread,
			`in.yaml, document 2: Fedration "prod": kind: Unsupported value: "Fedration": supported values: "Federation", "MemberCluster" (schema)`,
		}},
		"no version": {federation + "---\n" + strings.Replace(member, "clusterID: a,", "clusterID: a, joinedWith: {kubernetesVersion: '<html>'},", 1), []string{
			`in.yaml, document 2: MemberCluster "a": spec.joinedWith.kubernetesVersion: Invalid value: "<html>": must be a Kubernetes version as an API server reports it, such as v1.36.3 (schema)`}},
		"interval": {federation + "spec: {health: {interval: 1m30s, failures: 10}}\n", nil},
		"no interval": {federation + "spec: {health: {interval: 2s, failures: 11}}\n", []string{
			at + `spec.health.failures: Invalid value: 11: spec.health.failures in body should be less than or equal to 10 (schema)`,
			at + `spec.health.interval: Invalid value: "2s": must be a duration from 5s to 1h, such as 30s or 1m30s (schema)`,
		}},
		"generated name": {strings.Replace(federation, "name: prod", "generateName: prod-", 1), nil},
		"generated names": {federation + strings.Repeat("---\n"+strings.Replace(member, "name: a", "generateName: a-", 1), 2), []string{
			`in.yaml, document 2: MemberCluster "a-*": spec.clusterID: Duplicate value: "a": this cluster is already member "a-00002" of federation "prod"; let it leave first: kubectl federate unjoin a-00002 (clusterIDUnique)`,
			`in.yaml, document 3: MemberCluster "a-*": spec.clusterID: Duplicate value: "a": this cluster is already member "a-00001" of federation "prod"; let it leave first: kubectl federate unjoin a-00001 (clusterIDUnique)`,
		}},
		"long generated name": {strings.Replace(federation, "name: prod", "generateName: "+strings.Repeat("a", 70), 1), nil},
		"bad generated name": {strings.Replace(federation, "name: prod", "generateName: prod.east-", 1), []string{
			`in.yaml, document 1: Federation "prod.east-*": <nil>: Invalid value: a federation's name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit (schema)`}},
		"no name":   {strings.Replace(federation, "{name: prod}", "{}", 1), []string{`in.yaml, document 1: Federation "": metadata.name: Required value: name or generateName is required (schema)`}},
		"long name": {strings.Replace(federation, "name: prod", "name: prod.east", 1), []string{`in.yaml, document 1: Federation "prod.east": <nil>: Invalid value: a federation's name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit (schema)`}},
		"finalizers of a wrong type": {strings.Replace(federation, "name: prod", "name: prod, finalizers: {a: b}", 1), []string{
			at + `metadata: Invalid value: json: cannot unmarshal object into Go struct field ObjectMeta.metadata.finalizers of type []string (schema)`,
			at + unread,
		}},
		"shape": {federation + "spec:\n  acceptance: null\n  descr: x\n  enforcement: Soft\n  description: " + strings.Repeat("x", 1025) + "\n" +
			"  labels: [{key: a, values: [b, b]}, {key: a}, {}]\n  limits: [{max: -1}, {max: 1, perLabel: ''}]\n  access: {clusterRole: a/b}\n", []string{
			at + `spec.descr: Invalid value: unknown field (schema)`,
			at + `spec.description: Too long: may not be more than 1024 bytes (schema)`,
			at + `spec.enforcement: Unsupported value: "Soft": supported values: "Deny", "Warn" (schema)`,
			at + `spec.labels[0].values[1]: Duplicate value: "b" (schema)`,
			at + `spec.labels[1]: Duplicate value: {"key":"a"} (schema)`,
			at + `spec.labels[2].key: Required value (schema)`,
			at + `spec.limits[0].max: Invalid value: -1: spec.limits[0].max in body should be greater than or equal to 0 (schema)`,
			at + `spec.limits[1]: Duplicate value: {"perLabel":""} (schema)`,
			at + `spec.access.clusterRole: Invalid value: "a/b": may not contain '/'; it names no ClusterRole (accessRole)`,
		}},
		"unknown fields": {federation + "spec:\n  labels: [{key: a, value: [b]}]\n  access: {clusterRole: view, role: x}\n  enforcment: Warn\nspecs: {}\n", []string{
			at + `spec.access.role: Invalid value: unknown field (schema)`,
			at + `spec.enforcment: Invalid value: unknown field; did you mean "enforcement"? (schema)`,
			at + `spec.labels[0].value: Invalid value: unknown field; did you mean "values"? (schema)`,
			at + `specs: Invalid value: unknown field; did you mean "spec"? (schema)`,
		}},
		"twice in JSON": {`{"apiVersion":"kubefederate.io/v1alpha1","kind":"Federation","metadata":{"name":"prod"},"spec":{"enforcement":"Warn","enforcement":"Deny"}}`,
			[]string{at + `spec.enforcement: Invalid value: duplicate field (schema)`}},
		"no spec": {federation + "---\napiVersion: kubefederate.io/v1alpha1\nkind: MemberCluster\nmetadata: {name: a}\n", []string{
			`in.yaml, document 2: MemberCluster "a": spec: Required value (schema)`,
			`in.yaml, document 2: MemberCluster "a": metadata.labels[kubefederate.io/federation]: Required value: it names the federation that the cluster joins (federationExists)`,
		}},
		"twice": {federation + "---\n" + member + "---\n" + member, []string{
			`in.yaml, document 3: MemberCluster "a": metadata.name: Duplicate value: "a": it is also in in.yaml, document 2 (manifestTwice)`,
		}},
		"inventory": {federation + "spec: {inventory: {namespaces: [ns]}}\n", []string{
			at + `not judged: namespace "ns" is not among the manifests`,
		}},
		"inventory with one of its namespaces": {
			"apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n---\n" + federation + "spec: {inventory: {namespaces: [ns], credentialsNamespace: secrets}}\n",
			[]string{
				`in.yaml, document 2: Federation "prod": spec.inventory.namespaces[0]: Forbidden: namespace "ns" has no label kubefederate.io/inventory; let the federation use it: kubectl federate grant prod --inventory ns (inventoryNamespace)`,
				`in.yaml, document 2: Federation "prod": not judged: namespace "secrets" is not among the manifests`,
				`skipped: 1 "Namespace"`,
			},
		},
		"inventory with its namespace": {
			"apiVersion: v1\nkind: Namespace\nmetadata: {name: ns, labels: {kubefederate.io/inventory: prod}}\n---\n" + federation + "spec: {inventory: {namespaces: [ns]}}\n",
			[]string{`skipped: 1 "Namespace"`},
		},
		"inventory with a plain namespace": {
			"apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n---\n" + federation + "spec: {inventory: {namespaces: [ns]}}\n",
			[]string{
				`in.yaml, document 2: Federation "prod": spec.inventory.namespaces[0]: Forbidden: namespace "ns" has no label kubefederate.io/inventory; let the federation use it: kubectl federate grant prod --inventory ns (inventoryNamespace)`,
				`skipped: 1 "Namespace"`,
			},
		},
		"expression": {federation + "spec: {rules: [{name: typo, expression: cluster.spce == 1}]}\n", []string{
			at + `spec.rules[0].expression: Invalid value: "cluster.spce == 1": 1:8: undefined field 'spce' (expressionRules)`,
		}},
		"elsewhere": {strings.Replace(federation, "prod", "prdo", 1) + "---\n" + member, []string{
			`in.yaml, document 2: MemberCluster "a": not judged: federation "prod" is not among the manifests; did you mean "prdo"?`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sorted := cmpopts.SortSlices(func(a, b string) bool {
				return strings.HasPrefix(a, "skipped") && strings.HasPrefix(b, "skipped") && a < b
			})
			if diff := cmp.Diff(test.want, read(t, test.text), cmpopts.EquateEmpty(), sorted); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNotJudged names the rules that were not judged: all of a manifest that cannot be read, and those of a member that
// read its federation. New rules are found by what they read, so the test names two of either kind only.
// TestFieldCaseNorway reads values that YAML takes for something else than text.
func TestFieldCaseNorway(t *testing.T) {
	t.Parallel()
	got := read(t, `apiVersion: kubefederate.io/v1alpha1
kind: Federation
metadata: {name: no}
spec: {}
---
apiVersion: kubefederate.io/v1alpha1
kind: MemberCluster
metadata:
  name: 123
  labels: {kubefederate.io/federation: no, example.com/tier: 1, example.com/x: true, example.com/y: "yes"}
  annotations: {example.com/at: 1.5}
  finalizers: [off]
spec:
  clusterID: 0886847a
  server: "https://api.example.com:6443"
`)
	const boolean = "must be text, and YAML reads yes, no, on, off, true and false as booleans: quote it, as in "
	const one, two = `in.yaml, document 1: Federation "": `, `in.yaml, document 2: MemberCluster "": `
	want := []string{
		one + `metadata.name: Invalid value: false: ` + boolean + `"false" (schema)`,
		one + unread,
		two + `metadata.name: Invalid value: 123: must be text, and is a number: quote it, as in "123" (schema)`,
		two + `metadata.labels[example.com/tier]: Invalid value: 1: must be text, and is a number: quote it, as in "1" (schema)`,
		two + `metadata.labels[example.com/x]: Invalid value: true: ` + boolean + `"true" (schema)`,
		two + `metadata.labels[kubefederate.io/federation]: Invalid value: false: ` + boolean + `"false" (schema)`,
		two + `metadata.annotations[example.com/at]: Invalid value: 1.5: must be text, and is a number: quote it, as in "1.5" (schema)`,
		two + `metadata.finalizers[0]: Invalid value: false: ` + boolean + `"false" (schema)`,
		two + unread,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestFieldCaseUTF16 writes two documents, of which the second is bad, in all ways in which documents follow each other: none
// is skipped, and the second is refused.
func TestFieldCaseUTF16(t *testing.T) {
	t.Parallel()
	bad := strings.Replace(member, "https://", "http://user:pw@", 1)
	two := federation + "---\n" + bad
	units := func(order binary.AppendByteOrder, text string) string {
		var data []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			data = order.AppendUint16(data, unit)
		}
		return string(data)
	}
	asJSON := func(text string) string {
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, text := range map[string]string{
		"plain":                     two,
		"UTF-16, little-endian":     units(binary.LittleEndian, "\ufeff"+two),
		"UTF-16, big-endian":        units(binary.BigEndian, "\ufeff"+two),
		"UTF-16 without a mark":     units(binary.LittleEndian, two),
		"UTF-16, of line breaks CR": units(binary.LittleEndian, "\ufeff"+strings.ReplaceAll(two, "\n", "\r\n")),
		"UTF-8 with a mark":         "\ufeff" + two,
		"CRLF":                      strings.ReplaceAll(two, "\n", "\r\n"),
		"CR":                        strings.ReplaceAll(two, "\n", "\r"),
		"blanks behind dashes":      federation + "--- \t\n" + bad,
		"a comment":                 federation + "--- # the member\n" + bad,
		"an end":                    federation + "...\n" + bad,
		"an end and dashes":         federation + "...\n---\n" + bad,
		"an end with a comment":     federation + "... # end\n# the member\n" + bad,
		"directives":                "%YAML 1.1\n---\n" + federation + "...\n%YAML 1.1\n---\n" + bad,
		"dashes at the beginning":   "# both\n---\n" + two,
		"JSON":                      asJSON(federation) + asJSON(bad),
		"JSON, line by line":        asJSON(federation) + "\n" + asJSON(bad) + "\n",
		"JSON with dashes":          asJSON(federation) + "\n---\n" + asJSON(bad),
		"JSON, then YAML":           asJSON(federation) + "\n---\n" + bad,
		"YAML, then JSON":           federation + "---\n" + asJSON(bad),
		"YAML in braces":            "{apiVersion: kubefederate.io/v1alpha1, kind: Federation, metadata: {name: prod}}\n---\n" + bad,
		"a List":                    `{"apiVersion":"v1","kind":"List","items":[` + asJSON(federation) + "," + asJSON(bad) + "]}",
		"a List in a List":          `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List","items":[` + asJSON(federation) + "," + asJSON(bad) + "]}]}",
	} {
		t.Run(name, func(t *testing.T) {
			m := lint.NewManifests(schemas(t))
			if errs := m.Read("in.yaml", strings.NewReader(text)); len(errs) > 0 {
				t.Fatal(errs)
			}
			findings := m.Judge(cases.Now)
			if len(findings) != 2 || len(findings[0].Refusals) > 0 || len(findings[1].Refusals) == 0 {
				t.Errorf("%d judged: %v", len(findings), findings)
			}
		})
	}
}

func TestNotJudged(t *testing.T) {
	t.Parallel()
	m := lint.NewManifests(schemas(t))
	if errs := m.Read("in.yaml", strings.NewReader(member+"---\n"+federation+"spec: {limits: 1}\n---\n"+strings.Replace(member, "labels:", "labels: 1, annotations:", 1))); len(errs) > 0 {
		t.Fatal(errs)
	}
	findings := m.Judge(cases.Now)
	withoutFederation, badFederation, badMember := findings[0].NotJudged, findings[1].NotJudged, findings[2].NotJudged
	for id, want := range map[rules.ID]bool{rules.FederationExists: true, rules.Labels: true, rules.InsecureTLS: true, rules.ClusterIDUnique: false, rules.Proxy: false} {
		if slices.Contains(withoutFederation, id) != want {
			t.Errorf("rule %s is not judged without the federation: %t, want %t", id, !want, want)
		}
	}
	if len(badFederation) != len(rules.FederationRules) || len(badMember) != len(rules.MemberRules) {
		t.Errorf("not judged of what cannot be read: %q and %q", badFederation, badMember)
	}
}

// TestFaultOfTheDisk holds that what ends early is not taken for the whole.
func TestFaultOfTheDisk(t *testing.T) {
	t.Parallel()
	m := lint.NewManifests(schemas(t))
	errs := m.Read("in.yaml", iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(federation))))
	if len(errs) != 1 || !errors.Is(errs[0], iotest.ErrTimeout) || m.Len() != 0 {
		t.Errorf("got %v and %d objects", errs, m.Len())
	}
}

// TestSchemaRulesAreKnown holds that lint knows every CEL rule of the schemas: those on names and texts, which it judges, and those
// on changes, which judge nothing that is created.
func TestSchemaRulesAreKnown(t *testing.T) {
	t.Parallel()
	objects, err := manifests.Objects(manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			list, _, _ := unstructured.NestedSlice(value, "x-kubernetes-validations")
			for _, rule := range list {
				found++
				text, _ := rule.(map[string]any)["rule"].(string)
				if !strings.Contains(text, "oldSelf") && !lint.KnowsRule(text) {
					t.Errorf("lint does not judge this rule: %s", text)
				}
			}
			for _, v := range value {
				walk(v)
			}
		case []any:
			for _, v := range value {
				walk(v)
			}
		}
	}
	for _, o := range objects {
		if o.GetKind() == "CustomResourceDefinition" {
			walk(o.Object)
		}
	}
	if found < 4 {
		t.Errorf("%d rules found; are the schemas read right?", found)
	}
}

// FuzzLint holds that no text makes lint panic, and that it says the same twice.
func FuzzLint(f *testing.F) {
	f.Add(federation + "---\n" + member)
	f.Add(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"kubefederate.io/v1alpha1","kind":"MemberCluster","metadata":{"labels":{"a":1}},"spec":{"server":[]}}]}`)
	f.Add(federation + "spec: {labels: [{key: a, pattern: '['}, {key: a}, null], limits: [{max: 1}, 2], kubernetesVersions: '>=1', access: null}\n")
	loaded := schemas(f)
	f.Fuzz(func(t *testing.T, text string) {
		say := func() (said []string) {
			m := lint.NewManifests(loaded)
			for _, err := range m.Read("in.yaml", strings.NewReader(text)) {
				said = append(said, err.Error())
			}
			findings := m.Judge(cases.Now)
			for i := range findings {
				said = append(said, fmt.Sprint(findings[i].Err(), findings[i].WarningTexts(), findings[i].NotJudged))
			}
			return said
		}
		if diff := cmp.Diff(say(), say()); diff != "" {
			t.Errorf("it says two things:\n%s", diff)
		}
	})
}
