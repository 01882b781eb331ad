package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

type checkFlags struct {
	member      memberFlags
	contexts    []string
	allContexts bool
	severity    string
	timeout     time.Duration
	output      string
}

func newCheck(d *factory) *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use:     "check",
		GroupID: groupHost,
		Short:   "Find what is wrong with the host and its members, and the command that mends it",
		Long: `Find what is wrong with the host and its members, and the command that mends it.

On the host it looks at what is installed and of which version, whether the webhook refuses what it must,
members, credentials and your rights. Members are looked at through the credentials that the host keeps, if
you may read them, and through the contexts that you give, which show more: whose the cluster says it is, the
accounts and roles there, its About API properties, its federation label, and what earlier memberships left. A context
that leads to no member is looked at, too. Nothing is changed; what is asked of the servers to judge a write
is a dry run.

Findings are errors (it does not work, or is not guarded), warnings (it will not work for ever, or could not
be looked at) and infos.

Exit codes: 0 no errors found; 1 the host, or a context that you named, could not be looked at; 2 errors found.`,
		Example: `  # Look at the host, and at its members with the host's own credentials
  kubectl federate check

  # Look at two clusters with your own rights as well
  kubectl federate check --member-contexts us-east,us-west

  # Everything, for a machine
  kubectl federate check --all-contexts --severity info -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), d) },
	}
	f.member.add(cmd.Flags())
	f.member.complete(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.contexts, "member-contexts", nil, "The kubeconfig contexts of clusters to look at, as C,…")
	flags.BoolVar(&f.allContexts, "all-contexts", false, "Look at the clusters of all contexts of the kubeconfig")
	flags.StringVar(&f.severity, "severity", string(check.Warning), "Show findings of this severity and worse: error, warning, info")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "How long members have to answer, all together")
	flags.StringVarP(&f.output, "output", "o", "", "Output format: json, yaml")
	_ = cmd.RegisterFlagCompletionFunc("member-contexts", completeContexts(&f.member.kubeconfig))
	_ = cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions([]string{"error", "warning", "info"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// diagnosis is what `check -o json` prints.
type diagnosis struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Findings   []check.Finding `json:"findings"`
}

func (f *checkFlags) validate() error {
	if f.output != "" && f.output != "json" && f.output != "yaml" {
		return usagef("-o %s is unknown: it is json or yaml", f.output)
	}
	if !slices.Contains(check.Severities, check.Severity(f.severity)) {
		return usagef("--severity=%s is unknown: it is error, warning or info", f.severity)
	}
	if f.allContexts && len(f.named()) > 0 {
		return usagef("contexts are named, or all are looked at with --all-contexts, not both")
	}
	return nil
}

// named are the contexts that the caller named.
func (f *checkFlags) named() []string {
	named := slices.Clone(f.contexts)
	if f.member.context != "" {
		named = append(named, f.member.context)
	}
	return named
}

func (f *checkFlags) run(ctx context.Context, d *factory) error {
	if err := f.validate(); err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	ways, err := f.ways(ctx, d)
	if err != nil {
		return err
	}
	progress := newProgress(d, "looking at the host and its members")
	facts, err := check.Read(ctx, h, check.Options{Ways: ways, Timeout: f.timeout, Tuned: d.tuned})
	progress.end()
	if err != nil {
		return err
	}
	findings := check.Judge(*facts)
	if err := f.print(d, findings); err != nil {
		return err
	}
	return f.outcome(d, facts, findings)
}

// ways are the contexts to look at.
func (f *checkFlags) ways(ctx context.Context, d *factory) ([]check.Way, error) {
	names := f.named()
	raw, err := f.member.loader(d, "").RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig for members: %w", err)
	}
	for _, name := range names {
		if err := knownContext("member", "--member-context", name, raw); err != nil {
			return nil, err
		}
	}
	if !f.allContexts && len(names) == 0 {
		return nil, nil
	}
	candidates, err := discover.Kubeconfig{Config: raw, Connect: func(context string) (*member.Cluster, error) {
		return connectMember(d, f.member.loader(d, context), context)
	}}.Candidates(ctx)
	if err != nil {
		return nil, err
	}
	var ways []check.Way
	for _, c := range candidates {
		if f.allContexts || slices.Contains(names, c.Name) {
			ways = append(ways, check.Way{Context: c.Name, Connect: c.Connect})
		}
	}
	return ways, nil
}

func (f *checkFlags) print(d *factory, findings []check.Finding) error {
	least := slices.Index(check.Severities, check.Severity(f.severity))
	shown := slices.DeleteFunc(slices.Clone(findings), func(x check.Finding) bool {
		return slices.Index(check.Severities, x.Severity) > least
	})
	if f.output != "" {
		return printData(d.Out, f.output, diagnosis{APIVersion: outputAPIVersion, Kind: "Diagnosis", Findings: append([]check.Finding{}, shown...)})
	}
	if len(shown) == 0 {
		return nil
	}
	rows := [][]string{{"SEVERITY", "SIDE", "MEMBER", "FINDING", "OBJECT", "CAUSE", "REMEDY"}}
	for _, x := range shown {
		rows = append(rows, []string{string(x.Severity), string(x.Side), orNone(x.Member), string(x.Code), orNone(x.Object), x.Cause, orNone(x.Remedy)})
	}
	return table(d.Out, rows)
}

// outcome sums up for a person and says how the command ends.
func (f *checkFlags) outcome(d *factory, facts *check.Facts, findings []check.Finding) error {
	count := map[check.Severity]int{}
	for _, x := range findings {
		count[x.Severity]++
	}
	seen, unseen := map[string]bool{}, []string(nil)
	for _, s := range facts.Observations {
		switch {
		case s.State != nil:
			seen[string(s.State.ID)] = true
		case slices.Contains(f.named(), s.Context):
			unseen = append(unseen, s.Context)
		}
	}
	summary := strings.Join([]string{
		countOf(count[check.Error], "error", "errors"), countOf(count[check.Warning], "warning", "warnings"), countOf(count[check.Info], "info", "infos"),
	}, ", ")
	looked := countOf(len(facts.Host.Members), "member", "members") + " on the host, " + countOf(len(seen), "cluster", "clusters") + " looked at"
	switch {
	case count[check.Error] > 0:
		return &refusedAll{errors.New(summary + "; " + looked)}
	case len(unseen) > 0:
		return fmt.Errorf("context %s could not be looked at; %s; %s", strings.Join(unseen, ", "), summary, looked)
	}
	fmt.Fprintln(d.ErrOut, summary+"; "+looked)
	return nil
}
