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
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/services/records"
)

const (
	servicesSubject = "system:serviceaccount:" + v1alpha1.MemberNamespace + ":" + v1alpha1.ServicesAccount
	// servicesLifetime is how long the token lives by which services are read. It is kept in memory alone, and another is requested after
	// two thirds of it.
	servicesLifetime = 6 * time.Hour
	// exportBytes is how much of what a member says about its services is kept, and streamBytes how much is read of one list or watch
	// before it begins anew.
	exportBytes, streamBytes = 1 << 20, 64 << 20
	// exportPage is how many objects are listed at a time, and watchTime how long a watch lasts.
	exportPage, watchTime = 250, 8 * time.Minute
	// exportRetry is how soon reading begins again first after a fault, and exportLongest in the end. It is also how often it is looked
	// whether a namespace, or the kind ServiceExport, has come.
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
	serviceKind      = exportKind{[]string{"/api/v1"}, "services"}
	serviceExportSet = exportKind{[]string{"/apis/multicluster.x-k8s.io/v1beta1", "/apis/multicluster.x-k8s.io/v1alpha1"}, "serviceexports"}
)

// exportItem is what is read of one object.
type exportItem struct {
	name, version string
	// balanced says that it is a Service of type LoadBalancer.
	balanced bool
	ingress  []string
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
	i.balanced = kind == string(corev1.ServiceTypeLoadBalancer)
	return i, err
}

// exportWatch reads what one member exports, with a token of the account for that, while the member is Ready. What it has read stays when
// it ends: a member that fails is judged by its phase.
type exportWatch struct {
	name string
	uid  types.UID
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
	// kept is how many bytes that is, and full says that something was left out.
	kept int
	full bool
	// unserved says that the member has no ServiceExports.
	unserved bool
	// lacks is the right that the member does not give, and fault another reason why nothing is read.
	lacks, fault string
}

// exportState is what is known of a member: what it exports, and in which namespaces that has been read.
type exportState struct {
	exports      []records.Export
	read         []string
	lacks, fault string
	unserved     bool
	full         bool
}

func (w *exportWatch) state() exportState {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := exportState{lacks: w.lacks, fault: w.fault, unserved: w.unserved, full: w.full, read: slices.DeleteFunc(slices.Clone(w.namespaces), func(n string) bool { return !w.read(n) })}
	for service := range w.exports {
		if item, ok := w.services[service]; ok && item.balanced && w.read(service.Namespace) {
			s.exports = append(s.exports, records.Export{Service: service, Ingress: item.ingress})
		}
	}
	return s
}

// read says whether both lists of a namespace have been read since the session began.
func (w *exportWatch) read(namespace string) bool {
	return w.synced[serviceKind.resource+"/"+namespace] && w.synced[serviceExportSet.resource+"/"+namespace]
}

// complete says whether all lists have been read since the session began.
func (w *exportWatch) complete() bool {
	return !slices.ContainsFunc(w.namespaces, func(namespace string) bool { return !w.read(namespace) })
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
		select {
		case <-ctx.Done():
		case <-time.After(delay/2 + rand.N(delay)): //nolint:gosec // it only spreads load
		}
		delay = min(2*delay, exportLongest)
	}
}

// failed keeps why nothing can be read.
func (w *exportWatch) failed(err error) {
	w.mu.Lock()
	lacks, fault := "", faultOf(err)
	if refused, ok := errors.AsType[*statusError](err); ok &&
		(refused.code == http.StatusForbidden || refused.code == http.StatusNotFound && refused.what == servicesRequest.what()) {
		lacks, fault = fault, ""
	}
	same := w.lacks == lacks && w.fault == fault
	w.lacks, w.fault = lacks, fault
	w.mu.Unlock()
	if !same {
		w.changed()
	}
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
		for _, kind := range []exportKind{serviceKind, serviceExportSet} {
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
				select {
				case <-ctx.Done():
					return
				case <-time.After(exportLongest):
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
		_, err := conn.send(ctx, newBudget(), request{path: "/api/v1/namespaces/" + namespace, verb: "get", object: "namespace " + namespace}, nil)
		refused, ok := errors.AsType[*statusError](err)
		switch {
		case ok && refused.code == http.StatusNotFound:
			missing = append(missing, namespace)
		case ok && refused.code == http.StatusForbidden:
			denied = append(denied, namespace)
			w.failed(err)
		case err != nil:
			return nil, nil, err
		}
	}
	return missing, denied, nil
}

// begin begins a session: all is to be read anew, and in namespaces that are missing there is nothing.
func (w *exportWatch) begin(missing []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.synced)
	for _, namespace := range missing {
		w.replace(serviceKind, namespace, nil)
		w.replace(serviceExportSet, namespace, nil)
	}
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
		if time.Since(began) > watchTime/4 {
			delay = exportRetry
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, exportLongest)
	}
	for {
		version, path, err := w.list(ctx, conn, kind, namespace)
		if refused, ok := errors.AsType[*statusError](err); ok && refused.code == http.StatusForbidden {
			w.failed(err) // the other namespaces are read
			path, err = "", nil
		}
		if err != nil {
			return err
		}
		if path == "" {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(exportLongest):
			}
			continue
		}
		for version != "" {
			began := time.Now()
			if version, err = w.watch(ctx, conn, kind, path, namespace, version); err != nil || ctx.Err() != nil {
				return err
			}
			rest(began)
		}
	}
}

// list reads all objects of a kind in a namespace, and says at which version to watch, and by which path; that is empty where the kind
// is not served.
func (w *exportWatch) list(ctx context.Context, conn *connection, kind exportKind, namespace string) (version, path string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*w.timeout)
	defer cancel()
	for _, base := range kind.paths {
		path = base + "/namespaces/" + namespace + "/" + kind.resource
		version, err = w.listAt(ctx, conn, kind, path, namespace)
		if refused, ok := errors.AsType[*statusError](err); ok && refused.code == http.StatusNotFound {
			continue
		}
		return version, path, err
	}
	w.update(func() bool {
		w.unserved = true
		w.replace(kind, namespace, nil)
		if w.complete() {
			w.lacks, w.fault = "", ""
		}
		return true
	})
	return "", "", nil
}

func (w *exportWatch) listAt(ctx context.Context, conn *connection, kind exportKind, path, namespace string) (version string, err error) {
	b := newBudget()
	r := request{path: path, query: url.Values{"limit": {strconv.Itoa(exportPage)}}, verb: "list", object: kind.resource + " in namespace " + namespace, most: streamBytes}
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
						if i.version = ""; kind.resource == serviceExportSet.resource {
							i.ingress = nil
						} else if !i.balanced {
							return err // nothing is named by it
						}
						if kept += i.size(); err == nil && kept <= 2*exportBytes { // one more than is kept says that something is left out
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
	w.update(func() bool {
		if kind.resource == serviceExportSet.resource {
			w.unserved = false
		}
		w.replace(kind, namespace, items)
		if w.complete() {
			w.lacks, w.fault = "", ""
		}
		return true
	})
	return version, nil
}

// errExpired says that a watch cannot go on from its version.
var errExpired = errors.New("the version is too old")

// watch reads changes from a version on, and returns the one that it came to; empty where the list is to be read again.
func (w *exportWatch) watch(ctx context.Context, conn *connection, kind exportKind, path, namespace, version string) (string, error) {
	lasts := watchTime/2 + rand.N(watchTime/2) //nolint:gosec // it only spreads load
	ctx, cancel := context.WithTimeout(ctx, lasts+w.timeout)
	defer cancel()
	r := request{path: path, verb: "watch", object: kind.resource + " in namespace " + namespace, most: streamBytes, query: url.Values{
		"watch": {"1"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {version}, "timeoutSeconds": {strconv.Itoa(int(lasts / time.Second))},
	}}
	_, err := conn.send(ctx, newBudget(), r, func(s *scanner) error {
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
	refused, isStatus := errors.AsType[*statusError](err)
	switch {
	case errors.Is(err, errExpired), isStatus && (refused.code == http.StatusGone || refused.code == http.StatusNotFound):
		return "", nil // it is listed again
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded):
		return version, nil // the time of the watch is over
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

// replace sets all objects of a kind in a namespace.
func (w *exportWatch) replace(kind exportKind, namespace string, items []exportItem) {
	for service := range maps.Clone(w.services) {
		if kind.resource == serviceKind.resource && service.Namespace == namespace {
			w.drop(kind, service)
		}
	}
	for service := range maps.Clone(w.exports) {
		if kind.resource == serviceExportSet.resource && service.Namespace == namespace {
			w.drop(kind, service)
		}
	}
	for _, i := range items {
		w.put(kind, records.Service{Namespace: namespace, Name: i.name}, i)
	}
	w.synced[kind.resource+"/"+namespace] = true
}

// put keeps one object, while there is space for it, and says whether what is kept is different then.
func (w *exportWatch) put(kind exportKind, service records.Service, i exportItem) bool {
	before, had := w.services[service]
	if kind.resource != serviceKind.resource && w.exports[service] || kind.resource == serviceKind.resource && had && i.balanced && slices.Equal(before.ingress, i.ingress) {
		return false
	}
	changed := w.drop(kind, service)
	if service.Name == "" || kind.resource == serviceKind.resource && !i.balanced {
		return changed
	}
	if w.kept+i.size() > exportBytes {
		w.full = true
		return true
	}
	w.kept += i.size()
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
			w.kept -= i.size()
			delete(w.services, service)
		}
		return had
	}
	had := w.exports[service]
	if had {
		w.kept -= exportItem{name: service.Name}.size()
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
	case s.full:
		return fmt.Sprintf("member %q exports more than %d KiB: the rest is left out", name, exportBytes>>10)
	}
	return ""
}
