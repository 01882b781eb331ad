package cli

import (
	"context"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// factory is the context of every command: the streams, and the flags that choose the host.
type factory struct {
	genericiooptions.IOStreams
	hostFlags targets.HostFlags
	messages  output.Messages
	// name is how a person calls the plugin.
	name string
	// flags are those that choose the host.
	flags *pflag.FlagSet
}

func newFactory(name string, streams genericiooptions.IOStreams) *factory {
	d := &factory{IOStreams: streams, name: name, flags: &pflag.FlagSet{}}
	d.Out, d.ErrOut = output.NewStream(streams.Out), output.NewStream(streams.ErrOut)
	d.messages.W = streams.ErrOut // it makes what it prints safe itself
	d.hostFlags.Warnings, d.hostFlags.Log = &d.messages, d.messages.Line
	return d
}

// options are what the flags of a command become: ready to run once they are valid.
type options interface {
	validate() error
	run(ctx context.Context) error
}

// runs is the RunE of a command: flags become options, which are validated and run.
func runs[O options](toOptions func(cmd *cobra.Command, args []string) (O, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		o, err := toOptions(cmd, args)
		if err != nil {
			return err
		}
		if err := o.validate(); err != nil {
			return err
		}
		return o.run(cmd.Context())
	}
}

// host connects to the host.
func (d *factory) host() (*host.Cluster, error) {
	h, err := d.hostFlags.Host()
	if err == nil {
		h.Commands, h.OtherHost = d.commands(), sync.OnceValue(d.hostFlags.CurrentHost)
	}
	return h, err
}

// members reads members from the host.
func (d *factory) members() (targets.Members, error) {
	h, err := d.host()
	return targets.Members{Cluster: h}, err
}

// commands renders the commands that messages propose, with the flags of this run.
func (d *factory) commands() command.Host {
	return command.Host{Plugin: d.name, Flags: typedFlags(d.flags), ContextAt: d.hostFlags.ContextAt}
}

// typedFlags are the flags that choose the host as they were typed. A token is not repeated: what is printed may be kept.
func typedFlags(hostFlags *pflag.FlagSet) []command.Flag {
	var typed []command.Flag
	hostFlags.VisitAll(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		switch list, isList := f.Value.(pflag.SliceValue); {
		case !f.Changed, f.Value.String() == "", f.Name == targets.FlagVerbosity: // an empty one is as good as none
			return
		case isList:
			values = list.GetSlice()
		case f.Name == "token":
			values = []string{"TOKEN"}
		case f.Value.Type() == "bool" && f.Value.String() == "true":
			typed = append(typed, command.Flag{Name: f.Name})
			return
		case f.Value.Type() == "bool":
			return
		}
		for _, value := range values {
			if value != "" {
				typed = append(typed, command.Flag{Name: f.Name, Value: value})
			}
		}
	})
	return typed
}

// completeFederations offers the host's federations.
func (d *factory) completeFederations(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return d.complete(func(h targets.Members) ([]string, error) {
		names, err := h.FederationNames(cmd.Context())
		return words(names), err
	})
}

// completeMembers offers the host's members.
func (d *factory) completeMembers(cmd *cobra.Command, typed []string, _ string) ([]string, cobra.ShellCompDirective) {
	return d.complete(func(h targets.Members) (names []string, err error) {
		members, err := h.Members(cmd.Context(), host.MemberQuery{})
		for i := range members {
			if !slices.Contains(typed, members[i].Name) {
				names = append(names, members[i].Name)
			}
		}
		return names, err
	})
}

// completeShown offers what a command shows: members, or federations where these are named first.
func (d *factory) completeShown(cmd *cobra.Command, typed []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if kind, _, err := targets.Arguments(typed); err == nil && kind == targets.Federation {
		return d.completeFederations(cmd, typed, toComplete)
	}
	return d.completeMembers(cmd, typed, toComplete)
}

func (d *factory) complete(read func(targets.Members) ([]string, error)) (names []string, _ cobra.ShellCompDirective) {
	h, err := d.members()
	if err == nil {
		names, err = read(h)
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	// What is no name is not put onto a command line.
	names = slices.DeleteFunc(names, func(name string) bool { return len(validation.IsDNS1123Label(name)) > 0 })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// addFederation adds --federation.
func (d *factory) addFederation(cmd *cobra.Command, federation *string, usage string) {
	cmd.Flags().StringVarP(federation, "federation", "F", "", usage)
	_ = cmd.RegisterFlagCompletionFunc("federation", d.completeFederations)
}

// addSelection adds the flags and arguments that choose members; usage is that of --federation.
func (d *factory) addSelection(cmd *cobra.Command, f *targets.SelectFlags, usage string) {
	d.addFederation(cmd, &f.Federation, usage)
	f.AddTo(cmd)
	cmd.ValidArgsFunction = d.completeMembers
}

// selected reads the chosen members, and reports when there are none.
func (d *factory) selected(ctx context.Context, names []string, f targets.SelectFlags) (h targets.Members, members []v1alpha1.MemberCluster, err error) {
	if h, err = d.members(); err != nil {
		return h, nil, err
	}
	members, err = h.Select(ctx, names, f.Query())
	if err == nil && len(members) == 0 {
		d.reportNoMembers()
	}
	return h, members, output.WhileReading(ctx, err)
}
