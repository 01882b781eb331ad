package targets

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// PluginFile is the plugin as an executable, and CredentialCommand its command that client-go calls for the credential of a member.
const (
	PluginFile        = "kubectl-federate"
	CredentialCommand = "credential"
)

// InstallHint is printed where the plugin that a user names is not installed.
const InstallHint = `The credential comes from kubectl-federate, which is the plugin "federate" of krew.`

// IsPluginUser says whether `kubectl federate kubeconfig` wrote a user: its credential is that of another context, or one that the host
// has. The file of the plugin may have any name.
func IsPluginUser(user *clientcmdapi.AuthInfo) bool {
	return user != nil && user.Exec != nil && len(user.Exec.Args) > 0 && user.Exec.Args[0] == CredentialCommand &&
		(user.Exec.InstallHint == InstallHint || strings.TrimSuffix(filepath.Base(user.Exec.Command), ".exe") == PluginFile)
}

// callers are the contexts without those that `kubectl federate kubeconfig` made.
func (c *Contexts) callers() map[string]*clientcmdapi.Context {
	contexts := maps.Clone(c.raw.Contexts)
	maps.DeleteFunc(contexts, func(_ string, entry *clientcmdapi.Context) bool { return IsPluginUser(c.raw.AuthInfos[entry.AuthInfo]) })
	return contexts
}

// serverKeys are the contexts by the server that they lead to, as endpoint.ServerKey has it; those whose server is not verified are
// left out.
func (c *Contexts) serverKeys() map[string][]string {
	byServer := map[string][]string{}
	for name, entry := range c.callers() {
		in := c.raw.Clusters[entry.Cluster]
		if in == nil {
			continue
		}
		e := endpoint.Endpoint{
			Server: in.Server, CABundle: in.CertificateAuthorityData, TLSServerName: in.TLSServerName, InsecureSkipTLSVerify: in.InsecureSkipTLSVerify,
		}
		if _, file, err := readField("certificate-authority", in.CertificateAuthority); err == nil && len(e.CABundle) == 0 {
			e.CABundle = file
		}
		if key := e.ServerKey(); key != "" {
			byServer[key] = append(byServer[key], name)
		}
	}
	for _, names := range byServer {
		slices.Sort(names)
	}
	return byServer
}

// At are, of each of the endpoints, the contexts that lead to its server: an endpoint that is the same, and verified, is the proof of
// where they lead. Others are those that lead to none of them. Nothing is asked.
func (c *Contexts) At(endpoints []endpoint.Endpoint) (at [][]string, others []string) {
	byServer := c.serverKeys()
	at = make([][]string, len(endpoints))
	known := map[string]bool{}
	for i, e := range endpoints {
		if key := e.ServerKey(); key != "" {
			at[i] = byServer[key]
		}
		for _, name := range at[i] {
			known[name] = true
		}
	}
	for name := range c.callers() {
		if !known[name] {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	return at, others
}

// ContextAt is the context that leads to a server, by its endpoint.ServerKey. It is empty where none does, or several do: they may have
// different users. Nothing is asked.
func (f *HostFlags) ContextAt(key string) string {
	f.once.Do(func() {
		if c, err := (&MemberFlags{}).Contexts(f); err == nil {
			f.contexts = c.serverKeys()
		}
	})
	if names := f.contexts[key]; len(names) == 1 {
		return names[0]
	}
	return ""
}

// Config is how a context leads to a member, and as whom. One that `kubectl federate kubeconfig` made is refused: its user would
// call the plugin again.
func (c *Contexts) Config(name string) (*rest.Config, error) {
	return c.notOfPlugin(contextUse{"member", "--member-context"}, name)
}

func (c *Contexts) notOfPlugin(use contextUse, name string) (*rest.Config, error) {
	config, err := c.config(use, name)
	if err == nil && IsPluginUser(c.raw.AuthInfos[c.raw.Contexts[name].AuthInfo]) {
		return nil, output.Usagef("context %q was made of another context: name that one with %s", name, use.flag)
	}
	return config, err
}

// UserAt is the user of a context at another endpoint; the zero endpoint is that of the context.
func (c *Contexts) UserAt(name string, e endpoint.Endpoint) (*rest.Config, error) {
	config, err := c.notOfPlugin(contextUse{"members", "--user-from-context"}, name)
	if err != nil || e.Server == "" {
		return config, err
	}
	config.Host, config.Proxy = e.Server, nil
	if proxy, err := url.Parse(e.ProxyURL); err == nil && e.ProxyURL != "" {
		config.Proxy = http.ProxyURL(proxy)
	}
	config.CAFile, config.CAData, config.ServerName, config.Insecure = "", e.CABundle, e.TLSServerName, e.InsecureSkipTLSVerify
	return config, nil
}

// Reach finds the ways to each member of the view among the named contexts, as Find does among all. It reports no progress.
func (p *Probe) Reach(ctx context.Context, contexts *Contexts, names []string, view discover.View) ([]discover.Reached, error) {
	if len(names) == 0 {
		return make([]discover.Reached, len(view.Members)), nil
	}
	observations, err := p.observe(ctx, contexts, names)
	if err != nil {
		return nil, err
	}
	discover.Prove(ctx, view.Members, observations, p.timeout())
	return discover.Reach(view, observations), nil
}

// Prefer orders contexts of one server: those whose user it takes come first, then those whose user it knows and gives no right to
// read its identity, and then by name.
func (p *Probe) Prefer(ctx context.Context, contexts *Contexts, names []string) ([]string, error) {
	observations, err := p.observe(ctx, contexts, names)
	if err != nil {
		return nil, err
	}
	rank := func(o discover.Observation) int {
		switch {
		case o.Err == nil:
			return 0
		case o.Refused:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(observations, func(a, b discover.Observation) int { return rank(a) - rank(b) })
	preferred := make([]string, len(observations))
	for i := range observations {
		preferred[i] = observations[i].Name
	}
	return preferred, nil
}

func (p *Probe) observe(ctx context.Context, contexts *Contexts, names []string) ([]discover.Observation, error) {
	candidates, err := contexts.Source(names...).Candidates(ctx)
	if err != nil {
		return nil, err
	}
	return discover.Probe(ctx, candidates, p.timeout(), func(int) {}), nil
}

// Files are the absolute paths of the kubeconfigs that choose the host.
func (f *HostFlags) Files() ([]string, error) {
	files := loadingRules(f.Kubeconfig).GetLoadingPrecedence()
	absolute := make([]string, 0, len(files))
	for _, file := range files {
		if file == "" {
			continue
		}
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		absolute = append(absolute, path)
	}
	return absolute, nil
}

// Current is the context that the host is reached by; empty where flags name a cluster in its place, or it is that of a pod.
func (f *HostFlags) Current() (string, error) {
	if f.overrides.CurrentContext != "" {
		return f.overrides.CurrentContext, nil
	}
	raw, err := f.config().RawConfig()
	if err != nil || f.namesCluster() {
		return "", err
	}
	if _, ok := raw.Contexts[raw.CurrentContext]; !ok {
		return "", nil
	}
	return raw.CurrentContext, nil
}

// Writable is the kubeconfig that `kubectl config` would add a context to.
func (f *HostFlags) Writable() string { return loadingRules(f.Kubeconfig).GetDefaultFilename() }

// OriginOf is the file that has an entry of one of the kinds with a name; empty where none has.
func (f *HostFlags) OriginOf(name string) (string, error) {
	raw, err := f.config().RawConfig()
	if err != nil {
		return "", unreadable("the host", f.Kubeconfig, err)
	}
	switch {
	case raw.Contexts[name] != nil:
		return raw.Contexts[name].LocationOfOrigin, nil
	case raw.Clusters[name] != nil:
		return raw.Clusters[name].LocationOfOrigin, nil
	case raw.AuthInfos[name] != nil:
		return raw.AuthInfos[name].LocationOfOrigin, nil
	}
	return "", nil
}
