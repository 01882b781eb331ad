package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/services"
)

const servicesHelp = `Show which services members export to each other, and where their exports conflict. Nothing is changed.

It reads ServiceExports and ServiceImports (KEP-1645, the Multi-Cluster Services API) of the members, whatever
implements it there, as Cilium, Submariner and GKE do, and merges the exports of one name by the KEP's rules: of
exports that conflict the oldest wins. A member that serves no ServiceExport exports nothing.

With NAME it shows all of one service: each member's export with its age, ports and conditions, each conflict with
the rule, imports that are not what the exports come to, members without the namespace, networks of members that
overlap, and whether cluster DNS serves clusterset.local. What you are not allowed to read is said to be not known.
-o json and yaml print one List, with the same of all services; -o name prints NAMESPACE/NAME.

A member that does not answer within --timeout, or refuses, is one line on stderr; the exit code is 3 then, and the
others are judged without it.

` + userHelp

const servicesExample = `  # Services that members of prod export, in all namespaces
  kubectl federate services -A --federation prod

  # One service: who exports it, and why exports conflict
  kubectl federate services web -n shop

  # With ages and imports, and the networks of the members
  kubectl federate services -n shop -o wide

  # For a program
  kubectl federate services -A -o json`

// servicesFlags are what was typed.
type servicesFlags struct {
	acrossFlags
	selection targets.SelectFlags
	output    output.Format
}

func newServices(d *factory) *cobra.Command {
	f := &servicesFlags{acrossFlags: acrossFlags{useFlags: newUseFlags(d)}, output: output.Format{Formats: []string{"wide", "json", "yaml", output.Name}}}
	cmd := &cobra.Command{
		Use:               "services [NAME]",
		GroupID:           groupMembers,
		Short:             "Show which services members export to each other, and where they conflict",
		Long:              servicesHelp,
		Example:           servicesExample,
		RunE:              runs(f.toOptions),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	d.addFederation(cmd, &f.selection.Federation, "Only members of this federation")
	cmd.Flags().StringVarP(&f.selection.Selector, "selector", "l", "", "Only members whose labels match this selector")
	f.addTo(cmd)
	f.output.AddTo(cmd)
	return cmd
}

// servicesOptions are ready to run.
type servicesOptions struct {
	servicesFlags
	query services.Query
}

func (f *servicesFlags) toOptions(_ *cobra.Command, args []string) (*servicesOptions, error) {
	if len(args) > 1 {
		return nil, output.Usagef("give the name of one service, or none for all")
	}
	o := &servicesOptions{servicesFlags: *f}
	if len(args) == 1 {
		if o.query.Name = args[0]; o.query.Name == "" {
			return nil, output.Usagef("the name of the service is empty")
		}
	}
	if !o.allNamespaces {
		o.query.Namespace = cmp.Or(o.namespace, metav1.NamespaceDefault)
	}
	var err error
	o.memberNames, err = targets.Names(f.memberNames)
	return o, err
}

func (o *servicesOptions) validate() error {
	if len(o.memberNames) > 0 && o.selection.Given() {
		return output.Usagef("give --members, or use --selector and --federation, but not both")
	}
	if faults := validation.IsDNS1123Subdomain(o.query.Name); o.query.Name != "" && len(faults) > 0 {
		return output.Usagef("invalid name of a service %q: %s", o.query.Name, faults[0])
	}
	return cmp.Or(o.acrossFlags.validate(), o.output.Validate())
}

// federated are the members of one federation that were read, and what their exports come to.
type federated struct {
	federation v1alpha1.FederationName
	members    []services.Member
	services.Report
}

func (o *servicesOptions) run(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	query := host.MemberQuery{Federation: v1alpha1.FederationName(o.selection.Federation), Selector: o.selection.Selector}
	members, err := h.Select(ctx, o.memberNames, query)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	if len(members) == 0 {
		o.reportNoMembers()
		return nil
	}
	users, err := o.memberUsers(ctx, h, members)
	if err != nil {
		return err
	}
	read, errs := o.readAll(ctx, users)
	if err := o.print(judgeByFederation(members, read)); err != nil {
		return err
	}
	if failed := useSummary(ctx, errs, "could not read"); failed != nil {
		return failed
	}
	return o.verdict(read)
}

// readAll reads all members. Of those that cannot be read the error is printed.
func (o *servicesOptions) readAll(ctx context.Context, users *memberUsers) ([]*services.Member, []error) {
	members := users.members
	read := make([]*services.Member, len(members))
	progress := o.messages.Progress("reading services of " + output.Count(len(members), "member", "members"))
	defer progress.End()
	var mu sync.Mutex
	answered := 0
	errs := o.batch.Run(ctx, len(members), func(ctx context.Context, i int) (err error) {
		who, err := users.of(ctx, i)
		if err != nil {
			return err
		}
		mu.Lock()
		if o.hostFlags.Verbosity > 0 {
			progress.Line(fmt.Sprintf("%s: reached as %s", members[i].Name, who))
		}
		mu.Unlock()
		read[i], err = o.readOne(output.About(ctx, members[i].Name), &members[i], who)
		return err
	}, func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		answered++
		progress.Update(fmt.Sprintf("%d of %d members answered", answered, len(members)))
		if err != nil {
			read[i] = nil
			progress.Line(output.Reason(about(&members[i], err)))
		}
	})
	return read, errs
}

func (o *servicesOptions) readOne(ctx context.Context, m *v1alpha1.MemberCluster, who *memberUser) (*services.Member, error) {
	c, err := o.connect(ctx, m, who, who.config)
	if err != nil {
		return nil, err
	}
	defer c.CloseIdle()
	read, err := services.Read(ctx, c.Conn, m.Name, o.query)
	if err != nil {
		return nil, err
	}
	if o.networks() {
		read.ReadNetwork(ctx, c.Conn)
	}
	return read, ctx.Err()
}

// networks says whether the networks of members are printed. Reading them takes all nodes.
func (o *servicesOptions) networks() bool {
	return o.query.Name != "" && o.output.Value == "" || o.output.Value == "wide" || o.output.Data()
}

// judgeByFederation judges the members of each federation by themselves: services of one name are the same within a federation only.
func judgeByFederation(members []v1alpha1.MemberCluster, read []*services.Member) (all []federated) {
	for i, m := range read {
		if m == nil {
			continue
		}
		name := members[i].Federation()
		at := slices.IndexFunc(all, func(f federated) bool { return f.federation == name })
		if at < 0 {
			at = len(all)
			all = append(all, federated{federation: name})
		}
		all[at].members = append(all[at].members, *m)
	}
	for i := range all {
		all[i].Report = services.Judge(all[i].members)
	}
	return all
}

// verdict is how the command ends where all members were read.
func (o *servicesOptions) verdict(read []*services.Member) error {
	exported, serving := 0, 0
	for _, m := range read {
		exported += len(m.Exports)
		if m.API != "" {
			serving++
		}
	}
	where := " in all namespaces"
	if !o.allNamespaces {
		where = fmt.Sprintf(" in namespace %s", o.query.Namespace)
	}
	none := ""
	if serving == 0 {
		none = fmt.Sprintf(": %s of %s", "ServiceExport ("+services.APIs[0].Group+") is served by none", output.Count(len(read), "member", "members"))
	}
	switch {
	case exported > 0:
	case o.query.Name != "":
		return errors.New(o.withHint(fmt.Sprintf("no member exports a service %q%s%s", o.query.Name, where, none)))
	case !o.output.Data():
		output.Line(o.ErrOut, o.withHint("No exported services"+where+none))
	}
	return nil
}

// withHint adds that there are other namespaces.
func (o *servicesOptions) withHint(text string) string {
	if o.allNamespaces || o.namespace != "" {
		return text
	}
	return text + "; to look in others, use --namespace or --all-namespaces"
}
