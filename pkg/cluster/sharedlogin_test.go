package cluster_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestLoginFailsOnce sends many requests at once to clusters of one user, whose credential plugin fails: it runs once, and all
// requests fail with what it said.
func TestLoginFailsOnce(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{
		"a plugin that fails":        `echo ran >> "$0"; echo sign in >&2; sleep 0.2; echo at example.com >&2; exit 3`,
		"a plugin that prints zeros": `echo ran >> "$0"; printf 'sign in at example.com\0\0\0' >&2; sleep 0.2; exit 3`,
		"a plugin without an answer": `echo ran >> "$0"; echo sign in at example.com >&2`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runs := filepath.Join(t.TempDir(), "runs")
			exec := &clientcmdapi.ExecConfig{
				APIVersion: "client.authentication.k8s.io/v1", Command: "sh", Args: []string{"-c", command, runs}, InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
			}
			var conns []*cluster.Conn
			for range 5 {
				c, err := cluster.Connect(cluster.Member, &rest.Config{Host: "https://127.0.0.1:1", ExecProvider: exec})
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
			}
			for _, err := range cluster.ForEach(40, func(i int) error { _, err := conns[i%len(conns)].ID(t.Context()); return err }) {
				if cluster.FaultOf(err) != cluster.FaultCaller || !strings.Contains(err.Error(), "getting credentials: ") ||
					strings.Count(err.Error(), ": sign in at example.com: repair the user") != 1 {
					t.Errorf("error %v", err)
				}
			}
			if data, err := os.ReadFile(runs); err != nil || string(data) != "ran\n" {
				t.Errorf("it ran %d times: %v", strings.Count(string(data), "ran"), err)
			}
		})
	}
}

// TestLoginDoesNotWaitForServers holds that clusters of one user are asked at once when the login is done, dead ones among
// them.
func TestLoginDoesNotWaitForServers(t *testing.T) {
	t.Parallel()
	silent := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	t.Cleanup(func() { close(silent); dead.Close() })
	answers := page(t, http.StatusOK, "application/json", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"one"}}`)(plain)
	exec := &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: "echo", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		Args: []string{`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"` + t.Name() + `"}}`},
	}
	connect := func(config *rest.Config) *cluster.Conn {
		config.ExecProvider, config.Timeout = exec, 20*time.Second
		c, err := cluster.Connect(cluster.Member, config)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := connect(&rest.Config{Host: dead.URL}), connect(answers)
	go func() { _, _ = first.ID(t.Context()) }()
	begun := time.Now()
	if id, err := second.ID(t.Context()); id != "one" || err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("ID %q after %s: %v", id, time.Since(begun), err)
	}
}
