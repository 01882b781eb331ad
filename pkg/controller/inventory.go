package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
)

const (
	// inventoryInterval is how often it is looked whether the manager can still write in a namespace, and inventoryRetry how often
	// where it cannot, or where it waits for what is there to be gone.
	inventoryInterval, inventoryRetry = time.Minute, 5 * time.Second
	// refusedRetry is how soon a write that the host refused is tried again first, and refusedLongest how soon it is in the end, while
	// nothing changes.
	refusedRetry, refusedLongest = time.Minute, time.Hour
)

// publisher keeps the members of federations published in their inventories. Its caches of what it made are one for each
// namespace, since the manager has rights nowhere else. It writes when something differs, and only what is its own: see
// inventory.Metadata.
//
// A namespace is written into the status of the Federation first, with its UID, so that what is published there is found again when the
// federation does not name it any more, and nothing is published in another namespace of that name.
type publisher struct {
	// client reads and writes past the cache, and cached is the cache of members and federations.
	client client.WithWatch
	cached client.Reader
	log    logr.Logger
	// members are the names of members whose condition Published is to be written anew, and federations those of Federations whose
	// status is.
	members     chan<- event.TypedGenericEvent[string]
	federations chan event.TypedGenericEvent[string]

	// consumers issues the credentials of those who read profiles.
	consumers *consumers

	// toPublish are members, and toFollow federations whose namespaces are to be looked at.
	toPublish, toFollow *requests
	// base ends with the manager, and the watches of namespaces with it.
	base context.Context
	end  context.CancelFunc

	mu         sync.Mutex
	namespaces map[inventoryKey]*inventoryNamespace
	// emptied are namespaces that hold nothing of a federation any more.
	emptied map[v1alpha1.FederationName]map[inventoryKey]bool
	// judged are the conditions InventoryPublished, and published the conditions Published.
	judged    map[v1alpha1.FederationName]metav1.Condition
	published map[string]conclusion
}

// conclusion is the condition Published of a member, and since when it is that.
type conclusion struct {
	metav1.Condition
	since time.Time
}

func setupInventory(mgr ctrl.Manager, o Options, members chan<- event.TypedGenericEvent[string]) (*publisher, error) {
	if err := clusterinventory.AddToScheme(mgr.GetScheme()); err != nil {
		return nil, err
	}
	direct, err := client.NewWithWatch(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("connect to the host for inventories: %w", err)
	}
	p := &publisher{
		client: direct, cached: mgr.GetClient(), log: mgr.GetLogger().WithName("inventory"), members: members,
		federations: make(chan event.TypedGenericEvent[string]), toPublish: newRequests(), toFollow: newRequests(),
		namespaces: map[inventoryKey]*inventoryNamespace{}, emptied: map[v1alpha1.FederationName]map[inventoryKey]bool{},
		judged: map[v1alpha1.FederationName]metav1.Condition{}, published: map[string]conclusion{},
	}
	p.base, p.end = context.WithCancel(context.Background())
	p.consumers = &consumers{
		publisher: p, schedule: schedule{o.RenewalShare}, timeout: o.Timeout, log: p.log,
		queue: workqueue.NewTypedDelayingQueue[string](),
	}
	if err := errors.Join(mgr.Add(p), mgr.Add(p.consumers)); err != nil {
		return nil, fmt.Errorf("add the inventory: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("inventory").
		For(&v1alpha1.MemberCluster{}).
		Watches(&v1alpha1.Federation{}, handler.EnqueueRequestsFromMapFunc(p.membersOf), builder.WithPredicates(predicate.Funcs{UpdateFunc: touchesInventory})).
		WatchesRawSource(p.toPublish.source()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(reconcile.Func(p.publish))
	if err != nil {
		return nil, err
	}
	return p, ctrl.NewControllerManagedBy(mgr).
		Named("inventory-namespaces").
		For(&v1alpha1.Federation{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: touchesInventory})).
		WatchesRawSource(p.toFollow.source()).
		Complete(reconcile.Func(p.follow))
}

// Start ends the watches of namespaces when ctx ends.
func (p *publisher) Start(ctx context.Context) error {
	<-ctx.Done()
	p.end()
	return nil
}

// touchesInventory says whether where members are published may follow from what changed in their federation.
func touchesInventory(e event.UpdateEvent) bool {
	before, isFederation := e.ObjectOld.(*v1alpha1.Federation)
	after, isStill := e.ObjectNew.(*v1alpha1.Federation)
	return !isFederation || !isStill || before.UID != after.UID || before.Generation != after.Generation ||
		!equality.Semantic.DeepEqual(before.Status.Inventory, after.Status.Inventory)
}

// membersOf are the requests for all members of a federation.
func (p *publisher) membersOf(ctx context.Context, federation client.Object) []reconcile.Request {
	var list v1alpha1.MemberClusterList
	// Names are taken from the list, so it need not be copied out of the cache.
	if err := p.cached.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelFederation: federation.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].Name = list.Items[i].Name
	}
	return requests
}

// request has a member published anew.
func (p *publisher) request(name string) { p.toPublish.add(p.base, name, 0) }

// wanted says whether a member is to be published in a namespace.
func wanted(f *v1alpha1.Federation, m *v1alpha1.MemberCluster, n *inventoryNamespace) bool {
	return f != nil && m != nil && n.federation == m.Federation() && slices.Contains(inventoryKeys(f), n.inventoryKey) && inventory.Publishable(m)
}

// inventoryKeys are the namespaces that a federation names, and recorded those that its status does.
func inventoryKeys(f *v1alpha1.Federation) (keys []inventoryKey) {
	if f == nil || f.Spec.Inventory == nil {
		return nil
	}
	for _, namespace := range f.Spec.Inventory.Namespaces {
		keys = append(keys, inventoryKey{namespace: namespace})
	}
	if namespace := f.Spec.Inventory.CredentialsNamespace; namespace != "" {
		keys = append(keys, inventoryKey{namespace, true})
	}
	return keys
}

func recorded(f *v1alpha1.Federation) (keys []inventoryKey) {
	if f == nil || f.Status.Inventory == nil {
		return nil
	}
	for _, namespace := range f.Status.Inventory.Namespaces {
		keys = append(keys, inventoryKey{namespace: namespace})
	}
	for _, namespace := range f.Status.Inventory.CredentialsNamespaces {
		keys = append(keys, inventoryKey{namespace, true})
	}
	return keys
}

func sortedKeys[V any](keys map[inventoryKey]V) []inventoryKey {
	return slices.SortedFunc(maps.Keys(keys), func(a, b inventoryKey) int {
		switch c := strings.Compare(a.namespace, b.namespace); {
		case c != 0 || a.credentials == b.credentials:
			return c
		case b.credentials:
			return -1
		}
		return 1
	})
}

// follow looks at the namespaces of one federation: those that it names, and those that it named before and that are to be emptied.
func (p *publisher) follow(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	name := v1alpha1.FederationName(request.Name)
	federation := &v1alpha1.Federation{}
	err := p.cached.Get(ctx, request.NamespacedName, federation)
	if apierrors.IsNotFound(err) {
		federation = nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	named := inventoryKeys(federation)
	var faults []fault
	waits, reads := false, false
	for _, key := range p.known(name, federation) {
		leaving := !slices.Contains(named, key)
		f, err := p.followNamespace(ctx, name, key, pinnedUID(federation, key.namespace), leaving)
		if err != nil {
			return reconcile.Result{}, err
		}
		switch {
		case leaving:
			waits = true
		case f == reading:
			reads = true
		case f != nil:
			faults = append(faults, *f)
		}
	}
	if !reads {
		p.judge(ctx, name, federation, faults)
	}
	switch {
	case waits, reads, len(faults) > 0:
		return reconcile.Result{RequeueAfter: inventoryRetry}, nil
	case len(named) > 0:
		return reconcile.Result{RequeueAfter: inventoryInterval}, nil
	}
	return reconcile.Result{}, nil
}

// known are the namespaces of a federation: as its spec and its status name them, and as they are followed, in a fixed order.
func (p *publisher) known(name v1alpha1.FederationName, federation *v1alpha1.Federation) []inventoryKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := map[inventoryKey]bool{}
	for _, key := range slices.Concat(inventoryKeys(federation), recorded(federation)) {
		keys[key] = true
	}
	for key, n := range p.namespaces {
		if n.federation == name {
			keys[key] = true
		}
	}
	return sortedKeys(keys)
}

// reading stands for a namespace of which it is not known yet whether there is a fault, since what is there is being read.
var reading = &fault{}

// lookAgain has the namespaces of a federation looked at once more.
func (p *publisher) lookAgain(name v1alpha1.FederationName) { p.toFollow.add(p.base, string(name), 0) }

// followNamespace looks at one namespace, which must have the UID pinned unless that is empty, reads what is there when that is not read
// yet, and leaves it when it has been emptied.
func (p *publisher) followNamespace(ctx context.Context, name v1alpha1.FederationName, key inventoryKey, pinned types.UID, leaving bool) (*fault, error) {
	uid, f, readable := key.judge(ctx, p.client, name, pinned)
	p.mu.Lock()
	n := p.namespaces[key]
	if n != nil && n.federation != name {
		p.mu.Unlock()
		return &fault{v1alpha1.ReasonNamespaceNotLabeled, fmt.Sprintf("namespace %q still holds members of federation %q", key.namespace, n.federation)}, nil
	}
	if n == nil {
		n = &inventoryNamespace{inventoryKey: key, federation: name}
		p.namespaces[key] = n
	}
	changed := n.leaving != leaving || (n.fault == nil) != (f == nil) || n.uid != uid
	n.uid, n.leaving, n.fault = uid, leaving, f
	if !leaving {
		delete(p.emptied[name], key)
	}
	if !readable {
		n.end()
	}
	if n.informer == nil && f == nil {
		if err := n.watch(p.base, p.client, p.request, func() { p.lookAgain(name) }); err != nil {
			p.mu.Unlock()
			return nil, err
		}
	}
	if f == nil && !n.synced() {
		// One namespace that cannot be read must not hold up the others: it is looked at again when it has been.
		began := n.began
		p.mu.Unlock()
		if time.Since(began) < inventoryRetry {
			return reading, nil
		}
		return &fault{v1alpha1.ReasonInventoryUnreadable, fmt.Sprintf("namespace %q is being read", key.namespace)}, nil
	}
	if f == nil {
		changed = changed || !n.announced
		n.announced = true
	}
	p.mu.Unlock()
	if changed {
		// Members without an object there are no event of the watch.
		for _, r := range p.membersOf(ctx, &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: string(name)}}) {
			p.request(r.Name)
		}
		for _, member := range n.names() {
			p.request(member)
		}
	}
	if leaving {
		p.leave(n)
	}
	return f, nil
}

// leave forgets a namespace that holds nothing that the manager made any more, or in which it may not touch that.
func (p *publisher) leave(n *inventoryNamespace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := n.fault != nil && slices.Contains([]string{
		v1alpha1.ReasonNamespaceMissing, v1alpha1.ReasonNamespaceReplaced, v1alpha1.ReasonNamespaceNotLabeled, v1alpha1.ReasonProfilesNotServed,
	}, n.fault.reason)
	if !gone && (!n.synced() || len(n.names()) > 0) {
		return
	}
	n.end()
	delete(p.namespaces, n.inventoryKey)
	if p.emptied[n.federation] == nil {
		p.emptied[n.federation] = map[inventoryKey]bool{}
	}
	p.emptied[n.federation][n.inventoryKey] = true
}

// judge keeps the condition InventoryPublished of a federation, and has its status written.
func (p *publisher) judge(ctx context.Context, name v1alpha1.FederationName, federation *v1alpha1.Federation, faults []fault) {
	p.mu.Lock()
	if federation == nil {
		delete(p.judged, name)
		if !p.followed(name) {
			delete(p.emptied, name)
		}
		p.mu.Unlock()
		return
	}
	c := metav1.Condition{Type: v1alpha1.ConditionInventoryPublished, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPublished}
	if federation.Spec.Inventory != nil {
		c.Message = "members are published in " + namespacesText(federation.Spec.Inventory.Namespaces)
		if federation.Spec.Inventory.CredentialsNamespace != "" && federation.Spec.Access == nil {
			c.Message += "; there are no credentials for them, since the federation has no spec.access"
		}
	}
	if len(faults) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, faults[0].reason, faultsText(faults)
	}
	p.judged[name] = c
	p.mu.Unlock()
	select {
	case p.federations <- event.TypedGenericEvent[string]{Object: string(name)}:
	case <-ctx.Done():
	}
}

// followed says whether a namespace of the federation is followed.
func (p *publisher) followed(name v1alpha1.FederationName) bool {
	for _, n := range p.namespaces {
		if n.federation == name {
			return true
		}
	}
	return false
}

func namespacesText(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("namespace %q", names[0])
	}
	return "namespaces " + strings.Join(names, ", ")
}

// setInventory brings the status of a federation up to date.
func (p *publisher) setInventory(status *v1alpha1.FederationStatus, federation *v1alpha1.Federation) {
	name := v1alpha1.FederationName(federation.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	keys, named := map[inventoryKey]bool{}, inventoryKeys(federation)
	for _, key := range recorded(federation) {
		keys[key] = !p.emptied[name][key]
	}
	for _, key := range named {
		keys[key] = true
	}
	status.Inventory = nil
	for _, key := range sortedKeys(keys) {
		if !keys[key] {
			continue
		}
		if status.Inventory == nil {
			status.Inventory = &v1alpha1.InventoryStatus{}
		}
		if key.credentials {
			status.Inventory.CredentialsNamespaces = append(status.Inventory.CredentialsNamespaces, key.namespace)
		} else {
			status.Inventory.Namespaces = append(status.Inventory.Namespaces, key.namespace)
		}
		uid := pinnedUID(federation, key.namespace)
		if n := p.namespaces[key]; uid == "" && n != nil && n.federation == name && n.fault == nil {
			uid = n.uid
		}
		if uid != "" {
			if status.Inventory.UIDs == nil {
				status.Inventory.UIDs = map[string]types.UID{}
			}
			status.Inventory.UIDs[key.namespace] = uid
		}
	}
	if len(named) == 0 {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionInventoryPublished)
		return
	}
	if c, ok := p.judged[name]; ok {
		c.ObservedGeneration = federation.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
}

// condition is the condition Published of a member; nil while it is not known.
func (p *publisher) condition(member string) *metav1.Condition {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.published[member]; ok {
		return &c.Condition
	}
	return nil
}

// followedNamespaces are those that are followed, as they are now.
func (p *publisher) followedNamespaces() (list []inventoryNamespace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range sortedKeys(p.namespaces) {
		list = append(list, *p.namespaces[key])
	}
	return list
}

// publication is what became of the publishing of one member.
type publication struct {
	// pending says that it is not known yet in one of the namespaces.
	pending bool
	// faults are why it is not published in one.
	faults []fault
	// warning is what is not well although it is published.
	warning string
	// refused says that the host refuses a write for a reason that may stay.
	refused bool
	// retry is when to come back.
	retry time.Duration
}

// within has the member published again after d at the latest.
func (d *publication) within(wait time.Duration) {
	if d.retry == 0 || wait < d.retry {
		d.retry = wait
	}
}

// refuse notes why the host refuses a write.
func (d *publication) refuse(reason, format string, args ...any) {
	d.refused = true
	d.faults = append(d.faults, fault{reason, fmt.Sprintf(format, args...)})
}

// unavailable says what follows for a member from the fault of a namespace. Where that is not known how it is, since a request of the
// host failed, what is known of the member stays.
func (d *publication) unavailable(n *inventoryNamespace, wanted bool, what string) {
	switch {
	case n.fault.reason == v1alpha1.ReasonInventoryUnreadable:
		d.pending = true
	case wanted:
		d.faults = append(d.faults, fault{v1alpha1.ReasonInventoryUnavailable, fmt.Sprintf(
			"%s %q: see the condition %s of federation %q", what, n.namespace, v1alpha1.ConditionInventoryPublished, n.federation)})
	}
}

// secretPlace is the namespace of the Secret that a profile names; empty where there is none.
type secretPlace struct {
	namespace string
	// unknown says that it is not known whether there is one: profiles stay as they are.
	unknown bool
}

// found notes whether the Secret of a member is in a namespace, with a token for the member and the endpoint as they are now.
func (s *secretPlace) found(n *inventoryNamespace, m *v1alpha1.MemberCluster, wanted bool) {
	switch {
	case wanted && !n.synced():
		s.unknown = true
	case wanted && consumerTokenOf(n.get(m.Name), m).For != "":
		s.namespace = n.namespace
	}
}

// publish brings what is published of one member up to date.
func (p *publisher) publish(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	m, federation := &v1alpha1.MemberCluster{}, &v1alpha1.Federation{}
	err := p.cached.Get(ctx, client.ObjectKey{Name: request.Name}, m)
	if apierrors.IsNotFound(err) {
		m, federation = nil, nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	if m != nil {
		err := p.cached.Get(ctx, client.ObjectKey{Name: string(m.Federation())}, federation)
		if apierrors.IsNotFound(err) {
			federation = nil
		} else if err != nil {
			return reconcile.Result{}, fmt.Errorf("read federation %q: %w", m.Federation(), err)
		}
	}
	if m != nil && inventory.Unjudged(m) {
		return reconcile.Result{}, nil
	}
	var (
		done   publication
		errs   []error
		places = recorded(federation)
		named  = inventoryKeys(federation)
		all    = p.followedNamespaces()
	)
	for _, key := range named {
		if !slices.ContainsFunc(all, func(n inventoryNamespace) bool { return n.inventoryKey == key && n.federation == m.Federation() }) {
			done.pending = true
		}
	}
	publish := func(n *inventoryNamespace, keep func(wanted bool) error) {
		wants := wanted(federation, m, n)
		if wants && (!slices.Contains(places, n.inventoryKey) || n.fault == nil && pinnedUID(federation, n.namespace) != n.uid) {
			done.pending = true
			return
		}
		errs = append(errs, keep(wants))
	}
	// Credentials first: a profile names the Secret once that is there.
	var secret secretPlace
	for i := range all {
		if n := &all[i]; n.credentials {
			publish(n, func(wants bool) error {
				wants = wants && federation.Spec.Access != nil
				secret.found(n, m, wants)
				return p.keepSecret(ctx, n, request.Name, m, wants, &done)
			})
		}
	}
	for i := range all {
		if n := &all[i]; !n.credentials {
			publish(n, func(wants bool) error { return p.keepProfile(ctx, n, request.Name, m, wants, secret, &done) })
		}
	}
	since := p.conclude(ctx, request.Name, m, federation, done)
	if done.refused {
		done.within(refusedWait(request.Name, time.Since(since)))
	}
	return reconcile.Result{RequeueAfter: done.retry}, errors.Join(errs...)
}

// refusedWait is when to try again what the host has refused of a member for some time: that doubles with each try. Members that were
// refused at one time are not tried at one time again.
func refusedWait(name string, refused time.Duration) time.Duration {
	return shortened(min(max(refused, refusedRetry), refusedLongest), jitterOf(types.UID(name)))
}

// keepProfile creates, applies or deletes the profile of a member in one namespace.
func (p *publisher) keepProfile(ctx context.Context, n *inventoryNamespace, name string, m *v1alpha1.MemberCluster, wanted bool, secret secretPlace, done *publication) error {
	have := n.profile(name)
	switch {
	case !wanted && have == nil:
		return nil
	case n.fault != nil:
		done.unavailable(n, wanted, "the member is not published in namespace")
		return nil
	case !n.synced():
		done.pending = true
		return nil
	case have != nil && have.DeletionTimestamp != nil:
		// It is made anew when it is gone.
		if since := have.DeletionTimestamp.Time; wanted && time.Since(since) > refusedRetry {
			done.faults = append(done.faults, fault{v1alpha1.ReasonProfileRefused, fmt.Sprintf(
				"ClusterProfile %s/%s is being deleted since %s: a finalizer holds it", n.namespace, name, timestamp(since))})
			return nil // its end is an event
		}
		done.pending = true
		done.within(refusedRetry)
		return nil
	case !wanted:
		p.log.V(1).Info("delete a ClusterProfile", "namespace", n.namespace, "member", name)
		err := p.client.Delete(ctx, have, client.Preconditions{UID: &have.UID})
		return p.settle(client.IgnoreNotFound(err), done)
	}
	place := inventory.Place{Namespace: n.namespace, Credentials: secret.namespace}
	var before []metav1.Condition
	if have != nil {
		before = have.Status.Conditions
		if secret.unknown {
			place.Credentials = inventory.CredentialsOf(have, m)
		}
	}
	want := inventory.Profile(m, place, before, time.Now())
	return p.settle(p.write(ctx, have, want, done), done)
}

// write makes a profile what it is to be, with no request where it is that already.
func (p *publisher) write(ctx context.Context, have, want *clusterinventory.ClusterProfile, done *publication) error {
	if have == nil {
		created := inventory.Metadata(want, "")
		err := p.client.Create(ctx, created, client.FieldOwner(v1alpha1.ManagerFieldOwner))
		if apierrors.IsAlreadyExists(err) {
			return p.taken(ctx, want, done)
		}
		if err != nil {
			return err
		}
		return p.writeStatus(ctx, want, string(created.GetUID()))
	}
	if inventory.MetadataDiffers(have, want) {
		o := client.ApplyConfigurationFromUnstructured(inventory.Metadata(want, string(have.UID)))
		if err := p.client.Apply(ctx, o, client.FieldOwner(v1alpha1.ManagerFieldOwner), client.ForceOwnership); err != nil {
			return err
		}
	}
	if inventory.StatusDiffers(have, want) {
		return p.writeStatus(ctx, want, string(have.UID))
	}
	return nil
}

func (p *publisher) writeStatus(ctx context.Context, want *clusterinventory.ClusterProfile, uid string) error {
	status, err := inventory.Status(want, uid)
	if err != nil {
		return err
	}
	// It is what the host answers then.
	if err := p.client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(status), client.FieldOwner(v1alpha1.ManagerFieldOwner), client.ForceOwnership); err != nil {
		return err
	}
	patch, err := inventory.ProviderPatch(status, want)
	if err != nil || patch == nil {
		return err
	}
	p.log.Info("others own a part of the access provider of a ClusterProfile: it is replaced", "namespace", want.Namespace, "member", want.Name)
	return p.client.Status().Patch(ctx, status, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.ManagerFieldOwner))
}

// taken finds out whose the profile is that is in the way.
func (p *publisher) taken(ctx context.Context, want *clusterinventory.ClusterProfile, done *publication) error {
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(clusterinventory.ClusterProfileSchemeGroupVersionKind)
	if err := p.client.Get(ctx, client.ObjectKeyFromObject(want), live); err != nil {
		return err
	}
	if live.Labels[clusterinventory.LabelClusterManagerKey] == inventory.Manager {
		// The watch is behind.
		if since := live.CreationTimestamp.Time; time.Since(since) > refusedRetry {
			done.refuse(v1alpha1.ReasonInventoryUnavailable, "ClusterProfile %s/%s exists since %s, and the manager's watch does not show it",
				want.Namespace, want.Name, timestamp(since))
			return nil
		}
		done.pending = true
		done.within(inventoryRetry)
		return nil
	}
	done.refuse(v1alpha1.ReasonProfileTaken, "ClusterProfile %s/%s was not made by this manager: its label %s is %q", want.Namespace, want.Name,
		clusterinventory.LabelClusterManagerKey, brief(live.Labels[clusterinventory.LabelClusterManagerKey]))
	return nil
}

// settle makes a fault of an error with which the host refuses a write for good.
func (p *publisher) settle(err error, done *publication) error {
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// It was changed or deleted meanwhile, or the namespace was, which is seen soon.
		done.pending = true
		done.within(inventoryRetry)
		return nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		done.refuse(v1alpha1.ReasonProfileRefused, "the host refuses what is to be published: %s", brief(err.Error()))
		return nil
	case err != nil:
		done.pending = true
	}
	return err
}

// conclude keeps the condition Published of a member, and has it written when it is another. It says since when it is that.
func (p *publisher) conclude(ctx context.Context, name string, m *v1alpha1.MemberCluster, federation *v1alpha1.Federation, done publication) time.Time {
	now := time.Now()
	c := metav1.Condition{Type: v1alpha1.ConditionPublished, Status: metav1.ConditionFalse}
	switch {
	case m == nil || federation == nil || federation.Spec.Inventory == nil:
		p.consumers.forget(name)
		p.mu.Lock()
		delete(p.published, name)
		p.mu.Unlock()
		return now
	case !inventory.Publishable(m):
		c.Reason, c.Message = v1alpha1.ReasonNotAccepted, "the member is published when it is accepted"
		if m.DeletionTimestamp != nil {
			c.Message = "the member leaves"
		}
	case len(done.faults) > 0:
		c.Reason, c.Message = done.faults[0].reason, faultsText(done.faults)
	case done.pending:
		return now
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonPublished
		c.Message = "ClusterProfiles of the member are in " + namespacesText(federation.Spec.Inventory.Namespaces)
		if done.warning != "" {
			c.Reason = v1alpha1.ReasonConsumerCredentialFailed
			c.Message += "; " + done.warning
		}
		if ignored := inventory.Ignored(m); ignored != "" {
			c.Message += "; " + ignored
		}
	}
	p.mu.Lock()
	was := p.published[name]
	if was.Condition != c {
		p.published[name] = conclusion{c, now}
	}
	p.mu.Unlock()
	if was.Condition == c {
		return was.since
	}
	select {
	case p.members <- event.TypedGenericEvent[string]{Object: name}:
	case <-ctx.Done():
	}
	return now
}
