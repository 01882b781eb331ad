package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/version"
)

func TestRunRefuses(t *testing.T) {
	// No service account of a pod, and no kubeconfig of the user who runs the test.
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("{current-context: h, contexts: [{name: h, context: {cluster: h}}], clusters: [{name: h, cluster: {server: 'https://127.0.0.1:1'}}]}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"argument":       {[]string{"serve"}, `unexpected argument "serve"`},
		"log format":     {[]string{"--log-format=xml"}, `invalid --log-format "xml": must be json or text`},
		"address":        {[]string{"--webhook-bind-address=9443"}, `invalid --webhook-bind-address "9443": must be HOST:PORT or :PORT`},
		"port":           {[]string{"--webhook-bind-address=:0"}, `invalid --webhook-bind-address ":0": "0" is not a port number`},
		"port by name":   {[]string{"--webhook-bind-address=127.0.0.1:https"}, `invalid --webhook-bind-address "127.0.0.1:https": "https" is not a port number`},
		"no files":       {[]string{"--kubeconfig=" + kubeconfig, "--cert-dir=/does/not/exist"}, `invalid --cert-dir "/does/not/exist": read the webhook's certificate: open /does/not/exist/tls.crt: no such file or directory`},
		"no keys":        {[]string{"--kubeconfig=" + kubeconfig}, "one of --keys-dir and --cert-dir must be given"},
		"keys and files": {[]string{"--kubeconfig=" + kubeconfig, "--keys-dir=/does/not/exist", "--cert-dir=/does/not/exist"}, "one of --keys-dir and --cert-dir must be given"},
		"no such keys":   {[]string{"--kubeconfig=" + kubeconfig, "--keys-dir=/does/not/exist"}, `invalid --keys-dir "/does/not/exist": read the keys: open /does/not/exist/ca.crt: no such file or directory`},
		"no kubeconfig":  {[]string{"--kubeconfig=/does/not/exist"}, "no access to a host cluster: stat /does/not/exist: no such file or directory"},
		"no client CA":   {[]string{"--client-ca-file=/does/not/exist"}, "invalid --client-ca-file: open /does/not/exist: no such file or directory"},
		"shutdown":       {[]string{"--shutdown-delay=-1s"}, "invalid --shutdown-delay -1s: must not be less than zero"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := run(t.Context(), test.args, &stdout, &stderr)
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v", err)
			}
			if stdout.Len() > 0 {
				t.Errorf("printed %s", stdout.String())
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), []string{"--version"}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "kubefederate manager "+version.Version+"\n"; got != want || stderr.Len() > 0 {
		t.Errorf("got %q, %q", got, stderr.String())
	}
}

func TestBindAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{":9443", "127.0.0.1:1", "[::1]:65535"} {
		if err := checkBindAddress(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
