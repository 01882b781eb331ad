package journal

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/util/validation"

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
	// maxEntrySize bounds one entry.
	maxEntrySize = reservedShare
	// maxUID, maxClusterID and validation.LabelValueMaxLength bound what an entry takes of an object. API servers have
	// validated it before they ask: what is longer was not sent by one.
	maxUID, maxClusterID = 36, 63
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
	case size > maxEntrySize || !e.isPlausible():
		return errTooLarge(e, size)
	case u.total+size > maxSize:
		return errFull
	case share > maxShare, u.total+size > openSize && share > reservedShare:
		return errShare(name)
	}
	u.count(name, size)
	return nil
}

// isPlausible says whether an API server may have sent what the entry holds.
func (e *Entry) isPlausible() bool {
	if len(e.Name) > validation.DNS1123SubdomainMaxLength || len(e.UID) > maxUID {
		return false
	}
	if e.Member == nil {
		return true
	}
	for _, value := range e.Member.Labels {
		if len(value) > validation.LabelValueMaxLength {
			return false
		}
	}
	return len(e.Member.ClusterID) <= maxClusterID
}

// sizeOf is what an entry takes, with the digits that its number may have and the mark that it was seen.
func sizeOf(e *Entry) int {
	text, err := json.Marshal(e)
	if err != nil {
		return maxSize
	}
	return len(text) + len(`,000000000000000000"seen":true,`)
}
