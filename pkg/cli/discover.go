package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

type discoverFlags struct {
	federation federationFlag
	kubeconfig memberFlags
	sources    []string
	selector   string
	join       bool
	all        bool
	many       manyFlags
	watch      lookFlags
	dryRun     dryRunFlag
	output     string
}

func newDiscover(d *factory) *cobra.Command {
	f := &discoverFlags{}
	cmd := &cobra.Command{
		Use:     "discover",
		GroupID: groupMembers,
		Short:   "Find clusters that ask to join a federation, and join them",
		Long: `Find clusters that ask to join a federation. A cluster says so by the label
kubefederate.io/federation=NAME: on its kube-system namespace ('kubectl federate label' sets it), or on the
object that stands for it on the host. Clusters are found in these sources:

` + sourcesHelp() + `
All that the host has are read, in parallel, unless --source names some. A kubeconfig that one of them holds
in a Secret is read as data and used to join; what the host stores of a member is a token of the cluster's
own, which expires and must work at the endpoint that the host stores.

However many sources and names lead to a cluster, it is one row, by its cluster ID, and joined once, by the
most direct way: ` + directnessHelp() + `; Rancher's proxy after all others. --selector
chooses by the labels of the objects on the host and of the cluster's kube-system namespace. They are not
copied to the member: its region and zone are read from its nodes.

The federation label gives nothing by itself: with --join each federation label is fulfilled by a normal join, with your own
rights and by the federation's rules. Running it again changes nothing that is already so.`,
		Example: `  # List the clusters that carry the label, and how they stand
  kubectl federate discover

  # Join those that ask to be in prod
  kubectl federate discover --federation prod --join

  # Only the clusters that Rancher and Cluster API know, with all their names
  kubectl federate discover --source rancher,cluster-api -o wide

  # Only those of a team
  kubectl federate discover -l example.com/team=web

  # Look again every minute, and print what has changed
  kubectl federate discover --watch --interval 1m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), d) },
	}
	flags := cmd.Flags()
	f.federation.add(cmd, d, "Only clusters that ask for this federation")
	flags.StringVar(&f.kubeconfig.kubeconfig, "member-kubeconfig", "", "The kubeconfig file whose contexts are looked at (default: as for the host)")
	names := discover.SourceNames()
	flags.StringSliceVar(&f.sources, "source", nil, "Only these sources: "+strings.Join(names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	flags.StringVarP(&f.selector, "selector", "l", "", "Only clusters whose labels match this selector")
	flags.BoolVar(&f.join, "join", false, "Join every cluster that wants to join")
	flags.BoolVarP(&f.all, "all", "A", false, "Also list clusters that carry no label")
	f.many.add(cmd, "timeout")
	f.watch.add(cmd)
	flags.StringVarP(&f.output, "output", "o", "", "Output format: wide, json, yaml, name")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"wide", "json", "yaml", "name"}, cobra.ShellCompDirectiveNoFileComp))
	f.dryRun.add(cmd)
	return cmd
}

// discovery is what `discover -o json` prints.
type discovery struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Clusters   []discovered `json:"clusters"`
	// Notes say what could not be looked at.
	Notes []string `json:"notes,omitempty"`
}

type discovered struct {
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

// check refuses what cannot be run as it was typed.
func (f *discoverFlags) check() (federate.DryRun, labels.Selector, error) {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return dryRun, nil, err
	}
	if !slices.Contains([]string{"", "wide", "json", "yaml", "name"}, f.output) {
		return dryRun, nil, usagef("-o %s is unknown: it is wide, json, yaml or name", f.output)
	}
	if dryRun != federate.DryRunNone && !f.join {
		return dryRun, nil, usagef("--dry-run goes with --join: listing changes nothing")
	}
	for _, name := range f.sources {
		if !slices.Contains(discover.SourceNames(), name) {
			return dryRun, nil, usagef("invalid --source %q: must be one of %s", name, strings.Join(discover.SourceNames(), ", "))
		}
	}
	selector, err := labels.Parse(f.selector)
	if err != nil {
		return dryRun, nil, usagef("--selector=%q: %w", f.selector, err)
	}
	if err := f.watch.check(f.join); err != nil {
		return dryRun, nil, err
	}
	return dryRun, selector, f.many.check()
}

func (f *discoverFlags) run(ctx context.Context, d *factory) error {
	dryRun, selector, err := f.check()
	if err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	sources, err := f.open(d, h)
	if err != nil {
		return err
	}
	find := func(ctx context.Context) (*findings, error) { return f.find(ctx, d, h, sources, selector) }
	if f.watch.on {
		return f.watch.run(ctx, d, find, f.printRows)
	}
	found, err := find(ctx)
	if err != nil {
		return whileReading(ctx, err)
	}
	found.printNotes(d)
	if f.join {
		return cmp.Or(f.joinAll(ctx, d, h, found, dryRun), found.err)
	}
	if err := f.print(d, found); err != nil {
		return err
	}
	found.hint(d)
	return found.err
}

// sourcesHelp lists the sources, a line each.
func sourcesHelp() string {
	var b strings.Builder
	for _, s := range discover.Sources {
		fmt.Fprintf(&b, "  %-13s %s\n", s.Name, s.Help)
	}
	return b.String()
}

// directnessHelp lists the sources in the order in which they are preferred.
func directnessHelp() string {
	var titles []string
	for _, s := range discover.Sources {
		titles = append(titles, s.Title)
	}
	return strings.Join(titles, ", then ")
}

// openSource is a source that was opened.
type openSource struct {
	discover.Source
	name discover.SourceName
}

// open opens the sources that were chosen, or all, in the order of preference.
func (f *discoverFlags) open(d *factory, h *host.Cluster) ([]openSource, error) {
	contexts, err := f.kubeconfig.source(d)
	if err != nil {
		return nil, err
	}
	environment := discover.Environment{
		Host: h, Contexts: contexts,
		Connect: func(config *rest.Config) (*member.Cluster, error) { return member.Connect(d.tuned(config)) },
	}
	var opened []openSource
	for _, s := range discover.Sources {
		if len(f.sources) == 0 || slices.Contains(f.sources, string(s.Name)) {
			opened = append(opened, openSource{s.Open(environment), s.Name})
		}
	}
	return opened, nil
}

// findings are what was found at one time.
type findings struct {
	// all are all clusters; clusters are those that are shown.
	all, clusters []discover.Cluster
	// hidden is how many clusters without a label are left out.
	hidden int
	// notes say what could not be read of sources that --source did not name; err is what could not be read of those that it
	// did.
	notes []string
	err   error
}

// find reads all clusters once.
func (f *discoverFlags) find(ctx context.Context, d *factory, h *host.Cluster, sources []openSource, selector labels.Selector) (*findings, error) {
	list := make([]discover.Source, len(sources))
	for i := range sources {
		list[i] = sources[i]
	}
	view, observations, errs, err := f.many.read(ctx, d, h, list...)
	if err != nil {
		return nil, err
	}
	view.MemberKubeconfig = f.kubeconfig.kubeconfig
	found := &findings{}
	for i, err := range errs {
		_, absent := errors.AsType[*discover.NotServed](err)
		switch {
		case err == nil:
		case slices.Contains(f.sources, string(sources[i].name)):
			found.err = errors.Join(found.err, err)
		case !absent:
			found.notes = append(found.notes, fmt.Sprintf("%s: %s", sources[i].name, reason(err)))
		}
	}
	clusters := discover.Judge(view, observations)
	discover.Sort(clusters)
	found.all = clusters
	for i := range clusters {
		c := &clusters[i]
		switch {
		case !selector.Matches(labels.Set(c.Labels)):
		case f.federation.name != "" && !c.Concerns(f.federation.value()):
			if c.State == discover.Unlabeled {
				found.hidden++
			}
		case f.federation.name == "" && c.State == discover.Unlabeled && !f.all:
			found.hidden++
		default:
			found.clusters = append(found.clusters, *c)
		}
	}
	return found, nil
}

// printNotes prints what could not be read.
func (r *findings) printNotes(d *factory) {
	for _, note := range r.notes {
		fmt.Fprintln(d.ErrOut, "note: "+printable(note))
	}
}

// hint says what a bare table leaves out.
func (r *findings) hint(d *factory) {
	if len(r.clusters) == 0 {
		fmt.Fprintln(d.ErrOut, "No clusters found that ask to join a federation")
	}
	if r.hidden > 0 {
		fmt.Fprintf(d.ErrOut, "%s no label; --all lists them\n", countOf(r.hidden, "cluster carries", "clusters carry"))
	}
}

func (f *discoverFlags) print(d *factory, found *findings) error {
	return f.printRows(d, found, true)
}

// printRows prints what was found, as a table with or without its header.
func (f *discoverFlags) printRows(d *factory, found *findings, headed bool) error {
	switch f.output {
	case "json", "yaml":
		out := discovery{APIVersion: outputAPIVersion, Kind: "Discovery", Clusters: []discovered{}, Notes: found.notes}
		for i := range found.clusters {
			c := &found.clusters[i]
			out.Clusters = append(out.Clusters, discovered{
				Name: c.Name, Source: c.Source, Also: c.Also, Objects: objectWords(c), ClusterID: string(c.ID), Member: string(c.Member),
				Federation: string(c.Federation), State: c.State, Reason: c.Reason,
			})
		}
		return printData(d.Out, f.output, out)
	case "name":
		for i := range found.clusters {
			fmt.Fprintln(d.Out, printable(found.clusters[i].Candidate.String()))
		}
		return nil
	}
	if len(found.clusters) == 0 {
		return nil
	}
	header := []string{"NAME", "SOURCE", "FEDERATION", "STATE", "MEMBER", "REASON"}
	if f.output == "wide" {
		header = append(header, "CLUSTER ID", "ALSO", "OBJECTS")
	}
	rows := [][]string{header}
	for i := range found.clusters {
		c := &found.clusters[i]
		row := []string{c.Name, string(c.Source), orNone(string(c.Federation)), string(c.State), orNone(string(c.Member)), c.Reason}
		if f.output == "wide" {
			row = append(row, orNone(string(c.ID)), orNone(strings.Join(c.Also, ",")), orNone(strings.Join(objectWords(c), ", ")))
		}
		rows = append(rows, row)
	}
	if !headed {
		rows = rows[1:]
	}
	return table(d.Out, rows)
}

// objectWords are the objects that stand for a cluster, as arguments of kubectl.
func objectWords(c *discover.Cluster) []string {
	var words []string
	for _, o := range c.Objects {
		words = append(words, o.Word())
	}
	return words
}

// joinAll joins what wants to join, prints one table, and fails when one of them failed.
func (f *discoverFlags) joinAll(ctx context.Context, d *factory, h *host.Cluster, found *findings, dryRun federate.DryRun) error {
	b := &batch{doing: "joining", done: "joined", timeout: joinTimeout, dryRun: dryRun}
	for _, c := range found.clusters {
		if c.State == discover.Wants {
			b.Clusters = append(b.Clusters, joinRow(h, c, federate.JoinOptions{DryRun: dryRun}))
		}
	}
	if err := b.announce(d); err != nil {
		return err
	}
	b.work(ctx, d, f.many.parallel)
	ended := b.Clusters
	for i := range found.clusters {
		c := &found.clusters[i]
		if c.State != discover.Wants {
			continue
		}
		r := ended[0]
		ended = ended[1:]
		switch {
		case r.err != nil:
			c.Reason = "not joined: " + r.Reason
		case dryRun == federate.DryRunNone:
			c.State, c.Reason = discover.Joined, r.Result+" now"
		default:
			c.Reason = r.Result
		}
	}
	if err := f.print(d, found); err != nil {
		return err
	}
	if len(found.clusters) == 0 {
		fmt.Fprintln(d.ErrOut, "No clusters found that ask to join a federation")
	}
	return b.err()
}

// printData prints an object of our own as JSON or YAML.
func printData(w interface{ Write([]byte) (int, error) }, format string, object any) error {
	if format == "yaml" {
		out, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		_, err = w.Write(out)
		return err
	}
	out, err := json.MarshalIndent(object, "", "    ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(out, '\n'))
	return err
}
