package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

const checkHelp = `Find what is wrong with the host and its members, and the command that repairs it. Nothing is changed.

On the host it checks what is installed and of which version, whether the webhook enforces the rules, members,
credentials and your rights. Members are checked through the credentials that the host stores, if you may read
them, and through the contexts that you name, which show more: which federation the cluster belongs to, the
accounts and roles there, its About API properties, its federation label, and what earlier memberships left. A
context that leads to no member is checked, too.

Findings are errors (it does not work, or is not protected), warnings (it will stop working, or could not be
checked) and infos. After them comes what was checked, a line for each area, with what was found there or "passed".

Exit codes: 0 no errors found; 1 the host, or a context that you named, could not be checked; 2 errors found.`

const checkExample = `  # Check the host, and its members with the host's own credentials
  kubectl federate check

  # Check two clusters with your own rights as well
  kubectl federate check --member-contexts us-east,us-west

  # Everything, for a machine
  kubectl federate check --all-contexts --severity info -o json`

// checkParallel is how many clusters are open at once: each takes a few file descriptors.
const checkParallel = 64

// checkFlags are what was typed.
type checkFlags struct {
	*factory
	member      targets.MemberFlags
	contexts    []string
	allContexts bool
	severity    string
	timeout     time.Duration
	output      output.Format
}

func newCheck(d *factory) *cobra.Command {
	f := &checkFlags{factory: d, output: output.Format{Formats: []string{"json", "yaml"}}}
	cmd := &cobra.Command{
		Use:     "check",
		GroupID: groupHost,
		Short:   "Find what is wrong with the host and its members, and the command that repairs it",
		Long:    checkHelp,
		Example: checkExample,
		Args:    noArguments,
		RunE:    runs(f.toOptions),
	}
	f.member.AddTo(cmd, &d.hostFlags)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.contexts, "member-contexts", nil, "The kubeconfig contexts of clusters to check, as CONTEXT,…")
	_ = cmd.RegisterFlagCompletionFunc("member-contexts", f.member.Complete(&d.hostFlags))
	flags.BoolVar(&f.allContexts, "all-contexts", false, "Check the clusters of all contexts of the kubeconfig")
	flags.StringVar(&f.severity, "severity", string(check.Warning), "Show findings of this severity and worse: error, warning, info")
	complete(cmd, "severity", words(check.Severities)...)
	targets.AddTimeout(cmd, &f.timeout, 10*time.Second)
	f.output.AddTo(cmd)
	return cmd
}

// checkOptions are ready to run.
type checkOptions struct {
	checkFlags
	// named are all contexts that were named.
	named []string
	batch targets.Batch
}

func (f *checkFlags) toOptions(*cobra.Command, []string) (*checkOptions, error) {
	o := &checkOptions{checkFlags: *f, named: slices.Clone(f.contexts), batch: targets.Batch{Parallel: checkParallel, Timeout: f.timeout}}
	if f.member.Context != "" {
		o.named = append(o.named, f.member.Context)
	}
	return o, nil
}

func (o *checkOptions) validate() error {
	if o.allContexts && len(o.named) > 0 {
		return output.Usagef("name contexts, or check all with --all-contexts, but not both")
	}
	return cmp.Or(o.output.Validate(), output.OneOf("severity", o.severity, words(check.Severities)...), o.batch.Validate())
}

func (o *checkOptions) run(ctx context.Context) error {
	h, err := o.host()
	if err != nil {
		return err
	}
	ways, err := o.ways(ctx)
	if err != nil {
		return err
	}
	progress := o.messages.Progress("checking the host and its members")
	facts, err := check.Read(ctx, h, check.Options{
		Ways: ways, MemberKubeconfig: o.member.Kubeconfig, Tuned: o.hostFlags.Tune, Each: o.batch.RunWith(ctx),
	})
	progress.End()
	if err != nil {
		return &output.Exit{Code: output.ExitFailed, Err: output.WhileReading(ctx, err)}
	}
	findings := check.Judge(*facts)
	if err := o.print(findings, check.Areas(*facts, findings)); err != nil {
		return err
	}
	return o.outcome(facts, findings)
}

// ways are the contexts to check.
func (o *checkOptions) ways(ctx context.Context) ([]check.Way, error) {
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil {
		return nil, err
	}
	if err := contexts.Has("--member-context", o.named...); err != nil || !o.allContexts && len(o.named) == 0 {
		return nil, err
	}
	candidates, err := contexts.Source(o.named...).Candidates(ctx)
	if err != nil {
		return nil, err
	}
	var ways []check.Way
	for _, c := range candidates {
		ways = append(ways, check.Way{Context: c.Name, Connect: c.Connect})
	}
	return ways, nil
}

// diagnosis is what `check -o json` prints.
type diagnosis struct {
	output.TypeMeta
	Findings []check.Finding `json:"findings"`
	// Areas are all that was checked.
	Areas []check.Area `json:"areas"`
}

func (o *checkOptions) print(findings []check.Finding, areas []check.Area) error {
	least := slices.Index(check.Severities, check.Severity(o.severity))
	shown := slices.DeleteFunc(slices.Clone(findings), func(x check.Finding) bool {
		return slices.Index(check.Severities, x.Severity) > least
	})
	if o.output.Data() {
		return o.output.Print(o.Out, diagnosis{output.Kind("Diagnosis"), append([]check.Finding{}, shown...), areas})
	}
	if len(shown) > 0 {
		rows := [][]string{{"SEVERITY", "SIDE", "MEMBER", "FINDING", "OBJECT", "CAUSE", "REMEDY"}}
		for _, x := range shown {
			rows = append(rows, []string{
				string(x.Severity), string(x.Side), output.OrNone(x.Member), string(x.Code), output.OrNone(x.Object), x.Cause, output.OrNone(x.Remedy),
			})
		}
		if err := output.Rows(o.Out, rows); err != nil {
			return err
		}
		output.Line(o.Out, "")
	}
	rows := [][]string{{"AREA", "RESULT", "CHECKED"}}
	for _, a := range areas {
		rows = append(rows, []string{string(a.Name), result(a), a.Checked})
	}
	if err := output.Rows(o.Out, rows); err != nil {
		return err
	}
	if slices.ContainsFunc(shown, func(x check.Finding) bool { return leavesContext(x.Remedy) }) {
		note := contextNote
		if !o.allContexts {
			note = o.commands().To(note+"; to find it", command.Check{AllContexts: true})
		}
		output.Line(o.ErrOut, note)
	}
	return nil
}

// contextNote says what to write in place of the placeholder in a command.
const contextNote = command.ContextPlaceholder + " stands for the context of your kubeconfig that leads to the member's cluster"

// leavesContext says that a text has a command in which the reader is to write a context.
func leavesContext(text string) bool {
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' || r == ';' }), command.ContextPlaceholder)
}

// result is what was found in an area.
func result(a check.Area) string {
	if a.Passed() {
		return "passed"
	}
	var counts []string
	for _, s := range check.Severities {
		if n := a.Findings[s]; n > 0 {
			counts = append(counts, output.Count(n, string(s), string(s)+"s"))
		}
	}
	return strings.Join(counts, ", ")
}

// outcome sums up for a person and says how the command ends.
func (o *checkOptions) outcome(facts *check.Facts, findings []check.Finding) error {
	count := map[check.Severity]int{}
	for _, x := range findings {
		count[x.Severity]++
	}
	seen, unseen := map[string]bool{}, []string(nil)
	for _, s := range facts.Observations {
		switch {
		case s.State != nil:
			seen[string(s.State.ID)] = true
		case slices.Contains(o.named, s.Context):
			unseen = append(unseen, s.Context)
		}
	}
	summary := strings.Join([]string{
		output.Count(count[check.Error], "error", "errors"), output.Count(count[check.Warning], "warning", "warnings"),
		output.Count(count[check.Info], "info", "infos"),
	}, ", ")
	checked := output.Count(len(facts.Host.Members), "member", "members") + " on the host, " + output.Count(len(seen), "cluster", "clusters") + " checked"
	switch {
	case count[check.Error] > 0:
		return &output.Exit{Code: output.ExitRefused, Err: fmt.Errorf("%s; %s", summary, checked)}
	case len(unseen) > 0:
		return fmt.Errorf("context %s could not be checked; %s; %s", strings.Join(unseen, ", "), summary, checked)
	}
	output.Line(o.ErrOut, summary+"; "+checked)
	return nil
}
