package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
)

// limit is how large a body may be. Bytes alone do not bound what it takes to decode it: each of "{},{},{}" takes some
// hundred bytes of memory.
type limit struct{ bytes, values int }

// Limits of one response. An API server takes objects of up to 3 MiB, but what is read of a member one by one is small: its
// namespaces, the accounts and roles of a membership, groups of its API.
var (
	objectLimits = map[Side]limit{Host: {3 << 20, 100_000}, Member: {512 << 10, 20_000}}
	pageLimit    = limit{8 << 20, 250_000}
	eventLimit   = objectLimits[Host]
	// listLimits are for all pages of a list that is kept as a whole.
	listLimits = map[Side]limit{Host: {256 << 20, 8_000_000}, Member: {16 << 20, 200_000}}
)

func objectLimit(side Side) limit { return objectLimits[side] }

const (
	// maxItems is how many objects a list may have. Kubernetes supports 5,000 nodes, a host 10,000 members.
	maxItems = 20_000
	// freeBytes of each response are read at any time. maxReading is how much more is read at once of the host, and of all
	// members, so that many of them cannot fill the memory that one of them cannot.
	freeBytes  = 32 << 10
	maxReading = 32 << 20
)

// reading is how much of the responses of a side is being read, without freeBytes of each.
var reading = map[Side]*atomic.Int64{Host: {}, Member: {}}

// TooLarge is a response that was not read to its end.
type TooLarge struct {
	// What says how large it is at least.
	What string
}

func (t *TooLarge) Error() string { return "the response is too large: " + t.What }

// size is a number of bytes as a person reads it.
func size(bytes int) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// counter counts the bytes and the values of a JSON document as it is read.
type counter struct {
	limit
	bytes, values     int
	inString, escaped bool
}

// count adds what was read, and is an error when that is too much.
func (c *counter) count(read []byte) error {
	c.bytes += len(read)
	for _, b := range read {
		switch {
		case c.escaped:
			c.escaped = false
		case b == '"':
			c.inString = !c.inString
		case c.inString:
			c.escaped = b == '\\'
		case b == ',', b == '{', b == '[':
			c.values++
		}
	}
	switch {
	case c.bytes > c.limit.bytes:
		return &TooLarge{What: "more than " + size(c.limit.bytes)}
	case c.values > c.limit.values:
		return &TooLarge{What: fmt.Sprintf("more than %d values", c.limit.values)}
	}
	return nil
}

// limitKey is the key of the limit of a request's response, where it is not that of an object.
type limitKey struct{}

// withLimit is ctx for a request whose response is bounded by l; the zero limit is a watch, which Watch bounds.
func withLimit(ctx context.Context, l limit) context.Context {
	return context.WithValue(ctx, limitKey{}, l)
}

func limitOf(ctx context.Context, side Side) (l limit, watch bool) {
	switch l, ok := ctx.Value(limitKey{}).(limit); {
	case !ok:
		return objectLimit(side), false
	case l == limit{}:
		const unlimited = 1 << 62
		return limit{unlimited, unlimited}, true
	default:
		return l, false
	}
}
