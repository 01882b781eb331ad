//go:build unix

package env

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProcessEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, trap string
		end        func(*Process)
		want       string // the log
	}{
		{"asked, and it ends", "echo bye; exit", (*Process).End, "up\nbye"},
		{"asked, and it does not", "echo never", (*Process).End, "up\nnever"},
		{"killed", "echo bye; exit", (*Process).Kill, "up"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := startShell(t, "trap '"+tc.trap+"' TERM; echo up; while :; do sleep 0.1; done")
			if left := alive(t, filepath.Dir(p.Log)); len(left) == 0 {
				t.Error("nothing runs before the end: this test sees nothing")
			}
			tc.end(p)
			tc.end(p) // again is no fault
			if got := tail(p.Log, 5); got != tc.want {
				t.Errorf("the log is %q, want %q", got, tc.want)
			}
			if left := alive(t, filepath.Dir(p.Log)); len(left) > 0 {
				t.Errorf("still there: %s", strings.Join(left, "\n"))
			}
		})
	}
}

func TestProcessWhile(t *testing.T) {
	t.Parallel()
	p := startShell(t, `echo up; echo "out of luck"; exit 3`)
	err := p.while(t.Context(), func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if want := "sh ended; the end of " + p.Log + ":\nup\nout of luck"; text(err) != want {
		t.Errorf("got  %s\nwant %s", text(err), want)
	}
}

// startShell runs a shell script and returns when it has printed a line.
func startShell(t *testing.T, script string) *Process {
	t.Helper()
	dir := t.TempDir() // an argument for alive to find it by
	p, err := Run(Program{Path: "/bin/sh", Flags: []string{"-c", script, dir}, Log: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	Eventually(t, "the script runs", func(context.Context) error {
		if log := tail(p.Log, 5); !strings.Contains(log, "up") {
			return errors.New(log)
		}
		return nil
	})
	return p
}

// alive lists the processes that name a folder in their command line, as all servers and their supervisors do.
func alive(t *testing.T, dir string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-A", "-ww", "-o", "pid=,stat=,ppid=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		// A zombie runs no more; its new parent collects it at some time.
		if fields := strings.Fields(line); len(fields) > 3 && strings.Contains(line, dir) && !strings.HasPrefix(fields[1], "Z") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// gone waits until nothing runs in a folder and the folder is empty.
func gone(t *testing.T, dir string) {
	t.Helper()
	Eventually(t, "nothing is left", func(context.Context) error {
		if left := alive(t, dir); len(left) > 0 {
			return errors.New(strings.Join(left, "\n"))
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) > 0 {
			return fmt.Errorf("files: %s", files)
		}
		return nil
	})
}

// childEnv is set in the environment of this test binary when it plays the process that is ended, to what it does. Its
// fleet is in TMPDIR.
const childEnv = "KUBECTL_FEDERATE_ENV_CHILD"

// played is the fleet of such a process.
var played *Fleet

// play starts it before any test, so that no test's timeout runs meanwhile, and waits until the parent has looked at the
// servers and closes standard input.
func play(does string) {
	if does == "loses" {
		// As one would start a server without a supervisor.
		server := exec.Command("/bin/sh", "-c", "while :; do sleep 1; done", os.TempDir())
		server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		must(server, server.Start())
	} else {
		played = must(Start(context.Background(), Options{Clusters: []Spec{{Name: "child", ControllerManager: true}}}))
	}
	fmt.Print(childUp)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

const childUp = "child: up\n"

// TestChild does nothing but in the processes that TestOrphans starts.
func TestChild(t *testing.T) {
	switch os.Getenv(childEnv) {
	case "hangs", "loses":
		select {}
	case "panics":
		panic("child: panics")
	case "panics elsewhere":
		go panic("child: panics")
		select {}
	case "exits":
		os.Exit(7)
	case "fails":
		t.Cleanup(played.Stop)
		t.Fatal("child: fails")
	}
}

// TestOrphans ends a process that has a fleet in every way there is and waits until nothing of the fleet
// runs and its folder is gone.
func TestOrphans(t *testing.T) {
	t.Parallel()
	kill := func(_ *testing.T, _ string, child *exec.Cmd) { child.Process.Kill() }
	nothing := func(*testing.T, string, *exec.Cmd) {} // it ends by itself
	for _, tc := range []struct {
		name  string
		quick bool     // the kernel does the same in all of them, so the quick tier runs the hardest and the commonest
		child string   // what TestChild does
		flags []string // of the test binary
		end   func(t *testing.T, dir string, child *exec.Cmd)
		want  string // in the child's output, where it can say
	}{
		{name: "SIGKILL", quick: true, child: "hangs", end: kill},
		{name: "SIGTERM", child: "hangs", end: func(_ *testing.T, _ string, child *exec.Cmd) { child.Process.Signal(syscall.SIGTERM) }},
		{name: "a test panics", child: "panics", end: nothing, want: "panic: child: panics"},
		{name: "a goroutine panics", child: "panics elsewhere", end: nothing, want: "panic: child: panics"},
		{name: "a test times out", child: "hangs", flags: []string{"-test.timeout=1s"}, end: nothing, want: "panic: test timed out after 1s"},
		{name: "exit without Stop", child: "exits", end: nothing},
		{name: "a test fails", quick: true, child: "fails", end: nothing, want: "child: fails"},
		{name: "SIGKILL after the supervisors", child: "hangs", end: func(t *testing.T, dir string, child *exec.Cmd) {
			for _, line := range alive(t, dir) {
				// The readers, which are children of the supervisors, stay: it is for them to end the servers.
				fields := strings.Fields(line)
				if pid, _ := strconv.Atoi(fields[0]); fields[2] == strconv.Itoa(child.Process.Pid) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			if left := alive(t, dir); len(left) < 3 {
				t.Errorf("killing the supervisors has killed servers, left are %s", left)
			}
			child.Process.Kill()
			Eventually(t, "the servers end", func(context.Context) error {
				if left := alive(t, dir); len(left) > 0 {
					return errors.New(strings.Join(left, "\n"))
				}
				return nil
			})
			// Who removes the folder is gone as well.
			folders, _ := filepath.Glob(filepath.Join(dir, "*"))
			for _, folder := range folders {
				os.RemoveAll(folder)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if !tc.quick {
				Full(t, "one of many ways to end")
			}
			dir, output := runChild(t, tc.child, tc.flags, tc.end)
			if !strings.Contains(output, tc.want) {
				t.Errorf("the child says\n%s\nwant in it %q", output, tc.want)
			}
			gone(t, dir)
		})
	}

	t.Run("control: a server without a supervisor is found", func(t *testing.T) {
		t.Parallel()
		dir, _ := runChild(t, "loses", nil, kill)
		left := alive(t, dir)
		if len(left) != 1 {
			t.Fatalf("found %q, want one server that outlives its parent", left)
		}
		pid, err := strconv.Atoi(strings.Fields(left[0])[0])
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(pid, syscall.SIGKILL)
	})
}

// runChild runs TestChild as a process of its own, and when its fleet is up, ends it. It returns when that process is
// gone, with the folder of its fleet and its output.
func runChild(t *testing.T, does string, flags []string, end func(*testing.T, string, *exec.Cmd)) (dir, output string) {
	t.Helper()
	dir = t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, append([]string{"-test.run=^TestChild$"}, flags...)...)
	cmd.Env = append(os.Environ(), childEnv+"="+does, "TMPDIR="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	said := bufio.NewReader(stdout)
	for !strings.HasSuffix(output, childUp) {
		line, err := said.ReadString('\n')
		if output += line; err != nil {
			t.Fatalf("the child does not come up: %v\n%s", err, output)
		}
	}
	if left := alive(t, dir); len(left) == 0 {
		t.Error("no server runs before the child ends: this test sees nothing")
	}
	stdin.Close()
	end(t, dir, cmd)
	rest, _ := io.ReadAll(said)
	cmd.Wait()
	return dir, output + string(rest)
}

func TestStart(t *testing.T) {
	if _, err := Start(t.Context(), Options{}); text(err) != "no cluster to start" {
		t.Error(err)
	}
	built, err := Assets(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, apiServer string
		timeout         time.Duration
		want            string
	}{
		{"the API server ends", "echo bad luck; exit 1", time.Minute, "cluster a: kube-apiserver ended; the end of DIR/a/kube-apiserver.log:\nbad luck"},
		{"the API server hangs", "while :; do sleep 0.1; done", 3 * time.Second, "context deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assets, dir := t.TempDir(), t.TempDir()
			for _, name := range []string{"etcd", "kubectl", "kube-controller-manager"} {
				if err := os.Symlink(filepath.Join(built, name), filepath.Join(assets, name)); err != nil {
					t.Fatal(err)
				}
			}
			writeFile(t, filepath.Join(assets, "kube-apiserver"), "#!/bin/sh\n"+tc.apiServer+"\n", 0o755)
			t.Setenv("KUBEBUILDER_ASSETS", assets)
			t.Setenv("TMPDIR", dir)
			ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
			defer cancel()
			_, err := Start(ctx, Options{Clusters: []Spec{{Name: "a"}}})
			if got := folderName.ReplaceAllString(text(err), "DIR/a/"); !strings.Contains(got, tc.want) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			gone(t, dir)
		})
	}
}

var folderName = regexp.MustCompile(`\S+/kubectl-federate-\d+/a/`)
