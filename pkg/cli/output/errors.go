package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// Exit codes of every command.
const (
	ExitDone    = 0 // done, or already so
	ExitFailed  = 1 // usage, network or internal error; interrupted
	ExitRefused = 2 // refused by a rule or a right
	ExitPartly  = 3 // partly done
)

// UsageError is a command line that cannot be run as it was typed.
type UsageError struct {
	Err error
	// Command is the command whose help explains more; empty where the error is enough.
	Command string
}

func (e UsageError) Error() string {
	if e.Command == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%v\nsee '%s --help'", e.Err, e.Command)
}

func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return UsageError{Err: fmt.Errorf(format, args...)}
}

// OneOf refuses a value of a flag that is not one of those allowed.
func OneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	last := len(allowed) - 1
	text := allowed[last]
	if last > 0 {
		text = strings.Join(allowed[:last], ", ") + " or " + text
	}
	return Usagef("invalid --%s %q: must be %s", flag, value, text)
}

// Exit is an error with an exit code of its own: it sums up what was printed one by one.
type Exit struct {
	Code int
	Err  error
}

func (e *Exit) Error() string { return e.Err.Error() }

func (e *Exit) Unwrap() error { return e.Err }

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// whole says whether err is of an operation that reports by itself what it changed.
func whole(err error) bool {
	return is[*federate.Refusal](err) || is[*federate.Undone](err) || is[*federate.Partial](err)
}

// WhileReading is err of a command. Where a person stopped it before anything was changed, that is no fault of the
// clusters that were just being read; what pkg/federate reports of an operation that had begun stands.
func WhileReading(ctx context.Context, err error) error {
	if err != nil && !whole(err) && errors.Is(ctx.Err(), context.Canceled) {
		return ErrInterrupted
	}
	return err
}

// ErrInterrupted is a command that was stopped before it changed anything.
var ErrInterrupted = errors.New("interrupted; nothing was changed")

// ExitCode is the exit code of a command that ends with err.
func ExitCode(err error) int {
	exit, ok := errors.AsType[*Exit](err)
	switch {
	case err == nil:
		return ExitDone
	case is[*federate.Partial](err):
		return ExitPartly
	case ok:
		return exit.Code
	case cluster.FaultOf(err) == cluster.FaultAnonymous:
		return ExitFailed // of a right nothing is known
	case is[*federate.Refusal](err), apierrors.IsInvalid(err), apierrors.IsForbidden(err), deniedWrite(err):
		return ExitRefused
	}
	return ExitFailed
}

// deniedWrite says whether a webhook that names no code has denied a write: API servers answer 400 then.
func deniedWrite(err error) bool {
	failed, ok := errors.AsType[*cluster.Error](err)
	return ok && apierrors.IsBadRequest(err) && !slices.Contains(reads, failed.Verb)
}

// reads are the verbs that change nothing.
var reads = []string{"get", "list", "watch"}

// Error prints err as kubectl prints its own: a refused object with one bullet per fault, anything else behind "error: ".
func Error(w io.Writer, err error) {
	text := ErrorText(err)
	if !strings.HasPrefix(text, "The ") {
		text = "error: " + text
	}
	fmt.Fprintln(w, text)
}

// ErrorText is err as a person reads it. What pkg/federate reports is complete; only a bare answer of the host is put
// into kubectl's form.
func ErrorText(err error) string {
	var status apierrors.APIStatus
	if deniedRead(err) {
		return Printable(err.Error()) + ": ask an administrator of the host for the ClusterRole " + manifests.RoleViewer
	}
	if whole(err) || !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return Printable(err.Error())
	}
	details := status.Status().Details
	lines := []string{fmt.Sprintf("The %s %q is invalid:", OneLine(details.Kind), details.Name)}
	for _, cause := range details.Causes {
		line := cause.Message
		if cause.Field != "" { // a policy's refusal names none
			line = cause.Field + ": " + line
		}
		lines = append(lines, OneLine(line))
	}
	return Printable(strings.Join(lines, "\n* "))
}

// deniedRead says whether the host has forbidden to read federations or members.
func deniedRead(err error) bool {
	failed, ok := errors.AsType[*cluster.Error](err)
	return ok && !whole(err) && failed.Side == cluster.Host && failed.Fault == cluster.FaultForbidden &&
		failed.Object.Resource.Group == v1alpha1.GroupVersion.Group && slices.Contains(reads, failed.Verb)
}

// Reason is err on one line, without what the row that it stands in says as well.
func Reason(err error) string {
	text := ErrorText(err)
	refusal, refused := errors.AsType[*federate.Refusal](err)
	undone, isUndone := errors.AsType[*federate.Undone](err)
	switch {
	case is[*federate.Partial](err): // its text has everything
	case refused:
		text = refusal.Reason()
	case isUndone:
		text = Printable(undone.Reason())
	}
	return strings.NewReplacer(":\n* ", ": ", "\n* ", "; ", "\n", "; ").Replace(text)
}
