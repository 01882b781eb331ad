package discovery

import (
	"fmt"
	"strings"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// How long a candidate rests that failed: the first value doubles with each failure, up to the last. What the host has to do with
// is cheap to look at again; a cluster that does not answer is not.
const (
	firstHostRest, longestHostRest     = 10 * time.Second, 5 * time.Minute
	firstMemberRest, longestMemberRest = 30 * time.Second, time.Hour
	// lookRest is how often the Secret of a candidate is looked at that rests or waits for a change.
	lookRest = 5 * time.Minute
)

// entry is what is known of a candidate that is no member.
type entry struct {
	// made is the candidate as it was when it was last looked at.
	made string
	// observation is what its cluster answered, without a way to it; nil where none did yet.
	observation *discover.Observation
	// secret is the version of its Secret then.
	secret string
	// failures in a row.
	failures int
	// due is when it is looked at again, if nothing changes, and look when its Secret is, of which another version wakes it.
	due, look time.Time
	// waits says that it was refused: only a change wakes it, of itself, its Secret, the federation or the members of that.
	waits bool
	// members is how many the federation had then.
	members int
	// result says what became of the join, for people; empty where none was tried.
	result string
}

// ledger has an entry for each candidate that some federation takes, by its key.
type ledger map[string]*entry

// keyOf is the name of a candidate in the ledger: its object, and its own name, since an object may lead to several addresses.
func keyOf(c *discover.Candidate, r *request) string {
	return string(c.Source) + " " + string(r.object.UID) + " " + c.Name
}

// noted is the key of a candidate and what it was made of, as they were before its Secret was read: that may change how it is called.
func noted(c *discover.Candidate, r *request) (key, made string) {
	if key, made, ok := strings.Cut(c.Note, "\n"); ok {
		return key, made
	}
	return keyOf(c, r), madeOf(c, r.federation)
}

// madeOf is all of a candidate, and of the federation that it asks for, that decides how it is judged, but what its Secret holds.
func madeOf(c *discover.Candidate, f *v1alpha1.Federation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d ", f.UID, f.Generation)
	for _, o := range c.Objects {
		fmt.Fprintf(&b, "%s %s %q ", o.Ref, o.UID, o.JoinRequest)
	}
	fmt.Fprintf(&b, "%q %q %s %+v %q", c.Name, c.Labels, c.Secret, endpointOf(c), c.EndpointMissing)
	return b.String()
}

func endpointOf(c *discover.Candidate) endpoint.Endpoint {
	if c.Endpoint == nil {
		return endpoint.Endpoint{}
	}
	return *c.Endpoint
}

// changed says whether the entry must be looked at whatever it waits for. A limit may refuse by the number of members.
func (e *entry) changed(made string, members int) bool {
	return e.made != made || e.waits && e.members != members
}

// failed is the entry of a candidate that failed once more.
func (e *entry) failed(first, longest time.Duration, now time.Time) {
	rest := first
	for range e.failures {
		if rest *= 2; rest >= longest {
			rest = longest
			break
		}
	}
	e.failures++
	e.due, e.look, e.waits = now.Add(rest), now.Add(lookRest), false
}

// refused is the entry of a candidate that waits for a change.
func (e *entry) refused(members int, now time.Time) {
	e.waits, e.members, e.failures = true, members, 0
	e.due = now.Add(lookRest)
	e.look = e.due
}

// rests says whether nothing of the candidate is looked at.
func (e *entry) rests(now time.Time) bool { return now.Before(e.due) && now.Before(e.look) }

// unchanged is the entry of a candidate whose Secret was looked at, and is as it was.
func (e *entry) unchanged(now time.Time) {
	e.look = now.Add(lookRest)
	if e.waits {
		e.due = e.look
	}
}
