package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// synonyms are what commands of other tools are called here.
var synonyms = map[string][]string{
	"list": {"get"}, "ls": {"get"}, "members": {"get"}, "clusters": {"get"}, "show": {"describe"}, "status": {"get", "check"},
	"doctor": {"check"}, "health": {"check"}, "verify": {"check"}, "validate": {"lint"},
	"install": {"init"}, "upgrade": {"init"}, "update": {"init"}, "setup": {"init"}, "uninstall": {"deinit"},
	"add": {"join"}, "register": {"join"}, "leave": {"unjoin"}, "unregister": {"unjoin"}, "accept": {"approve"}, "renew": {"rotate"},
	"pause": {"suspend"}, "cordon": {"suspend"}, "unpause": {"resume"}, "uncordon": {"resume"}, "ungrant": {"revoke"},
	"rename": {"unjoin", "join"}, "wait": {"get"}, "events": {"describe"}, "logs": {"check"}, "log": {"check"},
}

// knownCommand refuses words that are not commands, and names what may be meant.
func (d *factory) knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	switch near := meant(cmd, args[0]); {
	case len(near) > 0:
		err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	case !cmd.HasParent():
		if text := d.byKubectl(args); text != "" {
			err = fmt.Errorf("%w; %s", err, text)
		}
	}
	return output.UsageError{Err: err, Command: cmd.CommandPath()}
}

// meant are the commands, quoted, that a word may stand for.
func meant(cmd *cobra.Command, word string) (quoted []string) {
	names := cmd.SuggestionsFor(word)
	names = names[:min(len(names), 1)]
	switch others := synonyms[strings.ToLower(word)]; {
	case cmd.HasParent(): // create
	case len(others) > 0:
		names = others
	case slices.Contains(deletions, word), word == "edit":
		names = nil
	}
	for _, name := range names {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	return quoted
}

// deletions are words for what kubectl, and unjoin, do.
var deletions = []string{"delete", "remove", "rm"}

// byKubectl says how to do what kubectl does, and the plugin in other words; empty for anything else.
func (d *factory) byKubectl(args []string) string {
	kind, name := targets.Member, ""
	if found, names, err := targets.Arguments(args[1:]); err == nil {
		if kind = found; len(names) == 1 {
			name = names[0]
		}
	}
	federation := host.FederationRef(v1alpha1.FederationName(name)).Object()
	switch {
	case slices.Contains(deletions, args[0]) && kind == targets.Federation:
		return d.commands().To("to delete a federation without members, run", command.KubectlDelete{Object: federation})
	case slices.Contains(deletions, args[0]):
		return d.commands().To("to let a member leave, run", command.Unjoin{Member: v1alpha1.MemberName(name)})
	case args[0] == "edit" && kind == targets.Federation:
		return d.commands().To("to change a federation, run", command.KubectlEdit{Object: federation})
	case args[0] == "edit":
		member := host.MemberRef(v1alpha1.MemberName(name)).Object()
		return d.commands().To("to change a member, run", command.KubectlEdit{Object: member}) + "; " +
			d.commands().To("to change a federation, run", command.KubectlEdit{Object: host.FederationRef("").Object()})
	}
	return ""
}

// flagError is the error of a flag as a person who typed it understands it. Of an unknown command the flags are unknown as well.
func (d *factory) flagError(cmd *cobra.Command, err error) error {
	if typed := cmd.Flags().Args(); !cmd.HasParent() && len(typed) > 0 {
		return d.knownCommand(cmd, typed)
	}
	invalid, isInvalid := errors.AsType[*pflag.InvalidValueError](err)
	unknown, isUnknown := errors.AsType[*pflag.NotExistError](err)
	switch {
	case isInvalid:
		err = fmt.Errorf("invalid --%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), whyInvalid(invalid))
	case isUnknown && len(unknown.GetSpecifiedName()) > 1:
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near, ok := rules.Nearest(unknown.GetSpecifiedName(), names); ok {
			err = fmt.Errorf("%w; did you mean --%s?", err, near)
		}
	}
	return output.UsageError{Err: err, Command: cmd.CommandPath()}
}
