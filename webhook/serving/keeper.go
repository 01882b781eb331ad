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
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

const (
	// syncInterval is how often the Secret and the configuration are compared with what is served, although no watch
	// reported a change.
	syncInterval = 10 * time.Second
	// retryInterval is the same after an error.
	retryInterval = time.Second
	// maxConflicts is how often one sync writes the Secret again after another replica has written it.
	maxConflicts = 5
)

// Keeper keeps the certificate. It runs on every replica.
type Keeper struct {
	client client.WithWatch
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
		client: c, log: log, changed: make(chan struct{}, 1), problem: errors.New("the webhook has no certificate yet"),
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

		wait := syncInterval
		switch {
		case err != nil:
			wait = retryInterval
			if changed {
				k.log.Error(err, "the serving certificate is not ready")
			}
		case changed:
			k.log.Info("the serving certificate is ready")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
		case <-time.After(wait):
		}
	}
}

// watch reports changes of one object. Applying the shipped configuration again removes the CA, and no cluster can join
// until it is back. A watch that ends or fails is opened again after retryInterval.
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
		case <-time.After(retryInterval):
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

// GetCertificate is the certificate that is served, or an error that says why there is none.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.served == nil {
		return nil, k.problem
	}
	return k.served, nil
}

// sync brings the Secret, the configuration and what is served in line. A certificate is served only after its CA is in
// the configuration.
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

// agree gives the material that all replicas use: that of the replica which writes the Secret first.
func (k *Keeper) agree(ctx context.Context, names []string) (material, error) {
	key := client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.CertificateSecret}
	var conflict error
	for range maxConflicts {
		var secret corev1.Secret
		err := k.client.Get(ctx, key, &secret)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read Secret %s: %w", key, err)
		}
		missing := err != nil
		m, changed, err := material(secret.Data).renewed(names, time.Now())
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
			conflict = k.client.Create(ctx, &secret)
		} else {
			conflict = k.client.Update(ctx, &secret)
		}
		if conflict == nil {
			k.log.Info("issued a certificate", "names", names)
			return m, nil
		}
		if !apierrors.IsAlreadyExists(conflict) && !apierrors.IsConflict(conflict) {
			return nil, fmt.Errorf("write Secret %s: %w", key, conflict)
		}
	}
	return nil, fmt.Errorf("write Secret %s: %w", key, conflict)
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
			// API servers use the first; the second is for people with curl.
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
