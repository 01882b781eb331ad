package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// Paths that the webhooks are served at, as manifests.Calls writes them into the configuration; a word may follow.
const (
	PathMemberClusters = "/validate/memberclusters"
	PathFederations    = "/validate/federations"
)

// Server answers reviews of both kinds.
type Server struct {
	informers *informers
	reader    client.Reader
	journal   *journal.Journal
	// handlers are of paths without a word.
	handlers map[string]http.Handler
	accepts  func(word string) bool
	// metrics are nil until Instrument.
	metrics *metrics
}

// Options of a Server.
type Options struct {
	// Informers watch what is on the host. They are those of a started cache, or of one that will be.
	Informers cache.Informers
	// Client reads from the API server itself, and writes the journal.
	Client client.Client
	// Accepts says whether the paths of the webhooks may end in a word; "" stands for a path without one.
	Accepts func(word string) bool
	// Redial closes the client's idle connections. Nil does nothing.
	Redial func()
	// Clock is the time to judge certificates by; nil means that of the machine.
	Clock clock.PassiveClock
}

// New makes a server and starts to watch the host.
func New(ctx context.Context, o Options) (*Server, error) {
	host := journal.NewHost()
	i, err := newInformers(ctx, o.Informers, host)
	if err != nil {
		return nil, err
	}
	direct := journal.WithDeadlines(o.Client, o.Redial)
	s := &Server{accepts: o.Accepts, informers: i, reader: direct, journal: journal.New(journal.Options{Host: host, Client: direct, Clock: o.Clock})}
	scheme := o.Client.Scheme()
	s.handlers = map[string]http.Handler{
		PathMemberClusters: admission.WithValidator[*v1alpha1.MemberCluster](scheme, members{s}),
		PathFederations:    admission.WithValidator[*v1alpha1.Federation](scheme, federations{s}),
	}
	return s, nil
}

// Start keeps the journal until the context ends, on every replica. It is to outlive the port, which answers the requests
// that it has: so it is not for manager.Manager's Add.
func (s *Server) Start(ctx context.Context) { s.journal.Start(ctx) }

// Route gives the handler of reviews that are sent to a path, or nil. A request's context bounds what is done for it.
func (s *Server) Route(path string) http.Handler {
	for prefix, handler := range s.handlers {
		rest, found := strings.CutPrefix(path, prefix)
		word, behind := strings.CutPrefix(rest, "/")
		if found && behind == (word != "") && (behind || rest == "") && s.accepts(word) {
			return handler
		}
	}
	return nil
}

// Ready is a readiness check: the server has seen everything that was there when it started, and does not fail where another
// replica succeeds.
func (s *Server) Ready() healthz.Checker {
	return func(*http.Request) error {
		if !s.informers.synced() {
			return errNotSynced
		}
		return s.journal.Ready()
	}
}

var errNotSynced = errors.New("the federations and members of the host have not been read yet")

// judge decides on a write of an object that is named in words.
func (s *Server) judge(ctx context.Context, what string, r journal.Request) (rules.Verdict, error) {
	verdict, err := s.decide(ctx, r)
	if err == nil {
		return verdict, nil
	}
	if forClient := (journal.ClientError{}); errors.As(err, &forClient) {
		return verdict, forClient.StatusError
	}
	// The cause is text: were it wrapped, a right that the manager lacks would read as one that the user lacks.
	internal := apierrors.NewInternalError(fmt.Errorf("the kubefederate manager could not judge %s: %s", what, err))
	if errors.Is(err, errNotSynced) || errors.Is(err, journal.ErrNoAnswer) {
		// That passes: kubectl and others who use client-go try again by themselves, ten times at most.
		internal.ErrStatus.Details.RetryAfterSeconds = 1
	}
	return verdict, internal
}

func (s *Server) decide(ctx context.Context, r journal.Request) (v rules.Verdict, err error) {
	if !s.informers.synced() {
		return v, errNotSynced
	}
	request, err := admission.RequestFromContext(ctx)
	if err != nil {
		return v, err
	}
	if err := checkSizes(r); err != nil {
		return v, err
	}
	r.DryRun = request.DryRun != nil && *request.DryRun
	if r.Federation != nil {
		if r.Namespaces, err = s.namespaces(ctx, rules.NamespacesToRead(*r.Federation)); err != nil {
			return v, err
		}
	}
	return s.journal.Decide(ctx, r)
}

// namespaces reads namespaces from the API server itself: changes of Federations that name one are too rare to watch all
// namespaces of the host for them. It leaves out those that do not exist.
func (s *Server) namespaces(ctx context.Context, names []string) (found []*metav1.ObjectMeta, err error) {
	for _, name := range names {
		o := &metav1.PartialObjectMetadata{}
		o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		switch err := s.reader.Get(ctx, client.ObjectKey{Name: name}, o); {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read namespace %q: %w", name, err)
		default:
			found = append(found, &o.ObjectMeta)
		}
	}
	return found, nil
}
