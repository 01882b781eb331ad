package discover

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

func TestNameFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		context string
		want    v1alpha1.MemberName
	}{
		{"us-east", "us-east"},
		{"arn:aws:eks:us-east-1:123456789012:cluster/prod-a", "prod-a"},
		{"gke_my-project_europe-west1-b_web", "web"},
		{"kubernetes-admin@kind.local", "kind-local"},
		{"default/api-east-example-com:6443/system:admin", "east-example-com"},
		{"shop/api-east-corp-com:6443/jill@corp.com", "east-corp-com"},
		{"/127-0-0-1:8443/kube:admin", "127-0-0-1"},
		{"team/west", "team-west"},
		{"jill@shop.eu-west-1.eksctl.io", "shop"},
		{"jill@corp.com@shop.eu-west-1.eksctl.io", "shop"},
		{"Prod West", "prod-west"},
		{"--x--", "x"},
		{"日本", ""},
		{strings.Repeat("a", 62) + "-b", v1alpha1.MemberName(strings.Repeat("a", 62))},
	} {
		got := nameFor(tt.context)
		if got != tt.want {
			t.Errorf("nameFor(%q) = %q, want %q", tt.context, got, tt.want)
		}
		if errs := validation.IsDNS1123Label(string(got)); got != "" && len(errs) > 0 {
			t.Errorf("nameFor(%q) = %q is no DNS label: %v", tt.context, got, errs)
		}
	}
}

func TestWithID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name v1alpha1.MemberName
		want v1alpha1.MemberName
	}{
		{"default", "default-6b2f0a11"},
		{"", "6b2f0a11"},
		{v1alpha1.MemberName(strings.Repeat("a", 63)), v1alpha1.MemberName(strings.Repeat("a", 54) + "-6b2f0a11")},
	} {
		if got := withID(tt.name, "6b2f0a11-3f1e-4b5a-9a55-000000000000", shortID); got != tt.want {
			t.Errorf("withID(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}
