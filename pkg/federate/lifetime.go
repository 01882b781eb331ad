package federate

import (
	"fmt"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// DefaultTokenLifetime is how long a credential lives when nothing else is asked for.
const DefaultTokenLifetime = 90 * 24 * time.Hour

// judgeToken reports a token that ends earlier than was asked for at the time asked.
func judgeToken(token cluster.Token, asked time.Time, life time.Duration) []Finding {
	if asked.Add(life).Sub(token.Expires) <= time.Minute {
		return nil
	}
	return []Finding{{Side: cluster.Member, Object: "token",
		Cause: fmt.Sprintf("asked for %s, the member's API server granted %s, and the manager renews it in that time",
			short(life), short(token.Expires.Sub(asked).Round(time.Minute)))}}
}

// short is a duration as people write it: 90d, 12h, 10m.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.Round(time.Second).String()
}
