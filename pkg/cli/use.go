package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// userHelp is the part of the help of kubeconfig, each and find that they have in common.
const userHelp = `A member is reached as, in this order: the user of the context that --user-from-context names, at the endpoint that
the host has of the member; a context of the kubeconfig that has the member's endpoint, or proves by a token that it
leads to the member; the account for consumers, where the federation has access and inventory.credentialsNamespace
and you may get the member's Secret there. -v 1 prints which. What you may do there is what that user may.

Who joins a cluster chooses the endpoint that the host has. So a member is reached when its federation has accepted
it, and a cluster that answers with another ID than the member's is left alone: you need the right to get the
namespace kube-system there. With --user-from-context the administrators of every member get a token of that user:
use it only where you trust all who may join clusters. Servers that are not verified get no credential, and a token
is sent only where the manager has proved that the endpoint leads to the member.`

// useFlags are those of the commands that reach members as the caller.
type useFlags struct {
	*factory
	member targets.MemberFlags
	probe  targets.Probe
	user   string
}

func newUseFlags(d *factory) useFlags {
	return useFlags{factory: d, probe: targets.Probe{Messages: &d.messages}}
}

func (f *useFlags) addTo(cmd *cobra.Command) {
	f.member.AddKubeconfigTo(cmd, "The kubeconfig file whose contexts lead to members (default: as for the host)")
	f.probe.AddTo(cmd)
	cmd.Flags().StringVar(&f.user, "user-from-context", "",
		"Reach every member as the user of this context: its credential is sent to the endpoints that the host has")
	_ = cmd.RegisterFlagCompletionFunc("user-from-context", f.member.Complete(&f.hostFlags))
}

// acrossFlags are those of the commands that read one namespace, or all, of members as the caller.
type acrossFlags struct {
	useFlags
	memberNames   []string
	namespace     string
	allNamespaces bool
	noHeaders     bool
	batch         targets.Batch
}

func (f *acrossFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.memberNames, "members", nil, "Only these members")
	_ = cmd.RegisterFlagCompletionFunc("members", f.completeMembers)
	flags.StringVarP(&f.namespace, "namespace", "n", "", "Look in this namespace (default: default)")
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "Look in all namespaces")
	flags.BoolVar(&f.noHeaders, "no-headers", false, "Print no header above the table")
	f.useFlags.addTo(cmd)
	flags.IntVar(&f.batch.Parallel, "parallel", reachParallel, "How many members are asked at once")
	targets.AddTimeout(cmd, &f.batch.Timeout, 20*time.Second)
}

func (f *acrossFlags) validate() error {
	if f.namespace != "" && f.allNamespaces {
		return output.Usagef("use --namespace or --all-namespaces, but not both")
	}
	if faults := validation.IsDNS1123Label(f.namespace); f.namespace != "" && len(faults) > 0 {
		return output.Usagef("invalid --namespace %q: %s", f.namespace, faults[0])
	}
	return cmp.Or(f.batch.Validate(), f.probe.Validate())
}

// memberUser is as whom a member is reached, and where.
type memberUser struct {
	// user is the context of --user-from-context, and context one that leads to the member. Both are empty for the account for
	// consumers.
	user, context string
	config        *rest.Config
}

func (i *memberUser) String() string {
	switch {
	case i.user != "":
		return fmt.Sprintf("the user of context %q", i.user)
	case i.context != "":
		return fmt.Sprintf("context %q", i.context)
	}
	return "the account for consumers"
}

// memberUsers finds as whom each of some members is reached.
type memberUsers struct {
	flags    *useFlags
	host     targets.Members
	members  []v1alpha1.MemberCluster
	contexts *targets.Contexts
	// at are the contexts at the stored endpoint of each member.
	at [][]string
	// elsewhere are the proven ways to each member at other endpoints. It asks all those contexts, once.
	elsewhere func() ([]discover.Reached, error)
	// found are those that were found before; nil where none were.
	found []foundUser
}

type foundUser struct {
	who *memberUser
	err error
}

// memberUsers begins to find as whom members are reached; nothing is asked yet.
func (f *useFlags) memberUsers(ctx context.Context, h targets.Members, members []v1alpha1.MemberCluster) (*memberUsers, error) {
	contexts, err := f.member.Contexts(&f.hostFlags)
	if err != nil {
		return nil, err
	}
	if f.user != "" {
		if err := contexts.Has("--user-from-context", f.user); err != nil {
			return nil, err
		}
	}
	endpoints := make([]endpoint.Endpoint, len(members))
	for i := range members {
		endpoints[i] = endpoint.Of(&members[i])
	}
	s := &memberUsers{flags: f, host: h, members: members, contexts: contexts}
	var others []string
	s.at, others = contexts.At(endpoints)
	view := discover.View{Now: time.Now(), Members: members, Commands: h.Commands, MemberKubeconfig: f.member.Kubeconfig}
	s.elsewhere = sync.OnceValues(func() ([]discover.Reached, error) { return f.probe.Reach(ctx, contexts, others, view) })
	return s, nil
}

// findAll finds as whom all members are reached.
func (s *memberUsers) findAll(ctx context.Context) {
	found := make([]foundUser, len(s.members))
	all := targets.Batch{Parallel: reachParallel}
	errs := all.Run(ctx, len(found), func(ctx context.Context, i int) (err error) {
		found[i].who, err = s.of(ctx, i)
		return err
	}, nil)
	for i := range found {
		found[i].err = errs[i]
	}
	s.found = found
}

// of finds as whom a member is reached. Whether the cluster there is the member is for connect to say.
func (s *memberUsers) of(ctx context.Context, i int) (*memberUser, error) {
	if s.found != nil {
		return s.found[i].who, s.found[i].err
	}
	m := &s.members[i]
	if err := validateName("member", m.Name); err != nil {
		return nil, err // it becomes a part of files and of command lines
	}
	if err := requireAccepted(m, s.host.Commands); err != nil {
		return nil, err
	}
	if s.flags.user != "" {
		config, err := userAt(s.contexts, s.flags.user, m)
		return &memberUser{user: s.flags.user, config: config}, err
	}
	name, disputed, err := s.context(ctx, i)
	if err != nil {
		return nil, err
	}
	if name != "" {
		config, err := s.contexts.Config(name)
		return &memberUser{context: name, config: config}, err
	}
	access, err := s.host.ConsumerCredential(ctx, m)
	if err != nil {
		none := "no context of the kubeconfig is proven to lead to it"
		if disputed != nil {
			none = fmt.Sprintf("context %q %s", disputed.Name, disputed.Reason)
		}
		return nil, fmt.Errorf("%s, and %w; name another file with --member-kubeconfig, or a user with --user-from-context", none, err)
	}
	return &memberUser{config: s.flags.hostFlags.Tune(access.RESTConfig())}, nil
}

// requireAccepted is an error unless a federation has accepted a member: until then its endpoint is what a joiner has written.
func requireAccepted(m *v1alpha1.MemberCluster, commands command.Host) error {
	if meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionAccepted) {
		return nil
	}
	return errors.New(commands.To("its federation has not accepted it; see why", command.Describe{Member: v1alpha1.MemberName(m.Name)}))
}

// userAt is the user of a context at the endpoint of a member. A server that is not verified gets no credential, and a token, which
// its receiver can use, goes only to an endpoint through which the manager has proved the member as it is now.
func userAt(contexts *targets.Contexts, user string, m *v1alpha1.MemberCluster) (*rest.Config, error) {
	if m.Spec.InsecureSkipTLSVerify {
		return nil, errors.New("its server is not verified (insecureSkipTLSVerify), and gets no credential of another context")
	}
	config, err := contexts.UserAt(user, endpoint.Of(m))
	if err != nil {
		return nil, err
	}
	if ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady); sendsToken(config) &&
		(len(m.Status.SigningKeys) == 0 || ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != m.Generation) {
		return nil, errors.New("the manager has not proved that its endpoint leads to it, which takes that it is ready and has status.signingKeys: it gets no token of another context")
	}
	return config, nil
}

// sendsToken says whether requests may carry a token. A certificate is of no use to the server that it is shown to.
func sendsToken(c *rest.Config) bool {
	return c.BearerToken != "" || c.BearerTokenFile != "" || c.ExecProvider != nil || c.AuthProvider != nil
}

// connect connects to a member, and compares the cluster that answers with the member: who may join a cluster, or change the
// member, could name the server of another one, to which the caller has a context. The account for consumers is not the caller's.
func (f *useFlags) connect(ctx context.Context, m *v1alpha1.MemberCluster, who *memberUser, config *rest.Config) (*member.Cluster, error) {
	c, err := member.Connect(config)
	if err != nil || who.context == "" && who.user == "" {
		return c, err
	}
	id, err := c.ID(ctx)
	switch {
	case cluster.FaultOf(err) == cluster.FaultForbidden:
		err = fmt.Errorf("it cannot be seen which cluster answers: %w", err)
	case err == nil && string(id) != m.Spec.ClusterID:
		err = errors.New(f.commands().To(fmt.Sprintf("%s leads to cluster %s, and the member is cluster %s: nothing is done there; see the member",
			who, cluster.Quoted(string(id)), cluster.Quoted(m.Spec.ClusterID)), command.Describe{Member: v1alpha1.MemberName(m.Name)}))
	}
	if err != nil {
		c.CloseIdle()
		return nil, err
	}
	return c, nil
}

// context is the preferred of the contexts that lead to a member; empty where none does. Disputed is then one that answers with the
// member's ID and does not prove to lead to it; nil where none does.
func (s *memberUsers) context(ctx context.Context, i int) (name string, disputed *discover.Cluster, err error) {
	switch at := s.at[i]; len(at) {
	case 0:
	case 1:
		return at[0], nil, nil
	default:
		preferred, err := s.flags.probe.Prefer(ctx, s.contexts, at)
		if err != nil {
			return "", nil, err
		}
		return preferred[0], nil, nil
	}
	asked := make(chan struct{})
	go func() { defer close(asked); _, _ = s.elsewhere() }()
	select {
	case <-asked:
	case <-ctx.Done(): // others may wait longer
		return "", nil, ctx.Err()
	}
	reached, err := s.elsewhere()
	switch {
	case err != nil:
		return "", nil, err
	case len(reached[i].Ways) > 0:
		return reached[i].Ways[0].Name, nil, nil
	case len(reached[i].Disputed) > 0:
		return "", &reached[i].Disputed[0], nil
	}
	return "", nil, nil
}

// reachParallel is how many members are asked at once: each costs a connection, and one that does not answer must not keep the others
// waiting.
const reachParallel = 100

// about is an error of one of many members.
func about(m *v1alpha1.MemberCluster, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("member %s: %w", cluster.Quoted(m.Name), err)
}

// reportUser prints as whom a member is reached, where -v asks for it.
func (f *useFlags) reportUser(m *v1alpha1.MemberCluster, who *memberUser) {
	if f.hostFlags.Verbosity > 0 && who != nil {
		output.Linef(f.ErrOut, "%s: reached as %s", m.Name, who)
	}
}

// useSummary is the error of a command on many members, whose errors were printed one by one; nil when there are none. What did not
// succeed precedes how many members: "kubectl failed on".
func useSummary(ctx context.Context, errs []error, what string) error {
	err := summary(ctx, errs, "reached", cluster.DryRunNone)
	exit, ok := errors.AsType[*output.Exit](err)
	if !ok || errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
		}
	}
	exit.Err = fmt.Errorf("%s %d of %s", what, failed, output.Count(len(errs), "member", "members"))
	return exit
}
