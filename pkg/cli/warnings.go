package cli

import (
	"context"
	"fmt"
	"sync"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// warnings prints what API servers warn of, each text once.
type warnings struct {
	d *factory

	mu   sync.Mutex
	told map[string]bool
	// live is the progress whose line a warning must not run into; nil while there is none.
	live *progress
}

// aboutKey is the key of the name that a request is about.
type aboutKey struct{}

// about makes the warnings that a server answers to requests with the context name the object they are about. It is
// for commands on many: one host warns of all of them in the same words.
func about(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, aboutKey{}, name)
}

// aboutOne is about for the i-th of members; where it is the only one, everybody knows what a warning is about.
func aboutOne(ctx context.Context, members []v1alpha1.MemberCluster, i int) context.Context {
	if len(members) == 1 {
		return ctx
	}
	return about(ctx, members[i].Name)
}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	const miscellaneousPersistent = 299 // RFC 7234, section 5.5: the one that API servers send
	if code != miscellaneousPersistent || text == "" {
		return
	}
	if name, ok := ctx.Value(aboutKey{}).(string); ok {
		text = name + ": " + text
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told[text] {
		return
	}
	if w.told == nil {
		w.told = map[string]bool{}
	}
	w.told[text] = true
	text = "Warning: " + text
	if w.live != nil {
		w.live.line(text)
		return
	}
	fmt.Fprintln(w.d.ErrOut, printable(text))
}

// beside makes warnings keep clear of p's live line; nil ends that.
func (w *warnings) beside(p *progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live = p
}
