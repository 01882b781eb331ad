package federate

import (
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Finding is one thing that stands against an operation, or that a person should know.
type Finding struct {
	Side Side `json:"side"`
	// Object is what the finding is about; it may be empty.
	Object string `json:"object,omitempty"`
	Cause  string `json:"cause"`
	// Remedy is what to do about it; it may be empty.
	Remedy string `json:"remedy,omitempty"`
}

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

// Refusal is an operation that was not begun, since something stands against it. Nothing was changed.
type Refusal struct {
	// Operation is what was refused: `join "us-east-1" to federation "prod"`.
	Operation string
	Findings  []Finding
}

func (r *Refusal) Error() string {
	if len(r.Findings) == 1 && r.Operation == "" {
		return r.Findings[0].String()
	}
	var b strings.Builder
	b.WriteString("cannot " + r.Operation + "; nothing was changed")
	for _, f := range r.Findings {
		b.WriteString("\n* " + f.String())
	}
	return b.String()
}

// Partial is an operation that ended halfway and could not be undone.
type Partial struct {
	// Done is what holds now.
	Done []string
	// Left is what the operation made and could not take back, or still has to do.
	Left []string
	// Next is the one command that goes on.
	Next string
	Err  error
}

func (p *Partial) Error() string {
	var b strings.Builder
	b.WriteString(p.Err.Error())
	for _, d := range p.Done {
		b.WriteString("\n* done: " + d)
	}
	for _, l := range p.Left {
		b.WriteString("\n* left: " + l)
	}
	if p.Next != "" {
		b.WriteString("\nto go on: " + p.Next)
	}
	return b.String()
}

func (p *Partial) Unwrap() error { return p.Err }
