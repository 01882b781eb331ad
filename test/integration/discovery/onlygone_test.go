//go:build unix

package discovery

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

var errCount = errors.New("not yet")

// TestOnlyGoneLeave has five members lose their objects in as many ways, where members leave when their objects are gone: only what is
// known to be gone leaves, and no more at a time than the budget is.
func TestOnlyGoneLeave(t *testing.T) {
	env.Full(t, "it takes the minute that an object must be gone")
	l := start(t)
	const fed, ns = "onlygone", "team-onlygone"
	l.make(t, namespace(ns))
	source := func(kind v1alpha1.DiscoverySourceKind) v1alpha1.DiscoverySource {
		return v1alpha1.DiscoverySource{Name: strings.ToLower(string(kind)), Kind: kind, Namespaces: []string{ns}}
	}
	l.federation(t, fed, v1alpha1.Discovery{
		Sources:  []v1alpha1.DiscoverySource{source(v1alpha1.SourceClusterAPI), source(v1alpha1.SourceFleet), source(v1alpha1.SourceKubeFed)},
		WhenGone: v1alpha1.GoneLeave, GonePatience: "1m",
	})
	clusters, objects := map[string]*env.Cluster{}, map[string]*unstructured.Unstructured{}
	for name, kind := range map[string]string{
		"gone-a": "cluster.x-k8s.io/v1beta2 Cluster", "gone-b": "cluster.x-k8s.io/v1beta2 Cluster", "moved": "cluster.x-k8s.io/v1beta2 Cluster",
		"unlisted": "fleet.cattle.io/v1alpha1 Cluster", "unserved": "core.kubefed.io/v1beta1 KubeFedCluster",
	} {
		c := add(t, env.Spec{Name: name, ControllerManager: strings.HasPrefix(name, "gone")})
		clusters[name] = c
		version, kind, _ := strings.Cut(kind, " ")
		spec, data, secretName := map[string]any{"kubeConfigSecret": name}, map[string]string{}, name
		switch kind {
		case "KubeFedCluster":
			config := outside(t, c.Config())
			spec = map[string]any{"apiEndpoint": config.Host, "caBundle": encoded(config.CAData), "secretRef": map[string]any{"name": name}}
			data["token"] = serviceAccountToken(t, c, "cluster-admin")
		default:
			data["value"] = kubeconfig(t, c)
		}
		if strings.HasPrefix(version, "cluster.x-k8s.io") {
			spec, secretName = nil, name+"-kubeconfig"
		}
		content := map[string]any{}
		if spec != nil {
			content["spec"] = spec
		}
		objects[name] = object(version, kind, ns, name, asks(fed), content)
		l.make(t, objects[name], secret(ns, secretName, nil, data))
	}
	l.grant(t, discovers(fed, v1alpha1.VerbLeave), manifests.DiscoveryNamespaceBinding(ns))
	l.becomes(t, fed, "gone-a by ClusterAPI team-onlygone/gone-a: Pending", "gone-b by ClusterAPI team-onlygone/gone-b: Pending",
		"moved by ClusterAPI team-onlygone/moved: Pending", "unlisted by Fleet team-onlygone/unlisted: Pending", "unserved by KubeFed team-onlygone/unserved: Pending")

	// Objects that cannot be listed, of a kind that is not served, and one that clusterctl moves, are not gone.
	l.forbid(t, "fleet.cattle.io")
	l.unserve(t, "kubefedclusters.core.kubefed.io")
	if err := l.Patch(t.Context(), objects["moved"], client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"paused":true}}`))); err != nil {
		t.Fatal(err)
	}
	l.present(t, "moved", "Unknown SourcePaused")
	for _, name := range []string{"moved", "unlisted", "gone-a", "gone-b"} {
		if err := l.Delete(t.Context(), objects[name]); err != nil {
			t.Fatal(err)
		}
	}
	l.present(t, "moved", `Unknown SourcePaused: ClusterAPI object "team-onlygone/moved" was paused, and is gone since`)
	l.present(t, "unlisted", `Unknown SourceUnreadable: Fleet object "team-onlygone/unlisted" cannot be looked for`)
	l.present(t, "unserved", `Unknown SourceUnreadable: KubeFed object "team-onlygone/unserved" cannot be looked for`)
	l.present(t, "gone-a", "False ObjectGone: ")

	var left, stays string
	env.Eventually(t, "one of two leaves", func(ctx context.Context) error {
		for _, name := range []string{"gone-a", "gone-b"} {
			err := l.Get(ctx, client.ObjectKey{Name: name}, &v1alpha1.MemberCluster{})
			switch {
			case apierrors.IsNotFound(err):
				left = name
			case err != nil:
				return err
			default:
				stays = name
			}
		}
		if left == "" {
			return errCount
		}
		return nil
	})
	l.present(t, stays, "False ObjectGone: ClusterAPI object \"team-onlygone/"+stays+"\" is gone; it leaves later: no more than 1 member may leave in 1m0s")
	members, err := l.members(t.Context(), fed)
	if err != nil || len(members) != 4 {
		t.Errorf("members: %q, %v", members, err)
	}

	// It was not reached: what stays on it is said.
	events := &eventsv1.EventList{}
	if err := l.List(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	want := "the cluster was not reached: its namespace kubefederate-member and what the host was granted there stay"
	if !slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
		return e.Reason == "Left" && strings.HasPrefix(e.Note, left+" left federation onlygone: ") && strings.HasSuffix(e.Note, want)
	}) {
		t.Error("no Event says what stays on the cluster that left")
	}
	member, err := client.New(clusters[left].Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Get(t.Context(), client.ObjectKey{Name: v1alpha1.MemberNamespace}, namespace("")); err != nil {
		t.Error(err)
	}
}

// forbid takes the rights on a group of kinds from the controller until the test ends.
func (l *lab) forbid(t *testing.T, group string) {
	t.Helper()
	role := &rbacv1.ClusterRole{}
	if err := l.Get(t.Context(), client.ObjectKey{Name: "kubefederate-system:discovery"}, role); err != nil {
		t.Fatal(err)
	}
	before := role.DeepCopy()
	for i := range role.Rules {
		role.Rules[i].APIGroups = slices.DeleteFunc(role.Rules[i].APIGroups, func(g string) bool { return g == group })
	}
	if err := l.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		before.ResourceVersion = ""
		if err := l.Update(context.Background(), before); err != nil {
			t.Error(err)
		}
	})
}

// unserve deletes a kind until the test ends.
func (l *lab) unserve(t *testing.T, name string) {
	t.Helper()
	kind := &unstructured.Unstructured{}
	kind.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	if err := l.Get(t.Context(), client.ObjectKey{Name: name}, kind); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(t.Context(), kind); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		delete(kind.Object, "status")
		kind.SetResourceVersion("")
		kind.SetUID("")
		if err := env.Poll(context.Background(), func(ctx context.Context) error { return l.Create(ctx, kind.DeepCopy()) }); err != nil {
			t.Error(err)
		}
	})
}
