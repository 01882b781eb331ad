package cluster

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// ToUnstructured is a typed object as it is sent, without its status, which the manager writes.
func ToUnstructured(r Resource, typed any) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil, err
	}
	unstructured.RemoveNestedField(m, "metadata", "creationTimestamp")
	delete(m, "status")
	o := &unstructured.Unstructured{Object: m}
	o.SetGroupVersionKind(r.GroupVersion().WithKind(r.Kind))
	return o, nil
}

// FromUnstructured reads o into typed.
func FromUnstructured(o *unstructured.Unstructured, typed any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed)
}

// Covers says whether live has every field of desired, with the same value. Lists are compared as a whole, since those in the
// objects of a membership are what the object grants.
func Covers(live, desired any) bool {
	switch want := desired.(type) {
	case map[string]any:
		have, ok := live.(map[string]any)
		for key, value := range want {
			ok = ok && Covers(have[key], value)
		}
		return ok
	case []any:
		have, ok := live.([]any)
		return ok && slices.EqualFunc(have, want, func(a, b any) bool { return Covers(a, b) && Covers(b, a) })
	case string:
		return live == desired
	}
	return fmt.Sprint(live) == fmt.Sprint(desired) // numbers are of several types
}
