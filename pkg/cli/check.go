package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

const checkHelp = `Find what is wrong with the host and its members, and the command that repairs it. Nothing is changed.

On the host it checks what is installed and of which version, whether the webhook enforces the rules, members,
credentials and your rights. Members are checked through the credentials that the host stores, if you may read
them, and through the contexts that you name, which show more: which federation the cluster belongs to, the
accounts and roles there, its About API properties, its federation label, and what earlier memberships left. A
context that leads to no member is checked, too.

Findings are errors (it does not work, or is not protected), warnings (it will stop working, or could not be
checked) and infos. Those that one command mends are together, and the command is on a line of its own. After them
comes what was checked, a line for each area, with what was found there or "passed".

By names, a selector or a federation, only those members are reached, and what is found of others is left out.

--pre checks a cluster on which nothing is installed yet: whether init can make it a host, for you. Errors are what
init would fail of, or what would not work after it. Give it the flags that init will get. Whether API servers reach
the webhook is seen only once it is called, so that is not known before.

--bundle writes what others need to help you into one file: the objects of kubectl federate on the host, Events,
logs and metrics of its pods, versions, and what check finds. Of Secrets it holds names, types, keys and sizes;
elsewhere what has the shape of a token, a key or a password is removed. What could not be read is listed in it, and is no
error: the exit code is 0 when the bundle is written.

Exit codes: 0 no errors found; 1 the host, or a context that you named, could not be checked; 2 errors found.`

const checkExample = `  # Before init: can this cluster become a host, and may I install there?
  kubectl federate check --pre

  # Check the host, and its members with the host's own credentials
  kubectl federate check

  # Check one member, and those of a federation
  kubectl federate check us-east
  kubectl federate check --federation prod

  # Check two clusters with your own rights as well
  kubectl federate check --member-contexts us-east,us-west

  # A support bundle, without a secret
  kubectl federate check --bundle federate.tar.gz

  # Everything, for a machine
  kubectl federate check --all-contexts --severity info -o json`

// checkParallel is how many clusters are open at once: each takes a few file descriptors.
const checkParallel = 64

// checkFlags are what was typed.
type checkFlags struct {
	*factory
	member      targets.MemberFlags
	selection   targets.SelectFlags
	contexts    []string
	allContexts bool
	severity    string
	pre         bool
	install     manifests.Options
	bundle      string
	timeout     time.Duration
	output      output.Format
}

func newCheck(d *factory) *cobra.Command {
	f := &checkFlags{factory: d, output: output.Format{Formats: []string{"json", "yaml"}}}
	cmd := &cobra.Command{
		Use:     "check [NAME...]",
		GroupID: groupHost,
		Short:   "Find what is wrong with the host and its members, and the command that repairs it",
		Long:    checkHelp,
		Example: checkExample,
		RunE:    runs(f.toOptions),

		ValidArgsFunction: d.completeMembers,
	}
	f.member.AddTo(cmd, &d.hostFlags)
	d.addFederation(cmd, &f.selection.Federation, "Only members of this federation")
	flags := cmd.Flags()
	flags.StringVarP(&f.selection.Selector, "selector", "l", "", "Only members whose labels match this selector")
	flags.StringSliceVar(&f.contexts, "member-contexts", nil, "The kubeconfig contexts of clusters to check, as CONTEXT,…")
	_ = cmd.RegisterFlagCompletionFunc("member-contexts", f.member.Complete(&d.hostFlags))
	flags.BoolVar(&f.allContexts, "all-contexts", false, "Check the clusters of all contexts of the kubeconfig")
	flags.StringVar(&f.severity, "severity", string(check.Warning), "Show findings of this severity and worse: error, warning, info")
	complete(cmd, "severity", words(check.Severities)...)
	f.addPre(cmd)
	flags.StringVar(&f.bundle, "bundle", "", "Write a support bundle to this file, a gzipped tar, in place of printing what was found; - is standard output")
	targets.AddTimeout(cmd, &f.timeout, 10*time.Second)
	f.output.AddTo(cmd)
	return cmd
}

// checkOptions are ready to run.
type checkOptions struct {
	checkFlags
	// names are members, and named all contexts that were named.
	names, named []string
	batch        targets.Batch
	// installFlag is a flag of the install that was typed; empty where none was.
	installFlag string
}

func (f *checkFlags) toOptions(cmd *cobra.Command, args []string) (*checkOptions, error) {
	names, err := targets.Names(args)
	if err != nil {
		return nil, err
	}
	o := &checkOptions{checkFlags: *f, names: names, named: slices.Clone(f.contexts), batch: targets.Batch{Parallel: checkParallel, Timeout: f.timeout}}
	if f.member.Context != "" {
		o.named = append(o.named, f.member.Context)
	}
	for _, name := range installFlags {
		if cmd.Flags().Changed(name) {
			o.installFlag = name
		}
	}
	return o, nil
}

func (o *checkOptions) validate() error {
	if len(o.names) > 0 && o.selection.Given() {
		return output.Usagef("give names of members, or use --selector and --federation, but not both")
	}
	if o.allContexts && len(o.named) > 0 {
		return output.Usagef("name contexts, or check all with --all-contexts, but not both")
	}
	if err := cmp.Or(o.validatePre(), o.validateBundle()); err != nil {
		return err
	}
	return cmp.Or(o.output.Validate(), output.OneOf("severity", o.severity, words(check.Severities)...), o.batch.Validate())
}

func (o *checkOptions) run(ctx context.Context) error {
	switch {
	case o.pre:
		return o.runPre(ctx)
	case o.bundle != "":
		return o.runBundle(ctx)
	}
	h, err := o.members()
	if err != nil {
		return err
	}
	facts, findings, err := o.diagnose(ctx, h)
	if err != nil {
		return err
	}
	if err := o.print(findings, check.Areas(*facts, findings)); err != nil {
		return err
	}
	return o.outcome(facts, findings)
}

// diagnose reads the host and members, and judges them.
func (o *checkOptions) diagnose(ctx context.Context, h targets.Members) (*check.Facts, []check.Finding, error) {
	ways, err := o.ways(ctx)
	if err != nil {
		return nil, nil, err
	}
	chosen, err := o.chosen(ctx, h)
	if err != nil {
		return nil, nil, output.WhileReading(ctx, err)
	}
	progress := o.messages.Progress("checking the host and its members")
	facts, err := check.Read(ctx, h.Cluster, check.Options{
		Ways: ways, MemberKubeconfig: o.member.Kubeconfig, Tuned: o.hostFlags.Tune, Each: o.batch.RunWith(ctx),
		Members: func(m *v1alpha1.MemberCluster) bool { return chosen == nil || chosen[m.Name] },
	})
	progress.End()
	if err != nil {
		return nil, nil, &output.Exit{Code: output.ExitFailed, Err: output.WhileReading(ctx, err)}
	}
	return facts, slices.DeleteFunc(check.Judge(*facts), func(x check.Finding) bool {
		return chosen != nil && x.Member != "" && !chosen[x.Member] && !slices.Contains(o.named, x.Member)
	}), nil
}

// chosen are the names of the members to check; nil is all.
func (o *checkOptions) chosen(ctx context.Context, h targets.Members) (map[string]bool, error) {
	if len(o.names) == 0 && !o.selection.Given() {
		return nil, nil
	}
	members, err := h.Select(ctx, o.names, o.selection.Query())
	chosen := map[string]bool{}
	for i := range members {
		chosen[members[i].Name] = true
	}
	return chosen, err
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
		if err := output.Text(o.Out, blocks(shown)+"\n"); err != nil {
			return err
		}
	}
	rows := [][]string{{"AREA", "RESULT", "CHECKED"}}
	for _, a := range areas {
		rows = append(rows, []string{string(a.Name), result(a), a.Checked})
	}
	if columns, ok := output.Width(o.Out); ok {
		rows = output.WrapLast(rows, columns)
	}
	if err := output.Rows(o.Out, rows); err != nil {
		return err
	}
	if hidden := len(findings) - len(shown); hidden > 0 {
		output.Linef(o.ErrOut, "%s left out; --severity %s shows all", output.Count(hidden, "finding", "findings"), check.Info)
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

// maxAlike is how many findings of a block are printed; -o json has all.
const maxAlike = 10

// blocks are findings for a person: what is wrong, where, and the command that mends it on a line of its own. Those of one kind that one
// command mends are together.
func blocks(findings []check.Finding) string {
	type kind struct {
		severity check.Severity
		code     check.Code
		side     cluster.Side
		remedy   string
	}
	var order []kind
	alike := map[kind][]check.Finding{}
	for _, x := range findings {
		k := kind{x.Severity, x.Code, x.Side, x.Remedy}
		if alike[k] == nil {
			order = append(order, k)
		}
		alike[k] = append(alike[k], x)
	}
	var b strings.Builder
	for i, k := range order {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(output.OneLine(fmt.Sprintf("%s: %s on the %s", k.severity, k.code, k.side)) + "\n")
		all := alike[k]
		for _, x := range all[:min(len(all), maxAlike)] {
			what := strings.TrimSpace(x.Object + " " + x.Cause)
			if x.Member != "" {
				what = x.Member + ": " + what
			}
			b.WriteString("  " + output.OneLine(what) + "\n")
		}
		if more := len(all) - maxAlike; more > 0 {
			b.WriteString("  and " + strconv.Itoa(more) + " more\n")
		}
		if k.remedy != "" {
			b.WriteString("\n    " + output.OneLine(k.remedy) + "\n")
		}
	}
	return b.String()
}

// contextNote says what to write in place of the placeholder in a command.
const contextNote = command.ContextPlaceholder + " stands for the context of your kubeconfig that leads to the member's cluster"

// leavesContext says that a text has a command in which the reader is to write a context.
func leavesContext(text string) bool {
	return slices.Contains(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' || r == ';' }), command.ContextPlaceholder)
}

// result is what was found in an area.
func result(a check.Area) string {
	switch {
	case a.Passed():
		return "passed"
	case a.NotChecked:
		return "not known"
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
	summary, errs := summed(findings)
	seen, unseen := map[string]bool{}, []string(nil)
	for _, s := range facts.Observations {
		switch {
		case s.State != nil:
			seen[string(s.State.ID)] = true
		case slices.Contains(o.named, s.Context):
			unseen = append(unseen, s.Context)
		}
	}
	checked := output.Count(len(facts.Host.Members), "member", "members") + " on the host, " + output.Count(len(seen), "cluster", "clusters") + " checked"
	switch {
	case errs > 0:
		return &output.Exit{Code: output.ExitRefused, Err: fmt.Errorf("%s; %s", summary, checked)}
	case len(unseen) > 0:
		return fmt.Errorf("context %s could not be checked; %s; %s", strings.Join(unseen, ", "), summary, checked)
	}
	output.Line(o.ErrOut, summary+"; "+checked)
	return nil
}

// summed is how many findings there are of each severity, and how many errors.
func summed(findings []check.Finding) (summary string, errs int) {
	count := map[check.Severity]int{}
	for _, x := range findings {
		count[x.Severity]++
	}
	return strings.Join([]string{
		output.Count(count[check.Error], "error", "errors"), output.Count(count[check.Warning], "warning", "warnings"),
		output.Count(count[check.Info], "info", "infos"),
	}, ", "), count[check.Error]
}
