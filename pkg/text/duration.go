package text

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Duration is a duration as it is typed and printed: 30s, 1h30m, 90d, 1d12h; 0 is none.
func Duration(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < 0 && d != math.MinInt64:
		return "-" + Duration(-d)
	case d < day:
		return withoutZeros(d)
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return strconv.FormatInt(int64(d/day), 10) + "d" + withoutZeros(d%day)
}

// withoutZeros is what Go prints without the zeros that it ends in: 1h30m in place of 1h30m0s.
func withoutZeros(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// ParseDuration reads what Duration prints, and what time.ParseDuration does. A day has 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	digits := strings.TrimLeft(s, "+-")
	days, rest, found := strings.Cut(digits, "d")
	if !found || len(s)-len(digits) > 1 {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 31)
	if err != nil {
		return 0, errors.New("the number of days must be whole")
	}
	var more time.Duration
	if rest != "" {
		if more, err = time.ParseDuration(rest); err != nil || more < 0 || strings.HasPrefix(rest, "+") {
			return 0, errors.New("what follows the days must be a time such as 12h")
		}
	}
	if n > uint64((math.MaxInt64-more)/day) {
		return 0, errors.New("it is too long")
	}
	d := time.Duration(n)*day + more
	if strings.HasPrefix(s, "-") {
		d = -d
	}
	return d, nil
}
