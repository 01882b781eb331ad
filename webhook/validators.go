package webhook

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// members validates MemberClusters.
type members struct{ *Guard }

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
	what := fmt.Sprintf("member %q", c.New.Name)
	verdict, err := v.judge(ctx, what, func(s rules.Snapshot) rules.Verdict { return rules.JudgeMember(s, c) })
	if err != nil {
		return nil, err
	}
	if err := c.Error(verdict); err != nil {
		return verdict.WarningTexts(), err
	}
	if v.journal != nil {
		request, err := admission.RequestFromContext(ctx)
		if err != nil {
			return nil, undecided(what, err)
		}
		dryRun := request.DryRun != nil && *request.DryRun
		if err := v.journal.Admit(ctx, c, dryRun); err != nil {
			return verdict.WarningTexts(), err
		}
	}
	return verdict.WarningTexts(), nil
}

// federations validates Federations.
type federations struct{ *Guard }

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
	verdict, err := v.judge(ctx, fmt.Sprintf("federation %q", name), func(s rules.Snapshot) rules.Verdict { return rules.JudgeFederation(s, c) })
	if err != nil {
		return nil, err
	}
	return verdict.WarningTexts(), c.Error(verdict)
}
