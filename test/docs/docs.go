// Package docs reads README.md and the pages of docs/: their code blocks, links and tables, for the tests that hold
// them to what is true.
//
// Every code block is run, or says why it is not. A block of commands has the language console: each line that starts
// with "$ " is a command, what follows is what it prints. test/script runs the pages one after another, with a host and
// three members, and compares. A block of YAML whose first line is "# NAME.yaml" is a file for the commands of its
// page. A comment in the line above a block says otherwise:
//
//	<!-- runs in: SCRIPT -->       a script of test/script runs the same commands, in this order
//	<!-- runs in: SCRIPT FILE -->  the block is a file of that script, which compares it with what is printed
//	<!-- not run: REASON -->       it needs what a test has not
package docs

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kubefederate/kubectl-federate/test/checkout"
)

// Page is one file of Markdown.
type Page struct {
	// Path in the checkout, with slashes.
	Path string
	Text string
}

// Pages are all files of Markdown below root but templates for the forge.
func Pages(ctx context.Context, root string) ([]Page, error) {
	files, err := checkout.Files(ctx, root)
	if err != nil {
		return nil, err
	}
	var pages []Page
	for _, name := range files {
		if path.Ext(name) != ".md" || strings.HasPrefix(name, ".github/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		pages = append(pages, Page{Path: name, Text: string(text)})
	}
	return pages, nil
}

// Block is one code block of a page.
type Block struct {
	// Line of the page that the block starts in, counted from 1.
	Line     int
	Language string
	Text     string
	// Start is where Text starts in the page's text.
	Start int
	// Script of test/script that runs the block, and the File of it that the block is, or a Go test that reads it, by its path;
	// NotRun is why it is not run.
	Script, File, NotRun string
}

var mark = regexp.MustCompile(`^<!-- (runs in|not run): (.+) -->$`)

// Blocks are the code blocks of a page. A block is fenced by lines that start with three backticks, at the margin.
func (p Page) Blocks() ([]Block, error) {
	var blocks []Block
	var open *Block
	before, line, at := "", 0, 0
	for text := range strings.Lines(p.Text) {
		line++
		language, fence := strings.CutPrefix(strings.TrimRight(text, "\n"), "```")
		switch {
		case fence && open == nil:
			open = &Block{Line: line, Language: language, Start: at + len(text)}
			if found := mark.FindStringSubmatch(before); found != nil && found[1] == "not run" {
				open.NotRun = found[2]
			} else if found != nil {
				open.Script, open.File, _ = strings.Cut(found[2], " ")
			}
		case fence:
			open.Text = p.Text[open.Start:at]
			blocks = append(blocks, *open)
			open = nil
		case open == nil && strings.HasPrefix(strings.TrimLeft(text, " "), "```"):
			return nil, fmt.Errorf("%s:%d: a code block starts at the margin", p.Path, line)
		case open == nil && strings.HasPrefix(text, "    ") && strings.HasPrefix(strings.TrimLeft(text, " "), "kubectl "):
			return nil, fmt.Errorf("%s:%d: a command stands in a block ```console, where it is run", p.Path, line)
		}
		before = strings.TrimRight(text, "\n")
		at += len(text)
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the code block has no end", p.Path, open.Line)
	}
	return blocks, nil
}

// Runs says that the page's own commands are run by test/script.
func (b Block) Runs() bool { return b.Language == "console" && b.Script == "" && b.NotRun == "" }

// Name is the file that a block of YAML is; empty where it is none.
func (b Block) Name() string {
	first, _, _ := strings.Cut(b.Text, "\n")
	name, found := strings.CutPrefix(first, "# ")
	if b.Language != "yaml" || !found || path.Ext(name) != ".yaml" {
		return ""
	}
	return name
}

// Command is one command of a console block, and what it prints.
type Command struct{ Line, Output string }

// Commands are those of a console block. A command goes on in the next line after a backslash.
func (b Block) Commands() []Command {
	var commands []Command
	for _, step := range strings.Split("\n"+strings.TrimSuffix(b.Text, "\n"), "\n$ ")[1:] {
		lines := strings.SplitAfter(step+"\n", "\n")
		end := 1
		for end < len(lines) && strings.HasSuffix(strings.TrimRight(lines[end-1], "\n"), "\\") {
			end++
		}
		commands = append(commands, Command{
			Line: strings.TrimRight(strings.Join(lines[:end], ""), "\n"), Output: strings.Join(lines[end:], ""),
		})
	}
	return commands
}

// Shell is the command in one line, with single blanks.
func (c Command) Shell() string {
	return strings.Join(strings.Fields(strings.ReplaceAll(c.Line, "\\\n", " ")), " ")
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	// slug leaves out what is no part of an anchor, as GitHub makes them.
	slug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Links are the relative links of a page, outside of its code blocks.
func (p Page) Links() []string {
	var links []string
	for _, found := range link.FindAllStringSubmatch(p.prose(), -1) {
		if !strings.Contains(found[1], "://") {
			links = append(links, found[1])
		}
	}
	return links
}

// Anchors are what a link to a heading of the page ends in.
func (p Page) Anchors() map[string]bool {
	anchors := map[string]bool{}
	for _, found := range heading.FindAllStringSubmatch(p.prose(), -1) {
		anchors[strings.ReplaceAll(slug.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-")] = true
	}
	return anchors
}

// prose is the page without its code blocks.
func (p Page) prose() string {
	parts := strings.Split("\n"+p.Text, "\n```")
	var text strings.Builder
	for i := 0; i < len(parts); i += 2 {
		text.WriteString(parts[i] + "\n")
	}
	return text.String()
}
