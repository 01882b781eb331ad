//go:build unix

// The command assets prints the folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl,
// and builds them first where needed, with progress on stderr. The Makefile runs it before `go test`, which
// shows nothing of a package until it is done.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubefederate/kubectl-federate/test/env"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	dir, err := env.Assets(ctx, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
