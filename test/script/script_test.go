//go:build unix

// Package script runs the command lines of test/script/*.txtar as a person types them: through a real
// kubectl from PATH, against real API servers.
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
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/guard"
)

// stage is what the scripts play on: hosts and members that are handed from script to script. A cluster
// goes back only when its script left it as it was.
type stage struct {
	fleet   *env.Fleet
	manager string
	// guard is the manager of "host"; nil until a script needs it.
	guard *guard.Manager
}

var theStage = &stage{}

// The test binary is also the plugin: testscript puts it on PATH under its name.
func TestMain(m *testing.M) {
	testscript.Main(withStage{m}, map[string]func(){
		"kubectl-federate": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			context.AfterFunc(ctx, stop)
			os.Exit(cli.Run(ctx, os.Args,
				genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: unhurried{os.Stderr}}))
		},
	})
}

// unhurried leaves out the lines that say what takes long: whether they come depends on the machine.
type unhurried struct{ io.Writer }

var takesLong = regexp.MustCompile(`^(reading the host and member "[^"]*"|looking at (the host and its members|\d+ \w+)|(un)?joining \d+ clusters?|replacing the credential of member "[^"]*")\n$`)

func (u unhurried) Write(p []byte) (int, error) {
	if takesLong.Match(p) {
		return len(p), nil
	}
	return u.Writer.Write(p)
}

type withStage struct{ *testing.M }

func (m withStage) Run() int {
	defer theStage.close()
	return m.M.Run()
}

func (s *stage) close() {
	if s.guard != nil {
		s.guard.Close()
	}
	if s.fleet != nil {
		s.fleet.Stop()
	}
}

// open starts the clusters that every script may use: an uninitialised cluster, a host with its manager,
// and three members with nodes, once.
func (s *stage) open(ctx context.Context) error {
	if s.fleet != nil {
		return nil
	}
	var err error
	if s.manager, err = guard.Build(ctx); err != nil {
		return err
	}
	s.fleet, err = env.Start(ctx, env.Options{Progress: os.Stderr, Clusters: []env.Spec{
		{Name: "host", ControllerManager: true},
		{Name: "us-east", ControllerManager: true},
		{Name: "us-west", ControllerManager: true},
		{Name: "eu-west", ControllerManager: true},
	}})
	if err != nil {
		return err
	}
	for name, zones := range map[string][]string{
		"us-east": {"us-east-1a", "us-east-1b"},
		"us-west": {"us-west-2a"},
		"eu-west": {"eu-west-1a", "eu-west-1b", "eu-west-1c"},
	} {
		for i, zone := range zones {
			err := s.fleet.Cluster(name).AddNode(ctx, fmt.Sprintf("node-%d", i), map[string]string{
				"topology.kubernetes.io/region": zone[:len(zone)-1],
				"topology.kubernetes.io/zone":   zone,
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// installHost makes the cluster "host" a host whose webhook is enforcing, once.
func (s *stage) installHost(ctx context.Context) error {
	if s.guard != nil {
		return nil
	}
	var err error
	s.guard, err = guard.Host(ctx, s.fleet.Cluster("host"), s.manager)
	return err
}

func TestScripts(t *testing.T) {
	if err := theStage.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	testscript.RunT(oneByOne{t}, testscript.Params{
		Dir:                 ".",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"guarded":   enforced,
			"user":      user,
			"code":      code,
			"down":      down,
			"up":        up,
			"insecure":  insecure,
			"anonymous": anonymous,
			"same":      same,
			"silent":    silent,
			"soon":      soon,
			"oidc":      oidc,
			"plugin":    plugin,
			"told":      told,
			"mend":      mend,
			"age":       age,
			"foreign":   foreign,
			"rancher":   rancher,
			"fill":      fill,
			"another":   another,
		},
	})
}

// oneByOne runs scripts one after another, since they share clusters.
type oneByOne struct{ *testing.T }

func (oneByOne) Parallel() {}

func (t oneByOne) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(oneByOne{t}) })
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	before := map[string]env.Objects{}
	for _, c := range theStage.fleet.Clusters() {
		e.Setenv("SERVER_"+strings.ReplaceAll(c.Name, "-", "_"), c.Config().Host)
		if c.Name == "host" {
			continue
		}
		o, err := env.Snapshot(ctx, c.Config())
		if err != nil {
			return err
		}
		before[c.Name] = o
	}
	e.Values["before"] = before
	return nil
}

// enforced makes sure that the cluster "host" is a host whose webhook is enforcing.
func enforced(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: guarded")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ts.Check(theStage.installHost(ctx))
}

// user NAME CLUSTER [GROUP...] adds the context NAME: a user of CLUSTER with a client certificate and no
// rights but what RBAC gives.
func user(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: user NAME CLUSTER [GROUP...]")
	}
	addContext(ts, env.Context{Name: args[0], Config: theStage.fleet.Cluster(args[1]).User(args[0], args[2:]...)})
}

// code N COMMAND [ARG...] runs a command that must exit with code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case err == nil:
	case asExit(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func asExit(err error, target **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError) //nolint:errorlint // testscript returns it as it is
	*target = e
	return ok
}

// insecure NAME CLUSTER adds the context NAME: an administrator of CLUSTER who does not verify its certificate.
func insecure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: insecure NAME CLUSTER")
	}
	config := theStage.fleet.Cluster(args[1]).Config()
	config.Insecure, config.CAData, config.CAFile = true, nil, ""
	addContext(ts, env.Context{Name: args[0], Config: config})
}

// anonymous NAME CLUSTER adds the context NAME: a user of CLUSTER with a token that it does not know.
func anonymous(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: anonymous NAME CLUSTER")
	}
	config := rest.AnonymousClientConfig(theStage.fleet.Cluster(args[1]).Config())
	config.BearerToken = "nobody-knows-this-token"
	addContext(ts, env.Context{Name: args[0], Config: config})
}

// addContext adds a context to the script's kubeconfig, beside what the script has put there itself.
func addContext(ts *testscript.TestScript, c env.Context) {
	more := ts.MkAbs(c.Name + ".kubeconfig")
	ts.Check(env.WriteKubeconfig(more, c))
	ts.Setenv("KUBECONFIG", ts.Getenv("KUBECONFIG")+string(os.PathListSeparator)+more)
}

// down stops the manager of "host"; up, or the end of the script, starts it again.
func down(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: down")
	}
	theStage.guard.Stop()
	ts.Defer(func() {
		if err := restart(); err != nil {
			panic(err)
		}
	})
}

func up(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: up")
	}
	ts.Check(restart())
}

// restart starts the manager of "host" if it does not run.
func restart() error {
	g := theStage.guard
	if g.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.Start(ctx); err != nil {
		return err
	}
	return g.Wait(ctx)
}

// same CLUSTER... checks that clusters hold exactly what they held when the script began, once Kubernetes
// has finished deleting.
func same(ts *testscript.TestScript, neg bool, args []string) {
	before, _ := ts.Value("before").(map[string]env.Objects)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, name := range args {
		config := theStage.fleet.Cluster(name).Config()
		if neg {
			after, err := env.Snapshot(ctx, config)
			ts.Check(err)
			if len(env.Diff(before[name], after)) == 0 {
				ts.Fatalf("%s is as it was before", name)
			}
			continue
		}
		if diff := settle(ctx, config, before[name]); len(diff) > 0 {
			ts.Fatalf("%s differs from before:\n%s", name, strings.Join(diff, "\n"))
		}
	}
}

// settle is how a cluster differs from before, after the time that Kubernetes takes to empty a namespace.
func settle(ctx context.Context, config *rest.Config, before env.Objects) []string {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var diff []string
	for {
		after, err := env.Snapshot(ctx, config)
		switch {
		case err == nil:
			diff = env.Diff(before, after)
		case ctx.Err() == nil:
			return []string{err.Error()}
		}
		if len(diff) == 0 || ctx.Err() != nil {
			return diff
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}
