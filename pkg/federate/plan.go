package federate

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Verb is what a step does.
type Verb string

// Verbs of steps.
const (
	VerbCreate    Verb = "create"
	VerbUpdate    Verb = "update"
	VerbReplace   Verb = "replace" // delete and create: what differs cannot be changed
	VerbUnchanged Verb = "unchanged"
	VerbKeep      Verb = "keep" // made by others, left alone
	VerbDelete    Verb = "delete"
	VerbRequest   Verb = "request"
	VerbStore     Verb = "store" // create or update; the caller may not see which
	VerbTry       Verb = "try"
	VerbWait      Verb = "wait"
	VerbUndo      Verb = "undo"
)

// Step is one line of a plan: what it shows, and how it is done and undone.
type Step struct {
	Side   cluster.Side
	Verb   Verb
	Object cluster.Ref
	// Planned marks an object whose namespace is yet to be made, which no server can judge before.
	Planned bool
	// Note says more; it may be empty.
	Note string
	// Manifest is the object, or the patch, as it is sent; nil where none is.
	Manifest *unstructured.Unstructured

	// phase is the step's place in the order: it needs all earlier phases, and steps of one phase run at once.
	phase phase
	// live is the object as the plan saw it; nil when it was not there.
	live *unstructured.Unstructured
	// do carries the step out; nil where there is nothing to send.
	do func(context.Context) error
	// undo removes what do made; nil where that is not possible or not needed.
	undo func(context.Context) error
	// posted says that the object is made by POST, and not by server-side apply.
	posted bool
	// ask asks the server, by a dry run, whether it would let the step happen; nil asks in the way that the verb says.
	ask func(context.Context) error
	// boundTo is the Secret that a token is bound to, as the plan saw it; nil when it was not there.
	boundTo *unstructured.Unstructured
	// undoLast says that what later phases made is worthless or dangerous without this object: it is undone only after them.
	undoLast bool
}

// phase orders the steps of a plan. Each operation numbers its own.
type phase int

// target is what the step is about, as messages name it.
func (s Step) target() string {
	if s.Object == (cluster.Ref{}) {
		return ""
	}
	return s.Object.String()
}

// String is the step as one line: side, verb, object, and what else there is to say.
func (s Step) String() string {
	parts := []string{fmt.Sprintf("%-6s", s.Side), fmt.Sprintf("%-9s", s.Verb)}
	if t := s.target(); t != "" {
		parts = append(parts, t)
	}
	if s.Planned {
		parts = append(parts, "(planned)")
	}
	if s.Note != "" {
		parts = append(parts, "("+s.Note+")")
	}
	return cluster.Printable(strings.Join(parts, " "))
}

// place is what the step is about, with its side, as lists of what is left name it.
func (s Step) place() string { return string(s.Side) + ": " + s.Object.String() }

// silent says whether the step sends nothing that changes anything.
func (s Step) silent() bool { return s.Verb == VerbUnchanged || s.Verb == VerbKeep }

// Operation is a join, a move, an unjoin or a rotation that is planned.
type Operation interface {
	// Verb is what it does to the member: "join".
	Verb() string
	// Text is the plan with one line per step.
	Text() string
	// Objects are what it writes or deletes, in order.
	Objects() []*unstructured.Unstructured
	// Notes are what a person should know before it is applied.
	Notes() []Finding
	// Apply carries the plan out, once, and calls progress with each step that is done; progress may be nil and is never called
	// by two goroutines at once. A plan of a dry run writes nothing.
	Apply(ctx context.Context, progress func(Step)) (*Result, error)
}

// Result is what an operation did.
type Result struct {
	// Done says it in a word, for a table: "joined". Reason adds what a person should know of it; it may be empty.
	Done, Reason string
	// Line says both, for a member of its own; empty where they are printed apart.
	Line string
	// Member is the member as the host keeps it; nil when it left.
	Member *v1alpha1.MemberCluster
	// Expires is when the stored credential expires; zero when none was stored.
	Expires time.Time
	// Notes are those of the plan, and what came up since.
	Notes []Finding
}

// plan is what the plans of all operations have in common. It is applied phase by phase, and rolled back in the opposite
// order.
type plan struct {
	Steps []Step

	// notes are what a person should know and what does not stand against the operation.
	notes    []Finding
	of       operation
	host     *host.Cluster
	member   *member.Cluster
	progress func(Step)

	// What follows is one run of the plan, whose steps share it under mu.
	mu sync.Mutex
	// made are the objects that this run has made, or may have: the answer may have been lost. Only they are rolled back.
	made map[cluster.Ref]bool
	// done says which of the steps have ended well.
	done []bool
	// learned is what a person should know besides notes.
	learned []Finding
	// begun says that a step may have changed something.
	begun bool
	// committed says that stopping now would be worse than going on: the run goes on to the end of its committed steps although
	// its context has ended.
	committed bool
}

func (p *plan) step(s Step) { p.Steps = append(p.Steps, s) }

func (p *plan) note(f Finding) { p.notes = append(p.notes, f) }

// Notes are what a person should know before the plan is applied.
func (p *plan) Notes() []Finding { return p.notes }

// Text is the plan with one line per step.
func (p *plan) Text() string {
	var b strings.Builder
	for _, s := range p.Steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// Objects are what the plan writes, in order. The credential is there without its content.
func (p *plan) Objects() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, s := range p.Steps {
		if s.Manifest != nil {
			all = append(all, s.Manifest.DeepCopy())
		}
	}
	return all
}
