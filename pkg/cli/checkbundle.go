package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	apiversion "k8s.io/apimachinery/pkg/version"

	"github.com/kubefederate/kubectl-federate/pkg/bundle"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

func (o *checkOptions) validateBundle() error {
	switch {
	case o.bundle == "":
	case o.pre:
		return output.Usagef("--bundle is of a host that has kubectl federate, and --pre of one that has not")
	case o.output.Data():
		return output.Usagef("--bundle writes a file, and prints nothing in another format: leave out --output")
	case o.bundle == standardOutput:
		if output.RawStream(o.Out) == nil {
			return output.Usagef("a bundle is not written to a terminal; name a file, or redirect the output")
		}
	default:
		return absent(o.bundle)
	}
	return nil
}

// standardOutput is the name of a file that stands for standard output.
const standardOutput = "-"

// absent refuses to overwrite a file: it may be the bundle of another time.
func absent(path string) error {
	switch _, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return output.Usagef("the file %q exists, and is not overwritten; name another", path)
}

// bundleVersions are those of what is involved.
type bundleVersions struct {
	output.TypeMeta
	Plugin     string `json:"plugin"`
	Installed  string `json:"installed"`
	Kubernetes string `json:"kubernetes"`
	Server     string `json:"server"`
}

// runBundle writes a support bundle.
func (o *checkOptions) runBundle(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	found := bundleVersions{TypeMeta: output.Kind("Versions"), Plugin: version.Version, Server: h.Server()}
	var kubernetes apiversion.Info
	if err := h.GetPath(ctx, "/version", &kubernetes); err != nil {
		return output.WhileReading(ctx, err) // without an answer there is nothing to put into a bundle
	}
	found.Kubernetes = kubernetes.GitVersion
	var unread error
	found.Installed, unread = install.Version(ctx, h.Cluster)
	files := []bundle.File{{Name: "versions.json", Content: found}}
	if unread != nil {
		files = append(files, bundle.File{Name: "the version that is installed", Err: unread})
	}
	files = append(files, o.findings(ctx, h))
	progress := o.messages.Progress("gathering a support bundle")
	defer progress.End()
	var contents *bundle.Contents
	counted := &counter{}
	write := func(w io.Writer) (err error) {
		counted.w = w
		contents, err = bundle.Write(ctx, h.Cluster, files, counted)
		return err
	}
	where, listed := o.bundle, o.Out
	if o.bundle == standardOutput {
		where, listed = "standard output", o.ErrOut
		err = write(output.RawStream(o.Out))
	} else {
		err = create(o.bundle, write)
	}
	progress.End()
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	return o.printContents(listed, contents, counted.n, where)
}

// findings are what check finds, as a file.
func (o *checkOptions) findings(ctx context.Context, h targets.Members) bundle.File {
	facts, findings, err := o.diagnose(ctx, h)
	if err != nil {
		return bundle.File{Name: "check.json", Err: err}
	}
	return bundle.File{Name: "check.json", Content: diagnosis{output.Kind("Diagnosis"), append([]check.Finding{}, findings...), check.Areas(*facts, findings)}}
}

// printContents prints what is in a bundle that was written, and what is not.
func (o *checkOptions) printContents(w io.Writer, c *bundle.Contents, size int, where string) error {
	rows := [][]string{{"FILE", "BYTES", "NOTE"}}
	for _, p := range c.Parts {
		note := ""
		if p.Cut {
			note = "the end of a longer log"
		}
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Bytes), note})
	}
	if err := output.Rows(w, rows); err != nil {
		return err
	}
	for _, l := range c.LeftOut {
		output.Linef(o.ErrOut, "Warning: left out: %s: %s", l.What, l.Reason)
	}
	output.Linef(o.ErrOut, "%s: %s, %d bytes, without what has the shape of a secret; look through it before you give it to others", where,
		output.Count(len(c.Parts), "file", "files"), size)
	return nil
}

// create makes a file that only its owner can read: whole, or not at all, and never over another one.
func create(path string, write func(io.Writer) error) error {
	return beside(path, func(f *os.File) error { return write(f) }, func(made string) error {
		switch err := os.Link(made, path); {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return absent(path)
		}
		// A file system without links.
		return cmp.Or(absent(path), os.Rename(made, path))
	})
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}
