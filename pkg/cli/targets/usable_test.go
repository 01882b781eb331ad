package targets

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/test/cases"
)

// lab is a kubeconfig with one context that works; old and new make another of it.
func lab(t *testing.T, replace ...string) string {
	t.Helper()
	text := `apiVersion: v1
kind: Config
current-context: us-east
contexts:
- {name: us-east, context: {cluster: east, user: ann}}
- {name: us-west, context: {cluster: west}}
clusters:
- {name: east, cluster: {server: "https://127.0.0.1:1"}}
- {name: west, cluster: {server: "https://127.0.0.1:2"}}
users:
- {name: ann, user: {token: secret}}
`
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFieldCases holds the cases of kubeconfigs from the field: each is refused in words that name the entry and the field, or
// taken, and never another cluster in its place. Rows of kinds that need a server are in the packages that ask it.
func TestFieldCases(t *testing.T) {
	base64Of := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	certificate, key := cases.KeyPair(time.Now().Add(time.Hour))
	_, otherKey := cases.KeyPair(time.Now().Add(time.Hour))
	missing := filepath.Join(t.TempDir(), "missing")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server := `{server: "https://127.0.0.1:1"}`
	for _, tt := range []struct {
		name         string
		replace      []string
		host, member string
	}{
		{name: "works"},
		{name: "pod", replace: []string{"cluster: east,", "cluster: gone,"},
			host:   `context "us-east" cannot be used for the host: it names cluster "gone", which the kubeconfig does not have`,
			member: `context "us-east" cannot be used for the member: it names cluster "gone", which the kubeconfig does not have`},
		{name: "pod without a server", replace: []string{server, "{}"},
			host:   `context "us-east" cannot be used for the host: its cluster "east" has no server`,
			member: `context "us-east" cannot be used for the member: its cluster "east" has no server`},
		{name: "pod without a cluster", replace: []string{"cluster: east, ", ""},
			host:   `context "us-east" cannot be used for the host: it names no cluster`,
			member: `context "us-east" cannot be used for the member: it names no cluster`},
		{name: "nocurrent", replace: []string{"current-context: us-east", "current-context: \"\""},
			host: `the kubeconfig has no current context, which would be the host (it has us-east, us-west); choose one with --context`},
		{name: "nocurrent that is gone", replace: []string{"current-context: us-east", "current-context: gone"},
			host: `the kubeconfig has no context "gone" for the host (it has us-east, us-west); choose one with --context`},
		{name: "nouser", replace: []string{"user: ann", "user: bob"},
			host:   `context "us-east" cannot be used for the host: it names user "bob", which the kubeconfig does not have`,
			member: `context "us-east" cannot be used for the member: it names user "bob", which the kubeconfig does not have`},
		{name: "nouser whose token file is missing", replace: []string{"token: secret", "tokenFile: " + missing},
			host:   fmt.Sprintf(`context "us-east" cannot be used for the host: tokenFile %q of user "ann": no such file or directory`, missing),
			member: fmt.Sprintf(`context "us-east" cannot be used for the member: tokenFile %q of user "ann": no such file or directory`, missing)},
		{name: "nouser whose token has a line end", replace: []string{"token: secret", `token: "secret\n"`},
			host:   `context "us-east" cannot be used for the host: token of user "ann": it has characters that a token cannot have`,
			member: `context "us-east" cannot be used for the member: token of user "ann": it has characters that a token cannot have`},
		{name: "nouser whose key is another's", replace: []string{"token: secret", "client-certificate-data: " + base64Of(string(certificate)) + ", client-key-data: " + base64Of(string(otherKey))},
			host:   `context "us-east" cannot be used for the host: client-certificate-data and client-key-data of user "ann": tls: private key does not match public key`,
			member: `context "us-east" cannot be used for the member: client-certificate-data and client-key-data of user "ann": tls: private key does not match public key`},
		{name: "certificate", replace: []string{"token: secret", "client-certificate-data: " + base64Of(string(certificate)) + ", client-key-data: " + base64Of(string(key))}},
		{name: "notpem", replace: []string{server, `{server: "https://127.0.0.1:1", certificate-authority-data: ` + base64Of("not PEM") + "}"},
			host:   `context "us-east" cannot be used for the host: certificate-authority-data of cluster "east": it holds no PEM certificate`,
			member: `context "us-east" cannot be used for the member: certificate-authority-data of cluster "east": it holds no PEM certificate`},
		{name: "notpem in a file", replace: []string{server, `{server: "https://127.0.0.1:1", certificate-authority: ` + empty + "}"},
			host:   fmt.Sprintf(`context "us-east" cannot be used for the host: certificate-authority %q of cluster "east": it is empty`, empty),
			member: fmt.Sprintf(`context "us-east" cannot be used for the member: certificate-authority %q of cluster "east": it is empty`, empty)},
		{name: "notpem in a file that is missing", replace: []string{server, `{server: "https://127.0.0.1:1", certificate-authority: ` + missing + "}"},
			host:   fmt.Sprintf(`context "us-east" cannot be used for the host: certificate-authority %q of cluster "east": no such file or directory`, missing),
			member: fmt.Sprintf(`context "us-east" cannot be used for the member: certificate-authority %q of cluster "east": no such file or directory`, missing)},
		{name: "catext", replace: []string{server, `{server: "https://127.0.0.1:1", certificate-authority-data: ` + base64Of("# the CA\n"+string(certificate)+"the end") + "}"}},
		// client-go takes the default of Kubernetes for a kubeconfig without contexts.
		{name: "no contexts", replace: []string{"\n- {name: us-east, context: {cluster: east, user: ann}}\n- {name: us-west, context: {cluster: west}}", " []", "current-context: us-east", ""},
			host:   `no host cluster: the kubeconfig does not exist or has no contexts; name one with --kubeconfig or set KUBECONFIG`,
			member: `the kubeconfig has no context "us-east" for the member (it has no contexts); choose one with --member-context`},
	} {
		// In a pod, client-go would use the pod's cluster in place of each of them.
		for _, pod := range []string{"", "10.0.0.1"} {
			t.Run(tt.name+pod, func(t *testing.T) {
				t.Setenv("KUBERNETES_SERVICE_HOST", pod)
				t.Setenv("KUBERNETES_SERVICE_PORT", pod)
				if pod == "" {
					if err := os.Unsetenv("KUBERNETES_SERVICE_HOST"); err != nil {
						t.Fatal(err)
					}
				}
				flags := &HostFlags{Kubeconfig: lab(t, tt.replace...)}
				h, err := flags.Host()
				if textOf(err) != tt.host || err == nil && h.Server() != "https://127.0.0.1:1" {
					t.Errorf("host: %s\nwant: %s", textOf(err), tt.host)
				}
				contexts, err := (&MemberFlags{}).Contexts(flags)
				if err != nil {
					t.Fatal(err)
				}
				m, err := contexts.Connect("us-east")
				if textOf(err) != tt.member || err == nil && m.Server() != "https://127.0.0.1:1" {
					t.Errorf("member: %s\nwant: %s", textOf(err), tt.member)
				}
			})
		}
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestFieldCaseOnce reads kubeconfigs that can be read only once, as a shell's <(...) is.
func TestFieldCaseOnce(t *testing.T) {
	pipe := func() string {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(lab(t))
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		t.Cleanup(func() { _ = r.Close() })
		return fmt.Sprintf("/dev/fd/%d", r.Fd())
	}
	for name, use := range map[string]func() (*HostFlags, *MemberFlags){
		"KUBECONFIG": func() (*HostFlags, *MemberFlags) {
			t.Setenv("KUBECONFIG", pipe())
			return &HostFlags{}, &MemberFlags{}
		},
		"--kubeconfig": func() (*HostFlags, *MemberFlags) { return &HostFlags{Kubeconfig: pipe()}, &MemberFlags{} },
		"--member-kubeconfig": func() (*HostFlags, *MemberFlags) {
			return &HostFlags{Kubeconfig: lab(t)}, &MemberFlags{Kubeconfig: pipe()}
		},
		"both of one pipe": func() (*HostFlags, *MemberFlags) {
			path := pipe()
			return &HostFlags{Kubeconfig: path}, &MemberFlags{Kubeconfig: path}
		},
	} {
		host, member := use()
		if _, err := host.Host(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 2 {
			contexts, err := member.Contexts(host)
			if err == nil {
				_, err = contexts.Connect("us-east")
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestUnreadable holds what is said of a kubeconfig that cannot be decoded.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, old, new, want string }{
		{"a number", "token: secret", "token: 12345", `token of user "ann" is not text: quote it`},
		{"a boolean", "user: ann", "user: no", `user of context "us-east" is not text: quote it`},
		{"a name", "{name: ann,", "{name: 1,", `the name of user 1 is not text: quote it`},
		{"no base64", `{server: "https://127.0.0.1:1"}`, `{server: "https://127.0.0.1:1", certificate-authority-data: "-----BEGIN"}`,
			`certificate-authority-data of cluster "east" is not base64`},
		{"no YAML", "kind: Config", "kind: {", `it is not YAML: line 3: did not find expected ',' or '}'`},
		{"a map for a list", "users:\n- {name: ann, user: {token: secret}}", "users: {ann: {token: secret}}", `its users are not a list`},
	} {
		path := lab(t, tt.old, tt.new)
		want := fmt.Sprintf("read the kubeconfig for the host: %q: %s", path, tt.want)
		if _, err := (&HostFlags{Kubeconfig: path}).Host(); textOf(err) != want {
			t.Errorf("%s: %s\nwant: %s", tt.name, textOf(err), want)
		}
		want = fmt.Sprintf("read the kubeconfig for members: %q: %s", path, tt.want)
		if _, err := (&MemberFlags{Kubeconfig: path}).Contexts(&HostFlags{Kubeconfig: lab(t)}); textOf(err) != want {
			t.Errorf("%s: %s\nwant: %s", tt.name, textOf(err), want)
		}
	}
}
