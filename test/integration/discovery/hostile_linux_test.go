package discovery

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/hostile"
)

// shippedMemory is the limit of memory of the Deployment, in MiB.
const shippedMemory = 300

// TestHostileServers has a tenant label a server for each attack at once. The controller stays within the memory that it is shipped with,
// goes on, and joins the cluster of a neighbor in the same federation.
func TestHostileServers(t *testing.T) {
	env.Full(t, "it measures the memory of a process for long")
	l := start(t)
	const fed, ns, neighbor = "hostile", "team-hostile", "team-neighbor"
	l.make(t, namespace(ns), namespace(neighbor))
	l.federation(t, fed, v1alpha1.Discovery{Sources: []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns, neighbor}}}})
	l.controller.Kill()
	l.controller.Env = []string{"GOMEMLIMIT=270MiB"} // as shipped
	if err := l.controller.Start(); err != nil {
		t.Fatal(err)
	}
	pid := l.pid(t)
	elsewhere := hostile.New(t, nil)
	attacks := append(hostile.Attacks(), hostile.Named{Name: "a redirect", Attack: hostile.Redirect(elsewhere.URL, 307)})
	var objects []client.Object
	for i, a := range attacks {
		name := fmt.Sprintf("a%02d", i)
		server := hostile.New(t, a.Attack)
		config := outside(t, &rest.Config{Host: server.URL, BearerToken: "token-" + name, TLSClientConfig: rest.TLSClientConfig{CAData: server.CA(), ServerName: "example.com"}})
		objects = append(objects, object("cluster.x-k8s.io/v1beta2", "Cluster", ns, name, asks(fed), nil),
			secret(ns, name+"-kubeconfig", nil, map[string]string{"value": kubeconfigAt(t, config)}))
	}
	objects = append(objects, object("cluster.x-k8s.io/v1beta2", "Cluster", neighbor, "honest", asks(fed), nil),
		secret(neighbor, "honest-kubeconfig", nil, map[string]string{"value": kubeconfig(t, add(t, env.Spec{Name: "honest"}))}))
	l.make(t, objects...)
	l.grant(t, discovers(fed), manifests.DiscoveryNamespaceBinding(ns), manifests.DiscoveryNamespaceBinding(neighbor))
	l.becomes(t, fed, "honest by ClusterAPI team-neighbor/honest: Pending")
	roundsGoBy()
	if now := l.pid(t); now != pid {
		t.Errorf("the controller was %d, and is %d", pid, now)
	}
	peak, err := env.MemoryOf(pid, "VmHWM")
	t.Logf("%d attacks: %d MiB at most", len(attacks), peak>>10)
	if err != nil || peak < 10<<10 || peak >= shippedMemory<<10 { // less would be another process
		t.Errorf("it took %d KiB, error %v", peak, err)
	}
	if requests, _ := elsewhere.Requests(); requests > 0 {
		t.Errorf("%d requests were sent to where a redirect leads", requests)
	}
	secrets := &corev1.SecretList{}
	if err := l.List(t.Context(), secrets, client.InNamespace(v1alpha1.CredentialsNamespace)); err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		if strings.HasPrefix(s.Name, "a0") || strings.HasPrefix(s.Name, "a1") {
			t.Errorf("a credential of %s is stored", s.Name)
		}
	}
}

// pid is the process of the controller.
func (l *lab) pid(t *testing.T) (pid int) {
	t.Helper()
	kubeconfig := "--kubeconfig=" + filepath.Join(filepath.Dir(l.controller.Log), "discovery.kubeconfig")
	env.Eventually(t, "the controller runs", func(context.Context) (err error) {
		pid, err = env.FindProcess(func(words []string) bool { // not that which watches over it
			return strings.HasSuffix(words[0], "/manager") && slices.Contains(words, kubeconfig)
		})
		return err
	})
	return pid
}
