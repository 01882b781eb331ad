package monitoring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// service is what a ServiceMonitor depends on of the objects in manifests/install.
type service struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	} `json:"metadata"`
	Spec struct {
		Ports []struct {
			Name string `json:"name"`
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

// TestServiceMonitor holds that the ServiceMonitor finds one Service, the port of its metrics, and the CA of its certificate.
func TestServiceMonitor(t *testing.T) {
	t.Parallel()
	var monitor struct {
		Metadata struct{ Namespace string } `json:"metadata"`
		Spec     struct {
			Selector  struct{ MatchLabels map[string]string } `json:"selector"`
			Endpoints []struct {
				Port, Scheme, BearerTokenFile string
				TLSConfig                     struct {
					ServerName string
					CA         struct{ Secret struct{ Name, Key string } }
				} `json:"tlsConfig"`
			} `json:"endpoints"`
		} `json:"spec"`
	}
	read(t, "servicemonitor.yaml", &monitor)
	text, err := os.ReadFile(filepath.Join(folder, "..", "install", "5-manager.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found, mounted := map[string]bool{}, map[string]bool{}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var o service
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		for _, v := range o.Spec.Template.Spec.Volumes {
			mounted[v.Secret.SecretName] = true
		}
		selected := o.Kind == "Service" && o.Metadata.Namespace == monitor.Metadata.Namespace
		for key, value := range monitor.Spec.Selector.MatchLabels {
			selected = selected && o.Metadata.Labels[key] == value
		}
		if !selected {
			continue
		}
		for _, port := range o.Spec.Ports {
			found[o.Metadata.Name+"."+o.Metadata.Namespace+".svc "+port.Name] = true
		}
	}
	if len(monitor.Spec.Endpoints) != 1 {
		t.Fatalf("%d endpoints", len(monitor.Spec.Endpoints))
	}
	e := monitor.Spec.Endpoints[0]
	if !found[e.TLSConfig.ServerName+" "+e.Port] {
		t.Errorf("it scrapes port %q of %q; the Services that it selects have %v", e.Port, e.TLSConfig.ServerName, found)
	}
	if ca := e.TLSConfig.CA.Secret; !mounted[ca.Name] || ca.Key != "ca.crt" {
		t.Errorf("it takes the CA from key %q of Secret %q; pods mount %v", ca.Key, ca.Name, mounted)
	}
	if e.Scheme != "https" || e.BearerTokenFile == "" {
		t.Errorf("scheme %q, token in %q: metrics are served over TLS, to authorized clients", e.Scheme, e.BearerTokenFile)
	}
}
