//go:build unix

// The command clusters starts real Kubernetes control planes on this machine, prints how to use them, and
// ends them on Ctrl-C.
//
//	go run ./test/env/clusters --members 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kubefederate/kubectl-federate/test/env"
)

func main() {
	// A terminal that is closed sends SIGHUP.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run returns nil when ctx ends, however far it has come: being stopped is how this command succeeds.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("clusters", flag.ContinueOnError)
	flags.SetOutput(stderr)
	members := flags.Int("members", 3, "number of member clusters beside the host")
	dir := flags.String("dir", "", "folder for data, logs and kubeconfig; absent or empty, and removed at the end (default a temporary one)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 || *members < 0 {
		return fmt.Errorf("usage: clusters [--members N] [--dir DIR]")
	}

	clusters := []env.Spec{{Name: "host", ControllerManager: true}}
	for i := range *members {
		clusters = append(clusters, env.Spec{Name: fmt.Sprintf("member-%d", i+1), ControllerManager: true})
	}
	fleet, err := env.Start(ctx, env.Options{Clusters: clusters, Dir: *dir, Progress: stderr})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer fleet.Stop()

	var names []string
	for _, c := range fleet.Clusters() {
		names = append(names, c.Name)
	}
	fmt.Fprintf(stdout, "\nexport KUBECONFIG=%s\n\n", fleet.Kubeconfig)
	fmt.Fprintf(stdout, "contexts: %s (you are cluster-admin in all of them)\n", strings.Join(names, ", "))
	fmt.Fprintf(stdout, "logs:     %s/*/*.log\n", fleet.Dir)
	fmt.Fprintf(stdout, "\nCtrl-C ends them.\n")
	<-ctx.Done()
	fmt.Fprintf(stderr, "\nending %d clusters\n", len(names))
	return nil
}
