package member

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
)

// TokenPolicy is the name of the ValidatingAdmissionPolicy, and of its binding, that holds the accounts of kubefederate-member to
// tokens that can be revoked. RBAC can only allow a TokenRequest or not: with a right to create tokens of its own account, one
// that lives ten minutes would mint one that is bound to nothing and lives for years.
const TokenPolicy = "member-tokens.kubefederate.io"

// PolicyRefs name the policy and its binding.
func PolicyRefs() []cluster.Ref {
	return []cluster.Ref{
		{Resource: cluster.AdmissionPolicyBindings, Name: TokenPolicy},
		{Resource: cluster.AdmissionPolicies, Name: TokenPolicy},
	}
}

// LifetimeOf is how long tokens may live by a policy that Policy made; 0 where o is no such policy, or nil.
func LifetimeOf(o *unstructured.Unstructured) time.Duration {
	if o == nil || !ByJoin(o) {
		return 0
	}
	validations, _, _ := unstructured.NestedSlice(o.Object, "spec", "validations")
	for _, v := range validations {
		v, _ := v.(map[string]any)
		expression, _ := v["expression"].(string)
		if text, found := strings.CutPrefix(expression, livesAtMost); found {
			seconds, err := strconv.ParseInt(text, 10, 32)
			if life := time.Duration(seconds) * time.Second; err == nil && life >= MinTokenLifetime && life <= MaxTokenLifetime {
				return life
			}
		}
	}
	return 0
}

// livesAtMost begins the expression that ends in the seconds that a token may live.
const livesAtMost = "object.spec.?expirationSeconds.orValue(3600) <= "

// Policy is the policy and its binding; nil without a lifetime.
func (g Grants) Policy() []Object {
	if g.TokenLifetime == 0 {
		return nil
	}
	refs := PolicyRefs()
	binding, policy := managed(refs[0]), managed(refs[1])
	binding.Manifest.Object["spec"] = map[string]any{"policyName": TokenPolicy, "validationActions": words("Deny")}
	var accounts, secrets []string
	for _, account := range []cluster.Ref{ManagerAccountRef(), ConsumerRefs()[1]} { // that for services may request none
		accounts = append(accounts, "system:serviceaccount:"+account.Namespace+":"+account.Name)
	}
	for _, ref := range BindingRefs() {
		secrets = append(secrets, ref.Name)
	}
	policy.Manifest.Object["spec"] = map[string]any{
		"failurePolicy": "Fail",
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": words(""), "apiVersions": words("v1"), "operations": words("CREATE"), "resources": words("serviceaccounts/token"),
			"scope": "*", // as API servers would default it: a list is compared as a whole
		}}},
		"matchConditions": []any{map[string]any{"name": "accounts-of-a-membership", "expression": "request.userInfo.username in " + celList(accounts)}},
		"validations": []any{
			// A request that names nothing has an empty boundObjectRef here. A token whose only audience is one of package identity
			// opens nothing: by it the manager proves which cluster answers.
			holds("object.spec.?boundObjectRef.?kind.orValue('') == 'Secret' && object.spec.?boundObjectRef.?name.orValue('') in "+celList(secrets)+
				" || object.spec.?expirationSeconds.orValue(3600) <= 600 && object.spec.?audiences.orValue([]).size() == 1 && object.spec.audiences[0].startsWith('"+identity.AudiencePrefix+"')",
				"a token that this account requests is bound to Secret "+strings.Join(secrets, " or ")+", so that it can be revoked"),
			holds(livesAtMost+strconv.FormatInt(int64(g.TokenLifetime/time.Second), 10),
				fmt.Sprintf("a token that this account requests lives at most %s", g.TokenLifetime)),
		},
	}
	return []Object{binding, policy}
}

func holds(expression, message string) map[string]any {
	return map[string]any{"expression": expression, "message": message, "reason": "Forbidden"}
}

// celList is a list of strings as CEL writes it; they are names of Kubernetes, so none needs escaping.
func celList(names []string) string { return "['" + strings.Join(names, "', '") + "']" }
