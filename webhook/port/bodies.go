package port

import (
	"container/list"
	"sync"
)

// bodies bounds the bytes of large reviews that come, or wait for their turn. When there are too many, the body ends of
// which nothing has come for the longest time: a client that sends slowly, or stops, keeps no other out.
type bodies struct {
	mu    sync.Mutex
	bytes int
	// coming are those that are not whole, the one that has grown last at the end.
	coming list.List
}

// body is one of them.
type body struct {
	of      *bodies
	element *list.Element
	bytes   int
	// reason is why it was ended; empty when it was not.
	reason string
	// stop ends the reading of it.
	stop func()
}

func (l *bodies) begin(stop func()) *body { return &body{of: l, stop: stop} }

// add has n more bytes of a body count. If it was ended, there is a reason.
func (b *body) add(n int) (reason string) {
	l := b.of
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case b.reason != "":
		return b.reason
	case b.element == nil:
		b.element = l.coming.PushBack(b)
	default:
		l.coming.MoveToBack(b.element)
	}
	b.bytes += n
	for l.bytes += n; l.bytes > unjudgedBodies; {
		oldest := l.coming.Front().Value.(*body)
		oldest.leave()
		if oldest == b {
			// All others are whole.
			b.reason = reasonReviews
			break
		}
		oldest.reason = reasonSlow
		oldest.stop()
	}
	return b.reason
}

// leave has a body count no more. The lock is held.
func (b *body) leave() {
	b.of.bytes -= b.bytes
	b.bytes = 0
	b.settle()
}

// settle has a body not be ended for others any more. The lock is held.
func (b *body) settle() {
	if b.element != nil {
		b.of.coming.Remove(b.element)
		b.element = nil
	}
}

// whole says that all of a body has come. It counts until it ends.
func (b *body) whole() (reason string) {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.settle()
	return b.reason
}

// end says that a body is judged, or is not read further.
func (b *body) end() {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.leave()
}
