package member

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestServicesRights pins what the account for services may do, and where: nothing but a binding in each namespace gives it that.
func TestServicesRights(t *testing.T) {
	t.Parallel()
	var given []string
	g := Grants{Services: JoinNamespaces([]string{"shop", "cart", "shop"})}
	for _, o := range append(g.BaseObjects(), g.Bindings()...) {
		if o.Ref == servicesRole {
			given = append(given, rights(t, o.Manifest.Object["rules"])...)
		}
		if role, _ := o.Manifest.Object["roleRef"].(map[string]any); role["name"] == ServicesRole {
			given = append(given, o.Ref.String())
		}
	}
	want := []string{
		"get /services", "get multicluster.x-k8s.io/serviceexports", "list /services", "list multicluster.x-k8s.io/serviceexports",
		"watch /services", "watch multicluster.x-k8s.io/serviceexports",
		ServicesBindingRef("cart").String(), ServicesBindingRef("shop").String(),
	}
	if diff := cmp.Diff(want, given); diff != "" {
		t.Error(diff)
	}
	manager := append(rights(t, g.namespaceRules()), rights(t, g.clusterRules())...)
	for _, more := range []string{
		"create /serviceaccounts/token kubefederate-manager+kubefederate-consumer+kubefederate-services", "get /namespaces kube-system+cart+shop",
	} {
		if !slices.Contains(manager, more) {
			t.Errorf("the manager may not %s: %q", more, manager)
		}
	}
	for _, o := range slices.Concat(Grants{}.BaseObjects(), Grants{}.Bindings()) {
		if slices.Contains(ServicesRefs(), o.Ref) || o.Ref.Name == ServicesAccountRef().Name {
			t.Errorf("%s is there without services", o.Ref)
		}
	}
}

// TestGrantedNamespaces holds that a later join, or an unjoin, finds the namespaces again by the manager's role, and takes from it no
// name that is not one.
func TestGrantedNamespaces(t *testing.T) {
	t.Parallel()
	for services, want := range map[string][]string{"": nil, "shop": {"shop"}, "cart,shop": {"cart", "shop"}, "../secrets,shop": {"shop"}} {
		live := role(clusterRole, Grants{Services: services}.clusterRules()).Manifest
		if diff := cmp.Diff(want, grantedNamespaces(live)); diff != "" {
			t.Errorf("%q: %s", services, diff)
		}
	}
	if got := grantedNamespaces(nil); got != nil {
		t.Errorf("without a role: %q", got)
	}
}
