package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	crwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// Paths that the webhooks are served at, as manifests/install/4-webhook.yaml names them.
const (
	PathMemberClusters = "/validate/memberclusters"
	PathFederations    = "/validate/federations"
	PathLeaving        = "/leaving/memberclusters"
)

// deadline bounds the reads of one request. It is shorter than the configuration's timeoutSeconds, so that the
// answer still arrives and says what could not be read.
const deadline = 4 * time.Second

// Guard answers for both kinds.
type Guard struct {
	view    *view
	reader  client.Reader
	journal *journal.Journal
	// metrics are nil until Instrument.
	metrics *metrics
}

// Options of a Guard.
type Options struct {
	// Informers tell what is on the host. They are those of a started cache, or of one that will be.
	Informers cache.Informers
	// Reader reads from the API server itself.
	Reader client.Reader
	// Still asks the API server about one object; with nil the object is read.
	Still journal.Still
	// Clock is the time to judge certificates by; nil means that of the machine.
	Clock clock.PassiveClock
	// Client reads and writes the journal, past any cache. With nil there is none, and two requests at one
	// time may both be admitted.
	Client client.Client
}

// New makes a guard and starts to follow the host.
func New(ctx context.Context, o Options) (*Guard, error) {
	host := journal.NewHost()
	v, err := newView(ctx, o.Informers, host)
	if err != nil {
		return nil, err
	}
	return &Guard{view: v, reader: o.Reader, journal: journal.New(journal.Options{
		Host: host, Reader: o.Reader, Still: o.Still, Client: o.Client, Clock: o.Clock,
	})}, nil
}

// Start keeps the journal until the context ends, on every replica. It is to outlive the server, which answers what is
// under way: so it is not for manager.Manager's Add.
func (g *Guard) Start(ctx context.Context) { g.journal.Start(ctx) }

// Register serves the webhooks.
func (g *Guard) Register(server crwebhook.Server, client client.Client) {
	scheme := client.Scheme()
	server.Register(PathMemberClusters, admission.WithValidator[*v1alpha1.MemberCluster](scheme, members{g}))
	server.Register(PathFederations, admission.WithValidator[*v1alpha1.Federation](scheme, federations{g}))
	server.Register(PathLeaving, &admission.Webhook{Handler: leaving{g}})
}

// Ready is a readiness check: the guard has seen everything there is.
func (g *Guard) Ready() healthz.Checker {
	return func(*http.Request) error {
		if !g.view.ready() {
			return errNotReady
		}
		return nil
	}
}

var errNotReady = errors.New("the federations and members of the host have not been read yet")

// judge asks the rules and the journal.
func (g *Guard) judge(ctx context.Context, what string, r journal.Request) (rules.Verdict, error) {
	if !g.view.ready() {
		return rules.Verdict{}, undecided(what, errNotReady)
	}
	request, err := admission.RequestFromContext(ctx)
	if err != nil {
		return rules.Verdict{}, undecided(what, err)
	}
	r.DryRun = request.DryRun != nil && *request.DryRun
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	verdict, err := g.journal.Decide(ctx, r)
	if err != nil {
		return rules.Verdict{}, undecided(what, err)
	}
	return verdict, nil
}

// undecided blames us. The cause is told as text: were it wrapped, a right that we lack would read as one that
// the user lacks.
func undecided(what string, cause error) error {
	if told := (journal.Told{}); errors.As(cause, &told) {
		return told.StatusError
	}
	return apierrors.NewInternalError(fmt.Errorf("the kubefederate manager could not judge %s: %s", what, cause))
}
