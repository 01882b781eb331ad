package install

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
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
	Resource:  cluster.Resource{GroupVersionResource: appsv1.SchemeGroupVersion.WithResource("deployments"), Kind: "Deployment"},
	Namespace: v1alpha1.HostNamespace, Name: manifests.ManagerDeployment,
}

// Installed reads what an administrator has chosen of an installation, so that it can be installed again: all of Options but Calls.
// What is not installed leaves zero values.
func Installed(ctx context.Context, h *host.Cluster) (manifests.Options, error) {
	configuration, err := h.Find(ctx, Configuration)
	if err != nil {
		return manifests.Options{}, err
	}
	deployment, err := h.Find(ctx, managerDeployment)
	if err != nil {
		return manifests.Options{}, err
	}
	return OptionsOf(configuration, deployment)
}

// OptionsOf are the options of what a host has; nil stands for an object that does not exist. Version is that of the Deployment,
// which is applied together with its image. Resources are nil unless another client than init has set some, so that an upgrade
// brings its own.
func OptionsOf(configuration, deployment *unstructured.Unstructured) (manifests.Options, error) {
	var o manifests.Options
	if configuration != nil {
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
	}
	if deployment == nil {
		return o, nil
	}
	var d appsv1.Deployment
	if err := cluster.FromUnstructured(deployment, &d); err != nil {
		return o, fmt.Errorf("host: %s: %w", managerDeployment, err)
	}
	o.Version = d.Labels[manifests.LabelVersion]
	if d.Spec.Replicas != nil {
		o.Replicas = *d.Spec.Replicas
	}
	containers := d.Spec.Template.Spec.Containers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == managerContainer })
	if i < 0 {
		return o, nil
	}
	o.Image = containers[i].Image
	if slices.ContainsFunc(d.ManagedFields, setsResources) {
		var err error
		if o.Resources, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&containers[i].Resources); err != nil {
			return o, err
		}
	}
	return o, nil
}

// managerContainer is the container of the manager in its pods.
const managerContainer = "manager"

// setsResources says whether an entry of managed fields is of another client than init, and holds resources of the manager.
func setsResources(entry metav1.ManagedFieldsEntry) bool {
	if entry.Manager == v1alpha1.FieldOwner || entry.FieldsV1 == nil {
		return false
	}
	var fields map[string]any
	if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
		return false
	}
	_, sets, _ := unstructured.NestedFieldNoCopy(fields, "f:spec", "f:template", "f:spec", "f:containers", `k:{"name":"`+managerContainer+`"}`, "f:resources")
	return sets
}
