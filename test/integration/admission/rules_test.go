//go:build unix

package admission

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestKubectlPrints pins what a person sees: kubectl's own form, one bullet per fault.
func TestKubectlPrints(t *testing.T) {
	h := enforcing(t)
	const prefix = `{"apiVersion":"kubefederate.io/v1alpha1","kind":`
	for name, test := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"faults": {
			args: []string{"apply", "--dry-run=server", "-f", "-"},
			stdin: prefix + `"MemberCluster","metadata":{"name":"typo","labels":{"kubefederate.io/federation":"prodcution-east","kubefederate.io/fed":""}},` +
				`"spec":{"clusterID":"id-full-a","server":"https://u:p@127.0.0.1:6443","insecureSkipTLSVerify":true}}`,
			want: `The MemberCluster "typo" is invalid: 
* metadata.labels[kubefederate.io/federation]: Not found: "prodcution-east": no federation has this name; did you mean "production-east"?
* spec.clusterID: Duplicate value: "id-full-a": this cluster is already member "full-a" of federation "full", which has never answered the manager; if it does not stand for this cluster, free the ID: kubectl federate unjoin full-a --force
* metadata.labels: Invalid value: "kubefederate.io/fed": keys under kubefederate.io/ are reserved; known names: "kubefederate.io/federation"
* spec.server: Invalid value: it must not hold a user: everyone who may get members reads it
`,
		},
		"members": {
			args: []string{"delete", "federation", "peopled"},
			want: `Error from server (Forbidden): admission webhook "federations.kubefederate.io" denied the request: federation "peopled" has 2 members: peopled-a, peopled-b; unjoin them first: kubectl federate unjoin peopled-a peopled-b
`,
		},
		"warning": {
			args: []string{"apply", "--dry-run=server", "-f", "-"},
			stdin: prefix + `"MemberCluster","metadata":{"name":"near","labels":{"kubefederate.io/federation":"exists"}},` +
				`"spec":{"clusterID":"near","server":"https://localhost:9999"}}`,
			want: `Warning: spec.server: localhost is a loopback address: only this machine reaches it
membercluster.kubefederate.io/near created (server dry run)
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), fleet(t).Kubectl(), append([]string{"--kubeconfig=" + h.Kubeconfig}, test.args...)...)
			cmd.Stdin = strings.NewReader(test.stdin)
			out, _ := cmd.CombinedOutput()
			if string(out) != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", out, test.want)
			}
		})
	}
}

// TestManifestsApplyWithKubectl holds that `kubectl apply -f manifests/crd -f manifests/install` installs everything, the manager's pods
// included, without a fault or a warning (as of pod security).
func TestManifestsApplyWithKubectl(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	cmd := exec.CommandContext(t.Context(), fleet(t).Kubectl(), "--kubeconfig="+h.Kubeconfig, "apply", "--server-side",
		// As init does: the host has the webhook at a URL, and the owner of a field is who may take it off.
		"--force-conflicts", "--field-manager="+v1alpha1.FieldOwner,
		"--dry-run=server", "-f", "../../../manifests/crd", "-f", "../../../manifests/install")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "Warning") || !strings.Contains(string(out), "deployment.apps/kubefederate-manager serverside-applied (server dry run)\n") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestFreshFederationTakesMembers holds that a refusal which rests on another object is confirmed: the manager's
// watch has not brought a federation that was made a moment ago, nor of a member that has just gone.
func TestFreshFederationTakesMembers(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	for i := range 10 {
		f := fed(fmt.Sprintf("fresh-%d", i))
		f.Spec.Limits = []v1alpha1.Limit{{Max: 1}}
		h.create(t, f)
		for j := range 3 {
			m := member(fmt.Sprintf("fresh-%d-%d", i, j), f.Name)
			m.Spec.ClusterID = "id-fresh"
			h.create(t, m)
			must(t, h.admin.Delete(t.Context(), m))
		}
		must(t, h.admin.Delete(t.Context(), f))
	}
}

// TestWarnBytes holds that no warning is longer than clients print.
func TestWarnBytes(t *testing.T) {
	t.Parallel()
	for _, k := range cases.All() {
		for _, w := range k.Warnings {
			if len(w) > rules.MaxWarning {
				t.Errorf("%s: %d bytes", k.Name, len(w))
			}
		}
	}
}
