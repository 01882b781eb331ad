package rules

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Limits: a federation has at most as many members as its limits allow.
//
// Reads: metadata.labels, spec.limits of the Federation, and how many members there are.
// Allows: as many members as max, in all and for each value of a label. A member without the label does not count for
// any value. Members of every phase count, also Pending and Leaving.
// Does not promise: that two concurrent creates see each other; the snapshot must ensure that.
const Limits ID = "limits"

func limits(s Snapshot, c MemberChange) (found Findings) {
	federation := federationOf(s, c.New)
	if federation == nil {
		return found
	}
	for _, limit := range federation.Spec.Limits {
		bucket, counted := bucketOf(limit, c.New)
		if !counted {
			continue
		}
		if c.Old != nil {
			if was, wasCounted := bucketOf(limit, c.Old); wasCounted && was == bucket {
				continue
			}
		}
		n := s.Count(bucket, v1alpha1.MemberName(c.New.Name))
		if n < int(limit.Max) {
			continue
		}
		if s.budget != nil {
			n++ // MembersKeepRules judges a member that exists, which Count leaves out
		}
		path := federationPath
		if limit.PerLabel != "" {
			path = labelsPath.Key(limit.PerLabel)
		}
		found.refuse(field.Forbidden(path, tooMany(bucket, n, limit.Max)))
	}
	return found
}

// tooMany says that a bucket is full.
func tooMany(b Bucket, n int, most int32) string {
	which := ""
	if b.Key != "" {
		which = fmt.Sprintf(" with %s=%s", b.Key, b.Value)
	}
	return fmt.Sprintf("federation %q has %s%s and takes at most %d", b.Federation, count(n, "member"), which, most)
}

// ExceededLimits says which limits a federation with these members exceeds, in the words of a refusal, in the order of its
// limits and then by value. Which of the members are too many cannot be said, so no member breaks a limit.
func ExceededLimits(f *v1alpha1.Federation, members iter.Seq[*v1alpha1.MemberCluster]) (exceeded []string) {
	counts := make([]map[Bucket]int, len(f.Spec.Limits))
	for i := range counts {
		counts[i] = map[Bucket]int{}
	}
	for m := range members {
		for i, limit := range f.Spec.Limits {
			if bucket, counted := bucketOf(limit, m); counted {
				counts[i][bucket]++
			}
		}
	}
	for i, limit := range f.Spec.Limits {
		byValue := func(a, b Bucket) int { return cmp.Compare(a.Value, b.Value) }
		for _, bucket := range slices.SortedFunc(maps.Keys(counts[i]), byValue) {
			if n := counts[i][bucket]; n > int(limit.Max) {
				exceeded = append(exceeded, tooMany(bucket, n, limit.Max))
			}
		}
	}
	return exceeded
}

// bucketOf is the bucket that a member counts in for a limit; counted is false where it counts in none.
func bucketOf(limit v1alpha1.Limit, m *v1alpha1.MemberCluster) (b Bucket, counted bool) {
	b = Bucket{Federation: m.Federation()}
	if limit.PerLabel == "" {
		return b, true
	}
	b.Key = limit.PerLabel
	b.Value, counted = m.Labels[limit.PerLabel]
	return b, counted
}
