package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

const grantHelp = `Let a federation publish its members in namespaces of the host.

--inventory labels a namespace for the federation and lets the manager write ClusterProfiles there, and nothing
else. --inventory-credentials does the same for the namespace that gets a Secret for each member, for those who
read the profiles: it should hold nothing else. A namespace that does not exist is created.

--consumer lets a ServiceAccount get the Secrets of that namespace, by name.

The federation publishes in what its spec.inventory names: grant first, then name it. 'kubectl federate revoke'
removes what grant makes.`

const grantExample = `  # Publish the members of prod for tools that read ClusterProfiles in namespace fleet
  kubectl federate grant prod --inventory fleet

  # Keep a credential for each member, and let the controller of a tool read it
  kubectl federate grant prod --inventory-credentials prod-credentials --consumer argocd/argocd-application-controller

  # Print manifests for GitOps
  kubectl federate grant prod --inventory fleet --dry-run=client -o yaml`

const revokeHelp = `Remove what grant makes.

The label of the namespace and the manager's Role there are removed. Take the namespace out of the federation's
spec.inventory first: then the manager removes what it has published there. Until that is done revoke refuses, and
so it does where the namespace was granted to another federation, or for the other purpose. With
--inventory-credentials every ServiceAccount that --consumer named loses its right; with --consumer as well only
those that are named do.`

const revokeExample = `  # Keep prod from publishing in namespace fleet
  kubectl federate revoke prod --inventory fleet

  # One ServiceAccount is not to read credentials any more
  kubectl federate revoke prod --inventory-credentials prod-credentials --consumer argocd/argocd-application-controller`

// grantFlags are what was typed, for grant and revoke.
type grantFlags struct {
	*factory
	federation  v1alpha1.FederationName
	inventories []string
	credentials string
	consumers   []string
	dryRun      cluster.DryRun
	output      output.Flags
}

func (f *grantFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.inventories, "inventory", nil, "A namespace of the host for ClusterProfiles of the members (repeatable)")
	flags.StringVar(&f.credentials, "inventory-credentials", "", "The namespace of the host for credentials of the members")
	flags.StringArrayVar(&f.consumers, "consumer", nil, "A ServiceAccount that may get the Secrets of --inventory-credentials, as NAMESPACE/NAME (repeatable)")
	addDryRun(cmd, &f.dryRun)
	flags.Lookup("dry-run").Usage = `"none", "client" or "server". Client prints everything as for a host that was not read; server also lets the API server judge it. Neither changes anything`
}

func newGrant(d *factory) *cobra.Command {
	f := &grantFlags{factory: d, output: output.NewFlags()}
	cmd := &cobra.Command{
		Use: "grant FEDERATION", GroupID: groupHost, Short: "Let a federation publish its members in namespaces of the host",
		Long: grantHelp, Example: grantExample, Args: exactlyOne("the federation's name"),
		RunE: runs(func(_ *cobra.Command, args []string) (*grantOptions, error) {
			accounts, err := f.parse(args)
			return &grantOptions{*f, accounts}, err
		}),
	}
	f.addTo(cmd)
	f.output.AddTo(cmd)
	return cmd
}

func newRevoke(d *factory) *cobra.Command {
	f := &grantFlags{factory: d, output: output.NewFlags()}
	cmd := &cobra.Command{
		Use: "revoke FEDERATION", GroupID: groupHost, Short: "Remove what grant makes",
		Long: revokeHelp, Example: revokeExample, Args: exactlyOne("the federation's name"),
		RunE: runs(func(_ *cobra.Command, args []string) (*revokeOptions, error) {
			accounts, err := f.parse(args)
			return &revokeOptions{grantOptions{*f, accounts}}, err
		}),
	}
	f.addTo(cmd)
	return cmd
}

// parse reads the name of the federation and the ServiceAccounts.
func (f *grantFlags) parse(args []string) (accounts []rbacv1.Subject, err error) {
	f.federation = v1alpha1.FederationName(args[0])
	for _, arg := range f.consumers {
		namespace, name, _ := strings.Cut(arg, "/")
		if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
			return nil, output.Usagef("invalid --consumer %q: must be NAMESPACE/NAME of a ServiceAccount", arg)
		}
		accounts = append(accounts, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
	}
	return accounts, nil
}

// grantOptions are ready to run.
type grantOptions struct {
	grantFlags
	accounts []rbacv1.Subject
}

func (o *grantOptions) validate() error {
	if err := cmp.Or(validateName("federation", string(o.federation)), o.output.Validate()); err != nil {
		return err
	}
	switch {
	case len(o.inventories) == 0 && o.credentials == "":
		return output.Usagef("nothing is named: give --inventory or --inventory-credentials")
	case len(o.accounts) > 0 && o.credentials == "":
		return output.Usagef("--consumer needs --inventory-credentials, the namespace whose Secrets it may get")
	case slices.Contains(o.inventories, o.credentials):
		return output.Usagef("namespace %q cannot hold profiles and credentials: readers of profiles have no right on Secrets", o.credentials)
	}
	for _, p := range o.places() {
		if len(validation.IsDNS1123Label(p.namespace)) > 0 {
			return output.Usagef("invalid --%s %q: it names no namespace", p.flag, p.namespace)
		}
		if why := rules.UnfitNamespace(p.namespace, p.label == v1alpha1.LabelInventoryCredentials); why != "" {
			return output.Usagef("invalid --%s %q: %s", p.flag, p.namespace, why)
		}
	}
	return nil
}

// grantedPlace is a namespace that a federation gets for its inventory.
type grantedPlace struct {
	flag, namespace string
	// label lets the federation use it.
	label string
	// roles are the manager's there.
	roles []*unstructured.Unstructured
}

func (o *grantOptions) places() (places []grantedPlace) {
	for _, namespace := range o.inventories {
		places = append(places, grantedPlace{"inventory", namespace, v1alpha1.LabelInventory, manifests.InventoryBinding(namespace)})
	}
	if o.credentials != "" {
		places = append(places, grantedPlace{"inventory-credentials", o.credentials, v1alpha1.LabelInventoryCredentials, manifests.CredentialsBinding(o.credentials)})
	}
	return places
}

// labels are those that a namespace gets.
func (o *grantOptions) labels(p grantedPlace) map[string]string {
	labels := map[string]string{p.label: string(o.federation)}
	if p.label == v1alpha1.LabelInventory {
		maps.Copy(labels, manifests.ClusterSetLabels(o.federation))
	}
	return labels
}

// objects are all that is applied, in that order.
func (o *grantOptions) objects() (objects []*unstructured.Unstructured) {
	for _, p := range o.places() {
		namespace := &unstructured.Unstructured{}
		namespace.SetAPIVersion("v1")
		namespace.SetKind("Namespace")
		namespace.SetName(p.namespace)
		namespace.SetLabels(o.labels(p))
		objects = append(append(objects, namespace), p.roles...)
	}
	if len(o.accounts) > 0 {
		objects = append(objects, manifests.ConsumerBinding(o.credentials, o.accounts...)...)
	}
	return objects
}

func (o *grantOptions) report(object *unstructured.Unstructured, outcome install.Outcome) {
	if o.output.Value == "" {
		output.Linef(o.Out, "%s %s%s", install.Describe(object), outcome, dryRunSuffix(o.dryRun))
	}
}

func (o *grantOptions) run(ctx context.Context) error {
	objects := o.objects()
	if o.dryRun == cluster.DryRunClient {
		for _, object := range objects {
			o.report(object, install.Created)
		}
	} else {
		h, err := o.host()
		if err != nil {
			return err
		}
		if err := o.free(ctx, h); err != nil {
			return err
		}
		missing, err := o.missing(ctx, h)
		if err != nil {
			return err
		}
		if err := install.Apply(ctx, h, objects, o.dryRun, o.report); err != nil {
			return err
		}
		if missing != "" {
			output.Linef(o.ErrOut, "Warning: %s", missing)
		}
	}
	if o.output.Value == "" {
		return nil
	}
	return o.output.Objects(o.Out, objects)
}

// free is a *Refusal where another federation has one of the namespaces.
func (o *grantOptions) free(ctx context.Context, h *host.Cluster) error {
	var against []federate.Finding
	for _, p := range o.places() {
		namespace, err := h.Find(ctx, install.Namespace(p.namespace))
		if err != nil {
			return err
		}
		if namespace == nil {
			continue
		}
		for _, label := range []string{v1alpha1.LabelInventory, v1alpha1.LabelInventoryCredentials} {
			other := namespace.GetLabels()[label]
			switch {
			case other != "" && other != string(o.federation):
				against = append(against, o.taken(p, other, label))
			case other != "" && label != p.label:
				against = append(against, federate.Finding{
					Side: cluster.Host, Object: fmt.Sprintf("namespace %q", p.namespace),
					Cause: fmt.Sprintf("has the label %s, and cannot hold profiles and credentials", label), Remedy: "name another namespace",
				})
			}
		}
	}
	if len(against) == 0 {
		return nil
	}
	return &federate.Refusal{Operation: fmt.Sprintf("grant federation %q a namespace", o.federation), Findings: against}
}

// taken is that another federation has the namespace, by one of our labels.
func (o *grantOptions) taken(p grantedPlace, other, label string) federate.Finding {
	return federate.Finding{
		Side: cluster.Host, Object: fmt.Sprintf("namespace %q", p.namespace),
		Cause:  fmt.Sprintf("is that of federation %q, by its label %s", output.Printable(other), label),
		Remedy: o.commands().To("let that one give it up", revokeOf(v1alpha1.FederationName(other), p.namespace, label)),
	}
}

// revokeOf is the command that removes the label of a namespace.
func revokeOf(federation v1alpha1.FederationName, namespace, label string) command.Revoke {
	if label == v1alpha1.LabelInventoryCredentials {
		return command.Revoke{Federation: federation, Credentials: namespace}
	}
	return command.Revoke{Federation: federation, Inventory: namespace}
}

// missing says that the federation does not exist, and which name may be meant; empty where it exists, or may not be read. It is
// an error where the cluster is no host.
func (o *grantOptions) missing(ctx context.Context, h *host.Cluster) (string, error) {
	switch _, err := h.Federation(ctx, o.federation); {
	case apierrors.IsForbidden(err):
		return "", nil
	case !apierrors.IsNotFound(err):
		return "", err
	}
	warning := fmt.Sprintf("federation %q does not exist yet", o.federation)
	federations, err := h.Federations(ctx)
	if err != nil && !apierrors.IsForbidden(err) {
		return "", err
	}
	var names []v1alpha1.FederationName
	for i := range federations {
		names = append(names, v1alpha1.FederationName(federations[i].Name))
	}
	slices.Sort(names)
	if near, ok := rules.Nearest(o.federation, names); ok {
		warning += fmt.Sprintf("; did you mean %q?", near)
	}
	return warning, nil
}

// revokeOptions are ready to run.
type revokeOptions struct{ grantOptions }

func (o *revokeOptions) run(ctx context.Context) error {
	if o.dryRun == cluster.DryRunClient {
		o.plan()
		return nil
	}
	h, err := o.host()
	if err != nil {
		return err
	}
	if err := o.judge(ctx, h); err != nil {
		return err
	}
	if len(o.accounts) > 0 {
		return o.withdraw(ctx, h)
	}
	for _, p := range o.places() {
		objects := o.objectsOf(p)
		if p.namespace == o.credentials {
			bindings, err := install.ConsumerBindings(ctx, h, p.namespace)
			if err != nil {
				return err
			}
			objects = append(objects, bindings...)
		}
		// The label first: the manager does nothing in a namespace without it.
		unlabeled, err := install.Unlabel(ctx, h, p.namespace, o.labels(p), o.dryRun)
		if err != nil {
			return err
		}
		outcome := "unlabeled"
		if !unlabeled {
			outcome = "not labeled"
		}
		output.Linef(o.Out, "namespace/%s %s%s", p.namespace, outcome, dryRunSuffix(o.dryRun))
		if err := install.Delete(ctx, h, objects, o.dryRun, o.report); err != nil {
			return err
		}
	}
	return nil
}

// plan prints what revoke removes where everything is there.
func (o *revokeOptions) plan() {
	deleted := func(objects []*unstructured.Unstructured) {
		for _, object := range slices.Backward(objects) {
			o.report(object, install.Deleted)
		}
	}
	if len(o.accounts) > 0 {
		deleted(o.bindings())
		return
	}
	for _, p := range o.places() {
		output.Linef(o.Out, "namespace/%s unlabeled%s", p.namespace, dryRunSuffix(o.dryRun))
		deleted(o.objectsOf(p))
	}
}

// objectsOf are those in a namespace whose names are known without reading it.
func (o *revokeOptions) objectsOf(p grantedPlace) []*unstructured.Unstructured {
	if p.namespace == o.credentials {
		return append(p.roles, manifests.ConsumerBinding(p.namespace)...)
	}
	return p.roles
}

// bindings are those of the ServiceAccounts that --consumer names.
func (o *revokeOptions) bindings() []*unstructured.Unstructured {
	return manifests.ConsumerBinding(o.credentials, o.accounts...)[1:]
}

// withdraw deletes the bindings of ServiceAccounts, and says which of them have none.
func (o *revokeOptions) withdraw(ctx context.Context, h *host.Cluster) error {
	for _, binding := range o.bindings() {
		found := false
		err := install.Delete(ctx, h, []*unstructured.Unstructured{binding}, o.dryRun, func(object *unstructured.Unstructured, outcome install.Outcome) {
			found = true
			o.report(object, outcome)
		})
		if err != nil {
			return err
		}
		if !found {
			output.Linef(o.Out, "%s not found%s", install.Describe(binding), dryRunSuffix(o.dryRun))
		}
	}
	return nil
}

// judge is a *Refusal where the label of a namespace is that of another grant, or the federation still publishes there. A
// namespace without a label, or of a federation that does not exist, may be cleaned.
func (o *revokeOptions) judge(ctx context.Context, h *host.Cluster) error {
	federation, err := h.Federation(ctx, o.federation)
	if err != nil && !apierrors.IsNotFound(err) && !errors.Is(err, host.ErrNotInitialised) {
		return err
	}
	var against []federate.Finding
	for _, p := range o.places() {
		namespace, err := h.Find(ctx, install.Namespace(p.namespace))
		if err != nil {
			return err
		}
		finding := federate.Finding{Side: cluster.Host, Object: fmt.Sprintf("namespace %q", p.namespace)}
		var labels map[string]string
		if namespace != nil {
			labels = namespace.GetLabels()
		}
		another := v1alpha1.LabelInventoryCredentials
		if p.label == another {
			another = v1alpha1.LabelInventory
		}
		switch {
		case labels[p.label] == string(o.federation):
		case labels[p.label] != "":
			against = append(against, o.taken(p, labels[p.label], p.label))
			continue
		case labels[another] == string(o.federation):
			finding.Cause = fmt.Sprintf("has the label %s, and not %s", another, p.label)
			finding.Remedy = o.commands().To("revoke that one", revokeOf(o.federation, p.namespace, another))
			against = append(against, finding)
			continue
		case labels[another] != "":
			against = append(against, o.taken(p, labels[another], another))
			continue
		}
		if field := p.namedBy(federation); field != "" && len(o.accounts) == 0 {
			finding.Cause = fmt.Sprintf("is in %s of federation %q, and what the manager published there would stay", field, o.federation)
			finding.Remedy = o.commands().To("take it out of there first", command.KubectlEdit{Object: host.FederationRef(o.federation).Object()})
			against = append(against, finding)
		}
	}
	if len(against) == 0 {
		return nil
	}
	return &federate.Refusal{Operation: fmt.Sprintf("revoke what federation %q was granted", o.federation), Findings: against}
}

// namedBy is the field of a federation that names the namespace; empty when none does.
func (p grantedPlace) namedBy(f *v1alpha1.Federation) string {
	switch {
	case f == nil || f.Spec.Inventory == nil:
	case p.label == v1alpha1.LabelInventoryCredentials && f.Spec.Inventory.CredentialsNamespace == p.namespace:
		return "spec.inventory.credentialsNamespace"
	case p.label == v1alpha1.LabelInventory && slices.Contains(f.Spec.Inventory.Namespaces, p.namespace):
		return "spec.inventory.namespaces"
	}
	return ""
}
