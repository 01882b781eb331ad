//go:build unix

package script

import (
	"context"
	"encoding/json"
	"net"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// silent NAME adds the context NAME: a server that takes connections and never says a word.
func silent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: silent NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	addContext(ts, env.Context{Name: args[0], Config: &rest.Config{Host: "https://" + l.Addr().String(), BearerToken: "unheard"}})
}

// plugin NAME CLUSTER adds the context NAME: an administrator of CLUSTER whose certificate comes from a command.
func plugin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plugin NAME CLUSTER")
	}
	admin := theStage.fleet.Cluster(args[1]).Config()
	answer, err := json.Marshal(map[string]any{
		"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
		"status": map[string]any{"clientCertificateData": string(admin.CertData), "clientKeyData": string(admin.KeyData)},
	})
	ts.Check(err)
	file := ts.MkAbs(args[0] + ".credential")
	ts.Check(os.WriteFile(file, answer, 0o600))
	config := rest.AnonymousClientConfig(admin)
	config.ExecProvider = &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: "cat", Args: []string{file}, InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}
	addContext(ts, env.Context{Name: args[0], Config: config})
}

// oidc NAME CLUSTER adds the context NAME: an administrator of CLUSTER whose kubeconfig holds an ID token, as
// `kubectl config set-credentials --auth-provider=oidc` writes it. The issuer is the cluster itself.
func oidc(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: oidc NAME CLUSTER")
	}
	ctx, name := context.Background(), args[0]
	cluster := theStage.fleet.Cluster(args[1])
	client, err := kubernetes.NewForConfig(cluster.Config())
	ts.Check(err)
	accounts := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault)
	_, err = accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	ts.Check(err)
	_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: name}},
	}, metav1.CreateOptions{})
	ts.Check(err)
	ts.Defer(func() {
		_ = accounts.Delete(ctx, name, metav1.DeleteOptions{})
		_ = client.RbacV1().ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{})
	})
	token, err := accounts.CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	ts.Check(err)
	config := rest.AnonymousClientConfig(cluster.Config())
	config.AuthProvider = &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: map[string]string{
		"idp-issuer-url": "https://kubernetes.default.svc.cluster.local", "client-id": "kubectl", "id-token": token.Status.Token,
	}}
	addContext(ts, env.Context{Name: name, Config: config})
}
