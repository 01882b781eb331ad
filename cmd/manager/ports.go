package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/kubefederate/kubectl-federate/webhook/port"
	"github.com/kubefederate/kubectl-federate/webhook/scrape"
)

// maxScrapes are answered at one time.
const maxScrapes = 4

// scrapeHandler gives the metrics to authorized users. The client is of the host.
func scrapeHandler(config *rest.Config, client *http.Client, log logr.Logger) (http.Handler, error) {
	filter, err := scrape.Filter(config, client)
	if err != nil {
		return nil, err
	}
	return filter(log.WithName("metrics"), promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
}

// others opens the ports of the metrics and of the probes. controller-runtime has servers for them, without bounds.
func (o *processOptions) others(
	ctx context.Context, log logr.Logger, config *tls.Config, scraped http.Handler, ready map[string]healthz.Checker,
) (serve []func(context.Context) error, err error) {
	probes := http.NewServeMux()
	for path, handler := range map[string]http.Handler{"/healthz": &healthz.Handler{}, "/readyz": &healthz.Handler{Checks: ready}} {
		probes.Handle(path, http.StripPrefix(path, handler))
		probes.Handle(path+"/", http.StripPrefix(path, handler))
	}
	scrapes := http.NewServeMux()
	scrapes.Handle("/metrics", scraped)
	for _, p := range []struct {
		flag, address string
		config        *tls.Config
		handler       http.Handler
	}{
		{"metrics-bind-address", o.metricsAddress, config, scrapes},
		{"health-probe-bind-address", o.probeAddress, nil, probes},
	} {
		if p.address == "0" {
			continue
		}
		f, err := port.Other(ctx, p.address, p.config, p.handler, log.WithName("port"))
		if err != nil {
			return nil, fmt.Errorf("invalid --%s: %w", p.flag, err)
		}
		serve = append(serve, f)
	}
	return serve, nil
}
