//go:build linux

package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	// maxMemory is what the plugin may use, whatever it reads.
	maxMemory = 300 << 20
	// maxTime is how long a command may take whose own bounds are 5 s, on a machine that does other things.
	maxTime = 3 * time.Minute
	// membersAtOnce attack together.
	membersAtOnce = 40
)

// plugin builds the plugin, once for all tests.
var plugin = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "kubectl-federate")
	out, err := exec.Command("go", "build", "-o", file, "../../cmd/kubectl-federate").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := plugin(); err == nil {
		_ = os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// kubeconfig writes a file with a context for each server, by its name.
func kubeconfig(t *testing.T, servers map[string]*Server) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	for name, s := range servers {
		config.Clusters[name] = &clientcmdapi.Cluster{Server: s.URL, CertificateAuthorityData: s.CA()}
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: "secret"}
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	config.CurrentContext = "host"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// commands read members, or the host where the attack is the host's.
var commands = []struct {
	line string
	host bool
	// quick marks those that read most, which the quick tier runs.
	quick bool
}{
	{line: "discover --all --connect-timeout 5s"},
	{line: "join evil --federation prod --member-context evil0 --dry-run=client --timeout 5s", quick: true},
	{line: "join --federation prod --all-contexts --dry-run=client --timeout 5s --connect-timeout 5s"},
	{line: "check --all-contexts --timeout 5s", quick: true},
	{line: "unjoin evil --member-context evil0 --dry-run=client --timeout 5s"},
	{line: "label --member-context evil0 --federation prod --dry-run=client --timeout 5s"},
	{line: "get -o wide --request-timeout 5s", host: true},
	{line: "get -o yaml --request-timeout 5s", host: true},
	{line: "describe evil --request-timeout 5s", host: true},
	{line: "describe --federation prod --request-timeout 5s", host: true},
	{line: "tree --request-timeout 5s", host: true},
	{line: "discover --all --request-timeout 5s --connect-timeout 5s", host: true},
	{line: "check --request-timeout 5s --timeout 5s", host: true, quick: true},
	{line: "create federation prod --dry-run=server --request-timeout 5s", host: true},
}

// run runs a command and returns what it printed, its peak of memory and whether it ended by itself.
func run(t *testing.T, file, line string) (out string, memory int64) {
	t.Helper()
	binary, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), maxTime)
	defer cancel()
	command := exec.CommandContext(ctx, binary, strings.Fields(line)...)
	command.Env = []string{"HOME=" + t.TempDir(), "KUBECONFIG=" + file}
	var printed bytes.Buffer
	command.Stdout, command.Stderr = &printed, &printed
	began := time.Now()
	err = command.Start()
	if err == nil {
		peak := make(chan int64)
		go func() { peak <- watchMemory(command.Process.Pid) }()
		err = command.Wait()
		memory = <-peak
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Errorf("%s: still runs after %s", line, time.Since(began).Round(time.Second))
	case err != nil && !errors.As(err, &exit):
		t.Fatal(err)
	case strings.Contains(printed.String(), "goroutine "):
		t.Errorf("%s: %s", line, printed.String())
	}
	return printed.String(), memory
}

// watchMemory returns the peak of a process's memory when it has ended. Its resource usage would count that of the process
// which has started it.
func watchMemory(pid int) (peak int64) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	for {
		status, err := os.ReadFile(file)
		if err != nil {
			return peak
		}
		_, value, found := strings.Cut(string(status), "VmHWM:")
		if !found { // it has ended, and waits for being asked
			return peak
		}
		var kilobytes int64
		_, _ = fmt.Sscan(value, &kilobytes)
		peak = max(peak, kilobytes<<10)
		<-time.After(2 * time.Millisecond)
	}
}

// acts is what of printed a terminal acts on; empty when it is safe.
func acts(printed string) string {
	for len(printed) > 0 {
		r, size := utf8.DecodeRuneInString(printed)
		if r != '\n' && (!unicode.IsPrint(r) || r == utf8.RuneError) {
			return printed[:min(len(printed), size+20)]
		}
		printed = printed[size:]
	}
	return ""
}

// TestPlugin runs the real plugin against servers that attack, as members, 40 at once, and as the host: its memory stays bounded,
// it ends in time, and what it prints is safe.
func TestPlugin(t *testing.T) {
	t.Parallel()
	host := New(t, nil)
	for _, attack := range Attacks() {
		t.Run(attack.Name, func(t *testing.T) {
			t.Parallel()
			evil := New(t, attack.Attack)
			members := map[string]*Server{"host": host}
			for i := range membersAtOnce {
				members[fmt.Sprintf("evil%d", i)] = evil
			}
			asMembers, asHost := kubeconfig(t, members), kubeconfig(t, map[string]*Server{"host": evil})
			for _, c := range commands {
				if testing.Short() && !c.quick {
					continue
				}
				file := asMembers
				if c.host {
					file = asHost
				}
				out, memory := run(t, file, c.line)
				if memory > maxMemory {
					t.Errorf("%s: %d MiB", c.line, memory>>20)
				}
				if what := acts(out); what != "" {
					t.Errorf("%s prints %q", c.line, what)
				}
				const enough = 1 << 20
				if len(out) > enough {
					t.Errorf("%s prints %d bytes", c.line, len(out))
				}
				t.Logf("%4d MiB %s", memory>>20, c.line)
			}
		})
	}
}

// TestPluginFollowsNoRedirect sends no credential, and no request, where a redirect leads.
func TestPluginFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	var arrived sync.Map
	elsewhere := New(t, nil)
	plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived.Store(r.URL.Path, r.Header.Get("Authorization")) }))
	t.Cleanup(plain.Close)
	host := New(t, nil)
	for _, to := range []string{plain.URL, elsewhere.URL} {
		evil := New(t, Redirect(to, http.StatusTemporaryRedirect))
		asMember, asHost := kubeconfig(t, map[string]*Server{"host": host, "evil0": evil}), kubeconfig(t, map[string]*Server{"host": evil})
		for _, c := range commands {
			file := asMember
			if c.host {
				file = asHost
			}
			if out, _ := run(t, file, c.line); !strings.Contains(out, "redirects to") {
				t.Errorf("%s does not say that it was redirected:\n%s", c.line, out)
			}
		}
	}
	arrived.Range(func(path, token any) bool {
		t.Errorf("%s arrived with %q", path, token)
		return true
	})
	if n, _ := elsewhere.Requests(); n > 0 {
		t.Errorf("%d requests arrived over TLS", n)
	}
}

// keys are so many keys of a map.
func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",k%d: x", i)
	}
	return b.String()
}

// TestLint judges files that attack: its memory stays bounded, and it ends with an error that says what is too large.
func TestLint(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(folder, "zero.yaml")); err != nil {
		t.Fatal(err)
	}
	const kind = "apiVersion: kubefederate.io/v1alpha1\nkind: Federation\n"
	for name, content := range map[string]string{
		"maps.yaml":  kind + "spec: [{}" + strings.Repeat(",{}", 199_000) + "]\n",
		"lists.json": `{"apiVersion":"kubefederate.io/v1alpha1","kind":"Federation","spec":[[]` + strings.Repeat(",[]", 199_000) + `]}`,
		"large.yaml": kind + "metadata: {name: " + strings.Repeat("x", 40<<20) + "}\n",
		"words.yaml": kind + "spec: [x" + strings.Repeat(",x", 398_000) + "]\n",
		"keys.yaml":  kind + "spec: {x: x" + keys(398_000) + "}\n",
		"lines.yaml": strings.Repeat("a:\n", 10<<20),
		"deep.yaml":  strings.Repeat("[", 10<<20),
		"alias.yaml": kind + "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"zero.yaml", "maps.yaml", "lists.json", "words.yaml", "keys.yaml", "large.yaml", "lines.yaml", "deep.yaml", "alias.yaml"} {
		out, memory := run(t, "", "lint -f "+filepath.Join(folder, name))
		if !strings.Contains(out, "error: ") || memory > maxMemory {
			t.Errorf("lint of %s takes %d MiB and says %.500s", name, memory>>20, out)
		}
		t.Logf("%4d MiB lint of %s: %.150s", memory>>20, name, out)
	}
}
