package check

import (
	"errors"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

const timeFormat = time.RFC3339

// webhookCause is why nobody guards, without the command that goes with it.
func webhookCause(err error) string {
	switch {
	case errors.Is(err, host.ErrWebhookDown):
		return host.ErrWebhookDown.Error() + ", so the API server refuses every change of a federation or a member"
	case errors.Is(err, host.ErrNotEnforcing):
		return "the webhook does not look at members, so the rules of federations do not hold"
	}
	return "whether the webhook is enforcing is not known: " + err.Error()
}

func webhookRemedy(err error, initAgain string) string {
	if errors.Is(err, host.ErrWebhookDown) {
		return "kubectl get pods --namespace " + v1alpha1.HostNamespace
	}
	return initAgain
}
