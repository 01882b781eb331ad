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
	// undoing says that the run failed and is rolling back, for which others wait.
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

// rollbackLease is how long other runs wait for one that is rolling back. It is longer than rolling back may take
// (rollbackTimeout), so that a run that died meanwhile does not block the member for ever.
const rollbackLease = 15 * time.Second

// underway says whether the run is rolling back at the time now.
func (a attempt) underway(now time.Time) bool { return a.undoing && now.Sub(a.at) < rollbackLease }
