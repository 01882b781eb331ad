package port

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxBody bounds a review. It has the object as it was and as it will be, of which etcd takes 1.5 MB each.
	maxBody = 4 << 20
	// smallBody is more than a review of a member or of most federations has. Larger ones take their turn apart, so that they
	// hold up no other.
	smallBody = 64 << 10
	// smallBodies and largeBodies bound the bytes of all reviews that are judged at one time. To decode a review takes some
	// fifteen times its size.
	smallBodies, largeBodies = 4 << 20, 8 << 20
	// unjudgedBodies bounds the bytes of all large reviews that come, or wait for their turn, at one time.
	unjudgedBodies = 32 << 20
	// minCost is what a review counts for at least: so at most 256 small ones are judged at one time.
	minCost = 16 << 10
	// writeTimeout bounds a request with its answer.
	writeTimeout = 20 * time.Second
	// idleTimeout is longer than the 90 seconds for which API servers keep a connection: the client has to be the one that
	// closes it, since a request that crosses with the end fails.
	idleTimeout = 2 * time.Minute
	// shutdownTimeout is for the last requests.
	shutdownTimeout = 6 * time.Second
)

// bounds are those that tests shorten.
type bounds struct {
	// connections are open at one time. An API server opens one for each review that it waits for, and keeps some.
	connections int
	// read bounds the handshake, and then each request with its body.
	read time.Duration
	// turn is how long a review waits for its turn.
	turn time.Duration
	// review bounds all that is done for one review once its headers were read. It is shorter than the configuration's
	// timeoutSeconds, so that the answer arrives and says what could not be read: a call without an answer would print the
	// path to the user. What is still judged when late has passed is answered without a judgement.
	review, late time.Duration
}

var defaultBounds = bounds{
	connections: 1024, read: 10 * time.Second, turn: time.Second, review: 4 * time.Second, late: 4300 * time.Millisecond,
}

// Options of a Server.
type Options struct {
	// Address is the host and port to listen at.
	Address string
	// TLS has the certificate to serve with.
	TLS *tls.Config
	// ClientCA refuses clients without a certificate that it signed. Nil takes every client.
	ClientCA *ClientCA
	// Route gives the handler of a path, or nil.
	Route func(path string) http.Handler
	// Log gets what clients do wrong at the level 1.
	Log logr.Logger
}

// Server listens for reviews.
type Server struct {
	bounds
	route        func(path string) http.Handler
	listener     *connections
	tls          *tls.Config
	log          logr.Logger
	rejected     *prometheus.CounterVec
	small, large *semaphore.Weighted
	unjudged     bodies
}

// Listen opens the port. Connections are served from Serve on.
func Listen(ctx context.Context, o Options) (*Server, error) { return listen(ctx, o, defaultBounds) }

func listen(ctx context.Context, o Options, b bounds) (*Server, error) {
	s := &Server{
		bounds: b, route: o.Route, tls: o.TLS.Clone(), log: o.Log, rejected: newRejected(),
		small: semaphore.NewWeighted(smallBodies), large: semaphore.NewWeighted(largeBodies),
	}
	s.tls.NextProtos = http1
	if o.ClientCA != nil {
		// Verified here and not by package tls, so that refusals are counted and the file is read again.
		s.tls.ClientAuth = tls.RequestClientCert
		s.tls.VerifyConnection = func(state tls.ConnectionState) error {
			err := o.ClientCA.verify(state)
			if err != nil {
				s.reject(reasonCertificate)
			}
			return err
		}
	}
	var err error
	if s.listener, err = listenAt(ctx, o.Address, b.connections, func() { s.reject(reasonConnections) }); err != nil {
		return nil, fmt.Errorf("listen for reviews: %w", err)
	}
	return s, nil
}

// Instrument counts what is turned away, in a registry.
func (s *Server) Instrument(registry prometheus.Registerer) error {
	return registry.Register(s.rejected)
}

func (s *Server) reject(reason string) { s.rejected.WithLabelValues(reason).Inc() }

// Serve answers requests until the context ends, and then those that it has.
func (s *Server) Serve(ctx context.Context) error {
	server := newHTTPServer(http.HandlerFunc(s.serve), s.read, s.log)
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, c.(*tls.Conn).NetConn())
	}
	return serveUntil(ctx, server, tls.NewListener(s.listener, s.tls))
}

// lines writes what the HTTP server reports of its clients to the log.
type lines struct{ log logr.Logger }

func (l lines) Write(p []byte) (int, error) {
	l.log.V(1).Info("the webhook's port reports", "message", string(bytes.TrimSpace(p)))
	return len(p), nil
}

type connectionKey struct{}

// serve lets a request through to its handler, within bounds.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	handler := s.route(r.URL.Path)
	switch {
	case handler == nil:
		s.refuse(w, reasonPath)
		return
	case r.Method != http.MethodPost:
		s.refuse(w, reasonMethod)
		return
	case r.ContentLength > maxBody:
		s.refuse(w, reasonSize)
		return
	}
	if c, is := r.Context().Value(connectionKey{}).(*connection); is {
		c.use()
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.review)
	defer cancel()
	body, turn, reason := s.take(ctx, w, r)
	switch {
	case turn == nil && reason == reasonReviews && body != nil:
		s.postpone(w, body)
		return
	case turn == nil:
		s.refuse(w, reason)
		return
	}
	var judged atomic.Bool
	// The turn ends with the judgement, not with an answer that is given before. Only the judgement has the context that ends
	// with review: it is to say itself what could not be read, before late.
	judge := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer turn()
		handler.ServeHTTP(w, r.WithContext(ctx))
		judged.Store(true)
	})
	r.Body = io.NopCloser(&body)
	http.TimeoutHandler(judge, s.late, "the review could not be judged in time: try again").ServeHTTP(w, r)
	if !judged.Load() {
		s.reject(reasonTimeout)
	}
}

// take reads the body of a request, and then waits for its turn, so that one that comes slowly holds up no other. Without a turn
// there is a reason.
func (s *Server) take(ctx context.Context, w http.ResponseWriter, r *http.Request) (read net.Buffers, turn func(), reason string) {
	b := s.unjudged.begin(func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) })
	defer b.end()
	read, reason = receive(http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength, b)
	if reason = cmp.Or(reason, b.whole()); reason != "" {
		return nil, nil, reason
	}
	size := int64(0)
	for _, part := range read {
		size += int64(len(part))
	}
	turns, cost := s.small, max(size, minCost)
	if size > smallBody {
		turns = s.large
	}
	waiting, cancel := context.WithTimeout(ctx, s.turn)
	defer cancel()
	if turns.Acquire(waiting, cost) != nil {
		return read, nil, reasonReviews
	}
	return read, func() { turns.Release(cost) }, ""
}

// receive reads a body of that length, which is negative when it is not known. Of a large one, only the first part is read
// before it counts.
func receive(from io.Reader, length int64, b *body) (read net.Buffers, reason string) {
	for {
		if len(read) > 0 {
			if reason := b.add(smallBody); reason != "" {
				return nil, reason
			}
		}
		size := int64(smallBody)
		if length >= 0 {
			size = min(size, length)
			length -= size
		}
		part := make([]byte, size)
		n, err := io.ReadFull(from, part)
		read = append(read, part[:n])
		tooLarge := (*http.MaxBytesError)(nil)
		switch {
		case errors.As(err, &tooLarge):
			return nil, reasonSize
		case length < 0 && (err == io.EOF || err == io.ErrUnexpectedEOF):
			return read, ""
		case err != nil:
			return nil, cmp.Or(b.whole(), reasonBody)
		case length == 0:
			return read, ""
		}
	}
}

// refuse answers a request that is not judged.
func (s *Server) refuse(w http.ResponseWriter, reason string) {
	s.reject(reason)
	// What is left of the body is not read.
	w.Header().Set("Connection", "close")
	// Without Retry-After: API servers would try again until their time is over, and then print the URL.
	http.Error(w, http.StatusText(statusOf[reason]), statusOf[reason])
}

// postpone answers a review whose turn did not come, so that its client tries again by itself.
func (s *Server) postpone(w http.ResponseWriter, body net.Buffers) {
	var review struct {
		metav1.TypeMeta `json:",inline"`
		Request         struct {
			UID types.UID `json:"uid"`
		} `json:"request"`
	}
	if json.NewDecoder(&body).Decode(&review) != nil || review.Request.UID == "" {
		s.refuse(w, reasonReviews)
		return
	}
	s.reject(reasonReviews)
	later := apierrors.NewTooManyRequests("the kubefederate webhook has too many reviews at one time: try again in a moment", 1)
	w.Header().Set("Content-Type", "application/json")
	// The client has gone if this fails.
	_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{
		TypeMeta: review.TypeMeta, Response: &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &later.ErrStatus},
	})
}

var statusOf = map[string]int{
	reasonPath: http.StatusNotFound, reasonMethod: http.StatusMethodNotAllowed, reasonSize: http.StatusRequestEntityTooLarge,
	reasonBody: http.StatusRequestTimeout, reasonSlow: http.StatusTooManyRequests, reasonReviews: http.StatusTooManyRequests,
}
