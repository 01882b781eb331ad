package federate

import (
	"context"
	"errors"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Finding is one thing that stands against an operation, or that a person should know.
type Finding struct {
	Side Side `json:"side,omitempty"`
	// Object is what the finding is about; it may be empty.
	Object string `json:"object,omitempty"`
	Cause  string `json:"cause"`
	// Remedy is what to do about it; it may be empty.
	Remedy string `json:"remedy,omitempty"`

	// field is the field of the MemberCluster that the webhook would refuse for the same cause.
	field string
}

// String is the finding on one line, escaped for a terminal.
func (f Finding) String() string {
	var b strings.Builder
	if f.Side != "" {
		b.WriteString(string(f.Side) + ": ")
	}
	if f.Object != "" {
		b.WriteString(f.Object + ": ")
	}
	b.WriteString(f.Cause)
	if f.Remedy != "" {
		b.WriteString(": " + f.Remedy)
	}
	return cluster.Printable(b.String())
}

// Refusal is an operation that something stands against. Nothing was changed, or everything was rolled back.
type Refusal struct {
	// Operation is what was refused, as `join "us-east-1" to federation "prod"`. It may be empty.
	Operation string
	Findings  []Finding
	// Undone says that the operation had begun and that what it had made was rolled back.
	Undone bool
	// Err is the error behind the findings, where there is one.
	Err error
}

func (r *Refusal) Error() string {
	if len(r.Findings) == 1 && r.Operation == "" {
		return r.Findings[0].String()
	}
	var b strings.Builder
	b.WriteString("cannot " + r.Operation)
	if r.Undone {
		b.WriteString("; what was begun was rolled back")
	} else {
		b.WriteString("; nothing was changed")
	}
	for _, f := range r.Findings {
		b.WriteString("\n* " + f.String())
	}
	return b.String()
}

func (r *Refusal) Unwrap() error { return r.Err }

// Undone is an operation that failed and rolled back all it had made.
type Undone struct {
	Operation string
	Err       error
}

func (u *Undone) Error() string {
	return "cannot " + u.Operation + "; what was begun was rolled back\n* " + u.Err.Error()
}

func (u *Undone) Unwrap() error { return u.Err }

// Partial is an operation that ended halfway and could not be rolled back.
type Partial struct {
	// Operation is what was begun; it may be empty.
	Operation string
	// Done is what holds now.
	Done []string
	// Left is what the operation made and could not roll back, or still has to do.
	Left []string
	// Next is the one command that goes on.
	Next string
	Err  error
}

func (p *Partial) Error() string {
	var b strings.Builder
	if p.Operation != "" {
		b.WriteString("could not finish: " + p.Operation + "\n* ")
	}
	b.WriteString(p.Err.Error())
	for _, d := range p.Done {
		b.WriteString("\n* done: " + d)
	}
	for _, l := range p.Left {
		b.WriteString("\n* left: " + l)
	}
	if p.Next != "" {
		b.WriteString("\nto continue, run: " + p.Next)
	}
	return b.String()
}

func (p *Partial) Unwrap() error { return p.Err }

// interrupted is an operation that a person stopped. That its requests got no answer is no fault of a cluster.
type interrupted struct{ err error }

func (i *interrupted) Error() string { return "interrupted" }

func (i *interrupted) Unwrap() error { return i.err }

// late is an operation whose time was over between two requests. Where a request was under way, its failure says whose
// answer was waited for.
type late struct{ err error }

func (l *late) Error() string { return "the time that --timeout gives is over" }

func (l *late) Unwrap() error { return l.err }

// stopped is err, the failure of an operation under ctx, or why the operation was stopped where that is the cause.
func stopped(ctx context.Context, err error) error {
	_, refusal := errors.AsType[*Refusal](err)
	_, request := errors.AsType[*cluster.Error](err)
	switch {
	case refusal || isRefused(err) || ctx.Err() == nil:
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return &interrupted{err}
	case !request:
		return &late{err}
	}
	return err
}

// isRefused says whether err is a server's considered no, as opposed to a failure to decide.
func isRefused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// findingsOf turns a server's refusal into findings, one per violated rule.
func findingsOf(err error) []Finding {
	f := Finding{Cause: cluster.Cause(err)}
	if failed, ok := errors.AsType[*cluster.Error](err); ok {
		f = Finding{Side: failed.Side, Object: failed.Object.String(), Cause: cluster.Cause(failed.Err)}
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return []Finding{f}
	}
	var findings []Finding
	for _, cause := range status.Status().Details.Causes {
		if cause.Message == "" || cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			continue
		}
		one := f
		one.Cause = cause.Message
		if cause.Field != "" && cause.Field != "<nil>" { // a rule on the whole object has no field
			one.Cause = cause.Field + ": " + cause.Message
		}
		findings = append(findings, one)
	}
	if len(findings) == 0 {
		return []Finding{f}
	}
	return findings
}

// withoutEchoes are the server's findings but for those that ours say as well, with a flag as the remedy.
func withoutEchoes(servers, ours []Finding) []Finding {
	return slices.DeleteFunc(servers, func(s Finding) bool {
		return slices.ContainsFunc(ours, func(f Finding) bool {
			return f.field != "" && s.Side == SideHost && strings.HasPrefix(s.Cause, f.field+":")
		})
	})
}

// sideOf is the side that err speaks of; empty when it names none.
func sideOf(err error) string {
	if failed, ok := errors.AsType[*cluster.Error](err); ok {
		return string(failed.Side)
	}
	return ""
}

// several are errors of both sides, one line each.
type several []error

func (s several) Error() string {
	lines := make([]string, len(s))
	for i := range s {
		lines[i] = s[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (s several) Unwrap() []error { return s }
