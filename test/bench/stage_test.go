//go:build unix

package bench

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// stage is a host with a manager, the resources to compare it with, and a webhook that does nothing.
type stage struct {
	client  dynamic.Interface
	metrics rest.Interface // the API server's own
	filled  int
	status  any // of a member, as the manager writes it
	number  atomic.Int64
}

func (s *stage) of(g variant) dynamic.ResourceInterface {
	return s.client.Resource(schema.GroupVersionResource{Group: g.group(), Version: "v1alpha1", Resource: "memberclusters"})
}

func (s *stage) federations() dynamic.ResourceInterface {
	return s.client.Resource(v1alpha1.GroupVersion.WithResource("federations"))
}

func newStage(b *testing.B) *stage {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	fleet, err := env.Start(b.Context(), env.Options{Clusters: []env.Spec{{Name: "host"}}, Progress: os.Stderr, Sync: true})
	must(err)
	b.Cleanup(fleet.Stop)
	host := fleet.Cluster("host")
	manager, err := envhost.Make(b.Context(), host)
	must(err)
	b.Cleanup(manager.Close)

	_, _, s := newClients(b, host)
	objects, err := manifests.Objects(manifests.Options{})
	must(err)
	for _, g := range others {
		for _, o := range objects {
			if o.GetName() == "memberclusters."+v1alpha1.GroupVersion.Group {
				must(s.apply(b.Context(), ofGroup(o, g)))
			}
		}
	}
	for _, o := range objects {
		if name, _, _ := strings.Cut(o.GetName(), "."); slices.Contains(policies, name) {
			must(s.apply(b.Context(), ofGroup(o, policy)))
			must(s.apply(b.Context(), ofGroup(o, both)))
		}
	}
	must(s.apply(b.Context(), admitsAll(b)))
	_, err = s.federations().Create(b.Context(), federation(), metav1.CreateOptions{})
	must(err)
	must(s.standing(b.Context()))
	return s
}

// policies are those about members.
var policies = []string{"joining", "leaving", "membership"}

// ofGroup is an object of manifests/ for the resource of another group. Its name has the group in it, as those of
// manifests/ have the product's.
func ofGroup(o *unstructured.Unstructured, g variant) *unstructured.Unstructured {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	group := v1alpha1.GroupVersion.Group
	places := []string{`"memberclusters.%s"`, `"group":"%s"`, `"apiGroups":["%s"]`}
	for _, name := range policies {
		places = append(places, `"`+name+`.%s"`)
	}
	for _, place := range places {
		text = []byte(strings.ReplaceAll(string(text), strings.Replace(place, "%s", group, 1), strings.Replace(place, "%s", g.group(), 1)))
	}
	t := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, t); err != nil {
		panic(err)
	}
	unstructured.RemoveNestedField(t.Object, "spec", "names", "shortNames")
	unstructured.RemoveNestedField(t.Object, "spec", "names", "categories")
	return t
}

func (s *stage) apply(ctx context.Context, o *unstructured.Unstructured) error {
	gvk := o.GroupVersionKind()
	resource := gvk.GroupVersion().WithResource(strings.ToLower(gvk.Kind) + "s")
	if strings.HasSuffix(gvk.Kind, "Policy") {
		resource.Resource = strings.TrimSuffix(strings.ToLower(gvk.Kind), "y") + "ies"
	}
	_, err := s.client.Resource(resource).Namespace(o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{})
	return err
}

// admitsAll runs a webhook that does nothing, in a process of its own as the manager is, and gives its configuration.
func admitsAll(b *testing.B) *unstructured.Unstructured {
	b.Helper()
	command := exec.CommandContext(b.Context(), os.Args[0])
	command.Env = append(os.Environ(), noopVariable+"=yes")
	command.Stderr = os.Stderr
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	out, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = command.Cancel()
		_ = command.Wait()
	})
	var server noopServer
	if err := json.NewDecoder(out).Decode(&server); err != nil {
		b.Fatal(err)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
		"metadata": map[string]any{"name": noop.group()},
		"webhooks": []any{map[string]any{
			"name": "memberclusters." + noop.group(), "admissionReviewVersions": []any{"v1"},
			"clientConfig": map[string]any{"url": server.URL + "/", "caBundle": server.CA},
			"rules": []any{map[string]any{
				"apiGroups": []any{noop.group(), both.group()}, "apiVersions": []any{"v1alpha1"},
				"operations": []any{"CREATE", "UPDATE"}, "resources": []any{"memberclusters"}, "scope": "Cluster",
			}},
			"failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": int64(5),
		}},
	}}
}

// standing waits until each resource is served, and judged as it is to be.
func (s *stage) standing(ctx context.Context) error {
	for _, g := range append(slices.Clone(others), product) {
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, err := s.of(g).Create(ctx, object(g, "probe"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err == nil, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newClients are an administrator's clients, which send as many requests as they like.
func newClients(b *testing.B, c *env.Cluster) (*rest.Config, *kubernetes.Clientset, *stage) {
	b.Helper()
	config := rest.CopyConfig(c.Config())
	config.QPS, config.Burst = -1, -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	return config, kube, &stage{client: client, metrics: kube.Discovery().RESTClient()}
}
