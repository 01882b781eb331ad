//go:build unix

package env

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// thisPackage is beside the module that pins the versions of the programs.
const thisPackage = "github.com/kubefederate/kubectl-federate/test/env"

// program is one binary of a control plane: its file name and the package it is built from.
type program struct{ name, pkg string }

// Release is a minor version of Kubernetes that the product is run on.
type Release string

// The oldest releases that the docs promise, beside the newest.
const (
	Newest       Release = ""
	OldestHost   Release = "1.33"
	OldestMember Release = "1.24"
)

// release is the module beside this package that pins a release, and what is built from it.
type release struct {
	module string
	// programs are in the order in which they are built: what fails fast comes first.
	programs []program
	// tags of go build.
	tags string
	// version is the variable that an API server reports its version from.
	version string
}

const baseVersion = "k8s.io/component-base/version.gitVersion"

var (
	apiServer         = program{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"}
	controllerManager = program{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"}
)

var releases = map[Release]release{
	Newest: {module: "controlplane", programs: []program{
		{"etcd", "go.etcd.io/etcd/server/v3"}, {"kubectl", "k8s.io/kubernetes/cmd/kubectl"}, apiServer, controllerManager,
	}, version: baseVersion},
	// Of this release are the nodes, too: Debian's containerd takes no kubelet of the newest, and theirs may be three minor versions older
	// than their API server.
	OldestHost: {module: "kubernetes-1.33", programs: []program{
		{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"}, {"kubelet", "k8s.io/kubernetes/cmd/kubelet"}, apiServer, controllerManager,
	}, version: baseVersion},
	OldestMember: {module: "kubernetes-1.24", programs: []program{apiServer, controllerManager}, tags: "providerless",
		version: "k8s.io/client-go/pkg/version.gitVersion"},
}

// Assets returns a folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl.
//
// Where KUBEBUILDER_ASSETS is set, that is the folder, and it is an error that names them if it lacks one of
// the four: a control plane put together from two origins would hide which version a test ran against.
//
// Otherwise the four are built from the module test/env/controlplane into the user's cache folder, once per
// content of that module, Go version and platform. The first build of a machine takes up to 25 minutes on two
// cores; progress gets a line for every step. Processes that ask at the same time build once. A folder that is
// returned is complete: it appears by a rename.
func Assets(ctx context.Context, progress io.Writer) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		if missing := missing(dir, releases[Newest].programs); len(missing) > 0 {
			return "", fmt.Errorf("KUBEBUILDER_ASSETS is %q, where %s is missing: add it, or unset the variable to have all of them built",
				dir, strings.Join(missing, ", "))
		}
		return dir, nil
	}
	return Newest.Assets(ctx, progress)
}

// Assets returns the folder of the programs of a release, built as the function Assets builds them: kube-apiserver and
// kube-controller-manager, of OldestHost also kubelet and kube-scheduler.
func (r Release) Assets(ctx context.Context, progress io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for the control plane's programs: %w", err)
	}
	list := exec.CommandContext(ctx, "go", "list", "-find", "-f", "{{.Dir}}", thisPackage)
	list.Stderr = progress
	dir, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find the module of the control plane: run this inside a checkout: %w", err)
	}
	b, err := newBuild(filepath.Join(strings.TrimSpace(string(dir)), releases[r].module), releases[r])
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
	env      []string // added to the environment
	key      string   // the version, and a hash of all inputs
	programs []program
}

var kubernetesRequirement = regexp.MustCompile(`(?m)^\s*(?:require )?k8s\.io/kubernetes (v\S+)`)

func newBuild(module string, r release) (*build, error) {
	goMod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return nil, err
	}
	goSum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return nil, err
	}
	version := kubernetesRequirement.FindSubmatch(goMod)
	if version == nil {
		return nil, errors.New("the control plane's go.mod does not require k8s.io/kubernetes")
	}
	b := &build{
		module: module,
		// The version is stamped as Kubernetes' own release does it; without it every client sees v0.0.0.
		flags:    []string{"-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X " + r.version + "=" + string(version[1])},
		env:      []string{"CGO_ENABLED=0", "GOWORK=off"},
		programs: r.programs,
	}
	if r.tags != "" {
		b.flags = append(b.flags, "-tags="+r.tags)
	}
	h := sha256.New()
	for _, part := range []string{
		string(goMod), string(goSum), runtime.Version() + "\n" + runtime.GOOS + "\n" + runtime.GOARCH,
		strings.Join(b.flags, " "), strings.Join(b.env, " "), fmt.Sprint(b.programs),
	} {
		fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	b.key = string(version[1]) + "-" + hex.EncodeToString(h.Sum(nil))[:12]
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
	unlock, err := lock(ctx, dir+".lock", progress)
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
	fmt.Fprintf(progress, "control plane: first build of %s on this machine; up to 25 minutes on two cores, less when Go has built it before; kept in %s\n",
		b.key, dir)
	for i, p := range b.programs {
		began := time.Now()
		fmt.Fprintf(progress, "control plane: %s (%d of %d): building\n", p.name, i+1, len(b.programs))
		cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, b.flags...), "-o", filepath.Join(temp, p.name), p.pkg)...)
		cmd.Dir = b.module
		cmd.Env = append(os.Environ(), b.env...)
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s in %s: %w\n%s", p.pkg, b.module, err, output)
		}
		fmt.Fprintf(progress, "control plane: %s (%d of %d): built in %.0f s\n", p.name, i+1, len(b.programs), time.Since(began).Seconds())
	}
	// MkdirTemp makes the folder private to its owner, the cache is not.
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	// What is there now, under the lock, lacks a program; a rename needs it gone.
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Rename(temp, dir)
}

// lock takes an exclusive lock that the kernel drops when this process ends.
func lock(ctx context.Context, path string, progress io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		return func() { f.Close() }, nil
	}
	fmt.Fprintln(progress, "control plane: another process is building it, waiting")
	if err := Poll(ctx, func(context.Context) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
