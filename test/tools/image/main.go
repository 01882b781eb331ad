// The command image builds the image of the manager, for every platform, from the sources alone: no engine, base image or
// registry takes part. It writes an archive in the OCI image layout, and beside it the digest by which the image is pulled
// and a list of what is in it, an SBOM in CycloneDX. The same sources, flags and Go release give the same bytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const product = "github.com/kubefederate/kubectl-federate"

// commands are the programs of an image. The first one is what a container runs.
var commands = []string{"manager", "kubectl-federate"}

// options are the flags.
type options struct {
	source, name, version, revision, out string
	created                              int64
	platforms                            []string
	push                                 bool
}

func main() {
	var o options
	var platforms string
	flag.StringVar(&o.source, "source", ".", "the checkout's top `folder`")
	flag.StringVar(&o.name, "name", "kubefederate/manager", "the `repository` of the image, with a registry where it is pushed")
	flag.StringVar(&o.version, "version", "v0.0.0-dev", "the release, which is the image's tag")
	flag.StringVar(&o.revision, "revision", "", "the `commit` that is built, for a label")
	flag.Int64Var(&o.created, "created", 0, "when the image is said to be made, in `seconds` since 1970")
	flag.StringVar(&o.out, "out", "dist", "the `folder` to write to")
	flag.StringVar(&platforms, "platforms", "linux/amd64,linux/arm64", "what to build for")
	flag.BoolVar(&o.push, "push", false, "push the image as well, and its SBOM as a referrer of it, with the credentials of `docker login`")
	flag.Parse()
	o.platforms = strings.Split(platforms, ",")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context, stdout io.Writer) error {
	tag, err := tagOf(o.name, o.version)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	license, err := os.ReadFile(filepath.Join(o.source, "LICENSE"))
	if err != nil {
		return err
	}
	about := description{Version: o.version, Revision: o.revision, Created: time.Unix(o.created, 0).UTC(), License: license}
	var builds []build
	for _, p := range o.platforms {
		platform, err := v1.ParsePlatform(p)
		if err != nil {
			return err
		}
		b := build{Platform: *platform}
		for _, name := range commands {
			binary, err := o.compile(ctx, *platform, name, filepath.Join(temp, platform.Architecture))
			if err != nil {
				return err
			}
			b.Binaries = append(b.Binaries, binary)
		}
		builds = append(builds, b)
	}
	index, err := pack(about, builds)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	bom, err := billOfMaterials(o.name, digest, about, builds)
	if err != nil {
		return err
	}
	if err := o.write(index, tag, digest, bom, stdout); err != nil || !o.push {
		return err
	}
	return push(index, tag, bom, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

// compile builds one program as a release ships it. What a person has set for other builds does not reach this one.
func (o *options) compile(ctx context.Context, p v1.Platform, name, dir string) (binary, error) {
	file := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X "+product+"/pkg/version.Version="+o.version, "-o", file, "./cmd/"+name)
	cmd.Dir = o.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFLAGS=", "GOFIPS140=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return binary{}, fmt.Errorf("building %s for %s: %w\n%s", name, p, err, out)
	}
	content, err := os.ReadFile(file)
	return binary{Name: name, Content: content}, err
}

// write makes the files, and prints the archive's name and the digest.
func (o *options) write(index v1.ImageIndex, tag tag, digest v1.Hash, bom []byte, stdout io.Writer) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	base := filepath.Join(o.out, "manager-image_"+tag.TagStr())
	file, err := os.Create(base + ".tar")
	if err != nil {
		return err
	}
	err = archive(file, index, tag)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	for suffix, content := range map[string][]byte{".digest": []byte(digest.String() + "\n"), ".cdx.json": bom} {
		if err := os.WriteFile(base+suffix, content, 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(stdout, "%s\n%s@%s\n", base+".tar", o.name, digest)
	return err
}
