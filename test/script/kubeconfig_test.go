//go:build unix

package script

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// TestKubeconfigOfMembers uses what `kubeconfig` prints with client-go: each context leads to its member, and nothing of a credential is
// in it.
func TestKubeconfigOfMembers(t *testing.T) {
	before, home, own := theStage.prepare(t)
	run := func(line string) string {
		t.Helper()
		out, err := theStage.command(t, home, own, line).Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	run("kubectl federate create federation clients")
	run("kubectl federate join --member-contexts us-east,us-west --federation clients")
	run("kubectl --context host wait membercluster us-east us-west --for=condition=Accepted --timeout=60s")
	printed := run("kubectl federate kubeconfig --federation clients")

	caller, err := clientcmd.LoadFromFile(own)
	if err != nil {
		t.Fatal(err)
	}
	made, err := clientcmd.Load([]byte(printed)) //nolint:forbidigo // it is read as client-go's users read it
	if err != nil {
		t.Fatal(err)
	}
	for name, user := range caller.AuthInfos {
		for _, secret := range [][]byte{user.ClientKeyData, user.ClientCertificateData, []byte(user.Token)} {
			if strings.Contains(printed, string(secret)) && len(secret) > 0 {
				t.Errorf("it has the credential of %s", name)
			}
		}
	}
	for name, user := range made.AuthInfos {
		rest := user.DeepCopy()
		rest.Exec, rest.LocationOfOrigin = nil, ""
		if diff := cmp.Diff(clientcmdapi.NewAuthInfo(), rest, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("user %s has more than a command:\n%s", name, diff)
		}
	}
	for _, name := range []string{"us-east", "us-west"} {
		config, err := clientcmd.NewNonInteractiveClientConfig(*made, "clients/"+name, nil, nil).ClientConfig()
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if want := run("kubectl --context host get membercluster " + name + " -o jsonpath={.spec.clusterID}"); string(got.UID) != want {
			t.Errorf("context %s leads to cluster %s, want %s", name, got.UID, want)
		}
	}
	run("kubectl federate unjoin --all --federation clients")
	run("kubectl --context host delete federation clients")
	for name := range before {
		if err := theStage.unchanged(name, before); err != nil {
			t.Error(err)
		}
	}
}
