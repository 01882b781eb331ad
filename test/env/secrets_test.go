package env

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestSecrets holds that a secret is found as it is, encoded, and where it is a part of what was added.
func TestSecrets(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n", 3)
	file := "-----BEGIN PRIVATE KEY-----\n" + key + "-----END PRIVATE KEY-----\n"
	s := Secrets{}
	s.Add("password", []byte("a-long-password\n"))
	s.Add("short", []byte("abc"))
	s.Add("kubeconfig", []byte("token: eyJhbGciOiJSUzI1.eyJzdWIiOiJhYmMi.c2lnbmF0dXJlMTIz\nclient-key-data: "+base64.StdEncoding.EncodeToString([]byte(file))))
	for text, want := range map[string]string{
		"x a-long-password y": "password", base64.StdEncoding.EncodeToString([]byte("a-long-password")): "password", "abc": "", "": "",
		`"eyJhbGciOiJSUzI1.eyJzdWIiOiJhYmMi.c2lnbmF0dXJlMTIz"`: "kubeconfig", "c2lnbmF0dXJlMTIz": "kubeconfig",
		strings.Split(key, "\n")[1]: "kubeconfig, decoded",
	} {
		if got := strings.Join(s.In(text), " "); got != want {
			t.Errorf("%s: found %q, want %q", text, got, want)
		}
	}
}
