package targets

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// issuer issues ID tokens, and takes each refresh token once, as Dex, Keycloak and Okta do.
type issuer struct {
	*httptest.Server

	mu     sync.Mutex
	issued int
	// valid are the refresh tokens that are still good, and tokens the ID tokens that were issued.
	valid, tokens map[string]bool
}

func newIssuer(t *testing.T, refreshTokens ...string) *issuer {
	t.Helper()
	i := &issuer{valid: map[string]bool{}, tokens: map[string]bool{}}
	for _, token := range refreshTokens {
		i.valid[token] = true
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, i.URL, i.URL+"/token")
	})
	mux.HandleFunc("/token", i.refresh)
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) refresh(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	used := r.FormValue("refresh_token")
	if !i.valid[used] {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"refresh token was already used"}`)
		return
	}
	delete(i.valid, used)
	i.issued++
	next, token := fmt.Sprintf("%s+%d", used, i.issued), idToken(time.Now().Add(time.Hour), i.issued)
	i.valid[next], i.tokens[token] = true, true
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": token, "refresh_token": next, "expires_in": 3600})
}

// idToken is a token that ends then. Clients read its end and no more.
func idToken(end time.Time, number int) string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"none"}`) + "." + part(fmt.Sprintf(`{"exp":%d,"jti":"%d"}`, end.Unix(), number)) + "." + part("s")
}

func authority(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// apiServer takes the tokens that an issuer issued.
func apiServer(t *testing.T, i *issuer) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if !i.tokens[trimBearer(r.Header.Get("Authorization"))] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"gitVersion":"v1.36.3"}`)
	}))
	t.Cleanup(server.Close)
	return server
}

func trimBearer(header string) string {
	const scheme = "Bearer "
	return header[min(len(scheme), len(header)):]
}

// TestRefreshTokens are taken once by their issuer. Several contexts of one user use one between them, in parallel too, and
// the new one is written to the kubeconfig that it is from, so that kubectl has it afterwards.
func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "jill", "jack", "host")
	user := func(refresh, client string) *clientcmdapi.AuthInfo {
		return &clientcmdapi.AuthInfo{AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: map[string]string{
			"idp-issuer-url": i.URL, "client-id": client, "refresh-token": refresh, "id-token": idToken(time.Now().Add(-time.Hour), 0),
			"idp-certificate-authority-data": base64.StdEncoding.EncodeToString(authority(i.Server)),
		}}}
	}
	folder := t.TempDir()
	write := func(name string, users map[string]*clientcmdapi.AuthInfo, contexts map[string]string) string {
		config := clientcmdapi.NewConfig()
		config.AuthInfos = users
		for context, user := range contexts {
			server := apiServer(t, i)
			config.Clusters[context] = &clientcmdapi.Cluster{Server: server.URL, CertificateAuthorityData: authority(server)}
			config.Contexts[context] = &clientcmdapi.Context{Cluster: context, AuthInfo: user}
			config.CurrentContext = context
		}
		file := filepath.Join(folder, name)
		if err := clientcmd.WriteToFile(*config, file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	hosts := write("host", map[string]*clientcmdapi.AuthInfo{"host": user("host", "kubectl")}, map[string]string{"host": "host"})
	members := write("members", map[string]*clientcmdapi.AuthInfo{"jill": user("jill", "kubectl"), "jack": user("jack", "other")},
		map[string]string{"shop": "jill", "pay": "jill", "web": "jack"})

	host := &HostFlags{Kubeconfig: hosts}
	h, err := host.Host()
	if err != nil {
		t.Fatal(err)
	}
	var version struct{ GitVersion string }
	if err := h.GetPath(t.Context(), "/version", &version); err != nil {
		t.Error(err)
	}
	contexts, err := (&MemberFlags{Kubeconfig: members}).Contexts(host)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for _, context := range []string{"shop", "pay", "web"} {
		m, err := contexts.Connect(context)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			wait.Go(func() {
				if v, err := m.Version(t.Context()); err != nil || v != "v1.36.3" {
					t.Errorf("%s: version %q, error %v", context, v, err)
				}
			})
		}
	}
	wait.Wait()
	if i.issued != 3 {
		t.Errorf("%d tokens were issued to three users", i.issued)
	}
	stored := map[string]bool{}
	for _, file := range []string{hosts, members} {
		config, err := clientcmd.LoadFromFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range config.AuthInfos {
			stored[user.AuthProvider.Config["refresh-token"]] = true
		}
	}
	if !maps.Equal(stored, i.valid) {
		t.Errorf("the kubeconfigs hold %q, the issuer takes %q", slices.Sorted(maps.Keys(stored)), slices.Sorted(maps.Keys(i.valid)))
	}
}

// TestRequestTimeout holds for host and members; 0 is no limit.
func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := clientcmd.WriteToFile(*clientcmdapi.NewConfig(), empty); err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]time.Duration{"": 0, "0": noTimeout, "0s": noTimeout, "2m": 2 * time.Minute, "7": 7 * time.Second} {
		var f HostFlags
		root := &cobra.Command{}
		f.AddTo(root)
		args := []string{"--kubeconfig", empty, "--server", "https://h"}
		if typed != "" {
			args = append(args, "--request-timeout", typed)
		}
		if err := root.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		config, err := f.config().ClientConfig()
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Tune(config).Timeout; got != want {
			t.Errorf("--request-timeout %q is %s, want %s", typed, got, want)
		}
	}
}
