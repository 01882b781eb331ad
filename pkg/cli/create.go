package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/lint"
)

func newCreate(d *factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create",
		GroupID: groupHost,
		Short:   "Create a federation on the host",
		Args:    d.knownCommand,

		SuggestionsMinimumDistance: 2,

		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCreateFederation(d))
	return cmd
}

const createFederationHelp = `Create a federation, its usual rules, and who may join clusters to it.

For what has no flag, print a manifest with --dry-run=client -o yaml, edit it, and kubectl apply it. The
webhook judges both the same.`

const createFederationExample = `  # A federation without rules
  kubectl federate create federation prod

  # Members name their region, once, out of two; their team; and at most 100 are in one region
  kubectl federate create federation prod \
    --require-label topology.kubernetes.io/region=us-east-1,eu-west-1 \
    --immutable-label topology.kubernetes.io/region \
    --require-label example.com/team --label-pattern 'example.com/team=[a-z]+' \
    --max-per-label topology.kubernetes.io/region=100

  # Nodes are in the US only, by a CEL expression; members are published in a namespace of the host
  kubectl federate create federation prod \
    --rule 'us-only=cluster.facts.regions.all(r, r.startsWith("us-"))' --inventory-namespace federation-prod

  # Let a group join clusters to it, and a user approve them
  kubectl federate create federation prod --acceptance Manual --joiner group:sre --approver user:alice`

// federationFlags are what was typed.
type federationFlags struct {
	*factory
	description string
	acceptance  string
	enforcement string
	required    []string
	patterns    []string
	immutable   []string
	max         int32
	maxGiven    bool
	maxPerLabel []string
	versions    string
	rules       []string
	clusterRole string
	inventory   v1alpha1.Inventory
	services    v1alpha1.Services
	sources     []string
	endpoints   []string
	interval    string
	failures    int32
	failsGiven  bool
	insecure    bool
	given       roleFlags
	yes         bool
	dryRun      cluster.DryRun
	output      output.Flags
}

func newCreateFederation(d *factory) *cobra.Command {
	f := &federationFlags{factory: d, output: output.NewFlags()}
	cmd := &cobra.Command{
		Use:     "federation NAME",
		Aliases: []string{"fed"},
		Short:   "Create a federation, its usual rules, and who may join clusters to it",
		Long:    createFederationHelp,
		Example: createFederationExample,
		Args:    exactlyOne("the federation's name"),
		RunE:    runs(f.toOptions),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.description, "description", "", "What the federation is for")
	flags.StringVar(&f.acceptance, "acceptance", string(v1alpha1.AcceptAutomatic), `"Automatic", or "Manual": a cluster that joined is Pending until it is approved`)
	flags.StringVar(&f.enforcement, "enforcement", string(v1alpha1.EnforceDeny), `"Deny", or "Warn": labels, limits, versions and rules only warn`)
	flags.StringArrayVar(&f.required, "require-label", nil, "A label that members must have, as KEY or KEY=VALUE[,VALUE…] (repeatable)")
	flags.StringArrayVar(&f.patterns, "label-pattern", nil, "A regular expression (RE2) for the whole value of a label, as KEY=PATTERN (repeatable)")
	flags.StringArrayVar(&f.immutable, "immutable-label", nil, "A label that may not change once it is set, as KEY (repeatable)")
	flags.Int32Var(&f.max, "max", 0, "How many members the federation may have")
	flags.StringArrayVar(&f.maxPerLabel, "max-per-label", nil, "How many members may share one value of a label, as KEY=NUMBER (repeatable)")
	flags.StringVar(&f.versions, "kubernetes-versions", "", `Kubernetes versions that members may run, as ">=1.33 <1.38"`)
	flags.StringArrayVar(&f.rules, "rule", nil, "A CEL expression over cluster, oldCluster and federation that holds for every member, as NAME=EXPRESSION (repeatable)")
	flags.StringVar(&f.clusterRole, "access-cluster-role", "", "The ClusterRole on each member that readers of the inventory get (default: none)")
	flags.StringArrayVar(&f.inventory.Namespaces, "inventory-namespace", nil,
		"A namespace of the host to publish members in; its label kubefederate.io/inventory names the federation (repeatable)")
	flags.StringVar(&f.inventory.CredentialsNamespace, "inventory-credentials-namespace", "",
		"The namespace of the host to keep a credential in for each member, for readers of the inventory; its label kubefederate.io/inventory-credentials names the federation (default: none)")
	flags.StringArrayVar(&f.services.Namespaces, "services-namespace", nil, "A namespace of members whose exported services get names in DNS (repeatable)")
	flags.StringVar(&f.services.DNS.Domain, "dns-domain", "", "What these names end with, as example.com")
	flags.StringVar(&f.services.DNS.Namespace, "dns-namespace", "", "The namespace of the host for the names, as DNSEndpoints of external-dns")
	flags.StringArrayVar(&f.sources, "discovery-source", nil,
		"Objects on the host whose clusters the discovery controller may join, as KIND=NAMESPACE[,NAMESPACE…], or OpenClusterManagement for all of them (repeatable)")
	flags.StringArrayVar(&f.endpoints, "discovery-endpoint", nil,
		`Where discovered clusters may be: a host name, a domain as .example.com, an address or a range of them, or "*" (repeatable)`)
	flags.StringVar(&f.interval, "health-interval", "", "The longest time between two probes of a member, as 30s or 1m30s, from 5s to 1h (default: that of the manager)")
	flags.Int32Var(&f.failures, "health-failures", 0, "How many probes in a row must fail before a member is reported Offline or NotReady, from 1 to 10 (default: 2)")
	flags.BoolVar(&f.insecure, "allow-insecure-tls", false, "Allow members whose server's certificate is not verified")
	f.given.addTo(flags)
	flags.BoolVar(&f.yes, "yes", false, "Also give roles to everyone, where that is asked for, and delete those that an earlier federation of this name has left")
	complete(cmd, "acceptance", acceptances...)
	complete(cmd, "enforcement", enforcements...)
	addDryRun(cmd, &f.dryRun)
	f.output.AddTo(cmd)
	return cmd
}

var (
	acceptances  = words([]v1alpha1.AcceptancePolicy{v1alpha1.AcceptAutomatic, v1alpha1.AcceptManual})
	enforcements = words([]v1alpha1.Enforcement{v1alpha1.EnforceDeny, v1alpha1.EnforceWarn})
)

// federationOptions are ready to run.
type federationOptions struct {
	federationFlags
	federation *v1alpha1.Federation
	roles      []givenRole
}

func (f *federationFlags) toOptions(cmd *cobra.Command, args []string) (o *federationOptions, err error) {
	name := v1alpha1.FederationName(args[0])
	f.maxGiven, f.failsGiven = cmd.Flags().Changed("max"), cmd.Flags().Changed("health-failures")
	o = &federationOptions{federationFlags: *f}
	if o.federation, err = f.parse(name); err != nil {
		return nil, err
	}
	o.roles, err = f.given.parse()
	return o, err
}

// labelRules gathers the rules on labels, in the order in which their keys were first named.
func (f *federationFlags) labelRules() ([]v1alpha1.LabelRule, error) {
	var rules []v1alpha1.LabelRule
	rule := func(key string) *v1alpha1.LabelRule {
		i := slices.IndexFunc(rules, func(r v1alpha1.LabelRule) bool { return r.Key == key })
		if i < 0 {
			rules = append(rules, v1alpha1.LabelRule{Key: key})
			i = len(rules) - 1
		}
		return &rules[i]
	}
	for _, arg := range f.required {
		key, values, some := strings.Cut(arg, "=")
		r := rule(key)
		r.Required = true
		if some {
			r.Values = append(r.Values, strings.Split(values, ",")...)
		}
	}
	for _, arg := range f.patterns {
		key, pattern, ok := strings.Cut(arg, "=")
		if !ok || pattern == "" {
			return nil, output.Usagef("invalid --label-pattern %q: must be KEY=PATTERN", arg)
		}
		r := rule(key)
		if r.Pattern != "" {
			return nil, output.Usagef("invalid --label-pattern %q: the label has the pattern %q already", arg, r.Pattern)
		}
		r.Pattern = pattern
	}
	for _, key := range f.immutable {
		rule(key).Immutable = true
	}
	return rules, nil
}

func (f *federationFlags) limits() ([]v1alpha1.Limit, error) {
	var limits []v1alpha1.Limit
	if f.maxGiven {
		limits = append(limits, v1alpha1.Limit{Max: f.max})
	}
	for _, arg := range f.maxPerLabel {
		key, number, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || key == "" {
			return nil, output.Usagef("invalid --max-per-label %q: must be KEY=NUMBER", arg)
		}
		limits = append(limits, v1alpha1.Limit{PerLabel: key, Max: int32(n)})
	}
	return limits, nil
}

func (f *federationFlags) expressions() ([]v1alpha1.Rule, error) {
	var rules []v1alpha1.Rule
	for _, arg := range f.rules {
		name, expression, _ := strings.Cut(arg, "=")
		if name == "" || expression == "" {
			return nil, output.Usagef("invalid --rule %q: must be NAME=EXPRESSION", arg)
		}
		rules = append(rules, v1alpha1.Rule{Name: name, Expression: expression})
	}
	return rules, nil
}

// discovery is nil where no flag asks for any.
func (f *federationFlags) discovery() (*v1alpha1.Discovery, error) {
	switch {
	case len(f.sources) == 0 && len(f.endpoints) == 0:
		return nil, nil //nolint:nilnil // there is none
	case len(f.sources) == 0:
		return nil, output.Usagef("invalid --discovery-endpoint %q: needs --discovery-source, whose clusters may be there", f.endpoints[0])
	case len(f.endpoints) == 0:
		return nil, output.Usagef("invalid --discovery-source %q: needs --discovery-endpoint, where its clusters may be", f.sources[0])
	}
	d := &v1alpha1.Discovery{Acceptance: v1alpha1.DiscoveryManual, WhenGone: v1alpha1.GoneKeep, Endpoints: f.endpoints}
	for _, arg := range f.sources {
		kind, namespaces, some := strings.Cut(arg, "=")
		source := v1alpha1.DiscoverySource{Kind: v1alpha1.DiscoverySourceKind(kind)}
		if some {
			source.Namespaces = strings.Split(namespaces, ",")
		}
		if len(f.sources) > 1 { // only one may be without a name
			source.Name = fmt.Sprintf("%s-%d", strings.ToLower(kind), len(d.Sources)+1)
		}
		d.Sources = append(d.Sources, source)
	}
	return d, nil
}

// health is nil where no flag asks for any.
func (f *federationFlags) health() (*v1alpha1.Health, error) {
	switch {
	case f.failsGiven && f.failures == 0: // the API server would take it for none
		return nil, output.Usagef("invalid --health-failures 0: must be from 1 to 10")
	case f.interval == "" && !f.failsGiven:
		return nil, nil //nolint:nilnil // there is none
	}
	return &v1alpha1.Health{Interval: f.interval, Failures: f.failures}, nil
}

// parse is the federation that the flags describe.
func (f *federationFlags) parse(name v1alpha1.FederationName) (*v1alpha1.Federation, error) {
	labels, invalidLabels := f.labelRules()
	limits, invalidLimits := f.limits()
	rules, invalidRules := f.expressions()
	health, invalidHealth := f.health()
	discovery, invalidDiscovery := f.discovery()
	if err := cmp.Or(invalidLabels, invalidLimits, invalidRules, invalidDiscovery, invalidHealth); err != nil {
		return nil, err
	}
	if f.inventory.CredentialsNamespace != "" && len(f.inventory.Namespaces) == 0 {
		return nil, output.Usagef("invalid --inventory-credentials-namespace %q: needs --inventory-namespace, where members are published", f.inventory.CredentialsNamespace)
	}
	services := f.services.DNS != (v1alpha1.ServicesDNS{}) || len(f.services.Namespaces) > 0
	if services && (f.services.DNS.Domain == "" || f.services.DNS.Namespace == "" || len(f.services.Namespaces) == 0) {
		return nil, output.Usagef("--services-namespace, --dns-domain and --dns-namespace go together: give all of them or none")
	}
	federation := output.WithKind(&v1alpha1.Federation{}, "Federation")
	federation.Name = string(name)
	federation.Spec = v1alpha1.FederationSpec{
		Description:        f.description,
		Acceptance:         v1alpha1.AcceptancePolicy(f.acceptance),
		Enforcement:        v1alpha1.Enforcement(f.enforcement),
		Labels:             labels,
		Limits:             limits,
		KubernetesVersions: f.versions,
		Rules:              rules,
		Discovery:          discovery,
		Health:             health,
		AllowInsecureTLS:   f.insecure,
	}
	if f.clusterRole != "" {
		federation.Spec.Access = &v1alpha1.Access{ClusterRole: f.clusterRole}
	}
	if len(f.inventory.Namespaces) > 0 {
		federation.Spec.Inventory = f.inventory.DeepCopy()
	}
	if services {
		federation.Spec.Services = f.services.DeepCopy()
	}
	return federation, nil
}

func (o *federationOptions) validate() error {
	if err := cmp.Or(
		validateName("federation", o.federation.Name),
		output.OneOf("acceptance", o.acceptance, acceptances...), output.OneOf("enforcement", o.enforcement, enforcements...),
		o.output.Validate(),
	); err != nil {
		return err
	}
	if o.yes {
		return nil
	}
	return o.refuse(tooBroad(o.roles, o.federation.Name))
}

// refuse is a *Refusal of the federation where something stands against it.
func (o *federationOptions) refuse(against []federate.Finding) error {
	if len(against) == 0 {
		return nil
	}
	return &federate.Refusal{Operation: fmt.Sprintf("create federation %q", o.federation.Name), Findings: against}
}

func (o *federationOptions) run(ctx context.Context) error {
	report := func(object, outcome string) {
		if o.output.Value == "" {
			output.Linef(o.Out, "%s %s%s", object, outcome, dryRunSuffix(o.dryRun))
		}
	}
	reportRole := func(b *unstructured.Unstructured, outcome install.Outcome) {
		report(install.Describe(b), string(outcome))
	}
	if text := nearClusterRole(o.clusterRole); text != "" {
		output.Line(o.ErrOut, "Warning: "+text)
	}
	name := "federation.kubefederate.io/" + o.federation.Name
	bindings := bindingsOf(o.roles, v1alpha1.FederationName(o.federation.Name))
	if o.dryRun == cluster.DryRunClient {
		if err := o.lint(); err != nil {
			return err
		}
		report(name, "created")
		for _, b := range bindings {
			reportRole(b, install.Created)
		}
	} else {
		h, err := o.host()
		if err != nil {
			return err
		}
		if err := o.withoutLeftovers(ctx, h, reportRole); err != nil {
			return err
		}
		created, err := h.CreateFederation(ctx, o.federation, o.dryRun)
		if apierrors.IsAlreadyExists(err) {
			name := v1alpha1.FederationName(o.federation.Name)
			err = fmt.Errorf("%w: %s", err, o.commands().To("choose another name, or change that one", command.KubectlEdit{Object: host.FederationRef(name).Object()}))
			if o.given.given() {
				err = fmt.Errorf("%w; or %s", err, o.commands().To("give its roles", o.given.grant(name, o.yes)))
			}
			return err
		}
		if err != nil {
			return err
		}
		o.federation = output.WithKind(created, "Federation")
		report(name, "created")
		// Who may join goes with the federation: a later one of its name is not theirs.
		ownedBy(created, bindings)
		if err := install.Apply(ctx, h, bindings, o.dryRun, reportRole); err != nil {
			return o.partly(err)
		}
	}
	if o.output.Value == "" {
		if o.dryRun == cluster.DryRunNone {
			output.Line(o.ErrOut, o.commands().To("to join a cluster to it, run", command.Join{Federation: v1alpha1.FederationName(o.federation.Name)}))
		}
		return nil
	}
	made, err := cluster.ToUnstructured(cluster.Federations, o.federation)
	if err != nil {
		return err
	}
	return o.output.Objects(o.Out, append([]*unstructured.Unstructured{made}, bindings...))
}

// ownedBy makes a federation the owner of objects, which are deleted with it.
func ownedBy(f *v1alpha1.Federation, objects []*unstructured.Unstructured) {
	for _, o := range objects {
		o.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: cluster.Federations.Kind, Name: f.Name, UID: f.UID,
		}})
	}
}

// lint judges the federation as lint judges its manifest.
func (o *federationOptions) lint() error {
	manifest, err := json.Marshal(o.federation)
	if err != nil {
		return err
	}
	schemas, err := lint.LoadSchemas()
	if err != nil {
		return fmt.Errorf("read the schemas that this plugin brings: %w", err)
	}
	m := lint.NewManifests(schemas)
	if errs := m.Read("the federation", bytes.NewReader(manifest)); len(errs) > 0 {
		return errs[0]
	}
	for _, f := range m.Judge(time.Now()) {
		for _, text := range f.WarningTexts() {
			output.Line(o.ErrOut, "Warning: "+output.OneLine(text))
		}
		if err := f.Err(); err != nil {
			return err
		}
	}
	return nil
}

// withoutLeftovers makes sure that no role of an earlier federation of this name serves the new one: it refuses, or with --yes
// deletes them.
func (o *federationOptions) withoutLeftovers(ctx context.Context, h *host.Cluster, report install.Report) error {
	left, err := install.LeftRoles(ctx, h, v1alpha1.FederationName(o.federation.Name), o.dryRun)
	switch {
	case apierrors.IsForbidden(err):
		output.Linef(o.ErrOut, "Warning: roles that an earlier federation %q may have left were not looked for: %s", o.federation.Name, output.Reason(err))
		return nil
	case err != nil:
		return err
	case o.yes:
		return install.Delete(ctx, h, left, o.dryRun, report)
	}
	return o.refuse(leftFindings(left))
}

// partly is the error of a federation that was created without its bindings.
func (o *federationOptions) partly(err error) error {
	return &federate.Partial{
		Done: []string{fmt.Sprintf("federation %q is created", o.federation.Name)},
		Left: []string{"the roles of --joiner, --approver and --integrator, which an administrator of the host can give"},
		Next: o.commands().Line(o.given.grant(v1alpha1.FederationName(o.federation.Name), o.yes)),
		Err:  err,
	}
}
