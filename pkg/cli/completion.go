package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

func newCompletion(d *factory) *cobra.Command {
	return &cobra.Command{
		Use:     "completion [SHELL]",
		GroupID: groupOther,
		Short:   "Print the script that completes kubectl federate in a shell",
		Long: `Print the script that completes kubectl federate in a shell.

kubectl asks an executable called kubectl_complete-federate on PATH for what can follow. Save the script
under that name; kubectl's own completion (kubectl completion --help) does the rest, in every shell, so the
script is the same for each.`,
		Example: `  # Complete kubectl federate
  kubectl federate completion > /usr/local/bin/kubectl_complete-federate
  chmod +x /usr/local/bin/kubectl_complete-federate`,
		Args:      shellArgument,
		ValidArgs: shells,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				output.Linef(d.ErrOut, completionNote, args[0])
			}
			return output.Text(d.Out, fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", d.name, cobra.ShellCompRequestCmd))
		},
	}
}

// shells are those whose completion kubectl knows.
var shells = []string{"bash", "fish", "powershell", "zsh"}

// shellArgument takes the name of a shell, as kubectl completion does.
func shellArgument(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || len(args) == 1 && slices.Contains(shells, args[0]) {
		return nil
	}
	return output.UsageError{Err: fmt.Errorf("invalid shell %q: must be %s", strings.Join(args, " "), strings.Join(shells, ", ")), Command: cmd.CommandPath()}
}

// completionNote says what to do with the script: it is not to be sourced, as kubectl's own is.
const completionNote = "save this as an executable kubectl_complete-federate on PATH, and do not source it; it needs kubectl's own completion: kubectl completion %s --help"
