package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const discoverHelp = `Find clusters that ask to join a federation. A cluster asks with the label
kubefederate.io/federation=NAME: on its kube-system namespace ('kubectl federate label' sets it), or on the
object that represents it on the host. Clusters are found in these sources:

%s
All sources that the host has are read, unless --source names some; with --source-context, the objects and their
Secrets are read at the API server of that context. What a Secret holds is used to join and is not stored: the
host stores a token that the cluster issued and that expires, and which must work at the endpoint that the host
stores. Nothing is written to objects of other systems.

A cluster that is found several times is one row, and is joined once, by the most direct way: that of the source
that is listed first; Rancher's proxy after all others. Ways that answer with one cluster ID and reach different
servers must prove to lead to one cluster, each by a token of the account kube-system/default that it issues, in
a dry run too; what does not is a Conflict, and is not joined. A label counts only for the way that it came with:
that of an object for the cluster that its own Secret leads to.
--selector selects by the labels of the objects on the host and of the cluster's kube-system namespace. They are
not copied to the member.

The label grants nothing: with --join each cluster that asks is joined as by join, with your own rights and by the
federation's rules. Running it again changes nothing that is already so.`

const discoverExample = `  # List the clusters that carry the label, and their state
  kubectl federate discover

  # Join those that ask to be in prod
  kubectl federate discover --federation prod --join

  # Only the clusters that Rancher and Cluster API know, with all their names
  kubectl federate discover --source rancher,cluster-api -o wide

  # The clusters of a Karmada, whose API server has its objects
  kubectl federate discover --source karmada --source-context karmada

  # Only those of a team
  kubectl federate discover -l example.com/team=web

  # Probe again every minute, and print what has changed
  kubectl federate discover --watch --interval 1m`

// discoverFlags are what was typed.
type discoverFlags struct {
	operationFlags
	federation string
	sources    []string
	// sourceContext leads to the API server that has the objects of the sources; empty is the host.
	sourceContext string
	selector      string
	join          bool
	all           bool
	watch         pollFlags
}

func newDiscover(d *factory) *cobra.Command {
	f := &discoverFlags{operationFlags: newOperationFlags(d)}
	f.output.Formats = []string{"wide", "json", "yaml", output.Name}
	cmd := &cobra.Command{
		Use:     "discover",
		GroupID: groupMembers,
		Short:   "Find clusters that ask to join a federation, and join them",
		Long:    discoverLong(),
		Example: discoverExample,
		Args:    noArguments,
		RunE:    runs(f.toOptions),
	}
	flags := cmd.Flags()
	d.addFederation(cmd, &f.federation, "Only clusters that ask for this federation")
	f.member.AddKubeconfigTo(cmd, "The kubeconfig file whose contexts are probed (default: as for the host)")
	flags.StringSliceVar(&f.sources, "source", nil, "Only these sources: "+strings.Join(discover.SourceNames(), ", "))
	completeList(cmd, "source", discover.SourceNames()...)
	flags.StringVar(&f.sourceContext, "source-context", "", "The kubeconfig context of the API server that has the objects of the sources (default: the host)")
	_ = cmd.RegisterFlagCompletionFunc("source-context", f.member.Complete(&d.hostFlags))
	flags.StringVarP(&f.selector, "selector", "l", "", "Only clusters whose labels match this selector")
	flags.BoolVar(&f.join, "join", false, "Join every cluster that asks to join")
	flags.BoolVarP(&f.all, "all", "A", false, "Also list clusters that carry no label")
	f.batch.AddTo(cmd, joinTimeout)
	f.probe.AddTo(cmd)
	f.watch.addTo(cmd)
	f.output.Format.AddTo(cmd)
	addDryRun(cmd, &f.dryRun)
	return cmd
}

// discoverLong is the help with all sources, in the order in which they are preferred.
func discoverLong() string {
	widest := 0
	for _, name := range discover.SourceNames() {
		widest = max(widest, len(name))
	}
	var lines []string
	for _, s := range discover.Sources {
		lines = append(lines, fmt.Sprintf("  %-*s  %s\n", widest, s.Name, s.Help))
	}
	return fmt.Sprintf(discoverHelp, strings.Join(lines, ""))
}

// discoverOptions are ready to run.
type discoverOptions struct {
	discoverFlags
	labels labels.Selector
}

func (f *discoverFlags) toOptions(*cobra.Command, []string) (*discoverOptions, error) {
	selector, err := labels.Parse(f.selector)
	if err != nil {
		return nil, output.Usagef("invalid --selector %q: %w", f.selector, err)
	}
	return &discoverOptions{*f, selector}, nil
}

func (o *discoverOptions) validate() error {
	for _, name := range o.sources {
		if err := output.OneOf("source", name, discover.SourceNames()...); err != nil {
			return err
		}
	}
	switch {
	case o.dryRun != cluster.DryRunNone && !o.join:
		return output.Usagef("--dry-run needs --join: listing changes nothing")
	case o.watch.on && o.join:
		return output.Usagef("--watch only lists: leave out --join")
	}
	return cmp.Or(o.output.Format.Validate(), o.watch.validate(), o.validateBounds())
}

func (o *discoverOptions) run(ctx context.Context) error {
	h, err := o.host()
	if err != nil {
		return err
	}
	opened, err := o.open(h)
	if err != nil {
		return err
	}
	if o.watch.on {
		return o.poll(ctx, func(ctx context.Context) (*discovered, error) { return o.find(ctx, h, opened) })
	}
	found, err := o.find(ctx, h, opened)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	o.report(found)
	if o.join {
		return cmp.Or(o.joinAll(ctx, h, found), found.err)
	}
	if err := o.print(found, true); err != nil {
		return err
	}
	o.hint(found)
	return found.err
}

// openSources are the sources that were chosen, or all, in the order of preference.
type openSources struct {
	names   []string
	sources []discover.Source
}

func (o *discoverOptions) open(h *host.Cluster) (opened openSources, err error) {
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil {
		return opened, err
	}
	environment := discover.Environment{
		Host: h, Contexts: contexts.Source(),
		Connect: func(_ *discover.Candidate, config *rest.Config) (*member.Cluster, error) {
			return member.Connect(o.hostFlags.Tune(config))
		},
	}
	if environment.Context = o.sourceContext; o.sourceContext != "" {
		if environment.Elsewhere, err = contexts.Holder(o.sourceContext); err != nil {
			return opened, err
		}
	}
	for _, s := range discover.Sources {
		if len(o.sources) == 0 || slices.Contains(o.sources, string(s.Name)) {
			opened.names, opened.sources = append(opened.names, string(s.Name)), append(opened.sources, s.Open(environment))
		}
	}
	return opened, nil
}

// discovered is what one round of probes found.
type discovered struct {
	// all are all clusters; clusters are those that are shown.
	all, clusters []discover.Cluster
	// hidden is how many clusters without a label are left out.
	hidden int
	// notes say what could not be read of sources that --source does not name; err is that of those that it names.
	notes []string
	err   error
	// unread are the sources that could not be read.
	unread map[discover.SourceName]bool
}

// find probes all clusters once.
func (o *discoverOptions) find(ctx context.Context, h *host.Cluster, opened openSources) (*discovered, error) {
	view, observations, errs, err := o.probe.RunWithHost(ctx, h, opened.sources...)
	if err != nil {
		return nil, err
	}
	view.MemberKubeconfig = o.member.Kubeconfig
	found := &discovered{unread: map[discover.SourceName]bool{}}
	var reasons []string
	sourcesOf := map[string][]string{}
	for i, err := range errs {
		_, absent := errors.AsType[*discover.NotServed](err)
		if err != nil && !absent {
			found.unread[discover.SourceName(opened.names[i])] = true
		}
		switch {
		case err == nil:
		case slices.Contains(o.sources, opened.names[i]):
			found.err = errors.Join(found.err, err)
		case !absent:
			reason := output.Reason(err)
			if sourcesOf[reason] == nil {
				reasons = append(reasons, reason)
			}
			sourcesOf[reason] = append(sourcesOf[reason], opened.names[i])
		}
	}
	for _, reason := range reasons {
		found.notes = append(found.notes, strings.Join(sourcesOf[reason], ", ")+": "+reason)
	}
	clusters := discover.Judge(view, observations)
	discover.Sort(clusters)
	found.all = clusters
	for i := range clusters {
		c := &clusters[i]
		switch {
		case !o.labels.Matches(labels.Set(c.Labels)):
		case o.federation != "" && !c.Concerns(v1alpha1.FederationName(o.federation)):
			if c.State == discover.Unlabeled {
				found.hidden++
			}
		case o.federation == "" && c.State == discover.Unlabeled && !o.all:
			found.hidden++
		default:
			found.clusters = append(found.clusters, *c)
		}
	}
	return found, nil
}

// report prints what could not be read.
func (o *discoverOptions) report(found *discovered) {
	for _, note := range found.notes {
		output.Line(o.ErrOut, "note: "+note)
	}
}

// hint prints what the table does not show.
func (o *discoverOptions) hint(found *discovered) {
	if len(found.clusters) == 0 {
		output.Line(o.ErrOut, noneAsks)
	}
	if found.hidden > 0 {
		output.Linef(o.ErrOut, "%s no label; --all lists them", output.Count(found.hidden, "cluster carries", "clusters carry"))
	}
}

const noneAsks = "No clusters found that ask to join a federation"

// discovery is what `discover -o json` prints.
type discovery struct {
	output.TypeMeta
	Clusters []discoveryCluster `json:"clusters"`
	// Notes say what could not be read.
	Notes []string `json:"notes,omitempty"`
}

type discoveryCluster struct {
	Name       string              `json:"name"`
	Source     discover.SourceName `json:"source"`
	Also       []string            `json:"also,omitempty"`
	Objects    []string            `json:"objects,omitempty"`
	ClusterID  string              `json:"clusterID,omitempty"`
	Member     string              `json:"member,omitempty"`
	Federation string              `json:"federation,omitempty"`
	State      discover.State      `json:"state"`
	Reason     string              `json:"reason,omitempty"`
}

// print prints what was found, as a table with or without its header.
func (o *discoverOptions) print(found *discovered, headed bool) error {
	switch {
	case o.output.Data():
		out := discovery{output.Kind("Discovery"), []discoveryCluster{}, found.notes}
		for i := range found.clusters {
			c := &found.clusters[i]
			out.Clusters = append(out.Clusters, discoveryCluster{
				Name: c.Name, Source: c.Source, Also: c.Also, Objects: objectWords(c), ClusterID: string(c.ID), Member: string(c.Member),
				Federation: string(c.Federation), State: c.State, Reason: c.Reason,
			})
		}
		return o.output.Print(o.Out, out)
	case o.output.Value == output.Name:
		for i := range found.clusters {
			output.Line(o.Out, found.clusters[i].Candidate.String())
		}
		return nil
	case len(found.clusters) == 0:
		return nil
	}
	wide := o.output.Value == "wide"
	header := []string{"NAME", "SOURCE", "FEDERATION", "STATE", "MEMBER", "REASON"}
	if wide {
		header = append(header, "CLUSTER ID", "ALSO", "OBJECTS")
	}
	rows := [][]string{header}
	for i := range found.clusters {
		c := &found.clusters[i]
		row := []string{c.Name, string(c.Source), output.OrNone(string(c.Federation)), string(c.State), output.OrNone(string(c.Member)), c.Reason}
		if wide {
			row = append(row, output.OrNone(string(c.ID)), output.OrNone(strings.Join(c.Also, ",")), output.OrNone(strings.Join(objectWords(c), ", ")))
		}
		rows = append(rows, row)
	}
	if !headed {
		rows = rows[1:]
	}
	return output.Rows(o.Out, rows)
}

// objectWords are the objects that represent a cluster, as arguments of kubectl.
func objectWords(c *discover.Cluster) []string {
	var words []string
	for _, o := range c.Objects {
		words = append(words, o.Word())
	}
	return words
}

// joinAll joins the clusters that ask to join, prints one table, and fails when one of them failed.
func (o *discoverOptions) joinAll(ctx context.Context, h *host.Cluster, found *discovered) error {
	b := &batch{doing: "joining", done: "joined", dryRun: o.dryRun}
	var asking []*discover.Cluster
	for i := range found.clusters {
		if c := &found.clusters[i]; c.State == discover.Wants {
			asking = append(asking, c)
			b.Clusters = append(b.Clusters, o.row(h, *c, federate.JoinOptions{DryRun: o.dryRun}))
		}
	}
	if err := o.announce(b); err != nil {
		return err
	}
	o.work(ctx, b)
	for i, c := range asking {
		switch r := b.Clusters[i]; {
		case r.err != nil:
			c.Reason = "not joined: " + cmp.Or(r.Reason, r.Result)
		case o.dryRun == cluster.DryRunNone:
			c.State, c.Reason = discover.Joined, r.Result+" now"
		default:
			c.Reason = r.Result
		}
	}
	if err := o.print(found, true); err != nil {
		return err
	}
	if len(found.clusters) == 0 {
		output.Line(o.ErrOut, noneAsks)
	}
	return b.err(ctx)
}
