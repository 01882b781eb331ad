package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

func newCompletion(d *factory) *cobra.Command {
	return &cobra.Command{
		Use:     "completion",
		GroupID: groupOther,
		Short:   "Print the script that completes kubectl federate in a shell",
		Long: `Print the script that completes kubectl federate in a shell.

kubectl asks an executable called kubectl_complete-federate on PATH for what can follow. Save the script
under that name; kubectl's own completion (kubectl completion --help) does the rest, in every shell.`,
		Example: `  # Complete kubectl federate
  kubectl federate completion > /usr/local/bin/kubectl_complete-federate
  chmod +x /usr/local/bin/kubectl_complete-federate`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			return output.Text(d.Out, fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", d.name, cobra.ShellCompRequestCmd))
		},
	}
}
