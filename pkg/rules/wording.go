package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// MaxWarning is the length of a warning in bytes that API servers and clients ask webhooks to keep to.
const MaxWarning = 120

// Kind is a kind of object that rules judge.
type Kind string

// Kinds.
const (
	KindMemberCluster Kind = "MemberCluster"
	KindFederation    Kind = "Federation"
)

// Error is the refusal of an object as an API server words its own: 422 with one cause per fault, and 403 for a
// deletion, since kubectl prints an invalid object only where one was sent. It is nil when nothing was refused.
func (v Verdict) Error(kind Kind, name string) error {
	switch {
	case len(v.Refusals) == 0:
		return nil
	case !v.deletion:
		return apierrors.NewInvalid(schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: string(kind)}, name, v.Refusals)
	}
	status := metav1.Status{
		Status: metav1.StatusFailure,
		Code:   403,
		Reason: metav1.StatusReasonForbidden,
		Details: &metav1.StatusDetails{
			Group: v1alpha1.GroupVersion.Group, Kind: strings.ToLower(string(kind)) + "s", Name: name,
		},
	}
	details := make([]string, len(v.Refusals))
	for i, e := range v.Refusals {
		details[i] = e.Detail
		status.Details.Causes = append(status.Details.Causes, metav1.StatusCause{
			Type: metav1.CauseType(e.Type), Message: e.ErrorBody(), Field: e.Field,
		})
	}
	status.Message = strings.Join(details, "; ")
	return &apierrors.StatusError{ErrStatus: status}
}

// WarningTexts are the warnings as a client prints them, each at most MaxWarning bytes: longer ones go on in a
// line of their own, since clients cut what is longer.
func (v Verdict) WarningTexts() []string {
	var texts []string
	for _, w := range v.Warnings {
		texts = append(texts, fold(WarningText(w))...)
	}
	return texts
}

// WarningText is one warning in one line, however long: its field and what is said of it.
func WarningText(w *field.Error) string {
	if w.Type != warning && w.Type != unknownFact {
		return w.Error()
	}
	return w.Field + ": " + w.Detail
}

// warning is the type of a finding that is only ever a warning. Its text has no word for a kind of fault.
const warning field.ErrorType = "FieldValueUnwise"

// unknownFact is the type of a warning that a rule needs a fact which is not known. It has no such word, either.
const unknownFact field.ErrorType = "FieldValueUnknown"

func unknown(path *field.Path, format string, args ...any) *field.Error {
	e := advice(path, format, args...)
	e.Type = unknownFact
	return e
}

func advice(path *field.Path, format string, args ...any) *field.Error {
	return &field.Error{Type: warning, Field: path.String(), BadValue: field.OmitValueType{}, Detail: fmt.Sprintf(format, args...)}
}

// fold breaks a text at spaces.
func fold(text string) []string {
	const indent = "  "
	var lines []string
	for len(text) > MaxWarning {
		// A line never ends in its own indentation.
		end := strings.LastIndexByte(text[:MaxWarning+1], ' ')
		if end <= len(indent) {
			// Not within a rune; what is no rune at all may be broken anywhere.
			for end = MaxWarning; end > MaxWarning-utf8.UTFMax && !utf8.RuneStart(text[end]); end-- {
			}
		}
		lines = append(lines, text[:end])
		text = indent + strings.TrimLeft(text[end:], " ")
	}
	return append(lines, text)
}

// fewNames is how many names a text lists.
const fewNames = 5

// some lists the first of sorted names and says how many more there are.
func some[N ~string](names []N) string {
	shown, rest := names, ""
	if len(names) > fewNames {
		shown, rest = names[:fewNames], fmt.Sprintf(" and %d more", len(names)-fewNames)
	}
	parts := make([]string, len(shown))
	for i, n := range shown {
		parts[i] = string(n)
	}
	return strings.Join(parts, ", ") + rest
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// withMessage appends what the author of a rule wants to be read.
func withMessage(e *field.Error, message string) *field.Error {
	switch {
	case message == "":
	case e.Detail == "":
		e.Detail = message
	default:
		e.Detail += "; " + message
	}
	return e
}
