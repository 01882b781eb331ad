//go:build unix

package script

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestVerbosityShowsNoSecret runs commands that read, write and request credentials with the highest -v, and searches all that they print
// for every token, key and password that is there.
func TestVerbosityShowsNoSecret(t *testing.T) {
	before, home, own := theStage.prepare(t)
	var printed strings.Builder
	secrets := env.Secrets{}
	run := func(code int, line string) (stdout string) {
		t.Helper()
		cmd := theStage.command(t, home, own, line)
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if _ = cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
			t.Fatalf("%s: %v, want exit code %d\n%s%s", line, cmd.ProcessState, code, &out, &errOut)
		}
		printed.WriteString(errOut.String())
		for _, name := range []string{"host", "us-east"} {
			if err := secrets.AddCluster(t.Context(), theStage.fleet.Cluster(name)); err != nil {
				t.Fatal(err)
			}
		}
		return out.String()
	}
	run(0, "kubectl federate create federation loud -v 9")
	token := strings.TrimSpace(run(0, "kubectl --context host create token default --namespace default"))
	secrets.Add("a token that was typed", []byte(token))
	const password = "pa55word-of-the-proxy"
	secrets.Add("a password that was typed", []byte(password))
	for _, c := range []struct {
		code int
		line string
	}{
		{0, "init"},
		{0, "join us-east --federation loud --member-context us-east"},
		{0, "wait"},
		{0, "rotate us-east --member-context us-east"},
		{0, "kubeconfig us-east"},
		{0, "check --all-contexts"},
		{0, "discover"},
		{1, "get --user another --token " + token},
		{1, "get --proxy-url http://proxy:" + password + "@127.0.0.1:1"},
		{0, "unjoin us-east"},
	} {
		if c.line == "wait" {
			run(0, "kubectl --context host wait membercluster us-east --for=condition=Ready --timeout=60s")
			continue
		}
		printed.WriteString(run(c.code, "kubectl federate "+c.line+" -v 9"))
		if strings.HasPrefix(c.line, "rotate") {
			// What it prints is the credential, for the client that asks.
			secrets.Add("what credential printed", []byte(run(0, "kubectl federate credential us-east --member-context us-east -v 9")))
		}
	}
	run(0, "kubectl --context host delete federation loud")
	for _, what := range secrets.In(printed.String()) {
		t.Errorf("-v 9 shows %s", what)
	}
	for _, want := range []string{
		`(?m)^POST https://127.0.0.1:\d+/api/v1/namespaces/kubefederate-member/serviceaccounts/kubefederate-manager/token\S* 201 in \d+(\.\d+)?m?s$`,
		`(?m)^GET https://127.0.0.1:\d+/api/v1/namespaces/kubefederate-system/secrets/kubefederate-keys 200 in `,
	} {
		if !regexp.MustCompile(want).MatchString(printed.String()) {
			t.Errorf("no request %s is printed:\n%s", want, printed.String())
		}
	}
	if len(secrets) < 20 {
		t.Errorf("only %d secrets were searched for", len(secrets))
	}
	for name := range before {
		if err := theStage.unchanged(name, before); err != nil {
			t.Error(err)
		}
	}
}
