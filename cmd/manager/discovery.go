package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/controller/discovery"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// discoveryCommand is the first argument of a process that discovers and does nothing else: it reads credentials of others, and so
// has an account and a pod of its own.
const discoveryCommand = "discovery"

// discoveryOptions are the flags of discovery.
type discoveryOptions struct {
	processOptions
	connectTimeout time.Duration
}

func (o *discoveryOptions) parse(args []string, stderr io.Writer) error {
	flags := pflag.NewFlagSet("manager "+discoveryCommand, pflag.ContinueOnError)
	flags.SetOutput(stderr)
	o.processOptions.addTo(flags)
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "Discover on one of several replicas only")
	flags.DurationVar(&o.connectTimeout, "connect-timeout", 10*time.Second, "How long clusters have to answer that are asked together")
	if err := o.processOptions.parse(flags, args); err != nil {
		return err
	}
	if o.connectTimeout <= 0 {
		return fmt.Errorf("invalid --connect-timeout %s: must be more than zero", o.connectTimeout)
	}
	return nil
}

func (o *discoveryOptions) run(ctx context.Context, stderr io.Writer) error {
	log := o.log(stderr)
	config, err := o.config("kubefederate-discovery")
	if err != nil {
		return err
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	mgr, err := o.newManager(config, scheme, log, manifests.DiscoveryLease, cache.Options{DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		return err
	}
	if err := discovery.Setup(mgr, discovery.Options{Timeout: o.connectTimeout, Registry: metrics.Registry}); err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("connect to the host: %w", err)
	}
	scraped, err := scrapeHandler(config, client, log)
	if err != nil {
		return err
	}
	// Collectors of metrics authenticate themselves, and have no CA to know this process by.
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey(manifests.DiscoveryDeployment, nil, nil)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	ports, err := o.others(ctx, log, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}, scraped, map[string]healthz.Checker{
		"ping": healthz.Ping,
	})
	if err != nil {
		return err
	}
	log.Info("starting", "version", version.Version)
	group, ctx := errgroup.WithContext(ctx)
	for _, serve := range append(ports, mgr.Start) {
		group.Go(func() error { return serve(ctx) })
	}
	return group.Wait()
}
