package controller

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// consumerLifetime is how long a token for those who read an inventory is to live. It ends with the manager's own at the latest, since
// both are bound to the same Secret on the member.
const consumerLifetime = 24 * time.Hour

const (
	consumerAccount = v1alpha1.MemberNamespace + "/" + v1alpha1.ConsumerAccount
	consumerSubject = "system:serviceaccount:" + v1alpha1.MemberNamespace + ":" + v1alpha1.ConsumerAccount
)

var consumerRequest = request{
	path: "/api/v1/namespaces/" + v1alpha1.MemberNamespace + "/serviceaccounts/" + v1alpha1.ConsumerAccount + "/token",
	verb: "create", object: "token of ServiceAccount " + consumerAccount, most: maxError,
}

// consumerToken is what a Secret says of the token in it. The manager reads only the metadata of those Secrets.
type consumerToken struct {
	// Issued and Expires are by the clock of the member, and Stored by that of the manager.
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Stored  time.Time `json:"stored"`
	// With is the hash of the manager's credential that the token was requested with. A rotation ends it.
	With string `json:"with"`
	// For is the hash of the member, and of the endpoint that it had: see issuedFor.
	For string `json:"for"`
}

// consumerTokenOf reads what a Secret says; the zero one is of a Secret that does not exist, that says nothing, or whose token was
// issued for another endpoint than the member has now, or for a former member of the same name.
func consumerTokenOf(secret client.Object, m *v1alpha1.MemberCluster) (t consumerToken) {
	if secret == nil || json.Unmarshal([]byte(secret.GetAnnotations()[v1alpha1.AnnotationConsumerToken]), &t) != nil || t.For != issuedFor(m) {
		return consumerToken{}
	}
	return t
}

// issuedFor is the hash of a member and its endpoint. Clients send the token to the server that the profile names, and a joiner may
// name another: the token of the former server must not be offered beside it.
func issuedFor(m *v1alpha1.MemberCluster) string {
	data, err := json.Marshal(struct {
		UID      types.UID
		Endpoint endpoint.Endpoint
	}{m.UID, endpoint.Of(m).Canonical()})
	if err != nil {
		panic(err) // strings, bytes and a bool
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// due is when a token is to be issued, given what became of the last attempt with the manager's credential, and false while the member
// cannot issue one.
func (t consumerToken) due(m *v1alpha1.MemberCluster, last attempt, s schedule) (time.Time, bool) {
	with := m.Status.ObservedCredential
	if with == "" || !(memberState{member: m}).answers() {
		return time.Time{}, false
	}
	var due time.Time
	if t.With == with {
		var renewable bool
		if due, renewable = s.due(life{issued: t.Issued, expiry: t.Expires, stored: t.Stored}, jitterOf(m.UID)); !renewable {
			due = time.Time{}
		}
	}
	if last.failures > 0 && last.next.After(due) {
		due = last.next
	}
	return due, true
}

// consumers issues the credentials of those who read inventories, by the manager's right on each member, and stores them.
type consumers struct {
	publisher *publisher
	schedule  schedule
	timeout   time.Duration
	host      *cluster.HostAddresses
	log       logr.Logger
	// queue has the members whose token is due.
	queue workqueue.TypedDelayingInterface[string]

	attempts
}

// Start issues what is due until ctx ends. Only the leader does.
func (c *consumers) Start(ctx context.Context) error {
	takeTurns(ctx, c.queue, func(name string) error {
		err := c.renew(ctx, name)
		if err != nil && ctx.Err() == nil {
			c.log.Error(err, "could not read what a consumer's credential needs", "member", name)
		}
		return err
	})
	return nil
}

// renew issues and stores the token of a member if that is due. The error is that of a read of the host.
func (c *consumers) renew(ctx context.Context, name string) error {
	o := memberState{member: &v1alpha1.MemberCluster{}, federation: &v1alpha1.Federation{}, now: time.Now()}
	secret := &corev1.Secret{}
	// Past the cache: what leaves, or has just been replaced, gets none.
	err := errors.Join(
		c.publisher.client.Get(ctx, client.ObjectKey{Name: name}, o.member),
		c.publisher.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: name}, secret),
	)
	if err == nil {
		err = c.publisher.cached.Get(ctx, client.ObjectKey{Name: string(o.member.Federation())}, o.federation)
	}
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	n := c.publisher.credentialsOf(o.federation, o.member)
	if n == nil {
		return nil
	}
	have := n.get(name)
	read := o.readCredential(secret)
	if read.reason != "" || read.hash != o.member.Status.ObservedCredential {
		// The status is behind, or says what is wrong.
		return nil
	}
	last := c.last(name, read.hash)
	if due, ok := consumerTokenOf(have, o.member).due(o.member, last, c.schedule); !ok || due.After(o.now) {
		return nil
	}
	issued, err := c.issue(ctx, o, secret, read)
	if err == nil {
		err = c.storeWanted(ctx, n, have, o.member, read.hash, issued)
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// It was changed or deleted meanwhile, which the watch shows soon.
		c.queue.AddAfter(name, hostRetry)
	case err != nil:
		c.failed(o, read, last.failures+1, err)
		c.publisher.request(name)
	default:
		c.forget(name)
	}
	return nil
}

// failed keeps why no token was issued, and when to try again.
func (c *consumers) failed(o memberState, read credential, failures int, err error) {
	a := attempt{
		credential: read.hash, failures: failures, fault: faultOf(err),
		next: time.Now().Add(c.schedule.retry(life{issued: o.now, expiry: o.now.Add(consumerLifetime)}, failures, jitterOf(o.member.UID))),
	}
	if refused, ok := errors.AsType[*statusError](err); ok && refused.what == consumerRequest.what() {
		a.forbidden = refused.code == http.StatusForbidden || refused.code == http.StatusNotFound
	}
	c.keep(o.member.Name, a)
	c.log.Info("could not issue a credential for those who read the inventory", "member", o.member.Name, "failures", failures, "cause", a.fault)
}

// issue has the member issue a token of the consumer's account, by the manager's credential and at its endpoint, and tries it there.
func (c *consumers) issue(ctx context.Context, o memberState, secret *corev1.Secret, read credential) (*kubeconfig.Access, error) {
	conn, err := o.connect(ctx, read.access, c.host, c.timeout)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	next := &kubeconfig.Access{Endpoint: read.access.Endpoint}
	// The token is asked of the cluster whose ID has been read, and no other.
	err = conn.seal(func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		next.Token, err = conn.requestTokenOf(ctx, newBudget(), consumerRequest, authenticationv1.TokenRequestSpec{
			ExpirationSeconds: new(int64(min(consumerLifetime, askedLife(secret, read.life)) / time.Second)), BoundObjectRef: conn.boundTo,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := judgeConsumerToken(next, read.access, time.Now()); err != nil {
		return nil, err
	}
	tried, err := connect(next, o.dialer(c.host))
	if err != nil {
		return nil, err
	}
	defer tried.close()
	short, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// Every account may read the version, or is refused with 403: what counts is that the token is known.
	if _, err := tried.version(short, newBudget()); err != nil {
		return nil, fmt.Errorf("the member issued a token that does not work: %w", err)
	}
	return next, nil
}

// storeWanted stores a token while it is wanted. The member may take long to issue it: meanwhile the namespace may have been left, and
// nothing would find there what is stored too late.
func (c *consumers) storeWanted(ctx context.Context, n *inventoryNamespace, have client.Object, m *v1alpha1.MemberCluster, with string, issued *kubeconfig.Access) error {
	if wanted, err := c.wants(ctx, n, m); err != nil || !wanted {
		return err
	}
	if err := c.store(ctx, n, have, m, with, issued); err != nil {
		return err
	}
	if wanted, err := c.wants(ctx, n, m); err == nil && wanted {
		return nil
	}
	stored := n.object()
	if err := c.publisher.client.Get(ctx, client.ObjectKey{Namespace: n.namespace, Name: m.Name}, stored); err != nil {
		return client.IgnoreNotFound(err)
	}
	return c.publisher.deleteSecret(ctx, n, stored)
}

// wants reads past the cache whether a credential of a member, as it was when its token was requested, is wanted in a namespace still.
func (c *consumers) wants(ctx context.Context, n *inventoryNamespace, asked *v1alpha1.MemberCluster) (bool, error) {
	m, f := &v1alpha1.MemberCluster{}, &v1alpha1.Federation{}
	err := c.publisher.client.Get(ctx, client.ObjectKey{Name: asked.Name}, m)
	if err == nil {
		err = c.publisher.client.Get(ctx, client.ObjectKey{Name: string(asked.Federation())}, f)
	}
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	now := c.publisher.credentialsOf(f, m)
	if now == nil || now.inventoryKey != n.inventoryKey || issuedFor(m) != issuedFor(asked) {
		return false, nil
	}
	namespace, err := namespaceOf(ctx, c.publisher.client, n.namespace)
	return err == nil && namespace.UID == n.uid, client.IgnoreNotFound(err)
}

// store creates the Secret of a member, or replaces what is owned here of the one that is there.
func (c *consumers) store(ctx context.Context, n *inventoryNamespace, have client.Object, m *v1alpha1.MemberCluster, with string, issued *kubeconfig.Access) error {
	data, err := issued.Marshal()
	if err != nil {
		return err
	}
	begin, end := issued.Life()
	said, err := json.Marshal(consumerToken{Issued: begin, Expires: end, Stored: time.Now().UTC().Truncate(time.Second), With: with, For: issuedFor(m)})
	if err != nil {
		return err
	}
	o := inventory.Secret(m, n.namespace)
	o.SetAnnotations(map[string]string{v1alpha1.AnnotationConsumerToken: string(said)})
	o.Object["data"] = map[string]any{v1alpha1.CredentialKey: base64.StdEncoding.EncodeToString(data)}
	if have != nil {
		o.SetUID(have.GetUID())
		return c.publisher.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(v1alpha1.ManagerFieldOwner), client.ForceOwnership)
	}
	err = c.publisher.client.Create(ctx, o, client.FieldOwner(v1alpha1.ManagerFieldOwner))
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	live := &metav1.PartialObjectMetadataList{}
	live.SetGroupVersionKind(n.list().GetObjectKind().GroupVersionKind())
	if err := c.publisher.client.List(ctx, live, append(n.made(), client.InNamespace(n.namespace))...); err != nil {
		return err
	}
	if slices.ContainsFunc(live.Items, func(s metav1.PartialObjectMetadata) bool {
		return s.Name == m.Name && s.Labels[v1alpha1.LabelMember] == m.Name
	}) {
		return apierrors.NewConflict(corev1.Resource("secrets"), m.Name, errors.New("the watch is behind"))
	}
	return &contentError{fmt.Sprintf("Secret %s/%s was not made by this manager", n.namespace, m.Name)}
}

// judgeConsumerToken is judgeToken for a token of those who read the inventory, and an error for one that has ended: it would be issued
// anew at each look.
func judgeConsumerToken(issued, by *kubeconfig.Access, now time.Time) error {
	if err := judgeToken(issued, consumerSubject, by); err != nil {
		return err
	}
	if _, end := issued.Life(); !end.After(now) {
		return &contentError{fmt.Sprintf("the member issued a token that ended at %s: compare its clock with that of the host", timestamp(end))}
	}
	return nil
}

// judgeToken is an error unless a token is of the account, and ends with the Secret that the manager's is bound to.
func judgeToken(issued *kubeconfig.Access, subject string, by *kubeconfig.Access) error {
	name, uid := issued.BoundSecret()
	boundName, boundUID := by.BoundSecret()
	begin, end := issued.Life()
	switch {
	case issued.Subject() != subject:
		return &contentError{fmt.Sprintf("the member issued a token of %q and not of %q", issued.Subject(), subject)}
	case name != boundName || uid != boundUID:
		return &contentError{fmt.Sprintf("the member issued a token that is bound to Secret %q and not to %q", name, boundName)}
	case begin.IsZero() || !end.After(begin):
		return &contentError{"the member issued a token that does not say how long it lives"}
	}
	return nil
}

// credentialsOf is the namespace for the credential of a member; nil where there is none to be, or nothing can be written now.
func (p *publisher) credentialsOf(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) *inventoryNamespace {
	for _, n := range p.followedNamespaces() {
		if n.credentials && n.fault == nil && n.synced() && f.Spec.Access != nil && wanted(f, m, &n) && pinnedUID(f, n.namespace) == n.uid {
			return &n
		}
	}
	return nil
}

// keepSecret has a credential issued when one is due, and deletes one that is not to be any more.
func (p *publisher) keepSecret(ctx context.Context, n *inventoryNamespace, name string, m *v1alpha1.MemberCluster, wanted bool, done *publication) error {
	have := n.get(name)
	switch {
	case !wanted && have == nil:
		return nil
	case n.fault != nil:
		done.unavailable(n, wanted, "the member has no credential in namespace")
		return nil
	case !n.synced(), have != nil && have.GetDeletionTimestamp() != nil:
		done.pending = true
		return nil
	case !wanted:
		p.consumers.forget(name)
		return p.settle(p.deleteSecret(ctx, n, have), done)
	case have != nil && consumerTokenOf(have, m).For == "":
		// Another is issued when this one is gone, and the credential that is stored is one for the member as it is now.
		done.pending = true
		return p.settle(p.deleteSecret(ctx, n, have), done)
	}
	last, now, said := p.consumers.last(name, m.Status.ObservedCredential), time.Now(), consumerTokenOf(have, m)
	due, ok := said.due(m, last, p.consumers.schedule)
	switch {
	case ok && !due.After(now):
		p.consumers.queue.Add(name)
	case ok:
		done.within(due.Sub(now))
	}
	done.credential(m, said, last, ok, now)
	return nil
}

// deleteSecret deletes a credential as it was read: not what replaced it, nor what others made of it.
func (p *publisher) deleteSecret(ctx context.Context, n *inventoryNamespace, have client.Object) error {
	gone := n.object() // items of a list do not say their kind
	gone.SetNamespace(n.namespace)
	gone.SetName(have.GetName())
	return client.IgnoreNotFound(p.client.Delete(ctx, gone, client.Preconditions{UID: new(have.GetUID()), ResourceVersion: new(have.GetResourceVersion())}))
}

// credential says what became of the credential of a member: said is what the Secret says of it, and last the last attempt with the
// manager's credential.
func (d *publication) credential(m *v1alpha1.MemberCluster, said consumerToken, last attempt, answers bool, now time.Time) {
	works := said.With == m.Status.ObservedCredential && now.Before(said.Expires)
	failing := last.failures > 0
	message := "the credential for those who read the inventory could not be issued: " + last.fault
	if last.forbidden {
		message += "; " + propose("grant the account for them", memberState{member: m}.join())
	}
	switch {
	case failing && works:
		d.warning = fmt.Sprintf("%s; the last one works until %s", message, timestamp(said.Expires))
	case failing:
		d.faults = append(d.faults, fault{v1alpha1.ReasonConsumerCredentialFailed, message})
	case !works && !answers:
		d.faults = append(d.faults, fault{v1alpha1.ReasonConsumerCredentialFailed, "the credential for those who read the inventory is issued when the member answers: see Ready"})
	case !works:
		d.pending = true
	}
}
