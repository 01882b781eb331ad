//go:build unix

// Package impostor is a hostile server: it stands in front of a cluster of the attacker's own, and claims to be another one. It
// answers with the other cluster's ID, its membership record and its public keys, and passes on what it has rights to. What it
// cannot do is have a token signed by the other cluster's key, unless it has the right to request one there.
package impostor

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// Start starts a server in front of the cluster own, which claims to be the victim. The attacker may do in the victim what the
// configuration allows: requests for tokens are passed on with it. Its zero value is a caller without any right.
func Start(own, victim *env.Cluster, rights *rest.Config) (*env.Front, error) {
	admin, err := proxy(victim.Config())
	if err != nil {
		return nil, err
	}
	var minted http.Handler
	if rights != nil {
		if minted, err = proxy(rights); err != nil {
			return nil, err
		}
	}
	const namespaces = "/api/v1/namespaces/"
	return own.Front(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		r.Header.Del("Accept-Encoding")
		switch path := r.URL.Path; {
		case r.Method == http.MethodGet && path == namespaces+v1alpha1.IdentityNamespace:
			// Its own labels, under the ID that is no secret.
			claim(w, r, pass, admin)
		case r.Method == http.MethodGet && (path == "/openid/v1/jwks" || path == namespaces+v1alpha1.MemberNamespace+"/configmaps/"+v1alpha1.MembershipName):
			admin.ServeHTTP(w, r)
		case r.Method == http.MethodPost && strings.HasSuffix(path, "/token") && minted != nil:
			minted.ServeHTTP(w, r)
		default:
			pass.ServeHTTP(w, r)
		}
	})
}

// claim answers with the identity namespace of the own cluster, under the UID of the victim's.
func claim(w http.ResponseWriter, r *http.Request, own, victim http.Handler) {
	ask := func(h http.Handler) (*httptest.ResponseRecorder, map[string]any) {
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r.Clone(r.Context()))
		var o map[string]any
		_ = json.Unmarshal(answer.Body.Bytes(), &o) // a refusal has no metadata either
		return answer, o
	}
	answer, mine := ask(own)
	_, theirs := ask(victim)
	metadata, _ := mine["metadata"].(map[string]any)
	other, _ := theirs["metadata"].(map[string]any)
	if answer.Code != http.StatusOK || metadata == nil || other == nil {
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = io.Copy(w, answer.Body)
		return
	}
	metadata["uid"] = other["uid"]
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(mine); err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
}

// proxy passes requests on to the server of a configuration, with its credential instead of theirs.
func proxy(config *rest.Config) (http.Handler, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, strings.TrimSuffix(config.Host, "/")+r.URL.RequestURI(), r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		for _, name := range []string{"Accept", "Content-Type"} {
			out.Header.Set(name, r.Header.Get(name))
		}
		answer, err := transport.RoundTrip(out)
		if err != nil {
			http.Error(w, fmt.Sprintf("the victim does not answer: %v", err), http.StatusBadGateway)
			return
		}
		defer func() { _ = answer.Body.Close() }()
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	}), nil
}
