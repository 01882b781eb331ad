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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
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

const grantHelp = `Give roles of a federation, let it publish its members in namespaces of the host, and let the discovery controller
work for it.

--joiner, --approver and --integrator give a role of the federation to users, groups and ServiceAccounts, as create
federation does; those who have it keep it. Joiners join, label and unjoin clusters, approvers accept members, and
integrators are controllers of others that put their annotations and finalizers on members.

--inventory labels a namespace for the federation and lets the manager write ClusterProfiles there, and nothing
else. --inventory-credentials does the same for the namespace that gets a Secret for each member, for those who
read the profiles: it should hold nothing else. A namespace that does not exist is created. --consumer lets a
ServiceAccount get the Secrets of that namespace, by name. The federation publishes in what its spec.inventory
names: grant first, then name it.

--dns lets the manager write DNSEndpoints of external-dns in a namespace, and nothing else: the names of exported
services, as spec.services of the federation asks. It is for every federation that names the namespace.

--discovery lets the discovery controller join clusters to the federation, and change those members alone. With
--leave it may also let them leave, as spec.discovery.whenGone: Leave asks. Again without --leave, it may not any
more.

--discovery-secret lets the discovery controller get one Secret that holds a kubeconfig, and --discovery-namespace
read all Secrets of a namespace, those that are created later included. They take no federation: a Secret is read
for each federation whose spec.discovery names its namespace.

In Kubernetes you can give only rights that you have. What you lack is named before anything is changed;
--dry-run=client -o yaml prints the manifests for an administrator. 'kubectl federate revoke' removes what grant
makes.`

const grantExample = `  # Let a group join clusters to prod, and a user accept them
  kubectl federate grant prod --joiner group:sre --approver user:alice

  # Publish the members of prod for tools that read ClusterProfiles in namespace fleet
  kubectl federate grant prod --inventory fleet

  # Keep a credential for each member, and let the controller of a tool read it
  kubectl federate grant prod --inventory-credentials prod-credentials --consumer argocd/argocd-application-controller

  # Write the names of services that members of prod export for external-dns
  kubectl federate grant prod --dns external-dns

  # Let the discovery controller join clusters to prod
  kubectl federate grant prod --discovery

  # Let it read the kubeconfig of one cluster
  kubectl federate grant --discovery-secret team-x/prod-a-kubeconfig

  # Print manifests for GitOps
  kubectl federate grant prod --inventory fleet --dry-run=client -o yaml`

// grantFlags are what was typed, for grant and revoke.
type grantFlags struct {
	*factory
	given       roleFlags
	yes         bool
	inventories []string
	credentials string
	consumers   []string
	dns         string
	discovery   discoveryFlags
	dryRun      cluster.DryRun
	output      output.Flags
}

func (f *grantFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.given.addTo(flags)
	flags.StringArrayVar(&f.inventories, "inventory", nil, "A namespace of the host for ClusterProfiles of the members (repeatable)")
	flags.StringVar(&f.credentials, "inventory-credentials", "", "The namespace of the host for credentials of the members")
	flags.StringArrayVar(&f.consumers, "consumer", nil, "A ServiceAccount that may get the Secrets of --inventory-credentials, as NAMESPACE/NAME (repeatable)")
	flags.StringVar(&f.dns, "dns", "", "The namespace of the host for names of exported services")
	f.discovery.addTo(flags)
	addDryRun(cmd, &f.dryRun)
	flags.Lookup("dry-run").Usage = `"none", "client" or "server". Client prints everything as for a host that was not read, but with the subjects that roles have there; server also lets the API server judge it. Neither changes anything`
}

// arguments takes the name of a federation, except for what is granted to none.
func (f *grantFlags) arguments(cmd *cobra.Command, args []string) error {
	if !f.discovery.readsSecrets() {
		return exactlyOne("the federation's name")(cmd, args)
	}
	var fault error
	switch {
	case len(args) > 0:
		fault = errors.New("--discovery-secret and --discovery-namespace take no federation: a Secret is read for each federation whose spec.discovery names its namespace")
	case f.given.given() || len(f.inventories) > 0 || f.credentials != "" || len(f.consumers) > 0 || f.dns != "" || f.discovery.join || f.discovery.leave:
		fault = errors.New("--discovery-secret and --discovery-namespace take no federation, and go with no flag for one")
	default:
		return nil
	}
	return output.UsageError{Err: fault, Command: cmd.CommandPath()}
}

func newGrant(d *factory) *cobra.Command {
	f := &grantFlags{factory: d, output: output.NewFlags()}
	cmd := &cobra.Command{
		Use: "grant [FEDERATION]", GroupID: groupHost, Short: "Give roles of a federation, namespaces for its members, and what discovery needs",
		Long: grantHelp, Example: grantExample, Args: f.arguments,
		RunE: runs(func(_ *cobra.Command, args []string) (*grantOptions, error) { return f.parse(args) }),
	}
	f.addTo(cmd)
	cmd.Flags().BoolVar(&f.yes, "yes", false, "Also give roles to everyone, where that is asked for")
	f.discovery.addLeave(cmd.Flags())
	f.output.AddTo(cmd)
	return cmd
}

// parse reads the name of the federation, the ServiceAccounts and the Secrets.
func (f *grantFlags) parse(args []string) (*grantOptions, error) {
	o := &grantOptions{grantFlags: *f}
	if len(args) > 0 {
		o.federation = v1alpha1.FederationName(args[0])
	}
	for _, arg := range f.consumers {
		namespace, name, _ := strings.Cut(arg, "/")
		if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
			return o, output.Usagef("invalid --consumer %q: must be NAMESPACE/NAME of a ServiceAccount", arg)
		}
		o.accounts = append(o.accounts, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
	}
	var unknownSecret, unknownSubject error
	o.secrets, unknownSecret = f.discovery.parse()
	o.roles, unknownSubject = f.given.parse()
	return o, cmp.Or(unknownSecret, unknownSubject)
}

// grantOptions are ready to run.
type grantOptions struct {
	grantFlags
	// federation is empty where only Secrets are granted, to the discovery controller.
	federation v1alpha1.FederationName
	roles      []givenRole
	accounts   []rbacv1.Subject
	secrets    []types.NamespacedName
}

func (o *grantOptions) validate() error {
	if err := cmp.Or(o.discovery.validate(), o.output.Validate()); err != nil || o.discovery.readsSecrets() {
		return err
	}
	if err := validateName("federation", string(o.federation)); err != nil {
		return err
	}
	switch {
	case len(o.roles) == 0 && len(o.inventories) == 0 && o.credentials == "" && o.dns == "" && !o.discovery.join:
		return output.Usagef("nothing is named: give --joiner, --approver, --integrator, --inventory, --inventory-credentials, --dns or --discovery")
	case len(o.accounts) > 0 && o.credentials == "":
		return output.Usagef("--consumer needs --inventory-credentials, the namespace whose Secrets it may get")
	case slices.Contains(o.inventories, o.credentials):
		return output.Usagef("namespace %q cannot hold profiles and credentials: readers of profiles have no right on Secrets", o.credentials)
	}
	if o.dns != "" && len(validation.IsDNS1123Label(o.dns)) > 0 {
		return output.Usagef("invalid --dns %q: it names no namespace", o.dns)
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

// objects are all that is applied, in that order, without roles of the federation.
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
	return slices.Concat(objects, o.dnsObjects(), o.discoveryObjects())
}

// dnsObjects let the manager write the names of services.
func (o *grantOptions) dnsObjects() []*unstructured.Unstructured {
	if o.dns == "" {
		return nil
	}
	return manifests.DNSBinding(o.dns)
}

func (o *grantOptions) report(object *unstructured.Unstructured, outcome install.Outcome) {
	if o.output.Value == "" {
		output.Linef(o.Out, "%s %s%s", install.Describe(object), outcome, dryRunSuffix(o.dryRun))
	}
}

func (o *grantOptions) run(ctx context.Context) error {
	if !o.yes {
		if against := tooBroad(o.roles, string(o.federation)); len(against) > 0 {
			return &federate.Refusal{Operation: o.operation(), Findings: against}
		}
	}
	objects, roles := o.objects(), bindingsOf(o.roles, o.federation)
	if o.dryRun == cluster.DryRunClient {
		for _, object := range objects {
			o.report(object, install.Created)
		}
		o.planRoles(ctx, roles)
	} else {
		h, err := o.host()
		if err != nil {
			return err
		}
		warnings, err := o.judge(ctx, h, objects, roles)
		if err != nil {
			return err
		}
		err = install.Apply(ctx, h, objects, o.dryRun, o.report)
		if err == nil {
			err = install.AddSubjects(ctx, h, roles, o.dryRun, o.report)
		}
		if err != nil {
			return err
		}
		for _, text := range warnings {
			output.Linef(o.ErrOut, "Warning: %s", text)
		}
	}
	if o.output.Value == "" {
		return nil
	}
	return o.output.Objects(o.Out, append(objects, roles...))
}

// planRoles reports what is to be done to the objects of roles, and adds the subjects that they have on the host, for the manifests that
// are printed: without those, applying a manifest would take the role from them.
func (o *grantOptions) planRoles(ctx context.Context, roles []*unstructured.Unstructured) {
	if len(roles) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, federationTimeout)
	defer cancel()
	outcomes := make([]install.Outcome, 0, len(roles))
	h, err := o.host()
	if err == nil {
		err = install.AddSubjects(ctx, h, roles, cluster.DryRunClient, func(_ *unstructured.Unstructured, outcome install.Outcome) { outcomes = append(outcomes, outcome) })
	}
	if err != nil {
		output.Linef(o.ErrOut, "Warning: who has the roles already is not known, and a manifest would take them from those when it is applied: %s", output.Reason(err))
	}
	for i, object := range roles {
		outcome := install.Created
		if err == nil {
			outcome = outcomes[i]
		}
		o.report(object, outcome)
	}
}

// judge is a *Refusal where something stands against the grant, and else what a person should know of it. What goes with the
// federation gets it as its owner.
func (o *grantOptions) judge(ctx context.Context, h *host.Cluster, objects, roles []*unstructured.Unstructured) (warnings []string, err error) {
	federation, missing, err := o.find(ctx, h)
	if err != nil {
		return nil, err
	}
	against, warnings, err := o.judgePlaces(ctx, h)
	if err != nil {
		return nil, err
	}
	unfit, ofDiscovery, err := o.judgeDiscovery(ctx, h)
	if err != nil {
		return nil, err
	}
	if missing != "" && len(o.roles) > 0 {
		against = append(against, federate.Finding{
			Side: cluster.Host, Cause: missing, Remedy: o.commands().To("create it first", command.CreateFederation{Name: o.federation}),
		})
	}
	lacking, err := o.lacking(ctx, h, slices.Concat(objects, roles))
	if err != nil {
		return nil, err
	}
	if federation != nil {
		if o.discovery.join {
			ownedBy(federation, objects[len(objects)-len(o.discoveryObjects()):])
		}
		ownedBy(federation, roles)
	}
	if len(against)+len(unfit)+len(lacking) == 0 {
		if lacking, err = o.tryRoles(ctx, h, roles); err != nil {
			return nil, err
		}
	}
	if against = slices.Concat(against, unfit, lacking); len(against) > 0 {
		return nil, &federate.Refusal{Operation: o.operation(), Findings: against}
	}
	if missing != "" {
		warnings = append([]string{missing}, warnings...)
	}
	return append(warnings, ofDiscovery...), nil
}

// tryRoles asks the host for the roles by a dry run: a binding gives the rights of a role that is there, which are not among the objects.
func (o *grantOptions) tryRoles(ctx context.Context, h *host.Cluster, roles []*unstructured.Unstructured) ([]federate.Finding, error) {
	tried := make([]*unstructured.Unstructured, len(roles))
	for i, object := range roles {
		tried[i] = object.DeepCopy()
	}
	err := install.AddSubjects(ctx, h, tried, cluster.DryRunServer, func(*unstructured.Unstructured, install.Outcome) {})
	if !apierrors.IsForbidden(err) {
		return nil, err
	}
	return []federate.Finding{{Side: cluster.Host, Cause: cluster.Cause(err)}, o.forAdministrator()}, nil
}

// forAdministrator says how a person who has the rights makes the grant.
func (o *grantOptions) forAdministrator() federate.Finding {
	if len(o.roles) == 0 || len(o.objects()) > 0 {
		return federate.Finding{Cause: "add --dry-run=client -o yaml, and let an administrator of the host apply what that prints"}
	}
	// Without the flags of this run, which chose the host for its caller.
	return federate.Finding{Cause: command.Host{Plugin: o.name}.To("let an administrator of the host run", o.given.grant(o.federation, o.yes))}
}

// operation is what is granted, as a refusal names it.
func (o *grantOptions) operation() string {
	switch {
	case len(o.roles) > 0 && len(o.places()) == 0 && !o.discovery.join && o.dns == "":
		return fmt.Sprintf("give roles of federation %q", o.federation)
	case len(o.roles) > 0:
		return fmt.Sprintf("grant federation %q all of this", o.federation)
	case o.discovery.readsSecrets():
		return "let the discovery controller read Secrets"
	case len(o.places()) == 0 && o.dns == "":
		return fmt.Sprintf("let the discovery controller join clusters to federation %q", o.federation)
	}
	return fmt.Sprintf("grant federation %q a namespace", o.federation)
}

// lacking are the rights that the caller lacks for the grant.
func (o *grantOptions) lacking(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured) (against []federate.Finding, err error) {
	lacks, err := install.Lacking(ctx, h, objects)
	if err != nil || len(lacks) == 0 {
		return nil, err
	}
	for _, l := range lacks {
		f := federate.Finding{Side: cluster.Host, Cause: "you are not allowed to " + l.String()}
		if l.Given {
			f.Cause += ", and can give only rights that you have"
		}
		against = append(against, f)
	}
	return append(against, o.forAdministrator()), nil
}

// judgePlaces says what stands against the namespaces of an inventory: another federation has one, or it is there for the other purpose;
// and what a person should know of what lies there.
func (o *grantOptions) judgePlaces(ctx context.Context, h *host.Cluster) (against []federate.Finding, warnings []string, err error) {
	for _, p := range o.places() {
		namespace, err := h.Find(ctx, install.Namespace(p.namespace))
		if err != nil {
			return nil, nil, err
		}
		if namespace == nil {
			continue
		}
		taken := false
		for _, label := range []string{v1alpha1.LabelInventory, v1alpha1.LabelInventoryCredentials} {
			other := namespace.GetLabels()[label]
			switch {
			case other != "" && other != string(o.federation):
				against, taken = append(against, o.takenBy(p, other, label)), true
			case other != "" && label != p.label:
				against, taken = append(against, federate.Finding{
					Side: cluster.Host, Object: fmt.Sprintf("namespace %q", p.namespace),
					Cause: fmt.Sprintf("has the label %s, and cannot hold profiles and credentials", label), Remedy: "name another namespace",
				}), true
			}
		}
		if taken || p.label != v1alpha1.LabelInventoryCredentials {
			continue
		}
		finding, warning, err := o.judgeSecrets(ctx, h, p.namespace)
		if err != nil {
			return nil, nil, err
		}
		if finding != nil {
			against = append(against, *finding)
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	return against, warnings, nil
}

// judgeSecrets looks at the Secrets of a namespace that is to get credentials: those of members of another federation stand against it,
// and all others are read by every consumer.
func (o *grantOptions) judgeSecrets(ctx context.Context, h *host.Cluster, namespace string) (*federate.Finding, string, error) {
	kinds, err := cluster.CountByColumn(ctx, h.Conn, cluster.Secrets, cluster.ListOptions{Namespace: namespace}, "Type")
	if apierrors.IsForbidden(err) {
		return nil, fmt.Sprintf("whether namespace %q holds other Secrets, which consumers may get, is not known, since you are not allowed to list them", namespace), nil
	}
	if err != nil {
		return nil, "", err
	}
	others := 0
	for kind, n := range kinds {
		if kind != v1alpha1.ConsumerCredentialType {
			others += n
		}
	}
	foreign := map[string]int{}
	err = cluster.EachMetadata(ctx, h.Conn, cluster.Secrets, cluster.ListOptions{Namespace: namespace, Fields: "type=" + v1alpha1.ConsumerCredentialType},
		func() { clear(foreign) }, func(s *metav1.PartialObjectMetadata) {
			if federation := s.Labels[v1alpha1.LabelFederation]; federation != string(o.federation) {
				foreign[federation]++
			}
		})
	if err != nil {
		return nil, "", err
	}
	if len(foreign) > 0 {
		name := slices.Max(slices.Collect(maps.Keys(foreign)))
		of := fmt.Sprintf("of federation %q", name)
		if name == "" {
			of = "of an unknown federation"
		}
		return &federate.Finding{
			Side: cluster.Host, Object: fmt.Sprintf("namespace %q", namespace),
			Cause:  fmt.Sprintf("holds %s %s", output.Count(foreign[name], "credential", "credentials"), of),
			Remedy: "delete them, or name another namespace",
		}, "", nil
	}
	if others > 0 {
		return nil, fmt.Sprintf("namespace %q holds %s, which consumers may get as well", namespace, output.Count(others, "other Secret", "other Secrets")), nil
	}
	return nil, "", nil
}

// takenBy is that another federation has the namespace, by one of our labels.
func (o *grantOptions) takenBy(p grantedPlace, other, label string) federate.Finding {
	return federate.Finding{
		Side: cluster.Host, Object: fmt.Sprintf("namespace %q", p.namespace),
		Cause:  fmt.Sprintf("is that of federation %q, by its label %s", output.Printable(other), label),
		Remedy: o.commands().To("let that one give it up", revokeOf(v1alpha1.FederationName(other), p.namespace, label)),
	}
}

// find reads the federation. Where it does not exist, missing says so, and which name may be meant. Both are empty where it may not
// be read, or none is named. It is an error where the cluster is no host.
func (o *grantOptions) find(ctx context.Context, h *host.Cluster) (federation *v1alpha1.Federation, missing string, err error) {
	if o.federation != "" {
		switch federation, err = h.Federation(ctx, o.federation); {
		case err == nil:
			return federation, "", nil
		case apierrors.IsForbidden(err):
			return nil, "", nil
		case !apierrors.IsNotFound(err):
			return nil, "", err
		}
	}
	federations, err := h.Federations(ctx)
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, "", err
	}
	if o.federation == "" {
		return nil, "", nil
	}
	missing = fmt.Sprintf("federation %q does not exist yet", o.federation)
	var names []v1alpha1.FederationName
	for i := range federations {
		names = append(names, v1alpha1.FederationName(federations[i].Name))
	}
	slices.Sort(names)
	if near, ok := rules.Nearest(o.federation, names); ok {
		missing += fmt.Sprintf("; did you mean %q?", near)
	}
	return nil, missing, nil
}
