package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// UserCredential is what requests of one user carry: a token, or a certificate and its key; the zero one is of a user who has none.
type UserCredential struct {
	Token             string
	CertData, KeyData []byte
}

// UserCredentialOf logs in as the first request with a configuration would, and returns the credential in place of sending one.
// The error is an *Error.
func UserCredentialOf(ctx context.Context, side Side, config *rest.Config) (*UserCredential, error) {
	credential, err := userCredentialOf(ctx, config)
	if err != nil {
		return nil, &Error{Side: side, Server: config.Host, Verb: "log in", Fault: FaultCaller, Err: err}
	}
	return credential, nil
}

func userCredentialOf(ctx context.Context, config *rest.Config) (*UserCredential, error) {
	config = rest.CopyConfig(config)
	if config.Username != "" {
		return nil, errors.New("its user has a password, which Kubernetes does not take")
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	c, tlsConfig, shared, err := userTransport(config)
	if err != nil {
		return nil, err
	}
	unsent := &unsentRequest{}
	wrapped, err := transport.HTTPWrappersForConfig(c, unsent)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&interruptible{&withLogin{wrapped, shared}}).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	credential := &UserCredential{CertData: config.CertData, KeyData: config.KeyData}
	if token, ok := strings.CutPrefix(unsent.authorization, "Bearer "); ok {
		credential.Token = token
	}
	if tlsConfig != nil && tlsConfig.GetClientCertificate != nil && len(credential.CertData) == 0 {
		issued, err := tlsConfig.GetClientCertificate(nil)
		if err != nil {
			return nil, err
		}
		if credential.CertData, credential.KeyData, err = pemOf(issued); err != nil {
			return nil, err
		}
	}
	return credential, nil
}

// pemOf is a certificate and its key as a kubeconfig has them; none where there is no certificate.
func pemOf(certificate *tls.Certificate) (certData, keyData []byte, err error) {
	if certificate == nil || len(certificate.Certificate) == 0 {
		return nil, nil, nil
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("the key of the user's certificate cannot be used elsewhere: %w", err)
	}
	for _, der := range certificate.Certificate {
		certData = append(certData, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return certData, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), nil
}

// unsentRequest keeps the credential of a request in place of sending it.
type unsentRequest struct{ authorization string }

// RoundTrip implements http.RoundTripper.
func (u *unsentRequest) RoundTrip(r *http.Request) (*http.Response, error) {
	loggedIn(r)
	u.authorization = r.Header.Get("Authorization")
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}
