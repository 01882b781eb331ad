package serving

import (
	"crypto/tls"
	"fmt"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// Files serves a certificate that somebody else issues, renews and tells API servers of, as cert-manager does. It
// runs on every replica, whoever leads.
type Files struct{ *certwatcher.CertWatcher }

// FromFiles reads tls.crt and tls.key of a folder, which must be there and belong together. Once started it reads them
// again when they change, at the latest after ten seconds; what cannot be read, or is half replaced, leaves the pair
// before in service.
func FromFiles(dir string) (*Files, error) {
	watcher, err := certwatcher.New(filepath.Join(dir, keyCert), filepath.Join(dir, keyKey))
	if err != nil {
		return nil, fmt.Errorf("read the webhook's certificate: %w", err)
	}
	return &Files{watcher}, nil
}

// Ready is a readiness check. Without a certificate there are no Files.
func (*Files) Ready() healthz.Checker { return healthz.Ping }

// TLS makes a server serve the certificate.
func (f *Files) TLS(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.GetCertificate = f.GetCertificate
}
