//go:build unix

package bench

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// maxGet bounds `kubectl federate get`, started by kubectl, as a part of `kubectl get memberclusters`.
const maxGet = 1.2

// listed is how many members both list.
const listed = 10_000

// BenchmarkGet lists 10,000 members, as large as real ones, with kubectl and with the plugin in turns, and reports the
// medians and their ratio.
func BenchmarkGet(b *testing.B) {
	fleet, err := env.Start(b.Context(), env.Options{Clusters: []env.Spec{{Name: "host"}}, Progress: os.Stderr})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(fleet.Stop)
	dir := filepath.Dir(shipped(b))
	if err := listable(b.Context(), fleet.Cluster("host")); err != nil {
		b.Fatal(err)
	}
	run := func(args ...string) (time.Duration, int) {
		cmd := exec.CommandContext(b.Context(), fleet.Kubectl(), args...)
		cmd.Env = []string{"HOME=" + dir, "PATH=" + dir, "KUBECONFIG=" + fleet.Kubeconfig}
		var lines lineCounter
		cmd.Stdout, cmd.Stderr = &lines, os.Stderr
		start := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatalf("%q: %v", args, err)
		}
		return time.Since(start), lines.n
	}
	commands := [][]string{{"get", "memberclusters"}, {"federate", "get"}}
	for _, command := range commands {
		if _, lines := run(command...); lines != listed+1 {
			b.Fatalf("%q prints %d lines, want %d", command, lines, listed+1)
		}
	}

	in := func(command []string) func() time.Duration {
		return func() time.Duration {
			took, _ := run(command...)
			return took
		}
	}
	besideKubectl(b, "get", maxGet, in(commands[0]), in(commands[1]))
}

type lineCounter struct{ n int }

var _ io.Writer = &lineCounter{}

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n += strings.Count(string(p), "\n")
	return len(p), nil
}

// listable serves our kinds on a cluster, without a webhook, and fills it with members.
func listable(ctx context.Context, c *env.Cluster) error {
	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	s := &stage{client: client}
	if err := serveKinds(ctx, s); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range listed {
		group.Go(func() error {
			_, err := s.of(product).Create(ctx, joined(i), metav1.CreateOptions{FieldManager: v1alpha1.FieldOwner})
			return err
		})
	}
	return group.Wait()
}

// serveKinds serves our kinds, without a webhook, in such a way that a status is stored with the object that is created.
func serveKinds(ctx context.Context, s *stage) error {
	objects, err := manifests.Objects(manifests.Options{})
	if err != nil {
		return err
	}
	for i := range objects {
		if objects[i].GetKind() != "CustomResourceDefinition" {
			continue
		}
		// Without the subresource a status is stored with the object that is created.
		versions, _, _ := unstructured.NestedSlice(objects[i].Object, "spec", "versions")
		for _, v := range versions {
			delete(v.(map[string]any), "subresources")
		}
		set(objects[i], versions, "spec", "versions")
		if err := s.apply(ctx, objects[i]); err != nil {
			return err
		}
	}
	served := func(ctx context.Context) (bool, error) {
		_, err := s.of(product).List(ctx, metav1.ListOptions{})
		return err == nil, nil
	}
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, served)
}

// joined is a member as join and the manager leave it.
func joined(i int) *unstructured.Unstructured {
	m := object(product, fmt.Sprintf("member-%05d", i))
	region := []string{"us-east-1", "us-west-2", "eu-west-1"}[i%3]
	zones := []any{region + "a", region + "b", region + "c"}
	condition := func(kind, reason, message string) any {
		return map[string]any{"type": kind, "status": "True", "reason": reason, "message": message,
			"observedGeneration": int64(1), "lastTransitionTime": "2026-11-23T12:00:00Z"}
	}
	ca := "-----BEGIN CERTIFICATE-----\n" + strings.Repeat(strings.Repeat("A", 64)+"\n", 16) + "-----END CERTIFICATE-----\n"
	for _, field := range []struct {
		value any
		path  []string
	}{
		{region, []string{"metadata", "labels", "topology.kubernetes.io/region"}},
		{map[string]any{v1alpha1.AnnotationJoinedBy: "alice@example.com 2026-11-23T12:00:00Z"}, []string{"metadata", "annotations"}},
		{fmt.Sprintf("%08x-0000-4000-8000-000000000000", i), []string{"spec", "clusterID"}},
		{base64.StdEncoding.EncodeToString([]byte(ca)), []string{"spec", "caBundle"}},
		{map[string]any{"kubernetesVersion": "v1.36.3", "regions": []any{region}, "zones": zones}, []string{"spec", "joinedWith"}},
		{map[string]any{
			"phase": "Ready", "observedGeneration": int64(1), "credentialExpiry": "2027-02-21T12:13:47Z", "lastProbeTime": "2026-11-23T12:00:00Z",
			"facts": map[string]any{"kubernetesVersion": "v1.36.3", "regions": []any{region}, "zones": zones, "nodes": int64(12),
				"capacity": map[string]any{"cpu": "96", "memory": "384Gi", "pods": "1320"}},
			"conditions": []any{
				condition("Accepted", "Accepted", "the cluster is a member of the federation"),
				condition("CredentialValid", "CredentialStored", "a credential for the member's endpoint is stored"),
				condition("Ready", "Reachable", "the member answers"),
			},
		}, []string{"status"}},
	} {
		set(m, field.value, field.path...)
	}
	return m
}
