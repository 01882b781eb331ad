package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var about = description{Version: "v1.2.3", Revision: "abc", Created: time.Unix(1_700_000_000, 0).UTC(), License: []byte("license")}

// platforms are two builds.
func platforms() []build {
	var builds []build
	for _, arch := range []string{"amd64", "arm64"} {
		b := build{Platform: v1.Platform{OS: "linux", Architecture: arch}}
		for _, name := range commands {
			b.Binaries = append(b.Binaries, binary{name, []byte(arch + " " + name)})
		}
		builds = append(builds, b)
	}
	return builds
}

func packed(t *testing.T, d description, builds []build) (v1.ImageIndex, v1.Hash) {
	t.Helper()
	index, err := pack(d, builds)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return index, digest
}

// TestImage looks at all that is in an image: the files of its one layer, their modes and owners, and how it is run.
func TestImage(t *testing.T) {
	t.Parallel()
	builds := platforms()
	index, digest := packed(t, about, builds)
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != len(builds) {
		t.Fatalf("%d images, %v", len(manifest.Manifests), err)
	}
	labels := map[string]string{
		"org.opencontainers.image.title":       "kubefederate-manager",
		"org.opencontainers.image.description": "The manager of kubectl federate, and the plugin",
		"org.opencontainers.image.source":      "https://github.com/kubefederate/kubectl-federate",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     "v1.2.3",
		"org.opencontainers.image.revision":    "abc",
		"org.opencontainers.image.created":     "2023-11-14T22:13:20Z",
	}
	if !maps.Equal(manifest.Annotations, labels) {
		t.Errorf("the index has the annotations %v", manifest.Annotations)
	}
	for i, b := range builds {
		if got := manifest.Manifests[i].Platform; !got.Equals(b.Platform) {
			t.Errorf("image %d is for %v", i, got)
		}
		image, err := index.Image(manifest.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.OS != "linux" || config.Architecture != b.Platform.Architecture || !config.Created.Equal(about.Created) || len(config.History) != 1 {
			t.Errorf("%v, %v", b.Platform, config)
		}
		want := v1.Config{User: "65532:65532", WorkingDir: "/", Entrypoint: []string{"/usr/local/bin/manager"}, Env: []string{"PATH=/usr/local/bin"}, Labels: labels}
		if !reflect.DeepEqual(config.Config, want) {
			t.Errorf("%s: config %+v", b.Platform, config.Config)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		content, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		files, found := read(t, content)
		if want := []string{
			"d755 etc/", "d755 etc/ssl/", "d755 etc/ssl/certs/", "-444 etc/ssl/certs/ca-certificates.crt",
			"d755 licenses/", "-444 licenses/LICENSE", "d755 usr/", "d755 usr/local/", "d755 usr/local/bin/",
			"-555 usr/local/bin/manager", "-555 usr/local/bin/kubectl-federate",
		}; !slices.Equal(found, want) {
			t.Errorf("%s: files %q", b.Platform, found)
		}
		for _, binary := range b.Binaries {
			if !bytes.Equal(files["usr/local/bin/"+binary.Name], binary.Content) {
				t.Errorf("%s: another %s", b.Platform, binary.Name)
			}
		}
		if roots := bytes.Count(files["etc/ssl/certs/ca-certificates.crt"], []byte("BEGIN CERTIFICATE")); roots < 100 {
			t.Errorf("%d roots", roots)
		}
	}

	// The digest depends on everything that is packed, and on nothing else.
	if _, again := packed(t, about, platforms()); again != digest {
		t.Errorf("digests %s and %s of the same image", digest, again)
	}
	other := map[string]description{"version": about, "revision": about, "time": about, "license": about}
	for name, d := range other {
		switch name {
		case "version":
			d.Version = "v1.2.4"
		case "revision":
			d.Revision = "abd"
		case "time":
			d.Created = d.Created.Add(time.Second)
		case "license":
			d.License = []byte("other")
		}
		if _, got := packed(t, d, builds); got == digest {
			t.Errorf("another %s has the same digest", name)
		}
	}
	builds[1].Binaries[0].Content[0] ^= 1
	if _, got := packed(t, about, builds); got == digest {
		t.Error("another program has the same digest")
	}
}

// read reads a tar: the content of its files, and of each entry its type, mode and name. Nothing else may be in its headers.
func read(t *testing.T, r io.Reader) (files map[string][]byte, found []string) {
	t.Helper()
	files = map[string][]byte{}
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, found
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, ok := map[byte]string{tar.TypeReg: "-", tar.TypeDir: "d"}[h.Typeflag]
		if !ok || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.PAXRecords != nil || h.ModTime.Unix() != about.Created.Unix() && h.ModTime.Unix() != 0 {
			t.Errorf("%s: %+v", h.Name, h)
		}
		found = append(found, fmt.Sprintf("%s%o %s", kind, h.Mode, h.Name))
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// TestArchive reads an archive as a container runtime does: the name, then by digests down to the layers.
func TestArchive(t *testing.T) {
	t.Parallel()
	index, digest := packed(t, about, platforms())
	tag, err := tagOf("kubefederate/manager", "v1.2.3+4")
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := archive(out, index, tag); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of one image differ")
	}
	files, _ := read(t, &first)
	for name, content := range files {
		sum := sha256.Sum256(content)
		if hash, isBlob := strings.CutPrefix(name, "blobs/sha256/"); isBlob && hash != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has another digest", name)
		}
	}
	if got := string(files["oci-layout"]); !strings.Contains(got, `"imageLayoutVersion": "1.0.0"`) {
		t.Errorf("oci-layout: %s", got)
	}
	var top v1.IndexManifest
	if err := json.Unmarshal(files["index.json"], &top); err != nil || len(top.Manifests) != 1 {
		t.Fatalf("%v\n%s", err, files["index.json"])
	}
	if top.Manifests[0].Digest != digest {
		t.Errorf("index.json names %s, not %s", top.Manifests[0].Digest, digest)
	}
	if got, want := top.Manifests[0].Annotations, map[string]string{
		"io.containerd.image.name": tag.normalized, "org.opencontainers.image.ref.name": "v1.2.3_4",
	}; !maps.Equal(got, want) {
		t.Errorf("annotations %v", got)
	}
	blob := func(h v1.Hash) []byte { return files["blobs/sha256/"+h.Hex] }
	inner, err := v1.ParseIndexManifest(bytes.NewReader(blob(digest)))
	if err != nil {
		t.Fatal(err)
	}
	blobs := 1
	for _, m := range inner.Manifests {
		manifest, err := v1.ParseManifest(bytes.NewReader(blob(m.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range append(manifest.Layers, manifest.Config) {
			if int64(len(blob(d.Digest))) != d.Size {
				t.Errorf("%s has %d bytes, not %d", d.Digest, len(blob(d.Digest)), d.Size)
			}
		}
		blobs += 3
	}
	if len(files) != blobs+2 {
		t.Errorf("%d files, of which %d are the image's", len(files), blobs)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ repository, version, want string }{
		{"registry.example.com:5000/a/manager", "v1.2.3", "registry.example.com:5000/a/manager:v1.2.3"},
		{"registry.example.com/a/manager", "v1.2.3+x", "registry.example.com/a/manager:v1.2.3_x"},
		{"registry.example.com/A", "v1.2.3", `the image "registry.example.com/A:v1.2.3": invalid reference format: repository name (A) must be lowercase`},
		{"", "v1.2.3", `the image ":v1.2.3": invalid reference format`},
		{"registry.example.com/a", "v1 2", `the image "registry.example.com/a:v1 2": invalid reference format`},
	} {
		tag, err := tagOf(test.repository, test.version)
		got := tag.normalized
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%q, %q: got %q, want %q", test.repository, test.version, got, test.want)
		}
	}
	// As kubelets complete the name in a pod.
	if tag, err := tagOf("kubefederate/manager", "v1"); err != nil || !strings.HasSuffix(tag.normalized, ".io/kubefederate/manager:v1") {
		t.Errorf("%+v, %v", tag, err)
	}
}

// TestBill expects every program, and the modules that Go has recorded in it. The programs are this test.
func TestBill(t *testing.T) {
	t.Parallel()
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	builds := platforms()
	for _, b := range builds {
		for i := range b.Binaries {
			b.Binaries[i].Content = append(slices.Clone(self), b.Binaries[i].Content...)
		}
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	first, err := billOfMaterials("example/manager", digest, about, builds)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := billOfMaterials("example/manager", digest, about, builds); err != nil || !bytes.Equal(again, first) {
		t.Errorf("two lists of one image differ: %v", err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(first), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SerialNumber != "" || bom.Metadata.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("number %q, time %q", bom.SerialNumber, bom.Metadata.Timestamp)
	}
	refs := map[string]cdx.Component{}
	libraries := 0
	for _, c := range *bom.Components {
		refs[c.BOMRef] = c
		if c.Type == cdx.ComponentTypeLibrary {
			libraries++
		}
	}
	if len(refs) != len(*bom.Components) || len(refs)-libraries != 4 {
		t.Errorf("%d components, %d references, %d libraries", len(*bom.Components), len(refs), libraries)
	}
	sum := sha256.Sum256(builds[1].Binaries[0].Content)
	manager := refs["linux/arm64/usr/local/bin/manager"]
	if manager.Hashes == nil || (*manager.Hashes)[0].Value != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v", manager)
	}
	for _, d := range *bom.Dependencies {
		for _, ref := range *d.Dependencies {
			if _, known := refs[ref]; !known {
				t.Errorf("%s depends on %s, which is no component", d.Ref, ref)
			}
		}
		if strings.HasSuffix(d.Ref, "/manager") && !slices.ContainsFunc(*d.Dependencies, func(ref string) bool {
			return strings.HasPrefix(ref, "pkg:golang/github.com/google/go-containerregistry@v")
		}) {
			t.Errorf("%s: %q", d.Ref, *d.Dependencies)
		}
	}
	builds[0].Binaries[0].Content = []byte("#!/bin/sh")
	if _, err := billOfMaterials("example/manager", digest, about, builds); err == nil || !strings.HasPrefix(err.Error(), "manager for linux/amd64: ") {
		t.Errorf("a script: %v", err)
	}
}

// TestPush pushes to registries, and finds the SBOM by the image's digest: with the API of registries for that, and where there is none.
func TestPush(t *testing.T) {
	t.Parallel()
	for _, referrers := range []bool{true, false} {
		server := httptest.NewServer(registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(server.Close)
		tag, err := tagOf(strings.TrimPrefix(server.URL, "http://")+"/example/manager", "v1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		index, digest := packed(t, about, platforms())
		bom := []byte(`{"bomFormat": "CycloneDX"}`)
		for range 2 { // again it changes nothing
			if err := push(index, tag, bom, remote.WithContext(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		pulled, err := remote.Index(tag.Tag)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pulled.Digest(); got != digest {
			t.Errorf("pulled %s, %v; want %s", got, err, digest)
		}
		if err := validate.Index(pulled); err != nil {
			t.Error(err)
		}
		found, err := remote.Referrers(tag.Digest(digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		list, err := found.IndexManifest()
		if err != nil || len(list.Manifests) != 1 || list.Manifests[0].ArtifactType != bomType {
			t.Fatalf("referrers %+v, %v", list, err)
		}
		artifact, err := remote.Image(tag.Digest(list.Manifests[0].Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := artifact.Manifest()
		if err != nil || len(manifest.Layers) != 1 {
			t.Fatalf("%+v, %v", manifest, err)
		}
		layer, err := remote.Layer(tag.Digest(manifest.Layers[0].Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		content, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(content); err != nil || !bytes.Equal(got, bom) {
			t.Errorf("the SBOM is %q, %v", got, err)
		}
	}
}

// small is a checkout that is compiled in no time.
var small = map[string]string{
	"LICENSE":                      "license\n",
	"go.mod":                       "module " + product + "\n\ngo 1.26.0\n",
	"pkg/version/version.go":       "package version\n\nvar Version = \"none\"\n",
	"cmd/manager/main.go":          "package main\n\nimport \"" + product + "/pkg/version\"\n\nfunc main() { println(\"manager\", version.Version) }\n",
	"cmd/kubectl-federate/main.go": "package main\n\nimport \"" + product + "/pkg/version\"\n\nfunc main() { println(\"plugin\", version.Version) }\n",
}

// TestReproducible builds from the same sources in two folders and expects the same bytes in every file, also with another
// person's settings. In the full tier the sources are the project's.
func TestReproducible(t *testing.T) {
	sources := func(dir string) {
		t.Helper()
		if testing.Short() {
			for name, content := range small {
				name = filepath.Join(dir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			return
		}
		root := filepath.Join("..", "..", "..")
		for _, name := range []string{"cmd", "pkg", "webhook", "manifests"} {
			if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"LICENSE", "go.mod", "go.sum"} {
			content, err := os.ReadFile(filepath.Join(root, name))
			if err := errors.Join(err, os.WriteFile(filepath.Join(dir, name), content, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	made := func(version string) map[string]string {
		t.Helper()
		dir := t.TempDir()
		sources(dir)
		o := options{source: dir, name: "kubefederate/manager", version: version, revision: "abc", created: 1_700_000_000, out: filepath.Join(dir, "dist"),
			platforms: []string{"linux/amd64", "linux/arm64"}}
		var stdout bytes.Buffer
		if err := o.run(t.Context(), &stdout); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{"stdout": strings.ReplaceAll(stdout.String(), dir, "")}
		entries, err := os.ReadDir(o.out)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			content, err := os.ReadFile(filepath.Join(o.out, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[entry.Name()] = string(content)
		}
		return files
	}
	first := made("v1.2.3")
	if got, want := slices.Sorted(maps.Keys(first)), []string{
		"manager-image_v1.2.3.cdx.json", "manager-image_v1.2.3.digest", "manager-image_v1.2.3.tar", "stdout",
	}; !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
	digest := strings.TrimSuffix(first["manager-image_v1.2.3.digest"], "\n")
	if want := "/dist/manager-image_v1.2.3.tar\nkubefederate/manager@" + digest + "\n"; first["stdout"] != want {
		t.Errorf("printed %q, want %q", first["stdout"], want)
	}
	if !strings.Contains(first["manager-image_v1.2.3.tar"], strings.TrimPrefix(digest, "sha256:")) {
		t.Errorf("no %s in the archive", digest)
	}
	t.Setenv("GOFLAGS", "-trimpath=false -ldflags=-compressdwarf=false")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("CGO_ENABLED", "1")
	for name, content := range made("v1.2.3") {
		if content != first[name] {
			t.Errorf("%s differs", name)
		}
	}
	if got := made("v1.2.4"); got["manager-image_v1.2.4.digest"] == first["manager-image_v1.2.3.digest"] {
		t.Error("two versions have one digest")
	}
}
