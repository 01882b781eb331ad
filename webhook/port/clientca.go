package port

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// reloadInterval is how often the file of a ClientCA is read again.
const reloadInterval = 10 * time.Second

// ClientCA is a file of certificates, one of which must have signed the client certificate of an API server. It is read again
// while the manager runs; while it cannot be read, the last ones hold.
type ClientCA struct {
	path string

	mu   sync.Mutex
	pool *x509.CertPool
	read time.Time
}

// ReadClientCA reads a file in PEM.
func ReadClientCA(path string) (*ClientCA, error) {
	c := &ClientCA{path: path}
	pool, err := c.load()
	if err != nil {
		return nil, err
	}
	c.pool, c.read = pool, time.Now()
	return c, nil
}

func (c *ClientCA) load() (*x509.CertPool, error) {
	content, err := os.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate", c.path)
	}
	return pool, nil
}

func (c *ClientCA) current(now time.Time) *x509.CertPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.read) >= reloadInterval {
		c.read = now
		if pool, err := c.load(); err == nil {
			c.pool = pool
		}
	}
	return c.pool
}

// verify is an error unless the client has a certificate for client authentication that the CA signed.
func (c *ClientCA) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the client has no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	now := time.Now()
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: c.current(now), Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}
