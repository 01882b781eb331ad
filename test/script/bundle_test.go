//go:build unix

package script

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestBundleHoldsNoSecret makes a bundle of a host with members, and searches it for every token, key and password of all of them: also where
// others have put them, into a pod, a ConfigMap, an annotation and a log.
func TestBundleHoldsNoSecret(t *testing.T) {
	before, home, own := theStage.prepare(t)
	run := func(line string) string {
		t.Helper()
		out, err := theStage.command(t, home, own, line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	run("kubectl federate create federation helped")
	run("kubectl federate join --member-contexts us-east,us-west --federation helped")
	c := theStage.fleet.Cluster("host")
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	secrets := env.Secrets{}
	for _, name := range []string{"host", "us-east", "us-west"} {
		if err := secrets.AddCluster(t.Context(), theStage.fleet.Cluster(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, account := range []string{"kubefederate-manager", "default"} {
		secrets.Add("a token of "+account, []byte(strings.TrimSpace(run("kubectl --context host create token "+account+" --namespace "+v1alpha1.HostNamespace))))
	}
	all := strings.Join(slices.Collect(func(yield func(string) bool) {
		for secret := range secrets {
			if !yield("value " + secret + " of it") {
				return
			}
		}
	}), "\n")
	var keys strings.Builder
	for secret, what := range secrets {
		if strings.Contains(what, "administrator") {
			fmt.Fprintln(&keys, secret)
		}
	}
	const password = "pa55word of the pod"
	secrets.Add("the password in a pod", []byte(password))
	meta := metav1.ObjectMeta{Namespace: v1alpha1.HostNamespace, Name: "planted", Annotations: map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": `{"kind":"Pod","password":"` + password + `"}`, "note": keys.String(),
	}}
	pod, err := client.CoreV1().Pods(meta.Namespace).Create(t.Context(), &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
		AutomountServiceAccountToken: new(bool),
		SecurityContext:              &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: "c", Image: "x", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 8443}}, Env: []corev1.EnvVar{{Name: "A", Value: password}},
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: new(bool), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
		}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", RestartCount: 1}}
	if _, err := client.CoreV1().Pods(meta.Namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps(meta.Namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: meta.Namespace, Name: "planted"}, Data: map[string]string{"log": all[:min(len(all), 500<<10)]},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// No node runs the pod: its logs and metrics come from here, with everything that must not be in them.
	var issued atomic.Value
	front, err := c.Front(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/log") {
			_, _ = io.WriteString(w, all+"\nthe end\n")
			return
		}
		if strings.HasSuffix(r.URL.Path, "/pods/https:planted:8443/proxy/metrics") {
			issued.Store(strings.TrimPrefix(r.Header.Get(manifests.MetricsHeader), "Bearer "))
			_, _ = io.WriteString(w, all+"\nkubefederate_members 2\n")
			return
		}
		pass.ServeHTTP(w, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Close)
	through := filepath.Join(home, "front")
	if err := env.WriteKubeconfig(through, front.Context); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "bundle.tar.gz")
	printed := run("kubectl federate check --bundle " + file + " --kubeconfig " + through)
	token, _ := issued.Load().(string)
	secrets.Add("the token for metrics", []byte(token))
	files := unpack(t, file)
	for name, content := range files {
		for _, what := range secrets.In(content) {
			t.Errorf("%s holds %s", name, what)
		}
	}
	for _, what := range secrets.In(printed) {
		t.Errorf("it prints %s", what)
	}
	for name, want := range map[string]string{
		"objects/secrets.json": "kubefederate-keys", "objects/credentials.json": `"name": "us-east"`, "objects/memberclusters.json": "us-west",
		"objects/pods.json": `"value": "REDACTED (19 bytes)"`, "logs/planted/c.log": "the end", "logs/planted/c.previous.log": "the end",
		"objects/configmaps.json": `"log": "REDACTED (`, "objects/webhookconfigurations.json": "/validate/memberclusters/REDACTED", "check.json": `"areas"`,
		"metrics/planted.txt": "\nkubefederate_members 2\n",
	} {
		if !strings.Contains(files["kubefederate-bundle/"+name], want) {
			t.Errorf("%s does not hold %s:\n%.2000s", name, want, files["kubefederate-bundle/"+name])
		}
	}
	if len(secrets) < 30 {
		t.Errorf("only %d secrets were searched for", len(secrets))
	}
	if review, err := client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{manifests.MetricsAudience}}},
		metav1.CreateOptions{}); err != nil || review.Status.User.Username != "system:serviceaccount:"+v1alpha1.HostNamespace+":"+manifests.MetricsAccount {
		t.Errorf("metrics are read by %+v, %v", review.Status.User, err)
	}
	run("kubectl --context host delete configmap,pod planted --force --namespace " + v1alpha1.HostNamespace)
	run("kubectl federate unjoin --all --federation helped")
	run("kubectl --context host delete federation helped")
	for name := range before {
		if err := theStage.unchanged(name, before); err != nil {
			t.Error(err)
		}
	}
}

// unpack reads a gzipped tar.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files, archive := map[string]string{}, tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(content)
	}
}
