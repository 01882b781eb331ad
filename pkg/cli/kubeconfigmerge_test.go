package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"

	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// addition is a kubeconfig with one context, of the member us-east, as the command makes it.
func addition(server string, flags ...string) *clientcmdv1.Config {
	const member = "us-east"
	name := "prod/" + member
	return &clientcmdv1.Config{
		APIVersion: "v1", Kind: "Config",
		Clusters: []clientcmdv1.NamedCluster{{Name: name, Cluster: clientcmdv1.Cluster{Server: server}}},
		AuthInfos: []clientcmdv1.NamedAuthInfo{{Name: name, AuthInfo: clientcmdv1.AuthInfo{Exec: &clientcmdv1.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: "kubectl-federate", InteractiveMode: clientcmdv1.NeverExecInteractiveMode,
			Args: append([]string{"credential", member}, flags...),
		}}}},
		Contexts: []clientcmdv1.NamedContext{{Name: name, Context: clientcmdv1.Context{Cluster: name, AuthInfo: name}}},
	}
}

const usersOwn = `# mine
apiVersion: v1
kind: Config
clusters:
- name: a # the old one
  cluster: {server: "https://a", x-unknown: 010}
contexts:
- context:
    cluster: a
    user: a
  name: a
current-context: a
x-tool: [1, yes, "no"]
users:
- name: a
  user:
    token: secret
`

// TestMergeKeeps adds contexts to kubeconfigs of others, in which everything stays as it is.
func TestMergeKeeps(t *testing.T) {
	t.Parallel()
	added := `- name: prod/us-east
  cluster:
    server: https://us-east
`
	for name, tt := range map[string]struct{ old, want string }{
		"comments and unknown fields": {usersOwn, strings.NewReplacer(
			"contexts:\n", strings.Replace(added, "- name: prod/us-east\n  cluster:\n    server: https://us-east\n", "- cluster:\n    server: https://us-east\n  name: prod/us-east\n", 1)+"contexts:\n",
			"current-context", "- context:\n    cluster: prod/us-east\n    user: prod/us-east\n  name: prod/us-east\ncurrent-context",
		).Replace(usersOwn) + `- name: prod/us-east
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args:
      - credential
      - us-east
      command: kubectl-federate
      env: null
      interactiveMode: Never
      provideClusterInfo: false
`},
		"an empty file": {"", `apiVersion: v1
kind: Config
clusters:
- cluster:
    server: https://us-east
  name: prod/us-east
users:
- name: prod/us-east
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args:
      - credential
      - us-east
      command: kubectl-federate
      env: null
      interactiveMode: Never
      provideClusterInfo: false
contexts:
- context:
    cluster: prod/us-east
    user: prod/us-east
  name: prod/us-east
`},
	} {
		merged, changes, err := mergeKubeconfig([]byte(tt.old), addition("https://us-east"))
		if err != nil || len(changes) != 1 || changes[0] != (contextChange{"prod/us-east", "created"}) {
			t.Errorf("%s: %v, %v", name, changes, err)
		}
		if diff := cmp.Diff(tt.want, string(merged)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if again, changes, err := mergeKubeconfig(merged, addition("https://us-east")); again != nil || err != nil || changes[0].done != "unchanged" {
			t.Errorf("%s, once more: %v, %v", name, changes, err)
		}
		if _, changes, err := mergeKubeconfig(merged, addition("https://moved", "--member-context=x")); err != nil || changes[0].done != "modified" {
			t.Errorf("%s, at another endpoint: %v, %v", name, changes, err)
		}
	}
	for name, old := range map[string]string{
		"JSON":          `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"a","cluster":{"server":"https://a"}}],"users":null,"contexts":[],"current-context":"","x":[{"y":1.0}]}`,
		"null lists":    "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\nusers: null\npreferences: {}\ncurrent-context: \"\"\n",
		"line breaks":   strings.ReplaceAll(usersOwn, "\n", "\r\n"),
		"a long string": strings.Replace(usersOwn, "secret", "|\n      a\n      b\n", 1),
		"an anchor":     "apiVersion: v1\nclusters:\n- &c {name: a, cluster: {server: https://a}}\nx: *c\n",
	} {
		merged, _, err := mergeKubeconfig([]byte(old), addition("https://us-east"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := onlyAdds([]byte(old), merged, addition("https://us-east")); err != nil {
			t.Errorf("%s: %v\n%s", name, err, merged)
		}
	}
}

// TestMergeRefuses holds what is not written.
func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	const foreign = `context "prod/us-east", or a cluster or user of that name, is there already and was not made for this member of this host; ` +
		`if it is not needed, remove it: kubectl config delete-context prod/us-east`
	made, _, err := mergeKubeconfig(nil, addition("https://us-east", "--member-context=x", "--context=host"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ old, want string }{
		"a context of others":      {strings.ReplaceAll(usersOwn, "name: a\n", "name: prod/us-east\n"), foreign},
		"a user of others":         {"users: [{name: prod/us-east, user: {token: x}}]", foreign},
		"a cluster of others":      {"clusters: [{name: prod/us-east, cluster: {server: https://x}}]", foreign},
		"a member of another host": {strings.Replace(string(made), "--context=host", "--context=other", 1), foreign},
		"another member":           {strings.Replace(string(made), "- us-east\n", "- us-west\n", 1), foreign},
		"another command":          {strings.Replace(string(made), "command: kubectl-federate", "command: aws", 1), foreign},
		"a context that was moved": {strings.Replace(string(made), "cluster: prod/us-east\n    user", "cluster: a\n    user", 1), foreign},
		"two documents":            {"apiVersion: v1\n---\nkind: Config\n", "it has several documents"},
		"a list":                   {"- a\n", "it is not a kubeconfig: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type v1.Config"},
		"an alias":                 {"x: &a []\nclusters: *a\n", "its clusters are an alias of YAML"},
	} {
		merged, _, err := mergeKubeconfig([]byte(tt.old), addition("https://us-east", "--context=host"))
		if merged != nil || err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant %s", name, err, tt.want)
		}
	}
	if err := onlyAdds([]byte(usersOwn), []byte(strings.Replace(usersOwn, "secret", "other", 1)), addition("")); err == nil {
		t.Error("a change of another user passes")
	}
}

// TestRewrite holds that a file is replaced as a whole, with its mode and through links, and not while another command writes it.
func TestRewrite(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path, link := filepath.Join(folder, "config"), filepath.Join(folder, "link")
	put := func(content string) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return []byte(content), nil }
	}
	if err := rewrite(path, 0, put("new")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a new file: %v, %v", info.Mode(), err)
	}
	if err := errors.Join(os.Chmod(path, 0o640), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(link, 0, put("linked")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode became %v, %v", info.Mode(), err)
	}
	refused := errors.New("refused")
	if err := rewrite(path, 0, func([]byte) ([]byte, error) { return []byte("x"), refused }); !errors.Is(err, refused) {
		t.Errorf("an error of the change: %v", err)
	}
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := `another command is writing it; if none is, remove "` + path + `.lock"`
	if err := rewrite(path, 100*time.Millisecond, put("x")); err == nil || err.Error() != want {
		t.Errorf("while it is locked: %v", err)
	}
	if err := rewrite(link, 100*time.Millisecond, put("x")); err == nil || err.Error() != want {
		t.Errorf("while what a link leads to is locked: %v", err)
	}
	if err := os.Rename(path+".lock", link+".lock"); err != nil {
		t.Fatal(err)
	}
	want = `another command is writing it; if none is, remove "` + link + `.lock"`
	if err := rewrite(link, 100*time.Millisecond, put("x")); err == nil || err.Error() != want {
		t.Errorf("while the link is locked: %v", err)
	}
	if err := os.Remove(link + ".lock"); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(t.TempDir(), "config")
	if err := os.Symlink("nothing", dangling); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(dangling, 0, put("x")); err == nil || !strings.HasPrefix(err.Error(), "it is a link that leads to no file: ") {
		t.Errorf("a link that leads to no file: %v", err)
	}
	entries, err := os.ReadDir(folder)
	if content, readErr := os.ReadFile(path); err != nil || readErr != nil || string(content) != "linked" || len(entries) != 2 {
		t.Errorf("left %q and %v", content, entries)
	}
	if os.Getuid() != 0 {
		if err := errors.Join(os.Chmod(path, 0o400), rewrite(path, 0, put("x"))); err == nil {
			t.Error("a file that is read-only was replaced")
		}
	}
	if err := rewrite(folder, 0, put("x")); err == nil {
		t.Error("a folder was replaced")
	}
}

// The command that removes a context of others is one word of a shell, or none.
func TestForeignContext(t *testing.T) {
	t.Parallel()
	err := &foreignContext{name: "prod/us-east", file: "/my files/k", remedy: command.Host{}}
	if got := err.Error(); !strings.HasSuffix(got, ": kubectl config delete-context prod/us-east --kubeconfig '/my files/k'") {
		t.Error(got)
	}
}

// TestSameMember distinguishes a context of one host and one of another, whose context, federation and member have the same names.
func TestSameMember(t *testing.T) {
	t.Parallel()
	made := func(file string, args ...string) *clientcmdv1.ExecConfig {
		return &clientcmdv1.ExecConfig{Command: "kubectl-federate", Args: append([]string{"credential", "us-east"}, args...),
			Env: []clientcmdv1.ExecEnvVar{{Name: "KUBECONFIG", Value: file}}}
	}
	for name, tt := range map[string]struct {
		other *clientcmdv1.ExecConfig
		want  bool
	}{
		"the same":              {made("/a", "--context=host"), true},
		"as another user":       {made("/a", "--member-context=x", "--context=host"), true},
		"another context":       {made("/a", "--context=other"), false},
		"a host in other files": {made("/b", "--context=host"), false},
		"another command":       {&clientcmdv1.ExecConfig{Command: "aws"}, false},
		"none":                  {nil, false},
	} {
		if got := sameMember(made("/a", "--context=host"), tt.other); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
