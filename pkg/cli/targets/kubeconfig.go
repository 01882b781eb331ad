package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // kubeconfigs whose user has auth-provider oidc, as kubectl takes them
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// HostFlags are the standard kubectl flags, which choose the host. They are client-go's own: cli-runtime's ConfigFlags
// would bring the resource builder and every Kubernetes type along, which makes the plugin 35 MB larger.
type HostFlags struct {
	Kubeconfig string
	overrides  clientcmd.ConfigOverrides
	// Warnings gets the warnings of every API server.
	Warnings rest.WarningHandlerWithContext
	// Verbosity is -v: what is printed beside the warnings. Log prints a line of it.
	Verbosity int
	Log       func(line string)

	loader clientcmd.ClientConfig
	// contexts are those that ContextAt knows; nil before it is called.
	once     sync.Once
	contexts map[string][]string
}

// AddTo adds the flags to the root command.
func (f *HostFlags) AddTo(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&f.Kubeconfig, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	// The host's objects are cluster-scoped, and the namespaces of kubectl federate have fixed names.
	names.ContextOverrideFlags.Namespace.LongName = ""
	names.AuthOverrideFlags.Username.LongName = ""
	names.AuthOverrideFlags.Password.LongName = ""
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	names.Timeout.Default = ""
	names.Timeout.Description = "How long one request to the host or a member may take, with the login for it; 0 is no limit. By default the host has 20s " +
		"for each request, and a member what is left of --timeout"
	clientcmd.BindOverrideFlags(&f.overrides, flags, names)
	flags.IntVarP(&f.Verbosity, FlagVerbosity, "v", 0, "What is printed on stderr as well: from 1 as whom kubeconfig, each and find reach each member; "+
		"from 6, as in kubectl, each request with its code and its time, without headers and bodies")
	timeout := flags.Lookup(clientcmd.FlagTimeout)
	timeout.Value = requestTimeoutValue{timeout.Value}
	_ = root.RegisterFlagCompletionFunc(clientcmd.FlagContext, completeContexts(&f.Kubeconfig))
}

// FlagVerbosity is the flag among those of the host that chooses no host, and logRequests is from which value of it on requests are
// printed: kubectl's.
const (
	FlagVerbosity = "v"
	logRequests   = 6
)

// config loads the files that choose the host, once.
func (f *HostFlags) config() clientcmd.ClientConfig {
	if f.loader == nil {
		f.loader = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loadingRules(f.Kubeconfig), &f.overrides)
	}
	return f.loader
}

func loadingRules(path string) *clientcmd.ClientConfigLoadingRules {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	return rules
}

// Tune prepares a client configuration for a command line: no client-side rate limit (a command sends a bounded number
// of requests, and API servers have fairness of their own), and each warning of a server printed once.
func (f *HostFlags) Tune(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.QPS = -1
	c.WarningHandlerWithContext = f.Warnings
	c.Timeout = f.requestTimeout()
	if f.Verbosity >= logRequests {
		c.Wrap(cluster.LogRequests(f.Log))
	}
	return c
}

// noTimeout is --request-timeout 0: a request takes as long as it takes.
const noTimeout = math.MaxInt64

// requestTimeout is --request-timeout, of every request to host and members; 0 where it was not typed. A login is part of a
// request, as in kubectl.
func (f *HostFlags) requestTimeout() time.Duration {
	if f.overrides.Timeout == "" {
		return 0
	}
	timeout, err := clientcmd.ParseTimeout(f.overrides.Timeout)
	if err == nil && timeout == 0 {
		return noTimeout
	}
	return timeout // what cannot be parsed is an error when the host is opened
}

// requestTimeoutValue is --request-timeout, which client-go takes for good when it is negative.
type requestTimeoutValue struct{ pflag.Value }

func (v requestTimeoutValue) Set(typed string) error {
	if d, err := text.ParseDuration(typed); err == nil {
		typed = d.String() // client-go knows no days
	}
	if timeout, err := clientcmd.ParseTimeout(typed); err != nil || timeout < 0 {
		return errors.New("must be a time such as 30s or 2m, or a number of seconds; 0 is no limit")
	}
	return v.Value.Set(typed)
}

// Host connects to the cluster that the flags choose.
func (f *HostFlags) Host() (*host.Cluster, error) {
	raw, err := f.config().RawConfig()
	if err != nil {
		return nil, unreadable("the host", f.Kubeconfig, err)
	}
	if err := f.usable(raw); err != nil {
		return nil, err
	}
	config, err := f.config().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig for the host: %w", err)
	}
	return host.Connect(f.Tune(config))
}

// currentTimeout is how long it is tried whether the current context leads to a host.
const currentTimeout = 3 * time.Second

// CurrentHost is the current context of the kubeconfig, where another one was named and this one leads to a host; empty otherwise.
func (f *HostFlags) CurrentHost() string {
	raw, err := f.config().RawConfig()
	if err != nil || f.overrides.CurrentContext == "" || raw.Contexts[raw.CurrentContext] == nil || raw.CurrentContext == f.overrides.CurrentContext {
		return ""
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(raw, raw.CurrentContext, nil, nil).ClientConfig()
	if err != nil {
		return ""
	}
	config = f.Tune(config)
	config.Timeout = currentTimeout
	h, err := host.Connect(config)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), currentTimeout)
	defer cancel()
	var group metav1.APIGroup
	if h.GetPath(ctx, "/apis/"+v1alpha1.GroupVersion.Group, &group) != nil {
		return ""
	}
	return raw.CurrentContext
}

// usable refuses a kubeconfig that does not lead to a host. In a pod where nothing names a context, the host is the pod's
// own cluster, as it is for kubectl.
func (f *HostFlags) usable(raw clientcmdapi.Config) error {
	_, inCluster := os.LookupEnv("KUBERNETES_SERVICE_HOST")
	inCluster = inCluster && f.Kubeconfig == ""
	name := cmp.Or(f.overrides.CurrentContext, raw.CurrentContext)
	entry := raw.Contexts[name]
	switch {
	case name != "" && entry == nil && (f.overrides.CurrentContext != "" || len(raw.Contexts) > 0 && !f.namesCluster()):
		return known("host", "--context", name, raw)
	case name == "" && len(raw.Contexts) > 0 && !inCluster && !f.namesCluster():
		return output.Usagef("the kubeconfig has no current context, which would be the host (%s); choose one with --context", contextsOf(raw))
	case len(raw.Contexts) == 0 && !inCluster && !f.namesCluster():
		return output.Usagef("no host cluster: %s; name one with --kubeconfig or set KUBECONFIG", missingFiles(f.Kubeconfig))
	case entry == nil && !f.namesCluster():
		return nil
	case entry == nil:
		entry = &clientcmdapi.Context{}
	}
	w := wayOf(raw, cmp.Or(f.overrides.Context.Cluster, entry.Cluster), cmp.Or(f.overrides.Context.AuthInfo, entry.AuthInfo))
	return w.with(&f.overrides).usable("host", name)
}

// namesCluster says whether flags name a cluster in place of a context.
func (f *HostFlags) namesCluster() bool {
	return f.overrides.ClusterInfo.Server != "" || f.overrides.Context.Cluster != ""
}

// missingFiles says which of the kubeconfigs that were named does not exist, or that none has a context.
func missingFiles(path string) string {
	for _, name := range loadingRules(path).GetLoadingPrecedence() {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) && name != clientcmd.RecommendedHomeFile {
			return fmt.Sprintf("the kubeconfig %q does not exist", name)
		}
	}
	return "the kubeconfig does not exist or has no contexts"
}

// MemberFlags name one member cluster. There is no default, which would one day join the wrong cluster.
type MemberFlags struct {
	Context    string
	Kubeconfig string

	contexts *Contexts
}

// AddTo adds the flags.
func (f *MemberFlags) AddTo(cmd *cobra.Command, host *HostFlags) {
	cmd.Flags().StringVar(&f.Context, "member-context", "", "The kubeconfig context of the member cluster")
	_ = cmd.RegisterFlagCompletionFunc("member-context", f.Complete(host))
	f.AddKubeconfigTo(cmd, "The kubeconfig file that holds the member's context (default: as for the host)")
}

// AddKubeconfigTo adds --member-kubeconfig alone.
func (f *MemberFlags) AddKubeconfigTo(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVar(&f.Kubeconfig, "member-kubeconfig", "", usage)
}

// Complete offers the contexts of members.
func (f *MemberFlags) Complete(host *HostFlags) cobra.CompletionFunc {
	return completeContexts(&f.Kubeconfig, &host.Kubeconfig)
}

// Given says whether a member was named at all.
func (f *MemberFlags) Given() bool { return f.Context != "" || f.Kubeconfig != "" }

// Contexts are those of the kubeconfig that leads to members.
type Contexts struct {
	host   *HostFlags
	path   string
	raw    clientcmdapi.Config
	access clientcmd.ConfigAccess
}

// Contexts reads the kubeconfig that leads to members, once; where it is that of the host, it is not read again.
func (f *MemberFlags) Contexts(host *HostFlags) (*Contexts, error) {
	if f.contexts != nil {
		return f.contexts, nil
	}
	path := cmp.Or(f.Kubeconfig, host.Kubeconfig)
	config, access := host.config(), clientcmd.ConfigAccess(loadingRules(path))
	if path != host.Kubeconfig {
		config = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loadingRules(f.Kubeconfig), &clientcmd.ConfigOverrides{})
	}
	raw, err := config.RawConfig()
	if err != nil {
		return nil, unreadable("members", path, err)
	}
	f.contexts = &Contexts{host, path, raw, access}
	return f.contexts, nil
}

// Any refuses a kubeconfig without contexts.
func (c *Contexts) Any() error {
	if len(c.raw.Contexts) == 0 {
		return output.Usagef("no member clusters: %s", missingFiles(c.path))
	}
	return nil
}

// Has refuses names that are not contexts; flag is where they were typed.
func (c *Contexts) Has(flag string, names ...string) error {
	for _, name := range names {
		if err := known("member", flag, name, c.raw); err != nil {
			return err
		}
	}
	return nil
}

// List says which contexts there are.
func (c *Contexts) List() string { return contextsOf(c.raw) }

// Connect opens the cluster of a context. It sends no request.
func (c *Contexts) Connect(name string) (*member.Cluster, error) {
	config, err := c.config(contextUse{"member", "--member-context"}, name)
	if err != nil {
		return nil, err
	}
	return member.Connect(config)
}

// Holder opens the cluster of a context that has the objects of other systems in place of the host. It sends no request.
func (c *Contexts) Holder(name string) (*host.Cluster, error) {
	config, err := c.config(contextUse{"sources", "--source-context"}, name)
	if err != nil {
		return nil, err
	}
	return host.Connect(config)
}

// contextUse is what a context is used for, and the flag that names it.
type contextUse struct{ side, flag string }

// config is that of a context.
func (c *Contexts) config(use contextUse, name string) (*rest.Config, error) {
	if err := known(use.side, use.flag, name, c.raw); err != nil {
		return nil, err
	}
	entry := c.raw.Contexts[name]
	if err := wayOf(c.raw, entry.Cluster, entry.AuthInfo).usable(use.side, name); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(c.raw, name, &clientcmd.ConfigOverrides{CurrentContext: name}, c.access).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read context %q for the %s: %w", name, use.side, err)
	}
	return c.host.Tune(config), nil
}

// Source is every context, or those that are named. What `kubectl federate kubeconfig` made of another context is named or left out.
func (c *Contexts) Source(names ...string) discover.Source {
	chosen := c.raw
	chosen.Contexts = c.callers()
	if len(names) > 0 {
		chosen.Contexts = map[string]*clientcmdapi.Context{}
		for _, name := range names {
			chosen.Contexts[name] = c.raw.Contexts[name]
		}
	}
	return discover.Kubeconfig{Config: chosen, Connect: c.Connect}
}

func known(side, flag, name string, raw clientcmdapi.Config) error {
	if _, ok := raw.Contexts[name]; ok {
		return nil
	}
	hint := "choose one with " + flag
	if near, ok := rules.Nearest(name, slices.Sorted(maps.Keys(raw.Contexts))); ok {
		hint = "did you mean " + cluster.Quoted(near) + "?"
	}
	return output.Usagef("the kubeconfig has no context %q for the %s (%s); %s", name, side, contextsOf(raw), hint)
}

// contextsOf lists the contexts of a kubeconfig.
func contextsOf(raw clientcmdapi.Config) string {
	const shown = 10
	names, more := slices.Sorted(maps.Keys(raw.Contexts)), ""
	switch {
	case len(names) == 0:
		return "it has no contexts"
	case len(names) > shown:
		names, more = names[:shown], fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return cluster.Printable("it has " + strings.Join(names, ", ") + more)
}

// completeContexts offers the contexts of the first kubeconfig that was named, or of the default ones.
func completeContexts(paths ...*string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		var named string
		for _, path := range paths {
			named = cmp.Or(named, *path)
		}
		raw, err := loadingRules(named).Load()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return CompleteList(slices.Sorted(maps.Keys(raw.Contexts)), typed), cobra.ShellCompDirectiveNoFileComp
	}
}
