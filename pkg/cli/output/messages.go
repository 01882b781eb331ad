package output

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
	textwidth "golang.org/x/text/width"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Messages are what a command prints on stderr while it works: the warnings of API servers, each text once, and a line of
// progress that warnings do not run into. What cannot be written is dropped: the work continues without its reader.
type Messages struct {
	W io.Writer

	mu      sync.Mutex
	printed map[string]bool
	// live is the progress that is shown; nil while there is none.
	live *Progress
}

// subjectKey is the key of the name that a request is about.
type subjectKey struct{}

// About puts name before the warnings that answer requests with the context. It is for commands on many members, of which
// a host warns in the same words.
func About(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, subjectKey{}, name)
}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (m *Messages) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	const miscellaneousPersistent = 299 // RFC 7234, section 5.5: the one that API servers send
	if code != miscellaneousPersistent || text == "" {
		return
	}
	text = cluster.Shortened(text)
	if name, ok := ctx.Value(subjectKey{}).(string); ok {
		text = name + ": " + text
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.printed[text] {
		return
	}
	if m.printed == nil {
		m.printed = map[string]bool{}
	}
	m.printed[text] = true
	m.line("Warning: " + text)
}

// Line prints a line that stays.
func (m *Messages) Line(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.line(text)
}

// Print has write write to W, where it does not run into a live line.
func (m *Messages) Print(write func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	write()
}

// line prints a line that stays. It is called with the lock held.
func (m *Messages) line(text string) {
	m.clear()
	Line(m.W, text)
}

// clear removes the live line, which a line that stays would run into.
func (m *Messages) clear() {
	if m.live != nil && m.live.dirty {
		fmt.Fprint(m.W, clearLine)
		m.live.dirty = false
	}
}

// Progress reports what is being done: a line that is rewritten on a terminal, with the time that it takes; elsewhere one line, and only when the
// work takes long, so that logs stay short. Its methods may be called from several goroutines.
type Progress struct {
	m *Messages
	// terminal is nil where W is none that can rewrite a line.
	terminal *os.File
	dirty    bool
	// text is that of the live line, which has the time since began.
	text  string
	began time.Time
	// next redraws the live line, or prints the one line of a log.
	next *time.Timer
}

const (
	// clearLine moves to the start of a terminal's line and empties it (ECMA-48 EL).
	clearLine = "\r\x1b[K"
	// quietTime is how long work may take without a line in a log.
	quietTime = 2 * time.Second
)

// Progress begins to report; text is what is being done first.
func (m *Messages) Progress(text string) *Progress {
	p := &Progress{m: m, terminal: rewritable(m.W), began: time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = p
	if p.terminal != nil {
		p.text = text
		p.draw()
		p.next = time.AfterFunc(time.Second, p.tick)
	} else {
		p.next = time.AfterFunc(quietTime, func() { p.Line(text) })
	}
	return p
}

// tick draws the live line with the time that has passed, each second until the end.
func (p *Progress) tick() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.live == p {
		p.draw()
		p.next.Reset(time.Second)
	}
}

// draw writes the live line, cut to the terminal. It is called with the lock held.
func (p *Progress) draw() {
	passed := ""
	if seconds := time.Since(p.began).Truncate(time.Second); seconds > 0 {
		passed = " (" + seconds.String() + ")"
	}
	columns := width(p.terminal) - 1 // a character in the last column begins a new line
	if len(passed) >= columns {
		passed = ""
	}
	fmt.Fprint(p.m.W, clearLine+cut(OneLine(p.text), columns-len(passed))+passed)
	p.dirty = true
}

// rewritable is w as a terminal on which a line can be rewritten; nil where it is none. A dumb one shows the codes for that,
// and so may one of an unknown kind.
func rewritable(w io.Writer) *os.File {
	file, ok := w.(*os.File)
	kind := os.Getenv("TERM")
	if !ok || !term.IsTerminal(int(file.Fd())) || kind == "dumb" || kind == "" && runtime.GOOS != "windows" {
		return nil
	}
	return file
}

// width is how many characters of one column a line of the terminal holds now.
func width(terminal *os.File) int {
	const usual = 80
	if columns, _, err := term.GetSize(int(terminal.Fd())); err == nil && columns > 0 {
		return columns
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	return usual
}

// cut is as much of a text as fits into columns, with an ellipsis where something is missing.
func cut(text string, columns int) string {
	used, fits := 0, 0 // fits is how many bytes leave a column for the ellipsis
	for i, r := range text {
		cells := 1
		if kind := textwidth.LookupRune(r).Kind(); kind == textwidth.EastAsianWide || kind == textwidth.EastAsianFullwidth {
			cells = 2
		}
		if used += cells; used > columns {
			if columns < 1 {
				return ""
			}
			return text[:fits] + "…"
		}
		if used < columns {
			fits = i + utf8.RuneLen(r)
		}
	}
	return text
}

// Update replaces the live line; elsewhere than on a terminal it prints nothing.
func (p *Progress) Update(text string) {
	if p.terminal == nil {
		return
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.text = text
	p.draw()
}

// Step reports that one of many is done: on a terminal the live line says how many are, elsewhere a line says which.
func (p *Progress) Step(count, which string) {
	if p.terminal != nil {
		p.Update(count)
	} else {
		p.Line(which)
	}
}

// Wait reports what takes a while: elsewhere than on a terminal a line of its own.
func (p *Progress) Wait(text string) { p.Step(text, text) }

// Line prints a line that stays.
func (p *Progress) Line(text string) {
	p.m.Line(text)
}

// End removes the live line. It may be called twice.
func (p *Progress) End() {
	p.next.Stop()
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.m.clear()
	if p.m.live == p {
		p.m.live = nil
	}
}
