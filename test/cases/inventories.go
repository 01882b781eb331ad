package cases

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// namespace is one that lets a federation publish in it.
func namespace(name, federation string) *metav1.ObjectMeta {
	return &metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelInventory: federation}}
}

// inventories are the cases of where members are published.
func inventories() []Case {
	in := func(f *v1alpha1.Federation, namespace string) {
		f.Spec.Inventory = &v1alpha1.Inventory{Namespace: namespace}
	}
	long, longer := strings.Repeat("n", 40), strings.Repeat("n", 51)
	return []Case{
		create(rules.InventoryName, "published", func(s set, m *v1alpha1.MemberCluster) {
			in(s.f, long)
			m.Name = "p" + strings.Repeat("m", 21)
		}),
		create(rules.InventoryName, "unpublished", func(s set, m *v1alpha1.MemberCluster) {
			in(s.f, long)
			m.Name = "u" + strings.Repeat("m", 22)
		}, `metadata.name: Invalid value: "ummmmmmmmmmmmmmmmmmmmmm": in inventory "`+long+`" of federation "unpublished" it may have 22 characters, and has 23: Argo CD keeps both in one label`),
		update(rules.InventoryName, "unpublished-before", func(s set, before, after *v1alpha1.MemberCluster) {
			in(s.f, long)
			before.Name = "b" + strings.Repeat("m", 22)
			after.Name = before.Name
			label(team, "x")(after)
		}),

		define(rules.InventoryNamespace, "inventoried", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace("inventoried-ns", f.Name)}
			in(f, "inventoried-ns")
		}),
		define(rules.InventoryNamespace, "no-namespace", func(_ *Case, f *v1alpha1.Federation) { in(f, "no-namespace-ns") },
			`spec.inventory.namespace: Not found: "no-namespace-ns": no namespace has this name; create it: kubectl create namespace no-namespace-ns; and label it: kubectl label namespaces no-namespace-ns kubefederate.io/inventory=no-namespace`),
		define(rules.InventoryNamespace, "plain-namespace", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{{Name: "plain-namespace-ns"}}
			in(f, "plain-namespace-ns")
		}, `spec.inventory.namespace: Forbidden: namespace "plain-namespace-ns" has no label kubefederate.io/inventory; label it: kubectl label namespaces plain-namespace-ns kubefederate.io/inventory=plain-namespace`),
		define(rules.InventoryNamespace, "others-namespace", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace("others-namespace-ns", "other")}
			in(f, "others-namespace-ns")
		}, `spec.inventory.namespace: Forbidden: namespace "others-namespace-ns" is the inventory of federation "other", by its label kubefederate.io/inventory`),
		define(rules.InventoryNamespace, "going-namespace", func(c *Case, f *v1alpha1.Federation) {
			n := namespace("going-namespace-ns", f.Name)
			leaving(n)
			c.Namespaces = []*metav1.ObjectMeta{n}
			in(f, "going-namespace-ns")
		}, `spec.inventory.namespace: Invalid value: "going-namespace-ns": this namespace is being deleted`),
		change(rules.InventoryNamespace, "namespace-gone-since", func(_ set, before, after *v1alpha1.Federation) {
			in(before, "gone-since-ns")
			in(after, "gone-since-ns")
			after.Spec.Description = "a word about it"
		}),

		change(rules.Inventory, "rehoused", func(s set, before, after *v1alpha1.Federation) {
			s.others(2, nil)
			s.Namespaces = []*metav1.ObjectMeta{namespace("rehoused-ns", after.Name)}
			in(before, "rehoused-old")
			in(after, "rehoused-ns")
		}),
		change(rules.MembersKeepRules, "long-names", func(s set, _, after *v1alpha1.Federation) {
			s.others(7, nil)
			s.Namespaces = []*metav1.ObjectMeta{namespace(longer, after.Name)}
			in(after, longer)
		}, `spec.inventory: Forbidden: 7 members would break it: long-names-a, long-names-b, long-names-c, long-names-d, long-names-e and 2 more; metadata.name: Invalid value: "long-names-a": in inventory "`+longer+`" of federation "long-names" it may have 11 characters, and has 12: Argo CD keeps both in one label`),
		define(rules.Inventory, "shared-namespace", func(c *Case, f *v1alpha1.Federation) {
			other := fed("shared-namespace-other")
			in(other, "shared-namespace-ns")
			c.Federations = []*v1alpha1.Federation{other}
			c.Namespaces = []*metav1.ObjectMeta{namespace("shared-namespace-ns", f.Name)}
			in(f, "shared-namespace-ns")
		}, `spec.inventory.namespace: Duplicate value: "shared-namespace-ns": federation "shared-namespace-other" publishes its members there`),
		define(rules.Inventory, "key-namespace", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace(v1alpha1.CredentialsNamespace, f.Name)}
			c.Unreachable = "the namespace is the host's own, and not labeled there"
			in(f, v1alpha1.CredentialsNamespace)
		}, `spec.inventory.namespace: Forbidden: namespace "kubefederate-credentials" holds keys of this host`),
	}
}
