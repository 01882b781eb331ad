package manifests_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/manifests"
)

// TestCertManager pins what differs where cert-manager issues the certificate: four objects more, an annotation, paths
// and another mount. test/integration/admission holds that cert-manager's own schemas take them.
func TestCertManager(t *testing.T) {
	t.Parallel()
	plain, all := objects(t, manifests.Options{}), objects(t, manifests.Options{Certificates: manifests.CertificatesCertManager})
	const more = `kubefederate-system/Issuer/kubefederate-self-signed
kubefederate-system/Certificate/kubefederate-webhook-ca
kubefederate-system/Issuer/kubefederate-webhook-ca
kubefederate-system/Certificate/kubefederate-webhook
`
	if got := names(all); got != inside+more {
		t.Errorf("objects:\n%s", got)
	}
	for _, test := range []struct {
		kind, field string
		at          func(*unstructured.Unstructured) map[string]any
		want        string
	}{
		{"ValidatingWebhookConfiguration", "annotations", metadata, `{cert-manager.io/inject-ca-from: kubefederate-system/kubefederate-webhook}`},
		{"ValidatingWebhookConfiguration", "webhooks", content, ""},
		{"Deployment", "volumes", pod, `[{name: certificate, secret: {secretName: kubefederate-webhook-cert, defaultMode: 0440}}]`},
		{"Deployment", "volumeMounts", container, `[{name: certificate, mountPath: /etc/kubefederate/tls, readOnly: true}]`},
		{"Deployment", "args", container, `["--webhook-bind-address=:9443", "--health-probe-bind-address=:8081", "--metrics-bind-address=:8443", "--leader-elect", "--cert-dir=/etc/kubefederate/tls"]`},
	} {
		o := find(t, all, test.kind)
		if test.want == "" { // TestOptions has it
			test.at(o)[test.field] = test.at(find(t, plain, test.kind))[test.field]
			continue
		}
		var want any
		if err := yaml.Unmarshal([]byte(test.want), &want); err != nil {
			t.Fatal(err)
		}
		got, err := yaml.Marshal(test.at(o)[test.field]) // as want, with numbers of one type
		if err != nil {
			t.Fatal(err)
		}
		var have any
		if err := yaml.Unmarshal(got, &have); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", test.kind, test.field, diff)
		}
		// As it was, to see below that nothing else differs.
		if was, has := test.at(find(t, plain, test.kind))[test.field]; has {
			test.at(o)[test.field] = was
		} else {
			delete(test.at(o), test.field)
		}
	}
	for i, o := range plain {
		if diff := cmp.Diff(o.Object, all[i].Object); diff != "" {
			t.Errorf("%s %s (-manager +cert-manager):\n%s", o.GetKind(), o.GetName(), diff)
		}
	}
}

func content(o *unstructured.Unstructured) map[string]any { return o.Object }

func metadata(o *unstructured.Unstructured) map[string]any {
	return o.Object["metadata"].(map[string]any)
}

func pod(o *unstructured.Unstructured) map[string]any {
	template := o.Object["spec"].(map[string]any)["template"].(map[string]any)
	return template["spec"].(map[string]any)
}

func container(o *unstructured.Unstructured) map[string]any {
	return pod(o)["containers"].([]any)[0].(map[string]any)
}

func TestCertificatesAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options manifests.Options
		want    string
	}{
		"unknown": {manifests.Options{Certificates: "vault"}, `invalid certificates "vault": must be "manager" or "cert-manager"`},
		"no pods": {manifests.Options{Certificates: manifests.CertificatesCertManager, WebhookURL: "https://manager.example"},
			`certificates "cert-manager" require a manager in the cluster, and no CA bundle: cert-manager injects its own`},
		"two CAs": {manifests.Options{Certificates: manifests.CertificatesCertManager, Calls: &manifests.Calls{CABundle: []byte("pem")}},
			`certificates "cert-manager" require a manager in the cluster, and no CA bundle: cert-manager injects its own`},
		"the manager": {manifests.Options{Certificates: manifests.CertificatesManager}, "<nil>"},
	} {
		if _, err := manifests.Objects(test.options); fmt.Sprint(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
