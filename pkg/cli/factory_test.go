package cli

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// samples are values of every type in package command. Those of a type set every field between them.
func samples() []command.Command {
	east := command.Cluster{Context: "us east", Kubeconfig: "/tmp/k"}
	none := ""
	object := command.Object{GroupResource: schema.GroupResource{Group: "cluster.x-k8s.io", Resource: "clusters"}, Namespace: "team-x", Name: "us-east"}
	return []command.Command{
		command.Init{WebhookURL: "https://host.example.com/hooks", Discovery: true}, command.Init{Only: "keys"}, command.Init{Certificates: "cert-manager"},
		command.CreateFederation{Name: "prod"},
		command.Grant{Federation: "prod", Joiners: []string{"user:jill", "user:jane doe"}, Approvers: []string{"group:ops"}, Integrators: []string{"user:argo"}, Yes: true},
		command.Grant{Federation: "prod", Inventory: "fleet", Credentials: "prod-credentials", DNS: "external-dns", Discovery: true, Leave: true},
		command.Revoke{Federation: "prod", Inventory: "fleet", Credentials: "prod-credentials", DNS: "external-dns", Discovery: true},
		command.GrantSecret{Namespace: "team-x", Name: "us-east"},
		command.Label{Cluster: east, Federation: "prod", Overwrite: true}, command.Label{Cluster: east, Remove: true},
		command.Discover{Federation: "prod", Join: true},
		command.Join{Member: "us-east", Federation: "prod", Cluster: east, Labels: map[string]string{"example.com/team": "web", "tier": "gold"},
			ResetEndpoint: true, Server: "https://us-east.example.com", CertificateAuthority: new("ca.pem"), ProxyURL: &none, TLSServerName: &none, TokenLifetime: time.Hour, TakeOver: true, TrustContext: true},
		command.Move{Member: "us-east", Federation: "prod", Cluster: east, Labels: map[string]string{"tier": "gold"},
			ResetEndpoint: true, Server: "https://us-east.example.com", CertificateAuthority: new("ca.pem"), ProxyURL: &none, TLSServerName: &none, TokenLifetime: time.Hour, TakeOver: true, TrustContext: true},
		command.Unjoin{Member: "us-east", Cluster: east, DropLabel: true, TrustContext: true}, command.Unjoin{Member: "us-east", Force: true},
		command.UnjoinMany{Members: []v1alpha1.MemberName{"us-east", "us-east"}},
		command.RotateMany{Members: []v1alpha1.MemberName{"us-east", "us-east"}}, command.RotateMany{},
		command.Rotate{Member: "us-east", Cluster: east, TokenLifetime: time.Hour, TrustContext: true},
		command.Approve{Member: "us-east"}, command.Resume{Member: "us-east"}, command.Suspend{Member: "us-east", Reason: "kernel upgrade", Until: "2099-01-01T00:00:00Z"}, command.Get{}, command.Get{Federation: "prod", Violating: true}, command.Get{ByPhase: true}, command.Describe{Member: "us-east"},
		command.Check{Cluster: &east}, command.Check{AllContexts: true},
		command.Kubeconfig{Member: "us-east", Merge: true}, command.Services{Federation: "prod", Namespace: "shop", Name: "us-east"}, command.DeleteContext{Name: "prod/us-east", Kubeconfig: "/tmp/k"},
		command.KubectlGet{Object: object, Output: "yaml"}, command.KubectlDelete{Object: object, Cluster: &east},
		command.KubectlLabel{Object: object, Key: "a", Value: "b", Overwrite: true, Cluster: &east},
		command.KubectlEdit{Object: object}, command.UpgradePlugin{},
	}
}

// Every command that a message can propose is one: each type of package command has a sample here, which the commands
// themselves parse, with every flag and with none.
func TestProposedCommands(t *testing.T) {
	t.Parallel()
	host := command.Host{Flags: []command.Flag{
		{Name: "as", Value: "jill"}, {Name: "as-group", Value: "a b"}, {Name: "context", Value: "prod"}, {Name: "insecure-skip-tls-verify"},
	}}
	set := map[string]map[string]bool{}
	for _, sample := range samples() {
		v := reflect.ValueOf(sample)
		fields := set[v.Type().Name()]
		if fields == nil {
			fields = map[string]bool{}
			set[v.Type().Name()] = fields
		}
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			fields[name] = fields[name] || !v.Field(i).IsZero()
		}
		parse(t, host.Line(sample))
		if empty := reflect.Zero(v.Type()).Interface().(command.Command); (command.Host{}).Line(empty) != "" {
			parse(t, command.Host{}.Line(empty))
		}
	}
	for _, name := range commandTypes(t) {
		if set[name] == nil {
			t.Errorf("command.%s has no sample in this test", name)
		}
		for field, given := range set[name] {
			if !given {
				t.Errorf("no sample sets command.%s.%s", name, field)
			}
		}
	}
}

// The command that a federation without its bindings is left with runs as it is printed.
func TestPartlyCreated(t *testing.T) {
	t.Parallel()
	o := &federationOptions{federationFlags: federationFlags{factory: &factory{flags: &pflag.FlagSet{}}, given: roleFlags{joiners: []string{"user:jill"}}}, federation: &v1alpha1.Federation{}}
	o.federation.Name = "prod"
	want := `forbidden
* done: federation "prod" is created
* left: the roles of --joiner, --approver and --integrator, which an administrator of the host can give
to continue, run: kubectl federate grant prod --joiner user:jill`
	if got := o.partly(errors.New("forbidden")).Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// parse has a line parsed as a shell and the plugin do it, up to the point where it would run. Commands of kubectl's own
// get no further than the shell.
func parse(t *testing.T, line string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `kubectl() { printf '%s\0' "$@"; }; `+line).Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("%q is no command line: %v", line, err)
	}
	words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if words[0] != "federate" {
		return
	}
	root := testRoot()
	cmd, args, err := root.Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil && !cmd.HasParent() {
		t.Errorf("%s: names no command", line)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	// A word that is no argument of the command would be taken for the name of a member.
	for _, word := range cmd.Flags().Args() {
		if word != "us-east" && word != "prod" && word != "NAME" && word != "NAME..." {
			t.Errorf("%s: %q is read as a name", line, word)
		}
	}
}

// commandTypes are the types of package command that render themselves.
func commandTypes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../command/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources of package command: %v", err)
	}
	found := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^func \((?:\w+ )?(\w+)\) render\(`).FindAllSubmatch(source, -1) {
			found[string(match[1])] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// testRoot is the root command without a terminal.
func testRoot() *cobra.Command {
	return newRoot(command.Plugin, genericiooptions.NewTestIOStreamsDiscard())
}

func TestTypedFlags(t *testing.T) {
	t.Parallel()
	root := testRoot()
	root.SetArgs([]string{"version", "--client", "--context", "prod", "--as-group=a", "--as-group", "b", "--token", "secret", "--insecure-skip-tls-verify", "--kubeconfig=/tmp/k",
		"--as=", "--as-group=", "-s", "", "-v", "9"}) // empty ones choose nothing
	if err := root.ExecuteContext(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	host := command.Host{Flags: typedFlags(root.PersistentFlags())}
	const want = "kubectl federate get --as-group a --as-group b --context prod --insecure-skip-tls-verify --kubeconfig /tmp/k --token TOKEN"
	if got := host.Line(command.Get{}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
