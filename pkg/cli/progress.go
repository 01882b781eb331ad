package cli

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"k8s.io/cli-runtime/pkg/printers"

	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// progress tells on stderr what goes on: a line that is rewritten on a terminal; elsewhere one line, and only
// when the work takes long, so that logs stay short. Its methods may be called from several goroutines.
type progress struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	dirty    bool
	slow     *time.Timer
	over     func()
}

const (
	// clearLine moves to the start of a terminal's line and empties it (ECMA-48 EL).
	clearLine = "\r\x1b[K"
	// long is when a person who reads a log begins to wonder.
	long = 2 * time.Second
)

func newProgress(d *factory, first string) *progress {
	p := &progress{w: d.ErrOut, terminal: printers.IsTerminal(d.ErrOut)}
	p.over = func() { d.warnings.beside(nil) }
	d.warnings.beside(p)
	if p.terminal {
		p.update(first)
	} else {
		p.slow = time.AfterFunc(long, func() { p.line(first) })
	}
	return p
}

// update replaces the live line; elsewhere than on a terminal it prints nothing.
func (p *progress) update(text string) {
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.w, clearLine+printable(text))
	p.dirty = true
}

// step tells that one of many is done: on a terminal the live line says how many are, elsewhere a line says which.
func (p *progress) step(count, which string) {
	if p.terminal {
		p.update(count)
	} else {
		p.line(which)
	}
}

// line prints a line that stays.
func (p *progress) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty {
		fmt.Fprint(p.w, clearLine)
		p.dirty = false
	}
	fmt.Fprintln(p.w, printable(text))
}

// notes prints findings that stay, but for those that were told before.
func (p *progress) notes(notes []federate.Finding, told ...federate.Finding) {
	for _, note := range notes {
		if !slices.Contains(told, note) {
			p.line("note: " + note.String())
		}
	}
}

// end takes the live line away.
func (p *progress) end() {
	if p.slow != nil {
		p.slow.Stop()
	}
	p.over()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty {
		fmt.Fprint(p.w, clearLine)
		p.dirty = false
	}
}
