// Package inventory says how a member of a federation is published: as a ClusterProfile (KEP-4322) and, for those who read it, a
// Secret with a credential. It is pure: nothing here connects.
package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

const (
	// Manager is the name of this project among the managers of ClusterProfiles. Profiles of others are never touched.
	Manager = "kubefederate"
	// Provider is the name of the access provider for the plugin of that name: it reads a kubeconfig from a Secret.
	Provider = "kubeconfig-secretreader"

	conditionJoined = "Joined"
	// extension is what clients hand on to a credential plugin (client.authentication.k8s.io).
	extension = "client.authentication.k8s.io/exec"
	// maxValue is how long the value of a property may be, in bytes.
	maxValue = 1024
	// maxProvider is how long an access provider may be, in bytes of JSON: twice what the largest CA takes in base64.
	maxProvider = endpoint.MaxCABundle * 8 / 3
	// maxOwners is how many members of its name are read as owners of a profile.
	maxOwners = 8
)

// ownConditions are the conditions that a profile has from here.
var ownConditions = []string{clusterinventory.ClusterConditionControlPlaneHealthy, conditionJoined}

// ownProperties are the names of the properties that a profile may have from here. Others on it are left alone.
var ownProperties = []string{
	v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet,
	v1alpha1.Prefix + "kubernetes-version", v1alpha1.Prefix + "nodes", v1alpha1.Prefix + "regions", v1alpha1.Prefix + "zones",
}

// Publishable says whether a member is to be published: it is accepted, and was found to keep the rules when it was first seen.
// One that is suspended, or does not answer, stays published.
func Publishable(m *v1alpha1.MemberCluster) bool {
	return m.DeletionTimestamp == nil && m.Status.AcceptedTime != nil && meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionAccepted)
}

// Unjudged says that it is not known whether a member is to be published: it has not been seen, or its status was lost in a restore.
// What is published of it stays until that is known.
func Unjudged(m *v1alpha1.MemberCluster) bool {
	return m.DeletionTimestamp == nil && m.Status.AcceptedTime == nil && !meta.IsStatusConditionFalse(m.Status.Conditions, v1alpha1.ConditionAccepted)
}

// Place is where a member is published.
type Place struct {
	Namespace string
	// Credentials is the namespace of the Secret with the member's credential; empty where there is none.
	Credentials string
}

// Profile is the ClusterProfile of a member. Its conditions keep the time of their last change from those before.
func Profile(m *v1alpha1.MemberCluster, at Place, before []metav1.Condition, now time.Time) *clusterinventory.ClusterProfile {
	p := &clusterinventory.ClusterProfile{}
	p.APIVersion, p.Kind = clusterinventory.GroupVersion.String(), clusterinventory.ClusterProfileKind
	p.Namespace, p.Name = at.Namespace, m.Name
	p.Labels, p.OwnerReferences = ownLabels(m.Federation()), []metav1.OwnerReference{owner(m.Name, m.UID)}
	p.Spec.DisplayName, p.Spec.ClusterManager.Name = m.Name, Manager

	facts := m.KnownFacts()
	p.Status.Version.Kubernetes = facts.KubernetesVersion
	for _, c := range []metav1.Condition{healthy(m, now), {
		Type: conditionJoined, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted,
		Message: fmt.Sprintf("the cluster is a member of federation %q", m.Federation()),
	}} {
		if was := meta.FindStatusCondition(before, c.Type); was != nil {
			p.Status.Conditions = append(p.Status.Conditions, *was)
		}
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		meta.SetStatusCondition(&p.Status.Conditions, c)
	}
	p.Status.Properties = properties(m)
	if at.Credentials != "" {
		p.Status.AccessProviders = []clusterinventory.AccessProvider{provider(m, at.Credentials)}
	}
	return p
}

// ownLabels are the labels that a profile has from here.
func ownLabels(f v1alpha1.FederationName) map[string]string {
	labels := manifests.ClusterSetLabels(f)
	labels[clusterinventory.LabelClusterManagerKey] = Manager
	return labels
}

// owner is the reference with which Kubernetes deletes what is published of a member when the member is gone, also while no manager
// runs. It does not hold up the member's deletion: that would take a right on members.
func owner(name string, uid types.UID) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: cluster.MemberClusters.Kind, Name: name, UID: uid}
}

// healthy is the condition ControlPlaneHealthy: Ready, in words for those who read profiles.
func healthy(m *v1alpha1.MemberCluster, now time.Time) metav1.Condition {
	c := metav1.Condition{Type: clusterinventory.ClusterConditionControlPlaneHealthy, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNotProbed}
	if ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		c.Status, c.Reason = ready.Status, ready.Reason
	}
	switch {
	case m.SuspendedAt(now):
		c.Status, c.Reason = metav1.ConditionFalse, string(v1alpha1.PhaseSuspended)
		c.Message = strings.TrimSuffix("the member is suspended: "+m.SuspensionText(), ": ")
	case c.Status == metav1.ConditionTrue:
		c.Message = "the cluster answers, and is the one that joined"
	case c.Status == metav1.ConditionFalse:
		c.Message = "the cluster does not answer as it should: see the condition Ready of its MemberCluster"
	default:
		c.Message = "the cluster has not been probed yet"
	}
	return c
}

// properties are the ClusterProperties of the membership (KEP-2149), and what was seen of the cluster. None is empty: the API
// refuses that.
func properties(m *v1alpha1.MemberCluster) []clusterinventory.Property {
	facts := m.KnownFacts()
	values := map[string]string{
		v1alpha1.PropertyClusterID:  m.Spec.ClusterID,
		v1alpha1.PropertyClusterSet: string(m.Federation()),

		v1alpha1.Prefix + "kubernetes-version": facts.KubernetesVersion,
		v1alpha1.Prefix + "regions":            list(facts.Regions),
		v1alpha1.Prefix + "zones":              list(facts.Zones),
	}
	if m.Status.Facts != nil {
		values[v1alpha1.Prefix+"nodes"] = strconv.Itoa(int(m.Status.Facts.Nodes))
	}
	var list []clusterinventory.Property
	for _, name := range ownProperties {
		if value := values[name]; value != "" {
			list = append(list, clusterinventory.Property{Name: name, Value: value})
		}
	}
	return list
}

// list is as many values as fit into a property; an ellipsis stands for the rest.
func list(values []string) string {
	const more = ",…"
	text := strings.Join(values, ",")
	if len(text) <= maxValue {
		return text
	}
	text = text[:maxValue-len(more)+1]
	return text[:strings.LastIndexByte(text, ',')] + more
}

// provider is how to reach the member: nothing in it changes when its credential is renewed, since clients connect anew when
// anything does.
func provider(m *v1alpha1.MemberCluster, credentials string) clusterinventory.AccessProvider {
	config, err := json.Marshal(map[string]string{"name": m.Name, "key": v1alpha1.CredentialKey, "namespace": credentials})
	if err != nil {
		panic(err) // strings
	}
	return clusterinventory.AccessProvider{Name: Provider, Cluster: clientcmdv1.Cluster{
		Server: m.Spec.Server, CertificateAuthorityData: m.Spec.CABundle, ProxyURL: m.Spec.ProxyURL,
		TLSServerName: m.Spec.TLSServerName, InsecureSkipTLSVerify: m.Spec.InsecureSkipTLSVerify,
		Extensions: []clientcmdv1.NamedExtension{{Name: extension, Extension: runtime.RawExtension{Raw: config}}},
	}}
}

// Ignored says what of a member's endpoint clients do not use that connect by its profile (the library of KEP-5339, v0.1); empty
// where they use all of it.
func Ignored(m *v1alpha1.MemberCluster) string {
	switch {
	case m.Spec.InsecureSkipTLSVerify:
		return "clients that connect by its profile ignore insecureSkipTLSVerify and verify the certificate of the server all the same"
	case m.Spec.TLSServerName != "":
		return fmt.Sprintf("clients that connect by its profile ignore tlsServerName %q and verify the certificate for the host of the server's URL", m.Spec.TLSServerName)
	}
	return ""
}

// Metadata is what is to be applied beside the status, and Status the status alone: fields of a profile that are owned here. The
// UID keeps either from making a profile that is gone; without one it is to be created.
func Metadata(p *clusterinventory.ClusterProfile, uid string) *unstructured.Unstructured {
	o := identified(p, uid)
	o.SetLabels(p.Labels)
	o.SetOwnerReferences(p.OwnerReferences)
	_ = unstructured.SetNestedMap(o.Object, map[string]any{
		"displayName": p.Spec.DisplayName, "clusterManager": map[string]any{"name": p.Spec.ClusterManager.Name},
	}, "spec")
	return o
}

// Status is described at Metadata.
func Status(p *clusterinventory.ClusterProfile, uid string) (*unstructured.Unstructured, error) {
	o := identified(p, uid)
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p.Status)
	if err != nil {
		return nil, err
	}
	o.Object["status"] = withoutNulls(status)
	return o, nil
}

func identified(p *clusterinventory.ClusterProfile, uid string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": p.APIVersion, "kind": p.Kind, "metadata": map[string]any{"namespace": p.Namespace, "name": p.Name},
	}}
	if uid != "" {
		o.SetUID(types.UID(uid))
	}
	return o
}

// withoutNulls leaves out what a typed object brings along as null, such as a time that is not set.
func withoutNulls(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if inner == nil {
				delete(v, key)
			} else {
				v[key] = withoutNulls(inner)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return value
}

// MetadataDiffers says that a profile lacks what is owned here beside the status. What others have added does not count.
func MetadataDiffers(have, want *clusterinventory.ClusterProfile) bool {
	for key, value := range want.Labels {
		if have.Labels[key] != value {
			return true
		}
	}
	for _, owner := range want.OwnerReferences {
		if !slices.Contains(have.OwnerReferences, owner) {
			return true
		}
	}
	return have.Spec.DisplayName != want.Spec.DisplayName
}

// StatusDiffers says that the status of a profile is another than is owned here: conditions, properties and providers of others
// do not count.
func StatusDiffers(have, want *clusterinventory.ClusterProfile) bool {
	if have.Status.Version != want.Status.Version {
		return true
	}
	for _, c := range want.Status.Conditions {
		was := meta.FindStatusCondition(have.Status.Conditions, c.Type)
		if was == nil || was.Status != c.Status || was.Reason != c.Reason || was.Message != c.Message {
			return true
		}
	}
	own := slices.DeleteFunc(slices.Clone(have.Status.Properties), func(p clusterinventory.Property) bool { return !slices.Contains(ownProperties, p.Name) })
	if len(own) != len(want.Status.Properties) {
		return true
	}
	for _, p := range want.Status.Properties {
		if !slices.ContainsFunc(own, func(o clusterinventory.Property) bool { return o.Name == p.Name && o.Value == p.Value }) {
			return true
		}
	}
	return !equality.Semantic.DeepEqual(ownProvider(have), ownProvider(want))
}

// Read is what is compared of a profile, and no more: others may write to it as much as an object holds, and what its schema admits but
// Go's types do not. What cannot be read, or is longer than anything that is written here, is as if it were another.
func Read(o *unstructured.Unstructured) *clusterinventory.ClusterProfile {
	p := &clusterinventory.ClusterProfile{}
	p.Namespace, p.Name, p.UID, p.ResourceVersion = o.GetNamespace(), o.GetName(), o.GetUID(), o.GetResourceVersion()
	p.DeletionTimestamp = o.GetDeletionTimestamp()
	p.Labels = map[string]string{}
	labels := o.GetLabels()
	for key := range ownLabels("") {
		if value, ok := labels[key]; ok {
			p.Labels[key] = value
		}
	}
	for _, has := range o.GetOwnerReferences() {
		own := owner(p.Name, types.UID(strings.Clone(string(has.UID))))
		if has.APIVersion == own.APIVersion && has.Kind == own.Kind && has.Name == own.Name && len(p.OwnerReferences) < maxOwners {
			p.OwnerReferences = append(p.OwnerReferences, own)
		}
	}
	p.Spec.DisplayName = text(o.Object, "spec", "displayName")
	p.Status.Version.Kubernetes = text(o.Object, "status", "version", "kubernetes")
	for _, c := range entries(o.Object, "conditions", "type", ownConditions) {
		var condition metav1.Condition
		if len(text(c, "message")) <= maxValue && runtime.DefaultUnstructuredConverter.FromUnstructured(c, &condition) == nil {
			p.Status.Conditions = append(p.Status.Conditions, condition)
		}
	}
	for _, property := range entries(o.Object, "properties", "name", ownProperties) {
		p.Status.Properties = append(p.Status.Properties, clusterinventory.Property{Name: text(property, "name"), Value: text(property, "value")})
	}
	for _, a := range entries(o.Object, "accessProviders", "name", []string{Provider}) {
		var provider clusterinventory.AccessProvider
		if data, err := json.Marshal(a); err != nil || len(data) > maxProvider || json.Unmarshal(data, &provider) != nil {
			provider = clusterinventory.AccessProvider{Name: Provider}
		}
		p.Status.AccessProviders = append(p.Status.AccessProviders, provider)
	}
	return p
}

// text is a string in an object, cut where it is longer than any that is written here.
func text(object map[string]any, path ...string) string {
	s, _, err := unstructured.NestedString(object, path...)
	if err != nil {
		return ""
	}
	return strings.Clone(s[:min(len(s), maxValue+1)])
}

// entries are those of a list of the status that have one of the keys.
func entries(object map[string]any, list, key string, keys []string) (found []map[string]any) {
	all, _, err := unstructured.NestedFieldNoCopy(object, "status", list)
	if err != nil {
		return nil
	}
	items, _ := all.([]any)
	for _, item := range items {
		if entry, ok := item.(map[string]any); ok && slices.Contains(keys, text(entry, key)) {
			found = append(found, entry)
		}
	}
	return found
}

// ownProvider is the access provider that is owned here; nil when there is none.
func ownProvider(p *clusterinventory.ClusterProfile) *clusterinventory.AccessProvider {
	i := slices.IndexFunc(p.Status.AccessProviders, func(a clusterinventory.AccessProvider) bool { return a.Name == Provider })
	if i < 0 {
		return nil
	}
	return &p.Status.AccessProviders[i]
}

// ProviderPatch is the merge patch of the status that makes the access provider of a profile, as an API server answered, the one that is
// wanted and nothing else; nil where it is that. Server-side apply merges an entry with what others own of it, so that clients would
// dial a proxy of theirs. The list is replaced as a whole, which keeps other entries, and only while the profile is as it was answered.
func ProviderPatch(o *unstructured.Unstructured, want *clusterinventory.ClusterProfile) ([]byte, error) {
	own := ownProvider(want)
	if equality.Semantic.DeepEqual(ownProvider(Read(o)), own) {
		return nil, nil
	}
	all, _, err := unstructured.NestedSlice(o.Object, "status", "accessProviders")
	if err != nil {
		return nil, err
	}
	providers := slices.DeleteFunc(all, func(item any) bool {
		entry, _ := item.(map[string]any)
		return text(entry, "name") == Provider
	})
	if own != nil {
		providers = append(providers, own)
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.GetResourceVersion()},
		"status":   map[string]any{"accessProviders": providers},
	})
}

// CredentialsOf is the namespace of the Secret that a profile names beside the endpoint that the member has now; empty when it names
// none, or another endpoint.
func CredentialsOf(p *clusterinventory.ClusterProfile, m *v1alpha1.MemberCluster) string {
	own := ownProvider(p)
	if own == nil {
		return ""
	}
	for _, e := range own.Cluster.Extensions {
		var config struct {
			Namespace string `json:"namespace"`
		}
		if e.Name == extension && json.Unmarshal(e.Extension.Raw, &config) == nil && equality.Semantic.DeepEqual(*own, provider(m, config.Namespace)) {
			return config.Namespace
		}
	}
	return ""
}

// Secret is the one with the credential of a member, without the credential.
func Secret(m *v1alpha1.MemberCluster, namespace string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": v1alpha1.ConsumerCredentialType}}
	o.SetNamespace(namespace)
	o.SetName(m.Name)
	o.SetLabels(map[string]string{v1alpha1.LabelFederation: string(m.Federation()), v1alpha1.LabelMember: m.Name})
	o.SetOwnerReferences([]metav1.OwnerReference{owner(m.Name, m.UID)})
	return o
}
