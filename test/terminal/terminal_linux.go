package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// The size of a terminal.
const (
	Columns = 80
	Rows    = 24
)

// Start starts a command in a terminal of its own, and gives the other end: what the command writes is read from it, until an error, and what
// is typed is written to it.
func Start(cmd *exec.Cmd) (*os.File, error) {
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := startAt(controller, cmd); err != nil {
		_ = controller.Close()
		return nil, err
	}
	return controller, nil
}

func startAt(controller *os.File, cmd *exec.Cmd) error {
	number, err := unix.IoctlGetInt(int(controller.Fd()), unix.TIOCGPTN)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(int(controller.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer side.Close()
	if err := unix.IoctlSetWinsize(int(side.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: Rows, Col: Columns}); err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return cmd.Start()
}

// Run runs a command in a terminal of its own and gives its exit code, -1 where a signal ended it, and all that it wrote.
func Run(cmd *exec.Cmd) (code int, written string, err error) {
	controller, err := Start(cmd)
	if err != nil {
		return 0, "", err
	}
	defer controller.Close()
	written, err = Rest(controller)
	if waited := cmd.Wait(); err == nil && cmd.ProcessState == nil {
		err = waited
	}
	return cmd.ProcessState.ExitCode(), written, err
}

// Rest is what is written until all have ended who write to a terminal.
func Rest(controller *os.File) (string, error) {
	var all bytes.Buffer
	_, err := io.Copy(&all, controller)
	if errors.Is(err, syscall.EIO) { // which is the end of a terminal on Linux
		err = nil
	}
	return all.String(), err
}
