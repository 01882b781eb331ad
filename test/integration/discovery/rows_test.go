//go:build unix

package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestRows holds that the controller reports what the command prints for the same objects with the same rights, field by field.
func TestRows(t *testing.T) {
	l := start(t)
	const fed, other, ns, closed = "rows", "rows-other", "team-rows", "team-rows-closed"
	sources := []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns, closed}, MemberLabels: []string{"tier"}}}
	l.make(t, namespace(ns), namespace(closed),
		&v1alpha1.Federation{ObjectMeta: metaOf(fed), Spec: v1alpha1.FederationSpec{
			Labels:    []v1alpha1.LabelRule{{Key: "tier", Required: true}},
			Discovery: &v1alpha1.Discovery{Sources: sources, Endpoints: []string{"*"}},
		}},
		&v1alpha1.Federation{ObjectMeta: metaOf("rows-manual")})
	l.federation(t, other, v1alpha1.Discovery{Sources: sources})
	l.grant(t, discovers(fed), discovers(other), manifests.DiscoverySecretBinding(ns, "joined-kubeconfig"), manifests.DiscoverySecretBinding(ns, "left-kubeconfig"))
	at := func(config *rest.Config) string { return kubeconfigAt(t, outside(t, config)) }
	candidate := func(namespace, name, federation, credential string, labels ...string) {
		t.Helper()
		l.make(t, object("cluster.x-k8s.io/v1beta2", "Cluster", namespace, name, asks(federation, labels...), nil))
		if credential != "" {
			l.make(t, secret(namespace, name+"-kubeconfig", nil, map[string]string{"value": credential}))
		}
	}
	base := add(t, env.Spec{Name: "rows"})
	candidate(ns, "joined", fed, at(add(t, env.Spec{Name: "rows-joined"}).Config()), "tier", "one")
	candidate(ns, "left", fed, at(add(t, env.Spec{Name: "rows-left"}).Config()), "tier", "one")
	const joined = "joined by ClusterAPI team-rows/joined: Pending"
	l.becomes(t, fed, joined, "left by ClusterAPI team-rows/left: Pending")
	if err := l.Delete(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metaOf("left")}); err != nil {
		t.Fatal(err)
	}
	l.becomes(t, fed, joined)

	// All others are found in one round, when their Secrets may be read.
	between := kubeconfigAt(t, posing(t, base, 1, ""))
	candidate(ns, "between-a", fed, between, "tier", "one")
	candidate(ns, "between-b", other, between)
	candidate(closed, "closed", fed, at(base.Config()))
	candidate(ns, "command", fed, strings.Replace(at(base.Config()), "client-certificate-data:",
		"exec: {apiVersion: client.authentication.k8s.io/v1, command: touch}\n    client-certificate-data:", 1))
	candidate(ns, "foreign", fed, kubeconfigAt(t, posing(t, base, 2, `"hostID": "00000000-0000-4000-8000-000000000000", "member": "theirs", "federation": "theirs"`)))
	candidate(ns, "manual", "rows-manual", kubeconfigAt(t, posing(t, base, 3, "")))
	candidate(ns, "missing", fed, "")
	expired := rest.AnonymousClientConfig(base.Config())
	expired.BearerToken = "expired"
	candidate(ns, "noaccess", fed, at(expired))
	candidate(ns, "ruled", fed, kubeconfigAt(t, posing(t, base, 4, "")))
	candidate(ns, "unknown", "rowz", kubeconfigAt(t, posing(t, base, 5, "")))
	silent := base.Config()
	address, end, err := env.Outside(silent.Host)
	if err != nil {
		t.Fatal(err)
	}
	end()
	silent.Host = address
	candidate(ns, "unreachable", fed, kubeconfigAt(t, silent))
	l.grant(t, manifests.DiscoveryNamespaceBinding(ns))

	name := func(short string) string { return "cluster-api:" + ns + "/" + short }
	notGranted := `host: discovery may not get Secret "team-rows-closed/closed-kubeconfig"; let it: kubectl federate grant --discovery-secret team-rows-closed/closed-kubeconfig`
	var found map[string]reported
	env.Eventually(t, "the controller has looked at all", func(ctx context.Context) (err error) {
		found, err = l.notJoined(ctx, fed, other)
		for _, r := range found {
			if strings.HasPrefix(r.Reason, "host: discovery may not get ") && !strings.HasPrefix(r.Reason, notGranted) {
				return fmt.Errorf("not yet: %s", r.Reason)
			}
		}
		if (len(found) < 9 || found[name("ruled")].Reason == "") && err == nil {
			return fmt.Errorf("it has found %v", found)
		}
		return err
	})
	printed := l.printed(t, l.controller.Config, "discover", "--source", "cluster-api")

	states := map[discover.State]string{
		discover.Joined: "joined", discover.Left: "left", discover.Conflict: "between-a foreign unknown", discover.NoAccess: "noaccess",
		discover.Unreachable: "command missing unreachable", discover.Wants: "manual ruled",
	}
	want, got := map[string]discover.State{"cluster-api:" + closed + "/closed": discover.Unreachable}, map[string]discover.State{}
	for state, names := range states {
		for short := range strings.FieldsSeq(names) {
			want[name(short)] = state
		}
	}
	for row, r := range printed {
		if strings.HasPrefix(row, "cluster-api:"+ns) {
			got[row] = r.State
		} else {
			delete(printed, row)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the command (-want +got)\n%s%v", diff, printed)
	}
	// What is a member has no row in the status, nor has what asks for a federation that does not discover, or that is not there.
	for _, short := range []string{"joined", "manual", "unknown"} {
		delete(printed, name(short))
	}
	// The controller knows who can give it a right, and what became of a join, as the command does with --join.
	const hint = " (Cluster API reports no control plane yet)"
	printed["cluster-api:"+closed+"/closed"] = reported{discover.Unreachable, notGranted + hint}
	printed[name("ruled")] = l.printed(t, fleet(t).Cluster("host").Config(), "discover", "--source", "cluster-api", "--join", "--dry-run=server")[name("ruled")]
	if diff := cmp.Diff(printed, found); diff != "" {
		t.Errorf("(-command +controller)\n%s", diff)
	}
	l.reports(t, other, "0 0 0")
}

// notJoined are the rows of the status of federations, by source and name.
func (l *lab) notJoined(ctx context.Context, federations ...string) (map[string]reported, error) {
	found := map[string]reported{}
	for _, name := range federations {
		f := &v1alpha1.Federation{}
		if err := l.Get(ctx, client.ObjectKey{Name: name}, f); err != nil {
			return nil, err
		}
		if f.Status.Discovery == nil {
			return nil, fmt.Errorf("federation %q has no status.discovery", name)
		}
		for _, n := range f.Status.Discovery.NotJoined {
			found[n.Cluster] = reported{discover.State(n.State), n.Reason}
		}
	}
	return found, nil
}

// reported is a row of discover -o json, as far as a status has it.
type reported struct {
	State  discover.State
	Reason string
}

// printed are the rows that a command prints, by source and name.
func (l *lab) printed(t *testing.T, config *rest.Config, args ...string) map[string]reported {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig, env.Context{Name: "host", Config: config}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig) // a flag would be in the commands that reasons propose
	var out, errOut bytes.Buffer
	cli.Run(t.Context(), append([]string{"kubectl-federate", "-o", "json"}, args...), genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut})
	var list struct {
		Clusters []struct {
			Name, Source string
			reported
		}
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, errOut.String())
	}
	rows := map[string]reported{}
	for _, c := range list.Clusters {
		rows[c.Source+":"+c.Name] = c.reported
	}
	return rows
}

// posing is the administrator's way to a cluster that answers with an ID of its own, and with the content of a membership record where
// record is not empty: one more cluster, for as long as it does not join.
func posing(t *testing.T, c *env.Cluster, number int, record string) *rest.Config {
	t.Helper()
	answers := map[string]string{
		"/api/v1/namespaces/kube-system": fmt.Sprintf(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "%08x-0000-4000-8000-000000000000"}}`, number),
	}
	if record != "" {
		answers["/api/v1/namespaces/kubefederate-member/configmaps/membership"] = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "membership", "namespace": "kubefederate-member", "uid": "1"}, "data": {` + record + `}}`
	}
	return front(t, c, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if answer := answers[r.URL.Path]; answer != "" && r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(answer))
			return
		}
		pass.ServeHTTP(w, r)
	})
}
