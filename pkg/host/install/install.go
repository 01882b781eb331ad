// Package install creates the objects of manifests/ on a host cluster, updates them, and deletes them again.
package install

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// versioned is the installed object whose label has the installed version: joiners may read it.
var versioned = func() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("apiextensions.k8s.io/v1")
	o.SetKind("CustomResourceDefinition")
	o.SetName("federations.kubefederate.io")
	return o
}()

// Outcome is what applying or deleting did to an object.
type Outcome string

// Outcomes, in the words that kubectl apply and kubectl delete print.
const (
	Created    Outcome = "created"
	Configured Outcome = "configured"
	Unchanged  Outcome = "unchanged"
	Deleted    Outcome = "deleted"
	// Unlabeled is a namespace that has lost the label of an inventory.
	Unlabeled Outcome = "unlabeled"
	// Planned is an object that a server dry run cannot evaluate, since its namespace, or the role that it binds, does not exist yet.
	Planned Outcome = "created (planned)"
)

// Report is called with the outcome of each object.
type Report func(*unstructured.Unstructured, Outcome)

// Version is the version of kubectl federate that is installed on the host; empty when none is.
func Version(ctx context.Context, h *host.Cluster) (string, error) {
	crd, err := h.Find(ctx, refOf(versioned))
	if err != nil || crd == nil {
		return "", err
	}
	return crd.GetLabels()[manifests.LabelVersion], nil
}

// Newer says whether the version have is newer than want, by semantic versioning. A version that cannot
// be parsed is never newer.
func Newer(have, want string) bool {
	h, err := version.ParseSemantic(have)
	if err != nil {
		return false
	}
	w, err := version.ParseSemantic(want)
	return err == nil && w.LessThan(h)
}

// Apply applies objects to the host, in their order, and reports each one.
func Apply(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured, dryRun cluster.DryRun, report Report) error {
	planned, roles := map[string]bool{}, map[string]bool{}
	for _, object := range objects {
		before, after, err := apply(ctx, h, object, planned[object.GetNamespace()], dryRun)
		if name, _, _ := unstructured.NestedString(object.Object, "roleRef", "name"); apierrors.IsNotFound(err) && roles[name] {
			err = nil // after is nil, too; the server reads the role for those who do not have the verb bind
		}
		if err != nil {
			return err
		}
		if after == nil {
			report(object, Planned)
			continue
		}
		switch {
		case before == nil:
			switch kind := object.GetKind(); {
			case dryRun == cluster.DryRunNone:
			case kind == cluster.Namespaces.Kind:
				planned[object.GetName()] = true
			case kind == cluster.Roles.Kind, kind == cluster.ClusterRoles.Kind:
				roles[object.GetName()] = true
			}
			report(object, Created)
		case equal(before, after):
			report(object, Unchanged)
		default:
			report(object, Configured)
		}
	}
	return nil
}

// maxRereads is how often apply reads an object again that others write to, such as the journal.
const maxRereads = 10

// apply applies an object and returns it as it was before and after: nil before where it did not exist, and nil after where a dry
// run cannot evaluate it since its namespace is only planned. What another client changes between the two reads would look like a
// change of the dry run's, which stores nothing and so leaves the resource version.
func apply(ctx context.Context, h *host.Cluster, object *unstructured.Unstructured, planned bool, dryRun cluster.DryRun) (before, after *unstructured.Unstructured, err error) {
	ref := refOf(object)
	for range maxRereads {
		if before, err = h.Find(ctx, ref); err != nil || before == nil && planned {
			return nil, nil, err
		}
		if after, err = h.Apply(ctx, ref.Resource, object, dryRun); err != nil {
			return nil, nil, err
		}
		if before == nil || dryRun == cluster.DryRunNone || before.GetResourceVersion() == after.GetResourceVersion() {
			break
		}
	}
	return before, after, nil
}

// Serves says whether the host serves the kind of an object.
func Serves(ctx context.Context, h *host.Cluster, object *unstructured.Unstructured) (bool, error) {
	_, err := h.Get(ctx, refOf(object))
	if cluster.IsNotServed(err) {
		return false, nil
	}
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return err == nil, err
}

// Compare returns which of objects are missing on the host, and which Apply would change. It is a server dry run of Apply
// and takes the same rights.
func Compare(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured) (missing, changed []cluster.Ref, err error) {
	err = Apply(ctx, h, objects, cluster.DryRunServer, func(o *unstructured.Unstructured, outcome Outcome) {
		switch outcome {
		case Created, Planned:
			missing = append(missing, refOf(o))
		case Configured:
			changed = append(changed, refOf(o))
		}
	})
	return missing, changed, err
}

// Present is those of objects that are on the host, in the order in which Delete removes them: what admits first, since a
// webhook without its manager, or a policy without the roles that it asks for, would refuse the rest; then the last one
// first. It only reads.
func Present(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var present []*unstructured.Unstructured
	for _, object := range objects {
		got, err := h.Find(ctx, refOf(object))
		if err != nil {
			return nil, err
		}
		if got != nil {
			present = append(present, got)
		}
	}
	slices.Reverse(present)
	slices.SortStableFunc(present, func(a, b *unstructured.Unstructured) int { return webhookFirst(a) - webhookFirst(b) })
	return present, nil
}

// Delete deletes objects on the host and returns when all are gone. One that does not exist is skipped. The
// CustomResourceDefinitions and namespaces are annotated first to allow it; a dry run cannot do that, so it does not send
// their deletion.
func Delete(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured, dryRun cluster.DryRun, report Report) error {
	present, err := Present(ctx, h, objects)
	if err != nil {
		return err
	}
	for _, object := range present {
		ref := refOf(object)
		if kind := object.GetKind(); kind == versioned.GetKind() || kind == "Namespace" {
			if dryRun != cluster.DryRunNone {
				report(object, Deleted)
				continue
			}
			allow := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationAllowDeletion: "true"}}}
			if _, err := h.MergePatch(ctx, ref, allow, dryRun); err != nil {
				return err
			}
		}
		if err := h.Delete(ctx, ref, cluster.Preconditions{UID: object.GetUID()}, dryRun); err != nil {
			return err
		}
		report(object, Deleted)
	}
	if dryRun != cluster.DryRunNone {
		return nil
	}
	for _, object := range present {
		if err := gone(ctx, h, refOf(object)); err != nil {
			return err
		}
	}
	return nil
}

func webhookFirst(o *unstructured.Unstructured) int {
	switch o.GetKind() {
	case "ValidatingWebhookConfiguration":
		return 0
	case "ValidatingAdmissionPolicyBinding":
		return 1
	case "ValidatingAdmissionPolicy":
		return 2
	}
	return 3
}

func gone(ctx context.Context, h *host.Cluster, ref cluster.Ref) error {
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		left, err := h.Find(ctx, ref)
		return left == nil && err == nil, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("host: %s is still being deleted; %s", ref, h.Commands.To("see what keeps it", command.KubectlGet{Object: ref.Object(), Output: "yaml"}))
	}
	return err
}

// refOf names an object of manifests/ without asking the host for its kind.
func refOf(o *unstructured.Unstructured) cluster.Ref {
	kind := o.GroupVersionKind()
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	resource := cluster.Resource{GroupVersionResource: plural, Kind: kind.Kind}
	return resource.Of(o)
}

// equal compares two states of one object without the metadata that every apply changes.
func equal(a, b *unstructured.Unstructured) bool {
	strip := func(o *unstructured.Unstructured) map[string]any {
		o = o.DeepCopy()
		o.SetManagedFields(nil)
		o.SetResourceVersion("")
		return o.Object
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

// Describe names an object as kubectl does: "namespace/kubefederate-system".
func Describe(o *unstructured.Unstructured) string {
	_, name := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	return name.GroupResource().String() + "/" + o.GetName()
}
