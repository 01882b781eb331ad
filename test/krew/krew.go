// Package krew packs the plugin as krew wants it: one archive per platform and the manifest that names them.
//
// Packing is reproducible: the same sources and the same Go toolchain give the same bytes, in whatever folder
// and at whatever time. So anybody can check a release against the checksums of its manifest.
package krew

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

const (
	// ManifestName is the rendered manifest's file name: krew wants it to be the plugin's name.
	ManifestName = "federate.yaml"
	// ChecksumsName is the file beside it, in the format of sha256sum.
	ChecksumsName = "checksums.txt"

	plugin  = "kubectl-federate"
	command = "./cmd/" + plugin
	// versionPackage has the variables that the linker sets to the release.
	versionPackage = "github.com/kubefederate/kubectl-federate/pkg/version"
)

// Platform is what a binary is built for.
type Platform struct{ OS, Arch string }

// Platforms are those of krew.yaml.
var Platforms = []Platform{
	{"linux", "amd64"}, {"linux", "arm64"},
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Binary is the plugin's file name on the platform.
func (p Platform) Binary() string {
	if p.OS == "windows" {
		return plugin + ".exe"
	}
	return plugin
}

// Archive is the file name of a release's archive for the platform.
func (p Platform) Archive(version string) string {
	return fmt.Sprintf("%s_%s_%s_%s.tar.gz", plugin, version, p.OS, p.Arch)
}

// A Release is what is packed.
type Release struct {
	// Source is the checkout's top folder.
	Source string
	// Version is a semantic version with a leading v.
	Version string
	// Image is the manager's image, by digest, that the plugin installs. Empty leaves it out.
	Image string
	// Out is the folder that the archives go to; it is made.
	Out string
	// Env is added to the environment of the builds.
	Env []string
}

// Pack builds the plugin for one platform, writes its archive and returns the archive's checksum, in
// lower-case hexadecimal digits.
func (r Release) Pack(ctx context.Context, p Platform) (sum string, err error) {
	temp, err := os.MkdirTemp("", plugin+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	binary := filepath.Join(temp, p.Binary())
	if err := r.Build(ctx, p, binary); err != nil {
		return "", err
	}
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return "", err
	}
	out, err := os.Create(filepath.Join(r.Out, p.Archive(r.Version)))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	err = archive(io.MultiWriter(out, hash), []entry{
		{name: "LICENSE", mode: 0o644, file: filepath.Join(r.Source, "LICENSE")},
		{name: p.Binary(), mode: 0o755, file: binary},
	})
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", p, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Build writes the plugin's binary for one platform, as a release ships it.
func (r Release) Build(ctx context.Context, p Platform, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", fmt.Sprintf("-s -w -buildid= -X %[1]s.Version=%[2]s -X %[1]s.Image=%[3]s", versionPackage, r.Version, r.Image), "-o", binary, command)
	cmd.Dir = r.Source
	// What a person has set for other builds must not reach this one.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Arch,
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFLAGS=", "GOFIPS140=off", "GOWORK=off")
	cmd.Env = append(cmd.Env, r.Env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s for %s in %s: %w\n%s", command, p, r.Source, err, output.String())
	}
	return nil
}

// entry is one regular file of an archive.
type entry struct {
	name string
	mode int64
	file string
}

// archive writes a gzipped tar of regular files that says nothing about when, where and by whom.
func archive(w io.Writer, entries []entry) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	packed := tar.NewWriter(zipped)
	for _, e := range entries {
		content, err := os.ReadFile(e.file)
		if err != nil {
			return err
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(content)),
			// The first moment that a zip file can hold as well, for repacking.
			ModTime: time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC), Format: tar.FormatUSTAR,
		}
		if err := packed.WriteHeader(header); err != nil {
			return err
		}
		if _, err := packed.Write(content); err != nil {
			return err
		}
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

// Render fills the manifest template with a release. sums maps an archive's file name to its checksum; an
// archive that the template names and sums lacks is an error. The template is krew-release-bot's: the fields
// and functions here are its own.
func Render(text []byte, version string, sums map[string]string) ([]byte, error) {
	release := struct{ TagName string }{version}
	expand := func(text string) (string, error) {
		parsed, err := template.New("url").Parse(text)
		if err != nil {
			return "", err
		}
		var out strings.Builder
		err = parsed.Execute(&out, release)
		return out.String(), err
	}
	parsed, err := template.New("krew.yaml").Funcs(template.FuncMap{
		"addURIAndSha": func(url, _ string) (string, error) {
			uri, err := expand(url)
			if err != nil {
				return "", err
			}
			sum, ok := sums[path.Base(uri)]
			if !ok {
				return "", fmt.Errorf("no archive %s was built", path.Base(uri))
			}
			// Quoted: YAML would read a sum without letters as a number.
			return fmt.Sprintf("uri: %s\n    sha256: %q", uri, sum), nil
		},
	}).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, release); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
