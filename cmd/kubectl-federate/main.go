// Command kubectl-federate is the kubectl plugin `kubectl federate`: it labels clusters and joins them
// to a named federation.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
)

func main() {
	// The first signal cancels the context, so that a join undoes its work; a second one ends the
	// process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(cli.Run(ctx, os.Args, streams))
}
