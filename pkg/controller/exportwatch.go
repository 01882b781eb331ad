package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/services/records"
)

const (
	servicesSubject = "system:serviceaccount:" + v1alpha1.MemberNamespace + ":" + v1alpha1.ServicesAccount
	// servicesLifetime is how long the token lives by which services are read. It is kept in memory alone, and another is requested after
	// two thirds of it.
	servicesLifetime = 6 * time.Hour
	// exportBytes is how much of what a member says about its services is kept, of which each list has an equal share, and streamBytes
	// how much is read of one list or watch before it begins anew.
	exportBytes, streamBytes = 1 << 20, 64 << 20
	// exportPage is how many objects are listed at a time, watchTime how long a watch lasts, and watchShort what is too short for one.
	exportPage, watchTime, watchShort = 250, 8 * time.Minute, 20 * time.Second
	// exportRetry is the first delay after a fault, and exportLongest the longest. exportLongest is also how often namespaces and the kind
	// ServiceExport are looked for again.
	exportRetry, exportLongest = time.Second, time.Minute
)

var servicesRequest = request{
	path: "/api/v1/namespaces/" + v1alpha1.MemberNamespace + "/serviceaccounts/" + v1alpha1.ServicesAccount + "/token",
	verb: "create", object: "token of ServiceAccount " + v1alpha1.MemberNamespace + "/" + v1alpha1.ServicesAccount, most: maxError,
}

// exportKind is one of the two kinds that are watched: Services and ServiceExports.
type exportKind struct {
	// paths are those up to the namespace, of the versions that may be served, the first choice first.
	paths    []string
	resource string
}

var (
	serviceKind       = exportKind{[]string{"/api/v1"}, "services"}
	serviceExportKind = exportKind{[]string{"/apis/multicluster.x-k8s.io/v1beta1", "/apis/multicluster.x-k8s.io/v1alpha1"}, "serviceexports"}
	exportKinds       = []exportKind{serviceKind, serviceExportKind}
)

// in names the list of the objects in a namespace.
func (k exportKind) in(namespace string) string { return k.resource + " in namespace " + namespace }

// exportItem is what is read of one object.
type exportItem struct {
	name, version string
	// loadBalancer says that it is a Service of type LoadBalancer.
	loadBalancer bool
	ingress      []string
	// code is that of a Status.
	code int64
}

func (i exportItem) size() int {
	n := len(i.name)
	for _, target := range i.ingress {
		n += len(target) + 16
	}
	return n + 128
}

// readItem reads an object of either kind, or a Status.
func readItem(s *scanner) (i exportItem, err error) {
	into := func(most int, to *string) func() error {
		return func() error {
			text, fits, err := s.text(most)
			if fits {
				*to = text
			}
			return err
		}
	}
	var kind string
	address := func() error {
		var ip, hostname string
		// What is too long stays as a text that is no host name.
		longest := func(to *string) func() error {
			return func() error {
				text, fits, err := s.text(maxName * 2)
				if !fits {
					text = "(too long)"
				}
				*to = text
				return err
			}
		}
		if err := s.fields(map[string]func() error{"ip": longest(&ip), "hostname": longest(&hostname)}); err != nil {
			return err
		}
		for _, target := range []string{ip, hostname} {
			if target != "" && len(i.ingress) <= records.MaxIngress {
				i.ingress = append(i.ingress, target)
			}
		}
		return nil
	}
	err = s.fields(map[string]func() error{
		"metadata": func() error {
			return s.fields(map[string]func() error{"name": into(2*maxName, &i.name), "resourceVersion": into(maxName, &i.version)})
		},
		"spec": func() error { return s.fields(map[string]func() error{"type": into(maxName, &kind)}) },
		"status": func() error {
			if c, err := s.peek(); err != nil || c != '{' {
				return errors.Join(err, s.skip()) // that of a Status is a text
			}
			return s.fields(map[string]func() error{"loadBalancer": func() error {
				return s.fields(map[string]func() error{"ingress": func() error { return s.array(address) }})
			}})
		},
		"code": func() error {
			n, err := s.number()
			if n != nil {
				i.code = *n
			}
			return err
		},
	})
	i.loadBalancer = kind == string(corev1.ServiceTypeLoadBalancer)
	return i, err
}

// exportWatch reads what one member exports, with a token of the account for that, while the member is Ready. What it has read stays when
// it ends: a member that fails is judged by its phase.
type exportWatch struct {
	// open reads the credential of the member, connects, and reads the ID of the cluster.
	open func(ctx context.Context) (*connection, *kubeconfig.Access, error)
	// access connects with another token at the same endpoint.
	access     func(*kubeconfig.Access) (*connection, error)
	namespaces []string
	timeout    time.Duration
	// changed is called when what is read changes, or what keeps it from being read.
	changed func()

	mu sync.Mutex
	// services and exports are what is kept, and synced which lists have been read since the session began.
	services map[records.Service]exportItem
	exports  map[records.Service]bool
	synced   map[string]bool
	// kept is how many bytes that is by list, and leftOut the lists of which something was left out.
	kept    map[string]int
	leftOut map[string]bool
	// unserved says that the member has no ServiceExports.
	unserved bool
	// denied are the requests that the member does not allow, with the code of its answer, and fault is another reason why nothing is read.
	denied map[string]int
	fault  string
}

func newExportWatch(namespaces []string, timeout time.Duration) *exportWatch {
	return &exportWatch{
		namespaces: slices.Sorted(slices.Values(namespaces)), timeout: timeout,
		services: map[records.Service]exportItem{}, exports: map[records.Service]bool{}, synced: map[string]bool{},
		kept: map[string]int{}, leftOut: map[string]bool{}, denied: map[string]int{},
	}
}

// exportState is what is known of a member: what it exports, and in which namespaces that has been read.
type exportState struct {
	exports      []records.Export
	read         []string
	lacks, fault string
	unserved     bool
	leftOut      []string
}

func (w *exportWatch) state() exportState {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := exportState{fault: w.fault, unserved: w.unserved, leftOut: slices.Sorted(maps.Keys(w.leftOut))}
	if what := slices.Sorted(maps.Keys(w.denied)); len(what) > 0 {
		s.lacks = fmt.Sprintf("%s: %d %s", what[0], w.denied[what[0]], http.StatusText(w.denied[what[0]]))
	}
	s.read = slices.DeleteFunc(slices.Clone(w.namespaces), func(n string) bool { return !w.hasSynced(n) })
	for service := range w.exports {
		if item, ok := w.services[service]; ok && item.loadBalancer && w.hasSynced(service.Namespace) {
			s.exports = append(s.exports, records.Export{Service: service, Ingress: item.ingress})
		}
	}
	return s
}

// hasSynced says whether both lists of a namespace have been read since the session began.
func (w *exportWatch) hasSynced(namespace string) bool {
	return w.synced[serviceKind.in(namespace)] && w.synced[serviceExportKind.in(namespace)]
}

// run reads until ctx ends.
func (w *exportWatch) run(ctx context.Context) {
	delay := exportRetry
	for ctx.Err() == nil {
		began := time.Now()
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.failed(err)
		}
		if time.Since(began) > exportLongest {
			delay = exportRetry
		}
		sleep(ctx, delay/2+rand.N(delay)) //nolint:gosec // it only spreads load
		delay = min(2*delay, exportLongest)
	}
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// failed keeps why something cannot be read: one right that the member does not give keeps what others allow from being read by no means.
func (w *exportWatch) failed(err error) {
	refused, _ := errors.AsType[*statusError](err)
	w.update(func() bool {
		if code := codeOf(err); code == http.StatusForbidden || code == http.StatusNotFound && refused.what == servicesRequest.what() {
			same := w.denied[refused.what] == code
			w.denied[refused.what] = code
			w.settle()
			return !same
		}
		same := w.fault == faultOf(err)
		w.fault = faultOf(err)
		return !same
	})
}

// reads says whether nothing is known to keep the rest from being read.
func (w *exportWatch) reads() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault == "" && len(w.denied) == 0
}

// settle forgets a fault when each list has been read since, or may not be.
func (w *exportWatch) settle() {
	for _, namespace := range w.namespaces {
		if w.denied["get namespace "+namespace] != 0 {
			continue
		}
		for _, kind := range exportKinds {
			if in := kind.in(namespace); !w.synced[in] && w.denied["list "+in] == 0 {
				return
			}
		}
	}
	w.fault = ""
}

// allowed forgets that the member did not allow a request.
func (w *exportWatch) allowed(what string) {
	w.update(func() bool {
		_, was := w.denied[what]
		delete(w.denied, what)
		return was
	})
}

// session reads with one token, until that is to be renewed or something fails.
func (w *exportWatch) session(ctx context.Context) error {
	conn, by, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	access := &kubeconfig.Access{Endpoint: by.Endpoint}
	short, cancel := context.WithTimeout(ctx, 3*w.timeout)
	defer cancel()
	err = conn.seal(func() (err error) {
		access.Token, err = conn.requestTokenOf(short, newBudget(), servicesRequest, authenticationv1.TokenRequestSpec{
			ExpirationSeconds: new(int64(servicesLifetime / time.Second)), BoundObjectRef: conn.boundTo,
		})
		return err
	})
	if err == nil {
		err = judgeToken(access, servicesSubject, by)
	}
	if err != nil {
		return err
	}
	w.allowed(servicesRequest.what())
	missing, denied, err := w.absentNamespaces(short, conn)
	if err != nil {
		return err
	}
	w.begin(missing)
	life := servicesLifetime
	if begin, end := access.Life(); end.After(begin) {
		life = min(life, end.Sub(begin))
	}
	ctx, end := context.WithTimeout(ctx, 2*life/3)
	defer end()
	var (
		running sync.WaitGroup
		once    sync.Once
		fault   error
	)
	for _, namespace := range w.namespaces {
		if slices.Contains(missing, namespace) || slices.Contains(denied, namespace) {
			continue
		}
		for _, kind := range exportKinds {
			running.Go(func() {
				if err := w.follow(ctx, access, kind, namespace); err != nil && ctx.Err() == nil {
					once.Do(func() { fault = err })
				}
				end()
			})
		}
	}
	if len(missing)+len(denied) > 0 {
		running.Go(func() {
			defer end()
			for {
				if sleep(ctx, exportLongest); ctx.Err() != nil {
					return
				}
				short, cancel := context.WithTimeout(ctx, w.timeout)
				stillMissing, stillDenied, err := w.absentNamespaces(short, conn)
				cancel()
				if err != nil || !slices.Equal(stillMissing, missing) || !slices.Equal(stillDenied, denied) {
					return
				}
			}
		})
	}
	running.Wait()
	return fault
}

// absentNamespaces are those of the namespaces that the member does not have, and those that the manager may not look for, which keep no
// other from being read.
func (w *exportWatch) absentNamespaces(ctx context.Context, conn *connection) (missing, denied []string, err error) {
	for _, namespace := range w.namespaces {
		r := request{path: "/api/v1/namespaces/" + namespace, verb: "get", object: "namespace " + namespace}
		_, err := conn.send(ctx, newBudget(), r, nil)
		switch codeOf(err) {
		case http.StatusForbidden:
			denied = append(denied, namespace)
			w.failed(err)
			continue
		case http.StatusNotFound:
			missing = append(missing, namespace)
		default:
			if err != nil {
				return nil, nil, err
			}
		}
		w.allowed(r.what())
	}
	return missing, denied, nil
}

// begin begins a session: all is to be read anew, and in namespaces that are missing there is nothing.
func (w *exportWatch) begin(missing []string) {
	w.update(func() bool {
		clear(w.synced)
		for _, namespace := range missing {
			for _, kind := range exportKinds {
				w.replace(kind, namespace, nil)
			}
		}
		w.settle()
		return true
	})
}

// follow lists and watches the objects of one kind in a namespace, over a connection of its own. What ends at once, a list or a watch, is
// begun again ever later: a member that always does so would be asked without end.
func (w *exportWatch) follow(ctx context.Context, access *kubeconfig.Access, kind exportKind, namespace string) error {
	conn, err := w.access(access)
	if err != nil {
		return err
	}
	defer conn.close()
	delay := exportRetry
	rest := func(began time.Time) {
		if time.Since(began) > watchShort {
			delay = exportRetry
			return
		}
		sleep(ctx, delay)
		delay = min(2*delay, exportLongest)
	}
	for ctx.Err() == nil {
		version, path, err := w.list(ctx, conn, kind, namespace)
		if codeOf(err) == http.StatusForbidden {
			w.failed(err) // the other namespaces are read
			path, err = "", nil
		}
		if err != nil {
			return err
		}
		if path == "" {
			sleep(ctx, exportLongest)
			continue
		}
		for version != "" {
			began := time.Now()
			version, err = w.watch(ctx, conn, kind, path, namespace, version)
			switch {
			case ctx.Err() != nil:
				return nil
			case codeOf(err) == http.StatusForbidden:
				w.failed(err)
				sleep(ctx, exportLongest)
				version = ""
				continue
			case err != nil:
				return err
			}
			rest(began)
			if w.lacksSome(kind, namespace) {
				version = "" // others may have gone meanwhile, and left space for it
			}
		}
	}
	return nil
}

// lacksSome says whether something of a list was left out.
func (w *exportWatch) lacksSome(kind exportKind, namespace string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leftOut[kind.in(namespace)]
}

// list reads all objects of a kind in a namespace, and says at which version to watch, and by which path; that is empty where the kind
// is not served.
func (w *exportWatch) list(ctx context.Context, conn *connection, kind exportKind, namespace string) (version, path string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*w.timeout)
	defer cancel()
	for _, base := range kind.paths {
		path = base + "/namespaces/" + namespace + "/" + kind.resource
		version, err = w.listAt(ctx, conn, kind, path, namespace)
		if codeOf(err) == http.StatusNotFound {
			continue
		}
		return version, path, err
	}
	w.listed(kind, namespace, nil, false)
	return "", "", nil
}

func (w *exportWatch) listAt(ctx context.Context, conn *connection, kind exportKind, path, namespace string) (version string, err error) {
	b := newBudget()
	r := request{path: path, query: url.Values{"limit": {strconv.Itoa(exportPage)}}, verb: "list", object: kind.in(namespace), most: streamBytes}
	var items []exportItem
	kept := 0
	for {
		var more string
		_, err := conn.send(ctx, b, r, func(s *scanner) error {
			return s.fields(map[string]func() error{
				"metadata": func() error {
					return s.fields(map[string]func() error{
						"continue":        func() (err error) { more, _, err = s.text(maxContinue); return err },
						"resourceVersion": func() (err error) { version, _, err = s.text(maxName); return err },
					})
				},
				"items": func() error {
					return s.array(func() error {
						i, err := readItem(s)
						if i.version = ""; kind.resource == serviceExportKind.resource {
							i.ingress = nil
						} else if !i.loadBalancer {
							return err // nothing is named by it
						}
						if kept += i.size(); err == nil && kept <= 2*w.share() { // one more than is kept says that something is left out
							items = append(items, i)
						}
						return err
					})
				},
			})
		})
		if err != nil {
			return "", err
		}
		if more == "" {
			break
		}
		r.query.Set("continue", more)
	}
	if version == "" {
		return "", &contentError{r.what() + ": the list has no version"}
	}
	w.listed(kind, namespace, items, true)
	return version, nil
}

// listed keeps what a list had. Services are served by every cluster.
func (w *exportWatch) listed(kind exportKind, namespace string, items []exportItem, served bool) {
	w.update(func() bool {
		if kind.resource == serviceExportKind.resource {
			w.unserved = !served
		}
		delete(w.denied, "list "+kind.in(namespace))
		w.replace(kind, namespace, items)
		w.settle()
		return true
	})
}

// errExpired says that a watch cannot go on from its version.
var errExpired = errors.New("the version is too old")

// watch reads changes from a version on, and returns the one that it came to; empty where the list is to be read again.
func (w *exportWatch) watch(ctx context.Context, conn *connection, kind exportKind, path, namespace, version string) (string, error) {
	lasts := watchTime/2 + rand.N(watchTime/2) //nolint:gosec // it only spreads load
	ctx, cancel := context.WithTimeout(ctx, lasts+w.timeout)
	defer cancel()
	r := request{path: path, verb: "watch", object: kind.in(namespace), most: streamBytes, query: url.Values{
		"watch": {"1"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {version}, "timeoutSeconds": {strconv.Itoa(int(lasts / time.Second))},
	}}
	_, err := conn.send(ctx, newBudget(), r, func(s *scanner) error {
		w.allowed(r.what())
		for {
			if _, err := s.peek(); err != nil {
				return err
			}
			var (
				event string
				item  exportItem
			)
			err := s.fields(map[string]func() error{
				"type":   func() (err error) { event, _, err = s.text(maxName); return err },
				"object": func() (err error) { item, err = readItem(s); return err },
			})
			switch {
			case err != nil:
				return err
			case event == "ERROR":
				return errExpired // what follows is not waited for
			case event == "ADDED" || event == "MODIFIED":
				w.update(func() bool { return w.put(kind, records.Service{Namespace: namespace, Name: item.name}, item) })
			case event == "DELETED":
				w.update(func() bool { return w.drop(kind, records.Service{Namespace: namespace, Name: item.name}) })
			}
			if item.version != "" {
				version = item.version
			}
		}
	})
	switch code := codeOf(err); {
	case errors.Is(err, errExpired), code == http.StatusGone, code == http.StatusNotFound:
		return "", nil // it is listed again
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ECONNRESET):
		return version, nil // the time of the watch is over, for the member or for what stands before it
	}
	return version, err
}

// update changes what is kept, and has the names judged anew where change says that something is different then.
func (w *exportWatch) update(change func() bool) {
	w.mu.Lock()
	changed := change()
	w.mu.Unlock()
	if changed {
		w.changed()
	}
}

// share is how many bytes are kept of one list.
func (w *exportWatch) share() int { return exportBytes / len(w.namespaces) / 2 }

// replace sets all objects of a kind in a namespace.
func (w *exportWatch) replace(kind exportKind, namespace string, items []exportItem) {
	delete(w.leftOut, kind.in(namespace))
	for service := range maps.Clone(w.services) {
		if kind.resource == serviceKind.resource && service.Namespace == namespace {
			w.drop(kind, service)
		}
	}
	for service := range maps.Clone(w.exports) {
		if kind.resource == serviceExportKind.resource && service.Namespace == namespace {
			w.drop(kind, service)
		}
	}
	for _, i := range items {
		w.put(kind, records.Service{Namespace: namespace, Name: i.name}, i)
	}
	w.synced[kind.in(namespace)] = true
}

// put keeps one object while there is space for it, and says whether what state returns is different then.
func (w *exportWatch) put(kind exportKind, service records.Service, i exportItem) bool {
	before, had := w.services[service]
	if kind.resource != serviceKind.resource && w.exports[service] || kind.resource == serviceKind.resource && had && i.loadBalancer && slices.Equal(before.ingress, i.ingress) {
		return false
	}
	changed := w.drop(kind, service)
	if service.Name == "" || kind.resource == serviceKind.resource && !i.loadBalancer {
		return changed
	}
	in := kind.in(service.Namespace)
	if w.kept[in]+i.size() > w.share() {
		changed = changed || !w.leftOut[in]
		w.leftOut[in] = true
		return changed
	}
	w.kept[in] += i.size()
	if kind.resource == serviceKind.resource {
		w.services[service] = i
	} else {
		w.exports[service] = true
	}
	return true
}

// drop forgets one object, and says whether it was kept.
func (w *exportWatch) drop(kind exportKind, service records.Service) bool {
	if kind.resource == serviceKind.resource {
		i, had := w.services[service]
		if had {
			w.kept[kind.in(service.Namespace)] -= i.size()
			delete(w.services, service)
		}
		return had
	}
	had := w.exports[service]
	if had {
		w.kept[kind.in(service.Namespace)] -= exportItem{name: service.Name}.size()
		delete(w.exports, service)
	}
	return had
}

// text says what keeps a member from being read; empty where nothing does.
func (s exportState) text(name string) string {
	switch {
	case s.lacks != "":
		return fmt.Sprintf("member %q does not let the manager read its services: %s", name, s.lacks)
	case s.fault != "":
		return fmt.Sprintf("the services of member %q cannot be read: %s", name, s.fault)
	case s.unserved:
		return fmt.Sprintf("member %q does not serve ServiceExports (KEP-1645): it exports no services", name)
	case len(s.leftOut) > 0:
		return fmt.Sprintf("member %q has more than is kept of one list, and the rest is left out: %s", name, strings.Join(s.leftOut, ", "))
	}
	return ""
}
