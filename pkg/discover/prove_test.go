package discover

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// served is a way to a cluster whose API server is a function.
func served(name string, id v1alpha1.ClusterID, server roundTripper) Observation {
	o := seen(name, id, nil)
	o.Reached.Server = "https://" + name + ".example.com"
	o.Connect = func() (*member.Cluster, error) {
		return member.Connect(&rest.Config{
			Host: o.Reached.Server, BearerToken: "caller",
			WrapTransport: func(http.RoundTripper) http.RoundTripper { return server },
		})
	}
	return o
}

// hang never answers.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// crawl answers, too late to prove anything before the deadline that it gets.
func crawl(delay time.Duration) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(delay):
			return response(r, []byte(`{"keys":[]}`)), nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func response(r *http.Request, body []byte) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r, Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// signing is an API server that signs tokens with one key, and serves it.
func signing(t *testing.T, asked func()) roundTripper {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *http.Request) (*http.Response, error) {
		var answer any = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public()}}}
		if strings.HasSuffix(r.URL.Path, "/token") {
			asked()
			var request struct{ Spec struct{ Audiences []string } }
			if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
				return nil, err
			}
			end := time.Now().Add(10 * time.Minute)
			token, err := jwt.Signed(signer).Claims(jwt.Claims{
				Subject: identity.Subject, Audience: request.Spec.Audiences, IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(end),
			}).Serialize()
			if err != nil {
				return nil, err
			}
			answer = map[string]any{
				"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
				"status": map[string]any{"token": token, "expirationTimestamp": end.UTC().Format(time.RFC3339)},
			}
		}
		body, err := json.Marshal(answer)
		if err != nil {
			return nil, err
		}
		return response(r, body), nil
	}
}

// TestProofsBesideHangingWays asks two hundred ways that hang before those of five honest clusters with two ways each: the honest
// ones prove each other, and all have been asked when a quarter of the deadline has passed.
func TestProofsBesideHangingWays(t *testing.T) {
	t.Parallel()
	const attackers, honest = 200, 5
	for name, attack := range map[string]struct {
		server   roundTripper
		id       func(int) v1alpha1.ClusterID
		deadline time.Duration
	}{
		"of one cluster ID":                {hang, func(int) v1alpha1.ClusterID { return "66666666-evil" }, 10 * time.Second},
		"of many cluster IDs":              {hang, func(i int) v1alpha1.ClusterID { return v1alpha1.ClusterID(fmt.Sprintf("66666666-evil-%d", i/2)) }, 10 * time.Second},
		"of the clusters that are honest":  {hang, func(i int) v1alpha1.ClusterID { return honestID(i % honest) }, 10 * time.Second},
		"that answer before they are slow": {crawl(600 * time.Millisecond), func(int) v1alpha1.ClusterID { return "66666666-evil" }, 10 * time.Second},
		"without a deadline":               {hang, func(int) v1alpha1.ClusterID { return "66666666-evil" }, 1000 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var tokens, last atomic.Int64
				asked := func() {
					tokens.Add(1)
					last.Store(int64(time.Since(began)))
				}
				var observations []Observation
				for i := range attackers {
					observations = append(observations, served(fmt.Sprintf("evil-%d", i), attack.id(i), attack.server))
				}
				for i := range honest {
					server := signing(t, asked)
					for _, path := range []string{"lan", "vpn"} {
						observations = append(observations, served(fmt.Sprintf("%s-%d", path, i), honestID(i), server))
					}
				}
				Prove(t.Context(), nil, observations, attack.deadline)
				if got := tokens.Load(); got != 2*honest {
					t.Errorf("%d tokens were requested of honest clusters, want %d", got, 2*honest)
				}
				if latest, bound := time.Duration(last.Load()), min(attack.deadline, time.Minute)/4; latest > bound {
					t.Errorf("the last honest way was asked after %s, later than %s", latest, bound)
				}
				for i, o := range observations {
					switch {
					case o.Proof == nil:
						t.Fatalf("%s was not probed", o.Name)
					case i < attackers && o.Proof.signed():
						t.Errorf("%s proves something", o.Name)
					case i >= attackers && (!o.Proof.signed() || !o.Proof.Proves(observations[i^1].Proof.Signature)):
						t.Errorf("%s does not prove its cluster: %+v", o.Name, o.Proof)
					}
				}
			})
		})
	}
}

func honestID(i int) v1alpha1.ClusterID { return v1alpha1.ClusterID(fmt.Sprintf("%d-honest", i)) }
