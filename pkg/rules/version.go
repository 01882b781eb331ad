package rules

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// number is a Kubernetes version that can be compared: major, minor and patch, twenty bits each.
type number int64

const endless number = 1 << 62

// versionPattern matches the versions that API servers report: v1.33.1, v1.33.4-gke.1036000, v1.32.3+k3s1, v1.31.6-eks-bc803b4.
var versionPattern = regexp.MustCompile(`\Av?([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?(?:[-+].*)?\z`)

// parseVersion reads a version; whatever a distribution appends is ignored, also a "-rc.1". With two parts the
// patch is 0, and next is the version after all of its patches.
func parseVersion(s string) (at, next number, ok bool) {
	match := versionPattern.FindStringSubmatch(s)
	if match == nil {
		return 0, 0, false
	}
	part := func(i int) number {
		n, _ := strconv.ParseInt(match[i], 10, 64) // at most six digits
		return number(n)
	}
	at = part(1)<<40 | part(2)<<20
	if match[3] == "" {
		return at, at + 1<<20, true
	}
	at |= part(3)
	return at, at + 1, true
}

// versions is a range: everything from low on and before high, except the holes.
type versions struct {
	low, high number
	holes     [][2]number
}

func (r versions) has(n number) bool {
	for _, hole := range r.holes {
		if hole[0] <= n && n < hole[1] {
			return false
		}
	}
	return r.low <= n && n < r.high
}

var comparison = regexp.MustCompile(`\A(>=|<=|!=|>|<|=)?(.*)\z`)

// parseRange reads comparisons that must all hold, parted by spaces or commas: ">=1.33 <1.38". A version of
// two parts stands for all its patches: "<=1.36" and "=1.36" take 1.36.9, ">1.36" does not.
func parseRange(s string) (versions, error) {
	r := versions{high: endless}
	for offset := 0; offset < len(s); {
		if strings.IndexByte(" ,\t\n", s[offset]) >= 0 {
			offset++
			continue
		}
		term := s[offset:]
		if end := strings.IndexAny(term, " ,\t\n"); end >= 0 {
			term = term[:end]
		}
		parts := comparison.FindStringSubmatch(term)
		at, next, ok := parseVersion(parts[2])
		switch {
		case parts[2] == "":
			return r, fmt.Errorf("at character %d: %q has no version; write it without a space, as in >=1.33", offset+1, term)
		case !ok:
			return r, fmt.Errorf("at character %d: %q is not a version; write it as in >=1.33 or <1.37.2", offset+1, parts[2])
		case parts[1] == "":
			return r, fmt.Errorf("at character %d: %q has no comparison; write one of >=, >, <=, <, = or != before it", offset+1, term)
		}
		switch parts[1] {
		case ">=":
			r.low = max(r.low, at)
		case ">":
			r.low = max(r.low, next)
		case "<=":
			r.high = min(r.high, next)
		case "<":
			r.high = min(r.high, at)
		case "=":
			r.low, r.high = max(r.low, at), min(r.high, next)
		case "!=":
			r.holes = append(r.holes, [2]number{at, next})
		}
		offset += len(term)
	}
	if r.low >= r.high {
		return r, fmt.Errorf("no version is in this range")
	}
	return r, nil
}
