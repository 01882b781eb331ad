//go:build unix

package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// reads counts the requests for what single Secrets of a namespace hold, by path. Their metadata is another thing.
type reads struct {
	namespace string

	mu sync.Mutex
	of map[string]int
}

func (c *reads) handle(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/"+c.namespace+"/secrets/") && !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata") {
		c.mu.Lock()
		c.of[r.URL.Path]++
		c.mu.Unlock()
	}
	pass.ServeHTTP(w, r)
}

// String is how often each was read.
func (c *reads) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.of) // maps are printed in the order of their keys
}

// TestRotated has the credentials of two clusters be replaced: those that a cluster refuses serve to join by then, and once it has
// joined nothing is read any more, whatever becomes of the Secret.
func TestRotated(t *testing.T) {
	env.Full(t, "it takes the pauses after refused credentials")
	l := start(t)
	const fed, ns = "rotated", "team-rotated"
	seen := &reads{namespace: ns, of: map[string]int{}}
	l.through(t, seen.handle)
	l.make(t, namespace(ns))
	l.federation(t, fed, v1alpha1.Discovery{Sources: []v1alpha1.DiscoverySource{
		{Name: "clusters", Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns}}, {Name: "secrets", Kind: v1alpha1.SourceSecret, Namespaces: []string{ns}},
	}})
	l.grant(t, discovers(fed), manifests.DiscoverySecretBinding(ns, "turned-kubeconfig"), manifests.DiscoverySecretBinding(ns, "turned-plain"))
	good := map[string]string{}
	expired := func(name string, c *env.Cluster) string {
		config := outside(t, c.Config())
		good[name] = kubeconfigAt(t, config)
		old := rest.AnonymousClientConfig(config)
		old.BearerToken = "expired"
		return kubeconfigAt(t, old)
	}
	l.make(t, object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "turned", asks(fed), nil),
		secret(ns, "turned-kubeconfig", nil, map[string]string{"value": expired("turned-kubeconfig", add(t, env.Spec{Name: "rotated-capi"}))}),
		secret(ns, "turned-plain", asks(fed), map[string]string{"value": expired("turned-plain", add(t, env.Spec{Name: "rotated-plain"}))}))
	refused := func(row string) string { return row + " NoAccess: member: https://" }
	l.reports(t, fed, "2 0 0", refused("cluster-api:team-rotated/turned"), refused("secret:team-rotated/turned-plain"))

	began := time.Now()
	rotate := func(name, content string) {
		t.Helper()
		s := &corev1.Secret{}
		if err := l.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, s); err != nil {
			t.Fatal(err)
		}
		s.Data["value"] = []byte(content)
		if err := l.Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range good {
		rotate(name, content)
	}
	joined := []string{"turned by ClusterAPI team-rotated/turned: Pending", "turned-plain by Secret team-rotated/turned-plain: Pending"}
	l.becomes(t, fed, joined...)
	t.Logf("the clusters joined %s after their credentials were replaced", time.Since(began).Round(time.Second))
	l.reports(t, fed, "2 2 0")
	before, members := seen.String(), l.generations(t, fed)
	if !strings.Contains(before, "/turned-kubeconfig:") || !strings.Contains(before, "/turned-plain:") {
		t.Fatalf("the Secrets that were read are not seen: %s", before)
	}

	same := func(what string) {
		t.Helper()
		l.round(t, fed, ns, "2 2 0")
		if now := seen.String(); now != before {
			t.Errorf("%s: Secrets were read: %s, before %s", what, now, before)
		}
		if diff := cmp.Diff(members, l.generations(t, fed)); diff != "" {
			t.Errorf("%s: the members have changed (-before +after)\n%s", what, diff)
		}
		l.becomes(t, fed, joined...)
	}
	same("nothing has changed")
	for name := range good {
		rotate(name, "no kubeconfig")
	}
	same("the Secrets were replaced")
	for name := range good {
		if err := l.Delete(t.Context(), secret(ns, name, nil, nil)); err != nil {
			t.Fatal(err)
		}
	}
	same("the Secrets were deleted")
	l.restart(t, l.controller.Config)
	same("the controller started anew")
	l.present(t, "turned", "True SourcePresent")
	l.present(t, "turned-plain", "Unknown SecretServed")
}

// generations are those of the members of a federation, with their UIDs.
func (l *lab) generations(t *testing.T, federation string) (all []string) {
	t.Helper()
	var list v1alpha1.MemberClusterList
	if err := l.List(t.Context(), &list, client.MatchingLabels{v1alpha1.LabelFederation: federation}); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		m := &list.Items[i]
		all = append(all, fmt.Sprintf("%s %s %d", m.Name, m.UID, m.Generation))
	}
	return all
}

// round returns when the controller has gone through a round that began after the call: it has seen one more Cluster in a namespace, and that this is gone
// again. counts are what it reports then.
func (l *lab) round(t *testing.T, federation, namespace, counts string) {
	t.Helper()
	o := object("cluster.x-k8s.io/v1beta2", "Cluster", namespace, "round", asks(federation), nil)
	l.make(t, o)
	env.Eventually(t, "a round has begun", func(ctx context.Context) error {
		found, err := l.notJoined(ctx, federation)
		if _, seen := found["cluster-api:"+namespace+"/round"]; !seen && err == nil {
			err = errors.New("not yet")
		}
		return err
	})
	if err := l.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	l.reports(t, federation, counts)
}
