package command_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

var host = command.Host{Flags: []command.Flag{{"context", "prod"}, {"insecure-skip-tls-verify", ""}, {"kubeconfig", "/etc/my hosts"}}}

func TestLine(t *testing.T) {
	t.Parallel()
	east := command.Cluster{Context: "us-east"}
	none := ""
	for want, c := range map[string]command.Command{
		"kubectl federate unjoin us-east --member-context us-east": command.Unjoin{Member: "us-east", Cluster: east},
		"kubectl federate unjoin us-east --force":                  command.Unjoin{Member: "us-east", Cluster: east, Force: true},
		"kubectl federate rotate NAME --token-lifetime 10m":        command.Rotate{TokenLifetime: 10 * time.Minute},
		"kubectl federate move a --to test --labels a=b":           command.Move{Member: "a", Federation: "test", Labels: map[string]string{"a": "b"}},
		"kubectl federate move NAME --to FEDERATION --member-context us-east --member-server https://a --token-lifetime 1d --trust-context": command.Move{Cluster: east, Server: "https://a", TokenLifetime: 24 * time.Hour, TrustContext: true},
		"kubectl federate rotate a b":                              command.RotateMany{Members: []v1alpha1.MemberName{"a", "b"}},
		"kubectl federate rotate --all":                            command.RotateMany{},
		"kubectl federate grant prod --inventory fleet":            command.Grant{Federation: "prod", Inventory: "fleet"},
		"kubectl federate revoke prod --inventory-credentials s":   command.Revoke{Federation: "prod", Credentials: "s"},
		"kubectl federate grant prod --discovery --leave":          command.Grant{Federation: "prod", Discovery: true, Leave: true},
		"kubectl federate revoke prod --discovery":                 command.Revoke{Federation: "prod", Discovery: true},
		"kubectl federate grant --discovery-secret team-x/prod.a":  command.GrantSecret{Namespace: "team-x", Name: "prod.a"},
		"kubectl federate grant --discovery-secret NAMESPACE/NAME": command.GrantSecret{},
		"kubectl federate join a --federation prod --member-context us-east --labels a=b,c=d --member-certificate-authority '' --member-proxy-url '' --member-tls-server-name '' --take-over": command.Join{Member: "a", Federation: "prod", Cluster: east, Labels: map[string]string{"c": "d", "a": "b"}, CertificateAuthority: &none, ProxyURL: &none, TLSServerName: &none, TakeOver: true},
		"kubectl federate join NAME --federation FEDERATION --member-context CONTEXT --token-lifetime 90d":                                                                                    command.Join{TokenLifetime: 90 * 24 * time.Hour},
		"kubectl federate label --member-context us-east --member-kubeconfig '/my files/k' --remove":                                                                                          command.Label{Cluster: command.Cluster{Context: "us-east", Kubeconfig: "/my files/k"}, Remove: true},
		"kubectl label clusters.cluster.x-k8s.io us-east --namespace team-x kubefederate.io/federation=prod --overwrite":                                                                      command.KubectlLabel{Object: cluster, Key: v1alpha1.LabelFederation, Value: "prod", Overwrite: true},
		"kubectl label clusters.cluster.x-k8s.io us-east --namespace team-x kubefederate.io/federation-":                                                                                      command.KubectlLabel{Object: cluster, Key: v1alpha1.LabelFederation},
		"kubectl label clusters.cluster.x-k8s.io us-east --namespace team-x a=b --context us-east":                                                                                            command.KubectlLabel{Object: cluster, Key: "a", Value: "b", Cluster: &east},
		"kubectl get federations":                                             command.Federations,
		"kubectl get pods --namespace kubefederate-system":                    command.ManagerPods,
		"kubectl delete clusterproperties.about.k8s.io a.b --context us-east": command.KubectlDelete{Object: command.Object{GroupResource: schema.GroupResource{Group: "about.k8s.io", Resource: "clusterproperties"}, Name: "a.b"}, Cluster: &east},
	} {
		if got := (command.Host{}).Line(c); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

var cluster = command.Object{GroupResource: schema.GroupResource{Group: "cluster.x-k8s.io", Resource: "clusters"}, Namespace: "team-x", Name: "us-east"}

// The flags that chose the host go with every command that reads it; of a member's cluster only the file may be the same.
func TestHost(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]command.Command{
		"kubectl federate approve a --context prod --insecure-skip-tls-verify --kubeconfig '/etc/my hosts'": command.Approve{Member: "a"},
		"kubectl get federations --context prod --insecure-skip-tls-verify --kubeconfig '/etc/my hosts'":    command.Federations,
		"kubectl delete secrets a --context us-east --kubeconfig '/etc/my hosts'":                           command.KubectlDelete{Object: secret("a"), Cluster: &command.Cluster{Context: "us-east"}},
		"kubectl delete secrets a --context us-east --kubeconfig mine":                                      command.KubectlDelete{Object: secret("a"), Cluster: &command.Cluster{Context: "us-east", Kubeconfig: "mine"}},
		"kubectl krew upgrade federate": command.UpgradePlugin{},
		"kubectl federate services web --namespace shop --context prod --insecure-skip-tls-verify --kubeconfig '/etc/my hosts'":               command.Services{Namespace: "shop", Name: "web"},
		"kubectl federate services --all-namespaces --federation prod --context prod --insecure-skip-tls-verify --kubeconfig '/etc/my hosts'": command.Services{Federation: "prod"},
	} {
		if got := host.Line(c); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	finds := command.Host{ContextAt: func(key string) string { return map[string]string{"https://east": "us east"}[key] }}
	for want, c := range map[string]command.Command{
		"kubectl federate rotate a":                                         command.Rotate{Member: "a", Cluster: command.Cluster{ServerKey: "https://east"}},
		"kubectl federate join a --federation f --member-context 'us east'": command.Join{Member: "a", Federation: "f", Cluster: command.Cluster{ServerKey: "https://east"}},
		"kubectl federate join a --federation f --member-context proven":    command.Join{Member: "a", Federation: "f", Cluster: command.Cluster{Context: "proven", ServerKey: "https://east"}},
		"kubectl federate check --member-contexts CONTEXT":                  command.Check{Cluster: &command.Cluster{ServerKey: "https://west"}},
		"kubectl delete secrets a --context 'us east'":                      command.KubectlDelete{Object: secret("a"), Cluster: &command.Cluster{ServerKey: "https://east"}},
	} {
		if got := finds.Line(c); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	renamed := command.Host{Plugin: "kubectl federate-clusters"}
	if got, want := renamed.To("list them", command.Get{}), "list them: kubectl federate-clusters get"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func secret(name string) command.Object {
	return command.Object{GroupResource: schema.GroupResource{Resource: "secrets"}, Name: name}
}

// hostile are names that the owner of a member, or of an object on the host, may give.
var hostile = []string{"x; touch PWNED #", "$(touch PWNED)", "`touch PWNED`", "a'; touch PWNED '", "a\ntouch PWNED", "--force", "a\u202eb", "a\x1b[2J", "\xff", "A_B", "prod.eu_1"}

// A name that is not valid gives no command; a context, which may have any name, is one word of the shell or gives none.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for _, name := range hostile {
		member, federation := v1alpha1.MemberName(name), v1alpha1.FederationName(name)
		for _, c := range []command.Command{
			command.Unjoin{Member: member}, command.UnjoinMany{Members: []v1alpha1.MemberName{member}}, command.Rotate{Member: member}, command.RotateMany{Members: []v1alpha1.MemberName{member}}, command.Join{Member: member, Federation: "f"},
			command.Join{Member: "m", Federation: federation}, command.Move{Member: "m", Federation: federation}, command.Join{Member: "m", Federation: "f", Labels: map[string]string{name: "x y"}},
			command.Approve{Member: member}, command.Resume{Member: member}, command.Suspend{Member: member}, command.Describe{Member: member},
			command.CreateFederation{Name: federation}, command.Discover{Federation: federation}, command.Label{Federation: federation},
			command.Grant{Federation: federation, Inventory: "a"}, command.Grant{Federation: "f", Inventory: name}, command.Revoke{Federation: "f", Credentials: name},
			command.Revoke{Federation: federation, Discovery: true}, command.GrantSecret{Namespace: name, Name: "a"},
			command.KubectlGet{Object: secret(name)}, command.KubectlDelete{Object: secret(name)}, command.KubectlEdit{Object: secret(name)},
			command.KubectlLabel{Object: secret(name), Key: "a", Value: "b"}, command.KubectlLabel{Object: secret("a"), Key: name + " "},
			command.KubectlGet{Object: command.Object{GroupResource: schema.GroupResource{Resource: name}, Name: "a"}},
			command.KubectlGet{Object: command.Object{GroupResource: schema.GroupResource{Resource: "pods"}, Namespace: name}},
			command.Services{Federation: federation}, command.Services{Namespace: name, Name: "a"}, command.Services{Namespace: "a", Name: " " + name},
		} {
			if got := host.To("repair it", c); got != "repair it" {
				t.Errorf("%q gives %s", name, got)
			}
		}
	}
	for _, name := range hostile {
		lines := map[string][]string{
			host.Line(command.Unjoin{Member: "a", Cluster: command.Cluster{Context: name}}):        {"unjoin", "a", "--member-context", name},
			host.Line(command.Join{Cluster: command.Cluster{Context: "c", Kubeconfig: name}}):      {"--member-kubeconfig", name},
			host.Line(command.Join{Server: name, CertificateAuthority: &name}):                     {"--member-server", name, "--member-certificate-authority", name},
			host.Line(command.Grant{Joiners: []string{"user:" + name}}):                            {"--joiner", "user:" + name},
			host.Line(command.Suspend{Member: "a", Reason: name}):                                  {"--reason", name},
			(command.Host{Flags: []command.Flag{{"as", name}}}).Line(command.Approve{Member: "a"}): {"approve", "a", "--as", name},
		}
		for line, want := range lines {
			if line == "" && (!utf8.ValidString(name) || strings.ContainsAny(name, "\n\x1b\u202e")) {
				continue
			}
			if got := argv(t, line); !contains(got, want) {
				t.Errorf("%s\ngives %q\nwant  %q", line, got, want)
			}
		}
	}
}

func contains(all, part []string) bool {
	for i := range all {
		if i+len(part) <= len(all) && slices.Equal(all[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// argv is what bash makes of a line.
func argv(t *testing.T, line string) []string {
	t.Helper()
	syntax := exec.CommandContext(t.Context(), "bash", "-n")
	syntax.Stdin = strings.NewReader(line)
	if out, err := syntax.CombinedOutput(); err != nil {
		t.Fatalf("bash -n: %s: %v: %s", line, err, out)
	}
	shell := exec.CommandContext(t.Context(), "bash", "-c", `kubectl() { printf '%s\0' "$@"; }; `+line)
	shell.Dir = t.TempDir()
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("bash: %s: %v", line, err)
	}
	if made, _ := filepath.Glob(filepath.Join(shell.Dir, "*")); len(made) > 0 {
		t.Errorf("%s made %q", line, made)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestParseObject(t *testing.T) {
	t.Parallel()
	for _, want := range []command.Object{cluster, secret("a"), {GroupResource: schema.GroupResource{Group: "a.b", Resource: "c"}, Name: "d.e"}, {GroupResource: schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "clusterroles"}, Name: "system:node"},
		{GroupResource: cluster.GroupResource, Namespace: "team-x", Name: "us-east", Elsewhere: true},
	} {
		if got, ok := command.ParseObject(want.String()); !ok || got != want {
			t.Errorf("%s is read as %+v", want, got)
		}
	}
	for _, text := range append(hostile, "", "/", "a/", "/a", "a/b/", "a//b", "a/b/c/d", "a.b", "clusters/system:node", "elsewhere:", "elsewhere:elsewhere:a/b", "clusters.cluster.x-k8s.io/us-east --namespace team-x") {
		if got, ok := command.ParseObject(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
