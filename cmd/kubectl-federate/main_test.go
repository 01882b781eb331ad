//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the process that the tests send signals to: it reports that it waits, writes to a pipe that may be
// closed, and reports on its exit code whether it was cancelled or ran to its end.
func TestMain(m *testing.M) {
	if os.Getenv("SIGNALLED") == "" {
		os.Exit(m.Run())
	}
	const cancelled, ended = 3, 4
	ctx := notify(context.Background())
	fmt.Println("waiting")
	for range 100 {
		select {
		case <-ctx.Done():
			os.Exit(cancelled)
		case <-time.After(10 * time.Millisecond):
		}
		fmt.Println("progress") // fails once the reader is gone
		fmt.Fprintln(os.Stderr, "progress")
	}
	os.Exit(ended)
}

func TestSignals(t *testing.T) {
	t.Parallel()
	// Children inherit what this process ignores, as under nohup.
	caught := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	for name, test := range map[string]struct {
		signal  os.Signal
		ignored string // by the process that starts the child, as nohup and "&" of a script do
		want    int
	}{
		"interrupt":       {os.Interrupt, "", 3},
		"terminate":       {syscall.SIGTERM, "", 3},
		"closed terminal": {syscall.SIGHUP, "", 3},
		"closed pipe":     {nil, "", 4},
		"nohup":           {syscall.SIGHUP, "HUP", 4},
		"background":      {os.Interrupt, "HUP INT", 4},
		"nohup terminate": {syscall.SIGTERM, "HUP INT", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0])
			if test.ignored != "" {
				child = exec.CommandContext(t.Context(), "sh", "-c", `trap "" `+test.ignored+`; exec "$0"`, os.Args[0])
			}
			child.Env = append(os.Environ(), "SIGNALLED=1")
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			child.Stdout, child.Stderr = write, write
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			_ = write.Close()
			if line, err := bufio.NewReader(read).ReadString('\n'); line != "waiting\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if test.signal != nil {
				err = child.Process.Signal(test.signal)
			} else {
				err = read.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != test.want {
				t.Errorf("got %v, want exit code %d", err, test.want)
			}
			_ = read.Close()
		})
	}
}
