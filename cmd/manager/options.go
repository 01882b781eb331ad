package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/controller"
	"github.com/kubefederate/kubectl-federate/pkg/version"
	"github.com/kubefederate/kubectl-federate/webhook"
	"github.com/kubefederate/kubectl-federate/webhook/port"
	"github.com/kubefederate/kubectl-federate/webhook/serving"
)

// options are the manager's flags.
type options struct {
	processOptions
	webhookAddress string
	keysDir        string
	certDir        string
	clientCA       string
	shutdownDelay  time.Duration
	probeInterval  time.Duration
	probeTimeout   time.Duration
	renewalShare   float64
}

func (o *options) parse(args []string, stderr io.Writer) error {
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	o.addTo(flags)
	flags.StringVar(&o.webhookAddress, "webhook-bind-address", ":9443", "Host and port to serve webhooks at, over TLS")
	flags.StringVar(&o.keysDir, "keys-dir", "",
		"Directory with the keys that init made, ca.crt, ca.key and path, to issue a serving certificate from; read again when they change")
	flags.StringVar(&o.certDir, "cert-dir", "",
		"Directory with tls.crt and tls.key to serve with, in place of --keys-dir, where another tool issues them; read again when they change")
	flags.StringVar(&o.clientCA, "client-ca-file", "",
		"File of certificates in PEM, read again when it changes; the webhook serves only clients, which are the host's API servers, with a client certificate that one of them signed")
	flags.DurationVar(&o.shutdownDelay, "shutdown-delay", 10*time.Second,
		"How long webhooks are served, while not ready, after the signal to stop: until API servers have been led to other replicas")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Run the controllers on one of several replicas only; all of them serve webhooks")
	flags.DurationVar(&o.probeInterval, "probe-interval", 30*time.Second, "Longest time between two probes of a member whose federation has no spec.health.interval")
	flags.DurationVar(&o.probeTimeout, "probe-timeout", 10*time.Second, "How long a probe waits for a member's response")
	flags.Float64Var(&o.renewalShare, "renewal-share", controller.RenewalShare, "Share of its life after which a member's credential is renewed")
	if err := o.processOptions.parse(flags, args); err != nil {
		return err
	}
	switch {
	case o.probeInterval <= 0:
		return fmt.Errorf("invalid --probe-interval %s: must be more than zero", o.probeInterval)
	case o.probeTimeout <= 0:
		return fmt.Errorf("invalid --probe-timeout %s: must be more than zero", o.probeTimeout)
	case o.renewalShare <= 0 || o.renewalShare >= 1:
		return fmt.Errorf("invalid --renewal-share %v: must be more than zero and less than one", o.renewalShare)
	case o.shutdownDelay < 0:
		return fmt.Errorf("invalid --shutdown-delay %s: must not be less than zero", o.shutdownDelay)
	}
	return nil
}

func (o *options) run(ctx context.Context, stderr io.Writer) error {
	log := o.log(stderr)

	if err := checkBindAddress(o.webhookAddress); err != nil {
		return fmt.Errorf("invalid --webhook-bind-address %q: %w", o.webhookAddress, err)
	}
	var clientCA *port.ClientCA
	if o.clientCA != "" {
		var err error
		if clientCA, err = port.ReadClientCA(o.clientCA); err != nil {
			return fmt.Errorf("invalid --client-ca-file: %w", err)
		}
	}
	config, err := o.config("kubefederate-manager")
	if err != nil {
		return err
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}

	// The journal needs a client that reads past the cache. Over HTTP/1.1 a request without a response
	// closes its connection, so that the next one dials anew; over HTTP/2 all requests would keep sharing it.
	directConfig := rest.CopyConfig(config)
	directConfig.NextProtos = []string{"http/1.1"}
	directHTTP, err := rest.HTTPClientFor(directConfig)
	if err != nil {
		return fmt.Errorf("connect to the host: %w", err)
	}
	direct, err := client.New(directConfig, client.Options{Scheme: scheme, HTTPClient: directHTTP})
	if err != nil {
		return fmt.Errorf("connect to the host: %w", err)
	}
	certificate, err := o.certificate(log.WithName("certificate"))
	if err != nil {
		return err
	}
	mgr, err := o.newManager(config, scheme, log, manifests.ManagerLease, cacheOptions())
	if err != nil {
		return err
	}

	server, err := webhook.New(ctx, webhook.Options{
		Informers: mgr.GetCache(), Client: direct, Accepts: certificate.Accepts, Redial: func() { utilnet.CloseIdleConnectionsFor(directHTTP.Transport) },
	})
	if err != nil {
		return err
	}
	if err := errors.Join(server.Instrument(metrics.Registry), metrics.Registry.Register(serving.Expiry(certificate.GetCertificate))); err != nil {
		return err
	}
	if err := controller.Setup(mgr, controller.Options{
		Interval: o.probeInterval, Timeout: o.probeTimeout, RenewalShare: o.renewalShare, Registry: metrics.Registry,
	}); err != nil {
		return err
	}
	webhookTLS := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.GetCertificate}
	reviews, err := port.Listen(ctx, port.Options{
		Address: o.webhookAddress, TLS: webhookTLS, ClientCA: clientCA, Route: server.Route, Log: log.WithName("port"),
	})
	if err != nil {
		return err
	}
	l := lifecycle{controllers: mgr.Start, journal: server.Start, delay: o.shutdownDelay, log: log}
	metricsHandler, err := scrapeHandler(directConfig, directHTTP, log)
	if err != nil {
		return err
	}
	others, err := o.others(ctx, log, webhookTLS, metricsHandler, map[string]healthz.Checker{
		"certificate": certificate.Ready(), "journal": server.Ready(), "stopping": l.ready,
	})
	if err != nil {
		return err
	}
	l.ports = append([]func(context.Context) error{reviews.Serve}, others...)
	if err := errors.Join(reviews.Instrument(metrics.Registry), mgr.Add(certificate)); err != nil {
		return err
	}
	log.Info("starting", "version", version.Version, "webhook", o.webhookAddress)
	return l.run(ctx)
}

// certificate is the source of the serving certificate, and of the words that the webhook's paths end in.
type certificate interface {
	manager.Runnable
	Accepts(word string) bool
	Ready() healthz.Checker
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

func (o *options) certificate(log logr.Logger) (certificate, error) {
	if (o.keysDir == "") == (o.certDir == "") {
		return nil, errors.New("one of --keys-dir and --cert-dir must be given")
	}
	if o.certDir != "" {
		files, err := serving.FromFiles(o.certDir)
		if err != nil {
			return nil, fmt.Errorf("invalid --cert-dir %q: %w", o.certDir, err)
		}
		return files, nil
	}
	keys, err := serving.FromKeys(o.keysDir, log)
	if err != nil {
		return nil, fmt.Errorf("invalid --keys-dir %q: %w", o.keysDir, err)
	}
	return keys, nil
}

// checkBindAddress is an error unless an address has a port.
func checkBindAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("must be HOST:PORT or :PORT")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port number", port)
	}
	return nil
}

// cacheOptions bound what the caches hold. The manager has no right to read Secrets in another namespace, and caches their
// metadata alone.
func cacheOptions() cache.Options {
	return cache.Options{
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{v1alpha1.CredentialsNamespace: {}}, Transform: controller.StripCredential},
		},
		DefaultTransform: cache.TransformStripManagedFields(),
	}
}
