package controller

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// never is a network on which nothing answers.
func never(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestProbedUntil holds until when members count as probed, on the test's clock: what holds that time back, and what does not.
func TestProbedUntil(t *testing.T) {
	t.Parallel()
	const interval, timeout = 30 * time.Second, 10 * time.Second
	for _, tt := range []struct {
		name string
		// dead members do not answer, and late is how many of them are probed at a time.
		dead, late int
		// stuck has nothing receive what changes.
		stuck bool
		// least and most are how far behind the time may be at any moment after the first minute.
		least, most time.Duration
	}{
		{name: "members that answer", most: 0},
		{name: "and some that do not", dead: 200, late: lateProbes, most: 0},
		{name: "more than are probed in time", dead: 200, late: 10, least: time.Minute, most: 3 * time.Minute},
		// A probe that has ended waits for the reconciler.
		{name: "a reconciler that is stuck", stuck: true, least: 4*time.Minute - longestProbe*timeout, most: 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				listener := make(pipes)
				listener.serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"metadata":{"uid":"x"}}`) })
				p := probing(t, interval, timeout)
				p.expect(nil, time.Time{})
				if tt.late > 0 {
					p.lateSlots = make(chan struct{}, tt.late)
				}
				for i := range tt.dead {
					followOver(t, p, fmt.Sprint("dead-", i), never)
				}
				for i := range 5 {
					followOver(t, p, fmt.Sprint("live-", i), listener.dial)
				}
				if tt.stuck {
					startStuck(t, p)
				} else {
					start(t, p)
				}
				time.Sleep(4 * time.Minute) //nolint:forbidigo // on the test's clock
				var furthest time.Duration
				for range 600 {
					time.Sleep(100 * time.Millisecond) //nolint:forbidigo // on the test's clock
					until, ok := p.probedUntil(time.Now())
					if !ok {
						t.Fatal("it is not known")
					}
					furthest = max(furthest, time.Since(until))
				}
				if furthest < tt.least || furthest > tt.most {
					t.Errorf("at most %s behind, want %s to %s", furthest, tt.least, tt.most)
				}
			})
		})
	}
}

// startStuck runs p to the end of the test. Nothing receives its changes.
func startStuck(t *testing.T, p *prober) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestExpected holds that a manager that begins says nothing before it has come to each member that there is.
func TestExpected(t *testing.T) {
	t.Parallel()
	p := probing(t, time.Hour, time.Minute)
	isKnown := func(want bool, when string) {
		t.Helper()
		if _, ok := p.probedUntil(time.Now()); ok != want {
			t.Errorf("%s: known: %v", when, ok)
		}
	}
	isKnown(false, "before the members are listed")
	p.drop("early")
	p.expect([]string{"early", "probed", "without-credential", "unusable"}, time.Time{})
	isKnown(false, "before all are followed")
	followOver(t, p, "probed", never)
	p.drop("without-credential")
	isKnown(false, "while one is missing")
	broken := newStub(t).access()
	broken.CABundle = []byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
	if _, err := p.follow("unusable", target{}, opening(broken), known{}); err == nil {
		t.Fatal("an unusable credential is followed")
	}
	isKnown(true, "when all are followed, or have nothing to probe")
	p.drop("another")
	isKnown(true, "when members come and go")
}

// leased is a host with the Lease, and what renews it.
type leased struct {
	*lease
	host client.WithWatch
	// ahead is how far the host's clock is ahead of this machine's.
	ahead time.Duration
	// conflict has the next write refused.
	conflict atomic.Bool
}

// RoundTrip is what the host answers, for its clock.
func (l *leased) RoundTrip(*http.Request) (*http.Response, error) {
	date := time.Now().Add(l.ahead).UTC().Format(http.TimeFormat)
	return &http.Response{Header: http.Header{"Date": {date}}}, nil
}

func newLeased(t *testing.T, objects ...client.Object) *leased {
	t.Helper()
	l := &leased{}
	c, _ := host(t, objects...)
	l.host = interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://192.0.2.1", nil)
			if err != nil {
				return err
			}
			if _, err := cluster.ReadsClock(l).RoundTrip(request); err != nil { //nolint:bodyclose // it has none
				return err
			}
			return c.Get(ctx, key, o, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			if l.conflict.Swap(false) {
				return apierrors.NewConflict(coordinationv1.Resource("leases"), o.GetName(), nil)
			}
			return c.Update(ctx, o, options...)
		},
	})
	m, err := newMetrics(prometheus.NewRegistry(), c)
	if err != nil {
		t.Fatal(err)
	}
	p := probing(t, 30*time.Second, 10*time.Second)
	p.expect(nil, time.Time{})
	l.lease = &lease{client: l.host, direct: l.host, prober: p, holder: "manager-1", log: logr.Discard(), metrics: m}
	return l
}

// stored is the Lease as it is on the host.
func (l *leased) stored(t *testing.T) *coordinationv1.Lease {
	t.Helper()
	stored := &coordinationv1.Lease{}
	if err := l.host.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.ProbesLease}, stored); err != nil {
		t.Fatal(err)
	}
	return stored
}

// renews holds whether the time of the Lease moves on.
func (l *leased) renews(t *testing.T, want bool) {
	t.Helper()
	if got, err := l.renew(t.Context()); err != nil || got != want {
		t.Errorf("renewed: %v, %v; want %v", got, err, want)
	}
}

func near(at *metav1.MicroTime, want time.Time) bool {
	return at != nil && at.Sub(want).Abs() < 2*clockTolerance
}

func TestRenewLease(t *testing.T) {
	t.Parallel()
	l := newLeased(t, manifests.NewProbesLease(version.Version))
	l.renews(t, true)
	s := l.stored(t).Spec
	if !near(s.RenewTime, time.Now()) || *s.LeaseDurationSeconds != 90 || *s.HolderIdentity != "manager-1" {
		t.Errorf("the Lease is %+v", s)
	}
	if got := testutil.ToFloat64(l.metrics.renewed.WithLabelValues()); got != float64(s.RenewTime.UnixMilli())/1000 {
		t.Errorf("the metric is %f, the Lease %s", got, s.RenewTime)
	}

	if got := l.renewedLast(t.Context()); !got.Equal(s.RenewTime.Time) {
		t.Errorf("a manager that begins reads %s", got)
	}

	// Another manager writes between the read and the write.
	l.conflict.Store(true)
	l.renews(t, false)
	l.renews(t, true)

	// A member waits: the time is when it began to, and stays.
	waits := time.Now().Add(time.Second)
	l.prober.members["waits"] = &followed{due: waits}
	l.prober.members["is-probed"] = &followed{due: time.Now().Add(-time.Second), running: true, began: time.Now()}
	until(t, "the time at which it is due", func() bool { return time.Now().After(waits) })
	l.renews(t, true)
	l.renews(t, false)
	if at := l.stored(t).Spec.RenewTime; !at.Time.Equal(waits.Truncate(time.Microsecond)) {
		t.Errorf("the Lease says %s, and a member waits since %s", at, waits)
	}
	clear(l.prober.members)

	// The shortest interval of a federation decides how long its word is good for.
	for interval, want := range map[time.Duration]int32{time.Hour: 90, 10 * time.Second: 30, time.Second: 15} {
		l.prober.members["paced"] = &followed{due: time.Now().Add(time.Hour), pace: pace{interval: interval}}
		l.renews(t, true)
		if got := *l.stored(t).Spec.LeaseDurationSeconds; got != want {
			t.Errorf("with an interval of %s: %d seconds, want %d", interval, got, want)
		}
		if got := testutil.ToFloat64(l.metrics.patience.WithLabelValues()); got != float64(want) {
			t.Errorf("with an interval of %s, the metric is %f, want %d", interval, got, want)
		}
	}
	clear(l.prober.members)

	// A manager that has begun to lead says nothing before it has looked.
	l.prober.expected["new"] = true
	l.renews(t, false)
	clear(l.prober.expected)
	l.renews(t, true)
}

// TestLeaseIsMade holds that a Lease that is missing is made as init installs it.
func TestLeaseIsMade(t *testing.T) {
	t.Parallel()
	l := newLeased(t)
	if got := l.renewedLast(t.Context()); !got.IsZero() {
		t.Errorf("without a Lease a manager that begins reads %s", got)
	}
	l.renews(t, false)
	l.renews(t, true)
	if got, want := fmt.Sprint(l.stored(t).Labels), fmt.Sprint(manifests.NewProbesLease(version.Version).Labels); got != want {
		t.Errorf("labels %s, want %s", got, want)
	}
}

// TestLeaseTime holds that the time is that of the host's clock, whatever that of this machine is and whatever was written.
func TestLeaseTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ahead time.Duration
		// stored is what another manager has written, on the host's clock; zero is nothing.
		stored time.Duration
		renews bool
	}{
		{0, 0, true},
		{0, -time.Hour, true},
		{time.Hour, -time.Minute, true},
		{-time.Hour, -time.Minute, true},
		// This one has been overtaken by one that has looked later.
		{0, time.Second, false},
		// One with a clock that was wrong.
		{0, time.Hour, true},
		{-time.Hour, time.Hour, true},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			t.Parallel()
			there := manifests.NewProbesLease(version.Version)
			if tt.stored != 0 {
				there.Spec.RenewTime = new(metav1.NewMicroTime(time.Now().Add(tt.ahead + tt.stored)))
			}
			l := newLeased(t, there)
			if got := l.renewedLast(t.Context()); got.After(time.Now()) {
				t.Errorf("a manager that begins reads %s, which is still to come", got)
			}
			l.ahead = tt.ahead
			l.renews(t, tt.renews)
			if at := l.stored(t).Spec.RenewTime; !near(at, time.Now().Add(tt.ahead)) {
				t.Errorf("the Lease says %s, and on the host it is %s", at, time.Now().Add(tt.ahead))
			}
		})
	}
}

// BenchmarkProbedUntil looks at 10,000 members.
func BenchmarkProbedUntil(b *testing.B) {
	p := newProber(time.Minute, time.Second, logr.Discard(), nil)
	p.expect(nil, time.Time{})
	for i := range 10_000 {
		p.members[fmt.Sprint(i)] = &followed{due: time.Now().Add(time.Hour)}
	}
	for b.Loop() {
		if _, ok := p.probedUntil(time.Now()); !ok {
			b.Fatal("it is not known")
		}
	}
}
