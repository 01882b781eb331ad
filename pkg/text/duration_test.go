package text

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, "1m": time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute, "1h0m5s": time.Hour + 5*time.Second, "1.5s": 1500 * time.Millisecond,
		"23h59m": day - time.Minute, "1d": day, "90d": 90 * day, "1d12h": 36 * time.Hour, "-2d": -2 * day, "-5s": -5 * time.Second, "365d1s": 365*day + time.Second,
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%s) = %s, want %s", d, got, want)
		}
		if got, err := ParseDuration(want); err != nil || got != d {
			t.Errorf("ParseDuration(%s) = %s, %v, want %s", want, got, err, d)
		}
	}
	for typed, want := range map[string]time.Duration{"2160h": 90 * day, "+1d": day, "1d90m": day + 90*time.Minute, "0d": 0, "-1d12h": -36 * time.Hour} {
		if got, err := ParseDuration(typed); err != nil || got != want {
			t.Errorf("ParseDuration(%s) = %s, %v, want %s", typed, got, err, want)
		}
	}
	for _, typed := range []string{"", "5", "d", "1.5d", "1d-5h", "1d+5h", "1d5", "--1d", "+-1d", "106752d", "99999999999d", "1h1d", "1 d", "1y"} {
		if got, err := ParseDuration(typed); err == nil {
			t.Errorf("ParseDuration(%q) = %s", typed, got)
		}
	}
}
