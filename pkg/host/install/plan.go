package install

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// Plan reports what Apply would do to objects, as far as reading them shows: one that has every field of its manifest is unchanged.
func Plan(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured, report Report) error {
	lives := make([]*unstructured.Unstructured, len(objects))
	errs := cluster.ForEach(len(objects), func(i int) (err error) {
		lives[i], err = h.Find(ctx, refOf(objects[i]))
		return err
	})
	for i, object := range objects {
		switch live := lives[i]; {
		case errs[i] != nil:
			return errs[i]
		case live == nil:
			report(object, Created)
		case holds(live.Object, object.Object):
			report(object, Unchanged)
		default:
			report(object, Configured)
		}
	}
	return nil
}

// PlanWithKeys is Plan for the objects of manifests and the keys.
func PlanWithKeys(ctx context.Context, h *host.Cluster, o manifests.Options, report Report) error {
	objects, err := objectsAsCalled(ctx, h, o)
	if err != nil {
		return err
	}
	return Plan(ctx, h, objects, report)
}

// objectsAsCalled are the objects of manifests and the keys, with the webhook called as it is today: no keys are made.
func objectsAsCalled(ctx context.Context, h *host.Cluster, o manifests.Options) ([]*unstructured.Unstructured, error) {
	state, err := ReadKeys(ctx, h)
	if err != nil {
		return nil, err
	}
	if !state.CertManager {
		o.Calls = state.Calls()
	}
	objects, err := manifests.Objects(o)
	if err != nil {
		return nil, err
	}
	return WithKeys(objects), nil
}

// holds says whether a value has everything that is wanted of it. Servers add defaults to maps, and leave out what is empty.
func holds(has, wanted any) bool {
	switch wanted := wanted.(type) {
	case map[string]any:
		fields, _ := has.(map[string]any)
		for key, value := range wanted {
			if !holds(fields[key], value) {
				return false
			}
		}
		return true
	case []any:
		items, _ := has.([]any)
		if len(items) != len(wanted) {
			return false
		}
		for i := range wanted {
			if !holds(items[i], wanted[i]) {
				return false
			}
		}
		return true
	case nil:
		return true
	}
	return fmt.Sprint(has) == fmt.Sprint(wanted) // a number is an integer here and a float there
}
