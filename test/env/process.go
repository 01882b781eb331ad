//go:build unix

package env

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// supervise runs a server as the child of a small shell that reads a pipe whose other end this process holds.
// However this process ends, and be it by SIGKILL, the kernel closes the pipe, and the shell kills the server.
// A death signal from the kernel (Pdeathsig) would do the same, but on Linux alone, and it is tied to a
// thread that Go may end earlier.
//
//go:embed supervise.sh
var supervise string

// Program is what a Process runs.
type Program struct {
	Path  string
	Flags []string
	// Env is its environment, beside what every program gets.
	Env []string
	// Log is the file that gets its output.
	Log string
	// data is a folder to remove when this process has died: no other is left to do it. Empty for none.
	data string
}

// Process is a running Program. It ends with this process at the latest, however that ends.
type Process struct {
	Program
	stop sync.Once
	pipe *os.File      // a line asks the program to end, or is pause or resume; closing it kills the program
	done chan struct{} // closed when the program has ended
}

// Run starts a program.
func Run(program Program) (*Process, error) {
	log, err := os.OpenFile(program.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r, w, err := os.Pipe() // neither end is inherited by other children
	if err != nil {
		return nil, err
	}
	defer r.Close()

	// No context ends it: starting a server takes less time than it is to run.
	cmd := exec.CommandContext(context.Background(), "/bin/sh",
		append([]string{"-c", `eval "$SUPERVISE"`, "supervise", program.data, program.Path}, program.Flags...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, log, log
	// A session of its own: Ctrl-C in the terminal is for this process, which ends the servers in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Not the environment of this process: etcd takes ETCD_* for configuration, and an API server that finds
	// HTTPS_PROXY sends its webhook calls there.
	// The script is in it so that a list of processes shows the command and not the script.
	cmd.Env = append([]string{
		"SUPERVISE=" + supervise, "PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(program.Log), "TMPDIR=" + os.TempDir(),
	}, program.Env...)
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start %s: %w", program.name(), err)
	}
	p := &Process{Program: program, pipe: w, done: make(chan struct{})}
	go func() {
		cmd.Wait() // the log says more than the exit status
		close(p.done)
	}()
	return p, nil
}

// End asks the program to end (SIGTERM), kills it when it has not after ten seconds, and returns when it is gone.
func (p *Process) End() {
	if err := p.say("end"); err == nil {
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
		}
	}
	p.Kill()
}

// Kill ends the program as a crash does, and returns when it is gone. Servers of a cluster are always killed: their data
// is thrown away, and an API server that ends by itself first waits, for up to a minute, for everybody who watches.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	p.stop.Do(func() { p.pipe.Close() })
	<-p.done
}

// Pause has the program stand still (SIGSTOP) until Resume.
func (p *Process) Pause() error { return p.say("pause") }

// Resume has the program go on.
func (p *Process) Resume() error { return p.say("resume") }

func (p *Process) say(line string) error {
	_, err := p.pipe.WriteString(line + "\n")
	return err
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// while runs f and cancels it when the program ends. An error of f has the end of the log with it.
func (p *Process) while(ctx context.Context, f func(context.Context) error) error {
	ended := fmt.Errorf("%s ended", p.name())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.done:
			cancel(ended)
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), ended) {
		err = ended
	}
	return fmt.Errorf("%w; the end of %s:\n%s", err, p.Log, tail(p.Log, 20))
}

func (p Program) name() string { return filepath.Base(p.Path) }

// tail returns the last lines of a file.
func tail(path string, n int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
