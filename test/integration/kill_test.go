//go:build unix

package integration

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/krew"
)

// pluginVersion tells the plugin's requests from those of all others.
const pluginVersion = "v0.0.0-killed"

// plugin is the plugin as it is shipped, built once.
var plugin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "plugin-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "kubectl-federate")
	release := krew.Release{Source: filepath.Join("..", ".."), Version: pluginVersion}
	return binary, release.Build(context.Background(), krew.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}, binary)
})

// killing is how a process ends at one of its requests.
type killing struct {
	name   string
	signal syscall.Signal
	// done lets the request be carried out first; its answer never arrives.
	done bool
	// again sends the signal again and again at the requests that follow and change something, which are of rolling back.
	again bool
	// duplicate sends the signal once more when the process has heard the first, as timeout(1) does: it is the same one.
	duplicate bool
}

var killings = []killing{
	{name: "SIGKILL when a request arrives", signal: syscall.SIGKILL},
	{name: "SIGKILL when a request is done", signal: syscall.SIGKILL, done: true},
	{name: "SIGINT when a request arrives", signal: syscall.SIGINT},
	{name: "SIGINT when a request is done", signal: syscall.SIGINT, done: true},
	{name: "SIGTERM when a request arrives", signal: syscall.SIGTERM},
	{name: "SIGTERM when a request is done", signal: syscall.SIGTERM, done: true},
}

// twice is a person who has no patience.
var twice = killing{name: "SIGINT twice", signal: syscall.SIGINT, done: true, again: true}

// duplicates are what timeout(1) sends: one signal to the process, and another to its group.
var duplicates = killing{name: "SIGTERM and its duplicate", signal: syscall.SIGTERM, done: true, duplicate: true}

// duplicateAge is how long after the first signal a second one is its duplicate: less than the plugin gives them, so that a slow
// machine sends none instead of one that comes too late.
const duplicateAge = 200 * time.Millisecond

// processTimeout bounds every run of the plugin: none may hang, whatever happened to it.
const processTimeout = time.Minute

// kill proxy stand between a process and both its clusters, and end it at the k-th request to one of them.
type killProxy struct {
	killing
	side cluster.Side
	k    int
	only func(*http.Request) bool

	process chan *os.Process
	began   time.Time

	mu     sync.Mutex
	count  int
	hit    string
	ended  bool
	wrote  bool
	tokens []string
	// serving are the requests under way. What was handed on when the process ended is carried out all the same.
	serving sync.WaitGroup
}

// serve lets a request through, or ends the process.
func (g *killProxy) serve(side cluster.Side, w http.ResponseWriter, r *http.Request, pass http.Handler) {
	if r.UserAgent() != "kubectl-federate/"+pluginVersion {
		pass.ServeHTTP(w, r) // the manager tries the credential, and so does the test
		return
	}
	if env.Accepted(r).Before(g.began) {
		panic(http.ErrAbortHandler) // sent by the process before
	}
	g.serving.Add(1)
	defer g.serving.Done()
	writes := changes(r)
	g.mu.Lock()
	mine, more := false, g.again && g.hit != "" && writes
	if side == g.side && g.hit == "" && (g.only == nil || g.only(r)) {
		g.count++
		mine = g.count == g.k
	}
	if mine {
		g.hit = r.Method + " " + r.URL.Path
	}
	g.ended = g.ended || more
	late := g.hit != "" && g.signal == syscall.SIGKILL && !mine
	if !(late || more || mine && !g.done) {
		g.wrote = g.wrote || writes
	}
	g.mu.Unlock()
	switch {
	case late: // sent by a process that is being killed
		panic(http.ErrAbortHandler)
	case mine && g.done:
		g.pass(httptest.NewRecorder(), r, pass)
	case !mine && !more:
		g.pass(w, r, pass)
		return
	}
	process := <-g.process
	g.process <- process
	sent := time.Now()
	_ = process.Signal(g.signal)
	for gone := r.Context().Done(); more; {
		select {
		case <-gone:
			more = false
		case <-time.After(20 * time.Millisecond):
			_ = process.Signal(g.signal)
		}
	}
	<-r.Context().Done() // the process has given the request up, or is no more
	if g.duplicate && time.Since(sent) < duplicateAge {
		_ = process.Signal(g.signal)
	}
	panic(http.ErrAbortHandler)
}

// pass hands a request on, and remembers a token that comes back.
func (g *killProxy) pass(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	if !strings.HasSuffix(r.URL.Path, "/token") {
		pass.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	pass.ServeHTTP(answer, r)
	g.mu.Lock()
	g.tokens = append(g.tokens, issued(answer.Body.Bytes())...)
	g.mu.Unlock()
	replay(w, answer.Result())
}

// scaffold is a shard whose command is a process.
type scaffold struct {
	*shard
	binary, kubeconfig string
	// east is the way to the member that the process takes.
	east *rest.Config

	mu sync.Mutex
	at *killProxy
}

func newScaffold(l *shard) *scaffold {
	l.Helper()
	s := &scaffold{shard: l, kubeconfig: filepath.Join(l.TempDir(), "kubeconfig")}
	var err error
	if s.binary, err = plugin(); err != nil {
		l.Fatal(err)
	}
	front := func(side cluster.Side, c *env.Cluster, name string) env.Context {
		front, err := c.Front(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			s.mu.Lock()
			g := s.at
			s.mu.Unlock()
			g.serve(side, w, r, pass)
		})
		if err != nil {
			l.Fatal(err)
		}
		l.Cleanup(front.Close)
		return env.Context{Name: name, Config: front.Config}
	}
	east := front(cluster.Member, l.member, "east")
	s.east = east.Config
	if err := env.WriteKubeconfig(s.kubeconfig, front(cluster.Host, l.host, "host"), east); err != nil {
		l.Fatal(err)
	}
	return s
}

// run is a run of the plugin, which g ends: its exit code, -1 when a signal ended it, and what it printed.
func (s *scaffold) run(g *killProxy, line string) (code int, stdout, stderr string) {
	s.Helper()
	g.process, g.began = make(chan *os.Process, 1), time.Now()
	s.mu.Lock()
	s.at = g
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.Context(), processTimeout)
	defer cancel()
	var out, errOut bytes.Buffer
	command := exec.CommandContext(ctx, s.binary, strings.Fields(line)...)
	command.Env = []string{"HOME=" + filepath.Dir(s.kubeconfig), "KUBECONFIG=" + s.kubeconfig}
	command.Stdout, command.Stderr = &out, &errOut
	if err := command.Start(); err != nil {
		s.Fatal(err)
	}
	g.process <- command.Process
	_ = command.Wait()
	g.serving.Wait()
	if ctx.Err() != nil {
		s.Fatalf("%s: did not end in %s\n%s", line, processTimeout, errOut.String())
	}
	return command.ProcessState.ExitCode(), out.String(), errOut.String()
}

// completes runs a command line that must succeed.
func (s *scaffold) completes(what, line string) {
	s.Helper()
	if code, out, errOut := s.run(&killProxy{}, line); code != 0 {
		s.Fatalf("%s: then %q: exit code %d\n%s%s", what, line, code, out, errOut)
	}
}

// hanging is a command line whose process is ended, again and again.
type hanging struct {
	line string
	side cluster.Side
	// only gives a run's choice of the requests at which it ends; nil are all.
	only func() func(*http.Request) bool
	// every is how many requests lie between two at which it ends; 0 is 1.
	every    int
	killings []killing
	prepare  func()
	// ended looks at what a run left that changed something; nil looks at nothing.
	ended func(what string, code int)
	// works looks at what the command leaves when it has done its work, or is run again.
	works func(what string)
	// clean brings the clusters back to as they were.
	clean func(what string)
}

// hang ends the process at each request, in each way; in the quick tier at a sample of the requests.
func (s *scaffold) hang(h hanging) {
	s.Helper()
	step := max(h.every, 1)
	if testing.Short() {
		step = max(5*step, 29)
	}
	end := 0
	for i, kind := range h.killings {
		// The samples of the kinds are not the same requests.
		for k := 1 + i*5%step; end == 0 || k < end; k += step {
			if s.mine(i, k) && !s.try(h, kind, k) {
				end = k
			}
		}
	}
	if s.ready && h.prepare != nil {
		s.try(h, h.killings[0], end) // it runs to its end, and what was prepared goes
	}
}

// both hangs at the requests to both sides.
func (s *scaffold) both(h hanging) {
	s.Helper()
	for _, h.side = range []cluster.Side{cluster.Host, cluster.Member} {
		s.hang(h)
	}
}

var (
	toGoOn = regexp.MustCompile(`(?m)^to continue, run: kubectl federate (.*)$`)
	// timely are lines that come or not, earlier or later, as long as the machine takes.
	timely   = regexp.MustCompile(`(?m)^(reading the host and member .*|replacing the credential of member .*|Warning: spec.server: 127.0.0.1 is a loopback address: only this machine reaches it)\n`)
	exitName = map[int]string{-1: "a signal", 0: "exit code 0", 1: "exit code 1", 2: "exit code 2", 3: "exit code 3"}
)

// try ends the process at the k-th request, and says whether there was one.
func (s *scaffold) try(h hanging, kind killing, k int) bool {
	s.Helper()
	if !s.ready && h.prepare != nil {
		h.prepare()
	}
	s.ready = true
	g := &killProxy{killing: kind, side: h.side, k: k}
	if h.only != nil {
		g.only = h.only()
	}
	code, out, errOut := s.run(g, h.line)
	what := fmt.Sprintf("%s: %s (request %d, %s)", h.side, kind.name, k, g.hit)
	if g.hit == "" {
		if code != 0 {
			s.Fatalf("%s: %s: exit code %d\n%s%s", h.side, h.line, code, out, errOut)
		}
	} else {
		s.cases++
		s.ends[exitName[code]]++
	}
	next := toGoOn.FindStringSubmatch(errOut)
	switch {
	case g.hit == "":
	case kind.signal == syscall.SIGKILL || kind.again && g.ended:
		if code != -1 {
			s.Errorf("%s: exit code %d", what, code)
		}
	case (code == 3) != (next != nil), code < 0, code == 2:
		s.Errorf("%s: %s\n%s", what, exitName[code], errOut)
	case next != nil && next[1] != h.line:
		s.Errorf("%s: to continue, run: %q, want %q", what, next[1], h.line)
	}
	if g.hit != "" && code >= 0 {
		s.told(exitName[code], timely.ReplaceAllString(out+errOut, ""), g.tokens)
	}
	if g.wrote {
		s.ready = false
		if h.ended != nil {
			h.ended(what, code)
		}
		// What says so has rolled back what it began, and every other time the command is not run again.
		halfway := code == -1 || code == 3
		if halfway && s.cases%2 == 0 {
			s.completes(what, h.line)
			h.works(what)
		} else if code == 0 {
			h.works(what)
		}
		if halfway || code == 0 || h.prepare != nil {
			h.clean(what)
		}
	}
	if g.wrote || h.prepare == nil {
		s.unchanged(what)
	}
	if s.Failed() {
		s.FailNow()
	}
	return g.hit != ""
}

// TestKills ends the process of join, unjoin and rotate at each of its requests, to either side, before the request is
// carried out or after. What is left each time, the same command completes and unjoin removes: every object on both sides
// is then as it was. A process that is asked to end does so, and says how things stand.
func TestKills(t *testing.T) {
	joinHost(t)
	members := []*env.Cluster{joinFleet(t).Cluster("east"), joinFleet(t).Cluster("west")}
	on := func(run func(*scaffold)) func(*shard) { return func(l *shard) { run(newScaffold(l)) } }
	spec := map[string]any{"access": map[string]any{"clusterRole": "view"}}
	runScenarios(t, []scenario{
		{name: "scenario-kill-rotate", waits: true, shards: 3, run: on((*scaffold).rotate)},
		{name: "scenario-kill-join", spec: spec, shards: 1, run: on((*scaffold).join)},
		{name: "scenario-kill-unjoin", spec: spec, shards: 1, run: on((*scaffold).unjoin)},
	}, scenarioMembers(t, members, 3))
}

func (s *scaffold) joinLine() string {
	return "join " + s.name + " --federation " + s.name + " --member-context east"
}

func (s *scaffold) unjoinLine() string { return "unjoin " + s.name + " --member-context east" }

func (s *scaffold) join() {
	h := hanging{
		line: s.joinLine(), killings: killings,
		works: func(what string) {
			if err := works(s.T, credential(s.T, s.host, s.name)); err != nil {
				s.Errorf("%s: the stored credential does not work: %v", what, err)
			}
		},
		clean: func(what string) { s.shard.again(what, s.doUnjoin) },
	}
	s.both(h)
	h.side, h.killings, h.every = cluster.Member, []killing{duplicates}, 3
	h.only = func() func(*http.Request) bool { return changes }
	s.hang(h)
	// Whoever comes later waits until the one who was rolling back when it ended is given up.
	h.killings, h.every = []killing{twice}, 6
	s.hang(h)
}

func (s *scaffold) unjoin() {
	h := hanging{
		line: s.unjoinLine(), killings: killings,
		prepare: func() {
			s.shard.again("join", func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
				return s.doJoin(ctx, h, m, s.joinOptions())
			})
		},
		works: func(string) {},
		clean: func(what string) { s.completes(what, s.unjoinLine()) },
	}
	s.both(h)
}

// rotate ends a rotation. Whatever becomes of it, the host keeps a credential that works. It waits ten seconds for the
// member to refuse the old one, and asks again and again: of these requests it is ended at the first.
func (s *scaffold) rotate() {
	var earlier []*kubeconfig.Access
	h := hanging{
		line: "rotate " + s.name + " --member-context east", killings: killings,
		only: func() func(*http.Request) bool {
			revoked, asked := false, false
			return func(r *http.Request) bool {
				asks := r.URL.Path == "/api/v1/namespaces/"+v1alpha1.IdentityNamespace
				counts := !(revoked && asked && asks)
				asked = revoked && (asked || asks)
				revoked = revoked || r.Method == http.MethodDelete
				return counts
			}
		},
		prepare: func() {
			// Through the front, which then stands at the endpoint where credentials are tried, too.
			m := connectMember(s.T, rest.CopyConfig(s.east))
			if err := s.doJoin(s.Context(), s.h, m, s.joinOptions()); err != nil {
				s.Fatal(err)
			}
			earlier = []*kubeconfig.Access{credential(s.T, s.host, s.name)}
		},
		ended: func(what string, code int) {
			now := credential(s.T, s.host, s.name)
			if err := works(s.T, now); err != nil {
				s.Fatalf("%s: the stored credential does not work: %v", what, err)
			}
			switch code {
			case -1:
				s.expire()
				fallthrough
			case 3:
				earlier = append(earlier, now)
			case 1:
				if now.Token != earlier[0].Token {
					s.Errorf("%s: another credential is stored", what)
				}
				if got := bindings(s.T, s.member); len(got) != 1 {
					s.Errorf("%s: Secrets %v are left, want one", what, got)
				}
			}
		},
		works: func(what string) { rotated(s.T, what, s.host, s.member, s.name, earlier...) },
		clean: func(what string) { s.shard.again(what, s.doUnjoin) },
	}
	if testing.Short() {
		h.killings = []killing{{name: "SIGTERM when a request is done", signal: syscall.SIGTERM, done: true}}
		h.only = func() func(*http.Request) bool { return changes }
		h.side = cluster.Member
		s.hang(h)
		return
	}
	s.both(h)
}

// expire makes a rotation that died a minute old: until then another one waits for it.
func (s *scaffold) expire() {
	s.Helper()
	for _, ref := range member.BindingRefs() {
		o, err := s.m.Find(s.Context(), ref)
		if err != nil {
			s.Fatal(err)
		}
		if o == nil || o.GetAnnotations()[v1alpha1.AnnotationAttempt] == "" {
			continue
		}
		id, _, _ := strings.Cut(o.GetAnnotations()[v1alpha1.AnnotationAttempt], " ")
		stamp := id + " " + time.Now().Add(-2*time.Minute).UTC().Format(time.RFC3339)
		if _, err := s.m.MergePatch(s.Context(), ref, map[string]any{"metadata": map[string]any{
			"annotations": map[string]any{v1alpha1.AnnotationAttempt: stamp}}}, cluster.Write{}); err != nil {
			s.Fatal(err)
		}
	}
}
