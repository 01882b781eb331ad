package journal

import (
	"encoding/json"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Bounds of the journal in bytes. A user who may join one federation can fill a share of it with writes that never come, and
// does not hold up the others.
const (
	// maxSize is below what etcd takes.
	maxSize = 500_000
	// maxShare is what the entries of one federation may take.
	maxShare = maxSize / 2
	// openSize is what all may take before the rest is kept for federations with little.
	openSize = maxSize * 3 / 4
	// reservedShare is what a federation may take of the rest.
	reservedShare = 8 << 10
	// maxEntrySize bounds one entry. API objects need less: what is larger was not sent by an API server.
	maxEntrySize = reservedShare
)

// usage is how many bytes the entries take.
type usage struct {
	total        int
	byFederation map[v1alpha1.FederationName]int
}

func usageOf(s State) usage {
	u := usage{byFederation: map[v1alpha1.FederationName]int{}}
	for i := range s.Entries {
		u.count(s.Entries[i].federation(), sizeOf(&s.Entries[i]))
	}
	return u
}

func (u *usage) count(name v1alpha1.FederationName, size int) {
	u.total += size
	u.byFederation[name] += size
}

// add counts an entry, unless it does not fit.
func (u *usage) add(e *Entry) error {
	name, size := e.federation(), sizeOf(e)
	share := u.byFederation[name] + size
	switch {
	case size > maxEntrySize:
		return errTooLarge(e, size)
	case u.total+size > maxSize:
		return errFull
	case share > maxShare, u.total+size > openSize && share > reservedShare:
		return errShare(name)
	}
	u.count(name, size)
	return nil
}

// sizeOf is what an entry takes, with the digits that its number may have and the mark that it was seen.
func sizeOf(e *Entry) int {
	text, err := json.Marshal(e)
	if err != nil {
		return maxSize
	}
	return len(text) + len(`,000000000000000000"seen":true,`)
}
