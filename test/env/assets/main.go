//go:build unix

// The command assets prints the folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl,
// and builds them first where needed, with progress on stderr. The Makefile runs it before `go test`, which
// shows nothing of a package until it is done. With -all it builds what runs the oldest releases, and nodes, too.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubefederate/kubectl-federate/test/env"
)

func main() {
	all := flag.Bool("all", false, "build the programs of the oldest releases, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := build(ctx, *all)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, all bool) error {
	dir, err := env.Assets(ctx, os.Stderr)
	if err != nil {
		return err
	}
	fmt.Println(dir)
	if !all {
		return nil
	}
	for _, release := range []env.Release{env.OldestHost, env.OldestMember} {
		if _, err := release.Assets(ctx, os.Stderr); err != nil {
			return err
		}
	}
	return nil
}
