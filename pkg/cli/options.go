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
			lines := strings.Split("Every command takes these flags:\n\n"+cmd.Root().PersistentFlags().FlagUsages(), "\n")
			for i := range lines {
				lines[i] = hung(lines[i])
			}
			return output.Text(cmd.OutOrStdout(), strings.TrimRight(strings.Join(lines, "\n"), "\n"))
		},
	}
}
