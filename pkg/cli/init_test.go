package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// TestKeep settles what init installs, of what was typed, what is installed, and the release of the plugin.
func TestKeep(t *testing.T) { // not parallel: it sets the release
	const (
		none     = "this plugin was built outside a release, so it knows no image of the manager: name one with --image (make image builds it), or the URL of a manager that you run with --webhook-url"
		released = "registry.example.com:5000/a/manager@sha256:2"
		url      = "https://m.example.com"
	)
	before, image := version.Version, version.Image
	t.Cleanup(func() { version.Version, version.Image = before, image })
	version.Version = "v2.0.0"
	mem := map[string]any{"limits": map[string]any{"memory": "1Gi"}}

	for name, test := range map[string]struct {
		release   string
		typed     string
		installed manifests.Options
		// Replicas are 2 and Certificates "manager" where they are empty here.
		want    manifests.Options
		warning string
		err     string
	}{
		"new host":                         {released, "", manifests.Options{}, manifests.Options{Image: released}, "", ""},
		"new host, outside a release":      {"", "", manifests.Options{}, manifests.Options{}, "", none},
		"an image outside a release":       {"", "image", manifests.Options{}, manifests.Options{Image: "x"}, "", ""},
		"a URL outside a release":          {"", "webhook-url", manifests.Options{}, manifests.Options{WebhookURL: "https://x"}, "", ""},
		"another image than the release's": {released, "image", manifests.Options{Image: released, Version: "v2.0.0"}, manifests.Options{Image: "x"}, "", ""},
		"everything is kept": {"", "", manifests.Options{Image: "b", Replicas: 5, Certificates: "cert-manager", Version: "v2.0.0", Resources: mem},
			manifests.Options{Image: "b", Replicas: 5, Certificates: "cert-manager", Resources: mem}, "", ""},
		"everything is typed": {released, "image replicas certificates", manifests.Options{Image: "b", Replicas: 5, Certificates: "manager", Version: "v2.0.0"},
			manifests.Options{Image: "x", Replicas: 3, Certificates: "cert-manager"}, "", ""},
		"kept in the same release": {released, "", manifests.Options{Image: "registry.example.com:5000/a/manager:v2.0.0", Version: "v2.0.0"},
			manifests.Options{Image: "registry.example.com:5000/a/manager:v2.0.0"}, "", ""},
		"upgraded": {released, "", manifests.Options{Image: "registry.example.com:5000/a/manager@sha256:1", Version: "v1.0.0"}, manifests.Options{Image: released}, "", ""},
		"a mirror": {released, "", manifests.Options{Image: "mirror.example.com/manager@sha256:1", Version: "v1.0.0"}, manifests.Options{Image: "mirror.example.com/manager@sha256:1"},
			"warning: the manager keeps the image mirror.example.com/manager@sha256:1, which may not be of v2.0.0; --image names another", ""},
		"a mirror, outside a release": {"", "", manifests.Options{Image: "m:v1", Version: "v1.0.0"}, manifests.Options{Image: "m:v1"},
			"warning: the manager keeps the image m:v1, which may not be of v2.0.0; --image names another", ""},
		"a manager outside":                       {released, "", manifests.Options{WebhookURL: url, Certificates: "manager"}, manifests.Options{WebhookURL: url}, "", ""},
		"another URL":                             {"", "webhook-url", manifests.Options{WebhookURL: url}, manifests.Options{WebhookURL: "https://x"}, "", ""},
		"it moves inside":                         {released, "no-webhook-url", manifests.Options{WebhookURL: url}, manifests.Options{Image: released}, "", ""},
		"it moves outside":                        {"", "webhook-url", manifests.Options{Image: "b", Certificates: "cert-manager", Replicas: 5}, manifests.Options{WebhookURL: "https://x", Replicas: 5}, "", ""},
		"it moves inside, without release":        {"", "no-webhook-url", manifests.Options{WebhookURL: url}, manifests.Options{}, "", none},
		"an image for a manager outside":          {released, "image", manifests.Options{WebhookURL: url}, manifests.Options{}, "", "--image is for a manager in the cluster, and this host has one outside, at https://m.example.com; add --webhook-url= to run it in the cluster"},
		"replicas of a manager outside":           {released, "replicas", manifests.Options{WebhookURL: url}, manifests.Options{}, "", "--replicas is for a manager in the cluster, and this host has one outside, at https://m.example.com; add --webhook-url= to run it in the cluster"},
		"certificates for a manager outside":      {released, "certificates", manifests.Options{WebhookURL: url}, manifests.Options{}, "", "--certificates is for a manager in the cluster, and this host has one outside, at https://m.example.com; add --webhook-url= to run it in the cluster"},
		"certificates and image, it moves inside": {released, "no-webhook-url certificates image", manifests.Options{WebhookURL: url}, manifests.Options{Image: "x", Certificates: "cert-manager"}, "", ""},
		"discovery is typed":                      {released, "discovery", manifests.Options{}, manifests.Options{Image: released, Discovery: true}, "", ""},
		"discovery is kept": {released, "", manifests.Options{Image: "b", Version: "v2.0.0", Discovery: true, DiscoveryResources: mem},
			manifests.Options{Image: "b", Discovery: true, DiscoveryResources: mem}, "", ""},
		"discovery goes":             {released, "no-discovery", manifests.Options{Image: "b", Version: "v2.0.0", Discovery: true}, manifests.Options{Image: "b"}, "", ""},
		"discovery, manager outside": {"", "discovery", manifests.Options{WebhookURL: url}, manifests.Options{WebhookURL: url, Discovery: true}, "", ""},
		"scaled to nothing":          {released, "", manifests.Options{Image: "b", Version: "v2.0.0"}, manifests.Options{Image: "b"}, "", ""},
	} {
		version.Image = test.release
		f := &initFlags{factory: &factory{}, manifests: manifests.Options{Version: version.Version}}
		cmd := newInit(f.factory)
		var args []string
		for flag := range strings.FieldsSeq(test.typed) {
			args = append(args, map[string]string{"image": "--image=x", "replicas": "--replicas=3", "certificates": "--certificates=cert-manager",
				"webhook-url": "--webhook-url=https://x", "no-webhook-url": "--webhook-url=", "discovery": "--discovery", "no-discovery": "--discovery=false"}[flag])
		}
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		f.manifests.Image, f.manifests.WebhookURL = cmd.Flag("image").Value.String(), cmd.Flag("webhook-url").Value.String()
		f.manifests.Certificates = manifests.Certificates(cmd.Flag("certificates").Value.String())
		f.manifests.Replicas, _ = cmd.Flags().GetInt32("replicas")
		f.manifests.Discovery, _ = cmd.Flags().GetBool("discovery")
		o, err := f.toOptions(cmd, nil)
		if err != nil {
			t.Fatal(err)
		}
		warning, err := o.keep(test.installed)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if warning != test.warning || text != test.err {
			t.Errorf("%s: warning %q, error %q", name, warning, text)
		}
		if err != nil {
			continue
		}
		test.want.Version = version.Version
		if test.want.Replicas == 0 {
			test.want.Replicas = 2
		}
		if test.want.Certificates == "" {
			test.want.Certificates = manifests.CertificatesManager
		}
		if !reflect.DeepEqual(o.manifests, test.want) {
			t.Errorf("%s: got %+v\nwant %+v", name, o.manifests, test.want)
		}
	}
}

func TestRepository(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"manager": "manager", "a/manager:v1": "a/manager", "r.example.com:5000/manager": "r.example.com:5000/manager",
		"r.example.com:5000/manager:v1@sha256:1": "r.example.com:5000/manager", "a@sha256:1": "a",
	} {
		if got := repository(image); got != want {
			t.Errorf("%s: got %s", image, got)
		}
	}
}
