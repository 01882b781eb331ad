//go:build unix

package integration

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// recorder stands in front of clusters and notes what would change them.
type recorder struct {
	mu sync.Mutex
	// wrote are requests that change something, judged those that only let the server judge a change.
	wrote, judged []string
}

func (r *recorder) take() (wrote, judged []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wrote, judged = r.wrote, r.judged
	r.wrote, r.judged = nil, nil
	return wrote, judged
}

// front stands in front of a cluster, where everybody is its administrator.
func (r *recorder) front(t *testing.T, c *env.Cluster) env.Context {
	t.Helper()
	front, err := c.Front(func(w http.ResponseWriter, q *http.Request, pass http.Handler) {
		line := c.Name + ": " + q.Method + " " + q.URL.String()
		// A token that proves which cluster answers opens nothing, and is stored nowhere: the front is another endpoint than the
		// stored one.
		proof := q.URL.Path == "/api/v1/namespaces/kube-system/serviceaccounts/default/token"
		read := q.Method == http.MethodGet || strings.Contains(q.URL.Path, "/selfsubject") || proof
		wrote := changes(q) && !proof
		r.mu.Lock()
		switch {
		case wrote:
			r.wrote = append(r.wrote, line)
		case !read:
			r.judged = append(r.judged, line)
		}
		r.mu.Unlock()
		pass.ServeHTTP(w, q)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Close)
	return front.Context
}

// dryRuns are command lines of every command that writes, except resume, which needs a member that is suspended, revoke, which needs what
// grant makes, and each, which needs a member that is accepted.
var dryRuns = []string{
	"init --webhook-url https://127.0.0.1:9443", "init --only keys", "deinit --abandon-members", "create federation wet --joiner user:ann",
	"grant dry --joiner user:ann", "grant dry --inventory default --inventory-credentials wet --consumer a/b",
	"label --member-context west --federation dry", "label --member-context east --remove", "label dry example.com/team=web",
	"join dry-east --federation dry --member-context east", "join dry --federation dry --member-context west --labels example.com/team=web",
	"join --all-contexts --federation dry", "discover --federation dry --join",
	"rotate dry --member-context west",
	"unjoin dry --member-context west --drop-label", "unjoin dry --force", "unjoin --all --federation dry",
	"approve dry", "suspend dry", "move dry --to dry-to --member-context west",
}

// TestDryRuns runs every command that writes as a dry run and looks at every request: of a client's dry run none but the
// request for a token that proves the cluster can change anything, nor is one sent for a server to judge; of a server's each carries dryRun=All.
func TestDryRuns(t *testing.T) {
	t.Setenv("KUBECTL", joinFleet(t).Kubectl())
	federation(t, joinHost(t), "dry-to", nil)
	p := newPair(t, "dry", map[string]any{"acceptance": "Manual", "access": map[string]any{"clusterRole": "view"}})
	east := joinFleet(t).Cluster("east")
	p.before[east] = snapshot(t, east)
	direct, recorded := filepath.Join(t.TempDir(), "direct"), filepath.Join(t.TempDir(), "recorded")
	r := &recorder{}
	for path, contexts := range map[string][]env.Context{
		direct:   {p.host.Context(), east.Context(), p.member.Context()},
		recorded: {r.front(t, p.host), r.front(t, east), r.front(t, p.member)},
	} {
		if err := env.WriteKubeconfig(path, contexts...); err != nil {
			t.Fatal(err)
		}
	}
	run := func(kubeconfig, line string) string {
		t.Helper()
		var out bytes.Buffer
		args := append([]string{"kubectl-federate", "--kubeconfig", kubeconfig}, strings.Fields(line)...)
		if code := cli.Run(t.Context(), args, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &out}); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", line, code, out.String())
		}
		return out.String()
	}
	run(direct, "join dry --federation dry --member-context west")
	run(direct, "label --member-context east --federation dry")

	try := func(line string) {
		t.Helper()
		for _, mode := range []string{"client", "server"} {
			run(recorded, line+" --dry-run="+mode)
			wrote, judged := r.take()
			if len(wrote) > 0 {
				t.Errorf("%s --dry-run=%s changes something:\n%s", line, mode, strings.Join(wrote, "\n"))
			}
			if mode == "client" && len(judged) > 0 {
				t.Errorf("%s --dry-run=client lets a server judge:\n%s", line, strings.Join(judged, "\n"))
			}
			if mode == "server" && len(judged) == 0 {
				t.Errorf("%s --dry-run=server lets no server judge anything", line)
			}
		}
	}
	for _, line := range dryRuns {
		try(line)
	}
	run(direct, "suspend dry")
	try("resume dry")

	run(direct, "approve dry")
	out, err := exec.CommandContext(t.Context(), joinFleet(t).Kubectl(), "--kubeconfig", direct, "wait", "membercluster", "dry", "--for=condition=Accepted", "--timeout=60s").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	try("each dry -- create namespace wet")

	run(direct, "grant dry --inventory default")
	try("revoke dry --inventory default")
	run(direct, "revoke dry --inventory default")
	run(direct, "grant dry --joiner user:ann")
	try("revoke dry --joiner user:ann")
	run(direct, "revoke dry --joiner user:ann")

	// The recorder sees what is no dry run.
	run(recorded, "resume dry")
	if wrote, _ := r.take(); len(wrote) != 1 {
		t.Errorf("a command that writes was seen to send %q, want one request", wrote)
	}
	run(direct, "unjoin dry --member-context west")
	run(direct, "label --member-context east --remove")
	p.orphan("lost")
	try("join dry --federation dry --member-context west --take-over")
	run(direct, "join lost --federation dry --member-context west --take-over")
	run(direct, "unjoin lost --member-context west")
	p.unchanged(p.host, p.member, east)
}

// faultScenarios say for every command that writes which scenarios of TestFaults and TestKills fail its requests, or why none
// does.
var faultScenarios = map[string]struct {
	scenarios []string
	reason    string
}{
	"join": {scenarios: []string{
		"scenario-join", "scenario-join-bare", "scenario-join-trial", "scenario-overtaken", "scenario-take-over", "scenario-kill-join",
	}},
	"move":   {scenarios: []string{"scenario-move"}},
	"unjoin": {scenarios: []string{"scenario-unjoin", "scenario-unjoin-bare", "scenario-kill-unjoin"}},
	"rotate": {scenarios: []string{"scenario-rotate-host", "scenario-rotate-member", "scenario-rotate-trial", "scenario-kill-rotate"}},

	"approve":           {reason: "one request for each member"},
	"create federation": {reason: "one request for each object, and run again it completes"},
	"deinit":            {reason: "run again it deletes what is left"},
	"discover":          {reason: "it joins as join does"},
	"each":              {reason: "its requests are those of kubectl"},
	"grant":             {reason: "one request for each object, and run again it completes"},
	"init":              {reason: "run again it applies what is missing; TestKeyChangeIsInterrupted ends its change of keys at each step"},
	"label":             {reason: "one request for each object"},
	"resume":            {reason: "one request for each member"},
	"revoke":            {reason: "run again it deletes what is left"},
	"suspend":           {reason: "one request for each member"},
}

// TestCommands names each place that a new command must reach beside its file and root.go: a script and, for one that writes,
// a line of dryRuns and an entry of faultScenarios here. TestReadmeNamesEachCommand of test/docs finds it in README.md, and
// TestExamples of test/script each example of its help in a script.
func TestCommands(t *testing.T) {
	lines := append(slices.Clone(dryRuns), "resume dry", "revoke dry --inventory default", "each dry -- create namespace wet")
	is := func(command string) func(string) bool {
		return func(line string) bool { return strings.HasPrefix(line+" ", command+" ") }
	}
	files, err := filepath.Glob(filepath.Join("..", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var scripts strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(text)
	}
	var scenarioNames []string
	for _, s := range slices.Concat(scenarios, killScenarios) {
		scenarioNames = append(scenarioNames, s.name)
	}
	var commands, used []string
	for path := range cli.Examples() {
		command := strings.TrimPrefix(path, "kubectl federate ")
		commands = append(commands, command)
		var help bytes.Buffer
		args := append([]string{"kubectl-federate"}, append(strings.Fields(command), "--help")...)
		if code := cli.Run(t.Context(), args, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &help, ErrOut: &help}); code != 0 {
			t.Fatalf("%s --help: exit code %d", command, code)
		}
		if !strings.Contains(scripts.String(), "kubectl federate "+command) {
			t.Errorf("%q: no script of test/script runs it", command)
		}
		dry := strings.Contains(help.String(), "--dry-run") // TestWritersHaveDryRun of pkg/cli
		entry, found := faultScenarios[command]
		if dry != found || found && (len(entry.scenarios) > 0) == (entry.reason != "") {
			t.Errorf("%q: has --dry-run: %t; faultScenarios has %+v: a command that writes has scenarios, or a reason for none", command, dry, entry)
		}
		if dry && !slices.ContainsFunc(lines, is(command)) {
			t.Errorf("%q: no line of dryRuns runs it", command)
		}
		used = append(used, entry.scenarios...)
	}
	slices.Sort(used)
	slices.Sort(scenarioNames)
	if !slices.Equal(used, scenarioNames) {
		t.Errorf("faultScenarios has %q, and TestFaults and TestKills %q", used, scenarioNames)
	}
	for _, line := range slices.Concat(lines, slices.Collect(maps.Keys(faultScenarios))) {
		if !slices.ContainsFunc(commands, func(command string) bool { return is(command)(line) }) {
			t.Errorf("%q is of no command", line)
		}
	}
}
