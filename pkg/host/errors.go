package host

import (
	"context"
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
		return fmt.Errorf("host: %w: %s; or %s", ErrNotInitialised, c.Choose(), c.Commands.To("make this cluster a host", command.Init{}))
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

// Choose is how to choose a host, where this cluster is none.
func (c *Cluster) Choose() string {
	if c.OtherHost != nil {
		if name := c.OtherHost(); name != "" {
			return fmt.Sprintf("the current context %s leads to a host, so leave out --context", cluster.Quoted(name))
		}
	}
	return "choose the host, which keeps federations and members, with --context"
}

// Role is a role of a federation, as the flags of grant call it.
type Role string

// Roles.
const (
	Joiner     Role = "joiner"
	Approver   Role = "approver"
	Integrator Role = "integrator"
	// Discoverer is that of the discovery controller.
	Discoverer Role = "discovery"
)

// RoleWith is the role that gives a verb on a federation; empty where none does.
func RoleWith(verb string) Role {
	return map[string]Role{
		v1alpha1.VerbJoin: Joiner, v1alpha1.VerbLeave: Joiner, v1alpha1.VerbApprove: Approver, v1alpha1.VerbIntegrate: Integrator,
		v1alpha1.VerbDiscover: Discoverer,
	}[verb]
}

// Ask is what a caller who lacks the role can do about it.
func (r Role) Ask() string {
	return fmt.Sprintf("ask an administrator of the host for the role %s of the federation", r)
}

// AskForRole is Ask with the command that gives the role to the caller, where the host says who that is. The flags that chose the host
// are the caller's own, so the command is without them.
func (c *Cluster) AskForRole(ctx context.Context, federation v1alpha1.FederationName, role Role) string {
	grant := command.Grant{Federation: federation, Discovery: role == Discoverer}
	if role != Discoverer {
		who, err := c.Caller(ctx)
		if err != nil || who.Name == "" {
			return role.Ask()
		}
		subject := []string{"user:" + who.Name}
		if account, ok := strings.CutPrefix(who.Name, "system:serviceaccount:"); ok {
			subject[0] = "serviceaccount:" + account
		}
		switch role {
		case Approver:
			grant.Approvers = subject
		case Integrator:
			grant.Integrators = subject
		default:
			grant.Joiners = subject
		}
	}
	return command.Host{Plugin: c.Commands.Plugin}.To(role.Ask(), grant)
}

// Denied is a change that the host forbids for want of a verb on a federation.
type Denied struct {
	Err error
	// Remedy is how the caller gets it.
	Remedy string
}

func (d *Denied) Error() string { return d.Err.Error() + ": " + d.Remedy }

func (d *Denied) Unwrap() error { return d.Err }

// explainDenied is err, and a *Denied where the caller lacks a verb on a federation that the change takes.
func (c *Cluster) explainDenied(ctx context.Context, federation v1alpha1.FederationName, verb string, err error) error {
	if !apierrors.IsForbidden(err) || federation == "" {
		return err
	}
	lacking, unknown := c.LackingOf(ctx, FederationRef(federation).Rights(verb))
	if unknown != nil || len(lacking) == 0 {
		return err
	}
	return &Denied{Err: err, Remedy: c.AskForRole(ctx, federation, RoleWith(verb))}
}
