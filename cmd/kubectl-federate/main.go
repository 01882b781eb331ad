// Command kubectl-federate is the kubectl plugin `kubectl federate`: it labels clusters and joins them
// to a named federation.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
)

// together is how long signals count as one. timeout(1) sends its own to the command and then to its process group, so
// that the command gets it twice; a person who presses Ctrl-C again takes longer, or presses it once more.
const together = 250 * time.Millisecond

func main() {
	// The first signal cancels the context, so that a join undoes its work; a later one ends the process at once. One that
	// comes before this line ends it, too: nothing has been sent to a cluster by then.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(together, stop) })

	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(cli.Run(ctx, os.Args, streams))
}
