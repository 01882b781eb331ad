package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

type joinFlags struct {
	member     memberFlags
	contexts   []string
	all        bool
	many       manyFlags
	federation federationFlag
	labels     []string
	takeOver   bool
	server     string
	proxyURL   string
	caFile     string
	lifetime   time.Duration
	timeout    time.Duration
	dryRun     dryRunFlag
	output     outputFlags
	// given says whether a flag was typed, be it with an empty value.
	given func(flag string) bool
}

// joinTimeout is how long the join of one cluster may take when nothing else is said.
const joinTimeout = 2 * time.Minute

func newJoin(d *factory) *cobra.Command {
	f := &joinFlags{output: newOutputFlags()}
	cmd := &cobra.Command{
		Use:     "join (NAME --member-context CONTEXT | --member-contexts CONTEXT,... | --all-contexts) --federation FEDERATION",
		GroupID: groupMembers,
		Short:   "Join clusters to a federation",
		Long: `Join clusters to a federation.

Both sides are read and judged before anything is written: rights, rules, versions, endpoints, and
whether the cluster belongs to a federation already. Then the member is recorded on the host, marked and
given two narrow accounts on the member, and a credential with an end is stored on the host and tried.
"joined" is printed when all of it was read back. What a failed join made is undone.

Your own credentials are used to join and stored nowhere. Run it again to renew the credential, or, with
--member-server, --member-proxy-url or --member-certificate-authority, to store another endpoint: without these
flags a member keeps the one that it has.

A cluster that belongs to another host stays there. Should that host be gone for good, or be back with a new
cluster ID, --take-over takes the cluster from it: the membership record on the cluster is changed first, then what that
host put on it is removed, its token included, and the join goes on. One that ended halfway is run again.

With --member-contexts or --all-contexts many clusters join at once, each as it would alone; one that does
not answer holds up nobody. Names are derived from those of the contexts, with the start of the cluster's
ID where two would have the same; a cluster that is a member keeps its name. They are printed before
anything is written, --dry-run=client prints them and writes nothing. One table tells at the end what
became of each; the exit code is 0 when all joined, 3 when some did, 2 when all were refused.`,
		Example: `  # Join the cluster of context us-east to federation prod
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

  # Every context of a kubeconfig, but for the host's own; first see by which names
  kubectl federate join --all-contexts --federation prod --dry-run=client
  kubectl federate join --all-contexts --federation prod`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.all || len(f.contexts) > 0 {
				return f.runMany(cmd.Context(), d, args)
			}
			if err := exactlyOne("the member's name")(cmd, args); err != nil {
				return err
			}
			return f.run(cmd.Context(), d, v1alpha1.MemberName(args[0]))
		},
	}
	f.member.add(cmd.Flags())
	f.member.complete(cmd)
	f.federation.add(cmd, d, "The federation to join")
	flags := cmd.Flags()
	f.given = flags.Changed
	flags.StringSliceVar(&f.contexts, "member-contexts", nil, "The contexts of many member clusters")
	_ = cmd.RegisterFlagCompletionFunc("member-contexts", completeContexts(&f.member.kubeconfig))
	flags.BoolVar(&f.all, "all-contexts", false, "All contexts of the kubeconfig; one that leads to the host only where --member-contexts names it")
	f.many.add(cmd, "connect-timeout")
	flags.BoolVar(&f.takeOver, "take-over", false, "Take clusters from another host that is gone, and remove what it put on them")
	flags.StringSliceVar(&f.labels, "labels", nil, "Labels of the member, as KEY=VALUE,…; its region and zone are read from its nodes when not given")
	flags.StringVar(&f.server, "member-server", "", "Where the host reaches the member's API server (default: as the member has it, else the server of the context)")
	flags.StringVar(&f.proxyURL, "member-proxy-url", "", "The proxy through which the host reaches it; empty is none (default: as the member has it, else that of the context)")
	flags.StringVar(&f.caFile, "member-certificate-authority", "", "A PEM file that verifies it (default: as the member has it, else that of the context)")
	addLifetime(flags, &f.lifetime)
	flags.DurationVar(&f.timeout, "timeout", joinTimeout, "How long the join of a cluster may take")
	f.dryRun.add(cmd)
	f.output.add(cmd)
	return cmd
}

func (f *joinFlags) options(name v1alpha1.MemberName) (federate.JoinOptions, error) {
	o := federate.JoinOptions{
		Name: name, Federation: f.federation.value(), Server: f.server,
		TokenLifetime: f.lifetime, MemberContext: f.member.context, TakeOver: f.takeOver,
	}
	if f.federation.name == "" {
		return o, usagef("the federation is needed: name it with --federation")
	}
	if err := checkName("federation", f.federation.name); err != nil {
		return o, err
	}
	if err := checkLifetime(f.lifetime); err != nil {
		return o, err
	}
	names, change, err := parseLabelArgs(f.labels)
	if err != nil {
		return o, err
	}
	if len(names)+len(change.remove) > 0 {
		return o, usagef("--labels=%s: it must be KEY=VALUE,…", f.labels)
	}
	o.Labels = change.set
	if f.given("member-proxy-url") {
		o.ProxyURL = &f.proxyURL
	}
	if f.given("member-certificate-authority") {
		o.CABundle, o.CertificateAuthority = []byte{}, f.caFile // an empty one stands for the roots that the host trusts
	}
	if f.caFile != "" {
		if o.CABundle, err = os.ReadFile(f.caFile); err != nil {
			return o, usagef("--member-certificate-authority: %w", err)
		}
	}
	o.DryRun, err = f.dryRun.parse()
	return o, err
}

func (f *joinFlags) run(ctx context.Context, d *factory, name v1alpha1.MemberName) error {
	if err := checkName("member", string(name)); err != nil {
		return err
	}
	options, err := f.options(name)
	if err != nil {
		return err
	}
	if err := f.output.check(); err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	m, err := f.member.connect(d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()

	progress := newProgress(d, fmt.Sprintf("reading the host and member %q", name))
	defer progress.end()
	step := func(s federate.Step) { progress.update(s.String()) }
	options.Progress = step
	plan, err := federate.PlanJoin(ctx, h, m, options)
	if err != nil {
		progress.end()
		return whileReading(ctx, err)
	}
	progress.notes(plan.Notes)
	if options.DryRun != federate.DryRunNone {
		progress.end()
		return printPlan(d, f.output, plan)
	}
	result, err := plan.Apply(ctx, step)
	progress.end()
	if err != nil {
		return whileReading(ctx, err)
	}
	progress.notes(result.Notes, plan.Notes...)
	if *f.output.OutputFormat != "" {
		return f.output.print(d.Out, withKind(result.Member, v1alpha1.GroupVersion.WithKind("MemberCluster")))
	}
	fmt.Fprintf(d.Out, "membercluster.kubefederate.io/%s %s\n", name, joinedWord(result))
	fmt.Fprintln(d.ErrOut, expiryLine(result.Expires, "join"))
	return nil
}

func joinedWord(r *federate.JoinResult) string {
	switch {
	case r.Already:
		return "already joined, credential renewed"
	case r.TakenFrom != "":
		return "joined, taken over from the host with cluster ID " + string(r.TakenFrom)
	}
	return "joined"
}
