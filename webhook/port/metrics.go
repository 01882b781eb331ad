package port

import "github.com/prometheus/client_golang/prometheus"

// Reasons for which a request, or a connection, is turned away before it is judged.
const (
	reasonPath        = "path"
	reasonMethod      = "method"
	reasonSize        = "size"
	reasonBody        = "body"
	reasonSlow        = "slow"
	reasonReviews     = "reviews"
	reasonConnections = "connections"
	reasonTimeout     = "timeout"
	reasonCertificate = "certificate"
)

// newRejected counts what is turned away. Every series is there from the start, so that a rate is right from the first one on.
func newRejected() *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kubefederate_webhook_rejected_total",
		Help: "What was turned away at the webhook's port before it was judged, by reason: a path that is not served (path), " +
			"another method than POST (method), a body that is too large (size) or did not come in time (body), " +
			"a large body that came more slowly than others, of which there were too many (slow), " +
			"too many reviews at one time (reviews), a connection that was closed for another one (connections), a review " +
			"that was not judged in time (timeout), or a client without a certificate of --client-ca-file (certificate).",
	}, []string{"reason"})
	for _, reason := range []string{
		reasonPath, reasonMethod, reasonSize, reasonBody, reasonSlow, reasonReviews, reasonConnections, reasonTimeout, reasonCertificate,
	} {
		c.WithLabelValues(reason)
	}
	return c
}
