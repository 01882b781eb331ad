//go:build unix

package script

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// told SEVERITY CODE [FLAG...] waits until check, with these flags, tells of a finding.
func told(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: told SEVERITY CODE [FLAG...]")
	}
	find(ts, args)
}

// mend SEVERITY CODE [FLAG...] waits until check tells of a finding, runs its remedy as printed, and waits until
// check tells of it no more. Where the remedy says CONTEXT, the context of the member's name is meant.
func mend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mend SEVERITY CODE [FLAG...]")
	}
	finding := find(ts, args)
	words := strings.Fields(strings.ReplaceAll(finding.Remedy, "CONTEXT", finding.Member))
	if len(words) == 0 {
		ts.Fatalf("%s has no remedy", args[1])
	}
	ts.Check(ts.Exec(words[0], words[1:]...))
	until(ts, args[1]+" is mended", func() (bool, any) {
		all := diagnose(ts, args[2:])
		return !slices.ContainsFunc(all, func(f check.Finding) bool {
			return string(f.Code) == args[1] && f.Member == finding.Member && f.Object == finding.Object
		}), all
	})
}

func find(ts *testscript.TestScript, args []string) (found check.Finding) {
	until(ts, args[1]+" is told", func() (bool, any) {
		all := diagnose(ts, args[2:])
		i := slices.IndexFunc(all, func(f check.Finding) bool { return string(f.Code) == args[1] })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0, all
	})
	if string(found.Severity) != args[0] {
		ts.Fatalf("%s is told as %s, want %s", args[1], found.Severity, args[0])
	}
	return found
}

// until asks again and again, for half a minute: managers and API servers take their time.
func until(ts *testscript.TestScript, what string, ask func() (bool, any)) {
	var last any
	err := wait.PollUntilContextTimeout(context.Background(), 200*time.Millisecond, 30*time.Second, true, func(context.Context) (ok bool, _ error) {
		ok, last = ask()
		return ok, nil
	})
	if err != nil {
		ts.Fatalf("%s: not so: %+v", what, last)
	}
}

// soon COMMAND [ARG...] runs a command until it does not fail.
func soon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: soon COMMAND [ARG...]")
	}
	until(ts, strings.Join(args, " ")+" succeeds", func() (bool, any) {
		err := ts.Exec(args[0], args[1:]...)
		return err == nil, err
	})
}

// diagnose is what check finds. Its exit code must be that of its findings.
func diagnose(ts *testscript.TestScript, flags []string) []check.Finding {
	err := ts.Exec("kubectl", append([]string{"federate", "check", "--severity", "info", "--output", "json"}, flags...)...)
	var d struct{ Findings []check.Finding }
	if out := ts.ReadFile("stdout"); json.Unmarshal([]byte(out), &d) != nil {
		ts.Fatalf("check printed %q and %q", out, ts.ReadFile("stderr"))
	}
	if wrong := slices.ContainsFunc(d.Findings, func(f check.Finding) bool { return f.Severity == check.Error }); wrong != (err != nil) {
		ts.Fatalf("check ended with %v and findings %+v", err, d.Findings)
	}
	return d.Findings
}

// age NAME TOKEN puts another token into the credential that "host" keeps of a member.
func age(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: age NAME TOKEN")
	}
	client, err := kubernetes.NewForConfig(theStage.fleet.Cluster("host").Config())
	ts.Check(err)
	secrets := client.CoreV1().Secrets(v1alpha1.CredentialsNamespace)
	secret, err := secrets.Get(context.Background(), args[0], metav1.GetOptions{})
	ts.Check(err)
	access, err := kubeconfig.Parse(secret.Data[v1alpha1.CredentialKey])
	ts.Check(err)
	access.Token = args[1]
	data, err := access.Marshal()
	ts.Check(err)
	secret.Data = map[string][]byte{v1alpha1.CredentialKey: data}
	if _, err := secrets.Update(context.Background(), secret, metav1.UpdateOptions{}); err != nil {
		ts.Fatalf("%v", fmt.Errorf("store it: %w", err))
	}
}
