package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const (
	// renewers is how many credentials are renewed at a time. Each waits for a member most of its time, and members may be slow.
	renewers = 64
	// hostRetry is how soon a renewal that could not begin is tried again.
	hostRetry = 10 * time.Second
)

// renewer renews the credentials of members by their own right: each is a token that may request another one of its account. The
// new token is tried before it is stored, in one write on the condition that the Secret is as it was read. So the old
// credential stays where anything fails, or the manager ends; and of two managers, or a manager and a person who rotates, one writes.
type renewer struct {
	client   client.Client
	direct   client.Reader
	schedule schedule
	timeout  time.Duration
	host     *cluster.HostAddresses
	log      logr.Logger
	metrics  *metrics
	recorder events.EventRecorder
	// changes are the names of members whose renewal has failed.
	changes chan<- event.TypedGenericEvent[string]
	// queue has the members whose renewal is due.
	queue workqueue.TypedDelayingInterface[string]

	attempts
}

// request has a credential renewed if that is due still when its turn comes.
func (r *renewer) request(name string) { r.queue.Add(name) }

// Start renews what is due until ctx ends. Only the leader does.
func (r *renewer) Start(ctx context.Context) error {
	takeTurns(ctx, r.queue, func(name string) error {
		err := r.renew(ctx, name)
		if err != nil && ctx.Err() == nil {
			r.log.Error(err, "could not read what a renewal needs", "member", name)
		}
		return err
	})
	return nil
}

// takeTurns calls turn for each member of a queue, for several at a time, until ctx ends. One whose turn fails has another soon.
func takeTurns(ctx context.Context, queue workqueue.TypedDelayingInterface[string], turn func(name string) error) {
	stop := context.AfterFunc(ctx, queue.ShutDown)
	defer stop()
	var running sync.WaitGroup
	for range renewers {
		running.Go(func() {
			for {
				name, shutdown := queue.Get()
				if shutdown {
					return
				}
				if turn(name) != nil && ctx.Err() == nil {
					queue.AddAfter(name, hostRetry)
				}
				queue.Done(name)
			}
		})
	}
	running.Wait()
}

// renew renews the credential of a member if that is due. The error is that of a read of the host.
func (r *renewer) renew(ctx context.Context, name string) error {
	o := memberState{member: &v1alpha1.MemberCluster{}, federation: &v1alpha1.Federation{}, now: time.Now()}
	secret := &corev1.Secret{}
	// Past the cache: what leaves, or has just been replaced, is not renewed.
	err := errors.Join(
		r.direct.Get(ctx, client.ObjectKey{Name: name}, o.member),
		r.direct.Get(ctx, client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: name}, secret),
	)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	err = r.client.Get(ctx, client.ObjectKey{Name: string(o.member.Federation())}, o.federation)
	if apierrors.IsNotFound(err) {
		o.federation = nil
	} else if err != nil {
		return err
	}
	read := o.readCredential(secret)
	stored := o.judge(&read)
	last := r.last(name, stored.hash)
	if when, ok := o.renewalTime(stored, last, r.schedule); !ok || when.After(o.now) {
		return nil
	}
	next, err := r.issue(ctx, o, secret, read)
	if err == nil {
		err = r.store(ctx, secret, read.hash, next)
	}
	switch {
	case ctx.Err() != nil:
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// Another one was stored meanwhile, or the member leaves. The new token ends with its Secret on the member, or by itself.
		r.metrics.renewals.WithLabelValues(renewalDropped).Inc()
	case err != nil:
		r.failed(ctx, o, stored, last.failures+1, err)
	default:
		r.metrics.renewals.WithLabelValues(renewalRenewed).Inc()
		r.forget(name)
		end, _ := next.Expiry()
		r.log.V(1).Info("renewed the credential of a member", "member", name, "expires", end)
		if last.failures > 0 {
			r.recorder.Eventf(o.member, nil, corev1.EventTypeNormal, "CredentialRenewed", "Renew", "the credential is renewed again; it works until %s", timestamp(end))
		}
	}
	return nil
}

// failed keeps why a renewal failed, and when to try again, and has the status say so.
func (r *renewer) failed(ctx context.Context, o memberState, stored storedCredential, failures int, err error) {
	r.metrics.renewals.WithLabelValues(renewalFailed).Inc()
	a := attempt{
		credential: stored.hash, failures: failures, fault: faultOf(err),
		next: time.Now().Add(r.schedule.retry(stored.life, failures, jitterOf(o.member.UID))),
	}
	if refused, ok := errors.AsType[*statusError](err); ok {
		a.forbidden = refused.code == http.StatusForbidden && refused.what == tokenRequest.what()
	}
	r.keep(o.member.Name, a)
	r.log.Info("could not renew the credential of a member", "member", o.member.Name, "failures", failures, "cause", a.fault)
	if failures == 1 {
		r.recorder.Eventf(o.member, nil, corev1.EventTypeWarning, "CredentialRenewalFailed", "Renew", "%s",
			noteOf(fmt.Sprintf("%s; the stored credential works until %s", a.fault, timestamp(stored.end))))
	}
	select {
	case r.changes <- event.TypedGenericEvent[string]{Object: o.member.Name}:
	case <-ctx.Done():
	}
}

// issue has the member issue another token, by the stored one and at the stored endpoint, and tries it there.
func (r *renewer) issue(ctx context.Context, o memberState, secret *corev1.Secret, read credential) (*kubeconfig.Access, error) {
	conn, err := o.connect(ctx, read.access, r.host, r.timeout)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	next := &kubeconfig.Access{Endpoint: read.access.Endpoint}
	// The token is asked of the cluster whose ID has been read, and no other.
	err = conn.seal(func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		next.Token, err = conn.requestToken(ctx, newBudget(), authenticationv1.TokenRequestSpec{
			ExpirationSeconds: new(int64(askedLife(secret, read.life) / time.Second)), BoundObjectRef: conn.boundTo,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := judgeToken(next, managerSubject, read.access); err != nil {
		return nil, err
	}
	tried, err := o.connect(ctx, next, r.host, r.timeout)
	if err != nil {
		return nil, fmt.Errorf("the member issued a token that does not work: %w", err)
	}
	tried.close()
	return next, nil
}

// connect opens a connection over which the ID of the cluster has been read.
func (o memberState) connect(ctx context.Context, access *kubeconfig.Access, host *cluster.HostAddresses, timeout time.Duration) (*connection, error) {
	conn, err := connect(access, o.dialer(host))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	id, _, err := conn.id(ctx, newBudget())
	if want := v1alpha1.ClusterID(o.member.Spec.ClusterID); err == nil && id != want {
		err = &contentError{fmt.Sprintf("another cluster answers: its ID is %q and not %q", id, want)}
	}
	if err != nil {
		conn.close()
		return nil, err
	}
	return conn, nil
}

// askedLife is how long the new token is asked to live: as long as the first one was, or else as long as was granted last.
func askedLife(secret *corev1.Secret, l life) time.Duration {
	asked, err := time.ParseDuration(secret.Annotations[v1alpha1.AnnotationTokenLifetime])
	if err != nil {
		asked = l.expiry.Sub(l.issued)
	}
	return min(max(asked, member.MinTokenLifetime), member.MaxTokenLifetime)
}

// store replaces what was read, if it is stored still.
func (r *renewer) store(ctx context.Context, secret *corev1.Secret, replaced string, next *kubeconfig.Access) error {
	data, err := next.Marshal()
	if err != nil {
		return err
	}
	// What cannot be read again is not stored.
	if _, err := kubeconfig.Parse(data, kubeconfig.OneContext, kubeconfig.AllowInsecure); err != nil {
		return &contentError{"the member issued a token that cannot be stored: " + err.Error()}
	}
	updated := secret.DeepCopy()
	updated.Data = map[string][]byte{v1alpha1.CredentialKey: data}
	metav1.SetMetaDataAnnotation(&updated.ObjectMeta, v1alpha1.AnnotationRenewed, replaced)
	if err := r.client.Update(ctx, updated, client.FieldOwner(v1alpha1.ManagerFieldOwner)); err != nil {
		return fmt.Errorf("the host does not store the new credential: %w", err)
	}
	return nil
}

// faultOf is why a renewal failed, for a status.
func faultOf(err error) string {
	var (
		content *contentError
		refused *statusError
		host    apierrors.APIStatus
	)
	if errors.As(err, &content) || errors.As(err, &refused) || errors.As(err, &host) {
		return brief(err.Error())
	}
	return "no answer: " + outcomeOf(err).cause
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// renewalOf is what the renewal of a stored credential depends on.
func renewalOf(secret *corev1.Secret, access *kubeconfig.Access) renewal {
	r := renewal{life: life{stored: secret.CreationTimestamp.Time}, replaced: secret.Annotations[v1alpha1.AnnotationRenewed]}
	r.issued, r.expiry = access.Life()
	for _, f := range secret.ManagedFields {
		if f.Time != nil && f.Time.After(r.stored) {
			r.stored = f.Time.Time
		}
	}
	bound, _ := access.BoundSecret()
	r.renewable = access.Subject() == managerSubject && bound != ""
	return r
}
