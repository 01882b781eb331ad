package host

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// Errors of a host that is not ready for members.
var (
	// ErrNotInitialised means that the host does not serve the API of kubectl federate.
	ErrNotInitialised = errors.New("this cluster is not a host yet: it does not serve " + v1alpha1.GroupVersion.Group)
	// ErrNotEnforcing means that the API server admits members that the webhook must refuse.
	ErrNotEnforcing = errors.New("the webhook does not judge members, so the rules of federations would not hold")
	// ErrWebhookDown means that the API server called the webhook and got no response.
	ErrWebhookDown = errors.New("the webhook that judges members does not answer")
)

// down is an API server's error that its call of the webhook failed.
type down struct {
	// call is what the API server says about the call.
	call string
	// remedy is what to do.
	remedy string
	err    error
}

func (e *down) Error() string {
	return "host: " + ErrWebhookDown.Error() + ", so the API server refuses every change of a federation or a member (" +
		cluster.Printable(e.call) + "): " + e.remedy
}

func (e *down) Is(target error) bool { return target == ErrWebhookDown }

func (e *down) Unwrap() error { return e.err }

// pathWord finds the word that the webhook's path ends in, which is to be no more known than API servers make it.
var pathWord = regexp.MustCompile(`(/validate/[a-z]+)/[a-z0-9]+`)

// explain makes the host's own errors into those of this package. That a webhook call failed is only in the text of an
// API server's internal error: this is the one place that reads it.
func (c *Cluster) explain(err error) error {
	if err == nil {
		return nil
	}
	if cluster.IsNotServed(err) {
		choose := "choose the host, which keeps federations and members, with --context"
		if c.OtherHost != nil {
			if name := c.OtherHost(); name != "" {
				choose = fmt.Sprintf("the current context %s leads to a host, so leave out --context", cluster.Quoted(name))
			}
		}
		return fmt.Errorf("host: %w: %s; or %s", ErrNotInitialised, choose, c.Commands.To("make this cluster a host", command.Init{}))
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Reason == metav1.StatusReasonInternalError {
		if _, call, found := strings.Cut(status.Status().Message, "failed calling webhook "); found {
			call = pathWord.ReplaceAllString(call, "$1/...")
			remedy := c.Commands.To("see that its pods run", command.ManagerPods)
			if strings.Contains(call, `"https://`) && !strings.Contains(call, "."+v1alpha1.HostNamespace+".svc") {
				remedy = "look at the log of the manager that serves there"
			}
			return &down{call: call, remedy: remedy, err: err}
		}
	}
	return err
}
