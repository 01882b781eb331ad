package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

const revokeHelp = `Remove what grant makes.

--joiner, --approver and --integrator take a role of the federation from those that they name, also where create
federation gave it. Who else has the role keeps it.

The label of the namespace and the manager's Role there are removed. Take the namespace out of the federation's
spec.inventory first: then the manager removes what it has published there, for which revoke waits. Until it is
taken out revoke refuses, and so it does where the namespace was granted to another federation, or for the other
purpose. With --inventory-credentials every ServiceAccount that --consumer named loses its right; with --consumer as
well only those that are named do.

With --dns the manager may not write names of services there any more, for any federation.

With --discovery the discovery controller may not change the federation's members any more, nor let them leave; they
stay members. What --discovery-secret and --discovery-namespace let it read, it cannot read any more, at once.`

const revokeExample = `  # A group is not to join clusters to prod any more
  kubectl federate revoke prod --joiner group:sre

  # Keep prod from publishing in namespace fleet
  kubectl federate revoke prod --inventory fleet

  # One ServiceAccount is not to read credentials any more
  kubectl federate revoke prod --inventory-credentials prod-credentials --consumer argocd/argocd-application-controller

  # The manager is not to write names of services in namespace external-dns
  kubectl federate revoke prod --dns external-dns

  # The discovery controller is not to join clusters to prod, nor to read a Secret
  kubectl federate revoke prod --discovery
  kubectl federate revoke --discovery-secret team-x/prod-a-kubeconfig`

// awaitFlags say whether, and how long, revoke waits for the manager.
type awaitFlags struct {
	on      bool
	timeout time.Duration
}

func newRevoke(d *factory) *cobra.Command {
	f, await := &grantFlags{factory: d, output: output.NewFlags()}, awaitFlags{}
	cmd := &cobra.Command{
		Use: "revoke [FEDERATION]", GroupID: groupHost, Short: "Remove what grant makes",
		Long: revokeHelp, Example: revokeExample, Args: f.arguments,
		RunE: runs(func(_ *cobra.Command, args []string) (*revokeOptions, error) {
			o, err := f.parse(args)
			return &revokeOptions{o, await}, err
		}),
	}
	f.addTo(cmd)
	cmd.Flags().BoolVar(&await.on, "wait", true, "Wait until the manager has removed what it published in the namespaces; else that may stay there")
	targets.DurationVar(cmd.Flags(), &await.timeout, "timeout", 2*time.Minute, "How long to wait for the manager; 0 is no limit")
	return cmd
}

// revokeOptions are ready to run.
type revokeOptions struct {
	*grantOptions
	await awaitFlags
}

func (o *revokeOptions) validate() error {
	return cmp.Or(targets.ValidateTimeout("timeout", o.await.timeout), o.grantOptions.validate())
}

func (o *revokeOptions) run(ctx context.Context) error {
	if o.dryRun == cluster.DryRunClient {
		o.planRoles(ctx)
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
	if err := install.RemoveSubjects(ctx, h, bindingsOf(o.roles, o.federation), o.dryRun, o.report, o.notFound); err != nil {
		return err
	}
	if len(o.accounts) > 0 {
		return o.deleteEach(ctx, h, o.bindings())
	}
	if err := o.awaitEmpty(ctx, h); err != nil {
		return err
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
		outcome := string(install.Unlabeled)
		if !unlabeled {
			outcome = "not labeled"
		}
		output.Linef(o.Out, "namespace/%s %s%s", p.namespace, outcome, dryRunSuffix(o.dryRun))
		if err := install.Delete(ctx, h, objects, o.dryRun, o.report); err != nil {
			return err
		}
	}
	return o.deleteEach(ctx, h, append(o.dnsObjects(), o.discoveryObjects()...))
}

// planRoles prints what revoke does to the bindings of roles, as they are on the host.
func (o *revokeOptions) planRoles(ctx context.Context) {
	if len(o.roles) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, federationTimeout)
	defer cancel()
	h, err := o.host()
	if err == nil {
		err = install.RemoveSubjects(ctx, h, bindingsOf(o.roles, o.federation), cluster.DryRunClient, o.report, o.notFound)
	}
	if err != nil {
		output.Linef(o.ErrOut, "Warning: who has the roles is not known: %s", output.Reason(err))
	}
}

func (o *revokeOptions) notFound(object *unstructured.Unstructured) {
	output.Linef(o.Out, "%s not found%s", install.Describe(object), dryRunSuffix(o.dryRun))
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
		output.Linef(o.Out, "namespace/%s %s%s", p.namespace, install.Unlabeled, dryRunSuffix(o.dryRun))
		deleted(o.objectsOf(p))
	}
	deleted(append(o.dnsObjects(), o.discoveryObjects()...))
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

// deleteEach deletes objects, the last one first, and says which of them do not exist.
func (o *revokeOptions) deleteEach(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured) error {
	for _, object := range slices.Backward(objects) {
		found := false
		err := install.Delete(ctx, h, []*unstructured.Unstructured{object}, o.dryRun, func(object *unstructured.Unstructured, outcome install.Outcome) {
			found = true
			o.report(object, outcome)
		})
		if err != nil {
			return err
		}
		if !found {
			o.notFound(object)
		}
	}
	return nil
}

// judge is a *Refusal where the label of a namespace is that of another grant, or the federation still publishes there. A
// namespace without a label, or of a federation that does not exist, may be cleaned.
func (o *revokeOptions) judge(ctx context.Context, h *host.Cluster) error {
	if len(o.places()) == 0 && o.dns == "" {
		return nil
	}
	federation, err := o.existing(ctx, h)
	if err != nil {
		return err
	}
	var against []federate.Finding
	if o.dns != "" && federation != nil && federation.Spec.Services != nil && federation.Spec.Services.DNS.Namespace == o.dns {
		against = append(against, federate.Finding{
			Side: cluster.Host, Object: fmt.Sprintf("namespace %q", o.dns), Cause: fmt.Sprintf("is in spec.services of federation %q, and what the manager wrote there would stay", o.federation),
			Remedy: o.commands().To("take it out of there first", command.KubectlEdit{Object: host.FederationRef(o.federation).Object()}),
		})
	}
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
			against = append(against, o.takenBy(p, labels[p.label], p.label))
			continue
		case labels[another] == string(o.federation):
			finding.Cause = fmt.Sprintf("has the label %s, and not %s", another, p.label)
			finding.Remedy = o.commands().To("revoke that one", revokeOf(o.federation, p.namespace, another))
			against = append(against, finding)
			continue
		case labels[another] != "":
			against = append(against, o.takenBy(p, labels[another], another))
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
	return &federate.Refusal{Operation: o.operation(), Findings: against}
}

func (o *revokeOptions) operation() string {
	return fmt.Sprintf("revoke what federation %q was granted", o.federation)
}

// existing reads the federation; nil where there is none, or the kind is gone.
func (o *revokeOptions) existing(ctx context.Context, h *host.Cluster) (*v1alpha1.Federation, error) {
	federation, err := h.Federation(ctx, o.federation)
	if apierrors.IsNotFound(err) || errors.Is(err, host.ErrNotInitialised) {
		return nil, nil
	}
	return federation, err
}

// awaitPollInterval is the time between two looks at a federation.
const awaitPollInterval = 300 * time.Millisecond

// awaitEmpty waits until the manager has removed what it published in the namespaces, which it does when the federation does not name
// them any more. Without the grant it could not.
func (o *revokeOptions) awaitEmpty(ctx context.Context, h *host.Cluster) error {
	if len(o.places()) == 0 || !o.await.on {
		return nil
	}
	var left []string
	holds := func(ctx context.Context) (bool, error) {
		federation, err := o.existing(ctx, h)
		if err != nil {
			return false, err
		}
		left = nil
		for _, p := range o.places() {
			if p.publishedBy(federation) {
				left = append(left, fmt.Sprintf("namespace %q", p.namespace))
			}
		}
		return len(left) == 0, nil
	}
	if done, err := holds(ctx); done || err != nil {
		return err
	}
	if o.dryRun != cluster.DryRunNone {
		output.Linef(o.ErrOut, "Warning: revoke waits until the manager has removed what it published in %s", strings.Join(left, ", "))
		return nil
	}
	progress := o.messages.Progress("waiting until the manager has removed what it published in " + strings.Join(left, ", "))
	bounded, cancel := targets.WithTimeout(ctx, o.await.timeout)
	defer cancel()
	err := wait.PollUntilContextCancel(bounded, awaitPollInterval, false, holds)
	progress.End()
	if bounded.Err() == nil || ctx.Err() != nil {
		return err
	}
	return &federate.Refusal{Operation: o.operation(), Findings: []federate.Finding{{
		Side: cluster.Host, Object: strings.Join(left, ", "),
		Cause:  "what the manager published there was not removed in time (--timeout), and would stay",
		Remedy: o.commands().To("leave it there with --wait=false, or see what is wrong", command.Check{}),
	}}}
}

// publishedBy says whether the manager may have published members of the federation in the namespace.
func (p grantedPlace) publishedBy(f *v1alpha1.Federation) bool {
	switch {
	case f == nil || f.Status.Inventory == nil:
		return false
	case p.label == v1alpha1.LabelInventoryCredentials:
		return slices.Contains(f.Status.Inventory.CredentialsNamespaces, p.namespace)
	}
	return slices.Contains(f.Status.Inventory.Namespaces, p.namespace)
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

// revokeOf is the command that removes the label of a namespace.
func revokeOf(federation v1alpha1.FederationName, namespace, label string) command.Revoke {
	if label == v1alpha1.LabelInventoryCredentials {
		return command.Revoke{Federation: federation, Credentials: namespace}
	}
	return command.Revoke{Federation: federation, Inventory: namespace}
}
