package targets

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// usable refuses a context that cannot lead to a cluster, with the entry and the field at fault. client-go takes an entry
// that is missing for an empty one, and then has another default: the cluster that this process runs in.
func usable(side, name string, raw clientcmdapi.Config, clusterName, userName string) error {
	refuse := func(format string, args ...any) error {
		return output.Usagef("context %q cannot be used for the %s: "+format, append([]any{name, side}, args...)...)
	}
	c, ok := raw.Clusters[clusterName]
	switch {
	case clusterName == "":
		return refuse("it names no cluster")
	case !ok:
		return refuse("it names cluster %q, which the kubeconfig does not have", clusterName)
	case strings.TrimSpace(c.Server) == "":
		return refuse("its cluster %q has no server", clusterName)
	}
	if field, err := authorityFault(c); err != nil {
		return refuse("%s of cluster %q: %w", field, clusterName, err)
	}
	if userName == "" {
		return nil // a proxy on this machine may add the credential
	}
	user, ok := raw.AuthInfos[userName]
	if !ok {
		return refuse("it names user %q, which the kubeconfig does not have", userName)
	}
	if field, err := userFault(user); err != nil {
		return refuse("%s of user %q: %w", field, userName, err)
	}
	return nil
}

// authorityFault is what is wrong with the CA of a cluster, and the field that holds it.
func authorityFault(c *clientcmdapi.Cluster) (field string, err error) {
	field, data := "certificate-authority-data", c.CertificateAuthorityData
	if len(data) == 0 {
		if c.CertificateAuthority == "" {
			return "", nil
		}
		if field, data, err = readField("certificate-authority", c.CertificateAuthority); err != nil {
			return field, err
		}
	}
	if data == nil || x509.NewCertPool().AppendCertsFromPEM(data) {
		return "", nil
	}
	if _, err = endpoint.ReadCertificates(data); err == nil {
		err = errors.New("it is empty")
	}
	return field, err
}

// userFault is what is wrong with the credential of a user, and the field that holds it.
func userFault(u *clientcmdapi.AuthInfo) (field string, err error) {
	if u.Token != "" {
		return "token", tokenFault(u.Token)
	}
	if u.TokenFile != "" {
		field, data, err := readField("tokenFile", u.TokenFile)
		if data != nil {
			err = tokenFault(strings.TrimSpace(string(data)))
		}
		return field, err
	}
	certificate, certificateData := "client-certificate-data", u.ClientCertificateData
	if len(certificateData) == 0 && u.ClientCertificate != "" {
		if certificate, certificateData, err = readField("client-certificate", u.ClientCertificate); err != nil {
			return certificate, err
		}
	}
	key, keyData := "client-key-data", u.ClientKeyData
	if len(keyData) == 0 && u.ClientKey != "" {
		if key, keyData, err = readField("client-key", u.ClientKey); err != nil {
			return key, err
		}
	}
	if len(certificateData) == 0 || len(keyData) == 0 {
		return "", nil // client-go says which of the two is missing
	}
	_, err = tls.X509KeyPair(certificateData, keyData)
	return certificate + " and " + key, err
}

// readField reads the file that a field names; a pipe, which can be read only once, is left to the connection and has no
// data here. The name that it returns is for messages.
func readField(field, path string) (name string, data []byte, err error) {
	name = fmt.Sprintf("%s %q", field, path)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return name, nil, errors.Unwrap(err)
	case !info.Mode().IsRegular():
		return name, nil, nil
	}
	if data, err = os.ReadFile(path); data == nil && err == nil {
		data = []byte{}
	}
	return name, data, err
}

// tokenFault is what is wrong with a token: HTTP clients send no header with such characters.
func tokenFault(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return errors.New("it has characters that a token cannot have")
	}
	return nil
}
