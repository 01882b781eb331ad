package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

type discoverFlags struct {
	federation federationFlag
	kubeconfig memberFlags
	join       bool
	all        bool
	timeout    time.Duration
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
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "How long the clusters have to answer, all together")
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
	loader := f.kubeconfig.loader(d, "")
	raw, err := loader.RawConfig()
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	source := discover.Kubeconfig{Config: raw, Connect: func(context string) (*member.Cluster, error) {
		return connectMember(d, f.kubeconfig.loader(d, context), context)
	}}
	clusters, err := f.look(ctx, d, h, source)
	if err != nil {
		return err
	}
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

// look reads the host and every candidate at once.
func (f *discoverFlags) look(ctx context.Context, d *door, h *host.Cluster, source discover.Source) ([]discover.Cluster, error) {
	candidates, err := source.Candidates(ctx)
	if err != nil {
		return nil, err
	}
	var view discover.View
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { view.HostID, err = h.ID(gctx); return err })
	group.Go(func() (err error) { view.Federations, err = h.Federations(gctx); return err })
	group.Go(func() (err error) { view.Members, err = h.Members(gctx, host.MemberQuery{}); return err })
	progress := newProgress(d, fmt.Sprintf("looking at %s", countOf(len(candidates), "context", "contexts")))
	sightings := discover.Probe(ctx, candidates, f.timeout, func(n int) {
		progress.update(fmt.Sprintf("%d of %d contexts answered", n, len(candidates)))
	})
	progress.end()
	if err := group.Wait(); err != nil {
		return nil, err
	}
	clusters := discover.Judge(view, sightings)
	discover.Sort(clusters)
	return clusters, nil
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
	var tasks []joinTask
	at := map[string]int{}
	for i, c := range clusters {
		if c.State != discover.Wants {
			continue
		}
		at[c.Name] = i
		tasks = append(tasks, joinTask{
			context: c.Name,
			connect: c.Connect,
			options: federate.JoinOptions{Name: c.Member, Federation: c.Federation, MemberContext: c.Name, DryRun: dryRun},
		})
	}
	failed := joinMany(ctx, d, h, tasks)
	joined := 0
	for _, t := range tasks {
		c := &clusters[at[t.context]]
		if err := failed[t.context]; err != nil {
			c.Reason = "not joined: " + strings.ReplaceAll(errorText(err), "\n", " ")
			continue
		}
		joined++
		if dryRun == federate.DryRunNone {
			c.State, c.Reason = discover.Joined, "joined now"
		} else {
			c.Reason = "would join" + dryRunSuffix(dryRun)
		}
	}
	if err := f.print(d, clusters); err != nil {
		return err
	}
	if len(clusters) == 0 {
		fmt.Fprintln(d.ErrOut, "No clusters found that wish to join a federation")
	}
	return someFailed(joined, slices.Collect(maps.Values(failed)), "joined")
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
