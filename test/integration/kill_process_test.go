//go:build unix

package integration

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/krew"
)

// pluginVersion distinguishes the plugin's requests from all others.
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
const processTimeout = 2 * time.Minute

// killProxy stands between a process and both its clusters, and ends it at the k-th request to one of them.
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

// killShard is a shard whose command is a process.
type killShard struct {
	*shard
	binary, kubeconfig string
	// east is the way to the member that the process takes.
	east *rest.Config

	mu sync.Mutex
	at *killProxy
}

func newKillShard(l *shard) *killShard {
	l.Helper()
	s := &killShard{shard: l, kubeconfig: filepath.Join(l.TempDir(), "kubeconfig")}
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
func (s *killShard) run(g *killProxy, line string) (code int, stdout, stderr string) {
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
func (s *killShard) completes(what, line string) {
	s.Helper()
	if code, out, errOut := s.run(&killProxy{}, line); code != 0 {
		s.Fatalf("%s: then %q: exit code %d\n%s%s", what, line, code, out, errOut)
	}
}
