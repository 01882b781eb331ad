// Package host reads and writes the host cluster: federations, members and their credentials.
package host

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// Cluster is a connection to a host. It is a type of its own, so that a member is never passed for it.
type Cluster struct {
	*cluster.Conn
	// Commands renders the commands that messages propose, with the flags that chose this host.
	Commands command.Host
}

// Connect prepares a connection to the host that config reaches. It sends no request.
func Connect(config *rest.Config) (*Cluster, error) {
	conn, err := cluster.Connect(cluster.Host, config)
	if err != nil {
		return nil, err
	}
	return &Cluster{Conn: conn}, nil
}

// Errors of a host that is not ready for members.
var (
	// ErrNotInitialised means that the host does not serve our API.
	ErrNotInitialised = errors.New("this cluster is not a host yet: it does not serve " + v1alpha1.GroupVersion.Group)
	// ErrNotEnforcing means that the API server admits members that the webhook must refuse.
	ErrNotEnforcing = errors.New("the webhook is not asked about members, so the rules of federations would not hold")
	// ErrWebhookDown means that the API server asked the webhook and got no answer.
	ErrWebhookDown = errors.New("the webhook that judges members does not answer")
)

// down is an answer of the API server that its call of our webhook failed.
type down struct {
	// call is what the API server said about the call.
	call string
	// remedy is what to do.
	remedy string
	err    error
}

func (e *down) Error() string {
	return "host: " + ErrWebhookDown.Error() + ", so the API server refuses every change of a federation or a member (" +
		cluster.Printable(e.call) + "): " + e.remedy
}

func (e *down) Is(target error) bool { return target == ErrWebhookDown }

func (e *down) Unwrap() error { return e.err }

// inOurWords turns the host's own ways of failing into ours. An API server tells that a webhook call failed
// in the text of an internal error only; this is the one place that reads it.
func (c *Cluster) inOurWords(err error) error {
	if err == nil {
		return nil
	}
	if cluster.IsNotServed(err) {
		return fmt.Errorf("host: %w: %s, or choose another --context", ErrNotInitialised, c.Commands.To("install it", command.Init{}))
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Reason == metav1.StatusReasonInternalError {
		if _, call, found := strings.Cut(status.Status().Message, "failed calling webhook "); found {
			return &down{call: call, remedy: c.Commands.To("see that its pods run", command.ManagerPods), err: err}
		}
	}
	return err
}

func federationRef(name v1alpha1.FederationName) cluster.Ref {
	return cluster.Ref{Resource: cluster.Federations, Name: string(name)}
}

// MemberRef names a MemberCluster.
func MemberRef(name v1alpha1.MemberName) cluster.Ref {
	return cluster.Ref{Resource: cluster.MemberClusters, Name: string(name)}
}

// CredentialRef names the Secret that holds a member's credential.
func CredentialRef(name v1alpha1.MemberName) cluster.Ref {
	return cluster.Ref{Resource: cluster.Secrets, Namespace: v1alpha1.CredentialsNamespace, Name: string(name)}
}

// Federation reads one federation.
func (c *Cluster) Federation(ctx context.Context, name v1alpha1.FederationName) (*v1alpha1.Federation, error) {
	o, err := c.Get(ctx, federationRef(name))
	if err != nil {
		return nil, c.inOurWords(err)
	}
	f := &v1alpha1.Federation{}
	return f, cluster.FromUnstructured(o, f)
}

// Federations reads all federations.
func (c *Cluster) Federations(ctx context.Context) ([]v1alpha1.Federation, error) {
	objects, err := c.List(ctx, cluster.Federations, "")
	if err != nil {
		return nil, c.inOurWords(err)
	}
	federations := make([]v1alpha1.Federation, len(objects))
	for i := range objects {
		if err := cluster.FromUnstructured(&objects[i], &federations[i]); err != nil {
			return nil, err
		}
	}
	return federations, nil
}

// CreateFederation creates f and returns it as the server stored it.
func (c *Cluster) CreateFederation(ctx context.Context, f *v1alpha1.Federation, dryRun bool) (*v1alpha1.Federation, error) {
	o, err := cluster.ToUnstructured(cluster.Federations, f)
	if err != nil {
		return nil, err
	}
	if o, err = c.Create(ctx, cluster.Federations, o, cluster.Write{DryRun: dryRun}); err != nil {
		return nil, c.inOurWords(err)
	}
	made := &v1alpha1.Federation{}
	return made, cluster.FromUnstructured(o, made)
}

// MemberQuery selects members; the zero value selects all.
type MemberQuery struct {
	Federation v1alpha1.FederationName
	// Selector is a label selector as kubectl's -l takes it.
	Selector string
	// Name selects one member.
	Name v1alpha1.MemberName
}

func (q MemberQuery) options() cluster.Options {
	o := cluster.Options{Labels: q.selector()}
	if q.Name != "" {
		o.Fields = "metadata.name=" + string(q.Name)
	}
	return o
}

func (q MemberQuery) selector() string {
	if q.Federation == "" {
		return q.Selector
	}
	s := v1alpha1.LabelFederation + "=" + string(q.Federation)
	if q.Selector != "" {
		s += "," + q.Selector
	}
	return s
}

// Member reads one member.
func (c *Cluster) Member(ctx context.Context, name v1alpha1.MemberName) (*v1alpha1.MemberCluster, error) {
	o, err := c.Get(ctx, MemberRef(name))
	if err != nil {
		return nil, c.inOurWords(err)
	}
	return toMember(o)
}

// FindMember reads one member; nil without an error means that there is none of that name.
func (c *Cluster) FindMember(ctx context.Context, name v1alpha1.MemberName) (*v1alpha1.MemberCluster, error) {
	m, err := c.Member(ctx, name)
	if cluster.IsAbsent(err) {
		return nil, nil
	}
	return m, err
}

// Members reads the members that q selects.
func (c *Cluster) Members(ctx context.Context, q MemberQuery) ([]v1alpha1.MemberCluster, error) {
	members, _, err := c.MembersAt(ctx, q)
	return members, err
}

// MembersAt reads the members that q selects, and the version of that list, from which WatchMembers goes on.
func (c *Cluster) MembersAt(ctx context.Context, q MemberQuery) ([]v1alpha1.MemberCluster, string, error) {
	members, version, err := cluster.ListInto[v1alpha1.MemberCluster](ctx, c.Conn, cluster.MemberClusters, q.options())
	return members, version, c.inOurWords(err)
}

// WatchMembers tells of every change, after the version of a list, of the members that q selects. It returns as
// cluster.WatchInto does.
func (c *Cluster) WatchMembers(ctx context.Context, q MemberQuery, version string, each func(cluster.Event[v1alpha1.MemberCluster]) error) error {
	return c.inOurWords(cluster.WatchInto(ctx, c.Conn, cluster.MemberClusters, q.options(), version, each))
}

func toMember(o *unstructured.Unstructured) (*v1alpha1.MemberCluster, error) {
	m := &v1alpha1.MemberCluster{}
	return m, cluster.FromUnstructured(o, m)
}

// CreateMember posts m, so that of two joins one learns that it was second, and returns what the server
// stored. A refusal is an API status error with one cause per violated rule.
func (c *Cluster) CreateMember(ctx context.Context, m *v1alpha1.MemberCluster, w cluster.Write) (*v1alpha1.MemberCluster, error) {
	o, err := cluster.ToUnstructured(cluster.MemberClusters, m)
	if err != nil {
		return nil, err
	}
	if o, err = c.Create(ctx, cluster.MemberClusters, o, w); err != nil {
		return nil, c.inOurWords(err)
	}
	return toMember(o)
}

// PatchMember applies a JSON merge patch to a member and returns what the server stored. A
// metadata.resourceVersion in the patch is a precondition.
func (c *Cluster) PatchMember(ctx context.Context, name v1alpha1.MemberName, patch map[string]any, w cluster.Write) (*v1alpha1.MemberCluster, error) {
	o, err := c.MergePatch(ctx, MemberRef(name), patch, w)
	if err != nil {
		return nil, c.inOurWords(err)
	}
	return toMember(o)
}

// LabelMember sets and removes labels of a member and returns what the server stored. Setting the same
// key that is removed is the caller's mistake; the removal wins.
func (c *Cluster) LabelMember(ctx context.Context, m *v1alpha1.MemberCluster, set map[string]string, remove []string, w cluster.Write) (*v1alpha1.MemberCluster, error) {
	labels := map[string]any{}
	for k, v := range set {
		labels[k] = v
	}
	for _, k := range remove {
		labels[k] = nil
	}
	metadata := map[string]any{"labels": labels}
	if m.ResourceVersion != "" {
		metadata["resourceVersion"] = m.ResourceVersion
	}
	return c.PatchMember(ctx, v1alpha1.MemberName(m.Name), map[string]any{"metadata": metadata}, w)
}

// Decision is a field of a member's spec that a person sets after the join.
type Decision string

// Decisions are yes or no; no is a field that is not there.
const (
	Accepted  Decision = "accepted"
	Suspended Decision = "suspended"
)

// Decide sets a decision on m and returns what the server stored. A member of the same name that is not m any more is
// left alone: that is a conflict.
func (c *Cluster) Decide(ctx context.Context, m *v1alpha1.MemberCluster, d Decision, yes bool, w cluster.Write) (*v1alpha1.MemberCluster, error) {
	spec := map[string]any{string(d): nil}
	if yes {
		spec[string(d)] = true
	}
	patch := map[string]any{"metadata": map[string]any{"uid": m.UID}, "spec": spec}
	return c.PatchMember(ctx, v1alpha1.MemberName(m.Name), patch, w)
}

// DeleteMember deletes a member if the preconditions hold. Its credential goes with it: garbage collection
// follows the ownerReference.
func (c *Cluster) DeleteMember(ctx context.Context, name v1alpha1.MemberName, p cluster.Preconditions, w cluster.Write) error {
	return c.inOurWords(c.Delete(ctx, MemberRef(name), p, w))
}

// webhookProbe is a name that no federation has; a member of it must be refused.
const webhookProbe = "kubefederate-guard-probe"

// Enforcing says whether the webhook refuses what it must: nil when it does, ErrNotEnforcing or ErrWebhookDown
// when not. The caller must hold the verb join on every federation.
func (c *Cluster) Enforcing(ctx context.Context) error { return c.EnforcingFor(ctx, webhookProbe) }

// EnforcingFor is Guarded for a caller who holds the verb join on one federation only. It is a server dry run
// of a member with a label under our reserved prefix, which no federation allows.
func (c *Cluster) EnforcingFor(ctx context.Context, federation v1alpha1.FederationName) error {
	bad := &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: webhookProbe,
			Labels: map[string]string{
				v1alpha1.LabelFederation:        string(federation),
				v1alpha1.Prefix + "guard-probe": "",
			},
		},
		Spec: v1alpha1.MemberClusterSpec{ClusterID: webhookProbe, Server: "https://guard-probe.invalid"},
	}
	_, err := c.CreateMember(ctx, bad, cluster.Write{DryRun: true})
	if err == nil {
		return fmt.Errorf("host: %w: %s", ErrNotEnforcing, c.Commands.To("install it again", command.Init{}))
	}
	if refusedLabel(err) {
		return nil
	}
	return err
}

// refusedLabel says whether err is the webhook's word about a label: nothing else on a host names the
// field metadata.labels of a member.
func refusedLabel(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	for _, cause := range status.Status().Details.Causes {
		if strings.HasPrefix(cause.Field, "metadata.labels") {
			return true
		}
	}
	return false
}
