//go:build unix

package env

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// modulePath is the module this package is part of; controlplaneDir is, below it, the module that pins the
// versions of the programs.
const (
	modulePath      = "github.com/kubefederate/kubectl-federate"
	controlplaneDir = "test/env/controlplane"
)

// program is one binary of a control plane: its file name and the package it is built from.
type program struct{ name, pkg string }

// programs are in the order in which they are built: what fails fast comes first.
var programs = []program{
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
}

// Assets returns a folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl.
//
// Where KUBEBUILDER_ASSETS is set, that is the folder, and it is an error that names them if it lacks one of
// the four: a control plane put together from two origins would hide which version a test ran against.
//
// Otherwise the four are built from the module test/env/controlplane into the user's cache folder, once per
// content of that module, Go version and platform. The first build of a machine takes a quarter of an hour
// on two cores; progress is told about that and about every step. Processes that ask at the same time build
// once. A folder that is returned is complete: it appears by a rename.
func Assets(ctx context.Context, progress io.Writer) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		if missing := missing(dir, programs); len(missing) > 0 {
			return "", fmt.Errorf("KUBEBUILDER_ASSETS is %q, where %s is missing: add it, or unset the variable to have all of them built",
				dir, strings.Join(missing, ", "))
		}
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for the control plane's programs: %w", err)
	}
	module, err := controlplaneModule(ctx)
	if err != nil {
		return "", err
	}
	b, err := newBuild(ctx, module, programs)
	if err != nil {
		return "", err
	}
	return b.cached(ctx, filepath.Join(cache, "kubectl-federate", "controlplane"), progress)
}

// missing names the programs that dir does not hold.
func missing(dir string, programs []program) []string {
	var missing []string
	for _, p := range programs {
		if info, err := os.Stat(filepath.Join(dir, p.name)); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			missing = append(missing, p.name)
		}
	}
	return missing
}

// build is everything that decides what the programs contain.
type build struct {
	module   string   // the folder of the control-plane module
	flags    []string // of go build
	env      []string // added to ours
	key      string   // a hash of all inputs
	programs []program
}

func newBuild(ctx context.Context, module string, programs []program) (*build, error) {
	goMod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return nil, err
	}
	goSum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return nil, err
	}
	version, err := kubernetesVersion(goMod)
	if err != nil {
		return nil, err
	}
	goVersion, err := goCommand(ctx, module, "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return nil, err
	}
	b := &build{
		module: module,
		// The version is stamped as Kubernetes' own release does it; without it every client sees v0.0.0.
		flags:    []string{"-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=" + version},
		env:      []string{"CGO_ENABLED=0", "GOWORK=off"},
		programs: programs,
	}
	h := sha256.New()
	for _, part := range []string{string(goMod), string(goSum), goVersion, strings.Join(b.flags, " "), strings.Join(b.env, " "), fmt.Sprint(b.programs)} {
		fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	b.key = version + "-" + hex.EncodeToString(h.Sum(nil))[:12]
	return b, nil
}

// cached returns the folder of this build below root and makes it when it is not there.
func (b *build) cached(ctx context.Context, root string, progress io.Writer) (string, error) {
	dir := filepath.Join(root, b.key)
	if len(missing(dir, b.programs)) == 0 {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, dir+".lock", func() {
		fmt.Fprintf(progress, "control plane: another process is building it, waiting\n")
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if len(missing(dir, b.programs)) == 0 {
		return dir, nil
	}

	temp, err := os.MkdirTemp(root, b.key+".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	start := time.Now()
	fmt.Fprintf(progress, "control plane: first build of %s on this machine; about 15 minutes on two cores, less when Go has built it before; kept in %s\n",
		b.key, dir)
	for i, p := range b.programs {
		what := fmt.Sprintf("control plane: %s (%d of %d)", p.name, i+1, len(b.programs))
		fmt.Fprintf(progress, "%s: building\n", what)
		began := time.Now()
		if err := b.one(ctx, filepath.Join(temp, p.name), p.pkg, func() {
			fmt.Fprintf(progress, "%s: still building, %.0f s\n", what, time.Since(began).Seconds())
		}); err != nil {
			return "", err
		}
		fmt.Fprintf(progress, "%s: built in %.0f s\n", what, time.Since(began).Seconds())
	}
	// MkdirTemp makes the folder private to its owner, the cache is not.
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	// What is there now, under the lock, is a folder that somebody thinned out; a rename needs it gone.
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil {
		return "", err
	}
	fmt.Fprintf(progress, "control plane: ready after %.0f s\n", time.Since(start).Seconds())
	return dir, nil
}

// one builds a single program and calls alive every ten seconds meanwhile.
func (b *build) one(ctx context.Context, out, pkg string, alive func()) error {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, b.flags...), "-o", out, pkg)...)
	cmd.Dir = b.module
	cmd.Env = append(os.Environ(), b.env...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("building %s in %s: %w\n%s", pkg, b.module, err, output.String())
			}
			return nil
		case <-tick.C:
			alive()
		}
	}
}

// lock takes an exclusive lock that the kernel drops when this process ends, and calls waiting once if
// somebody else holds it.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	told := false
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !told {
			waiting()
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// controlplaneModule finds the module's folder beside this source file or, in a binary built with -trimpath,
// which does not know where its source was, by asking go in the working directory.
func controlplaneModule(ctx context.Context) (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		dir := filepath.Join(filepath.Dir(file), "controlplane")
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	root, err := goCommand(ctx, "", "list", "-m", "-f", "{{.Dir}}", modulePath)
	if err != nil {
		return "", fmt.Errorf("finding the module of the control plane: run this inside a checkout: %w", err)
	}
	return filepath.Join(root, filepath.FromSlash(controlplaneDir)), nil
}

var kubernetesRequirement = regexp.MustCompile(`(?m)^\s*(?:require )?k8s\.io/kubernetes (v\S+)`)

// kubernetesVersion reads the version out of the module's go.mod, the one place that says it.
func kubernetesVersion(goMod []byte) (string, error) {
	m := kubernetesRequirement.FindSubmatch(goMod)
	if m == nil {
		return "", errors.New("the control plane's go.mod does not require k8s.io/kubernetes")
	}
	return string(m[1]), nil
}

func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, exit.Stderr)
		}
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
