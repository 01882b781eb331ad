package cli

import (
	"github.com/spf13/cobra"
)

const approveHelp = `Accept members of a federation whose acceptance is Manual.

A cluster that joins such a federation is Pending until it is approved, and is not published to consumers. To
approve takes the verb approve on the federation, and no right to join clusters. A federation with acceptance
Automatic needs no approval. A cluster that leaves and joins again must be approved again.`

const approveExample = `  # See who is waiting, and accept one
  kubectl federate get --federation prod
  kubectl federate approve us-east

  # Accept everything that is waiting in a region
  kubectl federate approve --federation prod -l topology.kubernetes.io/region=us-east-1

  # Revoke the approval: the member is Pending again
  kubectl federate approve us-east --revoke`

func newApprove(d *factory) *cobra.Command {
	f := newDecideFlags(approval)
	revoke := false
	cmd := &cobra.Command{
		Use:     "approve NAME...",
		GroupID: groupMembers,
		Short:   "Accept members of a federation whose acceptance is Manual",
		Long:    approveHelp,
		Example: approveExample,
		RunE: runs(func(_ *cobra.Command, args []string) (*decideOptions, error) {
			if revoke {
				f.decision = revocation
			}
			return f.toOptions(d, args)
		}),
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "Revoke the approval")
	f.addTo(cmd, d)
	return cmd
}
