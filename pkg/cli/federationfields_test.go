package cli

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestFederationFields names each field of a Federation's spec that create federation has no flag for.
func TestFederationFields(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	code := Run(t.Context(), []string{
		"kubectl-federate", "create", "federation", "prod", "--dry-run=client", "-o", "yaml",
		"--description=x", "--acceptance=Manual", "--enforcement=Warn", "--require-label=a", "--max=1", "--kubernetes-versions=>=1.33",
		"--rule=a=true", "--access-cluster-role=view", "--inventory-namespace=a", "--inventory-credentials-namespace=b", "--discovery-source=ClusterAPI=a", "--discovery-endpoint=.example.com",
		"--health-interval=1m", "--services-namespace=shop", "--dns-domain=example.com", "--dns-namespace=external-dns", "--allow-insecure-tls",
	}, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	var created v1alpha1.Federation
	if err := yaml.UnmarshalStrict(out.Bytes(), &created); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, errOut.String())
	}
	for f := range reflect.TypeFor[v1alpha1.FederationSpec]().Fields() {
		if reflect.ValueOf(created.Spec).FieldByIndex(f.Index).IsZero() {
			t.Errorf("spec field %s: no flag of create federation sets it, or this test does not give the flag", f.Name)
		}
	}
}
