package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// joinTimeout is how long the join of one cluster may take by default.
const joinTimeout = 2 * time.Minute

const joinHelp = `Join clusters to a federation.

Both sides are read and judged before anything is written: rights, rules, versions, endpoints, and
whether the cluster belongs to a federation already. Then the member is recorded on the host, a membership
record and two accounts with few rights are made on the member, and a credential that expires is stored on
the host and tried. "joined" is printed when all of it was read back. A join that fails is rolled back.

Your own credentials are used to join and stored nowhere. Run it again to renew the credential, or, with
--member-server, --member-proxy-url or --member-certificate-authority, to store another endpoint: without these
flags a member keeps the one that it has.

A cluster that belongs to another host stays there. If that host is gone for good, or has a new cluster ID,
--take-over takes the cluster from it: the membership record on the cluster is changed first, then what that
host put on it is removed, its token included, and the join continues. If it is interrupted, run it again.

With --member-contexts or --all-contexts many clusters join at once, each as it would alone; one that does
not respond does not delay the others. Names are derived from those of the contexts, with the start of the
cluster's ID where two would be the same; a cluster that is a member keeps its name. They are printed before
anything is written, and --dry-run=client prints them and writes nothing. A table at the end shows the result
for each; the exit code is 0 when all joined, 3 when some did, 2 when all were refused.`

const joinExample = `  # Join the cluster of context us-east to federation prod
  kubectl federate join us-east --federation prod --member-context us-east

  # With labels, and a server that the host reaches under another name
  kubectl federate join us-west --federation prod --member-context us-west \
    --labels example.com/team=web,example.com/tier=gold --member-server https://us-west.example.com:6443

  # See the plan; nothing is changed
  kubectl federate join us-east --federation prod --member-context us-east --dry-run=server

  # The host of a cluster is gone for good
  kubectl federate join us-east --federation prod --member-context us-east --take-over

  # Two clusters at once
  kubectl federate join --member-contexts us-east,us-west --federation prod

  # Join every context except the host's; preview the names first
  kubectl federate join --all-contexts --federation prod --dry-run=client
  kubectl federate join --all-contexts --federation prod`

// joinFlags are what was typed.
type joinFlags struct {
	member      targets.MemberFlags
	contexts    []string
	allContexts bool
	batch       targets.Batch
	probe       targets.Probe
	federation  string
	labels      []string
	takeOver    bool
	endpoint    endpointFlags
	lifetime    time.Duration
	dryRun      dryRunFlag
	output      output.Flags
}

func newJoin(d *factory) *cobra.Command {
	f := &joinFlags{output: output.NewFlags(), probe: targets.Probe{Messages: &d.messages}}
	cmd := &cobra.Command{
		Use:               "join (NAME --member-context CONTEXT | --member-contexts CONTEXT,... | --all-contexts) --federation FEDERATION",
		GroupID:           groupMembers,
		Short:             "Join clusters to a federation",
		Long:              joinHelp,
		Example:           joinExample,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: runs(func(cmd *cobra.Command, args []string) (*joinOptions, error) {
			return f.toOptions(d, cmd, args)
		}),
	}
	f.member.AddTo(cmd, &d.hostFlags)
	d.addFederation(cmd, &f.federation, "The federation to join")
	flags := cmd.Flags()
	flags.StringSliceVar(&f.contexts, "member-contexts", nil, "The contexts of many member clusters")
	_ = cmd.RegisterFlagCompletionFunc("member-contexts", f.member.Complete(&d.hostFlags))
	flags.BoolVar(&f.allContexts, "all-contexts", false, "All contexts of the kubeconfig; one that leads to the host only where --member-contexts names it")
	flags.BoolVar(&f.takeOver, "take-over", false, "Take clusters from another host that is gone, and remove what it put on them")
	flags.StringSliceVar(&f.labels, "labels", nil, "Labels of the member, as KEY=VALUE,…; its region and zone are read from its nodes when not given")
	f.endpoint.addTo(cmd)
	addLifetime(flags, &f.lifetime)
	f.batch.AddTo(cmd, joinTimeout)
	f.probe.AddTo(cmd)
	f.dryRun.addTo(cmd)
	f.output.AddTo(cmd)
	return cmd
}

// joinOptions are ready to run.
type joinOptions struct {
	operationOptions
	names []string
	// contexts are those that were named; all takes every context of the kubeconfig.
	contexts []string
	all      bool
	join     federate.JoinOptions
	endpoint typedEndpoint
}

func (f *joinFlags) toOptions(d *factory, cmd *cobra.Command, args []string) (o *joinOptions, err error) {
	o = &joinOptions{
		operationOptions: operationOptions{factory: d, member: f.member, batch: f.batch, probe: f.probe, output: f.output},
		names:            args, contexts: f.contexts, all: f.allContexts,
		join: federate.JoinOptions{Federation: v1alpha1.FederationName(f.federation), TakeOver: f.takeOver},
	}
	if o.dryRun, err = f.dryRun.parse(); err != nil {
		return nil, err
	}
	o.join.DryRun = o.dryRun
	if o.join.Labels, err = parseLabels(f.labels); err != nil {
		return nil, err
	}
	if o.join.TokenLifetime, err = parseLifetime(cmd, f.lifetime); err != nil {
		return nil, err
	}
	if o.endpoint, err = f.endpoint.parse(cmd); err != nil {
		return nil, err
	}
	if !o.many() {
		if err := exactlyOne("the member's name")(cmd, args); err != nil {
			return nil, err
		}
		o.join.Name = v1alpha1.MemberName(args[0])
	}
	return o, nil
}

// many says whether the members are named by their contexts.
func (o *joinOptions) many() bool { return o.all || len(o.contexts) > 0 }

func (o *joinOptions) validate() error {
	if o.many() {
		switch {
		case len(o.names) > 0:
			return output.Usagef("with --member-contexts and --all-contexts names come from the contexts: leave out %s", strings.Join(o.names, " "))
		case o.member.Context != "":
			return output.Usagef("--member-context names one cluster: with --member-contexts or --all-contexts leave it out")
		case o.endpoint.given:
			return output.Usagef("the endpoint flags --member-… are for one cluster: join it by its name")
		}
		if err := o.output.ValidateMany(); err != nil {
			return err
		}
	} else {
		if err := validateName("member", string(o.join.Name)); err != nil {
			return err
		}
		if o.member.Context == "" {
			return output.Usagef("--member-context is required; there is no default for the member cluster")
		}
		if err := o.output.Validate(); err != nil {
			return err
		}
	}
	if o.join.Federation == "" {
		return output.Usagef("--federation is required: it names the federation to join")
	}
	if err := validateName("federation", string(o.join.Federation)); err != nil {
		return err
	}
	if _, ok := o.join.Labels[v1alpha1.LabelFederation]; ok {
		return output.Usagef("invalid --labels: label %s is set by --federation", v1alpha1.LabelFederation)
	}
	return o.validateBounds()
}

func (o *joinOptions) run(ctx context.Context) error {
	h, err := o.host()
	if err != nil {
		return err
	}
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil {
		return err
	}
	if o.many() {
		return o.runMany(ctx, h, contexts)
	}
	m, err := contexts.Connect(o.member.Context)
	if err != nil {
		return err
	}
	join := o.join
	join.Server, join.ProxyURL, join.CABundle, join.CertificateAuthority = o.endpoint.server, o.endpoint.proxyURL, o.endpoint.caBundle, o.endpoint.caFile
	join.Cluster = command.Cluster{Context: o.member.Context, Kubeconfig: o.member.Kubeconfig}
	return o.one(ctx, join.Name, operation{
		Cluster: join.Cluster,
		Plan: func(ctx context.Context, step func(federate.Step)) (plan, error) {
			join.Progress = step
			p, err := federate.PlanJoin(ctx, h, m, join)
			return joinPlan{p}, err
		},
	})
}

// runMany joins the clusters of many contexts.
func (o *joinOptions) runMany(ctx context.Context, h *host.Cluster, contexts *targets.Contexts) error {
	if err := contexts.Has("--member-contexts", o.contexts...); err != nil {
		return err
	}
	source := contexts.Source(o.contexts...)
	if o.all {
		source = contexts.Source()
	}
	view, observations, errs, err := o.probe.RunWithHost(ctx, h, source)
	if err = cmp.Or(err, errors.Join(errs...)); err != nil {
		return output.WhileReading(ctx, err)
	}
	view.MemberKubeconfig = o.member.Kubeconfig
	clusters := discover.Choose(view, o.join.Federation, observations)
	discover.Sort(clusters)
	if o.all {
		clusters = slices.DeleteFunc(clusters, func(c discover.Cluster) bool {
			names := append([]string{c.Name}, c.Also...)
			out := c.ID == view.HostID && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(o.contexts, n) })
			if out {
				fmt.Fprintf(o.ErrOut, "context %q is left out, since it leads to the host itself; to join the host as well, name it with --member-contexts\n", c.Name)
			}
			return out
		})
	}
	b := &batch{Operation: "join", Federation: o.join.Federation, doing: "joining", done: "joined", dryRun: o.dryRun, Clusters: []*row{}}
	for _, c := range clusters {
		b.Clusters = append(b.Clusters, o.row(h, c, o.join))
	}
	if len(b.Clusters) == 0 {
		fmt.Fprintln(o.ErrOut, "No clusters found")
		return nil
	}
	return o.operationOptions.many(ctx, b)
}

// row is a cluster that joins as it was discovered; join holds what all clusters have in common.
func (o *operationOptions) row(h *host.Cluster, c discover.Cluster, join federate.JoinOptions) *row {
	r := &row{Name: c.Member, Context: c.Candidate.String(), Also: c.Also, ClusterID: c.ID, note: c.Reason}
	if c.State == discover.Unreachable {
		r.unreachable(fmt.Sprintf("context %q", c.Name), c.Reason)
		return r
	}
	join.Name, join.Federation = c.Member, c.Federation
	join.Cluster = command.Cluster{Context: c.Context(), Kubeconfig: o.member.Kubeconfig}
	join.RequestedBy = c.RequestedBy()
	if c.Endpoint != nil {
		join.Server, join.CABundle = c.Endpoint.Server, c.Endpoint.CABundle
	}
	r.plan = func(ctx context.Context) (plan, error) {
		m, err := c.Connect()
		if err != nil {
			return nil, err
		}
		p, err := federate.PlanJoin(ctx, h, m, join)
		return joinPlan{p}, err
	}
	return r
}

// joinPlan is a join as a plan.
type joinPlan struct{ *federate.JoinPlan }

func (p joinPlan) Verb() string {
	if p.Already() {
		return "renew"
	}
	return "join"
}

func (p joinPlan) Notes() []federate.Finding { return p.JoinPlan.Notes }

func (p joinPlan) Apply(ctx context.Context, step func(federate.Step)) (*result, error) {
	r, err := p.JoinPlan.Apply(ctx, step)
	if err != nil {
		return nil, err
	}
	done := &result{Done: "joined", Notes: r.Notes, Member: r.Member, Expires: r.Expires}
	switch {
	case r.Already:
		done.Done, done.Line = "renewed", "already joined, credential renewed"
	case r.TakenFrom != "":
		done.Reason = "taken over from the host with cluster ID " + string(r.TakenFrom)
		done.Line = "joined, " + done.Reason
	}
	return done, nil
}

// parseLabels reads --labels.
func parseLabels(pairs []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, output.Usagef("invalid --labels %q: must be KEY=VALUE,…", pair)
		}
		if err := validateLabel(key, value); err != nil {
			return nil, err
		}
		if _, twice := labels[key]; twice {
			return nil, output.Usagef("label %s is named twice", key)
		}
		labels[key] = value
	}
	return labels, nil
}

// endpointFlags name where the host reaches a member, instead of where the caller does.
type endpointFlags struct {
	server   string
	proxyURL string
	caFile   string
}

func (f *endpointFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.server, "member-server", "", "Where the host reaches the member's API server (default: the server that is stored, or that of the context)")
	flags.StringVar(&f.proxyURL, "member-proxy-url", "", "The proxy through which the host reaches it; empty for none (default: as for --member-server)")
	flags.StringVar(&f.caFile, "member-certificate-authority", "", "A PEM file that verifies its certificate (default: as for --member-server)")
}

// typedEndpoint holds the parts of an endpoint that were named; the zero value names none.
type typedEndpoint struct {
	given    bool
	server   string
	proxyURL *string
	// caBundle is nil when it was not named; an empty one stands for the CAs that the host trusts.
	caBundle []byte
	caFile   string
}

func (f *endpointFlags) parse(cmd *cobra.Command) (typed typedEndpoint, err error) {
	if cmd.Flags().Changed("member-server") {
		typed.given, typed.server = true, f.server
		if f.server == "" {
			return typed, output.Usagef("invalid --member-server %q: must be an https URL", f.server)
		}
	}
	if cmd.Flags().Changed("member-proxy-url") {
		typed.given, typed.proxyURL = true, &f.proxyURL
	}
	if cmd.Flags().Changed("member-certificate-authority") {
		typed.given, typed.caFile, typed.caBundle = true, f.caFile, []byte{}
		if f.caFile == "" {
			return typed, nil
		}
		typed.caBundle, err = os.ReadFile(f.caFile)
		if err == nil && len(typed.caBundle) == 0 {
			err = errors.New("the file is empty")
		}
		if err == nil {
			_, err = endpoint.ReadCertificates(typed.caBundle)
		}
		if err != nil {
			return typed, output.Usagef("invalid --member-certificate-authority %q: %w", f.caFile, err)
		}
	}
	return typed, nil
}
