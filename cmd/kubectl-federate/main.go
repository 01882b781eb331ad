// Command kubectl-federate is the kubectl plugin `kubectl federate`: it labels clusters and joins them
// to a named federation.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
)

// duplicateWindow is how long signals count as one. timeout(1) sends its own to the command and then to its process
// group, so that the command gets it twice; a person who presses Ctrl-C again takes longer, or presses it once more.
const duplicateWindow = 250 * time.Millisecond

// memoryLimit is how much memory the plugin uses for what clusters send, unless GOMEMLIMIT says otherwise. Ten thousand members
// take less.
const memoryLimit = 230 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(cli.Run(notify(context.Background()), os.Args, streams))
}

// notify returns a context that the first signal cancels, so that a join is rolled back; a later one ends the process at
// once. One that comes before ends it, too: nothing has been sent to a cluster by then. A terminal that is closed sends
// SIGHUP. A signal that the caller has set to be ignored, as nohup does, stays ignored. SIGPIPE, which would end a run in
// the middle, is: cli.Run rolls back when its output is read no more.
func notify(parent context.Context) context.Context {
	signal.Ignore(syscall.SIGPIPE)
	signals := slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
	if len(signals) == 0 {
		return parent // NotifyContext of none is notified of all
	}
	ctx, stop := signal.NotifyContext(parent, signals...)
	context.AfterFunc(ctx, func() { time.AfterFunc(duplicateWindow, stop) })
	return ctx
}
