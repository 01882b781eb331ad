//go:build unix

// Command demo shows kubectl federate on real API servers: a host and three members on this machine. It types
// the commands that a person would type, through a real kubectl, and prints what they print. It ends with
// exit code 0 only when every command did what it had to.
//
// With -keep it only sets everything up, prints how to use it, and ends at Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

func main() {
	keep := flag.Bool("keep", false, "set up a playground and leave it running until Ctrl-C")
	flag.Parse()
	restore := func() {}
	if *keep {
		restore = foreground()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *keep)
	stop()
	restore()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// show is a running demo.
type show struct {
	fleet   *env.Fleet
	manager *envhost.Manager
	bin     string
	started time.Time
}

func run(ctx context.Context, keep bool) error {
	s := &show{started: time.Now()}
	if err := s.open(ctx, keep); err != nil {
		return err
	}
	defer s.close()
	if err := s.install(ctx); err != nil {
		return err
	}
	if keep {
		return s.playground(ctx)
	}
	return s.play(ctx)
}

// open finds the programs and starts the clusters. A playground has no context of bob, whom the script refuses: discover
// would report it as unreachable.
func (s *show) open(ctx context.Context, keep bool) error {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	for _, name := range []string{"kubectl-federate", "manager"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("%w; make build makes it, and make demo does so first", err)
		}
	}
	s.bin = bin
	fmt.Println("Starting a host and three members: real API servers, on this machine's loopback.")
	if s.fleet, err = env.Start(ctx, env.Options{Clusters: env.Example(), Progress: os.Stderr}); err != nil || keep {
		return err
	}
	bob := env.Context{Name: "bob", Config: s.fleet.Cluster("host").User("bob", "developers")}
	if err := s.fleet.WriteKubeconfig(s.fleet.Kubeconfig, bob); err != nil {
		s.close()
		return err
	}
	return nil
}

func (s *show) close() {
	if s.manager != nil {
		s.manager.Close()
	}
	s.fleet.Stop()
}

// install runs init and, since no node runs pods here, the manager beside the cluster, with the rights of its
// own account.
func (s *show) install(ctx context.Context) error {
	var err error
	if s.manager, err = envhost.New(s.fleet.Cluster("host"), filepath.Join(s.bin, "manager")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	managed := make(chan error, 1)
	go func() {
		// Its account is there once init has made it.
		for {
			err := s.manager.Start(ctx)
			if err == nil || ctx.Err() != nil {
				managed <- err
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	err = s.step(ctx, step{
		say: "Install kubectl federate on the host. In a cluster with nodes, plain `kubectl federate init` runs the manager there; here it runs beside the cluster.",
		run: "kubectl federate init --webhook-url " + s.manager.URL,
	})
	if err != nil {
		cancel()
	}
	return errors.Join(err, <-managed)
}

// step is one command line of the demo.
type step struct {
	say  string
	run  string
	code int
}

func (s *show) step(ctx context.Context, st step) error {
	if st.say != "" {
		fmt.Printf("\n# %s\n", st.say)
	}
	fmt.Printf("$ %s\n", st.run)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", st.run)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.fleet.Kubeconfig, "PATH="+s.path()+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != st.code {
		return fmt.Errorf("`%s` ended with exit code %d instead of %d", st.run, got, st.code)
	}
	if st.code != 0 {
		fmt.Printf("(exit code %d, as it must be)\n", st.code)
	}
	return nil
}

// path finds the plugin, and a kubectl of the clusters' version.
func (s *show) path() string {
	return s.bin + string(os.PathListSeparator) + filepath.Dir(s.fleet.Kubectl())
}

func (s *show) playground(ctx context.Context) error {
	fmt.Printf(`
The playground is ready: contexts host (the current one), us-east, us-west, eu-west. In another shell:

  export KUBECONFIG=%s
  export PATH=%s:$PATH
  kubectl federate --help

README's tour starts here. Ctrl-C ends it and removes everything.
`, s.fleet.Kubeconfig, s.path())
	<-ctx.Done()
	fmt.Println("\nending the clusters")
	return nil
}

func (s *show) play(ctx context.Context) error {
	members := s.fleet.Clusters()[1:]
	before := make([]env.Objects, len(members))
	for i, member := range members {
		var err error
		if before[i], err = member.Snapshot(ctx); err != nil {
			return err
		}
	}
	for _, st := range script {
		if err := s.step(ctx, st); err != nil {
			return err
		}
	}
	fmt.Println("\n# The proof: every object of every type on the members, before they joined and now.")
	for i, member := range members {
		if err := same(ctx, member, before[i]); err != nil {
			return err
		}
	}
	fmt.Printf("\nDone in %s: installed, labeled, discovered, joined, refused what breaks the rules, and left without a trace.\n",
		time.Since(s.started).Round(time.Second))
	return nil
}

// same waits until Kubernetes has emptied our namespace and compares a member with what it was.
func same(ctx context.Context, member *env.Cluster, before env.Objects) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := env.Poll(ctx, func(ctx context.Context) error { return member.Compare(ctx, before) }); err != nil {
		return err
	}
	fmt.Printf("%s: %d objects, all as before\n", member.Name, len(before))
	return nil
}
