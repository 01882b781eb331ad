// Package scrape lets only authorized users read the manager's metrics, which reveal how many clusters a company has and
// which rules they violate.
//
// controller-runtime has such a filter in pkg/metrics/filters. It is not used because it imports k8s.io/apiserver, which
// makes the manager 20 MB bigger.
package scrape

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kubefederate/kubectl-federate/manifests"
)

// reviewTimeout bounds both reviews together. Collectors give up after ten seconds.
const reviewTimeout = 8 * time.Second

// Filter asks the host's API server about each request, whose token is in the header Authorization or, with an audience of
// its own, in manifests.MetricsHeader: a TokenReview says who sends it, a SubjectAccessReview whether RBAC allows the verb get
// on the path, as the ClusterRole kubefederate-metrics-reader does. It responds with 401 to an unknown user, 403 where the right is missing, 429 where too many unknown tokens came, and 500 where the API server could
// not be asked. Only refusals are remembered, for seconds, so revoking a right takes effect at once.
//
// It is a FilterProvider of controller-runtime's metrics server.
func Filter(config *rest.Config, client *http.Client) (server.Filter, error) {
	tokens, err := authenticationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, err
	}
	rights, err := authorizationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, err
	}
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		return &filter{tokens.TokenReviews(), rights.SubjectAccessReviews(), newTokens(), log, next}, nil
	}, nil
}

type filter struct {
	tokens authenticationclient.TokenReviewInterface
	rights authorizationclient.SubjectAccessReviewInterface
	seen   *tokens
	log    logr.Logger
	next   http.Handler
}

func (f *filter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), reviewTimeout)
	defer cancel()
	// Requests without a token are refused before the API server is asked.
	authorization, audiences := r.Header.Get("Authorization"), []string(nil)
	if authorization == "" {
		authorization, audiences = r.Header.Get(manifests.MetricsHeader), []string{manifests.MetricsAudience}
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	if token = strings.TrimSpace(token); token == "" || !strings.EqualFold(scheme, "Bearer") {
		f.unauthorized(w)
		return
	}
	d := digest(sha256.Sum256([]byte(token)))
	switch {
	case f.seen.isRefused(d):
		f.unauthorized(w)
		return
	case !f.seen.mayAsk(d):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many unknown tokens: try again in a moment", http.StatusTooManyRequests)
		return
	}
	who, err := f.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		f.failed(w, err)
		return
	case !who.Status.Authenticated, audiences != nil && !slices.Equal(who.Status.Audiences, audiences):
		f.seen.note(d, false)
		f.unauthorized(w)
		return
	}
	f.seen.note(d, true)
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, value := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(value)
	}
	may, err := f.rights.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: r.URL.Path, Verb: strings.ToLower(r.Method)},
	}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		f.failed(w, err)
	case !may.Status.Allowed || may.Status.Denied:
		http.Error(w, fmt.Sprintf("requires the verb %s on the URL %s: bind the ClusterRole kubefederate-metrics-reader",
			strings.ToLower(r.Method), r.URL.Path), http.StatusForbidden)
	default:
		f.next.ServeHTTP(w, r)
	}
}

func (f *filter) unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, "requires a bearer token of the host cluster", http.StatusUnauthorized)
}

// failed writes the cause to the log only, since the caller is not known.
func (f *filter) failed(w http.ResponseWriter, err error) {
	f.log.Error(err, "could not authorize a request for metrics")
	http.Error(w, "the host's API server could not authorize the request", http.StatusInternalServerError)
}
