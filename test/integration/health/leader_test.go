//go:build unix

package health

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

func clientOf(t *testing.T, c *env.Cluster) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestLeader holds that a manager that leads writes no Event where it may not, which its log would have as an error.
func TestLeader(t *testing.T) {
	hosts := clientOf(t, enforcing(t))
	// leader is who holds the lease; empty where it was released, as tests before this one leave it.
	leader := func(ctx context.Context) (string, error) {
		lease, err := hosts.CoordinationV1().Leases(v1alpha1.HostNamespace).Get(ctx, "kubefederate-manager", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return ptr.Deref(lease.Spec.HolderIdentity, ""), nil
	}
	first := ""
	env.Eventually(t, "a leader", func(ctx context.Context) (err error) {
		if first, err = leader(ctx); err == nil && first == "" {
			err = errors.New("the lease is not held")
		}
		return err
	})
	// Another one leads, and has written as much.
	manager.Stop()
	for _, step := range []func(context.Context) error{manager.Start, manager.Wait} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	env.Eventually(t, "another leader", func(ctx context.Context) error {
		now, err := leader(ctx)
		if err == nil && (now == "" || now == first) {
			err = errors.New("the lease is not held by another one")
		}
		return err
	})
	log, err := os.ReadFile(manager.Log)
	if err != nil {
		t.Fatal(err)
	}
	// Before that is what those have logged that ended.
	start := strings.LastIndex(string(log), `"msg":"starting"`)
	if start < 0 {
		t.Fatalf("the manager does not log that it starts:\n%s", log)
	}
	for line := range strings.Lines(string(log)[start:]) {
		if strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("the manager logs %s", line)
		}
	}
}
