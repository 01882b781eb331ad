package install

import (
	"crypto/x509"
	"encoding/base64"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/keys"
)

func newKeys(t *testing.T, url string) *keys.Keys {
	t.Helper()
	k, err := keys.New(manifests.ServerNames(url), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func secretOf(t *testing.T, k *keys.Keys) *unstructured.Unstructured {
	t.Helper()
	data, err := k.Data()
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]any{}
	for name, value := range data {
		content[name] = base64.StdEncoding.EncodeToString(value)
	}
	o := KeysObject()
	o.SetResourceVersion("1")
	o.Object["data"] = content
	return o
}

func configurationOf(t *testing.T, o manifests.Options) *unstructured.Unstructured {
	t.Helper()
	objects, err := manifests.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetName() == manifests.WebhookConfiguration {
			return object
		}
	}
	t.Fatal("no configuration")
	return nil
}

// TestKeyStates judges every state that a change of keys, an upgrade or GitOps can leave, and what API servers are to call then.
func TestKeyStates(t *testing.T) {
	t.Parallel()
	k, before := newKeys(t, ""), newKeys(t, "")
	changed := func(old string) *unstructured.Unstructured {
		c := *k
		c.OldWord = &old
		return secretOf(t, &c)
	}
	bundle := func(all ...*keys.Keys) (pem []byte) {
		for _, k := range all {
			pem = append(pem, endpoint.EncodeCertificates([]*x509.Certificate{k.CA})...)
		}
		return pem
	}
	calls := func(word string, all ...*keys.Keys) *unstructured.Unstructured {
		return configurationOf(t, manifests.Options{Calls: &manifests.Calls{Word: word, CABundle: bundle(all...)}})
	}
	broken := secretOf(t, k)
	unstructured.RemoveNestedField(broken.Object, "data", keys.FileCAKey)
	garbled := calls(k.Word, k)
	webhooks, _, _ := unstructured.NestedSlice(garbled.Object, "webhooks")
	webhooks[1].(map[string]any)["clientConfig"].(map[string]any)["caBundle"] = base64.StdEncoding.EncodeToString([]byte("x"))
	_ = unstructured.SetNestedSlice(garbled.Object, webhooks, "webhooks")

	for name, test := range map[string]struct {
		secret, configuration *unstructured.Unstructured
		want                  KeyFault
		serves                bool
	}{
		"nothing is installed":               {nil, nil, KeysMissing, false},
		"keys before GitOps":                 {secretOf(t, k), nil, "", false},
		"GitOps, no keys":                    {nil, configurationOf(t, manifests.Options{}), KeysMissing, false},
		"GitOps, then keys":                  {secretOf(t, k), configurationOf(t, manifests.Options{}), KeysDiffer, false},
		"in line":                            {secretOf(t, k), calls(k.Word, k), "", true},
		"the Secret was deleted":             {nil, calls(k.Word, k), KeysMissing, true},
		"the Secret is broken":               {broken, calls(k.Word, k), KeysMissing, true},
		"a former release":                   {nil, calls("", before), KeysMissing, true},
		"another CA":                         {secretOf(t, k), calls(k.Word, before), KeysDiffer, true},
		"another word":                       {secretOf(t, k), calls(before.Word, k), KeysDiffer, true},
		"no word":                            {secretOf(t, k), calls("", k), KeysDiffer, true},
		"no CA":                              {secretOf(t, k), calls(k.Word), KeysDiffer, false},
		"one webhook with garbage as CA":     {secretOf(t, k), garbled, KeysDiffer, true},
		"the new CA was announced":           {secretOf(t, before), calls(before.Word, before, k), KeysChanging, true},
		"the Secret was changed":             {changed(before.Word), calls(before.Word, before, k), KeysChanging, true},
		"and the configuration":              {changed(before.Word), calls(k.Word, k), KeysChanging, true},
		"of a former release":                {changed(""), calls("", before, k), KeysChanging, true},
		"changed, and the CA was taken away": {changed(before.Word), calls(before.Word, before), KeysDiffer, true},
		"cert-manager":                       {nil, configurationOf(t, manifests.Options{Certificates: manifests.CertificatesCertManager}), "", false},
	} {
		s, err := KeyStateOf(test.configuration, test.secret)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Judge(); got != test.want {
			t.Errorf("%s: judged %q", name, got)
		}
		if got := s.serves(""); got != test.serves || s.serves("https://elsewhere.example.com") {
			t.Errorf("%s: serves: %v", name, got)
		}
		// While a change goes on, API servers verify both, and call what both take.
		next := newKeys(t, "")
		next.OldWord = &s.word
		during := s.during(next)
		read, err := endpoint.ReadCertificates(during.CABundle)
		if err != nil || !read[len(read)-1].Equal(next.CA) {
			t.Errorf("%s: the new CA is not announced: %v", name, err)
		}
		if test.serves && (during.Word != s.word || s.verifies && !read[0].Equal(s.Keys.CA) && s.Keys.OldWord == nil) {
			t.Errorf("%s: the former manager is not called any more", name)
		}
	}
}
