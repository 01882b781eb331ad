package output

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: what is written to it, and how wide it is.
type terminal struct {
	*os.File
	controller *os.File
}

func newTerminal(t *testing.T, columns int) *terminal {
	t.Helper()
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = controller.Close() })
	number, err := unix.IoctlGetInt(int(controller.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(controller.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	term := &terminal{file, controller}
	term.resize(t, columns)
	return term
}

func (p *terminal) resize(t *testing.T, columns int) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
}

// written is what was written since it was last read.
func (p *terminal) written(t *testing.T) string {
	t.Helper()
	const end = "\x00"
	if _, err := io.WriteString(p, end); err != nil {
		t.Fatal(err)
	}
	var all []byte
	buffer := make([]byte, 4096)
	for !bytes.HasSuffix(all, []byte(end)) {
		_ = p.controller.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := p.controller.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, buffer[:n]...)
	}
	return strings.TrimSuffix(string(all), end)
}

// screen is what a terminal of so many columns shows: it wraps what is longer.
func screen(written string, columns int) []string {
	rows, row, column := [][]rune{nil}, 0, 0
	next := func() {
		if row++; row == len(rows) {
			rows = append(rows, nil)
		}
	}
	written = strings.ReplaceAll(written, clearLine, "\r\x1b")
	for _, r := range written {
		switch r {
		case '\r':
			column = 0
		case '\n':
			next()
		case '\x1b':
			rows[row] = rows[row][:min(column, len(rows[row]))]
		default:
			if column == columns {
				next()
				column = 0
			}
			for len(rows[row]) <= column {
				rows[row] = append(rows[row], ' ')
			}
			rows[row][column] = r
			column++
		}
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, string(r))
	}
	return lines
}

// work reports as a join does that warns in between.
func work(m *Messages, resize func()) {
	p := m.Progress(`reading the host and member "a-member-with-a-name-that-is-as-long-as-names-of-members-may-be-000000"`)
	p.Update("create ClusterRoleBinding \"kubefederate-member:kubefederate-manager\" on the member, which takes a while")
	p.Line("Warning: it is slow")
	resize()
	p.Update("create ServiceAccount \"kubefederate-member/kubefederate-manager\" on the member, which takes a while")
	p.Step("1 of 2 clusters done, and this line is longer than any terminal that a person would still work with", "us-east: joined")
	p.End()
}

// TestFieldCaseWidth works on terminals: one line is rewritten that never wraps, so that nothing of it stays.
func TestFieldCaseWidth(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	for _, tt := range []struct{ before, after int }{{80, 80}, {40, 40}, {120, 120}, {80, 40}, {40, 80}, {2, 2}, {1, 1}} {
		t.Run(fmt.Sprintf("%d to %d columns", tt.before, tt.after), func(t *testing.T) {
			p := newTerminal(t, tt.before)
			shown := ""
			work(&Messages{W: p.File}, func() { shown = p.written(t); p.resize(t, tt.after) })
			if !strings.Contains(shown, clearLine) {
				t.Error("no line is live")
			}
			const warning = "Warning: it is slow"
			if got := screen(shown, tt.before); tt.before > len(warning) && !cmp.Equal(got, []string{warning, ""}) {
				t.Errorf("on the screen: %q", got)
			}
			after := p.written(t)
			if got := screen(after, tt.after); !cmp.Equal(got, []string{""}) {
				t.Errorf("left on the screen: %q", got)
			}
			for line := range strings.SplitSeq(shown+after, clearLine) {
				if n := len([]rune(strings.TrimSpace(line))); n >= max(tt.before, tt.after) && !strings.HasPrefix(line, "Warning") {
					t.Errorf("%d columns: %q", n, line)
				}
			}
		})
	}
}

// TestProgressTime holds that a live line ends with the time that has passed, whatever is cut from its text, and that it goes on by
// itself until the end.
func TestProgressTime(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	p := newTerminal(t, 40)
	m := &Messages{W: p.File}
	progress := m.Progress("joining 3 clusters")
	m.mu.Lock()
	progress.began = time.Now().Add(-75 * time.Second)
	m.mu.Unlock()
	progress.tick()
	progress.Update("1 of 3 clusters done, and the others wait")
	m.Print(func() { fmt.Fprintln(p, "error: refused") })
	progress.tick()
	progress.End()
	const cut = "1 of 3 clusters done, and the … (1m15s)"
	want := clearLine + "joining 3 clusters" + clearLine + "joining 3 clusters (1m15s)" +
		clearLine + cut + clearLine + "error: refused\r\n" + clearLine + cut + clearLine
	progress.tick() // which a timer may still call
	if got := p.written(t); got != want {
		t.Errorf("written:\n%q, want\n%q", got, want)
	}
}

// TestFieldCaseWidthWithoutTerminal holds that nothing is live where a line cannot be rewritten.
func TestFieldCaseWidthWithoutTerminal(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, kind string
		w          func() *os.File
		written    func(*os.File) string
	}{
		{"a dumb terminal", "dumb", func() *os.File { return nil }, nil},
		{"a terminal of no kind", "", func() *os.File { return nil }, nil},
		{"a pipe", "xterm", func() *os.File { return write }, func(*os.File) string {
			_ = write.Close()
			data, _ := io.ReadAll(read)
			return string(data)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", tt.kind)
			p := newTerminal(t, 80)
			w := tt.w()
			if w == nil {
				w = p.File
			}
			work(&Messages{W: w}, func() {})
			var got string
			if tt.written != nil {
				got = tt.written(w)
			} else {
				got = strings.ReplaceAll(p.written(t), "\r\n", "\n")
			}
			if want := "Warning: it is slow\nus-east: joined\n"; got != want {
				t.Errorf("written: %q, want %q", got, want)
			}
		})
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text    string
		columns int
		want    string
	}{
		{"us-east", 7, "us-east"},
		{"us-east", 6, "us-ea…"},
		{"us-east", 1, "…"},
		{"us-east", 0, ""},
		{"us-east", -1, ""},
		{"", 0, ""},
		{"日本", 4, "日本"},
		{"日本", 3, "日…"},
		{"日本", 2, "…"},
	} {
		if got := cut(tt.text, tt.columns); got != tt.want {
			t.Errorf("%q in %d columns: %q, want %q", tt.text, tt.columns, got, tt.want)
		}
	}
}
