package script

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/test/terminal"
)

// A recording is a command line that is typed into a terminal of 80 columns and 24 lines.
type recording struct {
	// name is that of its file in testdata/recordings; without one it prepares what follows.
	name, line string
	code       int
	// long is why lines are longer than the terminal; empty where none may be.
	long string
}

const (
	// sentence is the reason of messages, which the terminal may break: broken by the command they could not be found by their words.
	sentence = "a message is one line"
	// asked is the reason of what was asked for by a flag.
	asked = "everything was asked for"
	// object is the reason of what is done to objects: a line that kubectl prints, too.
	object = "a name is one word"
)

// help is the name of what is not compared: it changes with each flag.
const help = "help"

// recordings are made one after another.
var recordings = []recording{
	{"version", "kubectl federate version", 0, ""},
	{"init-dry-run", "kubectl federate init --dry-run=client | tail -3", 0, object},
	{"check-new", "kubectl federate check", 0, ""},
	{"create", "kubectl federate create federation prod --require-label example.com/team --joiner group:sre", 0, object},
	{"get-empty", "kubectl federate get", 0, sentence},
	{"label", "kubectl federate label --member-context us-west --federation prod", 0, sentence},
	{"discover", "kubectl federate discover --federation prod", 0, ""},
	{"lint", "kubectl federate lint -f member.yaml", 2, sentence},
	{"join-plan", "kubectl federate join us-east --federation prod --member-context us-east --labels example.com/team=web --dry-run=client", 0, asked},
	{"join", "kubectl federate join us-east --federation prod --member-context us-east --labels example.com/team=web", 0, sentence},
	{"join-refused", "kubectl federate join us-west --federation prod --member-context us-west", 2, sentence},
	{"join-many", "kubectl federate join --member-contexts us-west,eu-west --federation prod --labels example.com/team=db --parallel 1", 0, sentence},
	{"", "kubectl wait mc --all --for=condition=Ready --timeout=60s --context host", 0, sentence},
	{"get", "kubectl federate get", 0, ""},
	{"get-wide", "kubectl federate get -o wide", 0, asked},
	{"get-federations", "kubectl federate get federations", 0, ""},
	{"describe", "kubectl federate describe us-east --show-events=false", 0, sentence},
	{"describe-federation", "kubectl federate describe federation prod", 0, ""},
	{"tree", "kubectl federate tree", 0, ""},
	{"check", "kubectl federate check", 0, ""},
	{"find", "kubectl federate find nodes", 0, ""},
	{"each", "kubectl federate each us-east -- get nodes", 0, ""},
	{"kubeconfig", "kubectl federate kubeconfig --federation prod | head -2", 0, ""},
	{"grant", "kubectl federate grant prod --approver group:leads", 0, object},
	{"suspend", "kubectl federate suspend us-west --reason maintenance", 0, sentence},
	{"get-suspended", "kubectl federate get", 0, ""},
	{"resume", "kubectl federate resume us-west", 0, ""},
	{"approve", "kubectl federate approve us-west", 0, sentence},
	{"revoke", "kubectl federate revoke prod --approver group:leads", 0, object},
	{"services", "kubectl federate services -A --federation prod", 0, sentence},
	{"", "kubectl federate create federation test", 0, sentence},
	{"move-plan", "kubectl federate move us-west --to test --dry-run=client", 0, asked},
	{"move", "kubectl federate move us-west --to test", 0, sentence},
	{"", "kubectl federate move us-west --to prod", 0, sentence},
	{"", "kubectl --context host delete federation test", 0, sentence},
	{"rotate", "kubectl federate rotate us-east --member-context us-east", 0, sentence},
	{"rotate-many", "kubectl federate rotate --federation prod --parallel 1", 0, ""},
	{"", "kubectl --context host delete secret us-west --namespace kubefederate-credentials", 0, ""},
	{"", "kubectl wait mc/us-west --for=jsonpath={.status.phase}=NotReady --timeout=60s --context host", 0, ""},
	{"get-broken", "kubectl federate get", 0, ""},
	{"tree-broken", "kubectl federate tree", 0, ""},
	{"check-broken", "kubectl federate check", 2, sentence},
	{"", "kubectl federate join us-west --federation prod --member-context us-west", 0, sentence},
	{"unjoin", "kubectl federate unjoin us-east --member-context us-east", 0, sentence},
	{"unjoin-many", "kubectl federate unjoin us-west eu-west --drop-label --parallel 1", 0, sentence},
	{"deinit-dry-run", "kubectl federate deinit --dry-run=client | tail -3", 0, object},
	{"completion", "kubectl federate completion | head -3", 0, asked},
	{"options", "kubectl federate options | head -8", 0, ""},
	{"mistyped", "kubectl federate gte", 1, ""},
	{"", "kubectl --context host delete federation prod", 0, sentence},
}

// TestRecordings types every command in its main forms, and asks each for help, in a terminal of 80 columns, and compares what is shown then,
// except help, with testdata/recordings: no line wraps unless the recording says why, and nothing stays of a line of progress. With
// UPDATE_RECORDINGS set it writes what differs.
func TestRecordings(t *testing.T) {
	before, home, kubeconfig := theStage.prepare(t)
	const manifest = `apiVersion: kubefederate.io/v1alpha1
kind: MemberCluster
metadata: {name: us-east, labels: {kubefederate.io/federation: prod}}
spec: {clusterID: a, server: "http://us-east.example.com"}
`
	if err := os.WriteFile(filepath.Join(home, "member.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	all := slices.Clone(recordings)
	for _, command := range append(slices.Sorted(maps.Keys(cli.Examples())), "kubectl federate") {
		all = append(all, recording{help, command + " --help", 0, ""})
	}
	live := 0
	for _, r := range all {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", r.line)
		cmd.Dir = home
		cmd.Env = []string{
			"HOME=" + home, "KUBECONFIG=" + kubeconfig, "TERM=xterm-256color",
			"PATH=" + os.Getenv("PATH") + string(os.PathListSeparator) + filepath.Dir(theStage.fleet.Kubectl()),
		}
		code, written, err := terminal.Run(cmd)
		if err != nil {
			t.Fatal(err)
		}
		live += strings.Count(written, "\r\x1b[K")
		shown := terminal.NewScreen(terminal.Columns)
		shown.Write(written)
		lines, long := shown.Lines()
		if code != r.code {
			t.Errorf("%s: exit code %d, want %d:\n%s", r.line, code, r.code, strings.Join(lines, "\n"))
		}
		if r.name == "" {
			continue
		}
		for _, fault := range shown.Faults {
			t.Errorf("%s: %s", r.line, fault)
		}
		if r.name == help { // which breaks no command
			long = slices.DeleteFunc(long, func(line string) bool {
				return strings.HasPrefix(line, "  kubectl ") || strings.HasPrefix(line, "    --")
			})
		}
		if r.long == "" && len(long) > 0 {
			t.Errorf("%s: longer than %d columns:\n%s", r.line, terminal.Columns, strings.Join(long, "\n"))
		}
		if r.name != help {
			compareRecording(t, r, strings.Join(lines, "\n"))
		}
	}
	if live < 20 {
		t.Errorf("%d live lines were written: do commands see that they are in a terminal?", live)
	}
	for name := range before {
		if err := theStage.unchanged(name, before); err != nil {
			t.Error(err)
		}
	}
}

// objects are how many check has compared, which changes with what is installed.
var objects = regexp.MustCompile(`\b\d+ objects,`)

// compareRecording compares what is shown with the recording's file, except times, ports, IDs, and the widths that follow from them.
func compareRecording(t *testing.T, r recording, shown string) {
	t.Helper()
	file := filepath.Join("testdata", "recordings", r.name+".txt")
	shown = "$ " + r.line + "\n" + shown + "\n"
	before, err := os.ReadFile(file)
	want, got := steady(objects.ReplaceAllString(string(before), "N objects,")), steady(objects.ReplaceAllString(shown, "N objects,"))
	if err == nil && want == got {
		return
	}
	if os.Getenv("UPDATE_RECORDINGS") == "" {
		t.Errorf("%s, and UPDATE_RECORDINGS=1 writes it (-%s +shown):\n%s", r.line, file, cmp.Diff(want, got))
		return
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(shown), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRecordingsAreMade finds what is in testdata/recordings and is not made.
func TestRecordingsAreMade(t *testing.T) {
	t.Parallel()
	made := map[string]bool{}
	for _, r := range recordings {
		made[r.name] = true
	}
	files, err := filepath.Glob(filepath.Join("testdata", "recordings", "*.txt"))
	if err != nil || len(files) < len(recordings)/2 {
		t.Fatalf("%d recordings: %v", len(files), err)
	}
	for _, file := range files {
		if !made[strings.TrimSuffix(filepath.Base(file), ".txt")] {
			t.Errorf("%s is the recording of no command", file)
		}
	}
}
