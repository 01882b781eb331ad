//go:build unix

package krew

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/test/checkout"
	"github.com/kubefederate/kubectl-federate/test/env"
)

const (
	version  = "v1.2.3-test.1"
	releases = "https://github.com/kubefederate/kubectl-federate/releases/download/" + version + "/"
	// maxBinary is what the plugin may weigh, in bytes, and maxWindows what it may on Windows, whose format takes a megabyte more.
	maxBinary, maxWindows = 36_000_000, 37_000_000
)

var root = filepath.Join("..", "..")

// packed is the release that the tests look at.
type packed struct {
	dir       string
	platforms []Platform
	sums      map[string]string
}

var (
	packOnce = sync.OnceValues(pack)
	workDir  string
)

// here is the platform that the tests run on.
var here = Platform{runtime.GOOS, runtime.GOARCH}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "krew-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		workDir = dir
		return m.Run()
	}())
}

// pack packs the platform it runs on, in the full tier also one whose binary has another name, and in the extended tier all.
func pack() (packed, error) {
	p := packed{dir: filepath.Join(workDir, "dist"), sums: map[string]string{}}
	p.platforms = env.InTier(Platforms, []Platform{here, {"windows", "amd64"}}, []Platform{here})
	r := Release{Source: root, Version: version, Out: p.dir}
	for _, platform := range p.platforms {
		sum, err := r.Pack(context.Background(), platform)
		if err != nil {
			return p, err
		}
		p.sums[platform.Archive(version)] = sum
	}
	return p, nil
}

func release(t *testing.T) packed {
	t.Helper()
	p, err := packOnce()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// manifest renders krew.yaml. Archives that were not built get a checksum that nothing has.
func (p packed) manifest(t *testing.T) []byte {
	t.Helper()
	sums := map[string]string{}
	for _, platform := range Platforms {
		name := platform.Archive(version)
		sums[name] = strings.Repeat("0", 64)
		if sum, ok := p.sums[name]; ok {
			sums[name] = sum
		}
	}
	out, err := Render(read(t, filepath.Join(root, "krew.yaml")), version, sums)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestArchives looks into every archive: LICENSE and one binary, regular files, nothing of the machine they
// were made on, and a binary that is not too heavy.
func TestArchives(t *testing.T) {
	t.Parallel()
	p := release(t)
	license := read(t, filepath.Join(root, "LICENSE"))
	for _, platform := range p.platforms {
		t.Run(platform.String(), func(t *testing.T) {
			t.Parallel()
			content := read(t, filepath.Join(p.dir, platform.Archive(version)))
			if got, want := p.sums[platform.Archive(version)], hex.EncodeToString(sum(content)); got != want {
				t.Errorf("checksum %s was reported for an archive with checksum %s", got, want)
			}
			zipped, err := gzip.NewReader(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			if !zipped.ModTime.IsZero() || zipped.Name != "" || zipped.Comment != "" {
				t.Errorf("the gzip header shows where it was made: %+v", zipped.Header)
			}
			var names []string
			archive := tar.NewReader(zipped)
			for {
				header, err := archive.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, header.Name)
				body, err := io.ReadAll(archive)
				if err != nil {
					t.Fatal(err)
				}
				if header.Typeflag != tar.TypeReg {
					t.Errorf("%s is no regular file: krew refuses the archive", header.Name)
				}
				if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.Gname != "" || header.ModTime.Year() != 1980 {
					t.Errorf("%s shows where it was made: %+v", header.Name, header)
				}
				wantMode := int64(0o644)
				switch header.Name {
				case "LICENSE":
					if !bytes.Equal(body, license) {
						t.Error("LICENSE is not the project's")
					}
				case platform.Binary():
					wantMode = 0o755
					t.Logf("%s: %.1f MB, the archive %.1f MB", platform, float64(len(body))/1e6, float64(len(content))/1e6)
					most := maxBinary
					if platform.OS == "windows" {
						most = maxWindows
					}
					if len(body) > most {
						t.Errorf("%s has %d bytes, more than %d", header.Name, len(body), most)
					}
				}
				if header.Mode != wantMode {
					t.Errorf("%s has mode %o, want %o", header.Name, header.Mode, wantMode)
				}
			}
			if want := []string{"LICENSE", platform.Binary()}; !slices.Equal(names, want) {
				t.Errorf("the archive holds %q, want %q", names, want)
			}
		})
	}
}

// TestPackIsReproducible packs again from a copy of the sources in another folder and expects the same bytes.
// The extended tier builds the platform it runs on without anything that the first build left in Go's cache.
func TestPackIsReproducible(t *testing.T) {
	env.Full(t, "it builds everything twice")
	t.Parallel()
	p := release(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := checkout.Copy(t.Context(), root, elsewhere); err != nil {
		t.Fatal(err)
	}
	again := Release{Source: elsewhere, Version: version, Out: t.TempDir()}
	for _, platform := range p.platforms {
		r := again
		if env.Extended && platform == here {
			r.Env = []string{"GOCACHE=" + t.TempDir()}
		}
		got, err := r.Pack(t.Context(), platform)
		if err != nil {
			t.Fatal(err)
		}
		if want := p.sums[platform.Archive(version)]; got != want {
			t.Errorf("%s: checksum %s, and %s from another folder", platform, want, got)
		}
	}
	// The checksum does depend on what is packed.
	r := again
	r.Version = "v1.2.3-test.2"
	got, err := r.Pack(t.Context(), p.platforms[0])
	if err != nil {
		t.Fatal(err)
	}
	if got == p.sums[p.platforms[0].Archive(version)] {
		t.Errorf("two versions have the checksum %s", got)
	}
}

// TestManifest judges the rendered manifest by krew's own validator and by what krew's reviewers ask for.
func TestManifest(t *testing.T) {
	t.Parallel()
	manifest := release(t).manifest(t)
	for _, fault := range faults(t, manifest) {
		t.Error(fault)
	}
	if out, err := validate(t, manifest); err != nil {
		t.Errorf("krew's validator: %v\n%s", err, out)
	}

	// The negative control: what both look for is found.
	for _, tt := range []struct{ name, old, new, want string }{
		{"no leading v", "version: v1", "version: 1", `version "1.2.3-test.1" has no leading v`},
		{"long description", "named federation", "named federation, and unjoin", "the short description has 57 characters, krew shows 50"},
		{"another binary", "bin: kubectl-federate\n", "bin: kubectl-fed\n", `linux/amd64: the binary is "kubectl-fed"`},
		{"no licence", "    - {from: LICENSE, to: .}\n", "", "linux/amd64: LICENSE is not installed"},
		{"another archive", version + "_linux_amd64", version + "_linux_arm", "linux/amd64: the archive is \"" + releases + "kubectl-federate_" + version + "_linux_arm.tar.gz\""},
		{"platform lost", "os: darwin\n        arch: amd64", "os: darwin\n        arch: ppc64le", "no archive for darwin/amd64"},
	} {
		broken := bytes.Replace(manifest, []byte(tt.old), []byte(tt.new), 1)
		if got := faults(t, broken); !slices.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"upper case", `sha256: "`, `sha256: "A`, "is not valid, must match pattern"},
		{"overlap", "os: linux\n        arch: arm64", "os: linux\n        arch: amd64", "overlapping selectors"},
	} {
		broken := bytes.Replace(manifest, []byte(tt.old), []byte(tt.new), 1)
		if out, err := validate(t, broken); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: krew's validator said %v, want %q in\n%s", tt.name, err, tt.want, out)
		}
	}
}

// TestRenderNeedsEveryArchive keeps a manifest from naming what was not built.
func TestRenderNeedsEveryArchive(t *testing.T) {
	t.Parallel()
	_, err := Render(read(t, filepath.Join(root, "krew.yaml")), version, map[string]string{})
	want := "no archive kubectl-federate_" + version + "_linux_amd64.tar.gz was built"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %q at its end", err, want)
	}
}

// TestKrewInstallsThePlugin installs the archive with the real krew and calls the plugin through the real
// kubectl.
func TestKrewInstallsThePlugin(t *testing.T) {
	t.Parallel()
	p := release(t)
	home := newHome(t)
	archive := filepath.Join(p.dir, here.Archive(version))

	damaged := filepath.Join(t.TempDir(), "damaged.tar.gz")
	content := read(t, archive)
	content[len(content)/2] ^= 1
	write(t, damaged, content)
	manifest := filepath.Join(t.TempDir(), ManifestName)
	write(t, manifest, p.manifest(t))
	if out, err := home.run(t, "kubectl", "krew", "install", "--manifest="+manifest, "--archive="+damaged); err == nil ||
		!strings.Contains(out, "checksum does not match") {
		t.Errorf("krew took a damaged archive: %v\n%s", err, out)
	}

	if out, err := home.run(t, "kubectl", "krew", "install", "--manifest="+manifest, "--archive="+archive); err != nil {
		t.Fatalf("krew install: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(home.krewRoot, "store", "federate", version, "LICENSE")); err != nil {
		t.Error(err)
	}
	out, err := home.run(t, "kubectl", "federate", "version", "--client", "-o", "json")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var answer struct{ ClientVersion struct{ Version string } }
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if answer.ClientVersion.Version != version {
		t.Errorf("the installed plugin says that it is %q, want %q", answer.ClientVersion.Version, version)
	}
}

// faults lists what krew's reviewers would send back and its validator does not see.
func faults(t *testing.T, manifest []byte) []string {
	t.Helper()
	var m struct {
		Metadata struct{ Name string }
		Spec     struct {
			Version, ShortDescription, Homepage, Description string
			Platforms                                        []struct {
				URI, Sha256, Bin string
				Files            []struct{ From, To string }
				Selector         struct{ MatchLabels map[string]string }
			}
		}
	}
	if err := yaml.Unmarshal(manifest, &m); err != nil {
		t.Fatalf("%v\n%s", err, manifest)
	}
	var found []string
	report := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if m.Metadata.Name+".yaml" != ManifestName {
		report("the plugin %q is in the file %s", m.Metadata.Name, ManifestName)
	}
	if !strings.HasPrefix(m.Spec.Version, "v") {
		report("version %q has no leading v", m.Spec.Version)
	}
	if n := len([]rune(m.Spec.ShortDescription)); n == 0 || n > 50 {
		report("the short description has %d characters, krew shows 50", n)
	}
	if m.Spec.Homepage == "" || m.Spec.Description == "" {
		report("homepage and description are empty")
	}
	seen := map[Platform]bool{}
	for _, entry := range m.Spec.Platforms {
		p := Platform{entry.Selector.MatchLabels["os"], entry.Selector.MatchLabels["arch"]}
		seen[p] = true
		if entry.URI != releases+p.Archive(version) {
			report("%s: the archive is %q", p, entry.URI)
		}
		if entry.Bin != p.Binary() {
			report("%s: the binary is %q", p, entry.Bin)
		}
		for _, name := range []string{p.Binary(), "LICENSE"} {
			if !slices.Contains(entry.Files, struct{ From, To string }{name, "."}) {
				report("%s: %s is not installed", p, name)
			}
		}
	}
	for _, p := range Platforms {
		if !seen[p] {
			report("no archive for %s", p)
		}
	}
	return found
}

// validate asks krew's validator about a manifest, without installing anything.
func validate(t *testing.T, manifest []byte) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), ManifestName)
	write(t, file, manifest)
	return newHome(t).run(t, "validate-krew-manifest", "-skip-install", "-manifest="+file)
}

// home is a user who has kubectl and krew and nothing else.
type home struct {
	dir, krewRoot string
	path          string
}

func newHome(t *testing.T) home {
	t.Helper()
	tools, err := krewTools()
	if err != nil {
		t.Fatal(err)
	}
	assets, err := env.Assets(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	h := home{dir: t.TempDir()}
	h.krewRoot = filepath.Join(h.dir, "krew")
	h.path = strings.Join([]string{filepath.Join(h.krewRoot, "bin"), tools, assets, "/usr/bin", "/bin"}, string(os.PathListSeparator))
	return h
}

// run executes one of the user's commands and returns all that it printed. Only the version command's answer
// is read as data, and it prints nothing to stderr.
func (h home) run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	for _, dir := range filepath.SplitList(h.path) {
		if full := filepath.Join(dir, name); executable(full) {
			name = full
			break
		}
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"HOME=" + h.dir, "PATH=" + h.path, "KREW_ROOT=" + h.krewRoot, "KREW_NO_UPGRADE_CHECK=1", "TMPDIR=" + os.TempDir()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// krewTools builds krew, as a kubectl plugin, and its validator from the module that pins them.
var krewTools = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(workDir, "tools")
	for name, pkg := range map[string]string{
		"kubectl-krew":           "sigs.k8s.io/krew/cmd/krew",
		"validate-krew-manifest": "sigs.k8s.io/krew/cmd/validate-krew-manifest",
	} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		cmd.Dir = filepath.Join(root, "test", "tools", "krew")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
		}
	}
	return dir, nil
})

func sum(content []byte) []byte {
	s := sha256.Sum256(content)
	return s[:]
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
