package port

import (
	"container/list"
	"net"
	"sync"
)

// connections is a listener that keeps at most max connections open. A further one takes the place of the oldest that has
// carried no request for a known path, or else of the one whose last request is the longest ago: a client that only holds
// connections keeps no other out.
type connections struct {
	net.Listener
	max    int
	closed func()

	mu sync.Mutex
	// fresh are those without such a request, used those with one, the oldest first.
	fresh, used list.List
}

// connection is one of them.
type connection struct {
	net.Conn
	of *connections
	// in is the list that element is in; nil when the connection was closed.
	in      *list.List
	element *list.Element
}

// Accept implements net.Listener.
func (l *connections) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: accepted, of: l}
	l.mu.Lock()
	var replaced *connection
	if l.fresh.Len()+l.used.Len() >= l.max {
		oldest := l.fresh.Front()
		if oldest == nil {
			oldest = l.used.Front()
		}
		replaced = oldest.Value.(*connection)
		replaced.leave()
	}
	c.enter(&l.fresh)
	l.mu.Unlock()
	if replaced != nil {
		l.closed()
		_ = replaced.Conn.Close()
	}
	return c, nil
}

func (c *connection) enter(in *list.List) { c.in, c.element = in, in.PushBack(c) }

func (c *connection) leave() {
	if c.in != nil {
		c.in.Remove(c.element)
		c.in = nil
	}
}

// use notes a request for a known path.
func (c *connection) use() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.in != nil {
		c.leave()
		c.enter(&c.of.used)
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	c.leave()
	c.of.mu.Unlock()
	return c.Conn.Close()
}
