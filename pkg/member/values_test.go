package member

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

func TestKnownVersion(t *testing.T) {
	t.Parallel()
	for version, known := range map[string]bool{
		"v1.36.3": true, "v1.30.5-gke.1014001": true, "v1.31.2+k3s1": true, "v1.27.3-eks-a5565ad": true, "v1.29.5+29c95f3": true,
		"1.24": true, "v1.28.9+rke2r1": true, "v1.33.0-alpha.1.1+a~b": true, "v1." + strings.Repeat("1", maxVersion-3): true,
		"": false, "v1": false, "1.36.3\n": false, "v1.36.3\x20": false, "v1.36.3\x1b[31m": false, "v1.36.3\u202e": false, "<html>": false,
		"v0.0.0-master+$Format:%H$": false, "v1." + strings.Repeat("1", maxVersion-2): false,
	} {
		if got := KnownVersion(version); got != version && known || got != "" && !known {
			t.Errorf("of %q %q is known", version, got)
		}
	}
	// The host refuses any other.
	crd, err := os.ReadFile("../../manifests/crd/kubefederate.io_memberclusters.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(versions.String(), "^"), "$")
	if rule := regexp.QuoteMeta(`self.matches('^(` + strings.ReplaceAll(inner, `\`, `\\`) + `)?$')`); len(regexp.MustCompile(rule).FindAll(crd, -1)) != 2 {
		t.Errorf("the CustomResourceDefinition does not have %s twice", rule)
	}
}

func TestParseQuantity(t *testing.T) {
	t.Parallel()
	for text, known := range map[string]bool{
		"4": true, "16393244Ki": true, "500m": true, "110": true, "1.5Gi": true, "999999999999999999Ei": true, "2k": true, "3M": true,
		"": false, "-5": false, "many": false, "1e3": false, "1E3": false, "1e-2147483647": false, "1e16000000": false, "0x10": false, "5u": false, "5n": false,
		strings.Repeat("9", 19): false, "1." + strings.Repeat("0", 10): false, strings.Repeat("9", 3_000_000): false, "\x204": false, "4\n": false,
	} {
		began := time.Now()
		got, ok := ParseQuantity(text)
		if ok != known || ok && got.Cmp(resource.MustParse(text)) != 0 {
			t.Errorf("%.40q is %s, %v", text, got.String(), ok)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%.40q took %s", text, took)
		}
	}
}

// FuzzValues holds that what is taken from a cluster is bounded, printable, and parsed at once.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"v1.36.3", "4", "16393244Ki", "1e-2147483647", "\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v := KnownVersion(text); len(v) > maxVersion || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("version %q", v)
		}
		if q, ok := ParseQuantity(text); ok && len(q.String()) > 2*maxQuantity {
			t.Errorf("quantity %q", q.String())
		}
	})
}
