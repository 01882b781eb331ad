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
		f.Spec.Inventory = &v1alpha1.Inventory{Namespaces: []string{namespace}}
	}
	credentials := func(name, federation string) *metav1.ObjectMeta {
		return &metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelInventoryCredentials: federation}}
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
			`spec.inventory.namespaces[0]: Not found: "no-namespace-ns": no namespace has this name; create it and let the federation use it: kubectl federate grant no-namespace --inventory no-namespace-ns`),
		define(rules.InventoryNamespace, "plain-namespace", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{{Name: "plain-namespace-ns"}}
			in(f, "plain-namespace-ns")
		}, `spec.inventory.namespaces[0]: Forbidden: namespace "plain-namespace-ns" has no label kubefederate.io/inventory; let the federation use it: kubectl federate grant plain-namespace --inventory plain-namespace-ns`),
		define(rules.InventoryNamespace, "others-namespace", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace("others-namespace-ns", "other")}
			in(f, "others-namespace-ns")
		}, `spec.inventory.namespaces[0]: Forbidden: namespace "others-namespace-ns" is that of federation "other", by its label kubefederate.io/inventory`),
		define(rules.InventoryNamespace, "going-namespace", func(c *Case, f *v1alpha1.Federation) {
			n := namespace("going-namespace-ns", f.Name)
			leaving(n)
			c.Namespaces = []*metav1.ObjectMeta{n}
			in(f, "going-namespace-ns")
		}, `spec.inventory.namespaces[0]: Invalid value: "going-namespace-ns": this namespace is being deleted`),
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
		}, `spec.inventory.namespaces[0]: Duplicate value: "shared-namespace-ns": it is in the inventory of federation "shared-namespace-other"`),
		define(rules.Inventory, "key-namespace", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace(v1alpha1.CredentialsNamespace, f.Name)}
			c.Unreachable = "the namespace is the host's own, and not labeled there"
			in(f, v1alpha1.CredentialsNamespace)
		}, `spec.inventory.namespaces[0]: Forbidden: namespace "kubefederate-credentials" holds keys of this host`),
		create(rules.InventoryName, "unpublished-in-one", func(s set, m *v1alpha1.MemberCluster) {
			in(s.f, "short")
			s.f.Spec.Inventory.Namespaces = append(s.f.Spec.Inventory.Namespaces, long)
			m.Name = "o" + strings.Repeat("m", 22)
		}, `metadata.name: Invalid value: "ommmmmmmmmmmmmmmmmmmmmm": in inventory "`+long+`" of federation "unpublished-in-one" it may have 22 characters, and has 23: Argo CD keeps both in one label`),
		define(rules.Inventory, "with-credentials", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace("with-credentials-ns", f.Name), credentials("with-credentials-secrets", f.Name)}
			in(f, "with-credentials-ns")
			f.Spec.Inventory.CredentialsNamespace = "with-credentials-secrets"
		}),
		define(rules.Inventory, "mixed-credentials", func(c *Case, f *v1alpha1.Federation) {
			n := namespace("mixed-credentials-ns", f.Name)
			n.Labels[v1alpha1.LabelInventoryCredentials] = f.Name
			c.Namespaces = []*metav1.ObjectMeta{n}
			in(f, n.Name)
			f.Spec.Inventory.CredentialsNamespace = n.Name
		}, `spec.inventory.credentialsNamespace: Forbidden: namespace "mixed-credentials-ns" is among spec.inventory.namespaces, whose readers have no right on Secrets; name one that holds nothing else`),
		define(rules.Inventory, "system-credentials", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace("system-credentials-ns", f.Name), credentials("kube-system-credentials", f.Name)}
			in(f, "system-credentials-ns")
			f.Spec.Inventory.CredentialsNamespace = "kube-system-credentials"
		}, `spec.inventory.credentialsNamespace: Forbidden: namespace "kube-system-credentials" is that of Kubernetes itself, and readers of the inventory get every Secret of the one that is named here`),
		define(rules.Inventory, "shared-credentials", func(c *Case, f *v1alpha1.Federation) {
			other := fed("shared-credentials-other")
			in(other, "shared-credentials-ns")
			other.Spec.Inventory.CredentialsNamespace = "shared-credentials-secrets"
			c.Federations = []*v1alpha1.Federation{other}
			c.Namespaces = []*metav1.ObjectMeta{namespace("shared-credentials-secrets", f.Name)}
			in(f, "shared-credentials-secrets")
		}, `spec.inventory.namespaces[0]: Duplicate value: "shared-credentials-secrets": it is in the inventory of federation "shared-credentials-other"`),
		define(rules.InventoryNamespace, "plain-credentials", func(c *Case, f *v1alpha1.Federation) {
			c.Namespaces = []*metav1.ObjectMeta{namespace("plain-credentials-ns", f.Name), namespace("plain-credentials-secrets", f.Name)}
			in(f, "plain-credentials-ns")
			f.Spec.Inventory.CredentialsNamespace = "plain-credentials-secrets"
		}, `spec.inventory.credentialsNamespace: Forbidden: namespace "plain-credentials-secrets" has no label kubefederate.io/inventory-credentials; let the federation use it: kubectl federate grant plain-credentials --inventory-credentials plain-credentials-secrets`),
		change(rules.InventoryNamespace, "one-more-namespace", func(s set, before, after *v1alpha1.Federation) {
			s.Namespaces = []*metav1.ObjectMeta{{Name: "one-more-new"}}
			in(before, "one-more-gone")
			in(after, "one-more-gone")
			after.Spec.Inventory.Namespaces = append(after.Spec.Inventory.Namespaces, "one-more-new")
		}, `spec.inventory.namespaces[1]: Forbidden: namespace "one-more-new" has no label kubefederate.io/inventory; let the federation use it: kubectl federate grant one-more-namespace --inventory one-more-new`),
	}
}
