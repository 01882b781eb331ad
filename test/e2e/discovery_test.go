//go:build linux && e2e

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// asking is a federation that discovers, and a Secret that asks for it.
const asking = `apiVersion: kubefederate.io/v1alpha1
kind: Federation
metadata: {name: edge}
spec:
  discovery:
    sources: [{kind: Secret, namespaces: [clusters]}]
    endpoints: ["192.0.2.0/24"]
---
apiVersion: v1
kind: Namespace
metadata: {name: clusters}
---
apiVersion: v1
kind: Secret
metadata: {name: us-west, namespace: clusters, labels: {kubefederate.io/federation: edge}}
stringData:
  kubeconfig: |
    %s
`

// discovers installs the discovery controller as shipped beside the manager, and has it join us-west by a Secret and two consents.
func (m *machine) discovers() {
	began := time.Now()
	m.federate("init", "--discovery", "--timeout", "5m")
	m.kubectl("rollout", "status", "deployment/"+manifests.DiscoveryDeployment, "-n", v1alpha1.HostNamespace, "--timeout=60s")
	if enforced := m.kubectl("get", "namespace", v1alpha1.HostNamespace, "-o", `jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`); enforced != "restricted" {
		m.Errorf("pods are held to %q", enforced)
	}
	config := m.fleet.Cluster("us-west").Config()
	// An address that pods reach, and that is none of the host's own.
	at, end, err := env.Outside(config.Host)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(end)
	config.Host = at
	kubeconfig := filepath.Join(m.TempDir(), "us-west")
	if err := env.WriteKubeconfig(kubeconfig, env.Context{Name: "us-west", Config: config}); err != nil {
		m.Fatal(err)
	}
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		m.Fatal(err)
	}
	file := filepath.Join(m.TempDir(), "asking.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, asking, strings.ReplaceAll(string(data), "\n", "\n    ")), 0o600); err != nil {
		m.Fatal(err)
	}
	m.kubectl("apply", "-f", file)
	m.federate("grant", "edge", "--discovery")
	m.federate("grant", "--discovery-secret", "clusters/us-west")
	env.Eventually(m.T, "us-west joins", func(context.Context) error {
		phase := m.kubectl("get", "membercluster", "us-west", "--ignore-not-found", "-o", "jsonpath={.spec.server} {.status.phase}")
		if phase != at+" Pending" {
			return fmt.Errorf("%q, and its federation %s", phase, m.kubectl("get", "federation", "edge", "-o", "jsonpath={.status}"))
		}
		return nil
	})
	m.federate("approve", "us-west")
	m.kubectl("wait", "membercluster", "us-west", "--for=condition=Ready", "--timeout=30s")
	m.Logf("us-west joined by itself %s after discovery was installed", time.Since(began).Round(time.Second))

	holder := m.leads(manifests.DiscoveryLease, "")
	m.kubectl("rollout", "restart", "deployment/"+manifests.DiscoveryDeployment, "-n", v1alpha1.HostNamespace)
	m.kubectl("rollout", "status", "deployment/"+manifests.DiscoveryDeployment, "-n", v1alpha1.HostNamespace, "--timeout=60s")
	m.leads(manifests.DiscoveryLease, holder)
	m.scrapes()
	m.bundles()
	m.Log(m.federate("check", "--member-contexts", "us-west"))

	m.federate("unjoin", "us-west", "--member-context", "us-west")
	m.federate("revoke", "--discovery-secret", "clusters/us-west")
	m.kubectl("delete", "federation", "edge")
	m.Logf("discovery took %s", time.Since(began).Round(time.Second))
}

// leads waits until another pod than that one holds a lease, and names it.
func (m *machine) leads(lease, other string) (pod string) {
	m.Helper()
	env.Eventually(m.T, "a leader by "+lease, func(context.Context) error {
		identity := m.kubectl("get", "lease", lease, "-n", v1alpha1.HostNamespace, "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
		if pod, _, _ = strings.Cut(identity, "_"); pod == "" || pod == other {
			return fmt.Errorf("%q leads", pod)
		}
		return nil
	})
	return pod
}

// bundles makes a support bundle, which has the logs and the metrics of every pod.
func (m *machine) bundles() {
	file := filepath.Join(m.TempDir(), "bundle.tar.gz")
	m.Log(m.federate("check", "--bundle", file))
	for pods, line := range map[string]string{
		manifests.DiscoveryDeployment: "\nkubefederate_discovery_clusters{state=\"Joined\"} 1\n",
		manifests.ManagerDeployment:   "\nkubefederate_webhook_certificate_expiry_timestamp_seconds ",
	} {
		text, err := exec.Command("tar", "-xzOf", file, "--wildcards", "kubefederate-bundle/metrics/"+pods+"-*.txt").CombinedOutput()
		if err != nil || !strings.Contains(string(text), line) {
			m.Errorf("the metrics of %s have no line %q: %v\n%.2000s", pods, line, err, text)
		}
	}
}

// scrapes reads the metrics of the discovery controller where its Service leads, as a collector with a right to them does.
func (m *machine) scrapes() {
	m.kubectl("create", "serviceaccount", "prometheus", "-n", "default")
	m.kubectl("create", "clusterrolebinding", "prometheus", "--clusterrole", "kubefederate-metrics-reader", "--serviceaccount", "default:prometheus")
	defer m.kubectl("delete", "serviceaccount/prometheus", "clusterrolebinding/prometheus", "-n", "default")
	token := m.kubectl("create", "token", "prometheus", "-n", "default")
	// The process makes a certificate for itself.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	env.Eventually(m.T, "the metrics of discovery", func(ctx context.Context) error {
		found := strings.Fields(m.kubectl("get", "endpointslices", "-n", v1alpha1.HostNamespace, "-l", "kubernetes.io/service-name="+manifests.DiscoveryDeployment,
			"-o", `jsonpath={.items[0].endpoints[?(@.conditions.ready==true)].addresses[0]} {.items[0].ports[?(@.name=="discovery-metrics")].port}`))
		if len(found) != 2 {
			return fmt.Errorf("the Service leads to %q", found)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(found[0], found[1])+"/metrics", nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil && !strings.Contains(string(text), "\nkubefederate_discovery_clusters{state=\"Joined\"} 1\n") {
			err = errors.New(answer.Status + "\n" + string(text[:min(len(text), 2000)]))
		}
		return err
	})
}
