//go:build unix

package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell starts a shell script as a server; it is over with the test.
func shell(t *testing.T, script string) *process {
	t.Helper()
	// Its folder is an argument for alive to find it by.
	dir := t.TempDir()
	p, err := command{path: "/bin/sh", flags: []string{"-c", script, dir}, log: filepath.Join(dir, "log")}.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end() })
	eventually(t, func(context.Context) (bool, string) {
		log := string(tail(p.log, 5))
		return strings.Contains(log, "up"), "the script has not begun: " + log
	})
	return p
}

func TestEnd(t *testing.T) {
	t.Parallel()
	const patience = 2 * time.Second
	ask := func(p *process) { p.ask(patience); p.end() }
	for _, tc := range []struct {
		name, script string
		end          func(*process)
		want         string // the log
	}{
		{"one that is asked and ends", `trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.1; done`, ask, "up\nbye"},
		{"one that is asked and does not", `trap 'echo never' TERM; echo up; while :; do sleep 0.1; done`, ask, "up\nnever"},
		{"one that is not asked", `trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.1; done`, (*process).end, "up"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := shell(t, tc.script)
			if left := alive(t, filepath.Dir(p.log)); len(left) == 0 {
				t.Error("nothing runs before the end: this test sees nothing")
			}
			tc.end(p)
			tc.end(p) // again is no fault
			if got := string(tail(p.log, 5)); got != tc.want {
				t.Errorf("the log is %q, want %q", got, tc.want)
			}
			if left := alive(t, filepath.Dir(p.log)); len(left) > 0 {
				t.Errorf("still there: %s", strings.Join(left, "\n"))
			}
		})
	}
}

func TestWhile(t *testing.T) {
	t.Parallel()
	p := shell(t, `echo up; echo "cannot go on"; exit 3`)
	err := p.while(t.Context(), func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if want := "sh ended; the end of " + p.log + ":\nup\ncannot go on"; text(err) != want {
		t.Errorf("got  %s\nwant %s", text(err), want)
	}
}

// alive lists the processes that name a folder in their command line, as all servers and their supervisors do.
func alive(t *testing.T, dir string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-A", "-ww", "-o", "pid=,stat=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		// A zombie runs no more; whoever adopted it collects it when it likes.
		if fields := strings.Fields(line); len(fields) > 2 && strings.Contains(line, dir) && !strings.HasPrefix(fields[1], "Z") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// childEnv is set in the environment of this test binary when it plays the process that is ended: what it
// does and the folder of its fleet, with a space between.
const childEnv = "KUBECTL_FEDERATE_ENV_CHILD"

// TestChild does nothing but in the processes that TestNoOrphans starts.
func TestChild(t *testing.T) {
	does, dir, played := strings.Cut(os.Getenv(childEnv), " ")
	if !played {
		return
	}
	up := func() {
		fmt.Println("child: up") // t.Output would hold it back
		// The parent, having looked at our servers, closes it.
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	if does == "loses" {
		// As one would start a server without a supervisor.
		server := exec.Command("/bin/sh", "-c", "while :; do sleep 1; done", dir)
		server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		up()
		select {}
	}

	f, err := Start(t.Context(), Options{Dir: dir, Clusters: []Spec{{Name: "child", ControllerManager: true}}})
	if err != nil {
		t.Fatal(err)
	}
	up()
	switch does {
	case "hangs":
		select {}
	case "panics":
		panic("child: panics")
	case "panics elsewhere":
		go panic("child: panics")
		select {}
	case "exits":
		os.Exit(7)
	case "fails":
		t.Cleanup(f.Stop)
		t.Fatal("child: fails")
	}
}

// TestNoOrphans ends a process that has a fleet in every way there is and waits until nothing of the fleet
// runs and its folder is gone.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	kill := func(_ *testing.T, _ string, child *exec.Cmd) { child.Process.Kill() }
	nothing := func(*testing.T, string, *exec.Cmd) {} // it ends by itself
	for _, tc := range []struct {
		name  string
		quick bool     // the kernel does the same in all of them, so the quick tier runs the hardest and the commonest
		child string   // what TestChild does
		flags []string // of the test binary
		end   func(t *testing.T, dir string, child *exec.Cmd)
		want  string // in the child's output, where it can tell
	}{
		{name: "SIGKILL", quick: true, child: "hangs", end: kill},
		{name: "SIGTERM", child: "hangs", end: func(_ *testing.T, _ string, child *exec.Cmd) { child.Process.Signal(syscall.SIGTERM) }},
		{name: "a test panics", child: "panics", end: nothing, want: "panic: child: panics"},
		{name: "a goroutine panics", child: "panics elsewhere", end: nothing, want: "panic: child: panics"},
		{name: "a test times out", child: "hangs", flags: []string{"-test.timeout=30s"}, end: nothing, want: "panic: test timed out after 30s"},
		{name: "exit without Stop", child: "exits", end: nothing},
		{name: "a test fails", quick: true, child: "fails", end: nothing, want: "child: fails"},
		{name: "SIGKILL after the supervisors", child: "hangs", end: func(t *testing.T, dir string, child *exec.Cmd) {
			for _, pid := range childrenOf(t, child.Process.Pid) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			if left := alive(t, dir); len(left) < 3 {
				t.Errorf("killing the supervisors has killed servers, left are %s", left)
			}
			child.Process.Kill()
			// Who removes the folder is gone as well.
			eventually(t, func(context.Context) (bool, string) {
				left := alive(t, dir)
				return len(left) == 0, "still there: " + strings.Join(left, "\n")
			})
			os.RemoveAll(dir)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && !tc.quick {
				t.Skip("one of many ways to end; make test-all runs it")
			}
			dir, output := runChild(t, tc.child, tc.flags, tc.end)
			if !strings.Contains(output, tc.want) {
				t.Errorf("the child says\n%s\nwant in it %q", output, tc.want)
			}
			eventually(t, func(context.Context) (bool, string) {
				left := alive(t, dir)
				return len(left) == 0, "still there: " + strings.Join(left, "\n")
			})
			eventually(t, func(context.Context) (bool, string) {
				_, err := os.Stat(dir)
				return errors.Is(err, os.ErrNotExist), "the folder is still there"
			})
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

// runChild runs TestChild as a process of its own, and when its fleet is up, ends it. It
// returns when that process is gone, with the fleet's folder and the process's output.
func runChild(t *testing.T, does string, flags []string, end func(*testing.T, string, *exec.Cmd)) (dir, output string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "fleet")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out safeBuilder
	cmd := exec.CommandContext(t.Context(), self, append([]string{"-test.run=^TestChild$"}, flags...)...)
	cmd.Env = append(os.Environ(), childEnv+"="+does+" "+dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
	})
	eventually(t, func(context.Context) (bool, string) {
		return strings.Contains(out.String(), "child: up\n"), "the child is not up:\n" + out.String()
	})
	if left := alive(t, dir); len(left) == 0 {
		t.Error("no server runs before the child ends: this test sees nothing")
	}
	stdin.Close()
	end(t, dir, cmd)
	<-done
	return dir, out.String()
}

// childrenOf lists the processes that a process has started.
func childrenOf(t *testing.T, parent int) []int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var children []int
	for line := range strings.Lines(string(out)) {
		var pid, ppid int
		if _, err := fmt.Sscan(line, &pid, &ppid); err == nil && ppid == parent {
			children = append(children, pid)
		}
	}
	return children
}

// TestCommand runs the command and ends it as Ctrl-C does, while its clusters run and while they start.
func TestCommand(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "clusters")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./clusters").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// run starts the command and returns when standard output or the processes are as until wants them.
	run := func(t *testing.T, dir string, until func(stdout string, servers []string) bool) (*exec.Cmd, *safeBuilder) {
		cmd := exec.CommandContext(t.Context(), binary, "--members", "1", "--dir", dir)
		var stdout, stderr safeBuilder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		eventually(t, func(context.Context) (bool, string) {
			return until(stdout.String(), alive(t, filepath.Join(dir, "etcd"))), stdout.String() + stderr.String()
		})
		return cmd, &stdout
	}
	interrupt := func(t *testing.T, dir string, cmd *exec.Cmd) {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
		if left := alive(t, dir+"/"); len(left) > 0 {
			t.Errorf("still there: %s", strings.Join(left, "\n"))
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is still there: %v", err)
		}
	}

	t.Run("running", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "fleet")
		cmd, stdout := run(t, dir, func(stdout string, _ []string) bool { return strings.Contains(stdout, "Ctrl-C") })
		want := "\nexport KUBECONFIG=" + dir + "/kubeconfig\n\n" +
			"contexts: host, member-1 (you are cluster-admin in all of them)\n" +
			"logs:     " + dir + "/*/*.log\n\nCtrl-C ends them.\n"
		if stdout.String() != want {
			t.Errorf("got %s\nwant %s", stdout.String(), want)
		}
		interrupt(t, dir, cmd)
	})
	t.Run("starting", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "fleet")
		cmd, _ := run(t, dir, func(_ string, servers []string) bool { return len(servers) > 0 })
		interrupt(t, dir, cmd)
	})
	t.Run("folder in use", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "precious"), "", 0o600)
		out, err := exec.CommandContext(t.Context(), binary, "--dir", dir).CombinedOutput()
		if want := "error: " + dir + " is not empty: name another folder, or remove it\n"; string(out) != want || text(err) != "exit status 1" {
			t.Errorf("got %s%v\nwant %s", out, err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
			t.Error(err)
		}
	})
}

// TestStartFails gives Start an API server that cannot run.
func TestStartFails(t *testing.T) {
	built, err := Assets(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, apiServer string
		timeout         time.Duration
		want            string // around the folder's name
	}{
		{"it ends", "echo bad luck; exit 1", time.Minute, "cluster a: kube-apiserver ended; the end of DIR/a/kube-apiserver.log:\nbad luck"},
		{"it hangs", "echo no luck; while :; do sleep 0.1; done", 3 * time.Second, "context deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assets, dir := t.TempDir(), filepath.Join(t.TempDir(), "fleet")
			for _, name := range []string{"etcd", "kubectl", "kube-controller-manager"} {
				if err := os.Symlink(filepath.Join(built, name), filepath.Join(assets, name)); err != nil {
					t.Fatal(err)
				}
			}
			writeFile(t, filepath.Join(assets, "kube-apiserver"), "#!/bin/sh\n"+tc.apiServer+"\n", 0o755)
			t.Setenv("KUBEBUILDER_ASSETS", assets)
			ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
			defer cancel()
			_, err := Start(ctx, Options{Dir: dir, Clusters: []Spec{{Name: "a"}, {Name: "b"}}})
			got := strings.ReplaceAll(text(err), dir, "DIR")
			if got = strings.ReplaceAll(strings.ReplaceAll(got, "cluster b", "cluster a"), "DIR/b", "DIR/a"); !strings.Contains(got, tc.want) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if left := alive(t, dir); len(left) > 0 {
				t.Errorf("still there: %s", strings.Join(left, "\n"))
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	if _, err := Start(t.Context(), Options{}); text(err) != "no cluster to start" {
		t.Error(err)
	}
}
