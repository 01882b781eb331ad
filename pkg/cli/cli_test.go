package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

func TestDisplayName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"kubectl-federate":          "kubectl federate",
		"kubectl-federate_clusters": "kubectl federate-clusters",
		"kubectl-federate-x":        "kubectl federate x",
		"main.test":                 "kubectl federate",
	} {
		if got := displayName(name); got != want {
			t.Errorf("displayName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestParseLabelArgs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   []string
		names  []string
		change labelChange
		err    string
	}{
		{args: []string{"a", "b", "k=v", "example.com/k="}, names: []string{"a", "b"},
			change: labelChange{set: map[string]string{"k": "v", "example.com/k": ""}}},
		{args: []string{"a", "k-"}, names: []string{"a"}, change: labelChange{set: map[string]string{}, remove: []string{"k"}}},
		{args: []string{"k=v", "a"}, err: `member "a" follows the labels; name members first`},
		{args: []string{"k=v", "k=w"}, err: "label k is named twice"},
		{args: []string{"k=v", "k-"}, err: "label k is named twice"},
		{args: []string{"k=v!"}, err: `invalid value "v!" for label k: a valid label must be an empty string or consist of alphanumeric characters, ` +
			`'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation ` +
			`is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`},
	} {
		names, change, err := parseLabelArgs(tt.args)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%q: got error %v, want %s", tt.args, err, tt.err)
			}
		} else if err != nil || !slices.Equal(names, tt.names) || !reflect.DeepEqual(change, tt.change) {
			t.Errorf("%q: got %q, %+v, %v", tt.args, names, change, err)
		}
	}
}

// TestEndpointFlags holds that an empty flag is not the same as one that was not typed.
func TestEndpointFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]federate.JoinOptions{
		"":                                {},
		"--member-server=https://a":       {Server: "https://a"},
		"--member-proxy-url=http://p":     {ProxyURL: new("http://p")},
		"--member-proxy-url=":             {ProxyURL: new("")},
		"--member-tls-server-name=b":      {TLSServerName: new("b")},
		"--member-tls-server-name=":       {TLSServerName: new("")},
		"--member-certificate-authority=": {CABundle: []byte{}, CertificateAuthority: new("")},
	} {
		var f endpointFlags
		var got federate.JoinOptions
		flags := pflag.NewFlagSet("join", pflag.ContinueOnError)
		f.addTo(flags)
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if err := f.set(&got, flags); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", args, got, err)
		}
	}
}

// A file that cannot be a CA bundle is refused, however long it is.
func TestReadCertificateFile(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), string(cases.Certificate(cases.Now))
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const tooLong = "the file has more than 1048576 bytes: keep only the CA that signed the server's certificate"
	for path, want := range map[string]string{
		write("good", ca):                     "",
		write("byte order mark", "\ufeff"+ca): "",
		write("empty", ""):                    "the file is empty",
		write("longest", strings.Repeat("\n", maxCertificateFile-len(ca))+ca):                    "",
		write("too long", strings.Repeat("\n", maxCertificateFile-len(ca)+1)+ca):                 tooLong,
		write("too long, byte order mark", "\ufeff"+ca+strings.Repeat("\n", maxCertificateFile)): tooLong,
		dir:                        "it is a directory, and must be a file",
		os.DevNull:                 "it is a device, and must be a file",
		filepath.Join(dir, "none"): "stat " + filepath.Join(dir, "none") + ": no such file or directory",
	} {
		data, err := readCertificateFile(path)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || err == nil && strings.TrimSpace(string(data)) != strings.TrimSpace(ca) {
			t.Errorf("%s: got %d bytes, %q, want %q", path, len(data), got, want)
		}
	}
}

func TestFederationFlags(t *testing.T) {
	t.Parallel()
	f := federationFlags{
		required:    []string{"region=a,b", "team"},
		patterns:    []string{"team=[a-z]+=x"},
		immutable:   []string{"region", "tier"},
		maxGiven:    true,
		maxPerLabel: []string{"region=10"},
		rules:       []string{"us-only=cluster.name == 'x'"},
		inventory:   v1alpha1.Inventory{Namespaces: []string{"federation-prod"}, CredentialsNamespace: "federation-prod-credentials"},
		failures:    3, failsGiven: true,
		acceptance: "Manual", enforcement: "Warn", clusterRole: "view",
	}
	got, err := f.parse("prod")
	if err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.FederationSpec{
		Acceptance: v1alpha1.AcceptManual, Enforcement: v1alpha1.EnforceWarn,
		Labels: []v1alpha1.LabelRule{
			{Key: "region", Required: true, Values: []string{"a", "b"}, Immutable: true},
			{Key: "team", Required: true, Pattern: "[a-z]+=x"},
			{Key: "tier", Immutable: true},
		},
		Limits:    []v1alpha1.Limit{{Max: 0}, {PerLabel: "region", Max: 10}},
		Rules:     []v1alpha1.Rule{{Name: "us-only", Expression: "cluster.name == 'x'"}},
		Access:    &v1alpha1.Access{ClusterRole: "view"},
		Inventory: &v1alpha1.Inventory{Namespaces: []string{"federation-prod"}, CredentialsNamespace: "federation-prod-credentials"},
		Health:    &v1alpha1.Health{Failures: 3},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Error(diff)
	}
	for want, bad := range map[string]federationFlags{
		`invalid --label-pattern "team": must be KEY=PATTERN`:       {patterns: []string{"team"}},
		`invalid --rule "us-only": must be NAME=EXPRESSION`:         {rules: []string{"us-only"}},
		`invalid --rule "=true": must be NAME=EXPRESSION`:           {rules: []string{"=true"}},
		`invalid --max-per-label "region=many": must be KEY=NUMBER`: {maxPerLabel: []string{"region=many"}},
		`invalid --max-per-label "=1": must be KEY=NUMBER`:          {maxPerLabel: []string{"=1"}},
		`invalid --health-failures 0: must be from 1 to 10`:         {failsGiven: true},
	} {
		if _, err := bad.parse("prod"); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestWritersHaveDryRun holds that each command of writers can show what it would change, and none of readers can.
func TestWritersHaveDryRun(t *testing.T) {
	t.Parallel()
	d := newFactory(command.Plugin, genericiooptions.NewTestIOStreamsDiscard())
	var check func(cmd *cobra.Command, writes bool)
	check = func(cmd *cobra.Command, writes bool) {
		for _, sub := range cmd.Commands() {
			check(sub, writes)
		}
		if dry := cmd.Flags().Lookup("dry-run") != nil; dry != writes && !cmd.HasSubCommands() {
			t.Errorf("%q: has --dry-run: %t; is among writers of root.go: %t", cmd.Name(), dry, writes)
		}
	}
	for _, cmd := range writers(d) {
		check(cmd, true)
	}
	for _, cmd := range readers(d) {
		check(cmd, false)
	}
}
