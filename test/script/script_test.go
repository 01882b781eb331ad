//go:build unix

// Package script runs the command lines of test/script/*.txtar as a person types them: through a real
// kubectl from PATH, against real API servers. CONTRIBUTING.md lists the verbs that scripts have beside
// testscript's own.
package script

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/pkg/version"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// stage is what the scripts run on: a host and members that go from script to script. Each script leaves them as they
// were; after one that fails the next gets new ones, so that a failure is never the consequence of another.
type stage struct {
	clusters []env.Spec // the first one is the host
	fleet    *env.Fleet
	manager  *envhost.Manager // of "host"; nil until a script needs it
	// cleanup is what went wrong while a script's own changes were undone.
	cleanup error
}

var theStage = &stage{clusters: env.Example()}

// The test binary is also the plugin: testscript puts it on PATH under its name. It is one of a release, which has an image of the
// manager, unless a script sets UNRELEASED.
func TestMain(m *testing.M) {
	testscript.Main(withStage{m}, map[string]func(){
		"kubectl-federate": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			context.AfterFunc(ctx, stop)
			signal.Ignore(syscall.SIGPIPE)
			if os.Getenv("UNRELEASED") == "" {
				version.Image = "registry.example.com/kubefederate/manager@sha256:" + strings.Repeat("0", 64)
			}
			streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: withoutProgress{os.Stderr}}
			if term.IsTerminal(int(os.Stderr.Fd())) { // of a recording, which has all that a person sees
				streams.ErrOut = os.Stderr
			}
			os.Exit(cli.Run(ctx, os.Args, streams))
		},
	})
}

// withoutProgress leaves out the lines that report what takes long: whether they come depends on the machine.
type withoutProgress struct{ io.Writer }

var progress = regexp.MustCompile(`^(reading the host and member "[^"]*"|probing \d+ \w+|checking the host and its members|checking whether the cluster can become a host|gathering a support bundle|(un)?joining \d+ clusters?|rotating \d+ clusters?|changing \d+ members?|looking for contexts of \d+ members?|searching \d+ members?|waiting for \d+ members?|running kubectl on \d+ members?|waiting until the manager has removed what it published in .*)\n$`)

func (u withoutProgress) Write(p []byte) (int, error) {
	if progress.Match(p) {
		return len(p), nil
	}
	return u.Writer.Write(p)
}

type withStage struct{ *testing.M }

func (m withStage) Run() int {
	defer theStage.close()
	return m.M.Run()
}

// open starts the clusters that every script may use, where there are none.
func (s *stage) open(ctx context.Context) (err error) {
	if s.fleet != nil {
		return nil
	}
	s.fleet, err = env.Start(ctx, env.Options{Progress: os.Stderr, Clusters: s.clusters})
	return err
}

// close ends the clusters. A stage that is closed can be opened again.
func (s *stage) close() {
	if s.manager != nil {
		s.manager.Close()
	}
	if s.fleet != nil {
		s.fleet.Stop()
	}
	s.manager, s.fleet = nil, nil
}

// startManager makes the cluster "host" a host whose webhook is enforcing, where it is none.
func (s *stage) startManager() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if s.manager == nil {
		// Not the half-minute of a real one, which scripts would wait for.
		s.manager, err = envhost.Make(ctx, s.fleet.Cluster("host"), "--probe-interval=1s")
		return err
	}
	if s.manager.Running() {
		return nil
	}
	if err := s.manager.Start(ctx); err != nil {
		return err
	}
	return s.manager.Wait(ctx)
}

// snapshot reads the members.
func (s *stage) snapshot(ctx context.Context) (map[string]env.Objects, error) {
	before := map[string]env.Objects{}
	for _, c := range s.fleet.Clusters()[1:] {
		o, err := c.Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		before[c.Name] = o
	}
	return before, nil
}

// unchanged waits until a member holds what it held before.
func (s *stage) unchanged(name string, before map[string]env.Objects) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return env.Poll(ctx, func(ctx context.Context) error { return s.fleet.Cluster(name).Compare(ctx, before[name]) })
}

// clean is a snapshot of the clusters when nothing of the test before is left: what a member had goes with its namespace, a while after it
// has left.
func (s *stage) clean(ctx context.Context) (before map[string]env.Objects, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = env.Poll(ctx, func(ctx context.Context) (err error) {
		before, err = s.snapshot(ctx)
		for name, objects := range before {
			if _, left := objects["namespaces "+v1alpha1.MemberNamespace]; left {
				err = fmt.Errorf("cluster %s has namespace %s", name, v1alpha1.MemberNamespace)
			}
		}
		return err
	})
	return before, err
}

// prepare makes the stage ready for commands of a test itself: with a manager, a home of its own, and a kubeconfig in it. Before is what the
// members have.
func (s *stage) prepare(t *testing.T) (before map[string]env.Objects, home, kubeconfig string) {
	t.Helper()
	s.use(t)
	if err := s.startManager(); err != nil {
		t.Fatal(err)
	}
	before, err := s.clean(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	home = t.TempDir()
	kubeconfig = filepath.Join(home, "kubeconfig")
	if err := s.fleet.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	return before, home, kubeconfig
}

// command is a command line as a person types it who has only this kubeconfig, and kubectl.
func (s *stage) command(t *testing.T, home, kubeconfig, line string) *exec.Cmd {
	t.Helper()
	words := strings.Fields(line)
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+home, "KUBECONFIG="+kubeconfig, "PATH="+os.Getenv("PATH")+string(os.PathListSeparator)+filepath.Dir(s.fleet.Kubectl()))
	return cmd
}

// use gives a test the clusters.
func (s *stage) use(t *testing.T) {
	t.Helper()
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cleanup != nil {
			t.Errorf("the script's changes were not undone: %v", s.cleanup)
		}
		if t.Failed() {
			s.close()
		}
		s.cleanup = nil
	})
}

// TestScripts runs the scripts on a host and three members with nodes.
func TestScripts(t *testing.T) { runScripts(t, ".") }

// runScripts runs the scripts of a folder.
func runScripts(t *testing.T, folder string) {
	testscript.RunT(oneByOne{t}, testscript.Params{
		Dir:                 folder,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds:                commands(),
	})
}

// oneByOne runs scripts one after another, since they share clusters.
type oneByOne struct{ *testing.T }

func (oneByOne) Parallel() {}

func (t oneByOne) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) {
		theStage.use(t)
		f(oneByOne{t})
	})
}

func (oneByOne) Verbose() bool { return testing.Verbose() }

// setup gives a script a kubeconfig with an administrator's context for every cluster.
func setup(e *testscript.Env) error {
	kubeconfig := filepath.Join(e.WorkDir, "kubeconfig")
	if err := theStage.fleet.WriteKubeconfig(kubeconfig); err != nil {
		return err
	}
	e.Setenv("KUBECONFIG", kubeconfig)
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("PATH", os.Getenv("PATH")+string(os.PathListSeparator)+filepath.Dir(theStage.fleet.Kubectl()))
	for _, c := range theStage.fleet.Clusters() {
		e.Setenv("SERVER_"+strings.ReplaceAll(c.Name, "-", "_"), c.Config().Host)
	}
	before, err := theStage.clean(context.Background())
	e.Values[beforeKey{}] = before
	e.Values[impostorsKey{}] = map[string]env.Context{}
	e.Values[addressesKey{}] = map[string]*env.Address{}
	return err
}

// beforeKey is of the snapshot of the members, impostorsKey of the contexts of impostors, and addressesKey of addresses, by name.
type (
	beforeKey    struct{}
	impostorsKey struct{}
	addressesKey struct{}
)
