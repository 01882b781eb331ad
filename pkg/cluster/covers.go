package cluster

import "fmt"

// Covers says whether live already is as desired says: every field of desired is in live with the same
// value. Lists are compared whole, since those in our objects are what the object grants.
func Covers(live, desired any) bool {
	want, ok := desired.(map[string]any)
	if !ok {
		return fmt.Sprint(live) == fmt.Sprint(desired)
	}
	have, ok := live.(map[string]any)
	if !ok {
		return false
	}
	for key, value := range want {
		if !Covers(have[key], value) {
			return false
		}
	}
	return true
}
