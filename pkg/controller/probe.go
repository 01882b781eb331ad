package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

const (
	// countInterval is how often the nodes of a member are counted, and nodesInterval how often they are read although
	// their number and the version stayed the same.
	countInterval, nodesInterval = 5 * time.Minute, time.Hour
	// factsRetry is how soon facts that could not be read are read again, and twice as late after each failure; nodes are
	// never read more often.
	factsRetry = time.Minute
	// otherClusterInterval is how often another cluster behind an endpoint is asked for its ID although it presents the same
	// certificate: one behind a proxy presents the proxy's.
	otherClusterInterval = 10 * time.Minute
)

// outcome is the result of a probe.
type outcome struct {
	// reason is that of the condition Ready.
	reason string
	// cause is the part of the message that the reason does not imply.
	cause string
	// code is the HTTP status; 0 when there was no response.
	code int
}

var reachable = outcome{reason: v1alpha1.ReasonReachable}

// same says that two outcomes are reported as one: servers put times and numbers of requests into their errors.
func (o outcome) same(other outcome) bool {
	return o.reason == other.reason && o.code == other.code && (o.reason != v1alpha1.ReasonIdentityMismatch || o.cause == other.cause)
}

// revoked says that the member refuses the credential: itself, or, since API servers remember a token for seconds after it
// was revoked but not its rights, the one request that every credential may make.
func (o outcome) revoked() bool {
	return o.reason == v1alpha1.ReasonUnauthorized || o.reason == v1alpha1.ReasonForbidden && o.cause == identityRequest.what()
}

// accepted says that the member takes the credential, though perhaps not for everything.
func (o outcome) accepted() bool {
	return o.reason == v1alpha1.ReasonReachable || o.reason == v1alpha1.ReasonForbidden && !o.revoked()
}

// transient says that the failure may pass by itself, so that a second probe confirms it first.
func (o outcome) transient() bool {
	return offline(o.reason) || o.reason == v1alpha1.ReasonServerError
}

var offlineReasons = []string{v1alpha1.ReasonNameNotFound, v1alpha1.ReasonConnectionRefused, v1alpha1.ReasonTimedOut, v1alpha1.ReasonUnreachable}

// probeReasons are those of all outcomes.
var probeReasons = append([]string{
	v1alpha1.ReasonReachable, v1alpha1.ReasonCertificateInvalid, v1alpha1.ReasonUnauthorized, v1alpha1.ReasonForbidden,
	v1alpha1.ReasonServerError, v1alpha1.ReasonUnexpectedAnswer, v1alpha1.ReasonIdentityMismatch,
	v1alpha1.ReasonEndpointNotAllowed, v1alpha1.ReasonEndpointNeverAllowed,
}, offlineReasons...)

// offline says that the cluster does not answer.
func offline(reason string) bool { return slices.Contains(offlineReasons, reason) }

// outcomeOf is the outcome of a request that failed. The cause holds nothing that differs from one try to the next, such as
// the port that a connection came from.
func outcomeOf(err error) outcome {
	var (
		failed  *statusError
		content *contentError
		dns     *net.DNSError
		op      *net.OpError
		timeout net.Error
		refused *endpoint.NotAllowed
	)
	switch {
	case errors.As(err, &refused) && refused.Never:
		return outcome{reason: v1alpha1.ReasonEndpointNeverAllowed, cause: brief(refused.Error())}
	case errors.As(err, &refused):
		return outcome{reason: v1alpha1.ReasonEndpointNotAllowed, cause: brief(refused.Error())}
	case errors.As(err, &failed):
		return failed.outcome()
	case errors.As(err, &content):
		return outcome{reason: v1alpha1.ReasonUnexpectedAnswer, cause: content.what}
	case cluster.FaultOf(err) == cluster.FaultCertificate:
		return outcome{reason: v1alpha1.ReasonCertificateInvalid, cause: brief(cluster.Cause(err))}
	case errors.As(err, &dns) && dns.IsNotFound:
		return outcome{reason: v1alpha1.ReasonNameNotFound, cause: fmt.Sprintf("no address is known for %q", dns.Name)}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return outcome{reason: v1alpha1.ReasonTimedOut, cause: "timed out"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return outcome{reason: v1alpha1.ReasonConnectionRefused, cause: "connection refused"}
	case errors.As(err, &dns):
		return outcome{reason: v1alpha1.ReasonUnreachable, cause: fmt.Sprintf("the name %q cannot be looked up: %s", dns.Name, brief(dns.Err))}
	case errors.As(err, &op) && op.Err != nil:
		return outcome{reason: v1alpha1.ReasonUnreachable, cause: brief(op.Err.Error())}
	}
	return outcome{reason: v1alpha1.ReasonUnreachable, cause: brief(cluster.Cause(err))}
}

func (e *statusError) outcome() outcome {
	o := outcome{code: e.code, cause: brief(e.message)}
	switch {
	case e.code == http.StatusUnauthorized:
		o.reason = v1alpha1.ReasonUnauthorized
	case e.code == http.StatusForbidden:
		o.reason, o.cause = v1alpha1.ReasonForbidden, e.what
	case e.code >= http.StatusInternalServerError, e.code == http.StatusTooManyRequests:
		o.reason = v1alpha1.ReasonServerError
	default:
		o.reason = v1alpha1.ReasonUnexpectedAnswer
		o.cause = fmt.Sprintf("%s returns %d %s", e.what, e.code, http.StatusText(e.code))
	}
	return o
}

// maxCause is how long the part of a condition's message is that a server or a library wrote, in bytes.
const maxCause = 300

// brief is a text of a server or a library, as it fits into a status.
func brief(s string) string { return text.Cut(cluster.Printable(strings.TrimSpace(s)), maxCause) }

// target is a member as it is probed. When anything of it changes, the prober begins anew.
type target struct {
	uid types.UID
	id  v1alpha1.ClusterID
	// credential is the hash of what is stored, endpoint and CA included.
	credential string
}

// known is what the host holds of a target beside it.
type known struct {
	// health is that of its federation; nil for none.
	health *v1alpha1.Health
	// allowed is where it may be; nil for a member that a person joined, which may be anywhere.
	allowed *endpoint.AllowList
	// The next are what the member's status holds.

	facts *v1alpha1.Facts
	// waits says that the member is not accepted before its facts change.
	waits bool
	// granted says that it has a signing key, and the manager all rights there; reachable that it answered well, and offline
	// that it did not answer.
	granted, reachable, offline bool
	// announced is what its ClusterProperties follow from, and propertiesMatch says that they were as that wants it.
	announced       announced
	propertiesMatch bool
	// request is the value of a request to probe that is not answered yet; or empty.
	request string
	// probeTime is status.lastProbeTime; zero for none.
	probeTime time.Time
}

// followed is one target and what was observed of it. Only one probe of it runs at a time.
type followed struct {
	target
	name string
	conn *connection
	// allowed is what conn is judged by at each dial; it holds nil where known.allowed is nil.
	allowed *atomic.Pointer[endpoint.AllowList]
	// since is when the prober began to follow it.
	since time.Time
	// ctx ends when the target is no longer followed.
	ctx    context.Context
	cancel context.CancelFunc

	// The fields up to here do not change; the next are the running probe's.

	// readDials is how many connections had been made when the version was read last.
	readDials int64
	// facts are nil before they were read.
	facts *v1alpha1.Facts
	// nodes are not read before nodesAfter, whatever a member sends.
	countDue, nodesDue, nodesAfter time.Time
	signature                      signature
	signDue                        time.Time
	// membership is the reason of Granted that follows from the membership record; empty where that is well, or not known.
	membership    string
	membershipDue time.Time
	properties    properties
	// failures counts readings in a row that failed; nothing but the ID is read before retryDue.
	failures int
	retryDue time.Time
	// readFault is the outcome of a reading that brought what no API server sends; otherwise nil.
	readFault *outcome
	// turn says whether the running probe may read the nodes; nil is always.
	turn func() bool
	// slowNodes says that they took long the last time.
	slowNodes bool
	// otherCluster is the outcome of a probe that found another cluster than the member's; otherwise nil.
	otherCluster            *outcome
	otherClusterCertificate fingerprint
	otherClusterDue         time.Time

	// The next are read and written with the prober's lock.

	// pace is that of its federation.
	pace pace
	// waits is known.waits, as the host has it now.
	waits bool
	// running says that it is being probed, since began, and again that it is due once more.
	running, again bool
	began          time.Time
	// due is when its turn to be probed comes, or came.
	due time.Time
	// late says that it did not answer the last time.
	late bool
	// unreported is how many probes in a row have failed, which is not reported before others confirm it.
	unreported int
	// answered is when the last probe began that found it reachable; zero for none.
	answered time.Time
	// reached says that it was reachable when this manager began to follow it.
	reached bool
	// requested is the value of the last request to probe.
	requested string
	// announced is what the ClusterProperties follow from, as the host has it now.
	announced announced
	last      *observation
	// probeTime is what status.lastProbeTime is, or is about to be.
	probeTime time.Time
}

// observation is the outcome of a probe that is to be reported.
type observation struct {
	outcome
	// answered is when the member was reachable last; zero when that is not known.
	answered time.Time
	// facts are nil before they were read. They are not to be changed.
	facts      *v1alpha1.Facts
	signature  signature
	membership string
	properties propertyState
	// request is the value of the last request to probe that a probe has answered.
	request string
}

// confirmDelay is how soon a probe that failed is to be confirmed by another; 0 when it is to be reported.
func (f *followed) confirmDelay(got outcome) time.Duration {
	was := f.reached
	if f.last != nil {
		was = f.last.outcome == reachable
	}
	switch {
	case was && got.transient():
		if f.unreported < f.pace.failures {
			return f.pace.confirmDelay()
		}
	case f.last == nil && f.unreported == 1:
		return firstConfirmDelay
	}
	return 0
}

// longestProbe is how many timeouts a probe may take: for the ID, the membership record, the signing key, the ClusterProperties, the
// version with the number of nodes, and three for all nodes.
const longestProbe = 8

// waitsSince is when the turn of the target came, or comes, to be probed. One that is being probed waits only when that takes
// longer than it may.
func (f *followed) waitsSince(timeout time.Duration) time.Time {
	if end := f.began.Add(longestProbe * timeout); f.running && end.After(f.due) {
		return end
	}
	return f.due
}

// probe asks the member. The first request on any connection is for the ID of the cluster; another one than the member's is
// asked nothing more, and is sent no token again before it presents another certificate.
func (f *followed) probe(ctx context.Context, timeout time.Duration, now time.Time) (outcome, error) {
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	b := newBudget()
	if f.otherCluster != nil {
		presented, err := f.conn.certificate(short, b)
		if err != nil {
			return outcomeOf(err), nil
		}
		if presented == f.otherClusterCertificate && now.Before(f.otherClusterDue) {
			return *f.otherCluster, nil
		}
	}
	f.otherCluster = nil
	id, presented, err := f.conn.id(short, b)
	if err != nil {
		return outcomeOf(err), nil
	}
	if id != f.id {
		f.otherCluster = &outcome{reason: v1alpha1.ReasonIdentityMismatch, cause: brief(string(id))}
		f.otherClusterCertificate, f.otherClusterDue = presented, now.Add(otherClusterInterval)
		return *f.otherCluster, nil
	}
	dials := f.conn.dials.Load()
	factsDue := dials != f.readDials || !now.Before(f.countDue)
	if now.Before(f.retryDue) || !factsDue && now.Before(f.signDue) && now.Before(f.membershipDue) && !f.properties.isDue(now) {
		return f.standing(), nil
	}
	err = f.conn.seal(func() error {
		membershipErr := f.readMembership(ctx, timeout, b, now)
		signErr := f.sign(ctx, timeout, b, now)
		propertiesErr := f.keepProperties(ctx, timeout, b, now)
		if !factsDue {
			return cmp.Or(signErr, membershipErr, propertiesErr)
		}
		return cmp.Or(f.read(ctx, timeout, b, now), signErr, membershipErr, propertiesErr)
	})
	failed, content := (*statusError)(nil), (*contentError)(nil)
	switch {
	case errors.Is(err, errTurn):
		return f.standing(), err
	case err == nil:
		f.readDials, f.failures, f.readFault = dials, 0, nil
		return reachable, nil
	case errors.As(err, &failed) && (failed.code == http.StatusForbidden || failed.code == http.StatusUnauthorized):
		return failed.outcome(), nil
	case errors.As(err, &content), failed != nil && failed.outcome().reason == v1alpha1.ReasonUnexpectedAnswer:
		f.readFault = new(outcomeOf(err))
	}
	// The next probe asks for the ID on the new connection first. A member may end connections on purpose.
	if f.failures++; !errors.Is(err, errReconnected) || f.failures > 1 {
		f.retryDue = now.Add(min(factsRetry<<min(f.failures-1, 10), nodesInterval))
	}
	return f.standing(), err
}

// errTurn says that nodes are due and it is not the member's turn.
var errTurn = errors.New("the nodes of other members are being read")

// standing is the outcome of a probe that reads no facts. That they could not be read is no fault of the member; that
// they are what no API server sends is.
func (f *followed) standing() outcome {
	if f.readFault != nil {
		return *f.readFault
	}
	return reachable
}

// read brings the facts up to date, with as few requests as possible. Nodes of a large cluster take many: they are read
// only when it is the member's turn, and in three times the time.
func (f *followed) read(ctx context.Context, timeout time.Duration, b *budget, now time.Time) error {
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	version, err := f.conn.version(short, b)
	if err != nil {
		return err
	}
	if f.facts != nil && version != f.facts.KubernetesVersion && now.Before(f.nodesAfter) {
		f.facts = f.facts.DeepCopy()
		f.facts.KubernetesVersion = version
	}
	if f.facts != nil && version == f.facts.KubernetesVersion && now.Before(f.nodesDue) {
		if now.Before(f.countDue) {
			return nil
		}
		n, known, err := f.conn.count(short, b)
		if err != nil {
			return err
		}
		if known && n == f.facts.Nodes {
			f.countDue = now.Add(spread(countInterval))
			return nil
		}
	}
	if f.turn != nil && !f.turn() {
		return errTurn
	}
	long, cancel := context.WithTimeout(ctx, 3*timeout)
	defer cancel()
	facts, err := f.conn.facts(long, b, version)
	if err != nil {
		return err
	}
	f.facts, f.countDue, f.nodesDue, f.nodesAfter = facts, now.Add(spread(countInterval)), now.Add(spread(nodesInterval)), now.Add(factsRetry)
	return nil
}

// spread is a time a little below d, so that what began at one time does not go on at one time.
func spread(d time.Duration) time.Duration { return wait.Jitter(d*7/8, 1.0/7) }
