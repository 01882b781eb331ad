package cli

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// versions is what `version -o json` prints.
type versions struct {
	output.TypeMeta
	Client clientVersion `json:"clientVersion"`
	Host   *hostVersion  `json:"hostVersion,omitempty"`
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

// versionFlags are what was typed.
type versionFlags struct {
	*factory
	clientOnly bool
	output     output.Format
}

func newVersion(d *factory) *cobra.Command {
	f := &versionFlags{factory: d, output: output.Format{Formats: []string{"json", "yaml"}}}
	cmd := &cobra.Command{
		Use:     "version",
		GroupID: groupOther,
		Short:   "Print the versions of the plugin and of what the host has installed",
		Example: `  # Print both versions
  kubectl federate version

  # Print the plugin's version, and ask no cluster
  kubectl federate version --client`,
		Args: noArguments,
		RunE: runs(f.toOptions),
	}
	cmd.Flags().BoolVar(&f.clientOnly, "client", false, "Print the plugin's version only; ask no cluster")
	f.output.AddTo(cmd)
	return cmd
}

// versionOptions are ready to run.
type versionOptions struct{ versionFlags }

func (f *versionFlags) toOptions(*cobra.Command, []string) (*versionOptions, error) {
	return &versionOptions{*f}, nil
}

func (o *versionOptions) validate() error { return o.output.Validate() }

func (o *versionOptions) run(ctx context.Context) error {
	client := clientVersion{Version: version.Version, GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	v := versions{TypeMeta: output.Kind("Versions"), Client: client}
	var failed error
	if !o.clientOnly {
		v.Host, failed = o.hostVersion(ctx)
	}
	if err := o.print(&v); err != nil {
		return err
	}
	return failed
}

func (o *versionOptions) hostVersion(ctx context.Context) (*hostVersion, error) {
	h, err := o.host()
	if err != nil {
		return nil, err
	}
	installed, err := install.Version(ctx, h)
	if err != nil {
		return nil, err
	}
	return &hostVersion{Version: installed}, nil
}

func (o *versionOptions) print(v *versions) error {
	if o.output.Data() {
		return o.output.Print(o.Out, v)
	}
	output.Linef(o.Out, "Client Version: %s", v.Client.Version)
	if v.Host == nil {
		return nil
	}
	installation := o.commands().Line(command.Init{})
	if v.Host.Version == "" {
		output.Linef(o.Out, "Host Version: none installed (%s installs it)", installation)
		return nil
	}
	output.Linef(o.Out, "Host Version: %s", v.Host.Version)
	if v.Host.Version != v.Client.Version {
		output.Linef(o.ErrOut, "warning: the plugin is %s and the host has %s; %s brings the host to the plugin's version",
			v.Client.Version, v.Host.Version, installation)
	}
	return nil
}
