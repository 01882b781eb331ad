package install

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

var managerDeployment = cluster.Ref{
	Resource: cluster.Deployments, Namespace: v1alpha1.HostNamespace, Name: manifests.ManagerDeployment,
}

var discoveryDeployment = host.DiscoveryDeploymentRef()

// discoveryAccount is installed with the discovery controller, wherever that runs.
var discoveryAccount = cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.HostNamespace, Name: v1alpha1.DiscoveryAccount}

// Parts are the objects of a host from which its options are read; nil stands for one that does not exist.
type Parts struct{ Namespace, Configuration, Manager, DiscoveryAccount, Discovery *unstructured.Unstructured }

// Installed reads what an administrator has chosen of an installation, so that it can be installed again: all of Options but Calls.
// What is not installed leaves zero values.
func Installed(ctx context.Context, h *host.Cluster) (manifests.Options, error) {
	var p Parts
	for ref, part := range map[cluster.Ref]**unstructured.Unstructured{
		Namespace(v1alpha1.HostNamespace): &p.Namespace, Configuration: &p.Configuration, managerDeployment: &p.Manager,
		discoveryAccount: &p.DiscoveryAccount, discoveryDeployment: &p.Discovery,
	} {
		var err error
		if *part, err = h.Find(ctx, ref); err != nil {
			return manifests.Options{}, err
		}
	}
	return OptionsOf(p)
}

// OptionsOf are the options of what a host has. Version is that of the manager's Deployment, which is applied together with its
// image. Resources are nil unless another client than init has set some, so that an upgrade brings its own.
func OptionsOf(p Parts) (manifests.Options, error) {
	o := manifests.Options{Discovery: p.DiscoveryAccount != nil}
	if configuration := p.Configuration; configuration != nil {
		calls, err := manifests.CallsOf(configuration)
		if err != nil {
			return o, fmt.Errorf("host: %s: %w", Configuration, err)
		}
		if len(calls) > 0 {
			o.WebhookURL = calls[0].URL
		}
		o.Certificates = manifests.CertificatesManager
		if manifests.CertManagerInjects(configuration) {
			o.Certificates = manifests.CertificatesCertManager
		}
	} else if p.Namespace != nil {
		o.WebhookURL = p.Namespace.GetAnnotations()[manifests.AnnotationWebhookURL]
	}
	discovery, err := deploymentOf(p.Discovery)
	if err != nil {
		return o, fmt.Errorf("host: %s: %w", discoveryDeployment, err)
	}
	if o.DiscoveryResources, err = chosenResources(discovery, discoveryContainer); err != nil {
		return o, err
	}
	d, err := deploymentOf(p.Manager)
	if err != nil {
		return o, fmt.Errorf("host: %s: %w", managerDeployment, err)
	}
	if p.Configuration == nil && slices.ContainsFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Secret != nil && v.Secret.SecretName == manifests.CertManagerSecret
	}) {
		o.Certificates = manifests.CertificatesCertManager
	}
	o.Version = d.Labels[manifests.LabelVersion]
	if d.Spec.Replicas != nil {
		o.Replicas = *d.Spec.Replicas
	}
	if container := containerOf(d, managerContainer); container != nil {
		o.Image = container.Image
	}
	o.Resources, err = chosenResources(d, managerContainer)
	return o, err
}

// deployment is what is read of one. Package apps/v1 would be a hundredth of the plugin.
type deployment struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Replicas *int32                 `json:"replicas"`
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

// deploymentOf is an empty one where there is none.
func deploymentOf(o *unstructured.Unstructured) (*deployment, error) {
	var d deployment
	if o == nil {
		return &d, nil
	}
	return &d, cluster.FromUnstructured(o, &d)
}

func containerOf(d *deployment, name string) *corev1.Container {
	containers := d.Spec.Template.Spec.Containers
	if i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == name }); i >= 0 {
		return &containers[i]
	}
	return nil
}

// chosenResources are those of a container that another client than init has set some of; otherwise nil.
func chosenResources(d *deployment, container string) (map[string]any, error) {
	c := containerOf(d, container)
	if c == nil || !slices.ContainsFunc(d.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool { return setsResources(entry, container) }) {
		return nil, nil
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(&c.Resources)
}

// managerContainer and discoveryContainer are the containers in the pods of the manager and of the discovery controller.
const managerContainer, discoveryContainer = "manager", "discovery"

// setsResources says whether an entry of managed fields is of another client than init, and holds resources of a container.
func setsResources(entry metav1.ManagedFieldsEntry, container string) bool {
	if entry.Manager == v1alpha1.FieldOwner || entry.FieldsV1 == nil {
		return false
	}
	var fields map[string]any
	if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
		return false
	}
	_, sets, _ := unstructured.NestedFieldNoCopy(fields, "f:spec", "f:template", "f:spec", "f:containers", `k:{"name":"`+container+`"}`, "f:resources")
	return sets
}
