package serving

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

const (
	// every is how often the Secret and the configuration are compared with what is served even when nobody told
	// of a change.
	every = 10 * time.Second
	// retry is how soon after a fault, and until the first success.
	retry = time.Second
	// attempts bound how often two replicas may get in each other's way in one round.
	attempts = 5
)

// Keeper keeps the certificate. It runs on every replica, whoever leads.
type Keeper struct {
	client client.WithWatch
	clock  clock.WithTicker
	log    logr.Logger
	// changed has an element when the Secret or the configuration may have changed.
	changed chan struct{}

	mu      sync.RWMutex
	served  *tls.Certificate
	pair    []byte
	problem error
}

var (
	_ manager.Runnable               = (*Keeper)(nil)
	_ manager.LeaderElectionRunnable = (*Keeper)(nil)
)

// New makes a keeper. The client reads from the API server itself.
func New(c client.WithWatch, log logr.Logger) *Keeper {
	return &Keeper{
		client: c, clock: clock.RealClock{}, log: log, changed: make(chan struct{}, 1),
		problem: errors.New("the webhook has no certificate yet"),
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*Keeper) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	go k.watch(ctx, &admissionregistrationv1.ValidatingWebhookConfigurationList{}, manifests.WebhookConfiguration)
	go k.watch(ctx, &corev1.SecretList{}, manifests.CertificateSecret, client.InNamespace(v1alpha1.HostNamespace))
	for {
		err := k.sync(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.mu.Lock()
		changed := (err == nil) != (k.problem == nil) || err != nil && k.problem != nil && err.Error() != k.problem.Error()
		k.problem = err
		k.mu.Unlock()

		wait := every
		switch {
		case err != nil:
			wait = retry
			if changed {
				k.log.Error(err, "the webhook is not on guard")
			}
		case changed:
			k.log.Info("the webhook is on guard")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
		case <-k.clock.After(wait):
		}
	}
}

// watch tells of changes of one object: whoever applies the shipped configuration again takes the CA out of it, and
// until it is back nobody joins. A watch that ends, or cannot be had, is opened again after a while.
func (k *Keeper) watch(ctx context.Context, list client.ObjectList, name string, options ...client.ListOption) {
	options = append(options, client.MatchingFields{metav1.ObjectNameField: name})
	for ctx.Err() == nil {
		if w, err := k.client.Watch(ctx, list, options...); err == nil {
			for range w.ResultChan() {
				select {
				case k.changed <- struct{}{}:
				default:
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-k.clock.After(retry):
		}
	}
}

// Ready is a readiness check: there is a certificate and API servers know its CA.
func (k *Keeper) Ready() healthz.Checker {
	return func(*http.Request) error {
		k.mu.RLock()
		defer k.mu.RUnlock()
		return k.problem
	}
}

// TLS makes a server serve the certificate.
func (k *Keeper) TLS(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.GetCertificate = k.GetCertificate
}

// GetCertificate is the certificate that is served, whoever asks; without one it is an error that says why.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.served == nil {
		return nil, k.problem
	}
	return k.served, nil
}

// sync brings the Secret, the configuration and what is served in line, in the order in which API servers can
// follow: a certificate is served only after its CA is in the configuration.
func (k *Keeper) sync(ctx context.Context) error {
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	if err := k.client.Get(ctx, client.ObjectKey{Name: manifests.WebhookConfiguration}, &configuration); err != nil {
		return fmt.Errorf("read ValidatingWebhookConfiguration %q, which init installs: %w", manifests.WebhookConfiguration, err)
	}
	names, err := Names(&configuration)
	if err != nil {
		return err
	}
	m, err := k.agree(ctx, names)
	if err != nil {
		return err
	}
	if err := k.announce(ctx, &configuration, m[keyCABundle]); err != nil {
		return err
	}
	return k.serve(m)
}

// agree gives the material that all replicas use. Whoever writes first wins, the others read again.
func (k *Keeper) agree(ctx context.Context, names []string) (material, error) {
	key := client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.CertificateSecret}
	var lost error
	for range attempts {
		var secret corev1.Secret
		err := k.client.Get(ctx, key, &secret)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read Secret %s: %w", key, err)
		}
		missing := err != nil
		m, changed, err := material(secret.Data).renewed(names, k.clock.Now())
		if err != nil {
			return nil, fmt.Errorf("issue a certificate: %w", err)
		}
		if !changed {
			return m, nil
		}
		secret.Data = m
		if missing {
			secret.ObjectMeta = metav1.ObjectMeta{
				Namespace: key.Namespace, Name: key.Name,
				Labels: map[string]string{manifests.LabelName: manifests.Name, manifests.LabelPartOf: manifests.Name},
			}
			secret.Type = corev1.SecretTypeTLS
			lost = k.client.Create(ctx, &secret)
		} else {
			lost = k.client.Update(ctx, &secret)
		}
		if lost == nil {
			k.log.Info("issued a certificate", "names", names)
			return m, nil
		}
		if !apierrors.IsAlreadyExists(lost) && !apierrors.IsConflict(lost) {
			return nil, fmt.Errorf("write Secret %s: %w", key, lost)
		}
	}
	return nil, fmt.Errorf("write Secret %s: %w", key, lost)
}

// announce puts the CA into every webhook of the configuration.
func (k *Keeper) announce(ctx context.Context, configuration *admissionregistrationv1.ValidatingWebhookConfiguration, bundle []byte) error {
	before := configuration.DeepCopy()
	changed := false
	for i := range configuration.Webhooks {
		if at := &configuration.Webhooks[i].ClientConfig.CABundle; !bytes.Equal(*at, bundle) {
			*at, changed = bundle, true
		}
	}
	if !changed {
		return nil
	}
	// By strategic merge, so that nothing but the bundles is written.
	patch := client.StrategicMergeFrom(before)
	if err := k.client.Patch(ctx, configuration, patch, client.FieldOwner(v1alpha1.ManagerFieldOwner)); err != nil {
		return fmt.Errorf("put the CA into ValidatingWebhookConfiguration %q: %w", configuration.Name, err)
	}
	k.log.Info("put the CA into the webhook configuration")
	return nil
}

func (k *Keeper) serve(m material) error {
	pair := slices.Concat(m[keyCert], m[keyKey])
	k.mu.RLock()
	same := bytes.Equal(pair, k.pair)
	k.mu.RUnlock()
	if same {
		return nil
	}
	certificate, err := tls.X509KeyPair(m[keyCert], m[keyKey])
	if err != nil {
		return fmt.Errorf("serve the certificate: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.served, k.pair = &certificate, pair
	return nil
}

// Names are the host names and addresses by which API servers call the webhooks, sorted.
func Names(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) ([]string, error) {
	var names []string
	for _, w := range configuration.Webhooks {
		switch c := w.ClientConfig; {
		case c.URL != nil:
			u, err := url.Parse(*c.URL)
			if err != nil || u.Hostname() == "" {
				return nil, fmt.Errorf("webhook %s: its URL has no host", w.Name)
			}
			names = append(names, u.Hostname())
		case c.Service != nil:
			// API servers ask for the first; the second is for people with curl.
			name := c.Service.Name + "." + c.Service.Namespace + ".svc"
			names = append(names, name, name+".cluster.local")
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("ValidatingWebhookConfiguration %q has no webhook with a URL or a service", configuration.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		if net.ParseIP(name) == nil && len(name) > 253 {
			return nil, fmt.Errorf("webhook host %q is too long for a certificate", name)
		}
	}
	return names, nil
}
