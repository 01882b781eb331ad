package serving

import (
	"crypto/tls"

	"github.com/prometheus/client_golang/prometheus"
)

// Source gives the certificate that is served now.
type Source func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Expiry is a metric: when the certificate that is served expires, in seconds since 1970. It is 0 while there is none.
func Expiry(served Source) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kubefederate_webhook_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that the webhook serves ends, in seconds since 1970. 0 while there is none.",
	}, func() float64 {
		certificate, err := served(nil)
		if err != nil || certificate == nil || certificate.Leaf == nil {
			return 0
		}
		return float64(certificate.Leaf.NotAfter.Unix())
	})
}
