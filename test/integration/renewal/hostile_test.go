//go:build unix

package renewal

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
	"github.com/kubefederate/kubectl-federate/test/hostile/probed"
)

// TestShortLives has a member grant tokens of a second: the manager does not write a new one to the host again and again.
func TestShortLives(t *testing.T) {
	env.Full(t, "it watches for long that nothing is written")
	f := fleet(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	manager, err := envhost.Make(t.Context(), f.Cluster("host"), "--probe-interval=250ms")
	must(err)
	t.Cleanup(manager.Close)
	h, err := host.Connect(f.Cluster("host").Config())
	must(err)
	client, err := kubernetes.NewForConfig(f.Cluster("host").Config())
	must(err)
	secrets := client.CoreV1().Secrets(v1alpha1.CredentialsNamespace)
	_, err = h.CreateFederation(t.Context(), &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "short"}}, cluster.DryRunNone)
	must(err)

	const id = "id-short"
	evil := probed.New(id, probed.ShortLives)
	t.Cleanup(evil.Close)
	m := &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "short", Labels: map[string]string{v1alpha1.LabelFederation: "short"}},
		Spec:       v1alpha1.MemberClusterSpec{ClusterID: id, Server: evil.URL, CABundle: evil.CA()},
	}
	o, err := cluster.ToUnstructured(cluster.MemberClusters, m)
	must(err)
	made, err := h.PostMember(t.Context(), o, cluster.DryRunNone)
	must(err)
	data, err := (&kubeconfig.Access{Endpoint: endpoint.Of(m), Token: probed.Token(time.Second)}).Marshal()
	must(err)
	_, err = secrets.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: m.Name, Labels: map[string]string{v1alpha1.LabelFederation: "short", v1alpha1.LabelMember: m.Name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MemberCluster", Name: m.Name, UID: made.UID}},
		},
		Type: v1alpha1.CredentialType, Data: map[string][]byte{v1alpha1.CredentialKey: data},
	}, metav1.CreateOptions{})
	must(err)
	watched, err := secrets.Watch(t.Context(), metav1.SingleObject(metav1.ObjectMeta{Name: m.Name}))
	must(err)
	t.Cleanup(watched.Stop)

	// Some seconds by its probes, of which one renewal takes less than ten requests.
	writes := 0
	env.Eventually(t, "the member is probed", func(context.Context) error {
		for drained := false; !drained; {
			select {
			case <-watched.ResultChan():
				writes++
			default:
				drained = true
			}
		}
		if n := evil.Requests.Load(); n < 40 && writes < 10 {
			return fmt.Errorf("%d requests, %d writes", n, writes)
		}
		return nil
	})
	if writes > 2 {
		t.Errorf("the manager wrote the credential %d times", writes)
	}
}
