package check

import (
	"cmp"
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// Way leads to a cluster.
type Way struct {
	Context string
	// Connect prepares a connection. It sends no request.
	Connect func() (*member.Cluster, error)
}

// Options say what is checked.
type Options struct {
	// Ways are contexts whose clusters are checked.
	Ways []Way
	// MemberKubeconfig is the file that holds those contexts, where it is not the host's.
	MemberKubeconfig string
	// Members says of which members' clusters are reached by their credentials; nil takes all.
	Members func(*v1alpha1.MemberCluster) bool
	// Each does the work on n clusters, within the caller's bounds, and returns the error of each.
	Each func(n int, work func(ctx context.Context, i int) error) []error
	// Tuned prepares a stored credential's configuration for use.
	Tuned func(*rest.Config) *rest.Config
}

// Read reads the host and clusters: through the contexts, and where the caller may read them through the credentials that
// the host stores. It writes nothing. What the caller may not read is among the facts; the error is a host that cannot be
// read at all.
func Read(ctx context.Context, h *host.Cluster, o Options) (*Facts, error) {
	f := &Facts{Now: time.Now(), Commands: h.Commands, MemberKubeconfig: o.MemberKubeconfig, Plugin: version.Version, Host: HostFacts{Server: h.Server()}}
	installed, err := install.Version(ctx, h)
	if apierrors.IsForbidden(err) {
		f.Host.Denied = append(f.Host.Denied, Denial{Installation, "which version is installed", err})
		installed, err = version.Version, nil
	}
	if err != nil {
		return nil, err
	}
	f.Host.Installed = installed
	if installed == "" {
		f.Host.Choose = h.Choose()
		return f, nil
	}
	r := &reader{h: h, facts: f}
	secrets, err := r.host(ctx)
	if err != nil {
		return nil, err
	}
	ways := r.stored(secrets, o)
	for _, w := range o.Ways {
		ways = append(ways, way{observation: Observation{Context: w.Context}, connect: w.Connect})
	}
	f.Observations = observe(ways, o.Each)
	return f, nil
}

// reader gathers the facts of a host.
type reader struct {
	h     *host.Cluster
	facts *Facts
}

func (r *reader) host(ctx context.Context) (secrets []unstructured.Unstructured, err error) {
	f := &r.facts.Host
	var enforcing, drift, credentials, grants error
	errs := cluster.Together(
		func() (err error) { f.ID, err = r.h.ID(ctx); return err },
		func() (err error) { f.Federations, err = r.h.Federations(ctx); return err },
		func() (err error) { f.Members, err = r.h.Members(ctx, host.MemberQuery{}); return err },
		func() error { enforcing = r.h.Enforcing(ctx); return nil },
		func() error { f.Probes = r.h.Probes(ctx); return nil },
		func() error { drift = r.drift(ctx); return nil },
		func() error { secrets, credentials = r.h.Credentials(ctx); return nil },
		func() error { f.Grants, grants = install.ReadGrants(ctx, r.h); return nil },
	)
	if err := cmp.Or(errs...); err != nil && !errors.Is(err, host.ErrNotInitialised) {
		return nil, err
	}
	deny := func(area AreaName, what string, err error) error {
		if !apierrors.IsForbidden(err) {
			return err
		}
		f.Denied = append(f.Denied, Denial{area, what, err})
		return nil
	}
	if enforcing != nil && !errors.Is(enforcing, host.ErrNotInitialised) {
		f.NotEnforcing = deny(Webhook, "whether the webhook is enforcing", enforcing)
	}
	if err := f.Probes.Err; err != nil && !f.Probes.NotInstalled() {
		f.Denied = append(f.Denied, Denial{Probing, "when members were probed last", err})
	}
	if drift != nil {
		f.Denied = append(f.Denied, Denial{Installation, "whether everything is as init installs it", drift})
	}
	if err := deny(Federations, "whether a grant was left over", grants); err != nil {
		return nil, err
	}
	if asking := f.discovering(); len(asking) > 0 {
		discovery, err := r.h.Discovery(ctx, asking)
		if err := deny(Discovery, "whether the discovery controller runs, and what it may do", err); err != nil {
			return nil, err
		}
		if err == nil {
			f.Discovery = &discovery
		}
	}
	if err := deny(Credentials, "what credentials are stored, and what they are worth", credentials); err != nil {
		return nil, err
	}
	if credentials == nil {
		f.Credentials = map[v1alpha1.MemberName]bool{}
		for i := range secrets {
			if kind, _, _ := unstructured.NestedString(secrets[i].Object, "type"); kind == v1alpha1.CredentialType {
				f.Credentials[v1alpha1.MemberName(secrets[i].GetName())] = true
			}
		}
	}
	return secrets, r.rights(ctx)
}

// rights asks what the caller may do with the members of each federation.
func (r *reader) rights(ctx context.Context) (err error) {
	var rights []cluster.Right
	for i := range r.facts.Host.Federations {
		rights = append(rights, host.MayRights(v1alpha1.FederationName(r.facts.Host.Federations[i].Name))...)
	}
	r.facts.Host.Lacking, err = r.h.Lacking(ctx, rights)
	return err
}

// drift compares what is installed with what init would install again. What another version installed is not compared: init
// updates it. How API servers call the webhook is judged with the keys.
func (r *reader) drift(ctx context.Context) error {
	f := &r.facts.Host
	keys, err := install.ReadKeys(ctx, r.h)
	if err != nil {
		return err
	}
	f.Keys, f.WebhookURL = keys, keys.URL
	if f.Installed != r.facts.Plugin {
		return nil
	}
	options, err := install.Installed(ctx, r.h)
	if err != nil {
		return err
	}
	// Both are known where there is no webhook configuration, too.
	f.WebhookURL, keys.CertManager = options.WebhookURL, options.Certificates == manifests.CertificatesCertManager
	options.Version = version.Version
	if !keys.CertManager {
		options.Calls = keys.Calls()
	}
	objects, err := manifests.Objects(options)
	if err != nil {
		return err
	}
	missing, changed, err := install.Compare(ctx, r.h, objects)
	for _, ref := range changed {
		// How the webhook is called is judged with the keys.
		if ref != install.Configuration || keys.Judge() != install.KeysDiffer {
			f.Changed = append(f.Changed, ref)
		}
	}
	f.Missing, f.Compared = missing, len(objects)
	return err
}

// way is one observation to make.
type way struct {
	observation Observation
	connect     func() (*member.Cluster, error)
}

// stored are the ways through the credentials that the host stores. One with another endpoint than its member is not used:
// its token would be sent to another server.
func (r *reader) stored(secrets []unstructured.Unstructured, o Options) []way {
	members := map[string]*v1alpha1.MemberCluster{}
	for i := range r.facts.Host.Members {
		members[r.facts.Host.Members[i].Name] = &r.facts.Host.Members[i]
	}
	var ways []way
	for i := range secrets {
		m := members[secrets[i].GetName()]
		if m == nil || o.Members != nil && !o.Members(m) {
			continue
		}
		data, err := host.CredentialData(&secrets[i])
		if err != nil {
			continue
		}
		access, err := kubeconfig.OfMember(&secrets[i], data, m, true)
		if err != nil {
			continue // the manager reports what is wrong with it
		}
		ways = append(ways, way{
			observation: Observation{Credential: v1alpha1.MemberName(m.Name)},
			connect:     func() (*member.Cluster, error) { return member.Connect(o.Tuned(access.RESTConfig())) },
		})
	}
	return ways
}

// observe reads all clusters.
func observe(ways []way, each func(n int, work func(ctx context.Context, i int) error) []error) []Observation {
	seen := make([]Observation, len(ways))
	for i, w := range ways {
		seen[i] = w.observation
	}
	errs := each(len(ways), func(ctx context.Context, i int) error {
		m, err := ways[i].connect()
		if err != nil {
			return err
		}
		var state *member.State
		err = cluster.Together(
			func() (err error) { state, err = m.Read(ctx); return err },
			func() error { readServices(ctx, m, &seen[i]); return nil },
		)[0]
		switch {
		case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return errors.New("no answer in time (--timeout)")
		case err != nil:
			return err
		case state.ID == "":
			return state.Denied[cluster.IdentityNamespace]
		}
		seen[i].State, seen[i].Server = state, m.Endpoint().Server
		return nil
	})
	for i, err := range errs {
		seen[i].Err = err
	}
	return seen
}
