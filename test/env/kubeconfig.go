//go:build unix

package env

import (
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Context is one context of a kubeconfig file. The cluster and the user in the file have its name too.
type Context struct {
	Name   string
	Config *rest.Config
}

// WriteKubeconfig writes a kubeconfig file with the contexts; the first is the current one. Certificates and
// tokens are written inline, so the file works wherever it is copied to.
func WriteKubeconfig(path string, contexts ...Context) error {
	file := clientcmdapi.NewConfig()
	file.CurrentContext = contexts[0].Name
	for _, c := range contexts {
		file.Clusters[c.Name] = &clientcmdapi.Cluster{
			Server:                   c.Config.Host,
			CertificateAuthorityData: c.Config.CAData,
			TLSServerName:            c.Config.ServerName,
			InsecureSkipTLSVerify:    c.Config.Insecure,
		}
		file.AuthInfos[c.Name] = &clientcmdapi.AuthInfo{
			ClientCertificateData: c.Config.CertData,
			ClientKeyData:         c.Config.KeyData,
			Token:                 c.Config.BearerToken,
			Exec:                  c.Config.ExecProvider,
			AuthProvider:          c.Config.AuthProvider,
		}
		file.Contexts[c.Name] = &clientcmdapi.Context{Cluster: c.Name, AuthInfo: c.Name}
	}
	return clientcmd.WriteToFile(*file, path)
}
