// Command manager is the process on a host cluster that serves the admission webhooks of kubectl federate and writes the
// status of federations and members. It runs in the cluster, or anywhere with a kubeconfig of the service account
// kubefederate-system/kubefederate-manager. `manager discovery` joins clusters by the labels of objects on the host instead, with the
// service account kubefederate-discovery.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/kubefederate/kubectl-federate/pkg/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, pflag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "manager:", err)
		}
		os.Exit(1) //nolint:gocritic // stop only restores the handling of signals
	}
}

// process is what a command line starts.
type process interface {
	parse(args []string, stderr io.Writer) error
	printsVersion() bool
	run(ctx context.Context, stderr io.Writer) error
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var p process = &options{}
	if len(args) > 0 && args[0] == discoveryCommand {
		p, args = &discoveryOptions{}, args[1:]
	}
	if err := p.parse(args, stderr); err != nil {
		return err
	}
	if p.printsVersion() {
		_, err := fmt.Fprintln(stdout, "kubefederate manager", version.Version)
		return err
	}
	return p.run(ctx, stderr)
}
