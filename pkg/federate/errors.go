package federate

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Finding is one thing that stands against an operation, or that a person should know.
type Finding struct {
	Side cluster.Side `json:"side,omitempty"`
	// Object is what the finding is about; it may be empty.
	Object string `json:"object,omitempty"`
	Cause  string `json:"cause"`
	// Remedy is what to do about it; it may be empty.
	Remedy string `json:"remedy,omitempty"`

	// field is the field of the MemberCluster that is at fault; empty where none is.
	field string
	// right says that a right of the caller is missing, and role which role of a federation gives it, where one does.
	right      bool
	role       host.Role
	federation v1alpha1.FederationName
}

// about is a finding about an object.
func about(side cluster.Side, ref cluster.Ref, cause, remedy string) Finding {
	return Finding{Side: side, Object: ref.String(), Cause: cause, Remedy: remedy}
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

// Refusal is an operation that a server or this package refuses. Nothing was changed, or everything was rolled back.
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
		b.WriteString(rolledBack)
	} else {
		b.WriteString("; nothing was changed")
	}
	for _, f := range r.Findings {
		b.WriteString("\n* " + f.String())
	}
	return b.String()
}

func (r *Refusal) Unwrap() error { return r.Err }

const rolledBack = "; all changes were rolled back"

// Reason is what stands against the operation, on one line, without its name.
func (r *Refusal) Reason() string {
	findings := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		findings[i] = f.String()
	}
	reason := strings.Join(findings, "; ")
	if r.Undone {
		reason += rolledBack
	}
	return reason
}

// Undone is an operation that failed and rolled back all it had made.
type Undone struct {
	Operation string
	Err       error
}

func (u *Undone) Error() string {
	return "cannot " + u.Operation + rolledBack + "\n* " + u.Err.Error()
}

// Reason is the error without the name of the operation.
func (u *Undone) Reason() string { return u.Err.Error() + rolledBack }

func (u *Undone) Unwrap() error { return u.Err }

// Partial is an operation that ended halfway and could not be rolled back.
type Partial struct {
	// Operation is what was begun; it may be empty.
	Operation string
	// Done is what holds now.
	Done []string
	// Left is what the operation made and could not roll back, or still has to do.
	Left []string
	// Next is the one command that continues.
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

// interrupted is an operation that a person stopped. That its requests got no answer is not a cluster's fault.
type interrupted struct{ err error }

func (i *interrupted) Error() string { return "interrupted" }

func (i *interrupted) Unwrap() error { return i.err }

// late is an operation whose time was over between two requests. Where a request was under way, its error says which server
// did not answer.
type late struct{ err error }

func (l *late) Error() string { return "timed out (--timeout)" }

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

// isRefused says whether err is a server's refusal, as opposed to a failure to decide.
func isRefused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// findingsOf turns a server's refusal into findings, one per violated rule.
func findingsOf(err error) []Finding {
	f := Finding{Cause: cluster.Cause(err)}
	if failed, ok := errors.AsType[*cluster.Error](err); ok {
		f.Side, f.Object = failed.Side, failed.Object.String()
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
			one.field, one.Cause = cause.Field, cause.Field+": "+cause.Message
		}
		findings = append(findings, one)
	}
	if len(findings) == 0 {
		return []Finding{f}
	}
	return findings
}

// mentions says whether a finding is about a field of the MemberCluster.
func mentions(findings []Finding, field string) bool {
	return field != "" && slices.ContainsFunc(findings, func(f Finding) bool { return f.field == field })
}

// withoutEchoes are the server's findings without those about a field that own findings name as well, whose remedy is a flag.
func withoutEchoes(servers, own []Finding) []Finding {
	return slices.DeleteFunc(servers, func(s Finding) bool { return s.Side == cluster.Host && mentions(own, s.field) })
}

// sideOf is the side that err speaks of; empty when it names none.
func sideOf(err error) cluster.Side {
	if failed, ok := errors.AsType[*cluster.Error](err); ok {
		return failed.Side
	}
	return ""
}

// bothSides is what went wrong, reported once per side: when a server cannot be reached, every request to it fails in the
// same way. Which of the requests sent at once failed first says nothing, so the host's error always comes first.
func bothSides(errs []error) error {
	bySide := map[cluster.Side]error{}
	for _, err := range errs {
		if side := sideOf(err); err != nil && bySide[side] == nil {
			bySide[side] = err
		}
	}
	var all several
	for _, side := range slices.Sorted(maps.Keys(bySide)) {
		all = append(all, bySide[side])
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
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

// vanished is an object that this run found or made, and that does not exist any more, or has been changed.
type vanished struct {
	side    cluster.Side
	ref     cluster.Ref
	changed bool
	// during is what ran; empty is a join.
	during string
	// remedy may be empty.
	remedy string
	// err is the answer that showed it; nil where it was read back.
	err error
}

func (v *vanished) Error() string {
	what := "was removed"
	if v.changed {
		what = "was changed"
	}
	f := Finding{Side: v.side, Object: v.ref.String(), Cause: what + " by another client while this " + cmp.Or(v.during, "join") + " ran", Remedy: v.remedy}
	return f.String()
}

func (v *vanished) Unwrap() error { return v.err }

// overtaken is err, the answer to a request of a join with these steps. Where it rests on an object that did exist, another
// client has removed or replaced that meanwhile, which an API server cannot know.
func overtaken(steps []Step, err error) error {
	failed, ok := errors.AsType[*cluster.Error](err)
	var status apierrors.APIStatus
	if !ok || !errors.As(err, &status) || status.Status().Details == nil || cluster.IsNotServed(err) {
		return err
	}
	v := &vanished{side: failed.Side, err: err}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		v.ref = member.NamespaceRef()
		return v
	}
	// A token that is bound to another Secret than the one of that name is a conflict with a kind for its resource.
	details := status.Status().Details
	v.changed = apierrors.IsConflict(err) && details.Kind == cluster.Secrets.Kind
	if !v.changed && !apierrors.IsNotFound(err) {
		return err
	}
	refs := []cluster.Ref{member.NamespaceRef(), member.MembershipRef(), member.ManagerAccountRef()}
	for _, s := range steps {
		refs = append(refs, s.Object)
	}
	for _, ref := range refs {
		if ref.Name == details.Name && (ref.Resource.Resource == details.Kind || ref.Resource.Kind == details.Kind) {
			v.ref = ref
			return v
		}
	}
	return err
}
