package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

const (
	// maxNotJoined is how many clusters the status of a federation lists, and maxReason how long each of their reasons is.
	maxNotJoined, maxReason = 10, 1024
	// maxCluster is how long the name of one is.
	maxCluster = 317
)

// report writes what was found: to the status of each federation, and to the members that discovery joined.
func (c *controller) report(ctx context.Context, s *state, rows []row, all []presence, failed unreadable) error {
	errs := []error{c.reportFound(ctx, s, rows, all, failed)}
	for i := range all {
		errs = append(errs, c.writeMember(ctx, &all[i]))
	}
	c.record(rows)
	return errors.Join(errs...)
}

// reportFound writes what was found to the status of each federation, and counts it.
func (c *controller) reportFound(ctx context.Context, s *state, rows []row, all []presence, failed unreadable) error {
	count := map[discover.State]int{}
	for i := range rows {
		if rows[i].State != discover.Joined {
			count[rows[i].State]++
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.federations)) {
		f := s.federations[name]
		status := c.statusOf(f, rows, all)
		if status != nil {
			count[discover.Joined] += int(status.Joined)
			count[discover.Gone] += int(status.Gone)
		}
		errs = append(errs, c.writeFederation(ctx, f, status, c.discovering(s, f, failed)))
	}
	for _, state := range states {
		c.metrics.clusters.WithLabelValues(string(state)).Set(float64(count[state]))
	}
	return errors.Join(errs...)
}

// statusOf is what was found for a federation; nil where it does not discover.
func (c *controller) statusOf(f *v1alpha1.Federation, rows []row, all []presence) *v1alpha1.DiscoveryStatus {
	if f.Spec.Discovery == nil {
		return nil
	}
	name := v1alpha1.FederationName(f.Name)
	status := &v1alpha1.DiscoveryStatus{}
	for i := range all {
		if p := &all[i]; p.federation == f && p.gone() {
			status.Gone++
		}
	}
	status.Joined = int32(len(c.memory.Members(name)))
	status.Found = status.Joined
	for _, r := range inTurns(rows) {
		if r.federation.Name != f.Name || r.State == discover.Joined {
			continue
		}
		status.Found++
		if len(status.NotJoined) < maxNotJoined {
			status.NotJoined = append(status.NotJoined, v1alpha1.NotJoined{
				Cluster: text.Cut(r.Candidate.String(), maxCluster), State: string(r.State), Reason: text.Cut(r.Reason, maxReason),
			})
		}
	}
	return status
}

// discovering is the condition Discovering of a federation: whether the controller can do what its spec asks for.
func (c *controller) discovering(s *state, f *v1alpha1.Federation, failed unreadable) *metav1.Condition {
	if f.Spec.Discovery == nil {
		return nil
	}
	condition := &metav1.Condition{
		Type: v1alpha1.ConditionDiscovering, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDiscovering, ObservedGeneration: f.Generation,
		Message: "all sources are read",
	}
	name := v1alpha1.FederationName(f.Name)
	if !s.granted.discover[name] {
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonNotGranted
		condition.Message = c.host.Commands.To("discovery may not join clusters to the federation; to let it", command.Grant{Federation: name, Discovery: true})
		return condition
	}
	for i := range f.Spec.Discovery.Sources {
		source := &f.Spec.Discovery.Sources[i]
		if err := failed.of(source.Kind, source.Namespaces...); err != nil {
			condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonSourceUnreadable
			condition.Message = fmt.Sprintf("%s: %s", source.Kind, output.Reason(err))
			return condition
		}
	}
	if namespace, what := s.granted.skipped(f); what != "" {
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonNotGranted
		condition.Message = c.host.Commands.To(what+"; to let it read all", command.GrantSecret{Namespace: namespace})
	}
	return condition
}

// writeFederation writes what discovery says of a federation, where that has changed.
func (c *controller) writeFederation(ctx context.Context, f *v1alpha1.Federation, status *v1alpha1.DiscoveryStatus, condition *metav1.Condition) error {
	was := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.ConditionDiscovering)
	if reflect.DeepEqual(f.Status.Discovery, status) && sameCondition(was, condition) {
		return nil
	}
	content := map[string]any{}
	if status != nil {
		if value, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status); err == nil {
			content["discovery"] = value
		}
	}
	if condition != nil {
		content["conditions"] = []any{conditionOf(was, condition)}
	}
	if err := c.writeStatus(ctx, "Federation", f.Name, f.UID, content); err != nil {
		return err
	}
	f.Status.Discovery = status
	if condition != nil {
		meta.SetStatusCondition(&f.Status.Conditions, *condition)
	} else {
		meta.RemoveStatusCondition(&f.Status.Conditions, v1alpha1.ConditionDiscovering)
	}
	return nil
}

// writeMember writes whether the object of a member is there, where that has changed.
func (c *controller) writeMember(ctx context.Context, p *presence) error {
	was := meta.FindStatusCondition(p.member.Status.Conditions, v1alpha1.ConditionSourcePresent)
	if sameCondition(was, &p.condition) {
		return nil
	}
	return c.writeStatus(ctx, "MemberCluster", p.member.Name, p.member.UID, map[string]any{"conditions": []any{conditionOf(was, &p.condition)}})
}

// writeStatus applies what this controller owns of a status. An object that is gone has none.
func (c *controller) writeStatus(ctx context.Context, kind, name string, uid types.UID, status map[string]any) error {
	o := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	o.SetAPIVersion(v1alpha1.GroupVersion.String())
	o.SetKind(kind)
	o.SetName(name)
	o.SetUID(uid)
	err := c.client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(v1alpha1.DiscoveryFieldOwner), client.ForceOwnership)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func sameCondition(a, b *metav1.Condition) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message && a.ObservedGeneration == b.ObservedGeneration
}

// conditionOf is a condition as it is written: the time of its change is that of the status.
func conditionOf(was, condition *metav1.Condition) map[string]any {
	written := []metav1.Condition{}
	if was != nil {
		written = append(written, *was)
	}
	meta.SetStatusCondition(&written, *condition)
	value, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&written[0])
	if err != nil {
		return nil
	}
	return value
}

// record records an Event for each cluster that is not joined for another reason than before.
func (c *controller) record(rows []row) {
	reported := map[string]string{}
	for i := range rows {
		r := &rows[i]
		if r.State == discover.Joined {
			continue
		}
		key, now := r.federation.Name+" "+r.Candidate.String(), string(r.State)+": "+r.Reason
		reported[key] = now
		if c.reported[key] != now {
			c.event(r.federation, r.source().Reference(), corev1.EventTypeWarning, "NotJoined", r.Candidate.String()+": "+now)
		}
	}
	c.reported = reported
}

// maxNote is how long the text of an Event may be, in bytes.
const maxNote = 1024

// event records an Event of a federation. Events that differ in their text alone are counted as one, with the text of the first:
// they differ by related.
func (c *controller) event(f *v1alpha1.Federation, related runtime.Object, kind, reason, note string) {
	c.recorder.Eventf(f, related, kind, reason, "Discover", "%s", text.Cut(note, maxNote))
}
