package targets

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// way is what a context leads by.
type way struct {
	clusterName, userName string
	// cluster and user are nil where the kubeconfig does not have them.
	cluster *clientcmdapi.Cluster
	user    *clientcmdapi.AuthInfo
}

func wayOf(raw clientcmdapi.Config, clusterName, userName string) way {
	return way{clusterName, userName, raw.Clusters[clusterName], raw.AuthInfos[userName]}
}

// with is the way with what flags name in place of the entries of the kubeconfig.
func (w way) with(o *clientcmd.ConfigOverrides) way {
	if c := o.ClusterInfo; c.Server != "" || c.CertificateAuthority != "" {
		merged := clientcmdapi.Cluster{Server: c.Server, CertificateAuthority: c.CertificateAuthority}
		if w.cluster != nil {
			merged.Server = cmp.Or(c.Server, w.cluster.Server)
			if c.CertificateAuthority == "" {
				merged.CertificateAuthority, merged.CertificateAuthorityData = w.cluster.CertificateAuthority, w.cluster.CertificateAuthorityData
			}
		}
		w.cluster, w.clusterName = &merged, cmp.Or(w.clusterName, "of the flags")
	}
	if u := o.AuthInfo; u.Token != "" || u.ClientCertificate != "" {
		w.user, w.userName = &u, cmp.Or(w.userName, "of the flags")
	}
	return w
}

// usable refuses a context that cannot lead to a cluster, with the entry and the field at fault. client-go takes an entry
// that is missing for an empty one, and then has another default: the cluster that this process runs in.
func (w way) usable(side, context string) error {
	refuse := func(format string, args ...any) error {
		if context == "" {
			return output.Usagef("the flags cannot be used for the %s: "+format, append([]any{side}, args...)...)
		}
		return output.Usagef("context %q cannot be used for the %s: "+format, append([]any{context, side}, args...)...)
	}
	switch {
	case w.clusterName == "":
		return refuse("it names no cluster")
	case w.cluster == nil:
		return refuse("it names cluster %q, which the kubeconfig does not have", w.clusterName)
	case strings.TrimSpace(w.cluster.Server) == "":
		return refuse("its cluster %q has no server", w.clusterName)
	}
	if field, err := authorityFault(w.cluster); err != nil {
		return refuse("%s of cluster %q: %w", field, w.clusterName, err)
	}
	if w.userName == "" {
		return nil // a proxy on this machine may add the credential
	}
	if w.user == nil {
		return refuse("it names user %q, which the kubeconfig does not have", w.userName)
	}
	if field, err := userFault(w.user); err != nil {
		return refuse("%s of user %q: %w", field, w.userName, err)
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
	if certificateData == nil || keyData == nil {
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
