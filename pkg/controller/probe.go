package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

const (
	// countInterval is how often the nodes of a member are counted, and nodesInterval how often they are read although
	// their number and the version stayed the same.
	countInterval, nodesInterval = 5 * time.Minute, time.Hour
	// factsRetry is after nodes could not be read.
	factsRetry = time.Minute
	// strangerInterval is how often another cluster behind an endpoint is asked for its ID although it shows the
	// certificate that it did: one that stands behind a proxy shows the proxy's.
	strangerInterval = 10 * time.Minute
)

// outcome is what a probe came to.
type outcome struct {
	// reason is one of v1alpha1's for the condition Ready.
	reason string
	// cause is for the message: it says what the reason does not.
	cause string
	// code is of the HTTP answer; 0 without one.
	code int
}

var well = outcome{reason: v1alpha1.ReasonReachable}

// same says that two outcomes are one to whoever reads them: servers put times and numbers of requests into their
// errors.
func (o outcome) same(other outcome) bool {
	return o.reason == other.reason && o.code == other.code && (o.reason != v1alpha1.ReasonIdentityMismatch || o.cause == other.cause)
}

// fleeting says that it may be over in a moment, so that it is looked at twice.
func (o outcome) fleeting() bool {
	return offline(o.reason) || o.reason == v1alpha1.ReasonServerError
}

var offlineReasons = []string{v1alpha1.ReasonNameNotFound, v1alpha1.ReasonConnectionRefused, v1alpha1.ReasonTimedOut, v1alpha1.ReasonUnreachable}

// probeReasons are all that a probe can come to.
var probeReasons = append([]string{
	v1alpha1.ReasonReachable, v1alpha1.ReasonCertificateInvalid, v1alpha1.ReasonUnauthorized, v1alpha1.ReasonForbidden,
	v1alpha1.ReasonServerError, v1alpha1.ReasonUnexpectedAnswer, v1alpha1.ReasonIdentityMismatch,
}, offlineReasons...)

// offline says that the cluster does not answer.
func offline(reason string) bool { return slices.Contains(offlineReasons, reason) }

// outcomeOf is what a request that failed means. The cause holds nothing that differs from one try to the next, such as
// the port that a connection came from.
func outcomeOf(err error) outcome {
	var (
		answered *answerError
		content  *contentError
		dns      *net.DNSError
		op       *net.OpError
		timeout  net.Error
	)
	switch {
	case errors.As(err, &answered):
		return answered.outcome()
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

func (e *answerError) outcome() outcome {
	o := outcome{code: e.code, cause: brief(e.message)}
	switch {
	case e.code == http.StatusUnauthorized:
		o.reason = v1alpha1.ReasonUnauthorized
	case e.code == http.StatusForbidden:
		o.reason, o.cause = v1alpha1.ReasonForbidden, e.verb+" "+e.object
	case e.code >= http.StatusInternalServerError, e.code == http.StatusTooManyRequests:
		o.reason = v1alpha1.ReasonServerError
	default:
		o.reason = v1alpha1.ReasonUnexpectedAnswer
		o.cause = fmt.Sprintf("%s %s gives %d %s", e.verb, e.object, e.code, http.StatusText(e.code))
	}
	return o
}

// brief is what a server or a library said, as it fits into a status.
func brief(s string) string {
	s = cluster.Printable(strings.TrimSpace(s))
	if runes := []rune(s); len(runes) > 300 {
		s = string(runes[:300]) + "…"
	}
	return s
}

// target is a member as it is probed: when anything of it changes, the member is another one to the prober.
type target struct {
	uid types.UID
	id  v1alpha1.ClusterID
	// credential is the hash of what is stored, endpoint and CA included.
	credential [32]byte
}

// followed is one target and what is known of it. Only one probe of it runs at a time.
type followed struct {
	target
	name string
	conn *connection
	// since is when it was first to be probed.
	since time.Time
	// ctx ends when the target is no longer followed.
	ctx    context.Context
	cancel context.CancelFunc

	// What follows is the running probe's.

	// seen is how many connections had been made when the version was read last.
	seen int64
	// known are the facts; nil before they were read.
	known               *v1alpha1.Facts
	countDue, nodesDue  time.Time
	stranger            *outcome
	strangerCertificate fingerprint
	strangerDue         time.Time

	// What follows is guarded by the prober's lock.

	// failing is when the first of a row of failures was seen, while that is not told; else zero.
	failing time.Time
	last    *observation
}

// observation is what a probe found, when it is worth reporting.
type observation struct {
	outcome
	at time.Time
	// facts are nil before they were read. They are not to be changed.
	facts *v1alpha1.Facts
}

// probe asks the member. The first thing that is asked on any connection is which cluster answers; another one than the
// member's is asked nothing more, and gets no token again before it shows another certificate.
func (f *followed) probe(ctx context.Context, timeout time.Duration, now time.Time) (outcome, error) {
	asking, done := context.WithTimeout(ctx, timeout)
	defer done()
	if f.stranger != nil {
		shown, err := f.conn.certificate(asking)
		if err != nil {
			return outcomeOf(err), nil
		}
		if shown == f.strangerCertificate && now.Before(f.strangerDue) {
			return *f.stranger, nil
		}
	}
	f.stranger = nil
	id, shown, err := f.conn.id(asking)
	if err != nil {
		return outcomeOf(err), nil
	}
	if id != f.id {
		f.stranger = &outcome{reason: v1alpha1.ReasonIdentityMismatch, cause: brief(string(id))}
		f.strangerCertificate, f.strangerDue = shown, now.Add(strangerInterval)
		return *f.stranger, nil
	}
	dials := f.conn.dials.Load()
	if dials == f.seen && now.Before(f.countDue) {
		return well, nil
	}
	// Nodes of a large cluster take many requests.
	reading, done := context.WithTimeout(ctx, 3*timeout)
	defer done()
	err = f.conn.seal(func() error { return f.read(reading, now) })
	answered := (*answerError)(nil)
	switch {
	case err == nil:
		f.seen = dials
	case errors.As(err, &answered) && (answered.code == http.StatusForbidden || answered.code == http.StatusUnauthorized):
		return answered.outcome(), nil
	case errors.Is(err, errReconnected):
		// The next probe asks who answers now.
	default:
		f.seen, f.countDue = dials, now.Add(factsRetry)
	}
	// The cluster did answer.
	return well, err
}

// read brings the facts up to date, with as few requests as can be.
func (f *followed) read(ctx context.Context, now time.Time) error {
	version, err := f.conn.version(ctx)
	if err != nil {
		return err
	}
	if f.known != nil && version == f.known.KubernetesVersion && now.Before(f.nodesDue) {
		if now.Before(f.countDue) {
			return nil
		}
		n, known, err := f.conn.count(ctx)
		if err != nil {
			return err
		}
		if known && n == f.known.Nodes {
			f.countDue = now.Add(spread(countInterval))
			return nil
		}
	}
	facts, err := f.conn.facts(ctx, version)
	if err != nil {
		return err
	}
	f.known, f.countDue, f.nodesDue = facts, now.Add(spread(countInterval)), now.Add(spread(nodesInterval))
	return nil
}

// spread is a time a little below d, so that what began at once does not go on at once.
func spread(d time.Duration) time.Duration { return wait.Jitter(d*7/8, 1.0/7) }
