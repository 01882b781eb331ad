package manifests

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Files are read in the order of their paths, which is the order to install them in.
var (
	//go:embed crd/*.yaml install/*.yaml
	files embed.FS
	//go:embed cert-manager/*.yaml
	certManagerFiles embed.FS
	//go:embed discovery/*.yaml
	discoveryFiles embed.FS
)

// Names of installed objects.
const (
	// WebhookConfiguration is the ValidatingWebhookConfiguration.
	WebhookConfiguration = "kubefederate.io"
	// MetricsAccount is the ServiceAccount in kubefederate-system whose tokens may read metrics, for a support bundle.
	MetricsAccount = "kubefederate-metrics"
	// MetricsHeader has the token of a request for metrics that comes through an API server, which passes on no Authorization.
	MetricsHeader = "X-Kubefederate-Authorization"
	// MetricsAudience is the audience of that token, which opens nothing else.
	MetricsAudience = "kubefederate-metrics"
	// ManagerAccount is the ServiceAccount in kubefederate-system that the manager runs as. A manager outside
	// the cluster takes a token of it.
	ManagerAccount = "kubefederate-manager"
	// ManagerDeployment in kubefederate-system runs the manager.
	ManagerDeployment = "kubefederate-manager"
	// DiscoveryDeployment in kubefederate-system runs the discovery controller.
	DiscoveryDeployment = "kubefederate-discovery"
	// DiscoveryLease in kubefederate-system names the replica of the discovery controller that works.
	DiscoveryLease = "kubefederate-discovery"
	// DiscoveryMemory is the ConfigMap in kubefederate-system of what the discovery controller has seen as members.
	DiscoveryMemory = "kubefederate-discovery"
	// KeysSecret in kubefederate-system holds the webhook's CA and the word that its path ends in. It is no part of Objects:
	// what init prints holds no keys.
	KeysSecret = "kubefederate-keys"
	// FormerKeysSecret is that of releases in which the manager made the CA.
	FormerKeysSecret = "kubefederate-webhook-tls"
	// ManagerLease in kubefederate-system names the replica that runs the controllers.
	ManagerLease = "kubefederate-manager"
	// ProbesLease in kubefederate-system says until when members have been looked at.
	ProbesLease = "kubefederate-probes"
	// Journal is the ConfigMap in kubefederate-system of writes that the webhook admitted and not every replica has seen.
	Journal = "kubefederate-journal"
)

// Labels of every installed object.
const (
	LabelName    = "app.kubernetes.io/name"
	LabelPartOf  = "app.kubernetes.io/part-of"
	LabelVersion = "app.kubernetes.io/version"
	// Name is the value of LabelName and LabelPartOf.
	Name = "kubefederate"
)

// AnnotationWebhookURL is the Options.WebhookURL of an install, on the Namespace kubefederate-system: when the webhook configuration
// was deleted, nothing else says where the manager serves.
const AnnotationWebhookURL = "kubefederate.io/webhook-url"

// Options are what differs between installs. The zero value gives the files as they are.
type Options struct {
	// Image of the manager. Empty means that of the file, which `make image` builds.
	Image string
	// Replicas of the manager. Zero means as in the file, two.
	Replicas int32
	// Resources of the manager's container. Nil means as in the file.
	Resources map[string]any
	// Discovery includes the discovery controller, its account and its rights. It runs the manager's image.
	Discovery bool
	// DiscoveryResources are those of its container. Nil means as in the file.
	DiscoveryResources map[string]any
	// WebhookURL is the https URL of a manager outside the cluster; the path of each webhook is appended to it. The objects
	// then include nothing that runs or serves pods, but still the accounts and their rights.
	WebhookURL string
	// Calls are how API servers call the webhook. Nil leaves out the CA and the path, as manifests for GitOps do: nothing that
	// applies such a manifest again takes away what init wrote.
	Calls *Calls
	// Certificates says who issues the webhook's certificate. Empty means the manager.
	Certificates Certificates
	// Version of the release, for the label app.kubernetes.io/version. Empty means that of the files.
	Version string
}

// labelsOf are the labels of an object that a version installs.
func labelsOf(version string) map[string]string {
	labels := map[string]string{LabelName: Name, LabelPartOf: Name}
	if version != "" {
		// Build metadata (+…) is not allowed in values of labels.
		labels[LabelVersion] = strings.ReplaceAll(version, "+", "_")
	}
	return labels
}

// NewProbesLease is the Lease as Objects has it. Where a tool does not install it, the manager makes it: Argo CD leaves out Leases.
func NewProbesLease(version string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1alpha1.HostNamespace, Name: ProbesLease, Labels: labelsOf(version),
	}}
}

// Objects gives everything to install, in order.
func Objects(o Options) ([]*unstructured.Unstructured, error) {
	base, err := webhookBase(o.WebhookURL)
	if err != nil {
		return nil, err
	}
	if o.Certificates == CertificatesCertManager && o.Calls == nil {
		o.Calls = &Calls{}
	}
	if err := o.Certificates.check(o); err != nil {
		return nil, err
	}
	objects, err := read(files)
	if err != nil {
		return nil, err
	}
	if o.Certificates == CertificatesCertManager {
		more, err := read(certManagerFiles)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	if o.Discovery {
		more, err := read(discoveryFiles)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	if base != "" {
		objects = slices.DeleteFunc(objects, inCluster)
	}
	for _, object := range objects {
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, labelsOf(o.Version))
		object.SetLabels(labels)

		switch object.GetKind() {
		case "Namespace":
			if base != "" && object.GetName() == v1alpha1.HostNamespace {
				object.SetAnnotations(map[string]string{AnnotationWebhookURL: o.WebhookURL})
			}
		case "Deployment":
			err = o.deployment(object)
		case "ValidatingWebhookConfiguration":
			err = o.webhooks(object, base)
		}
		if err == nil && o.Certificates == CertificatesCertManager {
			err = byCertManager(object)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return objects, nil
}

// inCluster says whether an object is only for what runs in pods.
func inCluster(o *unstructured.Unstructured) bool {
	return slices.Contains([]string{"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}, o.GetKind())
}

func webhookBase(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if len(endpoint.ValidateServer(nil, s)) > 0 {
		return "", fmt.Errorf("webhook URL %q: it must be an https URL with a host, without user, query or fragment", s)
	}
	return strings.TrimRight(s, "/"), nil
}

func (o Options) deployment(object *unstructured.Unstructured) error {
	resources := o.Resources
	if object.GetName() == DiscoveryDeployment {
		resources = o.DiscoveryResources
	} else if o.Replicas != 0 {
		if err := unstructured.SetNestedField(object.Object, int64(o.Replicas), "spec", "replicas"); err != nil {
			return err
		}
	}
	return each(object, func(container map[string]any) error {
		if o.Image != "" {
			container["image"] = o.Image
		}
		if resources == nil {
			return nil
		}
		container["resources"] = resources
		return limitMemory(container, resources)
	}, "spec", "template", "spec", "containers")
}

// limitMemory has Go collect garbage before the container is ended: GOMEMLIMIT is nine tenths of the limit, and is left out where
// there is none.
func limitMemory(container, resources map[string]any) error {
	const name = "GOMEMLIMIT"
	env, _, err := unstructured.NestedSlice(container, "env")
	if err != nil {
		return err
	}
	env = slices.DeleteFunc(env, func(v any) bool { return v.(map[string]any)["name"] == name })
	if limit, limited, _ := unstructured.NestedFieldNoCopy(resources, "limits", "memory"); limited {
		quantity, err := resource.ParseQuantity(fmt.Sprint(limit))
		if err != nil {
			return fmt.Errorf("limits.memory: %w", err)
		}
		env = append(env, map[string]any{"name": name, "value": fmt.Sprintf("%dMiB", quantity.Value()/10*9>>20)})
	}
	return unstructured.SetNestedSlice(container, env, "env")
}

func (o Options) webhooks(object *unstructured.Unstructured, base string) error {
	return each(object, func(webhook map[string]any) error {
		path, err := pathOf(webhook)
		if err != nil {
			return err
		}
		client := webhook["clientConfig"].(map[string]any)
		if base != "" {
			client = map[string]any{"url": base + path}
		}
		if o.Calls != nil {
			o.Calls.into(client, base, path)
		}
		webhook["clientConfig"] = client
		return nil
	}, "webhooks")
}

// each calls change with every map of a list.
func each(object *unstructured.Unstructured, change func(map[string]any) error, fields ...string) error {
	list, _, err := unstructured.NestedSlice(object.Object, fields...)
	if err != nil {
		return err
	}
	for _, item := range list {
		if err := change(item.(map[string]any)); err != nil {
			return err
		}
	}
	return unstructured.SetNestedSlice(object.Object, list, fields...)
}

// read parses files.
func read(files fs.FS) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			object := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if len(object.Object) > 0 {
				objects = append(objects, object)
			}
		}
	})
	return objects, err
}
