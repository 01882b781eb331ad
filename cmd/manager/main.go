// Command manager is the process on a host cluster: it answers the webhooks of kubectl federate and writes the
// status of federations and members. It runs in the cluster, or anywhere with a kubeconfig of the account
// kubefederate-system/kubefederate-manager.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, pflag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "manager:", err)
		}
		os.Exit(1) //nolint:gocritic // stop only gives the signals back
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	if err := o.parse(args, stderr); err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(stdout, versionLine())
		return err
	}
	return o.run(ctx, stderr)
}
