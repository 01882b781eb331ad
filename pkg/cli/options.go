package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// newOptions is the command that lists the flags of all commands, as kubectl's own.
func newOptions() *cobra.Command {
	return &cobra.Command{
		Use:     "options",
		GroupID: groupOther,
		Short:   "List the flags that choose the host, which every command takes",
		Example: `  # List the flags that every command takes
  kubectl federate options`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := hang(cmd.Root().PersistentFlags().FlagUsages())
			return output.Text(cmd.OutOrStdout(), "Every command takes these flags:\n\n"+strings.TrimRight(flags, "\n"))
		},
	}
}
