package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// joinTimeout is how long the join of one cluster may take by default.
const joinTimeout = 2 * time.Minute

const joinHelp = `Join clusters to a federation.

Both sides are read and checked before anything is written: rights, rules, versions, endpoints, and whether the
cluster belongs to a federation already. Then the member is recorded on the host, a membership record and an
account with few rights are created on the member (and a second account, where the federation sets access), and
a credential that expires is stored on the host and tried. "joined" is printed when all of it was read back. A
join that fails is rolled back.

Your own credentials are used to join and stored nowhere. Run it again to renew the credential, or to store another
endpoint: with --reset-endpoint that of the context, and with --member-server, --member-proxy-url,
--member-tls-server-name and --member-certificate-authority what you name. Without these flags a member keeps its
endpoint.

A context that leads elsewhere than the stored endpoint of a member that exists must prove to lead to that
member. Where nothing can prove it, --trust-context prints both endpoints and asks.

A cluster that belongs to another host stays there. If that host is gone for good, or has a new cluster ID,
--take-over changes the membership record on the cluster, removes what that host created there, its token
included, and continues to join. If it is interrupted, run it again.

--member-contexts and --all-contexts join many clusters at once; one that does not respond does not delay the
others. Contexts that answer with one cluster ID must prove to lead to one cluster, by tokens that they issue;
those that do not are refused. Of several contexts of one cluster the first that has the rights is used, and a
member that exists keeps its endpoint. Members are named after contexts, with the start of the cluster's ID where
two names would be the same; a cluster that is a member keeps its name. The names are printed before anything is
written. A table at the end shows the result for each; the exit code is 0 when all joined, 3 when some did, 2 when
all were refused.`

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
	operationFlags
	contexts    []string
	allContexts bool
	federation  string
	labels      []string
	takeOver    bool
	endpoint    endpointFlags
	lifetime    time.Duration
}

func newJoin(d *factory) *cobra.Command {
	f := &joinFlags{operationFlags: newOperationFlags(d)}
	cmd := &cobra.Command{
		Use:               "join (NAME --member-context CONTEXT | --member-contexts CONTEXT,... | --all-contexts) --federation FEDERATION",
		GroupID:           groupMembers,
		Short:             "Join clusters to a federation",
		Long:              joinHelp,
		Example:           joinExample,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              runs(f.toOptions),
	}
	f.addTo(cmd, joinTimeout)
	f.trust.addTo(cmd)
	d.addFederation(cmd, &f.federation, "The federation to join")
	flags := cmd.Flags()
	flags.StringSliceVar(&f.contexts, "member-contexts", nil, "The contexts of many member clusters")
	_ = cmd.RegisterFlagCompletionFunc("member-contexts", f.member.Complete(&d.hostFlags))
	flags.BoolVar(&f.allContexts, "all-contexts", false, "All contexts of the kubeconfig, except one that leads to the host, unless --member-contexts names it")
	flags.BoolVar(&f.takeOver, "take-over", false, "Take clusters from another host that is gone, and remove what it put on them")
	flags.StringSliceVar(&f.labels, "labels", nil, "Labels of the member, as KEY=VALUE,…; its region and zone are read from its nodes when not given")
	f.endpoint.addTo(flags)
	addLifetime(flags, &f.lifetime)
	return cmd
}

// joinOptions are ready to run.
type joinOptions struct {
	joinFlags
	names []string
	// join is what all clusters have in common, and the name and endpoint of one that joins alone.
	join federate.JoinOptions
}

func (f *joinFlags) toOptions(cmd *cobra.Command, args []string) (o *joinOptions, err error) {
	names, err := targets.Names(args)
	if err != nil {
		return nil, err
	}
	o = &joinOptions{joinFlags: *f, names: names, join: federate.JoinOptions{
		Federation: v1alpha1.FederationName(f.federation), TakeOver: f.takeOver, DryRun: f.dryRun,
		Cluster: command.Cluster{Context: f.member.Context, Kubeconfig: f.member.Kubeconfig},
	}}
	if o.join.Labels, err = parseLabels(f.labels); err != nil {
		return nil, err
	}
	if o.join.TokenLifetime, err = parseLifetime(cmd, f.lifetime); err != nil {
		return nil, err
	}
	if err := f.endpoint.set(&o.join, cmd.Flags()); err != nil {
		return nil, err
	}
	if !o.many() {
		if len(args) == 0 && f.member.Context != "" {
			return nil, output.Usagef("the member's name is required; --member-contexts %s names it after its context", command.Word(f.member.Context))
		}
		if err := exactlyOne("the member's name")(cmd, args); err != nil {
			return nil, err
		}
		o.join.Name = v1alpha1.MemberName(names[0])
	}
	return o, nil
}

// many says whether the members are named by their contexts.
func (o *joinOptions) many() bool { return o.allContexts || len(o.contexts) > 0 }

func (o *joinOptions) validate() error {
	many := o.many()
	_, labeled := o.join.Labels[v1alpha1.LabelFederation]
	switch {
	case many && len(o.names) > 0:
		return output.Usagef("with --member-contexts and --all-contexts names come from the contexts: leave out %s", strings.Join(o.names, " "))
	case many && o.member.Context != "":
		return output.Usagef("--member-context names one cluster: with --member-contexts or --all-contexts leave it out")
	case many && (o.join.ResetEndpoint || o.join.Server != "" || o.join.ProxyURL != nil || o.join.TLSServerName != nil || o.join.CABundle != nil):
		return output.Usagef("--reset-endpoint and the endpoint flags --member-… are for one cluster: join it by its name")
	case !many && o.member.Context == "" && o.join.Federation == "":
		return output.Usagef("--member-context and --federation are required: the context of the cluster, for which there is no default%s, and the federation to join", o.contextNames())
	case !many && o.member.Context == "":
		return output.Usagef("--member-context is required; there is no default for the member cluster%s", o.contextNames())
	case o.join.Federation == "":
		return output.Usagef("--federation is required: it names the federation to join")
	case labeled:
		return output.Usagef("invalid --labels: label %s is set by --federation", v1alpha1.LabelFederation)
	}
	federation := cmp.Or(o.validateTrust(), validateName("federation", string(o.join.Federation)))
	if many {
		return cmp.Or(federation, o.output.ValidateMany(), o.validateBounds())
	}
	return cmp.Or(validateName("member", string(o.join.Name)), federation, o.output.Validate(), o.validateBounds())
}

// contextNames are the contexts that there are to choose from, in brackets.
func (o *joinOptions) contextNames() string {
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil {
		return "" // that is another error
	}
	return " (" + contexts.List() + ")"
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
		return o.joinMany(ctx, h, contexts)
	}
	if err := contexts.Has("--member-context", o.member.Context); err != nil {
		return err
	}
	connect := func() (*member.Cluster, error) { return contexts.Connect(o.member.Context) }
	return o.runOne(ctx, &oneMember{name: o.join.Name, at: o.join.Cluster, planned: func(trusted bool) planner {
		join := o.join
		join.TrustContext = trusted
		return planJoin(h, connect, join)
	}})
}

// joinMany joins the clusters of many contexts.
func (o *joinOptions) joinMany(ctx context.Context, h *host.Cluster, contexts *targets.Contexts) error {
	if err := contexts.Has("--member-contexts", o.contexts...); err != nil {
		return err
	}
	source := contexts.Source(o.contexts...)
	if o.allContexts {
		if err := contexts.Any(); err != nil {
			return err
		}
		source = contexts.Source()
	}
	view, observations, errs, err := o.probe.RunWithHost(ctx, h, source)
	if err = cmp.Or(err, errors.Join(errs...)); err != nil {
		return output.WhileReading(ctx, err)
	}
	view.MemberKubeconfig = o.member.Kubeconfig
	clusters := discover.Choose(view, o.join.Federation, observations)
	discover.Sort(clusters)
	if o.allContexts {
		clusters = slices.DeleteFunc(clusters, func(c discover.Cluster) bool {
			names := append([]string{c.Name}, c.Also...)
			out := c.ID == view.HostID && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(o.contexts, n) })
			if out {
				output.Linef(o.ErrOut, "context %q is left out, since it leads to the host itself; to join the host as well, name it with --member-contexts", c.Name)
			}
			return out
		})
	}
	b := &batch{Operation: "join", Federation: o.join.Federation, doing: "joining", done: "joined", dryRun: o.dryRun, Clusters: []*row{}}
	for _, c := range clusters {
		b.Clusters = append(b.Clusters, o.row(h, c, o.join))
	}
	if len(b.Clusters) == 0 {
		output.Line(o.ErrOut, "No clusters found")
		return nil
	}
	return o.runMany(ctx, b)
}

// row is a cluster that joins as it was discovered; join holds what all clusters have in common.
func (o *operationFlags) row(h *host.Cluster, c discover.Cluster, join federate.JoinOptions) *row {
	r := &row{Name: c.Member, Context: c.Candidate.String(), Also: c.Also, ClusterID: c.ID, note: c.Reason}
	switch c.State {
	case discover.Unreachable, discover.NoAccess:
		r.unreachable(fmt.Sprintf("context %q", c.Name), c.Reason)
		if c.State == discover.NoAccess {
			r.Result = resultNoAccess
		}
		return r
	case discover.Conflict, discover.NotYetProved:
		r.disputed([]discover.Cluster{c})
		return r
	}
	join.Name, join.Federation, join.KeepEndpoint = c.Member, c.Federation, true
	join.RequestedBy = c.RequestedBy()
	join.ProvenFor = c.MemberUID
	var ways []way
	for _, w := range c.Ways {
		join := join
		join.Cluster = command.Cluster{Context: cmp.Or(w.Context(), c.Context()), Kubeconfig: o.member.Kubeconfig}
		if w.Endpoint != nil {
			join.Server, join.CABundle = w.Endpoint.Server, w.Endpoint.CABundle
		}
		ways = append(ways, way{w.String(), planJoin(h, w.Connect, join)})
	}
	r.by(ways)
	return r
}

// planJoin plans the join of one cluster.
func planJoin(h *host.Cluster, connect connector, join federate.JoinOptions) planner {
	return func(ctx context.Context, step func(federate.Step)) (federate.Operation, error) {
		m, err := connect()
		if err != nil {
			return nil, err
		}
		join.Progress = step
		return federate.PlanJoin(ctx, h, m, join)
	}
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
	reset                                   bool
	server, proxyURL, tlsServerName, caFile string
}

func (f *endpointFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.reset, "reset-endpoint", false, "Store how the context reaches a member, in place of the endpoint that it was joined with")
	flags.StringVar(&f.server, "member-server", "", "Where the host reaches the member's API server (default: the server that is stored, or that of the context)")
	flags.StringVar(&f.proxyURL, "member-proxy-url", "", "The proxy through which the host reaches it; empty for none (default: as for --member-server)")
	flags.StringVar(&f.tlsServerName, "member-tls-server-name", "",
		"The name that its certificate is verified for; empty for the host of its URL (default: as for --member-server)")
	flags.StringVar(&f.caFile, "member-certificate-authority", "", "A PEM file that verifies its certificate (default: as for --member-server)")
}

// set puts what was typed into the options of a join, in which empty differs from not given.
func (f *endpointFlags) set(o *federate.JoinOptions, flags *pflag.FlagSet) error {
	typed := func(flag string, value string) *string {
		if !flags.Changed(flag) {
			return nil
		}
		return &value
	}
	o.ResetEndpoint = f.reset
	o.ProxyURL, o.TLSServerName = typed("member-proxy-url", f.proxyURL), typed("member-tls-server-name", f.tlsServerName)
	if o.Server = f.server; o.Server == "" && flags.Changed("member-server") {
		return output.Usagef("invalid --member-server %q: must be an https URL", f.server)
	}
	o.CertificateAuthority = typed("member-certificate-authority", f.caFile)
	switch {
	case o.CertificateAuthority == nil:
		return nil
	case f.caFile == "":
		o.CABundle = []byte{} // the CAs that the host trusts
		return nil
	}
	var err error
	if o.CABundle, err = readCertificateFile(f.caFile); err != nil {
		return output.Usagef("invalid --member-certificate-authority %q: %w", f.caFile, err)
	}
	return nil
}

// maxCertificateFile is how many bytes a file of certificates may have, with the text between them.
const maxCertificateFile = 1 << 20

// readCertificateFile reads a file or a pipe that holds certificates. Its byte order mark, with which clients would not
// read it, is left out.
func readCertificateFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a directory, and must be a file")
	case info.Mode()&os.ModeDevice != 0:
		return nil, errors.New("it is a device, and must be a file")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxCertificateFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, errors.New("the file is empty")
	case len(data) > maxCertificateFile:
		return nil, fmt.Errorf("the file has more than %d bytes: keep only the CA that signed the server's certificate", maxCertificateFile)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	_, err = endpoint.ReadCertificates(data)
	return data, err
}
