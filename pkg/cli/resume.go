package cli

import "github.com/spf13/cobra"

const resumeExample = `  # Put a cluster back into service
  kubectl federate resume us-east

  # Every member of a federation
  kubectl federate resume --federation prod`

func newResume(d *factory) *cobra.Command {
	f := newDecideFlags(resumption)
	cmd := &cobra.Command{
		Use:     "resume NAME...",
		GroupID: groupMembers,
		Short:   "Publish suspended members again",
		Example: resumeExample,
		RunE: runs(func(_ *cobra.Command, args []string) (*decideOptions, error) {
			return f.toOptions(d, args)
		}),
	}
	f.addTo(cmd, d)
	return cmd
}
