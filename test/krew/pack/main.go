// The command pack writes the archives of the plugin for all platforms, their checksums and the manifest for
// krew. Run it in the checkout's top folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kubefederate/kubectl-federate/test/krew"
)

func main() {
	var release krew.Release
	flag.StringVar(&release.Source, "source", ".", "the checkout's top `folder`")
	flag.StringVar(&release.Version, "version", "v0.0.0-dev", "the release, a semantic version with a leading v")
	flag.StringVar(&release.Image, "image", "", "the manager's `image`, by digest, that the plugin installs")
	flag.StringVar(&release.Out, "out", "dist", "the `folder` to write to")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, release, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, release krew.Release, progress io.Writer) error {
	start := time.Now()
	sums := map[string]string{}
	var lines strings.Builder
	for i, p := range krew.Platforms {
		name := p.Archive(release.Version)
		fmt.Fprintf(progress, "krew: %s (%d of %d) at %.0f s\n", name, i+1, len(krew.Platforms), time.Since(start).Seconds())
		sum, err := release.Pack(ctx, p)
		if err != nil {
			return err
		}
		sums[name] = sum
		fmt.Fprintf(&lines, "%s  %s\n", sum, name)
	}
	template, err := os.ReadFile(filepath.Join(release.Source, "krew.yaml"))
	if err != nil {
		return err
	}
	manifest, err := krew.Render(template, release.Version, sums)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{krew.ManifestName: string(manifest), krew.ChecksumsName: lines.String()} {
		if err := os.WriteFile(filepath.Join(release.Out, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(progress, "krew: %s ready after %.0f s\n", filepath.Join(release.Out, krew.ManifestName), time.Since(start).Seconds())
	return nil
}
