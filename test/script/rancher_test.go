//go:build unix

package script

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// rancherToken is what Rancher's proxy knows: the token of the user that Rancher makes for its own Secrets.
const rancherToken = "u-mo773yttt4:k2x9wq7dk2x9wq7d"

// rancher plays Rancher's proxy until the script ends: https://<it>/k8s/clusters/ID leads to CLUSTER as an
// administrator with Rancher's token. A token of the cluster's own is handed on for ID=CLUSTER=tokens only, as a
// ClusterProxyConfig has it; any other gets 401.
func rancher(ts *testscript.TestScript, args []string) {
	mux := http.NewServeMux()
	for _, arg := range args {
		id, name, _ := strings.Cut(arg, "=")
		name, tokens := strings.CutSuffix(name, "=tokens")
		admin := theStage.fleet.Cluster(name).Config()
		asOwner, err := proxyTo(admin)
		ts.Check(err)
		asItself, err := proxyTo(rest.AnonymousClientConfig(admin))
		ts.Check(err)
		prefix := "/k8s/clusters/" + id
		mux.Handle(prefix+"/", http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); {
			case token == rancherToken:
				r.Header.Del("Authorization")
				asOwner.ServeHTTP(w, r)
			case tokens && token != "":
				asItself.ServeHTTP(w, r)
			default:
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"type":"error","status":"401","message":"must authenticate"}`)
			}
		})))
	}
	server := httptest.NewTLSServer(mux)
	ts.Defer(server.Close)
	ts.Setenv("RANCHER", server.URL)
	ts.Setenv("RANCHER_CA", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
}

func proxyTo(config *rest.Config) (http.Handler, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}, nil
}

// placeholder is what expand expands.
var placeholder = regexp.MustCompile(`\$\{([a-z-]+)(?::([a-z0-9-]+))?\}`)

// expand writes into files what is known only when the clusters run:
//
//	${host:CLUSTER}        host and port of its API server
//	${ca:CLUSTER}          its CA, as a string of JSON
//	${bundle:CLUSTER}      its CA, in base64
//	${admin:CLUSTER}       a kubeconfig of an administrator of it, or of an impostor, in base64, as Cluster API's Secrets hold it
//	${rancher}             the URL of the proxy that rancher plays
//	${rancher-ca}          its CA, as a string of JSON
//	${rancher-pem}         its CA, in base64
//	${proxied:ID}          the kubeconfig that Rancher's Secrets hold, in base64: an address that only Rancher's cluster reaches
func expand(ts *testscript.TestScript, args []string) {
	quoted := func(text string) string {
		out, err := json.Marshal(text)
		ts.Check(err)
		return string(out)
	}
	encoded := func(c env.Context) string {
		file := ts.MkAbs("expanded.kubeconfig")
		ts.Check(env.WriteKubeconfig(file, c))
		data, err := os.ReadFile(file)
		ts.Check(err)
		return base64.StdEncoding.EncodeToString(data)
	}
	for _, name := range args {
		file := ts.MkAbs(name)
		text, err := os.ReadFile(file)
		ts.Check(err)
		expanded := placeholder.ReplaceAllStringFunc(string(text), func(match string) string {
			parts := placeholder.FindStringSubmatch(match)
			switch what, of := parts[1], parts[2]; what {
			case "host":
				return strings.TrimPrefix(theStage.fleet.Cluster(of).Config().Host, "https://")
			case "ca":
				return quoted(string(theStage.fleet.Cluster(of).Config().CAData))
			case "bundle":
				return base64.StdEncoding.EncodeToString(theStage.fleet.Cluster(of).Config().CAData)
			case "admin":
				c, hostile := ts.Value(impostorsKey{}).(map[string]env.Context)[of]
				if !hostile {
					c = theStage.fleet.Cluster(of).Context()
				}
				c.Name = of + "-admin@" + of
				return encoded(c)
			case "outside":
				c := theStage.fleet.Cluster(of).Context()
				url, end, err := env.Outside(c.Config.Host)
				ts.Check(err)
				ts.Defer(end)
				c.Config.Host = url
				return encoded(c)
			case "rancher":
				return ts.Getenv("RANCHER")
			case "rancher-pem":
				return base64.StdEncoding.EncodeToString([]byte(ts.Getenv("RANCHER_CA")))
			case "rancher-ca":
				return quoted(ts.Getenv("RANCHER_CA"))
			case "proxied":
				inside := clientcmdapi.Config{
					CurrentContext: "default",
					Clusters:       map[string]*clientcmdapi.Cluster{"cluster": {Server: "https://10.43.0.9/k8s/clusters/" + of, CertificateAuthorityData: []byte(ts.Getenv("RANCHER_CA"))}},
					AuthInfos:      map[string]*clientcmdapi.AuthInfo{"user": {Token: rancherToken}},
					Contexts:       map[string]*clientcmdapi.Context{"default": {Cluster: "cluster", AuthInfo: "user"}},
				}
				data, err := clientcmd.Write(inside)
				ts.Check(err)
				return base64.StdEncoding.EncodeToString(data)
			}
			ts.Fatalf("%s: %s is no placeholder", name, match)
			return ""
		})
		ts.Check(os.WriteFile(file, []byte(expanded), 0o600))
	}
}
