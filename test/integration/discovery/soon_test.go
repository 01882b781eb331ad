//go:build unix

package discovery

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// aRound is longer than a controller at rest takes to see what a watch reports, or a consent, and less than it rests where it sees
// neither.
const aRound = 40 * time.Second

// TestSoon holds that a controller at rest joins a cluster as soon as its label is set, or the last consent is given, and that it reads
// and joins nothing once a consent is revoked. Nothing that reaches a cluster is left anywhere.
func TestSoon(t *testing.T) {
	l := start(t)
	const fed, ns = "soon", "team-soon"
	l.make(t, namespace(ns))
	l.federation(t, fed, v1alpha1.Discovery{
		Acceptance: v1alpha1.DiscoveryAsFederation,
		Sources:    []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns}, MemberLabels: []string{"env"}}},
	})
	l.grant(t, discovers(fed), manifests.DiscoverySecretBinding(ns, "first-kubeconfig"), manifests.DiscoverySecretBinding(ns, "third-kubeconfig"))
	var objects []*unstructured.Unstructured
	var credentials []string
	for _, name := range []string{"first", "second", "third"} {
		config := kubeconfig(t, add(t, env.Spec{Name: name}))
		credentials = append(credentials, keyOf(t, config))
		o := object("cluster.x-k8s.io/v1beta2", "Cluster", ns, name, map[string]string{"env": "test"}, nil)
		objects = append(objects, o)
		l.make(t, o, secret(ns, name+"-kubeconfig", nil, map[string]string{"value": config}))
	}
	l.reports(t, fed, "0 0 0")
	soon := func(what string, do func(), count int) {
		t.Helper()
		began := time.Now()
		do()
		env.Eventually(t, what, func(ctx context.Context) error {
			members, err := l.members(ctx, fed)
			complete := slices.DeleteFunc(members, func(line string) bool { return strings.Contains(line, "not complete") })
			if err == nil && len(complete) != count {
				err = errCount
			}
			return err
		})
		if took := time.Since(began); took > aRound {
			t.Errorf("%s: it joined after %s, as if no watch had seen it", what, took)
		}
	}
	soon("a label", func() { l.label(t, objects[0], fed) }, 1)
	l.label(t, objects[1], fed)
	l.reports(t, fed, "2 1 0", "cluster-api:team-soon/second Unreachable: host: discovery may not get Secret")
	soon("a consent", func() { l.grant(t, manifests.DiscoverySecretBinding(ns, "second-kubeconfig")) }, 2)
	m := &v1alpha1.MemberCluster{}
	if err := l.Get(t.Context(), client.ObjectKey{Name: "first"}, m); err != nil || m.Labels["env"] != "test" {
		t.Errorf("labels %q, error %v", m.Labels, err)
	}

	l.revoke(t, discovers(fed))
	env.Eventually(t, "the condition says what is missing", func(ctx context.Context) error {
		f := &v1alpha1.Federation{}
		if err := l.Get(ctx, client.ObjectKey{Name: fed}, f); err != nil {
			return err
		}
		for _, c := range f.Status.Conditions {
			if c.Type == v1alpha1.ConditionDiscovering && c.Reason == v1alpha1.ReasonNotGranted {
				return nil
			}
		}
		return errCount
	})
	l.label(t, objects[2], fed)
	l.reports(t, fed, "3 2 0", "cluster-api:team-soon/third Unreachable: host: discovery may not join clusters to federation")

	for where, text := range l.written(t) {
		for i, credential := range credentials {
			if strings.Contains(text, credential) {
				t.Errorf("%s has the key of cluster %d", where, i)
			}
		}
	}
}

// written is what the controller has left: its log, and what lies on the host but the Secrets that it read.
func (l *lab) written(t *testing.T) map[string]string {
	t.Helper()
	log, err := os.ReadFile(l.controller.Log)
	if err != nil || len(log) == 0 {
		t.Fatalf("the log: %d bytes, %v", len(log), err)
	}
	all := map[string]string{"the log": string(log)}
	for what, list := range map[string]client.ObjectList{
		"federations": &v1alpha1.FederationList{}, "members": &v1alpha1.MemberClusterList{}, "events": &eventsv1.EventList{}, "ConfigMaps": &corev1.ConfigMapList{},
	} {
		if err := l.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		all[what] = string(data)
	}
	secrets := &corev1.SecretList{}
	if err := l.List(t.Context(), secrets, client.InNamespace(v1alpha1.CredentialsNamespace)); err != nil || len(secrets.Items) == 0 {
		t.Fatalf("credentials: %d, %v", len(secrets.Items), err)
	}
	for _, s := range secrets.Items {
		for key, value := range s.Data {
			all[s.Name+" "+key] = base64.StdEncoding.EncodeToString(value) + string(value)
		}
	}
	if !strings.Contains(all["events"], "NotJoined") {
		t.Error("no Event says that a cluster is not joined")
	}
	return all
}

// keyOf is the private key in a kubeconfig of an administrator, as it is written there.
func keyOf(t *testing.T, kubeconfig string) string {
	t.Helper()
	_, rest, found := strings.Cut(kubeconfig, "client-key-data: ")
	key, _, _ := strings.Cut(rest, "\n")
	if !found || len(key) < 40 {
		t.Fatal("the kubeconfig has no key")
	}
	return key
}
