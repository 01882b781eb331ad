//go:build unix

package admission

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/webhook/serving"
)

// byCertManager are the objects of an install whose certificate comes from cert-manager.
func byCertManager(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	objects, err := manifests.Objects(manifests.Options{Certificates: manifests.CertificatesCertManager})
	must(t, err)
	return objects
}

// TestCertManagerTakesOurObjects installs cert-manager's own CustomResourceDefinitions and applies everything, strictly: no
// field is unknown to them. Its controllers need pods, of which there are none here.
func TestCertManagerTakesOurObjects(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	kubectl := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), fleet(t).Kubectl(), append([]string{"--kubeconfig=" + h.Kubeconfig}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "Warning") {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, kind := range []string{"issuers", "certificates"} {
		kubectl("", "create", "-f", filepath.Join(certManager(t), "deploy", "crds", "cert-manager.io_"+kind+".yaml"))
	}
	var all bytes.Buffer
	for _, o := range byCertManager(t) {
		out, err := yaml.Marshal(o.Object)
		must(t, err)
		all.WriteString("---\n" + string(out))
	}
	eventually(t, "the new kinds are served", func() error {
		_, err := exec.CommandContext(t.Context(), fleet(t).Kubectl(), "--kubeconfig="+h.Kubeconfig, "get", "issuers.cert-manager.io,certificates.cert-manager.io", "-A").Output()
		return err
	})
	out := kubectl(all.String(), "apply", "--server-side", "--force-conflicts", "--field-manager="+v1alpha1.FieldOwner,
		"--validate=strict", "--dry-run=server", "-f", "-")
	for _, name := range []string{
		"issuer.cert-manager.io/kubefederate-self-signed", "certificate.cert-manager.io/kubefederate-webhook-ca",
		"issuer.cert-manager.io/kubefederate-webhook-ca", "certificate.cert-manager.io/kubefederate-webhook",
	} {
		if !strings.Contains(out, name+" serverside-applied (server dry run)\n") {
			t.Errorf("%s is missing from\n%s", name, out)
		}
	}
}

// certManager is the folder of cert-manager's module, in the version that test/tools/cert-manager pins.
func certManager(t *testing.T) string {
	t.Helper()
	const module = "github.com/cert-manager/cert-manager"
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	cmd.Dir = "../../tools/cert-manager"
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	var got struct{ Dir, Error string }
	if e := json.Unmarshal(out, &got); err != nil || e != nil || got.Dir == "" {
		t.Fatalf("download %s: %v %v %s", module, err, e, got.Error)
	}
	return got.Dir
}

// TestCertManagerNamesTheService holds that the certificate which cert-manager is asked for has the names that API servers
// verify, and comes from the Secret that is mounted and injected.
func TestCertManagerNamesTheService(t *testing.T) {
	t.Parallel()
	var names, want []string
	for _, o := range byCertManager(t) {
		switch o.GetKind() {
		case "Certificate":
			if found, has, _ := unstructured.NestedStringSlice(o.Object, "spec", "dnsNames"); has {
				names = found
			}
		case "ValidatingWebhookConfiguration":
			var configuration admissionregistrationv1.ValidatingWebhookConfiguration
			must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &configuration))
			var err error
			want, err = serving.Names(&configuration)
			must(t, err)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("the certificate is for %v, API servers ask for %v", names, want)
	}
}

// TestCertificateOfOthers runs the manager as where cert-manager issues the certificate: from files, with no right on
// Secrets and the webhook configuration. Its CA and certificate are replaced, as cert-manager renews them, in files and
// configuration, in either order: of the requests that go on all the while none is refused for it.
func TestCertificateOfOthers(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("renewed"))
	h.manager.Stop()
	t.Cleanup(func() {
		ctx := context.Background()
		h.manager.Stop()
		h.manager.CertDir = ""
		for _, step := range []func(context.Context) error{h.manager.Install, h.manager.Start, h.manager.Wait} {
			if err := step(ctx); err != nil {
				t.Error(err)
			}
		}
	})

	// Roles as they are then; what runs in pods, or in cert-manager, is played here.
	rights := slices.DeleteFunc(byCertManager(t), func(o *unstructured.Unstructured) bool {
		return o.GetKind() != "Role" && o.GetKind() != "ClusterRole"
	})
	connection, err := host.Connect(h.Config())
	must(t, err)
	must(t, install.Apply(t.Context(), connection, rights, cluster.DryRunNone, func(*unstructured.Unstructured, install.Outcome) {}))
	secretKey := client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.CertificateSecret}
	must(t, h.admin.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}}))

	// As in manifests/cert-manager, the key of the CA outlives it.
	key := env.NewKey()
	ca := env.NewAuthority("kubefederate webhook", key)
	h.manager.CertDir = t.TempDir()
	write := func() {
		t.Helper()
		pair := ca.Server()
		replace(t, h.manager.CertDir, map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key})
	}
	inject := func() {
		t.Helper()
		var configuration admissionregistrationv1.ValidatingWebhookConfiguration
		must(t, h.admin.Get(t.Context(), client.ObjectKey{Name: manifests.WebhookConfiguration}, &configuration))
		for i := range configuration.Webhooks {
			configuration.Webhooks[i].ClientConfig.CABundle = ca.PEM()
		}
		must(t, h.admin.Update(t.Context(), &configuration))
	}
	write()
	inject()
	must(t, h.manager.Start(t.Context()))
	must(t, h.manager.Wait(t.Context()))

	// A bad member that must be refused by a rule, and a good one that must be admitted, over and over.
	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			bad := member("renewed-bad", "renewed")
			bad.Spec.Server = "https://"
			if err := h.admin.Create(ctx, bad, client.DryRunAll); ctx.Err() == nil && !apierrors.IsInvalid(err) {
				t.Errorf("a bad member: %v", err)
			}
			if err := h.admin.Create(ctx, member("renewed-good", "renewed"), client.DryRunAll); ctx.Err() == nil && err != nil {
				t.Errorf("a good member: %v", err)
			}
			asked.Add(1)
		}
	}()
	// goOn lets requests go on. The API server opens new connections when its configuration changes.
	goOn := func() {
		t.Helper()
		for now := asked.Load(); asked.Load() < now+20; {
			must(t, h.manager.Wait(t.Context()))
		}
	}
	served := func() {
		t.Helper()
		want, _ := pem.Decode(read(t, h.manager.CertDir, "tls.crt"))
		leaf, err := x509.ParseCertificate(want.Bytes)
		must(t, err)
		eventually(t, "the new certificate is served", func() error { return serves(t.Context(), h.manager.URL, leaf, ca.PEM()) })
		goOn()
	}
	for round := range 4 {
		ca = env.NewAuthority("kubefederate webhook", key)
		if round%2 == 0 {
			write()
			served()
			inject()
		} else {
			inject()
			goOn()
			write()
		}
		served()
	}
	// A certificate without its key, as a reader between two writes may see it, changes nothing.
	keep := read(t, h.manager.CertDir, "tls.crt")
	replace(t, h.manager.CertDir, map[string][]byte{"tls.crt": ca.Server().Cert})
	goOn()
	replace(t, h.manager.CertDir, map[string][]byte{"tls.crt": keep})
	stop()
	<-ended
	t.Logf("%d pairs of requests", asked.Load())

	if err := h.admin.Get(t.Context(), secretKey, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("the manager wrote a Secret: %v", err)
	}
	if log := read(t, "", h.manager.Log); bytes.Contains(log, []byte("forbidden")) && bytes.Contains(log, []byte("kubefederate-webhook-tls")) {
		t.Errorf("it asked for what it has no right to:\n%s", log)
	}
}

// replace swaps files of a folder as a kubelet does: each is a link into a folder that is replaced as a whole.
func replace(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	version := filepath.Join(dir, fmt.Sprintf("..%d", time.Now().UnixNano()))
	must(t, os.Mkdir(version, 0o700))
	for _, name := range []string{"tls.crt", "tls.key"} {
		content, has := files[name]
		if !has {
			content = read(t, dir, name)
		}
		must(t, os.WriteFile(filepath.Join(version, name), content, 0o600))
	}
	next := filepath.Join(dir, "..data_tmp")
	must(t, os.Symlink(filepath.Base(version), next))
	must(t, os.Rename(next, filepath.Join(dir, "..data")))
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return content
}
