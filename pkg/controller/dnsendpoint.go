package controller

import (
	"encoding/json"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/services/records"
)

// dnsEndpoints is the kind in which external-dns reads records. Its module needs a newer Go than this one, and no more is used of it
// than is here.
var dnsEndpoints = schema.GroupVersionKind{Group: "externaldns.k8s.io", Version: "v1alpha1", Kind: "DNSEndpoint"}

const dnsEndpointResource = "dnsendpoints"

// maxExporters is how long the annotation is that says which members exported a service, in bytes. A longer one is not written, and
// then is not remembered when the manager starts anew.
const maxExporters = 128 << 10

// dnsEndpointName is the name of a service's object. No part of it has a dot, so that two services never share one.
func dnsEndpointName(federation v1alpha1.FederationName, s records.Service) string {
	return string(federation) + "." + s.Namespace + "." + s.Name
}

// dnsLabels are on each object that the manager makes for a federation. Others are not touched.
func dnsLabels(federation v1alpha1.FederationName) map[string]string {
	return map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagerFieldOwner, v1alpha1.LabelFederation: string(federation)}
}

// exporterMap is what each member exported of one service when it was read last, by the UID of its MemberCluster.
type exporterMap map[types.UID]records.Exported

// text is what an annotation says of them. Keys of a map are sorted there.
func (e exporterMap) text() string {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // texts
	}
	if len(data) > maxExporters {
		return ""
	}
	return string(data)
}

// dnsEndpoint is the object of a service. It goes with its Federation.
func dnsEndpoint(f *v1alpha1.Federation, s records.Service, endpoints []records.Endpoint, exporters exporterMap) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(dnsEndpoints)
	o.SetNamespace(f.Spec.Services.DNS.Namespace)
	o.SetName(dnsEndpointName(v1alpha1.FederationName(f.Name), s))
	o.SetLabels(dnsLabels(v1alpha1.FederationName(f.Name)))
	o.SetAnnotations(map[string]string{v1alpha1.AnnotationExporters: exporters.text()})
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Federation", Name: f.Name, UID: f.UID}})
	list := make([]any, len(endpoints))
	for i, e := range endpoints {
		targets := make([]any, len(e.Targets))
		for j, target := range e.Targets {
			targets[j] = target
		}
		list[i] = map[string]any{"dnsName": e.Name, "recordType": e.Type, "recordTTL": e.TTL, "targets": targets}
	}
	o.Object["spec"] = map[string]any{"endpoints": list}
	return o
}

// written is an object that the manager wrote, as far as it is compared and remembered.
type written struct {
	metav1.ObjectMeta
	endpoints []records.Endpoint
	exporters exporterMap
}

// readDNSEndpoint reads an object. What has another type than it should is left out.
func readDNSEndpoint(o *unstructured.Unstructured) *written {
	w := &written{exporters: exporterMap{}}
	w.Name, w.UID = o.GetName(), o.GetUID()
	w.Labels = map[string]string{}
	for key := range dnsLabels("") {
		w.Labels[key] = o.GetLabels()[key]
	}
	w.Annotations = map[string]string{v1alpha1.AnnotationExporters: o.GetAnnotations()[v1alpha1.AnnotationExporters]}
	w.OwnerReferences = o.GetOwnerReferences()
	_ = json.Unmarshal([]byte(w.Annotations[v1alpha1.AnnotationExporters]), &w.exporters)
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", "endpoints")
	for _, item := range list {
		item, _ := item.(map[string]any)
		var e records.Endpoint
		e.Name, _, _ = unstructured.NestedString(item, "dnsName")
		e.Type, _, _ = unstructured.NestedString(item, "recordType")
		e.TTL, _, _ = unstructured.NestedInt64(item, "recordTTL")
		e.Targets, _, _ = unstructured.NestedStringSlice(item, "targets")
		w.endpoints = append(w.endpoints, e)
	}
	return w
}

// same says whether nothing is to be written.
func (w *written) same(want *unstructured.Unstructured) bool {
	other := readDNSEndpoint(want)
	return maps.Equal(w.Labels, other.Labels) && maps.Equal(w.Annotations, other.Annotations) &&
		slices.ContainsFunc(w.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == other.OwnerReferences[0].UID }) &&
		equality.Semantic.DeepEqual(w.endpoints, other.endpoints)
}
