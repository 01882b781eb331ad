package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

func newCreate(d *factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create",
		GroupID: groupHost,
		Short:   "Create a federation on the host",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCreateFederation(d))
	return cmd
}

type federationFlags struct {
	description string
	acceptance  string
	enforcement string
	required    []string
	patterns    []string
	immutable   []string
	max         int32
	maxPerLabel []string
	versions    string
	rules       []string
	clusterRole string
	inventory   string
	insecure    bool
	joiners     []string
	approvers   []string
	dryRun      dryRunFlag
	output      outputFlags
	maxWasGiven bool
}

func newCreateFederation(d *factory) *cobra.Command {
	f := &federationFlags{output: newOutputFlags()}
	cmd := &cobra.Command{
		Use:     "federation NAME",
		Aliases: []string{"fed"},
		Short:   "Create a federation, its usual rules, and who may join clusters to it",
		Long: `Create a federation, its usual rules, and who may join clusters to it.

What the flags cannot say is said in a manifest: print one with --dry-run=client -o yaml, edit it, and
kubectl apply it. The webhook judges both the same.`,
		Example: `  # A federation without rules
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
  kubectl federate create federation prod --acceptance Manual --joiner group:sre --approver user:alice`,
		Args: exactlyOne("the federation's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.maxWasGiven = cmd.Flags().Changed("max")
			return f.run(cmd.Context(), d, v1alpha1.FederationName(args[0]))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.description, "description", "", "What the federation is, for people")
	flags.StringVar(&f.acceptance, "acceptance", string(v1alpha1.AcceptAutomatic), `"Automatic", or "Manual": a cluster that joined waits for an approver`)
	flags.StringVar(&f.enforcement, "enforcement", string(v1alpha1.EnforceDeny), `"Deny", or "Warn": labels, limits, versions and rules only warn`)
	flags.StringArrayVar(&f.required, "require-label", nil, "A label that members must have, as KEY or KEY=VALUE[,VALUE…] (repeatable)")
	flags.StringArrayVar(&f.patterns, "label-pattern", nil, "A regular expression (RE2) for the whole value of a label, as KEY=PATTERN (repeatable)")
	flags.StringArrayVar(&f.immutable, "immutable-label", nil, "A label that may be set once, as KEY (repeatable)")
	flags.Int32Var(&f.max, "max", 0, "How many members the federation may have")
	flags.StringArrayVar(&f.maxPerLabel, "max-per-label", nil, "How many members may share one value of a label, as KEY=NUMBER (repeatable)")
	flags.StringVar(&f.versions, "kubernetes-versions", "", `Kubernetes versions that members may run, as ">=1.33 <1.38"`)
	flags.StringArrayVar(&f.rules, "rule", nil, "A CEL expression over cluster, oldCluster and federation that holds for every member, as NAME=EXPRESSION (repeatable)")
	flags.StringVar(&f.clusterRole, "access-cluster-role", "", "The ClusterRole on each member that readers of the inventory get (default: none)")
	flags.StringVar(&f.inventory, "inventory-namespace", "", "The namespace of the host to publish members in; its label kubefederate.io/inventory names the federation (default: none)")
	flags.BoolVar(&f.insecure, "allow-insecure-tls", false, "Let members leave their server's certificate unverified")
	flags.StringArrayVar(&f.joiners, "joiner", nil, "Who may join and unjoin clusters, as user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME (repeatable)")
	flags.StringArrayVar(&f.approvers, "approver", nil, "Who may accept members, as for --joiner (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("acceptance", cobra.FixedCompletions([]string{"Automatic", "Manual"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("enforcement", cobra.FixedCompletions([]string{"Deny", "Warn"}, cobra.ShellCompDirectiveNoFileComp))
	f.dryRun.add(cmd)
	f.output.add(cmd)
	return cmd
}

// exactlyOne takes one argument and says what it is when there is none or more.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return usageError{err: fmt.Errorf("one argument is needed, %s; got %d", what, len(args)), command: cmd.CommandPath()}
	}
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
			return nil, usagef("--label-pattern=%q: it must be KEY=PATTERN", arg)
		}
		rule(key).Pattern = pattern
	}
	for _, key := range f.immutable {
		rule(key).Immutable = true
	}
	return rules, nil
}

func (f *federationFlags) limits() ([]v1alpha1.Limit, error) {
	var limits []v1alpha1.Limit
	if f.maxWasGiven {
		limits = append(limits, v1alpha1.Limit{Max: f.max})
	}
	for _, arg := range f.maxPerLabel {
		key, number, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || key == "" {
			return nil, usagef("--max-per-label=%q: it must be KEY=NUMBER", arg)
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
			return nil, usagef("--rule=%q: it must be NAME=EXPRESSION", arg)
		}
		rules = append(rules, v1alpha1.Rule{Name: name, Expression: expression})
	}
	return rules, nil
}

func (f *federationFlags) federation(name v1alpha1.FederationName) (*v1alpha1.Federation, error) {
	labels, err := f.labelRules()
	if err != nil {
		return nil, err
	}
	limits, err := f.limits()
	if err != nil {
		return nil, err
	}
	rules, err := f.expressions()
	if err != nil {
		return nil, err
	}
	federation := withKind(&v1alpha1.Federation{}, v1alpha1.GroupVersion.WithKind("Federation"))
	federation.Name = string(name)
	federation.Spec = v1alpha1.FederationSpec{
		Description:        f.description,
		Acceptance:         v1alpha1.AcceptancePolicy(f.acceptance),
		Enforcement:        v1alpha1.Enforcement(f.enforcement),
		Labels:             labels,
		Limits:             limits,
		KubernetesVersions: f.versions,
		Rules:              rules,
		AllowInsecureTLS:   f.insecure,
	}
	if f.clusterRole != "" {
		federation.Spec.Access = &v1alpha1.Access{ClusterRole: f.clusterRole}
	}
	if f.inventory != "" {
		federation.Spec.Inventory = &v1alpha1.Inventory{Namespace: f.inventory}
	}
	return federation, nil
}

func parseSubjects(flag string, args []string) ([]rbacv1.Subject, error) {
	var subjects []rbacv1.Subject
	for _, arg := range args {
		kind, name, _ := strings.Cut(arg, ":")
		namespace, account, _ := strings.Cut(name, ":")
		switch {
		case kind == "user" && name != "":
			subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name})
		case kind == "group" && name != "":
			subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name})
		case kind == "serviceaccount" && namespace != "" && account != "":
			subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account})
		default:
			return nil, usagef("--%s=%q: it must be user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME", flag, arg)
		}
	}
	return subjects, nil
}

// bindings are the roles and bindings that --joiner and --approver ask for.
func (f *federationFlags) bindings(name v1alpha1.FederationName) ([]*unstructured.Unstructured, error) {
	joiners, err := parseSubjects("joiner", f.joiners)
	if err != nil {
		return nil, err
	}
	approvers, err := parseSubjects("approver", f.approvers)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	if len(joiners) > 0 {
		objects = append(objects, manifests.JoinerBinding(name, joiners...)...)
	}
	if len(approvers) > 0 {
		objects = append(objects, manifests.ApproverBinding(name, approvers...)...)
	}
	return objects, nil
}

func (f *federationFlags) run(ctx context.Context, d *factory, name v1alpha1.FederationName) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	if err := errors.Join(checkName("federation", string(name)), f.output.check()); err != nil {
		return err
	}
	federation, err := f.federation(name)
	if err != nil {
		return err
	}
	bindings, err := f.bindings(name)
	if err != nil {
		return err
	}
	report := func(line string) {
		if *f.output.OutputFormat == "" {
			fmt.Fprintf(d.Out, "%s%s\n", line, dryRunSuffix(dryRun))
		}
	}
	if dryRun != federate.DryRunClient {
		h, err := d.host()
		if err != nil {
			return err
		}
		if federation, err = h.CreateFederation(ctx, federation, dryRun); err != nil {
			return err
		}
		federation = withKind(federation, v1alpha1.GroupVersion.WithKind("Federation"))
		report("federation.kubefederate.io/" + federation.Name + " created")
		// Who may join goes with the federation: a later one of its name is not theirs.
		for _, o := range bindings {
			o.SetOwnerReferences([]metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "Federation", Name: federation.Name, UID: federation.UID,
			}})
		}
		err = install.Apply(ctx, h, bindings, dryRun,
			func(o *unstructured.Unstructured, outcome install.Outcome) {
				report(describe(o) + " " + string(outcome))
			})
		if err != nil {
			return &federate.Partial{
				Done: []string{fmt.Sprintf("federation %q is created", name)},
				Next: fmt.Sprintf("%s create federation %s --dry-run=client -o yaml … prints the bindings for kubectl apply", d.name, name),
				Err:  err,
			}
		}
	} else {
		report("federation.kubefederate.io/" + federation.Name + " created")
		for _, o := range bindings {
			report(describe(o) + " " + string(install.Created))
		}
	}
	if *f.output.OutputFormat == "" {
		return nil
	}
	made, err := cluster.ToUnstructured(cluster.Federations, federation)
	if err != nil {
		return err
	}
	return printObjects(d, f.output, append([]*unstructured.Unstructured{made}, bindings...))
}
