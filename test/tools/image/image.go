package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is the uid and gid of the manager's pods.
const user = "65532:65532"

const (
	binDir = "usr/local/bin"
	// rootsFile is where Go looks for roots first on Linux.
	rootsFile   = "etc/ssl/certs/ca-certificates.crt"
	licenseFile = "licenses/LICENSE"
)

// description is what labels say of an image.
type description struct {
	Version, Revision string
	Created           time.Time
	License           []byte
}

// binary is a program of an image.
type binary struct {
	Name    string
	Content []byte
}

// build is what was compiled for one platform.
type build struct {
	Platform v1.Platform
	Binaries []binary
}

// pack makes an image for each platform, and the index that holds all of them.
func pack(about description, builds []build) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range builds {
		image, err := platformImage(about, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.Platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &b.Platform}})
	}
	return mutate.Annotations(index, about.labels()).(v1.ImageIndex), nil
}

func platformImage(about description, b build) (v1.Image, error) {
	files, err := files(about, b)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil },
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: about.Created}
	image, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), &v1.ConfigFile{
		OS: b.Platform.OS, Architecture: b.Platform.Architecture, Created: created,
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: user, WorkingDir: "/", Entrypoint: []string{"/" + path.Join(binDir, commands[0])}, Env: []string{"PATH=/" + binDir}, Labels: about.labels(),
		},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "make image"}})
}

func (d description) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	labels := map[string]string{
		prefix + "title":       "kubefederate-manager",
		prefix + "description": "The manager of kubectl federate, and the plugin",
		prefix + "source":      "https://" + product,
		prefix + "licenses":    "Apache-2.0",
		prefix + "version":     d.Version,
		prefix + "created":     d.Created.Format(time.RFC3339),
	}
	if d.Revision != "" {
		labels[prefix+"revision"] = d.Revision
	}
	return labels
}

// files is the one layer: the programs, their license, and the roots that verify members whose API server has a certificate of a
// public CA. Nothing looks users up by name, so there is no /etc/passwd.
func files(about description, b build) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	dirs := map[string]bool{".": true}
	add := func(name string, mode int64, content []byte) error {
		var missing []string
		for dir := path.Dir(name); !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
			missing = append([]string{dir}, missing...)
		}
		for _, dir := range missing {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: about.Created}); err != nil {
				return err
			}
		}
		return addFile(w, name, mode, about.Created, content)
	}
	if err := cmp.Or(add(rootsFile, 0o444, roots()), add(licenseFile, 0o444, about.License)); err != nil {
		return nil, err
	}
	for _, binary := range b.Binaries {
		if err := add(path.Join(binDir, binary.Name), 0o555, binary.Content); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

func addFile(w *tar.Writer, name string, mode int64, modified time.Time, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: modified}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// roots are those of Mozilla, in PEM, without those that are valid for some certificates only: a file cannot say for which.
func roots() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return out.Bytes()
}

// tag is the name of an image, as registries and as container runtimes write it.
type tag struct {
	name.Tag
	normalized string
}

// tagOf is the tag of a version: build metadata (+…) is not allowed in one.
func tagOf(repository, version string) (tag, error) {
	text := repository + ":" + strings.ReplaceAll(version, "+", "_")
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return tag{}, fmt.Errorf("the image %q: %w", text, err)
	}
	t, err := name.NewTag(text)
	return tag{t, named.String()}, err
}

// archive writes an image in the OCI image layout, under the name by which container runtimes know it.
func archive(w io.Writer, index v1.ImageIndex, tag tag) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = to.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name": tag.normalized, "org.opencontainers.image.ref.name": tag.TagStr(),
	}))
	if err != nil {
		return err
	}
	packed := tar.NewWriter(w)
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return addFile(packed, name, 0o644, time.Unix(0, 0), content)
	})
	return cmp.Or(err, packed.Close())
}

// push pushes an image, and its SBOM as an artifact that refers to it: what oras, Trivy and the like find by the image's digest.
func push(index v1.ImageIndex, tag tag, bom []byte, options ...remote.Option) error {
	if err := remote.WriteIndex(tag.Tag, index, options...); err != nil {
		return err
	}
	subject, err := partial.Descriptor(index)
	if err != nil {
		return err
	}
	subject.Platform = nil
	artifact, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), bomType), static.NewLayer(bom, bomType))
	if err != nil {
		return err
	}
	referrer := mutate.Subject(artifact, *subject).(v1.Image)
	digest, err := referrer.Digest()
	if err != nil {
		return err
	}
	return remote.Write(tag.Repository.Digest(digest.String()), referrer, options...)
}
