package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestCheckOutcome is how check ends.
func TestCheckOutcome(t *testing.T) {
	t.Parallel()
	forbidden := check.Observation{Context: "bob", Err: os.ErrPermission}
	for _, tt := range []struct {
		name     string
		named    []string
		seen     []check.Observation
		findings []check.Finding
		code     int
		want     string
	}{
		{"well", []string{"east"}, []check.Observation{{Context: "east", State: &member.State{ID: "id-1"}}}, nil, output.ExitDone,
			"0 errors, 0 warnings, 0 infos; 0 members on the host, 1 cluster checked"},
		{"a named context that could not be checked", []string{"bob"}, []check.Observation{forbidden}, []check.Finding{{Severity: check.Warning}}, output.ExitFailed,
			"context bob could not be checked; 0 errors, 1 warning, 0 infos; 0 members on the host, 0 clusters checked"},
		{"one of all contexts that could not be checked", nil, []check.Observation{forbidden}, []check.Finding{{Severity: check.Warning}}, output.ExitDone,
			"0 errors, 1 warning, 0 infos; 0 members on the host, 0 clusters checked"},
		{"errors", nil, nil, []check.Finding{{Severity: check.Error}}, output.ExitRefused, "1 error, 0 warnings, 0 infos; 0 members on the host, 0 clusters checked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, _, errOut := newTestFactory()
			o := &checkOptions{checkFlags: checkFlags{factory: d}, named: tt.named}
			err := o.outcome(&check.Facts{Observations: tt.seen}, tt.findings)
			got := strings.TrimSpace(errOut.String())
			if err != nil {
				got = err.Error()
			}
			if code := output.ExitCode(err); code != tt.code || got != tt.want {
				t.Errorf("%d: %s\nwant %d: %s", code, got, tt.code, tt.want)
			}
		})
	}
}

// TestCheckStates holds that check knows the states of clusters that discovery is about to join, or joins no more, by the words of discover.
func TestCheckStates(t *testing.T) {
	t.Parallel()
	for state, want := range map[discover.State]string{discover.Wants: "[]", discover.Left: "[info]", discover.Conflict: "[warning]"} {
		f := v1alpha1.Federation{Spec: v1alpha1.FederationSpec{Discovery: &v1alpha1.Discovery{}}, Status: v1alpha1.FederationStatus{
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDiscovering, Status: metav1.ConditionTrue}},
			Discovery:  &v1alpha1.DiscoveryStatus{Found: 1, NotJoined: []v1alpha1.NotJoined{{Cluster: "a", State: string(state)}}},
		}}
		got := []check.Severity{}
		for _, x := range check.Judge(check.Facts{Plugin: "v1", Host: check.HostFacts{Installed: "v1", Federations: []v1alpha1.Federation{f}}}) {
			got = append(got, x.Severity)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", state, got, want)
		}
	}
}

// TestContextToName holds what is said of a command in which the reader is to write a context.
func TestContextToName(t *testing.T) {
	t.Parallel()
	const note = "CONTEXT stands for the context of your kubeconfig that leads to the member's cluster"
	for _, tt := range []struct {
		remedy string
		all    bool
		want   string
	}{
		{"kubectl federate join us-east --federation prod --member-context CONTEXT --member-server URL", false, note + "; to find it: kubectl federate check --all-contexts\n"},
		{"kubectl federate check --member-contexts CONTEXT", true, note + "\n"},
		{"kubectl federate join us-east --federation prod --member-context us-east", false, ""},
		{"kubectl federate join us-east --federation prod --member-context CONTEXT-2", false, ""},
		{"", false, ""},
	} {
		d, _, errOut := newTestFactory()
		o := &checkOptions{checkFlags: checkFlags{factory: d, allContexts: tt.all, severity: string(check.Warning)}}
		if err := o.print([]check.Finding{{Severity: check.Error, Remedy: tt.remedy}}, nil); err != nil || errOut.String() != tt.want {
			t.Errorf("%s: %v, %q, want %q", tt.remedy, err, errOut.String(), tt.want)
		}
	}
	for text, want := range map[string]bool{
		"Next:   kubectl federate join us-east --member-context CONTEXT\nJoined: now": true, "store one: kubectl federate join a --member-context CONTEXT; or else": true,
		"context CONTEXTS": false,
	} {
		if leavesContext(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

// TestCheckForbiddenHost holds that a host that could not be checked is not one on which errors were found.
func TestCheckForbiddenHost(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"bob is forbidden"}`))
	}))
	t.Cleanup(server.Close)
	config := clientcmdapi.NewConfig()
	config.Clusters["c"], config.Contexts["bob"] = &clientcmdapi.Cluster{Server: server.URL}, &clientcmdapi.Context{Cluster: "c"}
	file := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	root := testRoot()
	root.SetArgs([]string{"check", "--kubeconfig", file, "--context", "bob"})
	err := root.ExecuteContext(t.Context())
	if err == nil || output.ExitCode(err) != output.ExitFailed || !strings.Contains(err.Error(), "bob is forbidden") {
		t.Errorf("ends with %d: %v", output.ExitCode(err), err)
	}
}
