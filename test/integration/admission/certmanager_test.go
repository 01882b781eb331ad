//go:build unix

package admission

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
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
			for _, w := range configuration.Webhooks {
				want = append(want, w.ClientConfig.Service.Name+"."+w.ClientConfig.Service.Namespace+".svc")
			}
		}
	}
	slices.Sort(names)
	for _, name := range want {
		if !slices.Contains(names, name) {
			t.Errorf("the certificate is for %v, API servers ask for %v", names, want)
		}
	}
	if !slices.Equal(names, manifests.ServerNames("")) {
		t.Errorf("the certificate is for %v, one that the manager issues for %v", names, manifests.ServerNames(""))
	}
}

// TestCertificateOfOthers runs the manager as where cert-manager issues the certificate: from files, at paths that
// end in no word. Its CA and certificate are replaced, as cert-manager renews them, in files and
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

	connection, err := host.Connect(h.Config())
	must(t, err)
	objects, err := manifests.Objects(manifests.Options{WebhookURL: h.manager.URL, Calls: &manifests.Calls{}})
	must(t, err)
	must(t, install.Apply(t.Context(), connection, objects, cluster.DryRunNone, func(*unstructured.Unstructured, install.Outcome) {}))

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

	goOn, end := load(t, h.admin, "renewed")
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
	end()
}

// replace swaps files of a folder, and leaves the others as they were.
func replace(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	all := maps.Clone(files)
	for _, name := range []string{"tls.crt", "tls.key"} {
		if _, has := files[name]; !has {
			all[name] = read(t, dir, name)
		}
	}
	must(t, envhost.WriteVolume(dir, all))
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return content
}
