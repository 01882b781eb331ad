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
)

// Paths that the webhooks are served at, as manifests/install/4-webhook.yaml names them.
const (
	PathMemberClusters = "/validate/memberclusters"
	PathFederations    = "/validate/federations"
)

// deadline bounds the reads of one request. It is shorter than the configuration's timeoutSeconds, so that the
// answer still arrives and says what could not be read.
const deadline = 4 * time.Second

// Journal closes the time between an admission and its object in etcd, in which another replica, or another
// request, would admit what no longer fits. It is asked after every rule passed, and its refusal is final.
type Journal interface {
	// Admit records a write of a member that the rules admit, or says why it no longer fits. A dry run records
	// nothing.
	Admit(ctx context.Context, change rules.MemberChange, dryRun bool) error
}

// Guard answers for both kinds.
type Guard struct {
	view    *view
	reader  client.Reader
	clock   clock.PassiveClock
	journal Journal
}

// Options of a Guard.
type Options struct {
	// Informers tell what is on the host. They are those of a started cache, or of one that will be.
	Informers cache.Informers
	// Reader reads from the API server itself.
	Reader client.Reader
	// Clock is the time to judge certificates by; nil means that of the machine.
	Clock clock.PassiveClock
	// Journal may be nil: then two requests at one time may both be admitted.
	Journal Journal
}

// New makes a guard and starts to follow the host.
func New(ctx context.Context, o Options) (*Guard, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	v, err := newView(ctx, o.Informers)
	if err != nil {
		return nil, err
	}
	return &Guard{view: v, reader: o.Reader, clock: o.Clock, journal: o.Journal}, nil
}

// Register serves both webhooks.
func (g *Guard) Register(server crwebhook.Server, client client.Client) {
	scheme := client.Scheme()
	server.Register(PathMemberClusters, admission.WithValidator[*v1alpha1.MemberCluster](scheme, members{g}))
	server.Register(PathFederations, admission.WithValidator[*v1alpha1.Federation](scheme, federations{g}))
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

// judge asks the rules about the view, and where they refuse for the sake of another object, again about the
// API server's own word.
func (g *Guard) judge(ctx context.Context, what string, ask func(rules.Snapshot) rules.Verdict) (rules.Verdict, error) {
	if !g.view.ready() {
		return rules.Verdict{}, undecided(what, errNotReady)
	}
	now := g.clock.Now()
	var verdict rules.Verdict
	g.view.read(func(x *rules.Index) {
		verdict = ask(rules.Snapshot{Now: now, Federations: x, Identities: x, Memberships: x})
	})
	if !verdict.RestsOnOthers {
		return verdict, nil
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	l := newLive(ctx, g, verdict.Refusals)
	verdict = ask(rules.Snapshot{Now: now, Federations: l, Identities: l, Memberships: l})
	if l.err != nil {
		return rules.Verdict{}, undecided(what, l.err)
	}
	return verdict, nil
}

// undecided blames us. The cause is told as text: were it wrapped, a right that we lack would read as one that
// the user lacks.
func undecided(what string, cause error) error {
	return apierrors.NewInternalError(fmt.Errorf("the kubefederate manager could not judge %s: %s", what, cause))
}
