package install

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// AddSubjects applies the roles among objects, and gives them to the subjects of the bindings among them: those that a binding has keep
// its role. A binding that another client changes meanwhile is read again, so that none of two who give a role at once is lost. What is
// stored, or would be, is left in objects. A client's dry run reads only.
func AddSubjects(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured, dryRun cluster.DryRun, report Report) error {
	created := map[string]bool{} // roles that are there in a dry run only
	for i, object := range objects {
		if object.Object["roleRef"] == nil {
			err := applyRole(ctx, h, objects[i:i+1], dryRun, func(o *unstructured.Unstructured, outcome Outcome) {
				created[o.GetName()] = outcome == Created && dryRun != cluster.DryRunNone
				report(o, outcome)
			})
			if err != nil {
				return err
			}
			continue
		}
		outcome, err := changeSubjects(ctx, h, object, dryRun, withSubjects)
		if apierrors.IsNotFound(err) && created[roleOf(object)] {
			outcome, err = Planned, nil
		}
		if err != nil {
			return err
		}
		report(object, outcome)
	}
	return nil
}

// RemoveSubjects takes the role of each binding among objects from its subjects, and deletes a binding that has no others, and then a role
// among objects that nothing binds any more. Absent is called for what does not exist.
func RemoveSubjects(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured, dryRun cluster.DryRun, report Report, absent func(*unstructured.Unstructured)) error {
	gone := map[string]bool{} // ClusterRoleBindings
	for _, object := range objects {
		if object.Object["roleRef"] == nil {
			continue
		}
		outcome, err := changeSubjects(ctx, h, object, dryRun, withoutSubjects)
		if err != nil {
			return err
		}
		if object.GetNamespace() == "" {
			gone[object.GetName()] = outcome == "" || outcome == Deleted
		}
		if outcome == "" {
			absent(object)
		} else {
			report(object, outcome)
		}
	}
	for _, object := range objects {
		if object.Object["roleRef"] != nil || !gone[object.GetName()] { // the binding of a role has its name
			continue
		}
		if err := removeUnbound(ctx, h, object, gone, dryRun, report, absent); err != nil {
			return err
		}
	}
	return nil
}

// removeUnbound deletes a ClusterRole that no ClusterRoleBinding but those that are gone gives. Where the caller may not list them, it stays.
func removeUnbound(ctx context.Context, h *host.Cluster, role *unstructured.Unstructured, gone map[string]bool, dryRun cluster.DryRun, report Report, absent func(*unstructured.Unstructured)) error {
	live, err := h.Find(ctx, refOf(role))
	if err != nil {
		return err
	}
	if live == nil {
		absent(role)
		return nil
	}
	bindings, err := h.List(ctx, cluster.ClusterRoleBindings, cluster.ListOptions{})
	if apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range bindings {
		if roleOf(&bindings[i]) == role.GetName() && !gone[bindings[i].GetName()] {
			return nil
		}
	}
	if dryRun != cluster.DryRunClient {
		err = h.Delete(ctx, refOf(role), cluster.Preconditions{UID: live.GetUID()}, dryRun)
	}
	if err == nil {
		report(role, Deleted)
	}
	return err
}

// applyRole is Apply of one role, or in a client's dry run what it would do.
func applyRole(ctx context.Context, h *host.Cluster, role []*unstructured.Unstructured, dryRun cluster.DryRun, report Report) error {
	if dryRun != cluster.DryRunClient {
		return Apply(ctx, h, role, dryRun, report)
	}
	live, err := h.Find(ctx, refOf(role[0]))
	switch {
	case err != nil:
		return err
	case live == nil:
		report(role[0], Created)
	case reflect.DeepEqual(live.Object["rules"], role[0].Object["rules"]):
		report(role[0], Unchanged)
	default:
		report(role[0], Configured)
	}
	return nil
}

// withSubjects are have and those of named that are not among them.
func withSubjects(have, named []any) []any {
	for _, s := range named {
		if !slices.ContainsFunc(have, func(other any) bool { return subject(other) == subject(s) }) {
			have = append(have, s)
		}
	}
	return have
}

// withoutSubjects are have without named.
func withoutSubjects(have, named []any) []any {
	return slices.DeleteFunc(have, func(s any) bool {
		return slices.ContainsFunc(named, func(other any) bool { return subject(other) == subject(s) })
	})
}

// subject is what makes subjects differ: the group of the API follows from the kind.
func subject(s any) [3]string {
	fields, _ := s.(map[string]any)
	var id [3]string
	for i, name := range []string{"kind", "namespace", "name"} {
		id[i], _ = fields[name].(string)
	}
	return id
}

// roleOf is the name of the role that a binding gives.
func roleOf(binding *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(binding.Object, "roleRef", "name")
	return name
}

// changeSubjects changes the subjects of the binding that object names, and leaves in object those that it has then. The outcome is
// empty where there is no binding to take subjects from.
func changeSubjects(ctx context.Context, h *host.Cluster, object *unstructured.Unstructured, dryRun cluster.DryRun, change func(have, named []any) []any) (outcome Outcome, err error) {
	ref := refOf(object)
	named, _, err := unstructured.NestedSlice(object.Object, "subjects")
	if err != nil {
		return "", err
	}
	for range maxRereads {
		live, unread := h.Find(ctx, ref)
		if unread != nil {
			return "", unread
		}
		if live == nil {
			want := change(nil, named)
			if len(want) == 0 {
				return "", nil
			}
			object.Object["subjects"] = want
			if dryRun != cluster.DryRunClient {
				_, err = h.Create(ctx, ref.Resource, object, dryRun)
			}
			if apierrors.IsAlreadyExists(err) {
				continue
			}
			return Created, err
		}
		if role := roleOf(live); role != roleOf(object) {
			return "", fmt.Errorf("host: %s gives role %q in place of %q: delete it first", ref, role, roleOf(object))
		}
		have, _, malformed := unstructured.NestedSlice(live.Object, "subjects")
		if malformed != nil {
			return "", fmt.Errorf("host: %s: %w", ref, malformed)
		}
		before := len(have)
		want := change(have, named)
		object.Object["subjects"] = want
		switch {
		case len(want) == before:
			return Unchanged, nil
		case len(want) == 0:
			outcome = Deleted
			if dryRun != cluster.DryRunClient {
				err = h.Delete(ctx, ref, cluster.Preconditions{UID: live.GetUID(), ResourceVersion: live.GetResourceVersion()}, dryRun)
			}
		default:
			outcome = Configured
			if dryRun != cluster.DryRunClient {
				_, err = h.MergePatch(ctx, ref, map[string]any{
					"metadata": map[string]any{"uid": string(live.GetUID()), "resourceVersion": live.GetResourceVersion()}, "subjects": want,
				}, dryRun)
			}
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return outcome, err
		}
	}
	return "", err
}
