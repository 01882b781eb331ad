package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
)

const (
	clusterprofiles = "clusterprofiles"
	// secretType is the field of Secrets that a list can select by.
	secretType = "type"
	// pageSize is how many objects are read at a time: others may make each as large as an object can be.
	pageSize = 100
	// maxSaid is how much a Secret may say of its token, in bytes: see consumerToken.
	maxSaid = 1024
)

// inventoryKey names a namespace of the host, and what of an inventory is in it.
type inventoryKey struct {
	namespace string
	// credentials says that it holds Secrets, and else ClusterProfiles.
	credentials bool
}

// label is the one that lets the federation that it names use the namespace.
func (k inventoryKey) label() string {
	if k.credentials {
		return v1alpha1.LabelInventoryCredentials
	}
	return v1alpha1.LabelInventory
}

// kind is that of the objects in it.
func (k inventoryKey) kind() schema.GroupVersionKind {
	if k.credentials {
		return corev1.SchemeGroupVersion.WithKind("Secret")
	}
	return clusterinventory.ClusterProfileSchemeGroupVersionKind
}

// rights are what the manager needs in it: the resource and the subresource, and the verbs.
func (k inventoryKey) rights() (rights []authorizationv1.ResourceAttributes) {
	group, resource := clusterinventory.Group, clusterprofiles
	if k.credentials {
		group, resource = "", "secrets"
	}
	for _, verb := range []string{"get", "list", "watch", "create", "patch", "delete"} {
		rights = append(rights, authorizationv1.ResourceAttributes{Namespace: k.namespace, Verb: verb, Group: group, Resource: resource})
	}
	if !k.credentials {
		rights = append(rights, authorizationv1.ResourceAttributes{Namespace: k.namespace, Verb: "patch", Group: group, Resource: resource, Subresource: "status"})
	}
	return rights
}

// fault is why nothing can be done in a namespace.
type fault struct{ reason, message string }

// shownFaults is how many faults a condition names.
const shownFaults = 5

// faultsText are the messages of faults, each once, and how many more there are.
func faultsText(faults []fault) string {
	var texts []string
	for _, f := range faults {
		if !slices.Contains(texts, f.message) {
			texts = append(texts, f.message)
		}
	}
	text := strings.Join(texts[:min(len(texts), shownFaults)], "; ")
	if more := len(texts) - shownFaults; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// inventoryNamespace is a namespace in which the manager publishes the members of a federation, or has published them. Its fields
// are read and written with the publisher's lock.
type inventoryNamespace struct {
	inventoryKey
	federation v1alpha1.FederationName
	// uid is that of the namespace as it was looked at last; empty when it did not exist.
	uid types.UID
	// leaving says that the federation does not name it any more.
	leaving bool
	// fault is nil when the manager can write there.
	fault *fault
	// announced says that all members have been requested since the objects there were read.
	announced bool
	// informer has the objects that the manager made there; nil while they are not read.
	informer cache.SharedIndexInformer
	stop     context.CancelFunc
	// began is when reading them did.
	began time.Time
}

// synced says that the objects there have been read.
func (n *inventoryNamespace) synced() bool { return n.informer != nil && n.informer.HasSynced() }

// get is the object of a member; nil when there is none. A Secret is only what says that it is of that member: others of the
// federation may have its label, which asks for more than one thing.
func (n *inventoryNamespace) get(member string) client.Object {
	if n.informer == nil {
		return nil
	}
	found, exists, err := n.informer.GetStore().GetByKey(n.namespace + "/" + member)
	if err != nil || !exists {
		return nil
	}
	o, _ := found.(client.Object)
	if o == nil || n.credentials && o.GetLabels()[v1alpha1.LabelMember] != member {
		return nil
	}
	return o
}

// profile is the ClusterProfile of a member; nil when there is none.
func (n *inventoryNamespace) profile(member string) *clusterinventory.ClusterProfile {
	p, _ := n.get(member).(*clusterinventory.ClusterProfile)
	return p
}

// names are those of all members with an object there.
func (n *inventoryNamespace) names() (names []string) {
	if n.informer == nil {
		return nil
	}
	for _, key := range n.informer.GetStore().ListKeys() {
		_, name, err := cache.SplitMetaNamespaceKey(key)
		if err == nil && n.get(name) != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// end ends the watch.
func (n *inventoryNamespace) end() {
	if n.stop != nil {
		n.stop()
	}
	n.informer, n.stop, n.announced = nil, nil, false
}

// list is an empty list of what is in a namespace. Of Secrets only the metadata is read. ClusterProfiles are read without their types:
// one that these cannot hold must not hide the others.
func (k inventoryKey) list() client.ObjectList {
	if !k.credentials {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(k.kind().GroupVersion().WithKind(clusterinventory.ClusterProfileKind + "List"))
		return list
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	return list
}

// object is an empty one of those.
func (k inventoryKey) object() client.Object {
	if !k.credentials {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(k.kind())
		return o
	}
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(k.kind())
	return o
}

// made selects what the manager made for a federation.
func (n *inventoryNamespace) made() []client.ListOption {
	if n.credentials {
		return []client.ListOption{client.MatchingLabels{v1alpha1.LabelFederation: string(n.federation)}, client.MatchingFields{secretType: v1alpha1.ConsumerCredentialType}}
	}
	return []client.ListOption{client.MatchingLabels{clusterinventory.LabelClusterManagerKey: inventory.Manager}}
}

// compared is what is kept of an object: others may write much to it.
func compared(o any) (any, error) {
	switch o := o.(type) {
	case *unstructured.Unstructured:
		return inventory.Read(o), nil
	case *metav1.PartialObjectMetadata:
		kept := &metav1.PartialObjectMetadata{}
		kept.Namespace, kept.Name, kept.UID, kept.ResourceVersion = o.Namespace, o.Name, o.UID, o.ResourceVersion
		kept.DeletionTimestamp = o.DeletionTimestamp
		kept.Labels = map[string]string{v1alpha1.LabelMember: o.Labels[v1alpha1.LabelMember]}
		if said := o.Annotations[v1alpha1.AnnotationConsumerToken]; len(said) <= maxSaid {
			kept.Annotations = map[string]string{v1alpha1.AnnotationConsumerToken: said}
		}
		return kept, nil
	}
	return o, nil
}

// read lists objects page by page and keeps of each what is compared, so that a page is what they take while they are read. It is for API
// servers that do not stream a list.
func (k inventoryKey) read(ctx context.Context, c client.Client, selected []client.ListOption) (runtime.Object, error) {
	all := &metav1.List{}
	for {
		page := k.list()
		if err := c.List(ctx, page, append([]client.ListOption{client.Limit(pageSize), client.Continue(all.Continue)}, selected...)...); err != nil {
			return nil, err
		}
		err := meta.EachListItem(page, func(o runtime.Object) error {
			kept, err := compared(o)
			if o, ok := kept.(runtime.Object); ok {
				all.Items = append(all.Items, runtime.RawExtension{Object: o})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		all.ResourceVersion, all.Continue = page.GetResourceVersion(), page.GetContinue()
		if all.Continue == "" {
			return all, nil
		}
	}
}

// watch begins to read what the manager made in a namespace, calls changed with the name of each object that changes,
// and read when all that is there has been read.
func (n *inventoryNamespace) watch(ctx context.Context, c client.WithWatch, changed func(name string), read func()) error {
	selected := append(n.made(), client.InNamespace(n.namespace))
	key := n.inventoryKey
	informer := cache.NewSharedIndexInformerWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			return key.read(ctx, c, selected)
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, key.list(), append([]client.ListOption{&client.ListOptions{Raw: &raw}}, selected...)...)
		},
	}, key.object(), cache.SharedIndexInformerOptions{})
	if err := informer.SetTransform(compared); err != nil {
		return err
	}
	handle := func(o any) {
		if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if m, ok := o.(metav1.Object); ok {
			changed(m.GetName())
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: handle, UpdateFunc: func(_, o any) { handle(o) }, DeleteFunc: handle,
	}); err != nil {
		return err
	}
	ctx, n.stop = context.WithCancel(ctx)
	n.informer, n.began = informer, time.Now()
	go informer.RunWithContext(ctx)
	go func() {
		select {
		case <-informer.HasSyncedChecker().Done():
			read()
		case <-ctx.Done():
		}
	}()
	return nil
}

// namespaceOf reads a namespace.
func namespaceOf(ctx context.Context, c client.Client, name string) (*metav1.PartialObjectMetadata, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace, c.Get(ctx, client.ObjectKey{Name: name}, namespace)
}

// pinnedUID is the one that a namespace must have for the federation to use it; empty where it has not been used yet.
func pinnedUID(f *v1alpha1.Federation, namespace string) types.UID {
	if f == nil || f.Status.Inventory == nil {
		return ""
	}
	return f.Status.Inventory.UIDs[namespace]
}

// judge says why the manager cannot write in a namespace, which must have the UID pinned unless that is empty; nil when it can. What is
// there may be readable all the same.
func (k inventoryKey) judge(ctx context.Context, c client.Client, federation v1alpha1.FederationName, pinned types.UID) (uid types.UID, f *fault, readable bool) {
	namespace, err := namespaceOf(ctx, c, k.namespace)
	if err == nil && pinned != "" && namespace.UID != pinned {
		// Who may make namespaces could receive credentials otherwise, with a name that was free for a moment.
		return namespace.UID, &fault{v1alpha1.ReasonNamespaceReplaced, fmt.Sprintf("namespace %q was deleted and made anew since the federation began to use it; "+
			"if it is to be used, take it out of spec.inventory of federation %q and name it again when status.inventory does not list it any more", k.namespace, federation)}, false
	}
	f, readable = k.judgeRead(ctx, c, federation, namespace, err)
	return namespace.UID, f, readable
}

// judgeRead is judge for a namespace as it was read, or the error of that.
func (k inventoryKey) judgeRead(ctx context.Context, c client.Client, federation v1alpha1.FederationName, namespace *metav1.PartialObjectMetadata, err error) (f *fault, readable bool) {
	host, grant := command.Host{}, k.grant(federation)
	switch {
	case apierrors.IsNotFound(err):
		return &fault{v1alpha1.ReasonNamespaceMissing, fmt.Sprintf("namespace %q does not exist; ", k.namespace) +
			host.To("create it and let the federation publish there", grant)}, false
	case err != nil:
		return &fault{v1alpha1.ReasonInventoryUnreadable, fmt.Sprintf("namespace %q: %s", k.namespace, brief(err.Error()))}, true
	case namespace.DeletionTimestamp != nil:
		return &fault{v1alpha1.ReasonNamespaceMissing, fmt.Sprintf("namespace %q is being deleted", k.namespace)}, false
	case namespace.Labels[k.label()] == "":
		return &fault{v1alpha1.ReasonNamespaceNotLabeled, fmt.Sprintf("namespace %q has no label %s=%s; ", k.namespace, k.label(), federation) +
			host.To("let the federation publish there", grant)}, true
	case namespace.Labels[k.label()] != string(federation):
		return &fault{v1alpha1.ReasonNamespaceNotLabeled, fmt.Sprintf("namespace %q is that of federation %q, by its label %s",
			k.namespace, brief(namespace.Labels[k.label()]), k.label())}, true
	}
	switch err := c.List(ctx, k.list(), client.InNamespace(k.namespace), client.Limit(1)); {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return &fault{v1alpha1.ReasonProfilesNotServed, fmt.Sprintf("the host does not serve %s.%s/%s: install its CustomResourceDefinition, of sigs.k8s.io/cluster-inventory-api",
			clusterprofiles, clusterinventory.Group, clusterinventory.Version)}, false
	case err != nil && !apierrors.IsForbidden(err):
		return &fault{v1alpha1.ReasonInventoryUnreadable, fmt.Sprintf("namespace %q: %s", k.namespace, brief(err.Error()))}, true
	}
	denied, err := k.denied(ctx, c)
	switch {
	case err != nil:
		return &fault{v1alpha1.ReasonInventoryUnreadable, fmt.Sprintf("namespace %q: %s", k.namespace, brief(err.Error()))}, true
	case denied != nil:
		resource := denied.Resource
		if denied.Subresource != "" {
			resource += "/" + denied.Subresource
		}
		return &fault{v1alpha1.ReasonInventoryForbidden, fmt.Sprintf("the manager may not %s %s in namespace %q; ", denied.Verb, resource, k.namespace) +
			host.To("allow it", grant)}, !slices.Contains([]string{"get", "list", "watch"}, denied.Verb)
	}
	return nil, true
}

// denied is the first right that the manager lacks; nil when it has all. One request answers for all that a role gives; authorizers
// other than RBAC need not list their rules, so that what is not listed is asked by itself.
func (k inventoryKey) denied(ctx context.Context, c client.Client) (*authorizationv1.ResourceAttributes, error) {
	rules := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: k.namespace}}
	if err := c.Create(ctx, rules); err != nil {
		return nil, err
	}
	for _, right := range k.rights() {
		if slices.ContainsFunc(rules.Status.ResourceRules, func(r authorizationv1.ResourceRule) bool { return gives(r, right) }) {
			continue
		}
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
		if err := c.Create(ctx, review); err != nil {
			return nil, err
		}
		if !review.Status.Allowed {
			return &right, nil
		}
	}
	return nil, nil //nolint:nilnil // none is denied
}

// gives says whether a rule surely gives a right.
func gives(rule authorizationv1.ResourceRule, right authorizationv1.ResourceAttributes) bool {
	resource := right.Resource
	if right.Subresource != "" {
		resource += "/" + right.Subresource
	}
	has := func(all []string, one string) bool { return slices.Contains(all, one) || slices.Contains(all, "*") }
	return len(rule.ResourceNames) == 0 && has(rule.Verbs, right.Verb) && has(rule.APIGroups, right.Group) && has(rule.Resources, resource)
}

// grant is the command that lets a federation use the namespace.
func (k inventoryKey) grant(federation v1alpha1.FederationName) command.Command {
	if k.credentials {
		return command.Grant{Federation: federation, Credentials: k.namespace}
	}
	return command.Grant{Federation: federation, Inventory: k.namespace}
}
