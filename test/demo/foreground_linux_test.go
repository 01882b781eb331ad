package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/test/terminal"
)

// waiting has this program wait for Ctrl-C, as a playground does: in the foreground, or where make started it.
const waiting = "WAIT_FOR_CTRL_C"

func TestMain(m *testing.M) {
	if how := os.Getenv(waiting); how != "" {
		restore := func() {}
		if how == "foreground" {
			restore = foreground()
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		fmt.Println("ready")
		<-ctx.Done()
		stop()
		restore()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestCtrlC has make run what waits for Ctrl-C: make ends with exit code 0 where that is in the foreground, and is interrupted itself
// where it is not.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	makefile := filepath.Join(t.TempDir(), "Makefile")
	if err := os.WriteFile(makefile, []byte("playground:\n\t@"+self+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"foreground", "background"} {
		cmd := exec.CommandContext(t.Context(), "make", "-f", makefile)
		cmd.Env = append(os.Environ(), waiting+"="+how, "MAKEFLAGS=", "MAKELEVEL=")
		controller, err := terminal.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		defer controller.Close()
		printed, buffer := "", make([]byte, 1024)
		for !strings.Contains(printed, "ready") {
			n, err := controller.Read(buffer)
			if err != nil {
				t.Fatalf("%v: %s", err, printed)
			}
			printed += string(buffer[:n])
		}
		if _, err := controller.WriteString("\x03"); err != nil {
			t.Fatal(err)
		}
		if _, err := terminal.Rest(controller); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); (got == 0) != (how == "foreground") {
			t.Errorf("%s: make ends with exit code %d", how, got)
		}
	}
}
