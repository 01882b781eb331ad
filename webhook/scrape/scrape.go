// Package scrape lets only those read the manager's metrics who may: numbers about federations tell how many
// clusters a company has, and which rules it breaks.
//
// controller-runtime has such a filter, too. It reaches the whole of k8s.io/apiserver, which makes the manager
// 20 MB bigger.
package scrape

import (
	"context"
	"net/http"
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
)

// deadline bounds both questions to the API server. Collectors give up after ten seconds.
const deadline = 8 * time.Second

// Filter asks the host's API server about each request: by TokenReview who sends it, by SubjectAccessReview whether
// RBAC gives the verb get on the path, as the ClusterRole kubefederate-metrics-reader does. It answers 401 where
// nobody is named, 403 where the right is missing, and 500 where the API server did not say. Answers are not kept,
// so a right that is taken away is gone at once.
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
		return &door{tokens.TokenReviews(), rights.SubjectAccessReviews(), log, next}, nil
	}, nil
}

type door struct {
	tokens authenticationclient.TokenReviewInterface
	rights authorizationclient.SubjectAccessReviewInterface
	log    logr.Logger
	next   http.Handler
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	defer cancel()
	// Nobody without a token costs the API server a question.
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); token == "" || !strings.EqualFold(scheme, "Bearer") {
		d.unknown(w)
		return
	}
	who, err := d.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		d.undecided(w, err)
		return
	case !who.Status.Authenticated:
		d.unknown(w)
		return
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, value := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(value)
	}
	may, err := d.rights.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: r.URL.Path, Verb: strings.ToLower(r.Method)},
	}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		d.undecided(w, err)
	case !may.Status.Allowed || may.Status.Denied:
		http.Error(w, "it takes the verb "+strings.ToLower(r.Method)+" on the URL "+r.URL.Path+
			": bind the ClusterRole kubefederate-metrics-reader", http.StatusForbidden)
	default:
		d.next.ServeHTTP(w, r)
	}
}

func (d *door) unknown(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, "it takes a token of the host cluster", http.StatusUnauthorized)
}

// undecided tells the cause to the log alone: the caller may be anybody.
func (d *door) undecided(w http.ResponseWriter, err error) {
	d.log.Error(err, "who reads metrics was not told by the host")
	http.Error(w, "the host's API server did not say who may read this", http.StatusInternalServerError)
}
