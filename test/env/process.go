//go:build unix

package env

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// process is one running server.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	stop sync.Once
	pipe *os.File      // a line asks the server to end, closing it kills the server
	done chan struct{} // closed when the server has ended
}

// command is what a process runs.
type command struct {
	path  string
	flags []string
	log   string // this file gets the output
	// data is a folder to remove when the server has been killed: when our process has died, nobody else is
	// left to do it. Empty for none.
	data string
}

func (c command) start() (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r, w, err := os.Pipe() // neither end is inherited by other children
	if err != nil {
		return nil, err
	}
	defer r.Close()

	p := &process{name: filepath.Base(c.path), log: c.log, pipe: w, done: make(chan struct{})}
	// No context ends a server, end does: whoever starts one does so in less time than it is to run.
	p.cmd = exec.CommandContext(context.Background(), "/bin/sh", append([]string{"-c", `eval "$SUPERVISE"`, "supervise", c.data, c.path}, c.flags...)...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = r, log, log
	// A session of its own: Ctrl-C in the terminal is for us, and we end the servers in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Not our environment: etcd takes ETCD_* for configuration, and an API server that finds HTTPS_PROXY
	// sends its webhook calls there.
	// The script is in it so that a list of processes shows the command and not the script.
	p.cmd.Env = []string{"SUPERVISE=" + supervise, "PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(c.log), "TMPDIR=" + os.TempDir()}
	if err := p.cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		p.cmd.Wait() // the log says more than the exit status
		close(p.done)
	}()
	return p, nil
}

// ask asks the server to end and returns when it has, or when it has not after some time.
func (p *process) ask(patience time.Duration) {
	if _, err := p.pipe.WriteString("end\n"); err != nil {
		return // it has ended
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// end kills the server and returns when it is gone. The servers of a cluster are not asked: their data is thrown
// away, and an API server that ends by itself first waits, for up to a minute, for everybody who watches.
func (p *process) end() {
	if p == nil {
		return
	}
	p.stop.Do(func() { p.pipe.Close() })
	<-p.done
}

// while runs f and cancels it when the server ends; then the error is the end of the server's log.
func (p *process) while(ctx context.Context, f func(context.Context) error) error {
	died := fmt.Errorf("%s ended", p.name)
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.done:
			cancel(died)
		case <-watched.Done():
		}
	}()
	err := f(watched)
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(watched), died) {
		err = died
	}
	return fmt.Errorf("%w; the end of %s:\n%s", err, p.log, tail(p.log, 20))
}

// tail returns the last lines of a file.
func tail(path string, lines int) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	b = bytes.TrimRight(b, "\n")
	for i, n := len(b)-1, 0; i >= 0; i-- {
		if b[i] == '\n' {
			if n++; n == lines {
				return b[i+1:]
			}
		}
	}
	return b
}
