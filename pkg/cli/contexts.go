package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // kubeconfigs whose user has auth-provider oidc, as kubectl takes them
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// tuned prepares a client configuration for a command line: no client-side rate limit (a command sends a
// bounded number of requests, and API servers have fairness of their own), and each warning of a server
// printed once.
func (d *factory) tuned(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.QPS = -1
	c.WarningHandlerWithContext = &d.warnings
	return c
}

// hostFlags are the standard kubectl flags, which choose the host. They are client-go's own:
// cli-runtime's ConfigFlags would bring the resource builder and every Kubernetes type along, which makes
// the plugin 35 MB larger.
type hostFlags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

func (f *hostFlags) add(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&f.kubeconfig, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	// The host's objects are cluster-scoped and our namespaces have fixed names.
	names.ContextOverrideFlags.Namespace.LongName = ""
	names.AuthOverrideFlags.Username.LongName = ""
	names.AuthOverrideFlags.Password.LongName = ""
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	clientcmd.BindOverrideFlags(&f.overrides, flags, names)
	_ = root.RegisterFlagCompletionFunc(clientcmd.FlagContext, completeContexts(&f.kubeconfig))
}

func (f *hostFlags) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
}

// host connects to the cluster that the standard kubectl flags choose.
func (d *factory) host() (*host.Cluster, error) {
	loader := d.hostFlags.loader()
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig for the host: %w", err)
	}
	_, inCluster := os.LookupEnv("KUBERNETES_SERVICE_HOST")
	if len(raw.Contexts) == 0 && d.hostFlags.overrides.ClusterInfo.Server == "" && !inCluster {
		return nil, usagef("no host cluster: there is no kubeconfig, or it is empty; name one with --kubeconfig or set KUBECONFIG")
	}
	if name := d.hostFlags.overrides.CurrentContext; name != "" {
		if err := knownContext("host", "--context", name, raw); err != nil {
			return nil, err
		}
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig for the host: %w", err)
	}
	return host.Connect(d.tuned(config))
}

// checkName refuses what cannot name a federation or a member.
func checkName(what, name string) error {
	if len(validation.IsDNS1123Label(name)) == 0 {
		return nil
	}
	return usagef("%s %q: a name is at most 63 lower-case letters, digits and '-', and starts and ends with a letter or digit", what, name)
}

// memberFlags name one member cluster. There is no default: a default joins the wrong cluster one day.
type memberFlags struct {
	context    string
	kubeconfig string
}

func (f *memberFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.context, "member-context", "", "The kubeconfig context of the member cluster")
	flags.StringVar(&f.kubeconfig, "member-kubeconfig", "",
		"The kubeconfig file that holds the member's context (default: as for the host)")
}

func (f *memberFlags) complete(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("member-context", completeContexts(&f.kubeconfig))
}

// given says whether a member was named at all.
func (f *memberFlags) given() bool { return f.context != "" || f.kubeconfig != "" }

// loader reads the kubeconfig files that hold members' contexts.
func (f *memberFlags) loader(d *factory, context string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if path := cmp.Or(f.kubeconfig, d.hostFlags.kubeconfig); path != "" {
		rules.ExplicitPath = path
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
}

// source is every context of the kubeconfig, or those that are named.
func (f *memberFlags) source(d *factory, names ...string) (discover.Source, error) {
	raw, err := f.loader(d, "").RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig for the members: %w", err)
	}
	chosen := raw
	if len(names) > 0 {
		chosen.Contexts = map[string]*clientcmdapi.Context{}
		for _, name := range names {
			if err := knownContext("member", "--member-contexts", name, raw); err != nil {
				return nil, err
			}
			chosen.Contexts[name] = raw.Contexts[name]
		}
	}
	return discover.Kubeconfig{Config: chosen, Connect: func(context string) (*member.Cluster, error) {
		// The files were read above, once for all contexts.
		overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
		return connectMember(d, clientcmd.NewNonInteractiveClientConfig(raw, context, overrides, nil), context)
	}}, nil
}

// connect opens the member that the flags name.
func (f *memberFlags) connect(d *factory) (*member.Cluster, error) {
	if f.context == "" {
		return nil, usagef("the member cluster is never guessed: name it with --member-context")
	}
	return connectMember(d, f.loader(d, f.context), f.context)
}

func connectMember(d *factory, loader clientcmd.ClientConfig, name string) (*member.Cluster, error) {
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig for the member: %w", err)
	}
	if err := knownContext("member", "--member-context", name, raw); err != nil {
		return nil, err
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read context %q for the member: %w", name, err)
	}
	return member.Connect(d.tuned(config))
}

func knownContext(side, flag, name string, raw clientcmdapi.Config) error {
	if _, ok := raw.Contexts[name]; ok {
		return nil
	}
	known := "the kubeconfig has no contexts"
	if names := slices.Sorted(maps.Keys(raw.Contexts)); len(names) > 0 {
		const most = 10
		more := ""
		if len(names) > most {
			more = fmt.Sprintf(" and %d more", len(names)-most)
			names = names[:most]
		}
		known = "it has " + strings.Join(names, ", ") + more
	}
	return usagef("the kubeconfig has no context %q for the %s (%s); choose one with %s", name, side, known, flag)
}

// completeContexts offers the contexts of the kubeconfig at *path, or of the default ones.
func completeContexts(path *string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = *path
		raw, err := rules.Load()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return slices.Sorted(maps.Keys(raw.Contexts)), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFederations offers the host's federations.
func completeFederations(d *factory) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		h, err := d.host()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		federations, err := h.Federations(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, f := range federations {
			names = append(names, f.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeMembers offers the host's members.
func completeMembers(d *factory) cobra.CompletionFunc {
	return func(cmd *cobra.Command, typed []string, _ string) ([]string, cobra.ShellCompDirective) {
		names, err := memberNames(cmd.Context(), d)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(typed, n) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func memberNames(ctx context.Context, d *factory) ([]string, error) {
	h, err := d.host()
	if err != nil {
		return nil, err
	}
	members, err := h.Members(ctx, host.MemberQuery{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range members {
		names = append(names, members[i].Name)
	}
	return names, nil
}

// federationFlag is --federation, by its typed name.
type federationFlag struct{ name string }

func (f *federationFlag) add(cmd *cobra.Command, d *factory, usage string) {
	cmd.Flags().StringVarP(&f.name, "federation", "F", "", usage)
	_ = cmd.RegisterFlagCompletionFunc("federation", completeFederations(d))
}

func (f *federationFlag) value() v1alpha1.FederationName { return v1alpha1.FederationName(f.name) }
