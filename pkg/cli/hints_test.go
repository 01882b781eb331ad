package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// TestSynonyms holds that each synonym names commands that exist, and is none itself.
func TestSynonyms(t *testing.T) {
	t.Parallel()
	root := testRoot()
	for word, names := range synonyms {
		if cmd, _, err := root.Find([]string{word}); err == nil && cmd.HasParent() {
			t.Errorf("%q is a command", word)
		}
		for _, name := range names {
			if cmd, _, err := root.Find([]string{name}); err != nil || cmd.Name() != name {
				t.Errorf("%q stands for %q, which is no command", word, name)
			}
		}
	}
}

// TestCompletion holds what is offered behind flags: the contexts of the kubeconfig that the command line names, and each word of a list.
func TestCompletion(t *testing.T) {
	t.Parallel()
	kubeconfig := func(contexts ...string) string {
		config := clientcmdapi.NewConfig()
		for _, name := range contexts {
			config.Clusters[name], config.Contexts[name] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}, &clientcmdapi.Context{Cluster: name}
		}
		file := filepath.Join(t.TempDir(), "config")
		if err := clientcmd.WriteToFile(*config, file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	hosts, members := kubeconfig("prod", "test"), kubeconfig("us-east", "us-west")
	for _, tt := range []struct {
		line []string
		want string
	}{
		{[]string{"join", "a", "--kubeconfig", hosts, "--member-context", ""}, "prod test"},
		{[]string{"get", "--kubeconfig", hosts, "--context", ""}, "prod test"},
		{[]string{"join", "a", "--kubeconfig", hosts, "--member-kubeconfig", members, "--member-context", ""}, "us-east us-west"},
		{[]string{"join", "a", "--kubeconfig", hosts, "--member-kubeconfig", members, "--context", ""}, "prod test"},
		{[]string{"join", "--member-kubeconfig", members, "--member-contexts", "us-east,"}, "us-east,us-west"},
		{[]string{"check", "--member-kubeconfig", members, "--member-contexts", "us-w"}, "us-west"},
		{[]string{"discover", "--source", "rancher,cluster-"}, "rancher,cluster-api rancher,cluster-profile"},
		{[]string{"completion", ""}, "bash fish powershell zsh"},
	} {
		var out bytes.Buffer
		Run(t.Context(), slices.Concat([]string{"kubectl-federate", "__complete"}, tt.line), genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &bytes.Buffer{}})
		typed := tt.line[len(tt.line)-1]
		words := slices.DeleteFunc(strings.Fields(out.String()), func(word string) bool { return word == ":4" || !strings.HasPrefix(word, typed) }) // as a shell does
		if got := strings.Join(words, " "); got != tt.want {
			t.Errorf("%q offers %q, want %q", tt.line, got, tt.want)
		}
	}
}

// TestCompletionOfAShell holds that the script is the same for each shell, and what is said of it.
func TestCompletionOfAShell(t *testing.T) {
	t.Parallel()
	_, plain, said := mistype(t, "completion")
	code, out, errOut := mistype(t, "completion bash")
	if code != 0 || said != "" || out != plain || errOut != "save this as an executable kubectl_complete-federate on PATH, and do not source it; "+
		"it needs kubectl's own completion: kubectl completion bash --help\n" {
		t.Errorf("exit code %d\n%s%s%s", code, out, errOut, said)
	}
}

// TestNearestContext holds that a context that is not there is answered with the nearest.
func TestNearestContext(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("{contexts: [{name: us-east, context: {}}, {name: eu-west, context: {}}], current-context: us-east}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for context, want := range map[string]string{
		"us-eats": `error: the kubeconfig has no context "us-eats" for the host (it has eu-west, us-east); did you mean "us-east"?` + "\n",
		"nowhere": `error: the kubeconfig has no context "nowhere" for the host (it has eu-west, us-east); choose one with --context` + "\n",
	} {
		if code, _, got := mistype(t, "get --kubeconfig "+file+" --context "+context); code != 1 || got != want {
			t.Errorf("exit code %d: %s\nwant: %s", code, got, want)
		}
	}
}
