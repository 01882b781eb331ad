package manifests

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Certificates says who issues and renews the webhook's serving certificate.
type Certificates string

// Who issues it. Empty means the manager.
const (
	// CertificatesManager is the manager itself, from the CA that init made, which needs nothing else on the host.
	CertificatesManager Certificates = "manager"
	// CertificatesCertManager is cert-manager, at least 1.12, with its CA injector. The manager serves what is mounted
	// into its pods, at paths that end in no word.
	CertificatesCertManager Certificates = "cert-manager"
)

// CertManagerGroup is the API group of the objects that cert-manager reads.
const CertManagerGroup = "cert-manager.io"

const (
	// certificateDir is where tls.crt and tls.key that cert-manager issued are mounted.
	certificateDir = "/etc/kubefederate/tls"

	// CertManagerSecret is the Secret that cert-manager writes the certificate into.
	CertManagerSecret = "kubefederate-webhook-cert"
	injectAnnotation  = "cert-manager.io/inject-ca-from"
	injectFrom        = v1alpha1.HostNamespace + "/kubefederate-webhook"
)

// check refuses unknown values, and cert-manager for a manager outside the cluster or together with a CA bundle.
func (c Certificates) check(o Options) error {
	switch {
	case c != "" && c != CertificatesManager && c != CertificatesCertManager:
		return fmt.Errorf("invalid certificates %q: must be %q or %q", c, CertificatesManager, CertificatesCertManager)
	case c == CertificatesCertManager && (o.WebhookURL != "" || len(o.Calls.bundle()) > 0):
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
	case "Deployment":
		if object.GetName() == ManagerDeployment {
			return mountCertificate(object)
		}
	}
	return nil
}

// CertManagerInjects says whether cert-manager writes the CA of an installed webhook configuration.
func CertManagerInjects(configuration *unstructured.Unstructured) bool {
	return configuration.GetAnnotations()[injectAnnotation] != ""
}

// mountCertificate mounts what cert-manager issued in place of the keys.
func mountCertificate(deployment *unstructured.Unstructured) error {
	pod := []string{"spec", "template", "spec"}
	return errors.Join(
		unstructured.SetNestedSlice(deployment.Object, []any{
			map[string]any{"name": "certificate", "secret": map[string]any{"secretName": CertManagerSecret, "defaultMode": int64(0o440)}},
		}, append(pod, "volumes")...),
		each(deployment, func(container map[string]any) error {
			args, _, err := unstructured.NestedStringSlice(container, "args")
			args = slices.DeleteFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--keys-dir=") })
			return errors.Join(err,
				unstructured.SetNestedStringSlice(container, append(args, "--cert-dir="+certificateDir), "args"),
				unstructured.SetNestedSlice(container, []any{
					map[string]any{"name": "certificate", "mountPath": certificateDir, "readOnly": true},
				}, "volumeMounts"),
			)
		}, append(pod, "containers")...),
	)
}
