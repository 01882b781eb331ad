package controller

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// empty is a host that holds nothing.
type empty struct{ client.Client }

func (empty) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(corev1.Resource("namespaces"), key.Name)
}

// TestFaultsText holds that no fault of a second namespace is hidden behind that of the first.
func TestFaultsText(t *testing.T) {
	t.Parallel()
	for want, given := range map[string]string{"a": "a", "a; b": "aab", "a; b; c; d; e": "abcade", "a; b; c; d; e; and 2 more": "abcdefag"} {
		var faults []fault
		for _, message := range given {
			faults = append(faults, fault{v1alpha1.ReasonNamespaceMissing, string(message)})
		}
		if got := faultsText(faults); got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}

// TestMissingNamespace holds that one command makes a namespace that does not exist fit for the inventory.
func TestMissingNamespace(t *testing.T) {
	t.Parallel()
	for key, want := range map[inventoryKey]string{
		{namespace: "fleet"}: `namespace "fleet" does not exist; create it and let the federation publish there: kubectl federate grant prod --inventory fleet`,
		{namespace: "prod-credentials", credentials: true}: `namespace "prod-credentials" does not exist; create it and let the federation publish there: ` +
			`kubectl federate grant prod --inventory-credentials prod-credentials`,
	} {
		f, readable := key.judge(t.Context(), empty{}, "prod")
		if f == nil || *f != (fault{v1alpha1.ReasonNamespaceMissing, want}) || readable {
			t.Errorf("%+v: got %+v, readable %t; want %s", key, f, readable, want)
		}
	}
}
