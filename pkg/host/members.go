package host

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// MemberQuery selects members; the zero value selects all.
type MemberQuery struct {
	Federation v1alpha1.FederationName
	// Selector is a label selector as kubectl's -l takes it.
	Selector string
	// Name selects one member.
	Name v1alpha1.MemberName
}

func (q MemberQuery) options() cluster.ListOptions {
	o := cluster.ListOptions{Labels: q.Selector}
	if q.Federation != "" {
		o.Labels = strings.TrimSuffix(v1alpha1.LabelFederation+"="+string(q.Federation)+","+q.Selector, ",")
	}
	if q.Name != "" {
		o.Fields = "metadata.name=" + string(q.Name)
	}
	return o
}

// Member reads one member.
func (c *Cluster) Member(ctx context.Context, name v1alpha1.MemberName) (*v1alpha1.MemberCluster, error) {
	o, err := c.Get(ctx, MemberRef(name))
	return typed[v1alpha1.MemberCluster](c, o, err)
}

// FindMember reads one member; nil without an error means that it does not exist.
func (c *Cluster) FindMember(ctx context.Context, name v1alpha1.MemberName) (*v1alpha1.MemberCluster, error) {
	m, err := c.Member(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return m, err
}

// Members reads the members that q selects.
func (c *Cluster) Members(ctx context.Context, q MemberQuery) ([]v1alpha1.MemberCluster, error) {
	members, _, err := c.ListMembers(ctx, q)
	return members, err
}

// ListMembers reads the members that q selects, and the version of that list, from which WatchMembers continues.
func (c *Cluster) ListMembers(ctx context.Context, q MemberQuery) ([]v1alpha1.MemberCluster, string, error) {
	members, version, err := cluster.List[v1alpha1.MemberCluster](ctx, c.Conn, cluster.MemberClusters, q.options())
	return members, version, c.explain(err)
}

// WatchMembers calls each with every change, after the version of a list, of the members that q selects. It returns as
// cluster.Watch does.
func (c *Cluster) WatchMembers(ctx context.Context, q MemberQuery, version string, each func(cluster.Event[v1alpha1.MemberCluster]) error) error {
	return c.explain(cluster.Watch(ctx, c.Conn, cluster.MemberClusters, q.options(), version, each))
}

// PostMember posts a MemberCluster as it is sent and returns what the server stored: of two joins of one name, the second gets
// an error. A refusal is an API status error with one cause per violated rule.
func (c *Cluster) PostMember(ctx context.Context, m *unstructured.Unstructured, dryRun cluster.DryRun) (*v1alpha1.MemberCluster, error) {
	o, err := c.Create(ctx, cluster.MemberClusters, m, dryRun)
	return typed[v1alpha1.MemberCluster](c, o, err)
}

// PatchMember applies a JSON merge patch to a member and returns what the server stored. A
// metadata.resourceVersion in the patch is a precondition.
func (c *Cluster) PatchMember(ctx context.Context, name v1alpha1.MemberName, patch map[string]any, dryRun cluster.DryRun) (*v1alpha1.MemberCluster, error) {
	o, err := c.MergePatch(ctx, MemberRef(name), patch, dryRun)
	return typed[v1alpha1.MemberCluster](c, o, err)
}

// LabelMember sets and removes labels of m and returns what the server stored. A key that is in both is removed. If m has changed
// since it was read, that is a conflict.
func (c *Cluster) LabelMember(ctx context.Context, m *v1alpha1.MemberCluster, set map[string]string, remove []string, dryRun cluster.DryRun) (*v1alpha1.MemberCluster, error) {
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
	labeled, err := c.PatchMember(ctx, v1alpha1.MemberName(m.Name), map[string]any{"metadata": metadata}, dryRun)
	return labeled, c.explainDenied(ctx, m.Federation(), v1alpha1.VerbJoin, err)
}

// Decision is a field of a member's spec that a person sets after the join.
type Decision string

// Decisions are yes or no; no is an absent field.
const (
	Accepted  Decision = "accepted"
	Suspended Decision = "suspended"
)

// Decide sets a decision on m and returns what the server stored. A suspension is for Suspended alone, and may be nil. If a later member
// has the name of m now, that is a conflict.
func (c *Cluster) Decide(ctx context.Context, m *v1alpha1.MemberCluster, d Decision, yes bool, s *v1alpha1.Suspension, dryRun cluster.DryRun) (
	*v1alpha1.MemberCluster, error,
) {
	spec := map[string]any{string(d): nil}
	if yes {
		spec[string(d)] = true
	}
	if d == Suspended {
		spec["suspension"] = nil
		if s != nil { // what is left out of a merge patch stays
			spec["suspension"] = map[string]any{"reason": s.Reason, "until": s.Until}
		}
	}
	patch := map[string]any{"metadata": map[string]any{"uid": m.UID}, "spec": spec}
	verb := v1alpha1.VerbJoin
	if d == Accepted {
		verb = v1alpha1.VerbApprove
	}
	decided, err := c.PatchMember(ctx, v1alpha1.MemberName(m.Name), patch, dryRun)
	return decided, c.explainDenied(ctx, m.Federation(), verb, err)
}

// RequestProbe asks the manager to probe m at once. When it has, status.observedProbeRequest is the request. If a later member
// has the name of m now, that is a conflict.
func (c *Cluster) RequestProbe(ctx context.Context, m *v1alpha1.MemberCluster, request string) (*v1alpha1.MemberCluster, error) {
	return c.PatchMember(ctx, v1alpha1.MemberName(m.Name), map[string]any{"metadata": map[string]any{
		"uid": m.UID, "annotations": map[string]any{v1alpha1.AnnotationProbeRequested: request},
	}}, cluster.DryRunNone)
}

// DeleteMember deletes a member if the preconditions hold. Its credential goes with it: garbage collection
// follows the ownerReference.
func (c *Cluster) DeleteMember(ctx context.Context, name v1alpha1.MemberName, p cluster.Preconditions, dryRun cluster.DryRun) error {
	return c.explain(c.Delete(ctx, MemberRef(name), p, dryRun))
}
