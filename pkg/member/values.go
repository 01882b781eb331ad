package member

import (
	"regexp"

	"k8s.io/apimachinery/pkg/api/resource"
)

// maxVersion is that of the CustomResourceDefinition, and maxQuantity is longer than any sum of a cluster, in bytes.
const maxVersion, maxQuantity = 128, 32

// versions is the rule of the CustomResourceDefinition: what API servers report, such as v1.36.3 and v1.30.5-gke.1014001.
// quantities have no exponent: the digits of 1e-2147483647 do not fit into any memory.
var (
	versions   = regexp.MustCompile(`^v?[0-9]+\.[0-9]+[-+.~0-9A-Za-z]*$`)
	quantities = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,9})?(m|k|[KMGTPE]i?)?$`)
)

// KnownVersion is a Kubernetes version that a cluster reports, or nothing if the text is none: a cluster may send
// anything, and versions are stored and printed.
func KnownVersion(reported string) string {
	if len(reported) > maxVersion || !versions.MatchString(reported) {
		return ""
	}
	return reported
}

// ParseQuantity reads an amount that a cluster reports, as kubelets write it, in bounded time and memory.
func ParseQuantity(reported string) (resource.Quantity, bool) {
	if len(reported) > maxQuantity || !quantities.MatchString(reported) {
		return resource.Quantity{}, false
	}
	q, err := resource.ParseQuantity(reported)
	return q, err == nil
}
