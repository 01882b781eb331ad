package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// discoveryFlags are what was typed of the discovery controller.
type discoveryFlags struct {
	join, leave         bool
	secrets, namespaces []string
}

func (f *discoveryFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.join, "discovery", false, "The discovery controller may join clusters to the federation")
	flags.StringArrayVar(&f.secrets, "discovery-secret", nil, "A Secret that the discovery controller may get, as NAMESPACE/NAME (repeatable)")
	flags.StringArrayVar(&f.namespaces, "discovery-namespace", nil, "A namespace whose Secrets the discovery controller may read, all of them (repeatable)")
}

func (f *discoveryFlags) addLeave(flags *pflag.FlagSet) {
	flags.BoolVar(&f.leave, "leave", false, "With --discovery: members that it joined may leave by it, too")
}

// readsSecrets says whether Secrets are named, which are read for every federation.
func (f *discoveryFlags) readsSecrets() bool { return len(f.secrets)+len(f.namespaces) > 0 }

// parse reads the names of the Secrets.
func (f *discoveryFlags) parse() (secrets []types.NamespacedName, err error) {
	for _, arg := range f.secrets {
		namespace, name, _ := strings.Cut(arg, "/")
		if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
			return nil, output.Usagef("invalid --discovery-secret %q: must be NAMESPACE/NAME of a Secret", arg)
		}
		if why := rules.UnfitNamespace(namespace, false); why != "" {
			return nil, output.Usagef("invalid --discovery-secret %q: %s", arg, why)
		}
		secrets = append(secrets, types.NamespacedName{Namespace: namespace, Name: name})
	}
	return secrets, nil
}

func (f *discoveryFlags) validate() error {
	if f.leave && !f.join {
		return output.Usagef("--leave needs --discovery")
	}
	for _, namespace := range f.namespaces {
		why := rules.UnfitNamespace(namespace, false)
		switch {
		case len(validation.IsDNS1123Label(namespace)) > 0:
			why = "it names no namespace"
		case strings.HasPrefix(namespace, "kube-"):
			why = fmt.Sprintf("namespace %q is that of Kubernetes itself; name each Secret with --discovery-secret", namespace)
		}
		if why != "" {
			return output.Usagef("invalid --discovery-namespace %q: %s", namespace, why)
		}
	}
	return nil
}

// discoveryObjects are what is applied for the discovery controller, in that order.
func (o *grantOptions) discoveryObjects() (objects []*unstructured.Unstructured) {
	if o.discovery.join {
		verbs := []string{v1alpha1.VerbDiscover}
		if o.discovery.leave {
			verbs = append(verbs, v1alpha1.VerbLeave)
		}
		objects = append(objects, manifests.DiscoveryBinding(o.federation, verbs...)...)
	}
	for _, s := range o.secrets {
		objects = append(objects, manifests.DiscoverySecretBinding(s.Namespace, s.Name)...)
	}
	for _, namespace := range o.discovery.namespaces {
		objects = append(objects, manifests.DiscoveryNamespaceBinding(namespace)...)
	}
	return objects
}

// judgeDiscovery says what stands against what the discovery controller is granted, and what a person should know of it.
func (o *grantOptions) judgeDiscovery(ctx context.Context, h *host.Cluster) (against []federate.Finding, warnings []string, err error) {
	if o.discovery.join && !o.discovery.leave {
		role, err := h.Find(ctx, cluster.ClusterRoles.Of(o.discoveryObjects()[0]))
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, nil, err
		}
		may, err := letsLeave(role)
		if err != nil {
			return nil, nil, err
		}
		if may {
			warnings = append(warnings, fmt.Sprintf("the discovery controller may not let members of federation %q leave any more; --leave lets it", o.federation))
		}
	}
	absent := map[string]bool{}
	for _, s := range o.secrets {
		ref := cluster.Ref{Resource: cluster.Secrets, Namespace: s.Namespace, Name: s.Name}
		secret, err := h.Find(ctx, ref)
		switch {
		case apierrors.IsForbidden(err):
			continue
		case err != nil:
			return nil, nil, err
		case secret == nil:
			absent[s.Namespace] = true
			warnings = append(warnings, ref.String()+" does not exist yet")
			continue
		}
		if kind, _, _ := unstructured.NestedString(secret.Object, "type"); strings.HasPrefix(kind, v1alpha1.Prefix) {
			against = append(against, federate.Finding{Side: cluster.Host, Object: ref.String(), Cause: "holds a credential that kubectl federate made, which stands for no other cluster"})
		}
	}
	for _, namespace := range o.discovery.namespaces {
		absent[namespace] = true
		text, err := whatLiesIn(ctx, h, namespace)
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, text)
	}
	for _, namespace := range slices.Sorted(maps.Keys(absent)) {
		live, err := h.Find(ctx, install.Namespace(namespace))
		f := federate.Finding{Side: cluster.Host, Object: fmt.Sprintf("namespace %q", namespace)}
		switch {
		case apierrors.IsForbidden(err):
			continue
		case err != nil:
			return nil, nil, err
		case live == nil:
			f.Cause, f.Remedy = "does not exist", "create it first"
		case live.GetLabels()[v1alpha1.LabelInventoryCredentials] != "" && slices.Contains(o.discovery.namespaces, namespace):
			f.Cause = fmt.Sprintf("holds credentials of members, by its label %s", v1alpha1.LabelInventoryCredentials)
		default:
			continue
		}
		against = append(against, f)
	}
	return against, warnings, nil
}

// letsLeave says whether a role, which may be nil, gives the verb leave.
func letsLeave(role *unstructured.Unstructured) (bool, error) {
	var r rbacv1.ClusterRole
	if role != nil {
		if err := cluster.FromUnstructured(role, &r); err != nil {
			return false, err
		}
	}
	return slices.ContainsFunc(r.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Verbs, v1alpha1.VerbLeave) }), nil
}

// maxTypes is how many types of Secrets are named.
const maxTypes = 5

// whatLiesIn says what who reads all Secrets of a namespace reads there.
func whatLiesIn(ctx context.Context, h *host.Cluster, namespace string) (string, error) {
	text := fmt.Sprintf("the discovery controller may read every Secret of namespace %q, those that are created later included: ", namespace)
	counts, err := cluster.CountByColumn(ctx, h.Conn, cluster.Secrets, cluster.ListOptions{Namespace: namespace}, "Type")
	switch {
	case apierrors.IsForbidden(err):
		return text + "how many there are is not known, since you are not allowed to list them", nil
	case err != nil:
		return "", err
	case len(counts) == 0:
		return text + "there is none now", nil
	}
	all := 0
	for _, n := range counts {
		all += n
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
	var parts []string
	for _, name := range names[:min(len(names), maxTypes)] {
		parts = append(parts, fmt.Sprintf("%d of type %s", counts[name], output.OneLine(cluster.Shortened(name))))
	}
	if more := len(names) - maxTypes; more > 0 {
		parts = append(parts, fmt.Sprintf("others of %s", output.Count(more, "type", "types")))
	}
	text += fmt.Sprintf("%d now, %s", all, strings.Join(parts, ", "))
	if counts["cluster.x-k8s.io/secret"] > 0 {
		text += "; Cluster API keeps the CA keys of its clusters in such"
	}
	return text, nil
}
