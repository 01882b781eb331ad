package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// consents are what this account was let do: which Secrets it may read, and which federations it may join clusters to.
type consents struct {
	// secrets are those of each namespace.
	secrets map[string]secretRights
	// discover and leave are the federations on which it has the verb.
	discover, leave map[v1alpha1.FederationName]bool
}

// secretRights are the Secrets of a namespace that the account may read.
type secretRights struct {
	// all may be got, and list says that they may be listed and watched.
	all, list bool
	// names may be got.
	names []string
	// incomplete says that an authorizer of the API server cannot say all that it allows.
	incomplete bool
}

// may says whether a Secret may be read, as far as it is known: one that is not known is asked for.
func (c *consents) may(secret cluster.Ref) bool {
	r := c.secrets[secret.Namespace]
	return r.all || r.incomplete || slices.Contains(r.names, secret.Name)
}

// asked says whether it is known which Secrets of its namespace may be read.
func (c *consents) asked(secret cluster.Ref) bool {
	_, known := c.secrets[secret.Namespace]
	return known
}

// listed are those of the namespaces whose Secrets may be listed; it is never nil.
func (c *consents) listed(namespaces []string) []string {
	all := []string{}
	for _, namespace := range namespaces {
		if c.secrets[namespace].list {
			all = append(all, namespace)
		}
	}
	return all
}

// maxSingle is how many Secrets of a namespace are looked at by their names: those of a namespace that has more are granted whole.
const maxSingle = 500

// single are the Secrets that may be got by their names alone, in the namespaces of sources whose objects are Secrets.
func (c *consents) single(federations map[v1alpha1.FederationName]*v1alpha1.Federation) []cluster.Ref {
	named := map[string]bool{}
	for _, f := range federations {
		for _, namespace := range secretNamespaces(f) {
			named[namespace] = true
		}
	}
	var all []cluster.Ref
	for _, namespace := range slices.Sorted(maps.Keys(named)) {
		r := c.secrets[namespace]
		if r.list {
			continue
		}
		for _, name := range r.names[:min(len(r.names), maxSingle)] {
			all = append(all, cluster.Ref{Resource: cluster.Secrets, Namespace: namespace, Name: name})
		}
	}
	return all
}

// secretNamespaces are those of the sources of a federation whose objects are Secrets.
func secretNamespaces(f *v1alpha1.Federation) (all []string) {
	if f.Spec.Discovery == nil {
		return nil
	}
	for _, s := range f.Spec.Discovery.Sources {
		if isSecret(s.Kind) {
			all = append(all, s.Namespaces...)
		}
	}
	return all
}

// skipped is the first namespace of a source whose objects are Secrets of which not all that there may be are looked at, and what about
// it; empty where there is none.
func (c *consents) skipped(f *v1alpha1.Federation) (namespace, what string) {
	for _, namespace := range secretNamespaces(f) {
		switch r := c.secrets[namespace]; {
		case r.list:
		case len(r.names) == 0:
			return namespace, fmt.Sprintf("discovery may read no Secret in namespace %q", namespace)
		case len(r.names) > maxSingle:
			return namespace, fmt.Sprintf("discovery looks at %d Secrets in namespace %q, of %d that it may get by their names", maxSingle, namespace, len(r.names))
		}
	}
	return "", ""
}

// isSecret says whether the objects of a source are Secrets.
func isSecret(kind v1alpha1.DiscoverySourceKind) bool {
	return kind == v1alpha1.SourceSecret || kind == v1alpha1.SourceArgoCD
}

// String is equal for consents to the same.
func (c *consents) String() string {
	var b strings.Builder
	for _, namespace := range slices.Sorted(maps.Keys(c.secrets)) {
		fmt.Fprintf(&b, "%s %+v\n", namespace, c.secrets[namespace])
	}
	fmt.Fprintf(&b, "%v %v", c.discover, c.leave) // maps are printed in the order of their keys
	return b.String()
}

// question is one for the account's rights: which Secrets it may read in a namespace or, where that is not empty, what it may do to a
// federation.
type question struct {
	namespace  string
	federation v1alpha1.FederationName
}

// known says whether a question was answered.
func (c *consents) known(q question) bool {
	if c == nil {
		return false
	}
	_, known := c.secrets[q.namespace]
	if q.federation != "" {
		_, known = c.discover[q.federation]
	}
	return known
}

// some says whether any question was answered.
func (c *consents) some() bool { return len(c.secrets)+len(c.discover) > 0 }

// with is c with the answers that came since, to the questions that are still asked. c may be nil.
func (c *consents) with(answers *consents, wanted []question) *consents {
	all := noConsents()
	for _, q := range wanted {
		from := answers
		if !from.known(q) {
			from = c
		}
		switch {
		case !from.known(q):
		case q.federation != "":
			all.discover[q.federation], all.leave[q.federation] = from.discover[q.federation], from.leave[q.federation]
		default:
			all.secrets[q.namespace] = from.secrets[q.namespace]
		}
	}
	return all
}

func noConsents() *consents {
	return &consents{secrets: map[string]secretRights{}, discover: map[v1alpha1.FederationName]bool{}, leave: map[v1alpha1.FederationName]bool{}}
}

const (
	// questionRest is the time between two rounds of questions, of which each asks up to maxNew that were not answered yet, and of the
	// others a part: all of them within rounds, or more where that would be more than maxAgain a round.
	questionRest     = time.Second
	maxNew, maxAgain = 100, 50
	rounds           = 5
	// reviews is how many questions are asked at once.
	reviews = 10
)

// nextQuestions are those of wanted that are asked in a round: what is not known yet, and others in turn. So are those that are not
// known where they are many, since some may never be answered.
func nextQuestions(wanted []question, granted *consents, round int) []question {
	var next, known, unknown []question
	for _, q := range wanted {
		if granted.known(q) {
			known = append(known, q)
		} else {
			unknown = append(unknown, q)
		}
	}
	part := func(all []question, n int) {
		for i := range n {
			next = append(next, all[(round*n+i)%len(all)])
		}
	}
	part(unknown, min(len(unknown), maxNew))
	part(known, min((len(known)+rounds-1)/rounds, maxAgain))
	return next
}

// readConsents asks the host these questions; what could not be answered is left out. A right to get single Secrets gives neither list
// nor watch, so it is asked for by SelfSubjectRulesReviews.
func readConsents(ctx context.Context, c client.Client, all []question) (*consents, error) {
	granted := noConsents()
	var mu sync.Mutex
	errs := make([]error, len(all))
	var group errgroup.Group
	group.SetLimit(reviews)
	for i, q := range all {
		group.Go(func() error {
			if q.federation == "" {
				review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: q.namespace}}
				if err := c.Create(ctx, review); err != nil {
					errs[i] = fmt.Errorf("ask what may be read in namespace %q: %w", q.namespace, err)
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				granted.secrets[q.namespace] = rightsOf(&review.Status)
				return nil
			}
			discover, err := mayFederation(ctx, c, v1alpha1.VerbDiscover, q.federation)
			leave, errLeave := mayFederation(ctx, c, v1alpha1.VerbLeave, q.federation)
			if errs[i] = cmp.Or(err, errLeave); errs[i] == nil {
				mu.Lock()
				defer mu.Unlock()
				granted.discover[q.federation], granted.leave[q.federation] = discover, leave
			}
			return nil
		})
	}
	_ = group.Wait() // errs has the errors
	return granted, errors.Join(errs...)
}

// mayFederation says whether the account has the verb on a federation.
func mayFederation(ctx context.Context, c client.Client, verb string, federation v1alpha1.FederationName) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "federations", Name: string(federation),
		},
	}}
	if err := c.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask for the verb %s on federation %q: %w", verb, federation, err)
	}
	return review.Status.Allowed, nil
}

// rightsOf are the Secrets that rules let the account read.
func rightsOf(status *authorizationv1.SubjectRulesReviewStatus) secretRights {
	r := secretRights{incomplete: status.Incomplete}
	has := func(list []string, value string) bool {
		return slices.Contains(list, value) || slices.Contains(list, "*")
	}
	for i := range status.ResourceRules {
		rule := &status.ResourceRules[i]
		if !has(rule.APIGroups, "") || !has(rule.Resources, "secrets") {
			continue
		}
		named := len(rule.ResourceNames) > 0
		switch get := has(rule.Verbs, "get"); {
		case get && named:
			r.names = append(r.names, rule.ResourceNames...)
		case get:
			r.all = true
		}
		r.list = r.list || !named && has(rule.Verbs, "list")
	}
	slices.Sort(r.names)
	r.names = slices.Compact(r.names)
	return r
}
