package output

import (
	"errors"
	"io"
	"syscall"

	"k8s.io/cli-runtime/pkg/printers"
)

// stream is stdout or stderr of a command, safe for a terminal whatever is written to it. Line breaks and tabs pass: see Line.
type stream struct{ w io.Writer }

// NewStream makes w safe for a terminal. Only this package writes past it: its own control sequences, and what a template of
// the user prints.
func NewStream(w io.Writer) io.Writer { return &stream{w} }

func (s *stream) Write(p []byte) (int, error) {
	if _, err := io.WriteString(s.w, Printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Piped is w, of which the first write that finds that the reader is gone, as head is after its lines, calls gone. A terminal
// stays what it is: it sends a SIGHUP.
func Piped(w io.Writer, gone func()) io.Writer {
	if printers.IsTerminal(w) {
		return w
	}
	return piped{w, gone}
}

type piped struct {
	w    io.Writer
	gone func()
}

func (p piped) Write(data []byte) (int, error) {
	n, err := p.w.Write(data)
	if errors.Is(err, syscall.EPIPE) {
		p.gone()
	}
	return n, err
}

// raw is what a stream writes to.
func raw(w io.Writer) io.Writer {
	if s, ok := w.(*stream); ok {
		return s.w
	}
	return w
}

// RawStream is what a stream writes to, for what is no text; nil where that is a terminal.
func RawStream(w io.Writer) io.Writer {
	if isTerminal(w) {
		return nil
	}
	return raw(w)
}

// isTerminal says whether w shows what is written on a terminal.
func isTerminal(w io.Writer) bool { return printers.IsTerminal(raw(w)) }
