package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestBlocks prints findings for a person: equal ones together, the command on a line of its own, and no text that acts on a terminal.
func TestBlocks(t *testing.T) {
	t.Parallel()
	rotate := "kubectl federate rotate us-east us-west"
	findings := []check.Finding{
		{Severity: check.Error, Code: check.Unauthorized, Side: cluster.Member, Member: "us-east", Object: `endpoint "https://a"`, Cause: "does not accept it (401)", Remedy: rotate},
		{Severity: check.Error, Code: check.MemberOffline, Side: cluster.Host, Member: "far", Object: `MemberCluster "far"`, Cause: "is Offline:\nfalse line\x1b[2K"},
		{Severity: check.Error, Code: check.Unauthorized, Side: cluster.Member, Member: "us-west", Object: `endpoint "https://b"`, Cause: "does not accept it (401)", Remedy: rotate},
		{Severity: check.Warning, Code: check.NotChecked, Side: cluster.Host, Cause: "whether it enforces could not be checked"},
	}
	want := `error: Unauthorized on the member
  us-east: endpoint "https://a" does not accept it (401)
  us-west: endpoint "https://b" does not accept it (401)

    kubectl federate rotate us-east us-west

error: MemberOffline on the host
  far: MemberCluster "far" is Offline: false line\x1b[2K

warning: NotChecked on the host
  whether it enforces could not be checked
`
	if diff := cmp.Diff(want, blocks(findings)); diff != "" {
		t.Error(diff)
	}
	findings = nil
	for i := range 200 {
		findings = append(findings, check.Finding{Severity: check.Error, Code: check.MemberOffline, Side: cluster.Host, Member: fmt.Sprint("m-", i), Cause: "is Offline"})
	}
	text := blocks(findings)
	if lines := strings.Count(text, "\n"); lines != maxAlike+2 || !strings.Contains(text, "\n  and 190 more\n") {
		t.Errorf("%d lines:\n%s", lines, text)
	}
}
