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
	"golang.org/x/time/rate"
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
	"sigs.k8s.io/controller-runtime/pkg/controller"
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
	// changeInterval is the time between two changes of what a member exports in a namespace, in the long run. As many may come at once as
	// there can be services.
	changeInterval = time.Second
	// writeRate is how many writes a second a federation has in the long run, and writeBurst how many may come at once.
	writeRate, writeBurst = 20, 2000
	// opened is how many members are connected to at the same time, when all are to be read.
	opened = 20
	// namerWorkers is how many federations are worked on at the same time.
	namerWorkers = 4
	// shownReports is how many reports a status has, and maxReport how long one is.
	shownReports, maxReport = 10, 1024
	// memberReports is how many of them are about one member.
	memberReports = 5
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
	opening     chan struct{}
	base        context.Context
	end         context.CancelFunc

	mu      sync.Mutex
	watched map[string]*watchedMember
	named   map[v1alpha1.FederationName]*namedFederation
}

// watchedMember is a member whose exported services are read.
type watchedMember struct {
	uid        types.UID
	federation v1alpha1.FederationName
	// key says of what the watch was begun; it is empty while there is none.
	key   string
	watch *exportWatch
	stop  context.CancelFunc
	// limiters have the namespaces in which accepted is what the member exports, and bound how often that changes; of others, what was
	// written says what it exports.
	limiters map[string]*rate.Limiter
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
	// writes bounds how often they are written, and last is the name of the one that was written last.
	writes *rate.Limiter
	last   string
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
		federations: make(chan event.TypedGenericEvent[string]), toName: newRequests(), opening: make(chan struct{}, opened),
		watched: map[string]*watchedMember{}, named: map[v1alpha1.FederationName]*namedFederation{},
	}
	n.base, n.end = context.WithCancel(context.Background())
	if err := mgr.Add(n); err != nil {
		return nil, fmt.Errorf("add the services: %w", err)
	}
	return n, ctrl.NewControllerManagedBy(mgr).
		Named("services").
		WithOptions(controller.Options{MaxConcurrentReconciles: namerWorkers}).
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
	n.notify(ctx, n.updateWatches(f, name, list.Items))
	if f.Spec.Services == nil && (f.Status.Services == nil || f.Status.Services.Namespace == "") {
		n.mu.Lock()
		_, had := n.named[name]
		delete(n.named, name)
		n.mu.Unlock()
		if had && f.Name != "" || f.Status.Services != nil {
			n.report(ctx, name)
		}
		return reconcile.Result{}, nil
	}
	n.mu.Lock()
	z := n.named[name]
	if z == nil {
		z = &namedFederation{stale: map[records.Service]bool{}, writes: rate.NewLimiter(writeRate, writeBurst)}
		n.named[name] = z
	}
	n.mu.Unlock()
	var fault *fault
	again := servicesInterval
	if f.Spec.Services != nil {
		again, fault = n.write(ctx, f, z, list.Items)
	}
	// What is in another namespace goes when all is in the one that is named now.
	empty := formerNamespace(f) == "" || fault == nil && n.emptyFormer(ctx, f, z)
	if empty {
		z.former = nil
	}
	n.judge(f, z, empty, fault)
	n.report(ctx, name)
	switch {
	case fault != nil || !empty:
		return reconcile.Result{RequeueAfter: inventoryRetry}, nil
	case f.Spec.Services == nil:
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

// notify has the condition Granted of members written anew.
func (n *namer) notify(ctx context.Context, members []string) {
	for _, name := range members {
		select {
		case n.members <- event.TypedGenericEvent[string]{Object: name}:
		case <-ctx.Done():
		}
	}
}

// report has the status of a federation written.
func (n *namer) report(ctx context.Context, name v1alpha1.FederationName) {
	select {
	case n.federations <- event.TypedGenericEvent[string]{Object: string(name)}:
	case <-ctx.Done():
	}
}

// updateWatches begins and ends the watches of members. Only of a member that is Ready services are read; what was read of another one
// stays. It returns those that lacked a right and whose services are not read any more.
func (n *namer) updateWatches(f *v1alpha1.Federation, name v1alpha1.FederationName, members []v1alpha1.MemberCluster) (forgotten []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := map[string]bool{}
	for i := range members {
		m := &members[i]
		now[m.Name] = true
		s := n.watched[m.Name]
		if s != nil && s.uid != m.UID {
			s.finish()
			s = nil
		}
		if s == nil {
			s = &watchedMember{uid: m.UID, limiters: map[string]*rate.Limiter{}, accepted: map[records.Service]records.Exported{}}
			n.watched[m.Name] = s
		}
		s.federation = name
		s.forget(f.Spec.Services.Namespaces)
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
	for member, s := range n.watched {
		if s.federation == name && !now[member] {
			s.finish()
			delete(n.watched, member)
			if s.lacks != "" {
				forgotten = append(forgotten, member)
			}
		}
	}
	return forgotten
}

// forget forgets what was read of namespaces that the federation does not name any more: it may be old when it names them again.
func (s *watchedMember) forget(named []string) {
	maps.DeleteFunc(s.limiters, func(namespace string, _ *rate.Limiter) bool { return !slices.Contains(named, namespace) })
	maps.DeleteFunc(s.accepted, func(service records.Service, _ records.Exported) bool {
		return !slices.Contains(named, service.Namespace)
	})
}

func (s *watchedMember) finish() {
	if s.stop != nil {
		s.stop()
	}
	s.key, s.watch, s.stop = "", nil, nil
}

// begin begins the watch of a member.
func (n *namer) begin(s *watchedMember, m *v1alpha1.MemberCluster, f *v1alpha1.Federation) {
	ctx, stop := context.WithCancel(n.base)
	federation := v1alpha1.FederationName(f.Name)
	o := memberState{member: m, federation: f.DeepCopy()}
	s.stop = stop
	w := newExportWatch(f.Spec.Services.Namespaces, n.timeout)
	w.changed = func() { n.request(federation) }
	w.open = func(ctx context.Context) (*connection, *kubeconfig.Access, error) {
		select {
		case n.opening <- struct{}{}:
			defer func() { <-n.opening }()
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
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
	}
	w.access = func(access *kubeconfig.Access) (*connection, error) { return connect(access, o.dialer(n.host)) }
	s.watch = w
	go w.run(ctx)
}

// gather takes what has been read of members since the last time. It returns what was left out and why, and the members whose missing
// right changed.
func (n *namer) gather(f *v1alpha1.Federation, zone records.Zone) (reports, lacking []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var unread []string
	for _, name := range slices.Sorted(maps.Keys(n.watched)) {
		s := n.watched[name]
		if s.federation != zone.Federation || s.watch == nil {
			continue
		}
		state := s.watch.state()
		if len(state.read) > 0 {
			var accepted map[records.Service]records.Exported
			accepted, s.reports = zone.Accept(f.Spec.Services.Namespaces, state.exports)
			for _, namespace := range state.read {
				if wait := s.take(namespace, accepted, len(f.Spec.Services.Namespaces)); wait > 0 {
					n.toName.add(n.base, f.Name, wait)
					s.reports = slices.Insert(s.reports, 0, fmt.Sprintf("what it exports in namespace %s changes too often: it is followed later", namespace))
				}
			}
		}
		for _, text := range upTo(memberReports, s.reports) {
			reports = append(reports, fmt.Sprintf("member %q: %s", name, text))
		}
		if why := state.text(name); why != "" {
			unread = append(unread, why)
		}
		if s.lacks != state.lacks {
			s.lacks = state.lacks
			lacking = append(lacking, name)
		}
	}
	return append(unread, reports...), lacking
}

// upTo are the first texts, and how many more there are.
func upTo(most int, texts []string) []string {
	if more := len(texts) - most; more > 0 {
		return append(slices.Clone(texts[:most-1]), fmt.Sprintf("and %d more", more+1))
	}
	return texts
}

// take keeps what was accepted in a namespace. Where that changes too often it keeps nothing and returns how long to wait: each change is a
// write on the host.
func (s *watchedMember) take(namespace string, accepted map[records.Service]records.Exported, namespaces int) (wait time.Duration) {
	var changed []records.Service
	for service, e := range accepted {
		if had, ok := s.accepted[service]; service.Namespace == namespace && !(ok && equality.Semantic.DeepEqual(had, e)) {
			changed = append(changed, service)
		}
	}
	for service := range s.accepted {
		if _, ok := accepted[service]; service.Namespace == namespace && !ok {
			changed = append(changed, service)
		}
	}
	if limit := s.limiters[namespace]; limit == nil {
		s.limiters[namespace] = rate.NewLimiter(rate.Every(changeInterval), records.MaxServices/namespaces)
	} else {
		r := limit.ReserveN(time.Now(), min(len(changed), limit.Burst()))
		if wait = r.Delay(); wait > 0 {
			r.Cancel()
			return wait
		}
	}
	for _, service := range changed {
		delete(s.accepted, service)
		if e, ok := accepted[service]; ok {
			s.accepted[service] = e
		}
	}
	return 0
}

// write brings the objects of a federation up to date, and says when they are to be looked at again.
func (n *namer) write(ctx context.Context, f *v1alpha1.Federation, z *namedFederation, members []v1alpha1.MemberCluster) (again time.Duration, _ *fault) {
	dns := f.Spec.Services.DNS
	zone := records.Zone{Federation: v1alpha1.FederationName(f.Name), Domain: dns.Domain, TTL: int64(dns.TTL)}
	reports, lacking := n.gather(f, zone)
	n.notify(ctx, lacking)
	before := formerNamespace(f)
	if before != "" && z.former == nil {
		old := &namedFederation{}
		if n.read(ctx, zone.Federation, before, old) == nil {
			z.former = old.written
		}
	}
	if z.namespace != "" && z.namespace != dns.Namespace && z.namespace != before {
		// The status has not named this one yet, and will not any more.
		if err := n.empty(ctx, z.namespace, z.written); err != nil {
			return 0, dnsFault(zone.Federation, z.namespace, "delete", err)
		}
	}
	if z.namespace != dns.Namespace || time.Since(z.readAt) >= servicesInterval {
		if f := n.read(ctx, zone.Federation, dns.Namespace, z); f != nil {
			return 0, f
		}
	}
	wanted := map[string]*unstructured.Unstructured{}
	status := &v1alpha1.ServicesStatus{Namespace: dns.Namespace}
	uids := map[string]types.UID{}
	for i := range members {
		uids[members[i].Name] = members[i].UID
	}
	exporters, unread := n.exporters(zone, f.Spec.Services.Namespaces, z, members)
	var ceased, resumed []string
	for _, service := range slices.SortedFunc(maps.Keys(exporters), records.Service.Compare) {
		name := dnsEndpointName(zone.Federation, service)
		var last []records.Endpoint
		if have := cmp.Or(z.written[name], z.former[name]); have != nil {
			last = have.endpoints
		}
		endpoints, found := zone.Of(service, exporters[service], last)
		for _, text := range found {
			reports = append(reports, fmt.Sprintf("service %s: %s", service, text))
		}
		switch ready := slices.ContainsFunc(exporters[service], func(e records.Exporter) bool { return e.Ready }); {
		case !ready && !z.stale[service]:
			z.stale[service], ceased = true, append(ceased, service.String())
		case ready && z.stale[service]:
			delete(z.stale, service)
			resumed = append(resumed, service.String())
		}
		status.Exported++
		status.Records += int32(len(endpoints))
		remembered := exporterMap{}
		for _, e := range exporters[service] {
			remembered[uids[e.Member]] = e.Exported
		}
		wanted[name] = dnsEndpoint(f, service, endpoints, remembered)
	}
	maps.DeleteFunc(z.stale, func(s records.Service, _ bool) bool { return exporters[s] == nil })
	if len(ceased) > 0 {
		n.recorder.Eventf(f, nil, corev1.EventTypeWarning, "NoReadyExporter", "KeepRecords", "no member is Ready that exports %s: records stay as they were", some(ceased))
	}
	if len(resumed) > 0 {
		n.recorder.Eventf(f, nil, corev1.EventTypeNormal, "ReadyExporter", "UpdateRecords", "a member is Ready again that exports %s", some(resumed))
	}
	// Who exports a service is not remembered where these are too many. Until all have been read again its records stay.
	held := map[string]bool{}
	for name, w := range z.written {
		service, _ := serviceOf(zone.Federation, name)
		held[name] = w.Annotations[v1alpha1.AnnotationExporters] == "" && unread[service.Namespace]
	}
	own, wait := n.apply(ctx, z, dns.Namespace, wanted, held)
	reports = upTo(shownReports, append(own, reports...))
	for i := range reports {
		reports[i] = text.Cut(reports[i], maxReport)
	}
	status.Reports = reports
	n.mu.Lock()
	z.status = status
	n.mu.Unlock()
	return cmp.Or(wait, servicesInterval), nil
}

// some are the first names, and how many more there are.
func some(names []string) string { return strings.Join(upTo(shownReports, names), ", ") }

// exporters are the members that export each service, as they were read last, or as what is written says where they have not been read;
// and the namespaces in which some members are still to be read.
func (n *namer) exporters(
	zone records.Zone, namespaces []string, z *namedFederation, members []v1alpha1.MemberCluster,
) (all map[records.Service][]records.Exporter, unread map[string]bool) {
	all, unread = map[records.Service][]records.Exporter{}, map[string]bool{}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range members {
		m := &members[i]
		switch m.Status.Phase {
		case v1alpha1.PhaseSuspended, v1alpha1.PhasePending, v1alpha1.PhaseLeaving:
			continue // a person, or a rule, keeps it out: it is not that it fails
		}
		s := n.watched[m.Name]
		exported := map[records.Service]records.Exported{}
		if s != nil {
			maps.Copy(exported, s.accepted)
			for _, namespace := range namespaces {
				unread[namespace] = unread[namespace] || s.limiters[namespace] == nil && s.watch != nil && s.watch.reads()
			}
		}
		for _, objects := range []map[string]*written{z.former, z.written} {
			for name, w := range objects {
				service, ok := serviceOf(zone.Federation, name)
				if e, remembered := w.exporters[m.UID]; ok && remembered && (s == nil || s.limiters[service.Namespace] == nil) {
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
	return all, unread
}

// serviceOf is the service of an object.
func serviceOf(federation v1alpha1.FederationName, name string) (records.Service, bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || parts[0] != string(federation) {
		return records.Service{}, false
	}
	return records.Service{Namespace: parts[1], Name: parts[2]}, true
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

// apply creates, changes and deletes objects until they are as wanted, except those that are held. It says what could not be done, and
// how long the next write is to wait.
func (n *namer) apply(ctx context.Context, z *namedFederation, namespace string, wanted map[string]*unstructured.Unstructured, held map[string]bool) (reports []string, wait time.Duration) {
	for _, name := range z.pending(wanted, held) {
		r := z.writes.Reserve()
		if wait = r.Delay(); wait > 0 {
			r.Cancel()
			return append(reports, "records change too often: they are written later"), wait
		}
		z.last = name
		if err := n.applyOne(ctx, z, namespace, name, wanted[name]); err != nil {
			z.readAt = time.Time{}
			if ctx.Err() == nil {
				reports = append(reports, fmt.Sprintf("DNSEndpoint %s/%s: %s", namespace, name, brief(err.Error())))
			}
		}
	}
	return reports, 0
}

// pending are the objects that are not as wanted. It begins with the one after the last that was written, so that none waits for ever.
func (z *namedFederation) pending(wanted map[string]*unstructured.Unstructured, held map[string]bool) (names []string) {
	for name, want := range wanted {
		have := z.written[name]
		endpoints, _, _ := unstructured.NestedSlice(want.Object, "spec", "endpoints")
		if !held[name] && (have == nil && len(endpoints) > 0 || have != nil && !have.same(want)) {
			names = append(names, name)
		}
	}
	for name := range z.written {
		if wanted[name] == nil && !held[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	i, found := slices.BinarySearch(names, z.last)
	if found {
		i++
	}
	return slices.Concat(names[i:], names[:i])
}

// applyOne creates or changes an object; it deletes one that is not wanted any more.
func (n *namer) applyOne(ctx context.Context, z *namedFederation, namespace, name string, want *unstructured.Unstructured) (err error) {
	have := z.written[name]
	switch {
	case want == nil:
		if err = n.delete(ctx, namespace, have); err == nil {
			delete(z.written, name)
		}
		return err
	case have != nil:
		want.SetUID(have.UID)
		err = n.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(want), client.FieldOwner(v1alpha1.ManagerFieldOwner), client.ForceOwnership)
	default:
		err = n.client.Create(ctx, want, client.FieldOwner(v1alpha1.ManagerFieldOwner))
		if apierrors.IsAlreadyExists(err) {
			err = errors.New("it exists and was not made by this manager")
		}
	}
	if err == nil {
		z.written[name] = readDNSEndpoint(want)
	}
	return err
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

// empty deletes the objects of a namespace.
func (n *namer) empty(ctx context.Context, namespace string, written map[string]*written) error {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if err := n.delete(ctx, namespace, written[name]); err != nil {
			return err
		}
	}
	return nil
}

// emptyFormer deletes what was written in the former namespace. It is true where nothing remains there, or the manager may not look any
// more.
func (n *namer) emptyFormer(ctx context.Context, f *v1alpha1.Federation, z *namedFederation) bool {
	before, old := formerNamespace(f), &namedFederation{written: z.former}
	federation := v1alpha1.FederationName(f.Name)
	var failed *fault
	if old.written == nil {
		failed = n.read(ctx, federation, before, old)
	}
	if failed == nil {
		err := n.empty(ctx, before, old.written)
		if err == nil {
			return true
		}
		failed = dnsFault(federation, before, "delete", err)
	}
	if failed.reason == v1alpha1.ReasonDNSForbidden {
		n.recorder.Eventf(f, nil, corev1.EventTypeWarning, "RecordsRemain", "DeleteRecords", "records stay in namespace %q: %s", before, failed.message)
	}
	return failed.reason != v1alpha1.ReasonDNSFailed
}

// judge keeps the condition ServicesPublished of a federation. It forgets a federation without services, and keeps the former namespace in
// the status until that is empty.
func (n *namer) judge(f *v1alpha1.Federation, z *namedFederation, empty bool, fault *fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case f.Spec.Services == nil && empty:
		delete(n.named, v1alpha1.FederationName(f.Name))
		return
	case f.Spec.Services == nil:
		return
	case !empty:
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
	z := n.named[v1alpha1.FederationName(f.Name)]
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
	if s := n.watched[member]; s != nil {
		return s.lacks
	}
	return ""
}
