// Package kubeconfig reads a kubeconfig as data. A kubeconfig that comes from a cluster can name a command to
// run or a file to read, and clientcmd does both; this package accepts only what a request needs (server, CA,
// proxy, and one inline credential of the current context) and refuses everything else by name.
//
// Nothing here runs, opens or connects. An error names the field that was refused and never its value, so
// that it may be logged and shown.
package kubeconfig

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/client-go/rest"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// MaxSize is the largest kubeconfig that is read, in bytes. The policy of credentials allows no larger one.
const MaxSize = 64 << 10

// entry is the name of the cluster, user and context that Marshal writes.
const entry = "member"

// Option changes what Parse accepts.
type Option int

const (
	// AllowInsecure accepts a kubeconfig that leaves the server's certificate unverified. Only a Federation
	// with allowInsecureTLS has such members.
	AllowInsecure Option = iota + 1
	// OneContext refuses a kubeconfig with more than one cluster, user or context. A credential that others
	// read with loaders of their own says one thing only.
	OneContext
)

// Access is how to reach one API server, and as whom. Exactly one of Token and the pair of CertData and
// KeyData is set.
type Access struct {
	endpoint.Endpoint

	// Token is a bearer token.
	Token string
	// CertData and KeyData are a client certificate and its key, PEM.
	CertData, KeyData []byte
}

// Parse reads the current context of a kubeconfig. Its error is an *Error that lists everything that was
// refused, not the first thing only.
func Parse(data []byte, options ...Option) (*Access, error) {
	return ParseContext(data, "", options...)
}

// ParseContext is Parse of the context with a name; the empty name is that of the current context.
func ParseContext(data []byte, name string, options ...Option) (*Access, error) {
	if len(data) > MaxSize {
		return nil, refuse(tooLarge)
	}
	config, err := decode(data)
	if err != nil {
		return nil, err
	}

	var r reader
	context := find(&r, "contexts", cmp.Or(name, config.CurrentContext), config.Contexts,
		func(c clientcmdv1.NamedContext) (string, clientcmdv1.Context) { return c.Name, c.Context })
	if context == nil {
		return nil, r.err()
	}
	cluster := find(&r, "clusters", context.Cluster, config.Clusters,
		func(c clientcmdv1.NamedCluster) (string, clientcmdv1.Cluster) { return c.Name, c.Cluster })
	user := find(&r, "users", context.AuthInfo, config.AuthInfos,
		func(u clientcmdv1.NamedAuthInfo) (string, clientcmdv1.AuthInfo) { return u.Name, u.AuthInfo })
	if slices.Contains(options, OneContext) {
		r.unless(len(config.Contexts) == 1, "contexts", severalEntries)
		r.unless(len(config.Clusters) == 1, "clusters", severalEntries)
		r.unless(len(config.AuthInfos) == 1, "users", severalEntries)
	}
	if cluster == nil || user == nil {
		return nil, r.err()
	}
	access := &Access{}
	r.cluster(cluster, access, slices.Contains(options, AllowInsecure))
	r.user(user, access)
	if err := r.err(); err != nil {
		return nil, err
	}
	return access, nil
}

// Validate refuses an access that was put together from other data than a kubeconfig, for what Parse refuses in one. Its error is
// an *Error with the names that the fields have in a kubeconfig.
func (a *Access) Validate() error {
	r := reader{inline: true}
	if len(a.CABundle)+len(a.Token)+len(a.CertData)+len(a.KeyData) > MaxSize {
		r.refuse("user", tooLarge)
		return r.err()
	}
	r.cluster(&clientcmdv1.Cluster{
		Server: a.Server, TLSServerName: a.TLSServerName, CertificateAuthorityData: a.CABundle, ProxyURL: a.ProxyURL, InsecureSkipTLSVerify: a.InsecureSkipTLSVerify,
	}, &Access{}, false)
	r.user(&clientcmdv1.AuthInfo{Token: a.Token, ClientCertificateData: a.CertData, ClientKeyData: a.KeyData}, &Access{})
	return r.err()
}

// decode is strict: a field that is unknown, or known under other capitals, could be one that another
// reader of the same bytes acts on.
func decode(data []byte) (*clientcmdv1.Config, error) {
	if err := refuseAliases(data); err != nil {
		return nil, err
	}
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, refuse(notYAML)
	}
	var config clientcmdv1.Config
	strict, err := json.UnmarshalStrict(raw, &config)
	if err != nil {
		return nil, refuse(notKubeconfig)
	}
	if len(strict) > 0 {
		var r reader
		for _, problem := range strict {
			field := "it"
			if e, ok := problem.(json.FieldError); ok { //nolint:errorlint // the list holds the errors themselves
				field = e.FieldPath()
			}
			r.refuse(field, unknownField)
		}
		return nil, r.err()
	}
	if config.APIVersion != "" && config.APIVersion != "v1" || config.Kind != "" && config.Kind != "Config" {
		return nil, refuse(notKubeconfig)
	}
	return &config, nil
}

// refuseAliases looks at the nodes of a document before anything is decoded: a few aliases of one anchor stand for gigabytes
// when they are decoded. No kubeconfig has any.
func refuseAliases(data []byte) error {
	var document yamlv3.Node
	if yamlv3.Unmarshal(data, &document) != nil {
		return refuse(notYAML)
	}
	for nodes := []*yamlv3.Node{&document}; len(nodes) > 0; {
		n := nodes[len(nodes)-1]
		if n.Anchor != "" || n.Kind == yamlv3.AliasNode {
			return refuse(aliases)
		}
		nodes = append(nodes[:len(nodes)-1], n.Content...)
	}
	return nil
}

// find returns the one entry of a list that has the name.
func find[E, V any](r *reader, field, name string, entries []E, open func(E) (string, V)) *V {
	var found *V
	for _, e := range entries {
		switch entryName, value := open(e); {
		case entryName != name:
		case found != nil:
			r.refuse(field, ambiguous)
			return nil
		default:
			found = &value
		}
	}
	switch {
	case found != nil:
	case field == "contexts" && name == "":
		r.refuse("current-context", missing)
	default:
		r.refuse(field, noSuchEntry)
	}
	return found
}

func (r *reader) cluster(c *clientcmdv1.Cluster, access *Access, allowInsecure bool) {
	const at = "cluster."
	r.unless(c.CertificateAuthority == "", at+"certificate-authority", filePath)
	r.unless(!c.InsecureSkipTLSVerify || allowInsecure, at+"insecure-skip-tls-verify", insecure)
	access.Endpoint = endpoint.Endpoint{
		Server: c.Server, CABundle: c.CertificateAuthorityData, ProxyURL: c.ProxyURL,
		TLSServerName: c.TLSServerName, InsecureSkipTLSVerify: c.InsecureSkipTLSVerify,
	}
	r.unless(len(endpoint.ValidateServer(nil, c.Server)) == 0, at+"server", badServer)
	r.unless(len(endpoint.ValidateServerName(nil, c.TLSServerName)) == 0, at+"tls-server-name", badServerName)
	r.unless(len(endpoint.ValidateProxy(nil, c.ProxyURL)) == 0, at+"proxy-url", badProxy)
	r.unless(len(endpoint.ValidateCABundle(nil, c.CertificateAuthorityData)) == 0, at+"certificate-authority-data", badCertificate)
	// client-go refuses the two together, at the first request.
	r.unless(!c.InsecureSkipTLSVerify || len(c.CertificateAuthorityData) == 0, at+"insecure-skip-tls-verify", insecureWithCA)
}

func (r *reader) user(u *clientcmdv1.AuthInfo, access *Access) {
	const at = "user."
	before := len(r.problems)
	r.unless(u.Exec == nil, at+"exec", command)
	r.unless(u.AuthProvider == nil, at+"auth-provider", authProvider)
	r.unless(u.ClientCertificate == "", at+"client-certificate", filePath)
	r.unless(u.ClientKey == "", at+"client-key", filePath)
	r.unless(u.TokenFile == "", at+"tokenFile", filePath)
	r.unless(u.Username == "" && u.Password == "", at+"username", password)
	r.unless(u.Impersonate == "" && u.ImpersonateUID == "" && len(u.ImpersonateGroups) == 0 && len(u.ImpersonateUserExtra) == 0,
		at+"as", impersonation)

	certificate := len(u.ClientCertificateData) > 0 || len(u.ClientKeyData) > 0
	switch {
	case u.Token != "" && certificate:
		r.refuse("user", twoCredentials)
	case u.Token != "":
		r.unless(validToken(u.Token), at+"token", badToken)
	case certificate && hasWideKey(u.ClientCertificateData, u.ClientKeyData):
		r.refuse(at+"client-certificate-data", wideKey)
	case certificate:
		_, err := tls.X509KeyPair(u.ClientCertificateData, u.ClientKeyData)
		r.unless(err == nil, at+"client-certificate-data", badKeyPair)
	default:
		// What was refused may well have been the credential.
		r.unless(len(r.problems) > before, "user", noCredential)
	}
	access.Token = u.Token
	access.CertData, access.KeyData = u.ClientCertificateData, u.ClientKeyData
}

// validToken says whether a token can stand in a header (RFC 6750, section 2.1, and no stricter).
func validToken(token string) bool {
	return !strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' })
}

// Marshal writes a kubeconfig with one cluster, one user and one context, the same bytes for the same
// access.
func (a *Access) Marshal() ([]byte, error) {
	data, err := yaml.Marshal(clientcmdv1.Config{
		APIVersion: "v1",
		Kind:       "Config",
		Clusters: []clientcmdv1.NamedCluster{{Name: entry, Cluster: clientcmdv1.Cluster{
			Server:                   a.Server,
			TLSServerName:            a.TLSServerName,
			CertificateAuthorityData: a.CABundle,
			ProxyURL:                 a.ProxyURL,
			InsecureSkipTLSVerify:    a.InsecureSkipTLSVerify,
		}}},
		AuthInfos: []clientcmdv1.NamedAuthInfo{{Name: entry, AuthInfo: clientcmdv1.AuthInfo{
			Token:                 a.Token,
			ClientCertificateData: a.CertData,
			ClientKeyData:         a.KeyData,
		}}},
		Contexts: []clientcmdv1.NamedContext{{Name: entry, Context: clientcmdv1.Context{
			Cluster: entry, AuthInfo: entry,
		}}},
		CurrentContext: entry,
	})
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	return data, nil
}

// RESTConfig is the access as a configuration of client-go. Without a proxy of its own it uses that of the process's
// environment, as every client does.
func (a *Access) RESTConfig() *rest.Config {
	config := &rest.Config{
		Host:        a.Server,
		BearerToken: a.Token,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: a.CABundle, CertData: a.CertData, KeyData: a.KeyData,
			ServerName: a.TLSServerName, Insecure: a.InsecureSkipTLSVerify,
		},
	}
	if proxy, err := url.Parse(a.ProxyURL); err == nil && a.ProxyURL != "" {
		config.Proxy = http.ProxyURL(proxy)
	}
	return config
}

// String names the server and nothing secret, so that an Access in a log line does no harm.
func (a *Access) String() string { return fmt.Sprintf("access to %s", a.Server) }

// GoString is String: %#v does not print the credential either.
func (a *Access) GoString() string { return a.String() }
