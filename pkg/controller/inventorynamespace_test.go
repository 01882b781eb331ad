package controller

import (
	"context"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// empty is a host that holds nothing.
type empty struct{ client.Client }

func (empty) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(corev1.Resource("namespaces"), key.Name)
}

// TestFaultsText holds that no fault of a second namespace is hidden behind that of the first.
func TestFaultsText(t *testing.T) {
	t.Parallel()
	for want, given := range map[string]string{"a": "a", "a; b": "aab", "a; b; c; d; e": "abcade", "a; b; c; d; e; and 2 more": "abcdefag"} {
		var faults []fault
		for _, message := range given {
			faults = append(faults, fault{v1alpha1.ReasonNamespaceMissing, string(message)})
		}
		if got := faultsText(faults); got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}

// TestMissingNamespace holds that one command makes a namespace that does not exist fit for the inventory.
func TestMissingNamespace(t *testing.T) {
	t.Parallel()
	for key, want := range map[inventoryKey]string{
		{namespace: "fleet"}: `namespace "fleet" does not exist; create it and let the federation publish there: kubectl federate grant prod --inventory fleet`,
		{namespace: "prod-credentials", credentials: true}: `namespace "prod-credentials" does not exist; create it and let the federation publish there: ` +
			`kubectl federate grant prod --inventory-credentials prod-credentials`,
	} {
		uid, f, readable := key.judge(t.Context(), empty{}, "prod", "namespace-1")
		if f == nil || *f != (fault{v1alpha1.ReasonNamespaceMissing, want}) || readable || uid != "" {
			t.Errorf("%+v: got %+v, readable %t, UID %q; want %s", key, f, readable, uid, want)
		}
	}
}

// reviewed is a host that answers reviews of rights, and counts them.
type reviewed struct {
	client.Client
	rules   []authorizationv1.ResourceRule
	allowed map[string]bool
	asked   *int
}

func (r reviewed) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	*r.asked++
	switch review := o.(type) {
	case *authorizationv1.SelfSubjectRulesReview:
		review.Status.ResourceRules = r.rules
	case *authorizationv1.SelfSubjectAccessReview:
		review.Status.Allowed = r.allowed[review.Spec.ResourceAttributes.Verb]
	}
	return nil
}

// TestRights is which right in a namespace is found to be missing, and by how many requests.
func TestRights(t *testing.T) {
	t.Parallel()
	all := []string{"get", "list", "watch", "create", "patch", "delete"}
	rule := func(verbs []string, group, resource string, names ...string) authorizationv1.ResourceRule {
		return authorizationv1.ResourceRule{Verbs: verbs, APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names}
	}
	for name, test := range map[string]struct {
		key     inventoryKey
		rules   []authorizationv1.ResourceRule
		allowed []string
		// denied is the verb and the resource.
		denied string
		asked  int
	}{
		"as granted": {key: fleetProfiles, rules: []authorizationv1.ResourceRule{
			rule(all, clusterinventory.Group, clusterprofiles), rule([]string{"patch"}, clusterinventory.Group, "clusterprofiles/status"),
		}, asked: 1},
		"Secrets, as granted":                  {key: fleetSecrets, rules: []authorizationv1.ResourceRule{rule(all, "", "secrets")}, asked: 1},
		"everything":                           {key: fleetProfiles, rules: []authorizationv1.ResourceRule{rule([]string{"*"}, "*", "*")}, asked: 1},
		"nothing":                              {key: fleetSecrets, denied: "get secrets", asked: 2},
		"of another group":                     {key: fleetSecrets, rules: []authorizationv1.ResourceRule{rule(all, "apps", "secrets")}, denied: "get secrets", asked: 2},
		"of some names":                        {key: fleetSecrets, rules: []authorizationv1.ResourceRule{rule(all, "", "secrets", "us-east")}, denied: "get secrets", asked: 2},
		"no right to delete":                   {key: fleetSecrets, rules: []authorizationv1.ResourceRule{rule(all[:5], "", "secrets")}, denied: "delete secrets", asked: 2},
		"no right on the status":               {key: fleetProfiles, rules: []authorizationv1.ResourceRule{rule(all, clusterinventory.Group, clusterprofiles)}, denied: "patch clusterprofiles/status", asked: 2},
		"of an authorizer that lists no rules": {key: fleetSecrets, allowed: all, asked: 7},
	} {
		r := reviewed{rules: test.rules, allowed: map[string]bool{}, asked: new(int)}
		for _, verb := range test.allowed {
			r.allowed[verb] = true
		}
		denied, err := test.key.denied(t.Context(), r)
		got := ""
		if denied != nil {
			got = denied.Verb + " " + denied.Resource
			if denied.Subresource != "" {
				got += "/" + denied.Subresource
			}
		}
		if err != nil || got != test.denied || *r.asked != test.asked {
			t.Errorf("%s: denied %q by %d requests: %v", name, got, *r.asked, err)
		}
	}
}
