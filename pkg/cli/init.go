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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

const initHelp = `Install kubectl federate on the host cluster, or bring it to this plugin's version: the kinds Federation
and MemberCluster, policies, roles, the manager and its webhook. Run it again to upgrade or repair: it keeps
the image, the number of replicas, the certificates' issuer, the webhook's URL, the discovery controller and
the resources that were chosen, unless a flag says otherwise, and brings a released image to its own release.
It refuses to downgrade. A client's dry run says what is there already, where it can read the host; with -o it
prints manifests for any host, so it reads none and keeps nothing.

--discovery installs the discovery controller, which joins clusters whose objects on the host ask for it. It can
do so only in federations with spec.discovery that kubectl federate grant FEDERATION --discovery names, and with
Secrets that it was granted. --discovery=false removes it; members that it joined stay.

It makes the webhook's keys, a CA and the random word that the webhook's path ends in, and keeps those that are
there; the manager issues its own certificate from them. --only=keys makes new ones, and no request is refused
meanwhile. Keys are never printed: where GitOps installs what is printed, run --only=keys once afterwards. With
--certificates=cert-manager, cert-manager issues the certificate, which must be on the host with its CA
injector; there is no word then. After a change from one to the other, changes of members are refused until the
new pods run.

It returns when the webhook enforces the rules: when it has refused a member that breaks one, sent as a dry run.`

const initExample = `  # Install on the cluster of the current context
  kubectl federate init

  # Print everything for GitOps, and change nothing
  kubectl federate init --dry-run=client -o yaml

  # Make new keys, when others may have had those of the manager
  kubectl federate init --only keys

  # Let cert-manager issue and renew the webhook's certificate
  kubectl federate init --certificates cert-manager

  # Let clusters join without a person, by the label of their objects on the host
  kubectl federate init --discovery

  # Run the manager outside the cluster, at a URL that the API server reaches
  kubectl federate init --webhook-url https://127.0.0.1:9443`

// initFlags are what was typed.
type initFlags struct {
	*factory
	manifests manifests.Options
	// typed says which flags were given, of those whose values are kept otherwise.
	typed   map[string]bool
	only    string
	wait    bool
	timeout time.Duration
	dryRun  cluster.DryRun
	output  output.Flags
}

func newInit(d *factory) *cobra.Command {
	f := &initFlags{factory: d, output: output.NewFlags(), manifests: manifests.Options{Version: version.Version}}
	cmd := &cobra.Command{
		Use:     "init",
		GroupID: groupHost,
		Short:   "Install or upgrade kubectl federate on the host cluster",
		Long:    initHelp,
		Example: initExample,
		Args:    noArguments,
		RunE:    runs(f.toOptions),
	}
	m, flags := &f.manifests, cmd.Flags()
	flags.StringVar(&m.Image, "image", "", "The manager's container image; by default that of this plugin's release")
	flags.Int32Var(&m.Replicas, "replicas", 2, "How many replicas of the manager run")
	flags.StringVar(&m.WebhookURL, "webhook-url", "",
		"The https URL of a manager that runs outside the cluster; nothing that runs pods is installed then. Empty: it runs in the cluster")
	flags.StringVar((*string)(&m.Certificates), "certificates", string(manifests.CertificatesManager), "Who issues the webhook's certificate: manager, cert-manager")
	complete(cmd, "certificates", string(manifests.CertificatesManager), string(manifests.CertificatesCertManager))
	flags.BoolVar(&m.Discovery, "discovery", false,
		"Install the discovery controller, or with false remove it; with --webhook-url only its account and rights, since you run it yourself")
	flags.StringVar(&f.only, "only", "", "Make only this part anew: keys")
	complete(cmd, "only", onlyKeys)
	flags.BoolVar(&f.wait, "wait", true, "Wait until the webhook enforces the rules")
	targets.AddTimeout(cmd, &f.timeout, 3*time.Minute)
	addDryRun(cmd, &f.dryRun)
	f.output.AddTo(cmd)
	for _, name := range []string{"image", "replicas", "webhook-url", "certificates", "discovery", "wait", "output"} {
		cmd.MarkFlagsMutuallyExclusive("only", name)
	}
	return cmd
}

// onlyKeys is the part that init makes anew alone.
const onlyKeys = "keys"

// initOptions are ready to run.
type initOptions struct{ initFlags }

func (f *initFlags) toOptions(cmd *cobra.Command, _ []string) (*initOptions, error) {
	f.typed = map[string]bool{}
	for _, name := range []string{"image", "replicas", "webhook-url", "certificates", "discovery"} {
		f.typed[name] = cmd.Flags().Changed(name)
	}
	return &initOptions{*f}, nil
}

func (o *initOptions) validate() error {
	m := o.manifests
	if o.only != "" {
		if err := output.OneOf("only", o.only, onlyKeys); err != nil {
			return err
		}
	}
	if m.Replicas < 1 {
		return output.Usagef("invalid --replicas %d: must be at least 1", m.Replicas)
	}
	if err := validateInstall(m); err != nil {
		return err
	}
	return cmp.Or(targets.ValidateTimeout("timeout", o.timeout), o.output.Validate())
}

// keep takes what was not typed from what is installed, and the image else from the release. The warning is of an image that is
// kept and may not be of this release.
func (o *initOptions) keep(installed manifests.Options) (warning string, err error) {
	m := &o.manifests
	if !o.typed["webhook-url"] && installed.WebhookURL != "" {
		for _, name := range []string{"image", "replicas", "certificates"} {
			if o.typed[name] && (name != "certificates" || !o.hasKeys()) {
				return "", output.Usagef("--%s is for a manager in the cluster, and this host has one outside, at %s; add --webhook-url= to run it in the cluster",
					name, installed.WebhookURL)
			}
		}
		m.WebhookURL = installed.WebhookURL
	}
	if !o.typed["certificates"] && installed.Certificates != "" && m.WebhookURL == "" {
		m.Certificates = installed.Certificates
	}
	if !o.typed["replicas"] && installed.Replicas > 0 {
		m.Replicas = installed.Replicas
	}
	if !o.typed["discovery"] {
		m.Discovery = installed.Discovery
	}
	m.Resources, m.DiscoveryResources = installed.Resources, installed.DiscoveryResources
	if o.typed["image"] || m.WebhookURL != "" {
		return "", nil
	}
	upgrades := installed.Version != version.Version
	m.Image = installed.Image
	if m.Image == "" || upgrades && version.Image != "" && repository(m.Image) == repository(version.Image) {
		m.Image = version.Image
	}
	switch {
	case m.Image == "":
		return "", output.Usagef("this plugin was built outside a release, so it knows no image of the manager: name one with --image (make image builds it), or the URL of a manager that you run with --webhook-url")
	case upgrades && m.Image == installed.Image:
		return fmt.Sprintf("warning: the manager keeps the image %s, which may not be of %s; --image names another", m.Image, version.Version), nil
	}
	return "", nil
}

// repository is an image without its tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		image = image[:i]
	}
	return image
}

// objects are what is installed, and what another kind of installation may have left that this one does not need.
func (o *initOptions) objects() (wanted, obsolete []*unstructured.Unstructured, err error) {
	if wanted, err = manifests.Objects(o.manifests); err != nil {
		return nil, nil, err
	}
	everything := o.manifests
	everything.WebhookURL, everything.Certificates, everything.Discovery = "", manifests.CertificatesCertManager, true
	if obsolete, err = manifests.Objects(everything); err != nil {
		return nil, nil, err
	}
	key := func(object *unstructured.Unstructured) string {
		return object.GetNamespace() + " " + install.Describe(object)
	}
	kept := map[string]bool{}
	for _, object := range wanted {
		kept[key(object)] = true
	}
	obsolete = slices.DeleteFunc(obsolete, func(object *unstructured.Unstructured) bool { return kept[key(object)] })
	if !o.hasKeys() {
		obsolete = append(obsolete, install.KeysObjects()...)
	}
	return wanted, obsolete, nil
}

// hasKeys says whether the manager serves from keys that init makes.
func (o *initOptions) hasKeys() bool {
	return o.manifests.Certificates != manifests.CertificatesCertManager
}

func (o *initOptions) run(ctx context.Context) error {
	if o.only != "" {
		return o.renewKeys(ctx)
	}
	printed := o.output.Value != ""
	report := o.report
	if printed {
		report = func(*unstructured.Unstructured, install.Outcome) {}
	}
	if o.dryRun == cluster.DryRunClient {
		return o.plan(ctx, printed)
	}
	ctx, cancel := targets.WithTimeout(ctx, o.timeout)
	defer cancel()
	h, err := o.host()
	if err != nil {
		return err
	}
	installed, err := install.Installed(ctx, h)
	if err != nil {
		return err
	}
	warning, err := o.keep(installed)
	if err != nil {
		return err
	}
	objects, obsolete, err := o.objects()
	if err != nil {
		return err
	}
	if err := o.installable(ctx, h, objects); err != nil {
		return err
	}
	if warning != "" {
		output.Line(o.ErrOut, warning)
	}
	keys := o.keyChange(h, report)
	unfinished, err := o.apply(ctx, keys, objects)
	if err != nil {
		return err
	}
	if err := install.Delete(ctx, h, obsolete, o.dryRun, report); err != nil {
		return err
	}
	if printed {
		if err := o.output.Objects(o.Out, objects); err != nil {
			return err
		}
	}
	switch {
	case o.dryRun != cluster.DryRunNone:
		return nil
	case !o.wait:
		output.Line(o.ErrOut, "installed without waiting; member changes are rejected until the manager runs")
		return nil
	}
	if err := o.waitUntilEnforcing(ctx, h); err != nil {
		return err
	}
	if unfinished {
		if err := keys.Finish(ctx); err != nil {
			return err
		}
	}
	output.Line(o.ErrOut, o.commands().To(fmt.Sprintf("kubectl federate %s is enforcing; to create a federation, run", version.Version), command.CreateFederation{}))
	return nil
}

// plan prints what is installed, or with -o its manifests, without a request that changes anything or lets the host judge.
func (o *initOptions) plan(ctx context.Context, printed bool) error {
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	var h *host.Cluster
	var installed manifests.Options
	if !printed {
		var unread error
		if h, installed, unread = o.read(ctx); unread != nil {
			output.Linef(o.ErrOut, "note: the host could not be read, so everything is shown as new: %s", output.Reason(unread))
			h, installed = nil, manifests.Options{}
		}
	}
	warning, err := o.keep(installed)
	if err != nil {
		return err
	}
	objects, obsolete, err := o.objects()
	switch {
	case err != nil:
		return err
	case printed:
		return o.output.Objects(o.Out, objects)
	case h == nil:
		if o.hasKeys() {
			objects = install.WithKeys(objects)
		}
		for _, object := range objects {
			o.report(object, install.Created)
		}
		return nil
	}
	if err := o.installable(ctx, h, nil); err != nil {
		return err
	}
	if warning != "" {
		output.Line(o.ErrOut, warning)
	}
	if o.hasKeys() {
		err = install.PlanWithKeys(ctx, h, o.manifests, o.report)
	} else {
		err = install.Plan(ctx, h, objects, o.report)
	}
	if err != nil {
		return err
	}
	present, err := install.Present(ctx, h, obsolete)
	for _, object := range present {
		o.report(object, install.Deleted)
	}
	return err
}

// planTimeout is how long a client's dry run reads the host.
const planTimeout = 10 * time.Second

// read reads what is installed. Who may read that may read the rest.
func (o *initOptions) read(ctx context.Context) (*host.Cluster, manifests.Options, error) {
	h, err := o.host()
	if err != nil {
		return nil, manifests.Options{}, err
	}
	installed, err := install.Installed(ctx, h)
	if err == nil {
		_, err = install.ReadKeys(ctx, h)
	}
	return h, installed, err
}

// report prints what was done to an object.
func (o *initOptions) report(object *unstructured.Unstructured, outcome install.Outcome) {
	output.Linef(o.Out, "%s %s%s", install.Describe(object), outcome, dryRunSuffix(o.dryRun))
}

func (o *initOptions) keyChange(h *host.Cluster, report install.Report) *install.KeyChange {
	return &install.KeyChange{Host: h, Report: report, Progress: func(text string) { output.Line(o.ErrOut, text) }}
}

// apply installs everything, keys included, and says whether a change of keys is to be finished once the manager runs.
func (o *initOptions) apply(ctx context.Context, keys *install.KeyChange, objects []*unstructured.Unstructured) (unfinished bool, err error) {
	switch {
	case !o.hasKeys():
		return false, install.Apply(ctx, keys.Host, objects, o.dryRun, keys.Report)
	case o.dryRun == cluster.DryRunServer:
		return false, keys.PlanInstall(ctx, o.manifests)
	}
	return keys.Install(ctx, o.manifests)
}

// renewKeys makes new keys, or finishes an earlier change of them.
func (o *initOptions) renewKeys(ctx context.Context) error {
	if o.dryRun == cluster.DryRunClient {
		for _, object := range install.ChangedWithKeys() {
			o.report(object, install.Configured)
		}
		return nil
	}
	ctx, cancel := targets.WithTimeout(ctx, o.timeout)
	defer cancel()
	h, err := o.host()
	if err != nil {
		return err
	}
	if err := o.installable(ctx, h, nil); err != nil {
		return err
	}
	keys := o.keyChange(h, o.report)
	if o.dryRun == cluster.DryRunServer {
		return keys.Plan(ctx)
	}
	if err := keys.Renew(ctx); err != nil {
		return err
	}
	output.Line(o.ErrOut, "the webhook has new keys")
	return nil
}

// installable refuses a downgrade, and what would fail halfway: objects of cert-manager on a host without it.
func (o *initOptions) installable(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured) error {
	installed, err := install.Version(ctx, h)
	if err != nil {
		return err
	}
	if install.Newer(installed, version.Version) {
		return output.Usagef("%s", o.commands().To(fmt.Sprintf("the host has kubectl federate %s, which is newer than this plugin (%s); upgrade the plugin, then run init again",
			installed, version.Version), command.UpgradePlugin{}))
	}
	for _, object := range objects {
		if object.GroupVersionKind().Group != manifests.CertManagerGroup {
			continue
		}
		served, err := install.Serves(ctx, h, object)
		if err != nil {
			return err
		}
		if !served {
			return fmt.Errorf("host: %s of %s is not served, so nothing was installed; install cert-manager first, or let the manager issue its certificate with --certificates=%s",
				object.GetKind(), object.GetAPIVersion(), manifests.CertificatesManager)
		}
	}
	return nil
}

// enforcingPollInterval is the time between two probes of the webhook.
const enforcingPollInterval = 200 * time.Millisecond

// waitUntilEnforcing waits until the webhook refuses a member that breaks a rule.
func (o *initOptions) waitUntilEnforcing(ctx context.Context, h *host.Cluster) error {
	where, remedy := "the manager in namespace "+v1alpha1.HostNamespace, o.commands().To("look at its pods", command.ManagerPods)
	if o.manifests.WebhookURL != "" {
		where, remedy = "the manager at "+o.manifests.WebhookURL, "look at the manager's log"
	}
	output.Linef(o.ErrOut, "waiting for %s to be enforcing", where)
	cause := errors.New("the first probe did not end in time")
	err := wait.PollUntilContextCancel(ctx, enforcingPollInterval, true, func(ctx context.Context) (bool, error) {
		probe := h.Enforcing(ctx)
		if probe != nil && ctx.Err() == nil {
			cause = probe
		}
		return probe == nil, nil
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted; everything is installed, but the webhook was not yet enforcing: run init again to continue")
	}
	return fmt.Errorf("everything is installed, but %s is not enforcing: %w; run init again, or %s", where, cause, remedy)
}
