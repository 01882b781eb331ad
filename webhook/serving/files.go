package serving

import (
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// Files serves a certificate that another tool, such as cert-manager, issues, renews and makes known to API servers. It
// runs on every replica.
type Files struct{ *certwatcher.CertWatcher }

// FromFiles reads tls.crt and tls.key of a folder, which must be there and belong together. Once started it reads them
// again when they change, at the latest after ten seconds; while a pair cannot be read or is half replaced, the previous
// one is served.
func FromFiles(dir string) (*Files, error) {
	watcher, err := certwatcher.New(filepath.Join(dir, corev1.TLSCertKey), filepath.Join(dir, corev1.TLSPrivateKeyKey))
	if err != nil {
		return nil, fmt.Errorf("read the webhook's certificate: %w", err)
	}
	return &Files{watcher}, nil
}

// Accepts says that the webhook's paths end in no word: who issues a certificate knows none.
func (*Files) Accepts(word string) bool { return word == "" }

// Ready is a readiness check that always passes: FromFiles has read a certificate.
func (*Files) Ready() healthz.Checker { return healthz.Ping }
