// The command verify checks that what a person can forget after an edit was done: go files are formatted,
// generated files say what their sources say, and go.mod files are tidy. It edits nothing; generators run in a
// copy of the tree.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kubefederate/kubectl-federate/test/checkout"
)

func main() {
	root := flag.String("root", ".", "the checkout's top `folder`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := 0
	for _, check := range checks {
		start := time.Now()
		faults, err := check.run(ctx, *root)
		if err != nil {
			faults = append(faults, err.Error())
		}
		verdict := "ok"
		if len(faults) > 0 {
			verdict, code = "failed", 1
		}
		fmt.Fprintf(os.Stderr, "verify: %s: %s (%.0f s)\n", check.name, verdict, time.Since(start).Seconds())
		for _, fault := range faults {
			fmt.Println(fault)
		}
	}
	stop()
	os.Exit(code)
}

// checks report faults, each with its remedy; an error is a check that could not be made.
var checks = []struct {
	name string
	run  func(ctx context.Context, root string) ([]string, error)
}{
	{"formatting", formatting},
	{"generated files", generated},
	{"go.mod files", modules},
}

// formatting runs gofmt over every go file.
func formatting(ctx context.Context, root string) ([]string, error) {
	files, err := checkout.Files(ctx, root)
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(name string) bool { return path.Ext(name) != ".go" })
	if len(files) == 0 {
		return nil, errors.New("there are no go files")
	}
	out, err := run(ctx, root, "gofmt", append([]string{"-l"}, files...)...)
	if err != nil {
		return nil, err
	}
	var faults []string
	for name := range strings.FieldsSeq(out) {
		faults = append(faults, fmt.Sprintf("%s is not formatted: gofmt -w %s", name, name))
	}
	return faults, nil
}

// generated runs `make generate` in a copy of the tree and looks for files that it changed.
func generated(ctx context.Context, root string) ([]string, error) {
	dir, err := os.MkdirTemp("", "verify-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	for _, to := range []string{before, after} {
		if err := checkout.Copy(ctx, root, to); err != nil {
			return nil, err
		}
	}
	if out, err := run(ctx, after, "make", "generate"); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	var faults []string
	differ := func(what, from, to string) error {
		return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(from, file)
			if err != nil {
				return err
			}
			was, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			is, err := os.ReadFile(filepath.Join(to, name))
			if errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, fmt.Sprintf("%s %s: make generate, and add what it did", filepath.ToSlash(name), what))
				return nil
			}
			if err == nil && !bytes.Equal(was, is) && from == before {
				faults = append(faults, fmt.Sprintf("%s is out of date: make generate", filepath.ToSlash(name)))
			}
			return err
		})
	}
	if err := differ("is removed by its generator", before, after); err != nil {
		return nil, err
	}
	if err := differ("is missing", after, before); err != nil {
		return nil, err
	}
	return faults, nil
}

// modules asks go mod tidy about each module.
func modules(ctx context.Context, root string) ([]string, error) {
	files, err := checkout.Files(ctx, root)
	if err != nil {
		return nil, err
	}
	var faults []string
	for _, name := range files {
		if path.Base(name) != "go.mod" {
			continue
		}
		dir := path.Dir(name)
		if out, err := run(ctx, filepath.Join(root, filepath.FromSlash(dir)), "go", "mod", "tidy", "-diff"); err != nil {
			faults = append(faults, fmt.Sprintf("%s is not tidy: go -C %s mod tidy\n%s", name, dir, out))
		}
	}
	return faults, nil
}

// run returns what a command printed.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), err
}
