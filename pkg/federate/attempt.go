package federate

import (
	"crypto/rand"
	"strings"
	"time"
)

// attempt is one run of join. It is stamped on the MemberCluster and on the membership record, and a run undoes its own
// work only while its stamp stands.
type attempt struct {
	id string
	at time.Time
	// undoing says that the run failed and is rolling back; others wait for that.
	undoing bool
}

const undoingWord = "undoing"

func newAttempt(now time.Time) attempt { return attempt{id: strings.ToLower(rand.Text()), at: now} }

func (a attempt) String() string {
	s := a.id + " " + a.at.UTC().Format(time.RFC3339)
	if a.undoing {
		s += " " + undoingWord
	}
	return s
}

func parseAttempt(s string) attempt {
	fields := strings.Fields(s)
	var a attempt
	if len(fields) > 0 {
		a.id = fields[0]
	}
	if len(fields) > 1 {
		a.at, _ = time.Parse(time.RFC3339, fields[1])
	}
	a.undoing = len(fields) > 2 && fields[2] == undoingWord
	return a
}

// undoPatience is how long a run waits for another that is rolling back. It is longer than undoing may
// take (undoTimeout), so that a run that died meanwhile does not hold the cluster for ever.
const (
	undoTimeout  = 10 * time.Second
	undoPatience = 15 * time.Second
)

// undoneBy says whether another run is rolling back at the time now.
func (a attempt) underway(now time.Time) bool { return a.undoing && now.Sub(a.at) < undoPatience }
