package federate

import (
	"fmt"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// DefaultTokenLifetime is how long a credential lives when nothing else is asked for.
const DefaultTokenLifetime = 90 * 24 * time.Hour

// judgeLifetime says what stands against asking for a token that lives so long.
func judgeLifetime(life time.Duration) []Finding {
	const flag = " with --token-lifetime"
	say := func(cause, remedy string) []Finding {
		return []Finding{{Side: SideMember, Object: "token", Cause: fmt.Sprintf("a lifetime of %s is %s", short(life), cause), Remedy: remedy + flag}}
	}
	switch {
	case life < member.MinTokenLifetime:
		return say("shorter than API servers give", "ask for at least "+short(member.MinTokenLifetime))
	case life > member.MaxTokenLifetime:
		return say("longer than a credential may live", "ask for at most "+short(member.MaxTokenLifetime))
	}
	return nil
}

// judgeToken tells what a member's API server made of the lifetime that was asked for at the time asked. The
// remedy renews the credential in time.
func judgeToken(token member.Token, asked time.Time, life time.Duration, remedy string) []Finding {
	if asked.Add(life).Sub(token.Expires) <= time.Minute {
		return nil
	}
	return []Finding{{Side: SideMember, Object: "token",
		Cause:  fmt.Sprintf("asked for %s, the member's API server gave %s", short(life), short(token.Expires.Sub(asked).Round(time.Minute))),
		Remedy: "renew it before " + token.Expires.UTC().Format(time.RFC3339) + " with " + remedy}}
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
