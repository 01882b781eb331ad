package cli

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// simulated is a cluster that answers with an ID, and notes what it is asked and with which token.
type simulated struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	tokens []string
}

// newSimulated starts a cluster with an ID. Others answers what else is asked; nil is 404.
func newSimulated(t *testing.T, id string, others func(path string) any) *simulated {
	t.Helper()
	s := &simulated{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.Path)
		s.tokens = append(s.tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		var answer any
		if r.URL.Path == "/api/v1/namespaces/kube-system" {
			answer = map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": "kube-system", "uid": id}}
		} else if others != nil {
			answer = others(r.URL.Path)
		}
		if answer == nil {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *simulated) endpoint() endpoint.Endpoint {
	return endpoint.Endpoint{Server: s.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
}

// seen is what was asked since the last call.
func (s *simulated) seen() (asked, tokens []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, tokens = s.asked, s.tokens
	s.asked, s.tokens = nil, nil
	return slices.Compact(asked), slices.Compact(tokens)
}

// registered is a member with an endpoint, that is accepted, ready and proved.
func registered(name, id string, at endpoint.Endpoint) *v1alpha1.MemberCluster {
	m := &v1alpha1.MemberCluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MemberCluster"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, Labels: map[string]string{v1alpha1.LabelFederation: "dev"}},
	}
	at.Store(&m.Spec)
	m.Spec.ClusterID = id
	for _, condition := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady} {
		m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{Type: condition, Status: metav1.ConditionTrue, ObservedGeneration: 1})
	}
	m.Status.SigningKeys = []string{"a key"}
	return m
}

// newSimulatedHost starts a host with members, and returns a kubeconfig with its context and those of others by name.
func newSimulatedHost(t *testing.T, contexts map[string]*simulated, members ...*v1alpha1.MemberCluster) (path string) {
	t.Helper()
	const list = "/apis/kubefederate.io/v1alpha1/memberclusters"
	all := map[string]*simulated{"host": newSimulated(t, "host", func(path string) any {
		if path == list {
			return map[string]any{"kind": "MemberClusterList", "apiVersion": v1alpha1.GroupVersion.String(), "metadata": map[string]any{}, "items": members}
		}
		for _, m := range members {
			if path == list+"/"+m.Name {
				return m
			}
		}
		return nil
	})}
	maps.Copy(all, contexts)
	config := clientcmdapi.NewConfig()
	config.CurrentContext = "host"
	for name, s := range all {
		config.Clusters[name] = &clientcmdapi.Cluster{Server: s.URL, CertificateAuthorityData: s.endpoint().CABundle}
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: "token of " + name}
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	path = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// useLines are the commands that reach members as the caller.
var useLines = []string{"find pods", "each --all --yes -- delete namespace shop", "kubeconfig", "kubeconfig --merge"}

// TestAnotherCluster holds that a member which names the server of another cluster does not make a caller act there.
func TestAnotherCluster(t *testing.T) {
	t.Setenv("KUBECTL", "true")
	production := newSimulated(t, "1-production", nil)
	for _, tt := range []struct {
		name string
		edit func(m *v1alpha1.MemberCluster)
		want string
		// asks says that the cluster is asked which it is.
		asks bool
	}{
		{"another ID", func(*v1alpha1.MemberCluster) {},
			`context "production" leads to cluster "1-production", and the member is cluster "2-dev": nothing is done there; see the member: kubectl federate describe x --kubeconfig FILE`, true},
		{"its own ID, and not accepted", func(m *v1alpha1.MemberCluster) {
			m.Spec.ClusterID, m.Status = "1-production", v1alpha1.MemberClusterStatus{}
		},
			"its federation has not accepted it; see why: kubectl federate describe x --kubeconfig FILE", false},
		{"refused", func(m *v1alpha1.MemberCluster) {
			m.Spec.ClusterID, m.Status.Conditions[0].Status = "1-production", metav1.ConditionFalse
		}, "its federation has not accepted it; see why: kubectl federate describe x --kubeconfig FILE", false},
	} {
		m := registered("x", "2-dev", production.endpoint())
		tt.edit(m)
		for _, line := range useLines {
			path := newSimulatedHost(t, map[string]*simulated{"production": production}, m)
			code, out, errOut := mistype(t, strings.Replace(line, " ", " --kubeconfig "+path+" ", 1)+addKubeconfig(line, path))
			first, _, _ := strings.Cut(errOut, "\n")
			if diff := cmp.Diff(`member "x": `+tt.want, strings.ReplaceAll(first, path, "FILE")); diff != "" || code == 0 || out != "" {
				t.Errorf("%s: %s: exit code %d: %s\n%s", tt.name, line, code, out, diff)
			}
			var want []string
			if tt.asks {
				want = []string{"/api/v1/namespaces/kube-system"}
			}
			if asked, _ := production.seen(); !slices.Equal(asked, want) {
				t.Errorf("%s: %s: production was asked %q", tt.name, line, asked)
			}
		}
	}
}

// addKubeconfig is the flag for a line of one word.
func addKubeconfig(line, path string) string {
	if strings.Contains(line, " ") {
		return ""
	}
	return " --kubeconfig " + path
}

// TestReadsWhichCluster holds that the right cluster is used, and that its ID is read first.
func TestReadsWhichCluster(t *testing.T) {
	t.Setenv("KUBECTL", "true")
	member := newSimulated(t, "2-dev", nil)
	path := newSimulatedHost(t, map[string]*simulated{"dev": member}, registered("x", "2-dev", member.endpoint()))
	for _, line := range []string{"kubeconfig", "each --all --yes -- delete namespace shop", "find pods"} {
		code, _, errOut := mistype(t, strings.Replace(line, " ", " --kubeconfig "+path+" ", 1)+addKubeconfig(line, path))
		if asked, _ := member.seen(); len(asked) == 0 || asked[0] != "/api/v1/namespaces/kube-system" {
			t.Errorf("%s: the first request is none for its ID: %q", line, asked)
		}
		if code != 0 && line != "find pods" {
			t.Errorf("%s: exit code %d: %s", line, code, errOut)
		}
	}
}

// TestUserAtJoinedServers holds who gets the token of --user-from-context.
func TestUserAtJoinedServers(t *testing.T) {
	t.Setenv("KUBECTL", "true")
	const unproved = "the manager has not proved that its endpoint leads to it, which takes that it is ready and has status.signingKeys: it gets no token of another context"
	server := newSimulated(t, "2-dev", nil)
	for _, tt := range []struct {
		name string
		edit func(m *v1alpha1.MemberCluster)
		want string
	}{
		{"proved", func(*v1alpha1.MemberCluster) {}, ""},
		{"not verified", func(m *v1alpha1.MemberCluster) { m.Spec.CABundle, m.Spec.InsecureSkipTLSVerify = nil, true },
			"its server is not verified (insecureSkipTLSVerify), and gets no credential of another context"},
		{"no key was seen", func(m *v1alpha1.MemberCluster) { m.Status.SigningKeys = nil }, unproved},
		{"not ready", func(m *v1alpha1.MemberCluster) { m.Status.Conditions[1].Status = metav1.ConditionUnknown }, unproved},
		{"its endpoint was changed", func(m *v1alpha1.MemberCluster) { m.Generation = 2 }, unproved},
		{"not accepted", func(m *v1alpha1.MemberCluster) { m.Status.Conditions[0].Status = metav1.ConditionFalse },
			"its federation has not accepted it; see why: kubectl federate describe x --kubeconfig FILE"},
	} {
		m := registered("x", "2-dev", server.endpoint())
		tt.edit(m)
		path := newSimulatedHost(t, nil, m)
		for _, line := range append([]string{"credential x"}, useLines...) {
			flags := " --user-from-context host --kubeconfig " + path
			verb, rest, _ := strings.Cut(line, " ")
			code, out, errOut := mistype(t, verb+flags+" "+rest)
			_, tokens := server.seen()
			if tt.want == "" {
				if line != "find pods" && code != 0 || strings.Contains(errOut, "gets no") {
					t.Errorf("%s: %s: exit code %d: %s", tt.name, line, code, errOut)
				}
				continue
			}
			got := regexp.MustCompile(`member "x": .*`).FindString(strings.ReplaceAll(errOut, path, "FILE"))
			if diff := cmp.Diff(`member "x": `+tt.want, got); diff != "" || code == 0 || out != "" || len(tokens) > 0 {
				t.Errorf("%s: %s: exit code %d: %s; tokens %q\n%s", tt.name, line, code, out, tokens, diff)
			}
		}
	}
}

// TestCredentialAtAnotherServer holds that the token of another context is given for the endpoint of the member alone, whatever a
// client asks for.
func TestCredentialAtAnotherServer(t *testing.T) {
	server := newSimulated(t, "2-dev", nil)
	path := newSimulatedHost(t, nil, registered("x", "2-dev", server.endpoint()))
	for asked, want := range map[string]int{server.URL: 0, "https://evil.example.com": 1} {
		cluster, err := json.Marshal(map[string]any{"server": asked, "certificate-authority-data": server.endpoint().CABundle})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(execInfo, fmt.Sprintf(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":%s}}`, cluster))
		code, out, errOut := mistype(t, "credential x --user-from-context host --kubeconfig "+path)
		if code != want || strings.Contains(out, "token of host") != (want == 0) {
			t.Errorf("asked for %s: exit code %d: %s%s", asked, code, out, errOut)
		}
		if want != 0 && !strings.HasPrefix(errOut, `error: member "x": its server is another than in the kubeconfig that asks: write that anew: `) {
			t.Errorf("asked for %s: %s", asked, errOut)
		}
	}
}

// TestConfirmSaysWhere holds that the question has as whom and where each member would be reached.
func TestConfirmSaysWhere(t *testing.T) {
	t.Setenv("KUBECTL", "true")
	member := newSimulated(t, "2-dev", nil)
	pending := registered("y", "3-dev", member.endpoint())
	pending.Status = v1alpha1.MemberClusterStatus{}
	path := newSimulatedHost(t, map[string]*simulated{"dev": member}, registered("x", "2-dev", member.endpoint()), pending)
	code, out, errOut := mistype(t, "each --all --kubeconfig "+path+" -- delete namespace shop")
	const want = `kubectl delete namespace shop on 2 members:
NAME   FEDERATION   REACHED AS      SERVER
x      dev          context "dev"   URL
y      dev          <none>          <none>
Run it? [y/N]
error: no answer; confirm with --yes where there is no terminal
`
	if diff := cmp.Diff(want, strings.ReplaceAll(errOut, member.URL, "URL")); diff != "" || code != 1 || out != "" {
		t.Errorf("exit code %d: %s\n%s", code, out, diff)
	}
	if asked, _ := member.seen(); len(asked) > 0 {
		t.Errorf("before the answer it was asked %q", asked)
	}
}

// TestCredentialNested ends a credential that would come from the command itself, whatever the name of its file.
func TestCredentialNested(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["x"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	config.AuthInfos["x"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: "sh", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		Args: []string{"-c", `echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"nested '$KUBECTL_FEDERATE_CREDENTIAL'"}}'`},
	}}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "x", AuthInfo: "x"}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	line := "credential x --member-context x --kubeconfig " + path
	if code, out, errOut := mistype(t, line); code != 0 || !strings.Contains(out, `"token": "nested 1"`) {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	t.Setenv(credentialNested, "1")
	want := "error: member \"x\": its context gets its credential from this command, again: name one with a credential of its own\n"
	if code, out, errOut := mistype(t, line); code != 1 || out != "" || errOut != want {
		t.Errorf("nested: exit code %d: %s%s", code, out, errOut)
	}
}

// TestDryRunOfPlugin holds that --dry-run=server asks before a plugin runs, which may ignore the flag, and is given once.
func TestDryRunOfPlugin(t *testing.T) {
	t.Setenv("KUBECTL", "true")
	member := newSimulated(t, "2-dev", nil)
	path := newSimulatedHost(t, map[string]*simulated{"dev": member}, registered("x", "2-dev", member.endpoint()))
	for line, want := range map[string]string{
		"neat delete":                    "error: no answer; confirm with --yes where there is no terminal\n",
		"delete ns shop":                 "",
		"delete ns shop --dry-run=none":  "error: give --dry-run before -- or behind it, but not both\n",
		"delete ns shop --field-manager": "",
	} {
		_, _, errOut := mistype(t, "each --all --dry-run=server --kubeconfig "+path+" -- "+line)
		if !strings.HasSuffix(errOut, want) || want == "" && errOut != "" {
			t.Errorf("%s: %s", line, errOut)
		}
	}
}
