//go:build unix

package discovery

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

func metaOf(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

// TestTenant has a tenant who may write objects and Secrets in one namespace try to get more than a Pending member.
func TestTenant(t *testing.T) {
	l := start(t)
	const fed, other, ns, foreign = "tenant", "tenant-other", "team-tenant", "team-foreign"
	l.make(t, namespace(ns), namespace(foreign))
	source := func(namespace string) []v1alpha1.DiscoverySource {
		return []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{namespace}}}
	}
	loopback, persons := add(t, env.Spec{Name: "tenants"}), add(t, env.Spec{Name: "persons"})
	address, _, _ := net.SplitHostPort(strings.TrimPrefix(outside(t, loopback.Config()).Host, "https://"))
	l.federation(t, fed, v1alpha1.Discovery{Sources: source(ns), Endpoints: []string{address + "/32", ".example.invalid"}})
	l.federation(t, other, v1alpha1.Discovery{Sources: source(foreign)})
	l.grant(t, discovers(fed), discovers(other), manifests.DiscoveryNamespaceBinding(ns), manifests.DiscoveryNamespaceBinding(foreign))

	// A person has joined a cluster to a third federation.
	l.make(t, &v1alpha1.Federation{ObjectMeta: metaOf("tenant-persons")})
	joinByPerson(t, "persons", "tenant-persons", persons)
	before := &v1alpha1.MemberCluster{}
	if err := l.Get(t.Context(), client.ObjectKey{Name: "persons"}, before); err != nil {
		t.Fatal(err)
	}

	touched := filepath.Join(t.TempDir(), "touched")
	inside := kubeconfigOf(t, loopback)
	server := loopback.Config().Host
	port := server[strings.LastIndex(server, ":"):]
	for name, text := range map[string]string{
		"a-loopback": inside, "b-name": strings.ReplaceAll(inside, server, "https://localhost"+port), "c-short": strings.ReplaceAll(inside, server, "https://127.1"+port),
		"d-mapped": strings.ReplaceAll(inside, server, "https://[::ffff:127.0.0.1]"+port), "e-elsewhere": strings.ReplaceAll(inside, server, "https://10.0.0.9:6443"),
		"f-metadata": strings.ReplaceAll(inside, server, "https://169.254.169.254"), "g-host": kubeconfigOf(t, fleet(t).Cluster("host")),
		"h-command": strings.ReplaceAll(inside, "client-certificate-data:", "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: ["+touched+"], interactiveMode: Never}\n    client-certificate-data:"),
		"i-member":  kubeconfig(t, persons),
	} {
		l.make(t, object("cluster.x-k8s.io/v1beta2", "Cluster", ns, name, asks(fed), nil), secret(ns, name+"-kubeconfig", nil, map[string]string{"value": text}))
	}
	// Objects that no federation takes: in another's namespace, and of another kind.
	l.make(t, object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "j-other", asks(other), nil), secret(ns, "j-other-kubeconfig", nil, map[string]string{"value": kubeconfig(t, loopback)}))
	l.make(t, secret(ns, "k-plain", asks(fed), map[string]string{"kubeconfig": kubeconfig(t, loopback)}))
	never := func(name, why string) string { return "cluster-api:team-tenant/" + name + " Unreachable: " + why }
	l.reports(t, fed, "9 0 0", never("a-loopback", `member: "127.0.0.1" is a loopback address, which discovery never allows`),
		never("b-name", `member: "localhost" is a loopback address, which discovery never allows`),
		never("c-short", `host: Secret "team-tenant/c-short-kubeconfig": kubeconfig refused: cluster.server must be an https URL`),
		never("d-mapped", `member: "::ffff:127.0.0.1" is a loopback address, which discovery never allows`),
		never("e-elsewhere", `member: "10.0.0.9" is not in spec.discovery.endpoints`),
		never("f-metadata", `member: "169.254.169.254" is a link-local address, which discovery never allows`),
		never("g-host", `member: "127.0.0.1" is a loopback address, which discovery never allows`),
		never("h-command", `host: Secret "team-tenant/h-command-kubeconfig": kubeconfig refused: `), "cluster-api:team-tenant/i-member Conflict: ")
	l.becomes(t, fed)
	l.becomes(t, other)
	if _, err := os.Stat(touched); err == nil {
		t.Error("a kubeconfig had a command run")
	}
	after := &v1alpha1.MemberCluster{}
	if err := l.Get(t.Context(), client.ObjectKey{Name: "persons"}, after); err != nil || after.Generation != before.Generation || after.UID != before.UID {
		t.Errorf("the person's member: %v, generation %d, was %d", err, after.Generation, before.Generation)
	}

	// The best that can be had.
	l.make(t, object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "l-best", asks(fed), nil), secret(ns, "l-best-kubeconfig", nil, map[string]string{"value": kubeconfig(t, loopback)}))
	l.becomes(t, fed, "l-best by ClusterAPI team-tenant/l-best: Pending")
}

// kubeconfigOf is that of an administrator of a cluster at its own, loopback, address.
func kubeconfigOf(t *testing.T, c *env.Cluster) string {
	t.Helper()
	data, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// joinByPerson joins a cluster as a person does.
func joinByPerson(t *testing.T, name v1alpha1.MemberName, federation v1alpha1.FederationName, c *env.Cluster) {
	t.Helper()
	h, err := host.Connect(fleet(t).Cluster("host").Config())
	if err != nil {
		t.Fatal(err)
	}
	m, err := member.Connect(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: name, Federation: federation, DryRun: cluster.DryRunNone})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// TestLabelOfOthers has a tenant who may only look at a cluster ask for it with a Secret that would be preferred. The cluster joins the
// federation that its administrator's Secret names, by that Secret, and no other.
func TestLabelOfOthers(t *testing.T) {
	l := start(t)
	const owners, tenants = "owners", "tenants"
	l.make(t, namespace("zz-owners"), namespace("aa-tenants"))
	c := add(t, env.Spec{Name: "shared", ControllerManager: true}) // which fills the ClusterRole view
	admin := outside(t, c.Config())
	view := rest.AnonymousClientConfig(admin)
	view.BearerToken = serviceAccountToken(t, c, "view")
	for fed, ns := range map[string]string{owners: "zz-owners", tenants: "aa-tenants"} {
		l.federation(t, fed, v1alpha1.Discovery{Sources: []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceSecret, Namespaces: []string{ns}}}})
	}
	l.make(t, secret("zz-owners", "prod", asks(owners), map[string]string{"kubeconfig": kubeconfigAt(t, admin)}),
		secret("aa-tenants", "prod", asks(tenants), map[string]string{"kubeconfig": kubeconfigAt(t, view)}))
	// The tenant's is looked at first, and waits for a change.
	l.grant(t, manifests.DiscoveryNamespaceBinding("aa-tenants"), discovers(tenants))
	l.reports(t, tenants, "1 0 0", "secret:aa-tenants/prod WantsToJoin: not joined: ")
	l.grant(t, manifests.DiscoveryNamespaceBinding("zz-owners"), discovers(owners))
	l.becomes(t, owners, "prod by Secret zz-owners/prod: Pending")
	roundsGoBy()
	l.becomes(t, tenants)
}

// roundsGoBy returns after some time, in which nothing is to happen.
func roundsGoBy() { <-time.After(5 * time.Second) }
