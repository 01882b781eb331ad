package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// execInfo is the variable in which client-go says for which server it asks.
const execInfo = "KUBERNETES_EXEC_INFO"

// credentialNested is set for the commands that a credential of a context comes from: one that leads back here would go on without end.
const credentialNested = "KUBECTL_FEDERATE_CREDENTIAL"

const credentialHelp = `Print the credential of a member as an ExecCredential (client.authentication.k8s.io/v1).

Clients call it where a kubeconfig has it, which the command kubeconfig writes; a person has no need to. It stores
nothing and never asks anything: it reads the credential of the context of --member-context or --user-from-context,
and logs in where that context does, or else the Secret of the account for consumers, by your own right on the host.

A client says for which server it asks, in KUBERNETES_EXEC_INFO. The credential of another server is refused.`

const credentialExample = `  # As a client calls it
  kubectl federate credential us-east --member-context us-east`

// credentialFlags are what was typed.
type credentialFlags struct {
	*factory
	member  targets.MemberFlags
	user    string
	timeout time.Duration
}

func newCredential(d *factory) *cobra.Command {
	f := &credentialFlags{factory: d}
	cmd := &cobra.Command{
		Use:               targets.CredentialCommand + " NAME",
		GroupID:           groupOther,
		Short:             "Print the credential of a member, for clients",
		Long:              credentialHelp,
		Example:           credentialExample,
		Args:              exactlyOne("the name of a member"),
		ValidArgsFunction: d.completeMembers,
		RunE:              runs(f.toOptions),
	}
	f.member.AddTo(cmd, &d.hostFlags)
	cmd.Flags().StringVar(&f.user, "user-from-context", "", "The context whose user reaches the member")
	_ = cmd.RegisterFlagCompletionFunc("user-from-context", f.member.Complete(&d.hostFlags))
	targets.AddTimeout(cmd, &f.timeout, time.Minute)
	return cmd
}

// credentialOptions are ready to run.
type credentialOptions struct {
	credentialFlags
	name v1alpha1.MemberName
	// asked is the server that a client asks for; nil where it does not say.
	asked *endpoint.Endpoint
}

func (f *credentialFlags) toOptions(_ *cobra.Command, args []string) (*credentialOptions, error) {
	asked, err := readExecInfo(os.Getenv(execInfo))
	return &credentialOptions{*f, v1alpha1.MemberName(args[0]), asked}, err
}

// readExecInfo is the server that a client asks for; nil where there is no client.
func readExecInfo(info string) (*endpoint.Endpoint, error) {
	if info == "" {
		return nil, nil
	}
	var asked clientauthenticationv1.ExecCredential
	if err := json.Unmarshal([]byte(info), &asked); err != nil {
		return nil, fmt.Errorf("read %s: %w", execInfo, err)
	}
	if version := clientauthenticationv1.SchemeGroupVersion.String(); asked.APIVersion != version {
		return nil, fmt.Errorf("%s is of version %q: the kubeconfig must name %q", execInfo, asked.APIVersion, version)
	}
	c := asked.Spec.Cluster
	if c == nil {
		return nil, nil
	}
	return &endpoint.Endpoint{
		Server: c.Server, CABundle: c.CertificateAuthorityData, TLSServerName: c.TLSServerName, ProxyURL: c.ProxyURL, InsecureSkipTLSVerify: c.InsecureSkipTLSVerify,
	}, nil
}

func (o *credentialOptions) validate() error {
	if os.Getenv(credentialNested) != "" {
		return output.Usagef("member %q: its context gets its credential from this command, again: name one with a credential of its own", o.name)
	}
	if o.user != "" && o.member.Context != "" {
		return output.Usagef("use --member-context or --user-from-context, but not both")
	}
	return cmp.Or(validateName("member", string(o.name)), targets.ValidateTimeout("timeout", o.timeout))
}

func (o *credentialOptions) run(ctx context.Context) error {
	ctx, cancel := targets.WithTimeout(ctx, o.timeout)
	defer cancel()
	access, err := o.read(ctx)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	status := &clientauthenticationv1.ExecCredentialStatus{
		Token: access.Token, ClientCertificateData: string(access.CertData), ClientKeyData: string(access.KeyData),
	}
	if end, ok := access.Expiry(); ok {
		status.ExpirationTimestamp = new(metav1.NewTime(end))
	}
	return (&output.Format{Value: "json"}).Print(o.Out, struct {
		output.TypeMeta
		Status *clientauthenticationv1.ExecCredentialStatus `json:"status"`
	}{output.TypeMeta{APIVersion: clientauthenticationv1.SchemeGroupVersion.String(), Kind: "ExecCredential"}, status})
}

// read reads the credential.
func (o *credentialOptions) read(ctx context.Context) (*kubeconfig.Access, error) {
	if o.member.Context == "" && o.user == "" {
		return o.ofConsumers(ctx)
	}
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil {
		return nil, err
	}
	who := &memberUser{context: o.member.Context, user: o.user}
	if o.user != "" {
		who.config, err = o.userAtMember(ctx, contexts)
	} else {
		who.config, err = contexts.Config(o.member.Context)
	}
	if err != nil {
		return nil, err
	}
	if login := who.config.ExecProvider; login != nil {
		login = login.DeepCopy()
		login.Env = append(login.Env, clientcmdapi.ExecEnvVar{Name: credentialNested, Value: "1"})
		who.config.ExecProvider = login
	}
	access, err := who.access(ctx)
	if err != nil {
		return nil, err
	}
	return access, o.judge(access.Endpoint)
}

// userAtMember is the user of another context at the endpoint that the host has of the member: what a client asks for is compared with
// that later.
func (o *credentialOptions) userAtMember(ctx context.Context, contexts *targets.Contexts) (*rest.Config, error) {
	h, m, err := o.readMember(ctx)
	if err != nil {
		return nil, err
	}
	if err := requireAccepted(m, h.Commands); err != nil {
		return nil, about(m, err)
	}
	config, err := userAt(contexts, o.user, m)
	return config, about(m, err)
}

// ofConsumers reads the credential of the account for consumers.
func (o *credentialOptions) ofConsumers(ctx context.Context) (*kubeconfig.Access, error) {
	h, m, err := o.readMember(ctx)
	if err != nil {
		return nil, err
	}
	access, err := h.ConsumerCredential(ctx, m)
	if err != nil {
		return nil, about(m, err)
	}
	return access, o.judge(access.Endpoint)
}

func (o *credentialOptions) readMember(ctx context.Context) (h targets.Members, m *v1alpha1.MemberCluster, err error) {
	if h, err = o.members(); err != nil {
		return h, nil, err
	}
	members, err := h.Select(ctx, []string{string(o.name)}, host.MemberQuery{})
	if err != nil {
		return h, nil, err
	}
	return h, &members[0], nil
}

// judge refuses the credential of another server than a client asks for. A proxy can neither read nor answer in its place.
func (o *credentialOptions) judge(has endpoint.Endpoint) error {
	if o.asked == nil {
		return nil
	}
	asked := *o.asked
	asked.ProxyURL = has.ProxyURL
	if field := has.Difference(asked); field != "" {
		return fmt.Errorf("member %q: its %s is another than in the kubeconfig that asks: %s", o.name, field,
			o.commands().To("write that anew", command.Kubeconfig{Member: o.name}))
	}
	return nil
}

// access logs in, and is where a member is reached and with which credential.
func (i *memberUser) access(ctx context.Context) (*kubeconfig.Access, error) {
	at, err := endpointOf(i)
	if err != nil {
		return nil, err
	}
	credential, err := cluster.UserCredentialOf(ctx, cluster.Member, i.config)
	if err != nil {
		return nil, err
	}
	access := &kubeconfig.Access{Endpoint: at, Token: credential.Token, CertData: credential.CertData, KeyData: credential.KeyData}
	if access.Token == "" && len(access.CertData) == 0 {
		return nil, fmt.Errorf("%s has no token and no certificate", i)
	}
	return access, nil
}
