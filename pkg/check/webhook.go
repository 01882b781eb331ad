package check

import (
	"errors"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

const timeFormat = time.RFC3339

// webhookCause is why the webhook does not enforce, without the command that goes with it.
func webhookCause(err error) string {
	switch {
	case errors.Is(err, host.ErrWebhookDown):
		return host.ErrWebhookDown.Error() + ", so the API server refuses every change of a federation or a member"
	case errors.Is(err, host.ErrNotEnforcing):
		return host.ErrNotEnforcing.Error()
	}
	return "whether the webhook is enforcing is not known: " + err.Error()
}

func webhookRemedy(err error, initAgain command.Command) command.Command {
	if errors.Is(err, host.ErrWebhookDown) {
		return command.ManagerPods
	}
	return initAgain
}
