package cli

import "github.com/spf13/cobra"

const suspendHelp = `Keep members registered, but hide them from consumers.

A suspended member keeps its credential and its place among the limits; consumers no longer find it. What runs
on it keeps running. 'kubectl federate resume' ends the suspension.`

const suspendExample = `  # Take a cluster out of service for a while
  kubectl federate suspend us-east

  # All of a region
  kubectl federate suspend -l topology.kubernetes.io/region=us-east-1 --dry-run=server`

func newSuspend(d *factory) *cobra.Command {
	f := newDecideFlags(suspension)
	cmd := &cobra.Command{
		Use:     "suspend NAME...",
		GroupID: groupMembers,
		Short:   "Keep members registered, but hide them from consumers",
		Long:    suspendHelp,
		Example: suspendExample,
		RunE: runs(func(_ *cobra.Command, args []string) (*decideOptions, error) {
			return f.toOptions(d, args)
		}),
	}
	f.addTo(cmd, d)
	return cmd
}
