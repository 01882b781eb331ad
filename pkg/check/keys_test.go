package check

import (
	"crypto/x509"
	"encoding/base64"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/keys"
)

// stateOf is a host whose Secret and webhook configuration hold keys that were made some time ago, with a fault.
func stateOf(t *testing.T, age time.Duration, fault func(secret map[string]any, o *manifests.Options)) *install.KeyState {
	t.Helper()
	k, err := keys.New(manifests.ServerNames(""), now.Add(-age))
	if err != nil {
		t.Fatal(err)
	}
	data, err := k.Data()
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]any{}
	for name, value := range data {
		content[name] = base64.StdEncoding.EncodeToString(value)
	}
	o := manifests.Options{Calls: &manifests.Calls{Word: k.Word, CABundle: endpoint.EncodeCertificates([]*x509.Certificate{k.CA})}}
	fault(content, &o)
	secret := install.KeysObject()
	secret.Object["data"] = content
	if len(content) == 0 {
		secret = nil
	}
	objects, err := manifests.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	var configuration *unstructured.Unstructured
	for _, object := range objects {
		if object.GetName() == manifests.WebhookConfiguration {
			configuration = object
		}
	}
	s, err := install.KeyStateOf(configuration, secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJudgeKeys(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for name, test := range map[string]struct {
		age   time.Duration
		fault func(secret map[string]any, o *manifests.Options)
		want  string
	}{
		"well": {0, func(map[string]any, *manifests.Options) {}, ""},
		"none": {0, func(s map[string]any, _ *manifests.Options) { clear(s) },
			`error host - KeysMissing Secret "kubefederate-system/kubefederate-keys": does not exist, so the manager cannot serve => kubectl federate init --only keys`},
		"broken": {0, func(s map[string]any, _ *manifests.Options) { delete(s, "path") },
			`error host - KeysMissing Secret "kubefederate-system/kubefederate-keys": cannot be used, so the manager cannot serve: path must hold 26 to 63 lower-case letters and digits => kubectl federate init --only keys`},
		"by GitOps": {0, func(_ map[string]any, o *manifests.Options) { o.Calls = nil },
			`error host - KeysDiffer ValidatingWebhookConfiguration "kubefederate.io": has another CA or path than Secret "kubefederate-system/kubefederate-keys", so API servers cannot call the webhook => kubectl federate init --only keys`},
		"another word": {0, func(_ map[string]any, o *manifests.Options) { o.Calls.Word = "" },
			`error host - KeysDiffer ValidatingWebhookConfiguration "kubefederate.io": has another CA or path than Secret "kubefederate-system/kubefederate-keys", so API servers cannot call the webhook => kubectl federate init --only keys`},
		"interrupted": {0, func(s map[string]any, _ *manifests.Options) { s["path-old"] = "" },
			`warning host - KeysChanging Secret "kubefederate-system/kubefederate-keys": a change of the keys was not finished, so the former ones may still be valid => kubectl federate init --only keys`},
		"the last year": {9*year + time.Hour, func(map[string]any, *manifests.Options) {},
			`warning host - KeysExpiring Secret "kubefederate-system/kubefederate-keys": its CA ends at 2027-11-23T11:00:00Z => kubectl federate init --only keys`},
		"ended": {11 * year, func(map[string]any, *manifests.Options) {},
			`error host - KeysExpiring Secret "kubefederate-system/kubefederate-keys": its CA ended at 2025-11-23T12:00:00Z => kubectl federate init --only keys`},
		"cert-manager": {0, func(s map[string]any, o *manifests.Options) {
			clear(s)
			*o = manifests.Options{Certificates: manifests.CertificatesCertManager}
		}, ""},
	} {
		f := well()
		f.Host.Keys = stateOf(t, test.age, test.fault)
		if got := lines(Judge(*f)); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
	// Another version has other keys, and its init is the remedy.
	f := well()
	f.Host.Installed, f.Host.Keys = "v1.1.0", stateOf(t, 0, func(s map[string]any, o *manifests.Options) {
		clear(s)
		*o = manifests.Options{Certificates: manifests.CertificatesCertManager}
	})
	const want = `warning host - VersionSkew the host has v1.1.0 and the plugin is v1.2.0 => kubectl federate init --certificates cert-manager`
	if got := lines(Judge(*f)); got != want {
		t.Errorf("got %s", got)
	}
}
