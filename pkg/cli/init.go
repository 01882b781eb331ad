package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

type initFlags struct {
	image        string
	replicas     int32
	webhookURL   string
	certificates string
	wait         bool
	timeout      time.Duration
	dryRun       dryRunFlag
	output       outputFlags
}

func newInit(d *factory) *cobra.Command {
	f := &initFlags{output: newOutputFlags()}
	cmd := &cobra.Command{
		Use:     "init",
		GroupID: groupHost,
		Short:   "Install or upgrade kubectl federate on the host cluster",
		Long: `Install kubectl federate on the host cluster, or bring it to this plugin's version: the kinds Federation
and MemberCluster, policies, roles, the manager and its webhook. Run it again to upgrade or repair; it
refuses to downgrade.

The manager issues and renews the webhook's certificate itself. With --certificates=cert-manager,
cert-manager does, which must be on the host with its CA injector; the manager then has no right on the
certificate's Secret nor on the webhook configuration. A change from one to the other refuses changes of
members until the new pods run.

It returns when the webhook is enforcing: when a member that breaks a rule, sent as a dry run, is refused.`,
		Example: `  # Install on the cluster of the current context
  kubectl federate init

  # Print everything for GitOps, and change nothing
  kubectl federate init --dry-run=client -o yaml

  # Let cert-manager issue and renew the webhook's certificate
  kubectl federate init --certificates cert-manager

  # Run the manager outside the cluster, at a URL that the API server reaches
  kubectl federate init --webhook-url https://127.0.0.1:9443`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), d) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.image, "image", manifests.Image(version.Version), "The manager's container image")
	flags.Int32Var(&f.replicas, "replicas", 2, "How many replicas of the manager run")
	flags.StringVar(&f.webhookURL, "webhook-url", "",
		"The https URL of a manager that runs outside the cluster; nothing that runs pods is installed then")
	flags.StringVar(&f.certificates, "certificates", string(manifests.CertificatesManager), "Who issues the webhook's certificate: manager, cert-manager")
	_ = cmd.RegisterFlagCompletionFunc("certificates", cobra.FixedCompletions(
		[]string{string(manifests.CertificatesManager), string(manifests.CertificatesCertManager)}, cobra.ShellCompDirectiveNoFileComp))
	flags.BoolVar(&f.wait, "wait", true, "Wait until the webhook is enforcing")
	flags.DurationVar(&f.timeout, "timeout", 3*time.Minute, "How long to wait")
	f.dryRun.add(cmd)
	f.output.add(cmd)
	return cmd
}

func (f *initFlags) objects() (install, obsolete []*unstructured.Unstructured, err error) {
	options := manifests.Options{
		Version: version.Version, Image: f.image, Replicas: f.replicas, WebhookURL: f.webhookURL, Certificates: manifests.Certificates(f.certificates),
	}
	if install, err = manifests.Objects(options); err != nil {
		return nil, nil, err
	}
	// What only another kind of install needs goes, in case that was here before. This one has everything.
	options.WebhookURL, options.Certificates = "", manifests.CertificatesCertManager
	everything, err := manifests.Objects(options)
	if err != nil {
		return nil, nil, err
	}
	kept := map[string]bool{}
	for _, o := range install {
		kept[o.GetNamespace()+" "+describe(o)] = true
	}
	for _, o := range everything {
		if !kept[o.GetNamespace()+" "+describe(o)] {
			obsolete = append(obsolete, o)
		}
	}
	return install, obsolete, nil
}

// describe names an object as kubectl prints it.
func describe(o *unstructured.Unstructured) string { return install.Describe(o) }

func (f *initFlags) validate() error {
	if f.replicas < 1 {
		return usagef("--replicas=%d: at least one replica must guard the host", f.replicas)
	}
	switch c := manifests.Certificates(f.certificates); {
	case c != manifests.CertificatesManager && c != manifests.CertificatesCertManager:
		return usagef("--certificates=%q: it is manager or cert-manager", f.certificates)
	case f.webhookURL == "":
		return nil
	case c == manifests.CertificatesCertManager:
		return usagef("--certificates=%s mounts a Secret into the manager's pods, and with --webhook-url there are none", c)
	}
	u, err := url.Parse(f.webhookURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return usagef("--webhook-url=%q: it must be an https URL with a host and no user, query or fragment", f.webhookURL)
	}
	return nil
}

func (f *initFlags) run(ctx context.Context, d *factory) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	if err := errors.Join(f.validate(), f.output.check()); err != nil {
		return err
	}
	objects, obsolete, err := f.objects()
	if err != nil {
		return err
	}
	printed := *f.output.OutputFormat != ""
	report := func(o *unstructured.Unstructured, outcome install.Outcome) {
		if !printed {
			fmt.Fprintf(d.Out, "%s %s%s\n", describe(o), outcome, dryRunSuffix(dryRun))
		}
	}
	if dryRun == federate.DryRunClient {
		if printed {
			return printObjects(d, f.output, objects)
		}
		for _, o := range objects {
			report(o, install.Created)
		}
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	h, err := d.host()
	if err != nil {
		return err
	}
	installed, err := install.Version(ctx, h)
	if err != nil {
		return err
	}
	if install.Newer(installed, version.Version) {
		return usagef("the host has kubectl federate %s, which is newer than this plugin (%s); "+
			"upgrade the plugin (kubectl krew upgrade federate) and run init again", installed, version.Version)
	}
	if err := certManagerServed(ctx, d, h, objects); err != nil {
		return err
	}
	write := dryRun
	if err := install.Apply(ctx, h, objects, write, report); err != nil {
		return err
	}
	if err := install.Delete(ctx, h, obsolete, write, report); err != nil {
		return err
	}
	if printed {
		if err := printObjects(d, f.output, objects); err != nil {
			return err
		}
	}
	if dryRun != federate.DryRunNone {
		return nil
	}
	if !f.wait {
		fmt.Fprintln(d.ErrOut, "installed; not waited for the webhook, which refuses all changes of members until its manager runs")
		return nil
	}
	if err := waitUntilEnforcing(ctx, d, h, f.webhookURL); err != nil {
		return err
	}
	fmt.Fprintf(d.ErrOut, "kubectl federate %s is enforcing; create a federation next: %s create federation NAME\n", version.Version, d.name)
	return nil
}

// certManagerServed refuses to begin what would end half-way: objects of cert-manager on a host without it.
func certManagerServed(ctx context.Context, d *factory, h *host.Cluster, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		if o.GroupVersionKind().Group != manifests.CertManagerGroup {
			continue
		}
		served, err := install.Serves(ctx, h, o)
		if err != nil {
			return err
		}
		if !served {
			return fmt.Errorf("host: it does not serve %s of %s, so nothing was installed; install cert-manager first, or let the manager issue its certificate: %s init --certificates=%s",
				o.GetKind(), o.GetAPIVersion(), d.name, manifests.CertificatesManager)
		}
	}
	return nil
}

// waitUntilEnforcing waits until the webhook refuses what it must refuse.
func waitUntilEnforcing(ctx context.Context, d *factory, h *host.Cluster, webhookURL string) error {
	where := "the manager in namespace kubefederate-system"
	answer := "kubectl get pods --namespace kubefederate-system"
	if webhookURL != "" {
		where = "the manager at " + webhookURL
		answer = "the manager's log"
	}
	fmt.Fprintf(d.ErrOut, "waiting for %s to be enforcing\n", where)
	var cause error
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		probe := h.Enforcing(ctx)
		if probe != nil && ctx.Err() == nil {
			cause = probe
		}
		return probe == nil, nil
	})
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted; everything is installed, the webhook was not yet enforcing: run init again to go on")
	}
	return fmt.Errorf("everything is installed, but %s is not enforcing: %w; look at %s, then run init again", where, cause, answer)
}
