package monitoring

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// service is what a ServiceMonitor depends on of the objects in manifests/install and manifests/discovery.
type service struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	} `json:"metadata"`
	Spec struct {
		Ports []struct {
			Name       string `json:"name"`
			TargetPort any    `json:"targetPort"`
		} `json:"ports"`
		Template struct {
			Spec struct {
				Volumes []struct {
					Secret struct {
						SecretName string `json:"secretName"`
					} `json:"secret"`
				} `json:"volumes"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// monitor is a ServiceMonitor.
type monitor struct {
	Metadata struct{ Name, Namespace string } `json:"metadata"`
	Spec     struct {
		Selector  struct{ MatchLabels map[string]string } `json:"selector"`
		Endpoints []struct {
			Port, Scheme, BearerTokenFile string
			TLSConfig                     struct {
				ServerName         string
				InsecureSkipVerify bool
				CA                 struct{ Secret struct{ Name, Key string } }
			} `json:"tlsConfig"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// documents decodes each document of a file of manifests.
func documents[T any](t *testing.T, path ...string) (all []T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{folder}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var o T
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// TestServiceMonitor holds that each ServiceMonitor finds the port of one Service's metrics, and the CA of its certificate where there is one.
func TestServiceMonitor(t *testing.T) {
	t.Parallel()
	objects := append(documents[service](t, "..", "install", "5-manager.yaml"), documents[service](t, "..", "discovery", "discovery.yaml")...)
	mounted := map[string]bool{}
	for i := range objects {
		for _, v := range objects[i].Spec.Template.Spec.Volumes {
			mounted[v.Secret.SecretName] = true
		}
	}
	monitors := documents[monitor](t, "servicemonitor.yaml")
	for i, want := range []string{"kubefederate-webhook", "kubefederate-discovery"} {
		m := &monitors[i]
		if len(m.Spec.Endpoints) != 1 {
			t.Fatalf("%s: %d endpoints", m.Metadata.Name, len(m.Spec.Endpoints))
		}
		e := m.Spec.Endpoints[0]
		var found []string
		for _, o := range objects {
			selected := o.Kind == "Service" && o.Metadata.Namespace == m.Metadata.Namespace
			for key, value := range m.Spec.Selector.MatchLabels {
				selected = selected && o.Metadata.Labels[key] == value
			}
			for _, port := range o.Spec.Ports {
				if selected && port.Name == e.Port {
					found = append(found, o.Metadata.Name)
				}
				if selected && port.Name == e.Port && port.TargetPort != "metrics" {
					t.Errorf("%s: port %s leads to %v", m.Metadata.Name, port.Name, port.TargetPort)
				}
			}
		}
		if !slices.Equal(found, []string{want}) {
			t.Errorf("%s scrapes %v, want %s", m.Metadata.Name, found, want)
		}
		if e.Scheme != "https" || e.BearerTokenFile == "" {
			t.Errorf("%s: scheme %q, token in %q: metrics are served over TLS, to authorized clients", m.Metadata.Name, e.Scheme, e.BearerTokenFile)
		}
		if e.TLSConfig.InsecureSkipVerify {
			continue // it makes a certificate for itself
		}
		if name := want + "." + m.Metadata.Namespace + ".svc"; e.TLSConfig.ServerName != name {
			t.Errorf("%s: the certificate is for %s, not %s", m.Metadata.Name, name, e.TLSConfig.ServerName)
		}
		if ca := e.TLSConfig.CA.Secret; !mounted[ca.Name] || ca.Key != "ca.crt" {
			t.Errorf("%s takes the CA from key %q of Secret %q; pods mount %v", m.Metadata.Name, ca.Key, ca.Name, mounted)
		}
	}
	if len(monitors) != 2 || !monitors[1].Spec.Endpoints[0].TLSConfig.InsecureSkipVerify || monitors[0].Spec.Endpoints[0].TLSConfig.InsecureSkipVerify {
		t.Error("the certificate of the manager, and no other, is verified")
	}
}
