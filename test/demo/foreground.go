//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// foreground has Ctrl-C reach this process alone, until restore: make, which is in the foreground of the terminal as well, would end
// with an error. It does nothing where there is no terminal, or another process has it. Ctrl-Z then does nothing: the
// shell, whose job is make, would not know of it.
func foreground() (restore func()) {
	nothing := func() {}
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nothing
	}
	at := int(terminal.Fd())
	before, err := unix.IoctlGetInt(at, unix.TIOCGPGRP)
	if err != nil || before != unix.Getpgrp() || unix.Setpgid(0, 0) != nil {
		_ = terminal.Close()
		return nothing
	}
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTSTP) // SIGTTOU would stop a process of the background that takes the terminal
	_ = unix.IoctlSetPointerInt(at, unix.TIOCSPGRP, unix.Getpgrp())
	return func() {
		_ = unix.IoctlSetPointerInt(at, unix.TIOCSPGRP, before)
		_ = terminal.Close()
	}
}
