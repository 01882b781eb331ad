package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// Exit codes of every command.
const (
	exitDone    = 0 // done, or already so
	exitFailed  = 1 // usage, network or internal error; interrupted
	exitRefused = 2 // refused by a rule or a right
	exitPartly  = 3 // partly done
)

// usageError is a command line that cannot be run as it was typed.
type usageError struct {
	err error
	// command is the command whose help tells more; empty where the error says enough.
	command string
}

func (e usageError) Error() string {
	if e.command == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("%v\nsee '%s --help'", e.err, e.command)
}

func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return usageError{err: fmt.Errorf(format, args...)}
}

// whileReading is err of a command. Where a person stopped it before anything was changed, that is no fault of the
// clusters that were just being read; what pkg/federate says of one that had begun stands.
func whileReading(ctx context.Context, err error) error {
	var refusal *federate.Refusal
	var undone *federate.Undone
	var partial *federate.Partial
	begun := errors.As(err, &refusal) || errors.As(err, &undone) || errors.As(err, &partial)
	if !begun && errors.Is(ctx.Err(), context.Canceled) {
		return errInterrupted
	}
	return err
}

var errInterrupted = errors.New("interrupted; nothing was changed")

func exitCode(err error) int {
	var refusal *federate.Refusal
	var refused *refusedAll
	var partial *federate.Partial
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &partial):
		return exitPartly
	case errors.As(err, &refusal), errors.As(err, &refused), apierrors.IsInvalid(err), apierrors.IsForbidden(err):
		return exitRefused
	}
	return exitFailed
}

// printError prints err as kubectl prints its own: a refused object with one bullet per fault, anything
// else behind "error: ".
func printError(w io.Writer, err error) {
	text := errorText(err)
	if !strings.HasPrefix(text, "The ") {
		text = "error: " + text
	}
	fmt.Fprintln(w, text)
}

// errorText is err as a person reads it. What pkg/federate says is whole; only a bare answer of the host
// is put into kubectl's form.
func errorText(err error) string {
	var refusal *federate.Refusal
	var undone *federate.Undone
	var partial *federate.Partial
	if errors.As(err, &refusal) || errors.As(err, &undone) || errors.As(err, &partial) {
		return printable(err.Error())
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && apierrors.IsInvalid(err) {
		if details := status.Status().Details; details != nil && len(details.Causes) > 0 {
			var b strings.Builder
			fmt.Fprintf(&b, "The %s %q is invalid:", details.Kind, details.Name)
			for _, cause := range details.Causes {
				b.WriteString("\n* ")
				// A policy's refusal names no field.
				if cause.Field != "" {
					b.WriteString(cause.Field + ": ")
				}
				b.WriteString(cause.Message)
			}
			return printable(b.String())
		}
	}
	return printable(err.Error())
}

// reason is err on one line, without what the row that it stands in says as well.
func reason(err error) string {
	var refusal *federate.Refusal
	var undone *federate.Undone
	var partial *federate.Partial
	const takenBack = "; all changes were rolled back"
	var text string
	switch {
	case errors.As(err, &partial):
		text = errorText(err)
	case errors.As(err, &refusal):
		findings := make([]string, len(refusal.Findings))
		for i, f := range refusal.Findings {
			findings[i] = f.String()
		}
		text = strings.Join(findings, "; ")
		if refusal.Undone {
			text += takenBack
		}
	case errors.As(err, &undone):
		text = errorText(undone.Err) + takenBack
	default:
		text = errorText(err)
	}
	return strings.NewReplacer(":\n* ", ": ", "\n* ", "; ", "\n", "; ").Replace(text)
}

// refusedAll is a summary of refusals that were printed one by one.
type refusedAll struct{ error }

func (e *refusedAll) Unwrap() error { return e.error }

// someFailed sums up the errors of a command on many clusters, which were printed one by one; nil when
// there are none. What was done follows verb: "joined".
func someFailed(done int, failed []error, verb string) error {
	if len(failed) == 0 {
		return nil
	}
	err := fmt.Errorf("%s not %s", countOf(len(failed), "cluster was", "clusters were"), verb)
	if done > 0 {
		return &federate.Partial{Done: []string{countOf(done, "cluster was ", "clusters were ") + verb}, Err: err}
	}
	if !slices.ContainsFunc(failed, func(err error) bool { return exitCode(err) != exitRefused }) {
		return &refusedAll{err}
	}
	return err
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
