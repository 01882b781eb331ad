package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const kubeconfigHelp = `Print a kubeconfig with one context for each member, named FEDERATION/MEMBER.

It holds no token, password or key: kubectl, and every other client, gets the credential from the command
"kubectl-federate credential", which reads it where it is kept. It has no current context, unless it has one context
alone. With --merge the contexts are added to your own kubeconfig in place of being printed; its current context and
everything else in it stay. A context of such a name that this command did not make is refused.

` + userHelp + `

A member that is reached in none of these ways is one line on stderr, and the exit code is 3.`

const kubeconfigExample = `  # A file for all members of prod
  kubectl federate kubeconfig --federation prod > prod.yaml

  # Contexts prod/us-east and so on in your own kubeconfig
  kubectl federate kubeconfig --federation prod --merge

  # One member, and as whom it is reached
  kubectl federate kubeconfig us-east -v 1

  # Members that share users with the host, as an ID provider has it
  kubectl federate kubeconfig -l topology.kubernetes.io/region=us-east-1 --user-from-context sso`

// kubeconfigFlags are what was typed.
type kubeconfigFlags struct {
	useFlags
	selection targets.SelectFlags
	merge     bool
}

func newKubeconfig(d *factory) *cobra.Command {
	f := &kubeconfigFlags{useFlags: newUseFlags(d)}
	cmd := &cobra.Command{
		Use:     "kubeconfig [NAME... | -l SELECTOR | --federation FEDERATION]",
		GroupID: groupMembers,
		Short:   "Print a kubeconfig with a context for each member",
		Long:    kubeconfigHelp,
		Example: kubeconfigExample,
		RunE:    runs(f.toOptions),
	}
	d.addSelection(cmd, &f.selection, "Only members of this federation")
	f.addTo(cmd)
	cmd.Flags().BoolVar(&f.merge, "merge", false, "Add the contexts to your own kubeconfig in place of printing them")
	return cmd
}

// kubeconfigOptions are ready to run.
type kubeconfigOptions struct {
	kubeconfigFlags
	names []string
}

func (f *kubeconfigFlags) toOptions(_ *cobra.Command, args []string) (*kubeconfigOptions, error) {
	names, err := targets.Names(args)
	return &kubeconfigOptions{*f, names}, err
}

func (o *kubeconfigOptions) validate() error {
	if len(o.names) > 0 && o.selection.Given() {
		return output.Usagef("give names of members, or use --selector and --federation, but not both")
	}
	return o.probe.Validate()
}

func (o *kubeconfigOptions) run(ctx context.Context) error {
	from, err := o.execHost()
	if err != nil {
		return err
	}
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	found, err := o.memberUsers(ctx, h, members)
	if err != nil {
		return err
	}
	progress := o.messages.Progress("looking for contexts of " + output.Count(len(members), "member", "members"))
	who := make([]*memberUser, len(members))
	bounds := targets.Batch{Parallel: reachParallel}
	errs := bounds.Run(ctx, len(members), func(ctx context.Context, i int) (err error) {
		if who[i], err = found.of(ctx, i); err != nil {
			return err
		}
		ctx, cancel := targets.WithTimeout(ctx, o.probe.Timeout)
		defer cancel()
		c, err := o.connect(ctx, &members[i], who[i], who[i].config)
		if err == nil {
			c.CloseIdle()
		}
		return err
	}, nil)
	progress.End()
	config := clientcmdv1.Config{APIVersion: clientcmdv1.SchemeGroupVersion.Version, Kind: "Config"}
	for i := range members {
		if errs[i] == nil {
			o.reportUser(&members[i], who[i])
			errs[i] = o.add(&config, &members[i], who[i], from)
		}
		if errs[i] != nil {
			output.Line(o.ErrOut, output.Reason(about(&members[i], errs[i])))
		}
	}
	failed := useSummary(ctx, errs, "there is no context for")
	if len(config.Contexts) == 0 {
		return failed
	}
	if o.merge {
		err = o.mergeInto(&config)
	} else {
		if len(config.Contexts) == 1 {
			config.CurrentContext = config.Contexts[0].Name
		}
		err = (&output.Format{Value: "yaml"}).Print(o.Out, config)
	}
	return cmp.Or(err, failed)
}

// contextName is the context of a member. Names of federations and members have no '/'.
func contextName(m *v1alpha1.MemberCluster) string { return string(m.Federation()) + "/" + m.Name }

// add adds the context of a member.
func (o *kubeconfigOptions) add(config *clientcmdv1.Config, m *v1alpha1.MemberCluster, who *memberUser, from *execHost) error {
	at, err := endpointOf(who)
	if err != nil {
		return err
	}
	for _, address := range []string{at.Server, at.ProxyURL} {
		if u, err := url.Parse(address); err != nil || u.User != nil {
			return errors.New("its URL, or that of its proxy, holds a password, which is not written into a kubeconfig")
		}
	}
	user := clientcmdv1.AuthInfo{
		Impersonate: who.config.Impersonate.UserName, ImpersonateUID: who.config.Impersonate.UID,
		ImpersonateGroups: who.config.Impersonate.Groups, ImpersonateUserExtra: who.config.Impersonate.Extra,
	}
	if !anonymous(who.config) {
		if user.Exec, err = o.exec(m, who, from); err != nil {
			return err
		}
	}
	name := contextName(m)
	config.Clusters = append(config.Clusters, clientcmdv1.NamedCluster{Name: name, Cluster: clientcmdv1.Cluster{
		Server: at.Server, CertificateAuthorityData: at.CABundle, TLSServerName: at.TLSServerName, ProxyURL: at.ProxyURL, InsecureSkipTLSVerify: at.InsecureSkipTLSVerify,
	}})
	config.AuthInfos = append(config.AuthInfos, clientcmdv1.NamedAuthInfo{Name: name, AuthInfo: user})
	config.Contexts = append(config.Contexts, clientcmdv1.NamedContext{Name: name, Context: clientcmdv1.Context{Cluster: name, AuthInfo: name}})
	return nil
}

// anonymous says whether requests carry no credential, as where a proxy on this machine adds it.
func anonymous(c *rest.Config) bool {
	return c.BearerToken == "" && c.BearerTokenFile == "" && len(c.CertData) == 0 && c.CertFile == "" && c.Username == "" && c.ExecProvider == nil && c.AuthProvider == nil
}

// endpointOf is where a member is reached, with the content of files in place of their names.
func endpointOf(who *memberUser) (endpoint.Endpoint, error) {
	c, err := member.Connect(who.config)
	if err != nil {
		return endpoint.Endpoint{}, err
	}
	return c.Endpoint(), nil
}

// exec is how clients get the credential of a member.
func (o *kubeconfigOptions) exec(m *v1alpha1.MemberCluster, who *memberUser, from *execHost) (*clientcmdv1.ExecConfig, error) {
	args := []string{targets.CredentialCommand, m.Name}
	if who.context != "" {
		args = append(args, "--member-context="+who.context)
	}
	if who.user != "" {
		args = append(args, "--user-from-context="+who.user)
	}
	if o.member.Kubeconfig != "" {
		path, err := filepath.Abs(o.member.Kubeconfig)
		if err != nil {
			return nil, err
		}
		args = append(args, "--member-kubeconfig="+path)
	}
	made := &clientcmdv1.ExecConfig{
		APIVersion:         clientauthenticationv1.SchemeGroupVersion.String(),
		Command:            from.program,
		Args:               append(args, from.flags...),
		InstallHint:        targets.InstallHint,
		ProvideClusterInfo: true,
		InteractiveMode:    clientcmdv1.NeverExecInteractiveMode,
	}
	if from.files != "" {
		made.Env = []clientcmdv1.ExecEnvVar{{Name: clientcmd.RecommendedConfigPathEnvVar, Value: from.files}}
	}
	return made, nil
}

// execHost is how `credential` is called from any folder and with any current context, as this command was called.
type execHost struct {
	program string
	// flags choose the host, and files are the kubeconfigs, as KUBECONFIG has them.
	flags []string
	files string
}

// pathFlags are the flags of the host whose values are files.
var pathFlags = []string{clientcmd.FlagCAFile, clientcmd.FlagCertFile, clientcmd.FlagKeyFile}

func (f *useFlags) execHost() (*execHost, error) {
	program := targets.PluginFile
	if _, err := exec.LookPath(program); err != nil {
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	from := &execHost{program: program}
	files, err := f.hostFlags.Files()
	if err != nil {
		return nil, err
	}
	from.files = strings.Join(files, string(os.PathListSeparator))
	named := false
	for _, flag := range typedFlags(f.flags) {
		switch {
		case flag.Name == clientcmd.RecommendedConfigPathFlag:
			continue
		case flag.Name == clientcmd.FlagBearerToken:
			return nil, output.Usagef("--token is not written into a kubeconfig: name the host by a context whose user has it")
		case slices.Contains(pathFlags, flag.Name):
			if flag.Value, err = filepath.Abs(flag.Value); err != nil {
				return nil, err
			}
		}
		named = named || flag.Name == clientcmd.FlagContext
		text := "--" + flag.Name
		if flag.Value != "" {
			text += "=" + flag.Value
		}
		from.flags = append(from.flags, text)
	}
	if named {
		return from, nil
	}
	current, err := f.hostFlags.Current()
	if current != "" {
		from.flags = append(from.flags, "--"+clientcmd.FlagContext+"="+current)
	}
	return from, err
}

// mergeTimeout is how long another process may hold the lock of the file.
const mergeTimeout = 3 * time.Second

// mergeInto adds contexts to the kubeconfig of the caller.
func (o *kubeconfigOptions) mergeInto(config *clientcmdv1.Config) error {
	path := o.hostFlags.Writable()
	for _, c := range config.Contexts {
		origin, err := o.hostFlags.OriginOf(c.Name)
		if err != nil {
			return err
		}
		if origin != "" && !sameFile(origin, path) {
			return output.Usagef("context %q is in %q, and this command would write it into %q: name that file with --kubeconfig", c.Name, origin, path)
		}
	}
	var changes []contextChange
	err := rewrite(path, mergeTimeout, func(old []byte) (merged []byte, err error) {
		merged, changes, err = mergeKubeconfig(old, config)
		return merged, err
	})
	if foreign, ok := errors.AsType[*foreignContext](err); ok {
		foreign.file, foreign.remedy = path, o.commands()
	}
	if err != nil {
		return fmt.Errorf("%q was not changed: %w", path, err)
	}
	for _, c := range changes {
		output.Linef(o.Out, "Context %q %s.", c.name, c.done)
	}
	return nil
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
