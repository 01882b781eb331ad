package manifests

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Certificates says who issues and renews the webhook's serving certificate and writes its CA into the configuration.
type Certificates string

// Who issues it. Empty means the manager.
const (
	// CertificatesManager is the manager itself, which needs nothing else on the host.
	CertificatesManager Certificates = "manager"
	// CertificatesCertManager is cert-manager, at least 1.12, with its CA injector. The manager serves what is mounted
	// into its pods, and has no right on the Secret and the webhook configuration.
	CertificatesCertManager Certificates = "cert-manager"
)

// CertManagerGroup is the API group of the objects that cert-manager reads.
const CertManagerGroup = "cert-manager.io"

const (
	// CertificateDir is where tls.crt and tls.key that cert-manager issued are mounted.
	CertificateDir = "/etc/kubefederate/tls"

	certManagerSecret = "kubefederate-webhook-cert"
	injectAnnotation  = "cert-manager.io/inject-ca-from"
	injectFrom        = v1alpha1.HostNamespace + "/kubefederate-webhook"
)

// check refuses unknown values, and cert-manager for a manager outside the cluster or together with a CA bundle.
func (c Certificates) check(o Options) error {
	switch {
	case c != "" && c != CertificatesManager && c != CertificatesCertManager:
		return fmt.Errorf("invalid certificates %q: must be %q or %q", c, CertificatesManager, CertificatesCertManager)
	case c == CertificatesCertManager && (o.WebhookURL != "" || len(o.CABundle) > 0):
		return fmt.Errorf("certificates %q require a manager in the cluster, and no CA bundle: cert-manager injects its own", c)
	}
	return nil
}

// byCertManager changes an object for an install where cert-manager issues the certificate.
func byCertManager(object *unstructured.Unstructured) error {
	switch object.GetKind() {
	case "ValidatingWebhookConfiguration":
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[injectAnnotation] = injectFrom
		object.SetAnnotations(annotations)
	case "ClusterRole":
		if object.GetName() == "kubefederate-system:manager" {
			return withoutRights(object, "validatingwebhookconfigurations")
		}
	case "Role":
		if object.GetNamespace() == v1alpha1.HostNamespace {
			return withoutRights(object, "secrets")
		}
	case "Deployment":
		return mountCertificate(object)
	}
	return nil
}

// withoutRights removes the rules on one resource from a role.
func withoutRights(role *unstructured.Unstructured, resource string) error {
	rules, _, err := unstructured.NestedSlice(role.Object, "rules")
	if err != nil {
		return err
	}
	kept := slices.DeleteFunc(slices.Clone(rules), func(rule any) bool {
		resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources")
		return slices.Equal(resources, []string{resource})
	})
	if len(kept) == len(rules) {
		return fmt.Errorf("no rule has %s as its only resource", resource)
	}
	return unstructured.SetNestedSlice(role.Object, kept, "rules")
}

func mountCertificate(deployment *unstructured.Unstructured) error {
	pod := []string{"spec", "template", "spec"}
	add := func(object map[string]any, item any, fields ...string) error {
		list, _, err := unstructured.NestedSlice(object, fields...)
		if err != nil {
			return err
		}
		return unstructured.SetNestedSlice(object, append(list, item), fields...)
	}
	return errors.Join(
		add(deployment.Object, map[string]any{"name": "certificate", "secret": map[string]any{"secretName": certManagerSecret}},
			append(pod, "volumes")...),
		each(deployment, func(container map[string]any) error {
			return errors.Join(
				add(container, "--cert-dir="+CertificateDir, "args"),
				add(container, map[string]any{"name": "certificate", "mountPath": CertificateDir, "readOnly": true}, "volumeMounts"),
			)
		}, append(pod, "containers")...),
	)
}
