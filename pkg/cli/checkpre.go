package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// installFlags are the flags of init that decide what is installed, which check --pre takes as well.
var installFlags = []string{"certificates", "webhook-url", "discovery"}

// addPre adds --pre and the flags that it takes.
func (f *checkFlags) addPre(cmd *cobra.Command) {
	flags, m := cmd.Flags(), &f.install
	flags.BoolVar(&f.pre, "pre", false, "Check whether init can make the cluster a host, before anything is installed")
	flags.StringVar((*string)(&m.Certificates), "certificates", string(manifests.CertificatesManager), "With --pre, as init takes it: manager, cert-manager")
	complete(cmd, "certificates", string(manifests.CertificatesManager), string(manifests.CertificatesCertManager))
	flags.StringVar(&m.WebhookURL, "webhook-url", "", "With --pre, as init takes it: the URL of a manager outside the cluster")
	flags.BoolVar(&m.Discovery, "discovery", false, "With --pre, as init takes it: with the discovery controller")
}

func (o *checkOptions) validatePre() error {
	switch {
	case !o.pre && o.installFlag != "":
		return output.Usagef("--%s is for --pre, which checks a cluster before init", o.installFlag)
	case !o.pre:
		return nil
	case len(o.names) > 0 || o.selection.Given() || o.allContexts || len(o.named) > 0:
		return output.Usagef("--pre checks the host alone, before there are members; name no members and no contexts of theirs")
	}
	return validateInstall(o.install)
}

// validateInstall refuses what cannot be installed.
func validateInstall(m manifests.Options) error {
	if err := output.OneOf("certificates", string(m.Certificates), string(manifests.CertificatesManager), string(manifests.CertificatesCertManager)); err != nil {
		return err
	}
	if m.WebhookURL == "" {
		return nil
	}
	if m.Certificates == manifests.CertificatesCertManager {
		return output.Usagef("--certificates=%s mounts a Secret into the manager's pods, and with --webhook-url there are none", m.Certificates)
	}
	if faults := endpoint.ValidateServer(nil, m.WebhookURL); len(faults) > 0 {
		return output.Usagef("invalid --webhook-url %q: %s", m.WebhookURL, faults[0].Detail)
	}
	return nil
}

// runPre checks a cluster before init.
func (o *checkOptions) runPre(ctx context.Context) error {
	h, err := o.host()
	if err != nil {
		return err
	}
	o.install.Version = version.Version
	progress := o.messages.Progress("checking whether the cluster can become a host")
	before, err := install.ReadBefore(ctx, h, o.install)
	progress.End()
	if err != nil {
		return &output.Exit{Code: output.ExitFailed, Err: output.WhileReading(ctx, err)}
	}
	facts := check.BeforeFacts{Before: before, Commands: h.Commands, Plugin: version.Version, Server: h.Server(), Options: o.install}
	findings := check.JudgeBefore(facts)
	if err := o.print(findings, check.AreasBefore(facts, findings)); err != nil {
		return err
	}
	summary, errs := summed(findings)
	switch {
	case errs > 0:
		return &output.Exit{Code: output.ExitRefused, Err: fmt.Errorf("%s; nothing was changed", summary)}
	case before.Installed != "":
		output.Line(o.ErrOut, summary)
	default:
		output.Line(o.ErrOut, o.commands().To(summary+"; to install, run", check.InitFor(o.install)))
	}
	return nil
}
