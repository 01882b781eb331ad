package federate

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Side says whose API server is meant.
type Side = cluster.Side

// The two sides.
const (
	SideHost   = cluster.Host
	SideMember = cluster.Member
)

// DryRun says what a run may send.
type DryRun = cluster.DryRun

// The dry runs of kubectl.
const (
	DryRunNone   = cluster.DryRunNone
	DryRunClient = cluster.DryRunClient
	DryRunServer = cluster.DryRunServer
)

// Verb is what a step does.
type Verb string

// Verbs of steps.
const (
	VerbCreate    Verb = "create"
	VerbUpdate    Verb = "update"
	VerbReplace   Verb = "replace" // delete and create: what differs cannot be changed
	VerbUnchanged Verb = "unchanged"
	VerbKeep      Verb = "keep" // somebody else's, left alone
	VerbDelete    Verb = "delete"
	VerbRequest   Verb = "request"
	VerbStore     Verb = "store" // create or update; the caller may not see which
	VerbTry       Verb = "try"
	VerbWait      Verb = "wait"
	VerbUndo      Verb = "undo"
)

// Step is one line of a plan.
type Step struct {
	Side   Side
	Verb   Verb
	Object cluster.Ref
	// Planned marks an object whose namespace is yet to be made, which no server can judge before.
	Planned bool
	// Note says more; it may be empty.
	Note string
	// Manifest is the object as it will be sent; nil where none is.
	Manifest *unstructured.Unstructured

	// stage is the step's place in the order: steps of one stage run at once.
	stage stage
	// live is the object as the plan saw it; nil when it was not there.
	live *unstructured.Unstructured
}

// Target is what the step is about, as messages name it.
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

// silent says whether the step sends nothing.
func (s Step) silent() bool { return s.Verb == VerbUnchanged || s.Verb == VerbKeep }

func text(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// objects are the manifests of the steps, in order.
func objects(steps []Step) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, s := range steps {
		if s.Manifest != nil {
			all = append(all, s.Manifest.DeepCopy())
		}
	}
	return all
}

// stage orders the steps of a plan.
type stage int

// Stages of a join, in order.
const (
	stageRecord     stage = iota // the MemberCluster: admission decides before the member is touched
	stageNamespace               // our namespace on the member
	stageMembership              // whose the member is
	stageEvict                   // what another host put on the member, from which it is taken over
	stageBase                    // accounts, roles, the Secret that the token is bound to, the cluster's property
	stageBinding                 // bindings and the token, which refer to base objects; the word that a take-over is over
	stageCredential              // the credential on the host, and the set's property
	stageProof                   // the credential is tried, everything is read back
	stageDone                    // who joined, and the Event
)
