package rules

import (
	"fmt"

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
		path, which := federationPath, ""
		if limit.PerLabel != "" {
			path, which = labelsPath.Key(limit.PerLabel), fmt.Sprintf(" with %s=%s", bucket.Key, bucket.Value)
		}
		found.refuse(field.Forbidden(path, fmt.Sprintf("federation %q has %s%s and takes at most %d",
			federation.Name, count(n, "member"), which, limit.Max)))
	}
	return found
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
