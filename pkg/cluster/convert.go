package cluster

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// ToUnstructured is a typed object as it is sent, without its status, which is others' to write.
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

// Covers says whether live already is as desired says: every field of desired is in live with the same
// value. Lists are compared whole, since those in our objects are what the object grants.
func Covers(live, desired any) bool {
	want, ok := desired.(map[string]any)
	if !ok {
		return fmt.Sprint(live) == fmt.Sprint(desired)
	}
	have, ok := live.(map[string]any)
	if !ok {
		return false
	}
	for key, value := range want {
		if !Covers(have[key], value) {
			return false
		}
	}
	return true
}
