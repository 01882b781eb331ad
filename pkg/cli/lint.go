package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/lint"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

const lintHelp = `Judge manifests of federations and members before they reach a host. No cluster is asked.

Files are YAML or JSON, of one document or many; of a directory, every .yaml, .yml and .json in it. Objects of
other kinds are skipped. The schemas that 'init' installs are checked, unknown fields too, and then the rules, in
the words of the webhook: each object as if it were created on a host that holds all the others.

lint does not know who may do it, what an object is on the host now (and so what must not change), and members
and federations that are not among the files. A member whose federation is not among them is "not judged" by the
rules that read the federation (-o json names them); with --strict that is a failure.

Exit codes: 0 nothing is refused; 2 something is, or with --strict was not judged; 1 a file cannot be read (the
others are judged all the same).`

const lintExample = `  # Judge two files together
  kubectl federate lint -f federation.yaml -f members.yaml

  # Judge a repository, and fail for what cannot be judged
  kubectl federate lint -R -f clusters/ --strict

  # Judge what another tool prints, for a machine to read
  kustomize build . | kubectl federate lint -f - -o json`

// lintFlags are what was typed.
type lintFlags struct {
	*factory
	files     []string
	recursive bool
	strict    bool
	output    output.Format
}

func newLint(d *factory) *cobra.Command {
	f := &lintFlags{factory: d, output: output.Format{Formats: []string{"json", "yaml"}}}
	cmd := &cobra.Command{
		Use:     "lint -f FILE...",
		GroupID: groupMembers,
		Short:   "Judge manifests of federations and members before they reach a host",
		Long:    lintHelp,
		Example: lintExample,
		RunE:    runs(f.toOptions),
	}
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.files, "filename", "f", nil, "A file or a directory, or - for stdin (repeatable; further arguments are files, too)")
	flags.BoolVarP(&f.recursive, "recursive", "R", false, "Process directories recursively")
	flags.BoolVar(&f.strict, "strict", false, "Fail if any rule could not be evaluated")
	f.output.AddTo(cmd)
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
	return cmd
}

// lintOptions are ready to run.
type lintOptions struct{ lintFlags }

func (f *lintFlags) toOptions(_ *cobra.Command, args []string) (*lintOptions, error) {
	o := &lintOptions{*f}
	o.files = slices.Concat(f.files, args)
	return o, nil
}

func (o *lintOptions) validate() error {
	if err := o.output.Validate(); err != nil {
		return err
	}
	if len(o.files) == 0 {
		return output.Usagef("no files specified: name files or directories with -f, or - for stdin")
	}
	for _, name := range o.files {
		if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
			return output.Usagef("invalid --filename %q: lint downloads nothing; pipe what another tool downloads to lint -f -", name)
		}
	}
	return nil
}

// lintResult is what `lint -o json` prints.
type lintResult struct {
	output.TypeMeta
	Objects []lintObject `json:"objects"`
	// Skipped is how many objects of other kinds were skipped.
	Skipped int `json:"skipped"`
	// Unread are files and documents that cannot be read.
	Unread []string `json:"unread,omitempty"`
}

type lintObject struct {
	File     string `json:"file"`
	Document int    `json:"document"`
	// Item of a List, from 1.
	Item      int             `json:"item,omitempty"`
	Kind      string          `json:"kind"`
	Name      string          `json:"name"`
	Refusals  []lintFault     `json:"refusals,omitempty"`
	Warnings  []lintFault     `json:"warnings,omitempty"`
	NotJudged []lintNotJudged `json:"notJudged,omitempty"`
}

type lintFault struct {
	Field   string `json:"field"`
	Message string `json:"message"`
	Rule    string `json:"rule"`
}

type lintNotJudged struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

func (o *lintOptions) run(context.Context) error {
	schemas, err := lint.LoadSchemas()
	if err != nil {
		return fmt.Errorf("read the schemas that this plugin brings: %w", err)
	}
	m := lint.NewManifests(schemas)
	files, unread := o.find(o.files)
	for _, file := range files {
		unread = append(unread, readInto(m, o.In, file)...)
	}
	findings := m.Judge(time.Now())
	if o.output.Data() {
		err = o.output.Print(o.Out, newLintResult(m, findings, unread))
	} else {
		err = printFindings(o.Out, findings)
	}
	if err != nil {
		return err
	}
	for _, err := range unread {
		output.Error(o.ErrOut, err)
	}
	return o.summary(m, findings, unread)
}

// find lists the files to read, each once, directories by name.
func (o *lintOptions) find(named []string) (files []string, errs []error) {
	add := func(file string) {
		if !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	for _, name := range named {
		if name == "-" {
			add(name)
			continue
		}
		name = filepath.Clean(name)
		info, err := os.Stat(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !info.IsDir():
			add(name)
		default:
			found, err := o.within(name)
			if err == nil && len(found) == 0 {
				hint := ""
				if !o.recursive {
					hint = "; -R reads subdirectories"
				}
				err = fmt.Errorf("%s: this directory has no .yaml, .yml or .json file%s", name, hint)
			}
			if err != nil {
				errs = append(errs, err)
			}
			for _, file := range found {
				add(file)
			}
		}
	}
	return files, errs
}

// within lists the manifests of a directory. Links to files are followed, links to directories are not.
func (o *lintOptions) within(directory string) (files []string, err error) {
	var errs []error
	// With the separator at its end, WalkDir also enters a directory that is named by a link.
	root := directory + string(filepath.Separator)
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			errs = append(errs, err)
			return nil
		case entry.IsDir() && path != root && !o.recursive:
			return fs.SkipDir
		case !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			errs = append(errs, err)
		} else if info.Mode().IsRegular() {
			files = append(files, path)
		}
		return nil
	})
	return files, errors.Join(errs...)
}

func readInto(m *lint.Manifests, stdin io.Reader, file string) []error {
	if file == "-" {
		return m.Read("stdin", stdin)
	}
	r, err := os.Open(file)
	if err != nil {
		return []error{err}
	}
	defer func() { _ = r.Close() }()
	return m.Read(file, r)
}

// printFindings prints the findings of each object, in kubectl's form.
func printFindings(w io.Writer, findings []lint.Finding) error {
	for i := range findings {
		f := &findings[i]
		var lines []string
		if err := f.Err(); err != nil {
			lines = append(lines, output.ErrorText(err))
		}
		for _, text := range f.WarningTexts() {
			lines = append(lines, "Warning: "+output.OneLine(text))
		}
		if len(f.NotJudged) > 0 {
			lines = append(lines, output.OneLine("not judged: "+f.Why))
		}
		if len(lines) == 0 {
			continue
		}
		output.Linef(w, "%s: %s %q", f.Source, f.Kind, f.Name)
		if err := output.Text(w, strings.Join(lines, "\n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func newLintResult(m *lint.Manifests, findings []lint.Finding, unread []error) lintResult {
	result := lintResult{TypeMeta: output.Kind("LintResult"), Objects: []lintObject{}}
	for _, n := range m.Skipped {
		result.Skipped += n
	}
	for _, err := range unread {
		result.Unread = append(result.Unread, err.Error())
	}
	for i := range findings {
		f := &findings[i]
		o := lintObject{File: f.File, Document: f.Document, Item: f.Item, Kind: f.Kind, Name: f.Name}
		for _, e := range f.Refusals {
			o.Refusals = append(o.Refusals, lintFault{Field: e.Field, Message: e.ErrorBody(), Rule: e.Origin})
		}
		for _, e := range f.Warnings {
			o.Warnings = append(o.Warnings, lintFault{Field: e.Field, Message: strings.TrimPrefix(rules.WarningText(e), e.Field+": "), Rule: e.Origin})
		}
		for _, rule := range f.NotJudged {
			o.NotJudged = append(o.NotJudged, lintNotJudged{Rule: string(rule), Message: f.Why})
		}
		result.Objects = append(result.Objects, o)
	}
	return result
}

// summary reports on stderr what was judged, and is the error that the exit code comes from.
func (o *lintOptions) summary(m *lint.Manifests, findings []lint.Finding, unread []error) error {
	refused, warned, open := 0, 0, 0
	for i := range findings {
		refused += min(1, len(findings[i].Refusals))
		warned += min(1, len(findings[i].Warnings))
		open += min(1, len(findings[i].NotJudged))
	}
	if len(m.Skipped) > 0 {
		total, kinds := 0, slices.Sorted(maps.Keys(m.Skipped))
		for i, kind := range kinds {
			total += m.Skipped[kind]
			kinds[i] = cmp.Or(kind, "no kind")
		}
		output.Linef(o.ErrOut, "%s skipped (%s)",
			output.Count(total, "object of another kind was", "objects of other kinds were"), strings.Join(kinds, ", "))
	}
	text := fmt.Sprintf("%s judged: %d refused, %d with warnings, %d not judged in full",
		output.Count(m.Len(), "object was", "objects were"), refused, warned, open)
	switch {
	case len(unread) > 0:
		return fmt.Errorf("%s; %s", output.Count(len(unread), "file or document cannot be read", "files or documents cannot be read"), text)
	case refused > 0 || o.strict && open > 0:
		return &output.Exit{Code: output.ExitRefused, Err: errors.New(text)}
	}
	output.Line(o.ErrOut, text)
	return nil
}
