package scrape

import (
	"crypto/sha256"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"
)

const (
	// refusedFor is how long a token that the host does not know is refused without asking again.
	refusedFor = 10 * time.Second
	// knownFor is how long a token that the host knew is not counted among the unknown ones.
	knownFor = 10 * time.Minute
	// maxTokens is how many of each kind are remembered.
	maxTokens = 1024
	// unknownRate and unknownBurst bound how often the host is asked about tokens that it has not known.
	unknownRate, unknownBurst = 5, 20
)

// tokens remembers digests of tokens, so that clients with made-up ones do not make the manager send one request each.
type tokens struct {
	refused, known *cache.LRUExpireCache
	unknown        *rate.Limiter
}

type digest [sha256.Size]byte

func newTokens() *tokens {
	return &tokens{cache.NewLRUExpireCache(maxTokens), cache.NewLRUExpireCache(maxTokens), rate.NewLimiter(unknownRate, unknownBurst)}
}

// isRefused says whether the host did not know the token a moment ago.
func (t *tokens) isRefused(d digest) bool {
	_, is := t.refused.Get(d)
	return is
}

// mayAsk says whether the host may be asked about a token now.
func (t *tokens) mayAsk(d digest) bool {
	if _, is := t.known.Get(d); is {
		return true
	}
	return t.unknown.Allow()
}

// note notes what the host said.
func (t *tokens) note(d digest, known bool) {
	if known {
		t.known.Add(d, true, knownFor)
		return
	}
	t.known.Remove(d)
	t.refused.Add(d, true, refusedFor)
}
