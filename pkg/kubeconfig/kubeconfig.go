// Package kubeconfig reads a kubeconfig as data. A kubeconfig that comes from a cluster can name a command to
// run or a file to read, and clientcmd does both; this package takes only what a request needs (server, CA,
// proxy, and one inline credential of the current context) and refuses everything else by name.
//
// Nothing here runs, opens or connects. An error names the field that was refused and never its value, so
// that it may be logged and shown.
package kubeconfig

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// MaxSize is the largest kubeconfig that is read, in bytes. A Secret holds no more.
const MaxSize = 1 << 20

// entry is the name of the cluster, user and context that Marshal writes.
const entry = "member"

// Option loosens or tightens Parse.
type Option int

const (
	// AllowInsecure takes a kubeconfig that leaves the server's certificate unverified. Only a Federation
	// with allowInsecureTLS has such members.
	AllowInsecure Option = iota + 1
	// OneContext refuses a kubeconfig with more than one cluster, user or context. A credential that others
	// read with loaders of their own says one thing only.
	OneContext
)

// Access is how to reach one API server, and as whom. Exactly one of Token and the pair of CertData and
// KeyData is set.
type Access struct {
	// Server is an https URL.
	Server string
	// CAData is PEM. Empty means the roots of whoever connects.
	CAData []byte
	// ProxyURL is an http, https or socks5 URL, or empty.
	ProxyURL string
	// Insecure leaves the server's certificate unverified.
	Insecure bool

	// Token is a bearer token.
	Token string
	// CertData and KeyData are a client certificate and its key, PEM.
	CertData, KeyData []byte
}

// Parse reads the current context of a kubeconfig. Its error is an *Error that lists everything that was
// refused, not the first thing only.
func Parse(data []byte, options ...Option) (*Access, error) {
	if len(data) > MaxSize {
		return nil, refuse(TooLarge)
	}
	config, err := decode(data)
	if err != nil {
		return nil, err
	}

	var r reader
	context := find(&r, "contexts", config.CurrentContext, config.Contexts,
		func(c clientcmdv1.NamedContext) (string, clientcmdv1.Context) { return c.Name, c.Context })
	if context == nil {
		return nil, r.err()
	}
	cluster := find(&r, "clusters", context.Cluster, config.Clusters,
		func(c clientcmdv1.NamedCluster) (string, clientcmdv1.Cluster) { return c.Name, c.Cluster })
	user := find(&r, "users", context.AuthInfo, config.AuthInfos,
		func(u clientcmdv1.NamedAuthInfo) (string, clientcmdv1.AuthInfo) { return u.Name, u.AuthInfo })
	if slices.Contains(options, OneContext) {
		r.one("contexts", len(config.Contexts))
		r.one("clusters", len(config.Clusters))
		r.one("users", len(config.AuthInfos))
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

// decode is strict: a field that is unknown, or known under other capitals, could be one that another
// reader of the same bytes acts on.
func decode(data []byte) (*clientcmdv1.Config, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, refuse(NotYAML)
	}
	var config clientcmdv1.Config
	strict, err := json.UnmarshalStrict(raw, &config)
	if err != nil {
		return nil, refuse(NotKubeconfig)
	}
	if len(strict) > 0 {
		var r reader
		for _, problem := range strict {
			field := ""
			if e, ok := problem.(json.FieldError); ok { //nolint:errorlint // the list holds the errors themselves
				field = e.FieldPath()
			}
			r.refuse(field, UnknownField)
		}
		return nil, r.err()
	}
	if config.APIVersion != "" && config.APIVersion != "v1" || config.Kind != "" && config.Kind != "Config" {
		return nil, refuse(NotKubeconfig)
	}
	return &config, nil
}

// reader collects what is refused while a kubeconfig is read.
type reader struct{ problems []Problem }

func (r *reader) refuse(field string, why Reason) {
	r.problems = append(r.problems, Problem{field, why})
}

// unless refuses a field that is set.
func (r *reader) unless(empty bool, field string, why Reason) {
	if !empty {
		r.refuse(field, why)
	}
}

func (r *reader) one(field string, n int) { r.unless(n == 1, field, SeveralEntries) }

func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &Error{Problems: r.problems}
}

// find returns the one entry of a list that has the name.
func find[E, V any](r *reader, field, name string, entries []E, open func(E) (string, V)) *V {
	var found *V
	for _, e := range entries {
		switch entryName, value := open(e); {
		case entryName != name:
		case found != nil:
			r.refuse(field, Ambiguous)
			return nil
		default:
			found = &value
		}
	}
	switch {
	case found != nil:
	case field == "contexts" && name == "":
		r.refuse("current-context", Missing)
	default:
		r.refuse(field, NoSuchEntry)
	}
	return found
}

func (r *reader) cluster(c *clientcmdv1.Cluster, access *Access, insecure bool) {
	const at = "cluster."
	if u, err := url.Parse(c.Server); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		r.refuse(at+"server", BadServer)
	}
	r.unless(c.CertificateAuthority == "", at+"certificate-authority", FilePath)
	r.unless(c.TLSServerName == "", at+"tls-server-name", ServerName)
	r.unless(!c.InsecureSkipTLSVerify || insecure, at+"insecure-skip-tls-verify", Insecure)
	if c.ProxyURL != "" {
		u, err := url.Parse(c.ProxyURL)
		if err != nil || u.Hostname() == "" || u.User != nil || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
			r.refuse(at+"proxy-url", BadProxy)
		}
	}
	if len(c.CertificateAuthorityData) > 0 {
		r.unless(validCertificates(c.CertificateAuthorityData), at+"certificate-authority-data", BadCertificate)
		// client-go refuses the two together, at the first request.
		r.unless(!c.InsecureSkipTLSVerify, at+"insecure-skip-tls-verify", InsecureWithCA)
	}
	access.Server, access.ProxyURL = c.Server, c.ProxyURL
	access.CAData, access.Insecure = c.CertificateAuthorityData, c.InsecureSkipTLSVerify
}

func (r *reader) user(u *clientcmdv1.AuthInfo, access *Access) {
	const at = "user."
	r.unless(u.Exec == nil, at+"exec", Command)
	r.unless(u.AuthProvider == nil, at+"auth-provider", AuthProvider)
	r.unless(u.ClientCertificate == "", at+"client-certificate", FilePath)
	r.unless(u.ClientKey == "", at+"client-key", FilePath)
	r.unless(u.TokenFile == "", at+"tokenFile", FilePath)
	r.unless(u.Username == "" && u.Password == "", at+"username", Password)
	r.unless(u.Impersonate == "" && u.ImpersonateUID == "" && len(u.ImpersonateGroups) == 0 && len(u.ImpersonateUserExtra) == 0,
		at+"as", Impersonation)

	certificate := len(u.ClientCertificateData) > 0 || len(u.ClientKeyData) > 0
	switch {
	case u.Token != "" && certificate:
		r.refuse("user", TwoCredentials)
	case u.Token != "":
		r.unless(validToken(u.Token), at+"token", BadToken)
	case certificate:
		_, err := tls.X509KeyPair(u.ClientCertificateData, u.ClientKeyData)
		r.unless(err == nil, at+"client-certificate-data", BadKeyPair)
	default:
		r.refuse("user", NoCredential)
	}
	access.Token = u.Token
	access.CertData, access.KeyData = u.ClientCertificateData, u.ClientKeyData
}

// validToken says whether a token can stand in a header (RFC 6750, section 2.1, and no stricter).
func validToken(token string) bool {
	return !strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' })
}

// validCertificates says whether PEM data holds certificates and nothing else.
func validCertificates(data []byte) bool {
	found := false
	for len(strings.TrimSpace(string(data))) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil || block.Type != "CERTIFICATE" {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		found = true
	}
	return found
}

// Marshal writes a kubeconfig with one cluster, one user and one context, the same bytes for the same
// access.
func (a *Access) Marshal() ([]byte, error) {
	data, err := yaml.Marshal(clientcmdv1.Config{
		APIVersion: "v1",
		Kind:       "Config",
		Clusters: []clientcmdv1.NamedCluster{{Name: entry, Cluster: clientcmdv1.Cluster{
			Server:                   a.Server,
			CertificateAuthorityData: a.CAData,
			ProxyURL:                 a.ProxyURL,
			InsecureSkipTLSVerify:    a.Insecure,
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

// RESTConfig is the access as client-go takes it. Without a proxy of its own it goes by the environment of
// the process, as every client does.
func (a *Access) RESTConfig() *rest.Config {
	config := &rest.Config{
		Host:        a.Server,
		BearerToken: a.Token,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: a.CAData, CertData: a.CertData, KeyData: a.KeyData, Insecure: a.Insecure,
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
