package discover

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// object is one object of YAML.
func object(t *testing.T, text string) unstructured.Unstructured {
	t.Helper()
	o := unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

const (
	v3Kind = "apiVersion: management.cattle.io/v3\nkind: Cluster\n"
	v1Kind = "apiVersion: provisioning.cattle.io/v1\nkind: Cluster\n"
	caPEM  = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
)

// describe is a candidate as a test reads it.
func describe(c Candidate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", c)
	if c.id != "" && c.Base != "" {
		fmt.Fprintf(&b, "; base %s", c.Base)
	}
	for _, o := range c.Objects {
		fmt.Fprintf(&b, "; %s", o.Word())
		if o.JoinRequest != "" {
			fmt.Fprintf(&b, " asks for %s", o.JoinRequest)
		}
	}
	if c.Secret.Name != "" {
		fmt.Fprintf(&b, "; Secret %s/%s", c.Secret.Namespace, c.Secret.Name)
	}
	if c.OtherName != "" {
		fmt.Fprintf(&b, "; duplicate %s", c.OtherName)
	}
	if c.Endpoint != nil {
		fmt.Fprintf(&b, "; stored at %s with a CA of %d bytes", c.Endpoint.Server, len(c.Endpoint.CABundle))
	}
	if c.EndpointMissing != "" {
		fmt.Fprintf(&b, "; no endpoint: %s", c.EndpointMissing)
	}
	if c.Hint != "" {
		fmt.Fprintf(&b, "; hint: %s", c.Hint)
	}
	return b.String()
}

// TestRancherClusters reads objects in the shapes that Rancher gives them.
func TestRancherClusters(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte(caPEM))
	for _, tt := range []struct {
		name   string
		v3, v1 []string
		want   []string
	}{
		{name: "provisioned", v3: []string{`
metadata: {name: c-m-k2x9wq7d, labels: {kubefederate.io/federation: emea}}
spec: {displayName: prod-a, fleetWorkspaceName: fleet-default}
`}, v1: []string{`
metadata: {name: prod-a, namespace: fleet-default, labels: {kubefederate.io/federation: emea}}
status: {clusterName: c-m-k2x9wq7d, clientSecretName: prod-a-kubeconfig}
`}, want: []string{"rancher:prod-a; clusters.management.cattle.io/c-m-k2x9wq7d asks for emea; clusters.provisioning.cattle.io/prod-a --namespace fleet-default asks for emea; " +
			"Secret fleet-default/prod-a-kubeconfig"}},
		{name: "imported by its ID, asked for on v3 only", v3: []string{`
metadata: {name: c-ab1cd, labels: {kubefederate.io/federation: emea, cluster-api.cattle.io/capi-cluster-owner: shop, cluster-api.cattle.io/capi-cluster-owner-ns: team-x}}
spec: {displayName: The Shop, fleetWorkspaceName: fleet-default}
`}, v1: []string{`
metadata: {name: c-ab1cd, namespace: fleet-default}
status: {clusterName: c-ab1cd, clientSecretName: c-ab1cd-kubeconfig}
`}, want: []string{"rancher:The Shop; clusters.management.cattle.io/c-ab1cd asks for emea; clusters.provisioning.cattle.io/c-ab1cd --namespace fleet-default; " +
			"Secret fleet-default/c-ab1cd-kubeconfig; duplicate cluster-api:team-x/shop"}},
		{name: "no Secret named yet", v1: []string{`
metadata: {name: prod-a, namespace: fleet-default}
status: {clusterName: c-m-k2x9wq7d}
`}, want: []string{"rancher:prod-a; clusters.provisioning.cattle.io/prod-a --namespace fleet-default; Secret fleet-default/prod-a-kubeconfig"}},
		{name: "v1 may not be read", v3: []string{`
metadata: {name: c-m-k2x9wq7d}
spec: {displayName: prod-a, fleetWorkspaceName: fleet-default}
`, `
metadata: {name: c-ab1cd}
spec: {displayName: The Shop, fleetWorkspaceName: fleet-default}
`, `
metadata: {name: c-no1ns}
spec: {displayName: lost}
`}, want: []string{
			"rancher:The Shop; clusters.management.cattle.io/c-ab1cd; Secret fleet-default/c-ab1cd-kubeconfig",
			"rancher:prod-a; clusters.management.cattle.io/c-m-k2x9wq7d; Secret fleet-default/prod-a-kubeconfig",
			"rancher:lost; clusters.management.cattle.io/c-no1ns",
		}},
		{name: "v1 that Rancher has given no ID", v1: []string{`
metadata: {name: new, namespace: fleet-default, annotations: {provisioning.cattle.io/management-cluster-display-name: Brand New}}
`}, want: []string{"rancher:Brand New; clusters.provisioning.cattle.io/new --namespace fleet-default; Secret fleet-default/new-kubeconfig"}},
		{name: "being deleted, on either side", v3: []string{
			`metadata: {name: c-m-aaaaaaaa, deletionTimestamp: "2026-01-01T00:00:00Z"}`, "metadata: {name: c-m-bbbbbbbb}\nspec: {displayName: b, fleetWorkspaceName: fleet-default}",
		}, v1: []string{`
metadata: {name: b, namespace: fleet-default, deletionTimestamp: "2026-01-01T00:00:00Z"}
status: {clusterName: c-m-bbbbbbbb}
`}},
		{name: "another object claims its ID", v3: []string{`
metadata: {name: c-m-k2x9wq7d, labels: {kubefederate.io/federation: emea}}
spec: {displayName: prod-a, fleetWorkspaceName: fleet-default}
`}, v1: []string{`
metadata: {name: prod-a, namespace: aaa}
status: {clusterName: c-m-k2x9wq7d, clientSecretName: mine-kubeconfig}
`, `
metadata: {name: prod-a, namespace: fleet-default}
status: {clusterName: c-m-k2x9wq7d, clientSecretName: prod-a-kubeconfig}
`, `
metadata: {name: x, namespace: fleet-default}
status: {clusterName: c-m-k2x9wq7d, clientSecretName: theirs-kubeconfig}
`}, want: []string{
			"rancher:prod-a/aaa/prod-a; base prod-a; clusters.provisioning.cattle.io/prod-a --namespace aaa; Secret aaa/mine-kubeconfig",
			"rancher:prod-a/c-m-k2x9wq7d; base prod-a; clusters.management.cattle.io/c-m-k2x9wq7d asks for emea; clusters.provisioning.cattle.io/prod-a --namespace fleet-default; Secret fleet-default/prod-a-kubeconfig",
			"rancher:x; clusters.provisioning.cattle.io/x --namespace fleet-default; Secret fleet-default/theirs-kubeconfig",
		}},
		{name: "moved to another workspace", v1: []string{`
metadata: {name: a, namespace: new}
status: {clusterName: c-m-aaaaaaaa}
`, `
metadata: {name: a, namespace: old, deletionTimestamp: "2026-01-01T00:00:00Z"}
status: {clusterName: c-m-aaaaaaaa}
`}, want: []string{"rancher:a; clusters.provisioning.cattle.io/a --namespace new; Secret new/a-kubeconfig"}},
		{name: "two with one display name", v3: []string{`
metadata: {name: c-aaaaa}
spec: {displayName: Shop, fleetWorkspaceName: f}
`, `
metadata: {name: c-bbbbb}
spec: {displayName: Shop, fleetWorkspaceName: f}
`}, want: []string{
			"rancher:Shop/c-aaaaa; base Shop; clusters.management.cattle.io/c-aaaaa; Secret f/c-aaaaa-kubeconfig",
			"rancher:Shop/c-bbbbb; base Shop; clusters.management.cattle.io/c-bbbbb; Secret f/c-bbbbb-kubeconfig",
		}},
		{name: "not connected", v3: []string{`
metadata: {name: c-m-k2x9wq7d}
spec: {displayName: prod-a, fleetWorkspaceName: fleet-default}
status: {conditions: [{type: Ready, status: "False"}, {type: Connected, status: "False", message: agent is gone}]}
`}, want: []string{"rancher:prod-a; clusters.management.cattle.io/c-m-k2x9wq7d; Secret fleet-default/prod-a-kubeconfig; " +
			"hint: Rancher reports that it is not connected: agent is gone"}},
		{name: "authorized endpoints", v3: []string{`
metadata: {name: c-m-aaaaaaaa}
spec: {displayName: a, fleetWorkspaceName: f, localClusterAuthEndpoint: {enabled: true, fqdn: "a.example.com:6443", caCerts: "` + strings.ReplaceAll(caPEM, "\n", `\n`) + `"}}
`, `
metadata: {name: c-m-bbbbbbbb}
spec: {displayName: b, fleetWorkspaceName: f, localClusterAuthEndpoint: {enabled: true, fqdn: b.example.com}}
status: {caCert: ` + encoded + `}
`, `
metadata: {name: c-m-cccccccc}
spec: {displayName: c, fleetWorkspaceName: f, localClusterAuthEndpoint: {enabled: true, fqdn: c.example.com, caCerts: nonsense}}
`, `
metadata: {name: c-m-dddddddd}
spec: {displayName: d, fleetWorkspaceName: f, localClusterAuthEndpoint: {enabled: true, fqdn: "u:p@d.example.com", caCerts: x}}
`, `
metadata: {name: c-m-eeeeeeee}
spec: {displayName: e, fleetWorkspaceName: f, localClusterAuthEndpoint: {enabled: true}}
`, `
metadata: {name: c-m-ffffffff}
spec: {displayName: f, fleetWorkspaceName: f, localClusterAuthEndpoint: {enabled: false, fqdn: f.example.com, caCerts: x}}
`}, want: []string{
			fmt.Sprintf("rancher:a; clusters.management.cattle.io/c-m-aaaaaaaa; Secret f/a-kubeconfig; stored at https://a.example.com:6443 with a CA of %d bytes", len(caPEM)),
			fmt.Sprintf("rancher:b; clusters.management.cattle.io/c-m-bbbbbbbb; Secret f/b-kubeconfig; stored at https://b.example.com with a CA of %d bytes", len(caPEM)),
			"rancher:c; clusters.management.cattle.io/c-m-cccccccc; Secret f/c-kubeconfig; no endpoint: its authorized endpoint https://c.example.com has no CA; " +
				"give Rancher the CA that signed its certificate (localClusterAuthEndpoint.caCerts)",
			`rancher:d; clusters.management.cattle.io/c-m-dddddddd; Secret f/d-kubeconfig; no endpoint: the FQDN of its authorized endpoint is not a host name: "u:p@d.example.com"; correct it in Rancher`,
			"rancher:e; clusters.management.cattle.io/c-m-eeeeeeee; Secret f/e-kubeconfig",
			"rancher:f; clusters.management.cattle.io/c-m-ffffffff; Secret f/f-kubeconfig",
		}},
		{name: "fields of the wrong type, as a kind without a schema takes them", v3: []string{`
metadata: {name: c-m-aaaaaaaa}
spec: nothing
status: {conditions: [1, {type: 2}, {type: Connected, status: 3, message: 4}]}
`, `
metadata: {name: c-m-bbbbbbbb}
spec: {displayName: 7, internal: "yes", localClusterAuthEndpoint: {enabled: [], fqdn: {}}}
status: []
`}, v1: []string{`
metadata: {name: x, namespace: f}
status: {clusterName: 9, clientSecretName: [x]}
`}, want: []string{
			"rancher:c-m-aaaaaaaa; clusters.management.cattle.io/c-m-aaaaaaaa",
			"rancher:c-m-bbbbbbbb; clusters.management.cattle.io/c-m-bbbbbbbb",
			"rancher:x; clusters.provisioning.cattle.io/x --namespace f; Secret f/x-kubeconfig",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var v3, v1 []unstructured.Unstructured
			for _, text := range tt.v3 {
				v3 = append(v3, object(t, v3Kind+text))
			}
			for _, text := range tt.v1 {
				v1 = append(v1, object(t, v1Kind+text))
			}
			var got []string
			for _, r := range rancherCandidates(v3, v1) {
				if r.isHost {
					t.Errorf("%s is taken for Rancher's own cluster", r.Name)
				}
				got = append(got, describe(r))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRancherLocal shows which cluster is Rancher's own, which the caller is connected to already: not one that only says so.
func TestRancherLocal(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"metadata: {name: local}": true, "metadata: {name: local}\nspec: {internal: true}": true,
		"metadata: {name: c-m-aaaaaaaa}\nspec: {internal: true}": false,
	} {
		if r := rancherCandidates([]unstructured.Unstructured{object(t, v3Kind+text)}, nil); r[0].isHost != want {
			t.Errorf("%s: taken for Rancher's own cluster: %v", text, r[0].isHost)
		}
	}
}

// TestRancherLabels shows which labels a selector sees: those of both objects, and v3's where they differ.
func TestRancherLabels(t *testing.T) {
	t.Parallel()
	v3 := object(t, v3Kind+"metadata: {name: c-1, labels: {both: v3, three: x}}\nspec: {displayName: a, fleetWorkspaceName: f}")
	v1 := object(t, v1Kind+"metadata: {name: a, namespace: f, labels: {both: v1, one: x}}\nstatus: {clusterName: c-1}")
	got := rancherCandidates([]unstructured.Unstructured{v3}, []unstructured.Unstructured{v1})[0].Labels
	if diff := cmp.Diff(map[string]string{"both": "v3", "three": "x", "one": "x"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRancherOutside(t *testing.T) {
	t.Parallel()
	const inside, direct = "https://10.43.0.9/k8s/clusters/c-1", "https://10.0.0.1:6443"
	for _, tt := range []struct {
		name   string
		o      rancherAddress
		server string
		want   kubeconfig.Access
	}{
		{"from outside", rancherAddress{"https://rancher.example.com/", caPEM}, inside, kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://rancher.example.com/k8s/clusters/c-1", CABundle: []byte(caPEM)}}},
		{"with a public CA", rancherAddress{"https://rancher.example.com", ""}, inside, kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://rancher.example.com/k8s/clusters/c-1"}}},
		{"not set", rancherAddress{"", caPEM}, inside, kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: inside, CABundle: []byte("inside")}}},
		{"not https", rancherAddress{"http://rancher.example.com", ""}, inside, kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: inside, CABundle: []byte("inside")}}},
		{"not the proxy", rancherAddress{"https://rancher.example.com", ""}, direct, kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: direct, CABundle: []byte("inside")}}},
	} {
		access := kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: tt.server, CABundle: []byte("inside")}}
		tt.o.apply(&access)
		if diff := cmp.Diff(tt.want, access); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
