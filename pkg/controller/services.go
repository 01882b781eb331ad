package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/services/records"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

const (
	// servicesDelay is how long writing waits for more to change, and servicesInterval how often what is on the host is read again, which
	// others may change.
	servicesDelay, servicesInterval = 200 * time.Millisecond, time.Minute
	// maxScopes is how many regions, and how many zones, of one member have names.
	maxScopes = 8
	// shownReports is how many reports a status has, and maxReport how long one is.
	shownReports, maxReport = 10, 1024
)

// namer keeps the names of services in DNS: it watches what the members of federations with spec.services export, and writes
// DNSEndpoints. Where no federation has that it does nothing.
type namer struct {
	// client reads and writes past the cache, and cached is the cache of members and federations.
	client   client.Client
	cached   client.Reader
	host     *cluster.HostAddresses
	timeout  time.Duration
	log      logr.Logger
	recorder events.EventRecorder
	// members are the names of members whose condition Granted is to be written anew, and federations those of Federations whose
	// status is.
	members     chan<- event.TypedGenericEvent[string]
	federations chan event.TypedGenericEvent[string]
	toName      *requests
	base        context.Context
	end         context.CancelFunc

	mu     sync.Mutex
	sought map[string]*soughtMember
	zones  map[v1alpha1.FederationName]*namedFederation
}

// soughtMember is a member whose exported services are read.
type soughtMember struct {
	uid        types.UID
	federation v1alpha1.FederationName
	// key says of what the watch was begun; it is empty while there is none.
	key   string
	watch *exportWatch
	stop  context.CancelFunc
	// known has the namespaces in which accepted is what the member exports; of others, what was written says it.
	known    map[string]bool
	accepted map[records.Service]records.Exported
	reports  []string
	// lacks is the right that the member does not give.
	lacks string
}

// namedFederation is what has been written for a federation.
type namedFederation struct {
	namespace string
	// written are the objects by name, and readAt when they were read.
	written map[string]*written
	readAt  time.Time
	// former are those in the namespace that the federation named before, until nothing is left there.
	former map[string]*written
	// stale are services whose records stay as they were, since no exporter is Ready.
	stale     map[records.Service]bool
	status    *v1alpha1.ServicesStatus
	condition *metav1.Condition
}

func setupServices(mgr ctrl.Manager, o Options, host *cluster.HostAddresses, members chan<- event.TypedGenericEvent[string]) (*namer, error) {
	direct, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("connect to the host for services: %w", err)
	}
	n := &namer{
		client: direct, cached: mgr.GetClient(), host: host, timeout: o.Timeout, log: mgr.GetLogger().WithName("services"),
		recorder: mgr.GetEventRecorder(v1alpha1.ManagerFieldOwner), members: members,
		federations: make(chan event.TypedGenericEvent[string]), toName: newRequests(),
		sought: map[string]*soughtMember{}, zones: map[v1alpha1.FederationName]*namedFederation{},
	}
	n.base, n.end = context.WithCancel(context.Background())
	if err := mgr.Add(n); err != nil {
		return nil, fmt.Errorf("add the services: %w", err)
	}
	return n, ctrl.NewControllerManagedBy(mgr).
		Named("services").
		For(&v1alpha1.Federation{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.MemberCluster{}, federationOf(servicesDelay, touchesServices)).
		WatchesRawSource(n.toName.source()).
		Complete(reconcile.Func(n.reconcile))
}

// Start ends all watches when ctx ends.
func (n *namer) Start(ctx context.Context) error {
	<-ctx.Done()
	n.end()
	return nil
}

// touchesServices says whether what names lead to may follow from what changed of a member.
func touchesServices(e event.UpdateEvent) bool {
	before, _ := e.ObjectOld.(*v1alpha1.MemberCluster)
	after, _ := e.ObjectNew.(*v1alpha1.MemberCluster)
	return before == nil || after == nil || before.UID != after.UID || before.Generation != after.Generation || before.Status.Phase != after.Status.Phase ||
		before.Status.ObservedCredential != after.Status.ObservedCredential || !maps.Equal(before.Labels, after.Labels) ||
		!equality.Semantic.DeepEqual(before.KnownFacts(), after.KnownFacts())
}

// request has the names of a federation looked at once more.
func (n *namer) request(name v1alpha1.FederationName) {
	n.toName.add(n.base, string(name), servicesDelay)
}

// reconcile keeps the names of one federation.
func (n *namer) reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	name := v1alpha1.FederationName(request.Name)
	f := &v1alpha1.Federation{}
	var list v1alpha1.MemberClusterList
	err := client.IgnoreNotFound(n.cached.Get(ctx, request.NamespacedName, f))
	if err == nil && f.Spec.Services != nil {
		// The list is read only, so it need not be copied out of the cache.
		err = n.cached.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelFederation: request.Name}, client.UnsafeDisableDeepCopy)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	n.seek(f, name, list.Items)
	if f.Spec.Services == nil && (f.Status.Services == nil || f.Status.Services.Namespace == "") {
		n.mu.Lock()
		_, had := n.zones[name]
		delete(n.zones, name)
		n.mu.Unlock()
		if had && f.Name != "" || f.Status.Services != nil {
			n.report(ctx, name)
		}
		return reconcile.Result{}, nil
	}
	n.mu.Lock()
	z := n.zones[name]
	if z == nil {
		z = &namedFederation{stale: map[records.Service]bool{}}
		n.zones[name] = z
	}
	n.mu.Unlock()
	var fault *fault
	if f.Spec.Services != nil {
		fault = n.write(ctx, f, z, list.Items)
	}
	// What is in another namespace goes when all is in the one that is named now.
	left := formerNamespace(f) == "" || fault == nil && n.leaveOther(ctx, f, z)
	if left {
		z.former = nil
	}
	n.judge(f, z, left, fault)
	n.report(ctx, name)
	if fault != nil || !left {
		return reconcile.Result{RequeueAfter: inventoryRetry}, nil
	}
	if f.Spec.Services == nil {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: servicesInterval}, nil
}

// report has the status of a federation written.
func (n *namer) report(ctx context.Context, name v1alpha1.FederationName) {
	select {
	case n.federations <- event.TypedGenericEvent[string]{Object: string(name)}:
	case <-ctx.Done():
	}
}

// seek begins and ends the watches of members. Only of a member that is Ready services are read; what was read of another one stays.
func (n *namer) seek(f *v1alpha1.Federation, name v1alpha1.FederationName, members []v1alpha1.MemberCluster) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := map[string]bool{}
	for i := range members {
		m := &members[i]
		now[m.Name] = true
		s := n.sought[m.Name]
		if s != nil && s.uid != m.UID {
			s.finish()
			s = nil
		}
		if s == nil {
			s = &soughtMember{uid: m.UID, known: map[string]bool{}, accepted: map[records.Service]records.Exported{}}
			n.sought[m.Name] = s
		}
		s.federation = name
		key := ""
		if m.Status.Phase == v1alpha1.PhaseReady && m.DeletionTimestamp == nil && m.Status.ObservedCredential != "" {
			key = fmt.Sprint(m.Generation, " ", m.Status.ObservedCredential, " ", strings.Join(f.Spec.Services.Namespaces, ","))
		}
		if key != s.key {
			s.finish()
			if s.key = key; key != "" {
				n.begin(s, m.DeepCopy(), f)
			}
		}
	}
	for member, s := range n.sought {
		if s.federation == name && !now[member] {
			s.finish()
			delete(n.sought, member)
		}
	}
}

func (s *soughtMember) finish() {
	if s.stop != nil {
		s.stop()
	}
	s.key, s.watch, s.stop = "", nil, nil
}

// begin begins the watch of a member.
func (n *namer) begin(s *soughtMember, m *v1alpha1.MemberCluster, f *v1alpha1.Federation) {
	ctx, stop := context.WithCancel(n.base)
	federation := v1alpha1.FederationName(f.Name)
	o := memberState{member: m, federation: f.DeepCopy()}
	s.stop = stop
	s.watch = &exportWatch{
		name: m.Name, uid: m.UID, timeout: n.timeout, namespaces: slices.Sorted(slices.Values(f.Spec.Services.Namespaces)),
		services: map[records.Service]exportItem{}, exports: map[records.Service]bool{}, synced: map[string]bool{},
		changed: func() { n.request(federation) },
		open: func(ctx context.Context) (*connection, *kubeconfig.Access, error) {
			secret := &corev1.Secret{}
			if err := n.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: m.Name}, secret); err != nil {
				return nil, nil, err
			}
			read := o.readCredential(secret)
			if read.reason != "" || read.hash != m.Status.ObservedCredential {
				return nil, nil, &contentError{"its credential has just been changed"}
			}
			conn, err := o.connect(ctx, read.access, n.host, n.timeout)
			return conn, read.access, err
		},
		access: func(access *kubeconfig.Access) (*connection, error) { return connect(access, o.dialer(n.host)) },
	}
	go s.watch.run(ctx)
}

// gather takes what has been read of members since the last time, and returns what keeps others from being read.
func (n *namer) gather(f *v1alpha1.Federation, zone records.Zone) (reports []string, lacking []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(n.sought)) {
		s := n.sought[name]
		if s.federation != zone.Federation || s.watch == nil {
			continue
		}
		state := s.watch.state()
		if len(state.read) > 0 {
			var accepted map[records.Service]records.Exported
			accepted, s.reports = zone.Accept(f.Spec.Services.Namespaces, state.exports)
			maps.DeleteFunc(s.accepted, func(service records.Service, _ records.Exported) bool {
				return slices.Contains(state.read, service.Namespace)
			})
			maps.Copy(s.accepted, accepted)
			for _, namespace := range state.read {
				s.known[namespace] = true
			}
			for i := range s.reports {
				s.reports[i] = fmt.Sprintf("member %q: %s", name, s.reports[i])
			}
		}
		reports = append(reports, s.reports...)
		if why := state.text(name); why != "" {
			reports = append(reports, why)
		}
		if s.lacks != state.lacks {
			s.lacks = state.lacks
			lacking = append(lacking, name)
		}
	}
	return reports, lacking
}

// write brings the objects of a federation up to date.
func (n *namer) write(ctx context.Context, f *v1alpha1.Federation, z *namedFederation, members []v1alpha1.MemberCluster) *fault {
	dns := f.Spec.Services.DNS
	zone := records.Zone{Federation: v1alpha1.FederationName(f.Name), Domain: dns.Domain, TTL: int64(dns.TTL)}
	reports, lacking := n.gather(f, zone)
	for _, name := range lacking {
		select {
		case n.members <- event.TypedGenericEvent[string]{Object: name}:
		case <-ctx.Done():
		}
	}
	if before := formerNamespace(f); before != "" && z.former == nil {
		old := &namedFederation{}
		if n.read(ctx, zone.Federation, before, old) == nil {
			z.former = old.written
		}
	}
	if z.namespace != dns.Namespace || time.Since(z.readAt) >= servicesInterval {
		if f := n.read(ctx, zone.Federation, dns.Namespace, z); f != nil {
			return f
		}
	}
	wanted := map[string]*unstructured.Unstructured{}
	status := &v1alpha1.ServicesStatus{Namespace: dns.Namespace}
	uids := map[string]types.UID{}
	for i := range members {
		uids[members[i].Name] = members[i].UID
	}
	exporters := n.exporters(zone, f.Spec.Services.Namespaces, z, members)
	for _, service := range slices.SortedFunc(maps.Keys(exporters), compareServices) {
		name := dnsEndpointName(zone.Federation, service)
		var last []records.Endpoint
		if have := cmp.Or(z.written[name], z.former[name]); have != nil {
			last = have.endpoints
		}
		endpoints, found := zone.Of(service, exporters[service], last)
		for _, text := range found {
			reports = append(reports, fmt.Sprintf("service %s: %s", service, text))
		}
		n.staleness(f, z, service, exporters[service])
		status.Exported++
		status.Records += int32(len(endpoints))
		remembered := exporterMap{}
		for _, e := range exporters[service] {
			remembered[uids[e.Member]] = e.Exported
		}
		wanted[name] = dnsEndpoint(f, service, endpoints, remembered)
	}
	maps.DeleteFunc(z.stale, func(s records.Service, _ bool) bool { return exporters[s] == nil })
	reports = append(reports, n.apply(ctx, z, dns.Namespace, wanted)...)
	if more := len(reports) - shownReports; more > 0 {
		reports = append(reports[:shownReports-1], fmt.Sprintf("and %d more", more+1))
	}
	for i := range reports {
		reports[i] = text.Cut(reports[i], maxReport)
	}
	status.Reports = reports
	n.mu.Lock()
	z.status = status
	n.mu.Unlock()
	return nil
}

func compareServices(a, b records.Service) int { return strings.Compare(a.String(), b.String()) }

// exporters are the members that export each service, as they were read last, or as what is written says where they have not been read.
func (n *namer) exporters(zone records.Zone, namespaces []string, z *namedFederation, members []v1alpha1.MemberCluster) map[records.Service][]records.Exporter {
	all := map[records.Service][]records.Exporter{}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range members {
		m := &members[i]
		switch m.Status.Phase {
		case v1alpha1.PhaseSuspended, v1alpha1.PhasePending, v1alpha1.PhaseLeaving:
			continue // a person, or a rule, keeps it out: it is not that it fails
		}
		s := n.sought[m.Name]
		exported := map[records.Service]records.Exported{}
		if s != nil {
			maps.Copy(exported, s.accepted)
		}
		for _, objects := range []map[string]*written{z.former, z.written} {
			for name, w := range objects {
				service, ok := serviceOf(zone.Federation, name)
				if e, remembered := w.exporters[m.UID]; ok && remembered && (s == nil || !s.known[service.Namespace]) {
					exported[service] = zone.Usable(e)
				}
			}
		}
		facts := m.KnownFacts()
		regions, zones := facts.Regions[:min(maxScopes, len(facts.Regions))], facts.Zones[:min(maxScopes, len(facts.Zones))]
		if label := m.Labels[corev1.LabelTopologyRegion]; len(regions) == 0 && label != "" {
			regions = []string{label}
		}
		if label := m.Labels[corev1.LabelTopologyZone]; len(zones) == 0 && label != "" {
			zones = []string{label}
		}
		for service, e := range exported {
			if !slices.Contains(namespaces, service.Namespace) {
				continue
			}
			all[service] = append(all[service], records.Exporter{
				Member: m.Name, Ready: m.Status.Phase == v1alpha1.PhaseReady && m.DeletionTimestamp == nil, Regions: regions, Zones: zones, Exported: e,
			})
		}
	}
	return all
}

// serviceOf is the service of an object.
func serviceOf(federation v1alpha1.FederationName, name string) (records.Service, bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || parts[0] != string(federation) {
		return records.Service{}, false
	}
	return records.Service{Namespace: parts[1], Name: parts[2]}, true
}

// staleness records an Event when the last exporter of a service has ceased to be Ready, and when one is again.
func (n *namer) staleness(f *v1alpha1.Federation, z *namedFederation, service records.Service, exporters []records.Exporter) {
	ready := slices.ContainsFunc(exporters, func(e records.Exporter) bool { return e.Ready })
	switch {
	case !ready && !z.stale[service]:
		z.stale[service] = true
		n.recorder.Eventf(f, nil, corev1.EventTypeWarning, "NoReadyExporter", "KeepRecords", "service %s: no member that exports it is Ready; its records stay as they were", service)
	case ready && z.stale[service]:
		delete(z.stale, service)
		n.recorder.Eventf(f, nil, corev1.EventTypeNormal, "ReadyExporter", "UpdateRecords", "service %s: a member that exports it is Ready", service)
	}
}

// read reads the objects that were made for a federation in a namespace.
func (n *namer) read(ctx context.Context, federation v1alpha1.FederationName, namespace string, z *namedFederation) *fault {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(dnsEndpoints.GroupVersion().WithKind(dnsEndpoints.Kind + "List"))
	if err := n.client.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels(dnsLabels(federation))); err != nil {
		return dnsFault(federation, namespace, "list", err)
	}
	z.namespace, z.readAt, z.written = namespace, time.Now(), map[string]*written{}
	for i := range list.Items {
		z.written[list.Items[i].GetName()] = readDNSEndpoint(&list.Items[i])
	}
	return nil
}

// dnsFault is why DNSEndpoints of a namespace cannot be read or written.
func dnsFault(federation v1alpha1.FederationName, namespace, verb string, err error) *fault {
	switch {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err) && verb == "list":
		return &fault{v1alpha1.ReasonDNSEndpointsNotServed, fmt.Sprintf("the host does not serve %s.%s/%s: install external-dns' CustomResourceDefinition of it",
			dnsEndpointResource, dnsEndpoints.Group, dnsEndpoints.Version)}
	case apierrors.IsNotFound(err):
		return &fault{v1alpha1.ReasonNamespaceMissing, fmt.Sprintf("namespace %q does not exist", namespace)}
	case apierrors.IsForbidden(err):
		return &fault{v1alpha1.ReasonDNSForbidden, fmt.Sprintf("the manager may not %s %s in namespace %q; ", verb, dnsEndpointResource, namespace) +
			propose("allow it", command.Grant{Federation: federation, DNS: namespace})}
	}
	return &fault{v1alpha1.ReasonDNSFailed, fmt.Sprintf("%s %s in namespace %q: %s", verb, dnsEndpointResource, namespace, brief(err.Error()))}
}

// apply creates, changes and deletes objects until they are as wanted, and says what could not be done.
func (n *namer) apply(ctx context.Context, z *namedFederation, namespace string, wanted map[string]*unstructured.Unstructured) (reports []string) {
	failed := func(name string, err error) {
		z.readAt = time.Time{}
		if err != nil && ctx.Err() == nil {
			reports = append(reports, fmt.Sprintf("DNSEndpoint %s/%s: %s", namespace, name, brief(err.Error())))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		want, have := wanted[name], z.written[name]
		var err error
		switch endpoints, _, _ := unstructured.NestedSlice(want.Object, "spec", "endpoints"); {
		case have != nil && have.same(want):
			continue
		case have != nil:
			want.SetUID(have.UID)
			err = n.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(want), client.FieldOwner(v1alpha1.ManagerFieldOwner), client.ForceOwnership)
		case len(endpoints) == 0:
			continue
		default:
			err = n.client.Create(ctx, want, client.FieldOwner(v1alpha1.ManagerFieldOwner))
			if apierrors.IsAlreadyExists(err) {
				err = errors.New("it exists and was not made by this manager")
			}
		}
		if err != nil {
			failed(name, err)
			continue
		}
		if have != nil {
			want.SetUID(have.UID)
		}
		z.written[name] = readDNSEndpoint(want)
	}
	for _, name := range slices.Sorted(maps.Keys(z.written)) {
		if wanted[name] != nil {
			continue
		}
		if err := n.delete(ctx, namespace, z.written[name]); err != nil {
			failed(name, err)
			continue
		}
		delete(z.written, name)
	}
	return reports
}

// delete deletes an object that the manager made, and not what replaced it.
func (n *namer) delete(ctx context.Context, namespace string, w *written) error {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(dnsEndpoints)
	o.SetNamespace(namespace)
	o.SetName(w.Name)
	return client.IgnoreNotFound(n.client.Delete(ctx, o, client.Preconditions{UID: &w.UID}))
}

// formerNamespace is another namespace than the federation names now, in which something may be written; empty where there is none.
func formerNamespace(f *v1alpha1.Federation) string {
	if f.Status.Services == nil || f.Spec.Services != nil && f.Spec.Services.DNS.Namespace == f.Status.Services.Namespace {
		return ""
	}
	return f.Status.Services.Namespace
}

// leaveOther deletes what was written in the former namespace. It is true where nothing is left there, or the manager may not look any more.
func (n *namer) leaveOther(ctx context.Context, f *v1alpha1.Federation, z *namedFederation) (left bool) {
	before, old := formerNamespace(f), &namedFederation{written: z.former}
	if old.written == nil {
		if fault := n.read(ctx, v1alpha1.FederationName(f.Name), before, old); fault != nil {
			return fault.reason != v1alpha1.ReasonDNSFailed
		}
	}
	left = true
	for _, name := range slices.Sorted(maps.Keys(old.written)) {
		if err := n.delete(ctx, before, old.written[name]); err != nil {
			left = left && apierrors.IsForbidden(err)
		}
	}
	return left
}

// judge keeps the condition ServicesPublished of a federation.
func (n *namer) judge(f *v1alpha1.Federation, z *namedFederation, left bool, fault *fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case f.Spec.Services == nil && left:
		delete(n.zones, v1alpha1.FederationName(f.Name))
		return
	case f.Spec.Services == nil:
		return
	case !left:
		// The status names the former namespace until nothing is left there.
		if z.status != nil {
			z.status.Namespace = f.Status.Services.Namespace
		}
	}
	c := &metav1.Condition{Type: v1alpha1.ConditionServicesPublished, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPublished,
		Message: fmt.Sprintf("the names of exported services are in namespace %q", f.Spec.Services.DNS.Namespace)}
	switch {
	case fault != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, fault.reason, fault.message
	case z.status != nil && len(z.status.Reports) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonServicesIncomplete, strings.Join(z.status.Reports[:min(shownFaults, len(z.status.Reports))], "; ")
	}
	z.condition = c
}

// setServices brings the status of a federation up to date.
func (n *namer) setServices(status *v1alpha1.FederationStatus, f *v1alpha1.Federation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	z := n.zones[v1alpha1.FederationName(f.Name)]
	if f.Spec.Services == nil {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionServicesPublished)
		if z == nil {
			status.Services = nil
		}
		return
	}
	if z == nil {
		return
	}
	if z.status != nil {
		status.Services = z.status.DeepCopy()
	}
	if z.condition != nil {
		c := *z.condition
		c.ObservedGeneration = f.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
}

// lacks is the right on services that a member does not give; empty where it is not known to lack one.
func (n *namer) lacks(member string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.sought[member]; s != nil {
		return s.lacks
	}
	return ""
}
