package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// leaving tells the journal of members that are to be deleted. It has no way to refuse: a cluster may always leave.
type leaving struct{ *Guard }

var _ admission.Handler = leaving{}

func (l leaving) Handle(ctx context.Context, request admission.Request) admission.Response {
	ctx = admission.NewContextWithRequest(ctx, request)
	// What goes wrong is counted, and the watch tells a moment later.
	_, _ = l.metrics.count(ctx, resourceMembers, func() (rules.Verdict, error) {
		if request.DryRun != nil && *request.DryRun {
			return rules.Verdict{}, nil
		}
		return rules.Verdict{}, l.note(ctx, request.OldObject.Raw)
	})
	return admission.Allowed("")
}

func (l leaving) note(ctx context.Context, raw []byte) error {
	var m v1alpha1.MemberCluster
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("read the member to delete: %w", err)
	}
	if m.Name == "" || m.UID == "" || m.Federation() == "" {
		return errors.New("the object to delete is no member")
	}
	return l.journal.Leave(ctx, &m)
}
