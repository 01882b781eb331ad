package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

type discoverFlags struct {
	federation federationFlag
	kubeconfig memberFlags
	join       bool
	all        bool
	many       manyFlags
	dryRun     dryRunFlag
	output     string
}

func newDiscover(d *door) *cobra.Command {
	f := &discoverFlags{}
	cmd := &cobra.Command{
		Use:     "discover",
		GroupID: groupMembers,
		Short:   "Find clusters that wish to join a federation, and join them",
		Long: `Find clusters that wish to join a federation. A cluster says so by the label
kubefederate.io/federation=NAME on its kube-system namespace ('kubectl federate label' sets it). Every
context of the kubeconfig is looked at, in parallel.

The wish gives nothing by itself: with --join each wish is fulfilled by a normal join, with your own
rights and by the federation's rules. Running it again changes nothing that is already so.`,
		Example: `  # List the clusters that carry the label, and how they stand
  kubectl federate discover

  # Join those that wish to be in prod
  kubectl federate discover --federation prod --join`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), d) },
	}
	flags := cmd.Flags()
	f.federation.add(cmd, d, "Only wishes for this federation")
	flags.StringVar(&f.kubeconfig.kubeconfig, "member-kubeconfig", "", "The kubeconfig file whose contexts are looked at (default: as for the host)")
	flags.BoolVar(&f.join, "join", false, "Join every cluster that wants to join")
	flags.BoolVarP(&f.all, "all", "A", false, "Also list clusters that carry no label")
	f.many.add(cmd, "timeout")
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
}

type discovered struct {
	Name       string         `json:"name"`
	Source     string         `json:"source"`
	Also       []string       `json:"also,omitempty"`
	ClusterID  string         `json:"clusterID,omitempty"`
	Member     string         `json:"member,omitempty"`
	Federation string         `json:"federation,omitempty"`
	State      discover.State `json:"state"`
	Reason     string         `json:"reason,omitempty"`
}

func (f *discoverFlags) run(ctx context.Context, d *door) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"", "wide", "json", "yaml", "name"}, f.output) {
		return usagef("-o %s is unknown: it is wide, json, yaml or name", f.output)
	}
	if dryRun != federate.DryRunNone && !f.join {
		return usagef("--dry-run goes with --join: listing changes nothing")
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	source, err := f.kubeconfig.source(d)
	if err != nil {
		return err
	}
	view, sightings, err := f.many.look(ctx, d, h, source)
	if err != nil {
		return whileReading(ctx, err)
	}
	clusters := discover.Judge(view, sightings)
	discover.Sort(clusters)
	shown := slices.DeleteFunc(slices.Clone(clusters), func(c discover.Cluster) bool {
		if f.federation.name != "" {
			return c.Federation != f.federation.value()
		}
		return c.State == discover.NoWish && !f.all
	})
	if !f.join {
		if err := f.print(d, shown); err != nil {
			return err
		}
		hint(d, clusters, shown)
		return nil
	}
	return f.joinAll(ctx, d, h, shown, dryRun)
}

func (f *discoverFlags) print(d *door, clusters []discover.Cluster) error {
	switch f.output {
	case "json", "yaml":
		out := discovery{APIVersion: outputAPIVersion, Kind: "Discovery", Clusters: []discovered{}}
		for _, c := range clusters {
			out.Clusters = append(out.Clusters, discovered{
				Name: c.Name, Source: c.Source, Also: c.Also, ClusterID: string(c.ID), Member: string(c.Member),
				Federation: string(c.Federation), State: c.State, Reason: c.Reason,
			})
		}
		return printData(d.Out, f.output, out)
	case "name":
		for _, c := range clusters {
			fmt.Fprintln(d.Out, printable(c.Name))
		}
		return nil
	}
	if len(clusters) == 0 {
		return nil
	}
	header := []string{"NAME", "SOURCE", "FEDERATION", "STATE", "MEMBER", "REASON"}
	if f.output == "wide" {
		header = append(header, "CLUSTER ID", "ALSO")
	}
	rows := [][]string{header}
	for _, c := range clusters {
		row := []string{c.Name, c.Source, orNone(string(c.Federation)), string(c.State), orNone(string(c.Member)), c.Reason}
		if f.output == "wide" {
			row = append(row, orNone(string(c.ID)), orNone(strings.Join(c.Also, ",")))
		}
		rows = append(rows, row)
	}
	return table(d.Out, rows)
}

// hint tells what a bare table leaves out.
func hint(d *door, all, shown []discover.Cluster) {
	if len(shown) == 0 {
		fmt.Fprintln(d.ErrOut, "No clusters found that wish to join a federation")
	}
	quiet := 0
	for _, c := range all {
		if c.State == discover.NoWish {
			quiet++
		}
	}
	if len(all) > len(shown) && quiet > 0 {
		fmt.Fprintf(d.ErrOut, "%s no label; --all lists them\n", countOf(quiet, "cluster carries", "clusters carry"))
	}
}

// joinAll joins what wants to join, prints one table, and fails when one of them failed.
func (f *discoverFlags) joinAll(ctx context.Context, d *door, h *host.Cluster, clusters []discover.Cluster, dryRun federate.DryRun) error {
	b := &batch{doing: "joining", done: "joined", timeout: joinTimeout, dryRun: dryRun}
	for _, c := range clusters {
		if c.State == discover.Wants {
			b.Clusters = append(b.Clusters, joinRow(h, c, federate.JoinOptions{DryRun: dryRun}))
		}
	}
	if err := b.announce(d); err != nil {
		return err
	}
	b.work(ctx, d, f.many.parallel)
	ended := b.Clusters
	for i := range clusters {
		c := &clusters[i]
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
	if err := f.print(d, clusters); err != nil {
		return err
	}
	if len(clusters) == 0 {
		fmt.Fprintln(d.ErrOut, "No clusters found that wish to join a federation")
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
