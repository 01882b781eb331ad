package serving

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/kubefederate/kubectl-federate/pkg/keys"
)

const service = "kubefederate-webhook.kubefederate-system.svc"

func write(t *testing.T, dir string, k *keys.Keys) {
	t.Helper()
	data, err := k.Data()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range data {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeysAreReadAgain holds that a folder which is replaced, half replaced or broken never leaves a replica without a certificate that
// verifies, and that a certificate is renewed without a change of the folder.
func TestKeysAreReadAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var made [2]*keys.Keys
	for i := range made {
		var err error
		if made[i], err = keys.New([]string{service}, now); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if _, err := FromKeys(dir, logr.Discard()); err == nil {
		t.Fatal("an empty folder is taken for keys")
	}
	write(t, dir, made[0])
	k, err := FromKeys(dir, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	serves := func(what string, from *keys.Keys, now time.Time, words ...string) *x509.Certificate {
		t.Helper()
		served, err := k.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(from.CA)
		if _, err := served.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: service, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, word := range words {
			if !k.Accepts(word) {
				t.Errorf("%s: a word is not accepted", what)
			}
		}
		if k.Accepts("") {
			t.Errorf("%s: a path without a word is accepted", what)
		}
		return served.Leaf
	}
	first := serves("at first", made[0], now, made[0].Word)
	if err := k.reload(now); err != nil || serves("read again", made[0], now) != first {
		t.Errorf("a certificate is issued for nothing: %v", err)
	}
	later := now.Add(80 * 24 * time.Hour)
	if err := k.reload(later); err != nil || serves("later", made[0], later) == first {
		t.Errorf("it is not renewed: %v", err)
	}

	for name, fault := range map[string]func() error{
		"read the keys: ca.key is not the key of ca.crt": func() error {
			return os.WriteFile(filepath.Join(dir, keys.FileCA), files(t, made[1])[keys.FileCA], 0o600)
		},
		"read the keys: open " + filepath.Join(dir, keys.FileCAKey) + ": no such file or directory": func() error { return os.Remove(filepath.Join(dir, keys.FileCAKey)) },
	} {
		write(t, dir, made[0])
		if err := fault(); err != nil {
			t.Fatal(err)
		}
		if err := k.reload(later); fmt.Sprint(err) != name {
			t.Errorf("got %v, want %s", err, name)
		}
		serves(name, made[0], later, made[0].Word)
	}

	made[1].OldWord = &made[0].Word
	write(t, dir, made[1])
	if err := k.reload(later); err != nil {
		t.Fatal(err)
	}
	serves("replaced", made[1], later, made[0].Word, made[1].Word)
}

func files(t *testing.T, k *keys.Keys) map[string][]byte {
	t.Helper()
	data, err := k.Data()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
