package cli

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// versions is what `version -o json` prints.
type versions struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Client     clientVersion `json:"clientVersion"`
	Host       *hostVersion  `json:"hostVersion,omitempty"`
}

type clientVersion struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

type hostVersion struct {
	// Version that is installed; empty when nothing is.
	Version string `json:"version"`
}

// outputKind stamps every -o json|yaml object that is not one of the host's own.
const outputAPIVersion = "output.kubefederate.io/v1alpha1"

func newVersion(d *factory) *cobra.Command {
	var clientOnly bool
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		GroupID: groupOther,
		Short:   "Print the versions of the plugin and of what the host has installed",
		Example: `  # Print both versions
  kubectl federate version

  # Print the plugin's version, and ask no cluster
  kubectl federate version --client`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runVersion(cmd.Context(), d, clientOnly, output)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "Print the plugin's version only; ask no cluster")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output format: json, yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runVersion(ctx context.Context, d *factory, clientOnly bool, output string) error {
	v := versions{
		APIVersion: outputAPIVersion,
		Kind:       "Versions",
		Client: clientVersion{
			Version:   version.Version,
			GoVersion: runtime.Version(),
			Platform:  runtime.GOOS + "/" + runtime.GOARCH,
		},
	}
	if output != "" && output != "json" && output != "yaml" {
		return usagef("-o %s is unknown: it is json or yaml", output)
	}
	var failed error
	if !clientOnly {
		v.Host, failed = readHostVersion(ctx, d)
	}
	if err := v.print(d, output); err != nil {
		return err
	}
	return failed
}

func readHostVersion(ctx context.Context, d *factory) (*hostVersion, error) {
	h, err := d.host()
	if err != nil {
		return nil, err
	}
	installed, err := install.Version(ctx, h)
	if err != nil {
		return nil, err
	}
	return &hostVersion{Version: installed}, nil
}

func (v *versions) print(d *factory, output string) error {
	if output != "" {
		return printData(d.Out, output, v)
	}
	fmt.Fprintf(d.Out, "Client Version: %s\n", v.Client.Version)
	if v.Host == nil {
		return nil
	}
	if v.Host.Version == "" {
		_, err := fmt.Fprintf(d.Out, "Host Version: none installed (%s init installs it)\n", d.name)
		return err
	}
	fmt.Fprintf(d.Out, "Host Version: %s\n", v.Host.Version)
	if v.Host.Version != v.Client.Version {
		fmt.Fprintf(d.ErrOut, "warning: the plugin is %s and the host has %s; %s init brings the host to the plugin's version\n",
			v.Client.Version, v.Host.Version, d.name)
	}
	return nil
}
