package webhook

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// members validates MemberClusters.
type members struct{ *Server }

var _ admission.Validator[*v1alpha1.MemberCluster] = members{}

func (v members) ValidateCreate(ctx context.Context, m *v1alpha1.MemberCluster) (admission.Warnings, error) {
	return v.validate(ctx, rules.MemberChange{New: m})
}

func (v members) ValidateUpdate(ctx context.Context, before, after *v1alpha1.MemberCluster) (admission.Warnings, error) {
	return v.validate(ctx, rules.MemberChange{Old: before, New: after})
}

// ValidateDelete is never asked: a cluster may always leave.
func (members) ValidateDelete(context.Context, *v1alpha1.MemberCluster) (admission.Warnings, error) {
	return nil, nil
}

func (v members) validate(ctx context.Context, c rules.MemberChange) (admission.Warnings, error) {
	return v.metrics.count(ctx, resourceMembers, func() (rules.Verdict, error) {
		verdict, err := v.judge(ctx, fmt.Sprintf("member %q", c.New.Name), journal.Request{Member: &c})
		if err != nil {
			return verdict, err
		}
		return verdict, verdict.Error(rules.KindMemberCluster, c.New.Name)
	})
}

// federations validates Federations.
type federations struct{ *Server }

var _ admission.Validator[*v1alpha1.Federation] = federations{}

func (v federations) ValidateCreate(ctx context.Context, f *v1alpha1.Federation) (admission.Warnings, error) {
	return v.validate(ctx, f.Name, rules.FederationChange{New: f})
}

func (v federations) ValidateUpdate(ctx context.Context, before, after *v1alpha1.Federation) (admission.Warnings, error) {
	return v.validate(ctx, after.Name, rules.FederationChange{Old: before, New: after})
}

func (v federations) ValidateDelete(ctx context.Context, f *v1alpha1.Federation) (admission.Warnings, error) {
	return v.validate(ctx, f.Name, rules.FederationChange{Old: f})
}

func (v federations) validate(ctx context.Context, name string, c rules.FederationChange) (admission.Warnings, error) {
	return v.metrics.count(ctx, resourceFederations, func() (rules.Verdict, error) {
		verdict, err := v.judge(ctx, fmt.Sprintf("federation %q", name), journal.Request{Federation: &c})
		if err != nil {
			return verdict, err
		}
		return verdict, verdict.Error(rules.KindFederation, name)
	})
}
