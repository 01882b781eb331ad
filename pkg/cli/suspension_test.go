package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestParseSuspension reads --reason and --until.
func TestParseSuspension(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ reason, until, want string }{
		{"", "", "none"},
		{"upgrade", "", "upgrade forever"},
		{"", "4h", " 2026-12-01T16:00:00Z"},
		{"upgrade", "2d", "upgrade 2026-12-03T12:00:00Z"},
		{"", "2026-12-01T18:00:00+02:00", " 2026-12-01T16:00:00Z"},
		{"", "2026-12-01T11:00:00Z", `invalid --until "2026-12-01T11:00:00Z": it is in the past`},
		{"", "-1h", `invalid --until "-1h": it is in the past`},
		{"", "tomorrow", `invalid --until "tomorrow": must be a time as 2026-12-01T18:00:00Z, or a duration as 4h`},
		{strings.Repeat("ü", 256), "", strings.Repeat("ü", 256) + " forever"},
		{strings.Repeat("x", 257), "", "invalid --reason: it has 257 characters, and at most 256 are kept"},
	} {
		s, err := parseSuspension(tt.reason, tt.until, at)
		got := "none"
		switch {
		case err != nil:
			got = err.Error()
		case s != nil && s.Until == nil:
			got = s.Reason + " forever"
		case s != nil:
			got = fmt.Sprint(s.Reason, " ", s.Until.UTC().Format(time.RFC3339))
		}
		if got != tt.want {
			t.Errorf("%q %q: %s, want %s", tt.reason, tt.until, got, tt.want)
		}
	}
}
