package discover

import (
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// longestName is the longest name of a member: a DNS-1123 label.
const longestName = 63

// NameFor derives a member's name from the name of a kubeconfig context: the cluster's own name out of
// the forms that cloud tools write, then anything that a DNS-1123 label cannot hold becomes a dash.
// Two contexts can give one name; Names tells them apart. The result is empty when nothing usable is left.
func NameFor(context string) v1alpha1.MemberName {
	name := context
	switch {
	case strings.HasPrefix(name, "arn:"): // arn:aws:eks:<region>:<account>:cluster/<name>
		name = name[strings.LastIndex(name, "/")+1:]
	case strings.HasPrefix(name, "gke_"): // gke_<project>_<location>_<name>
		if parts := strings.SplitN(name, "_", 4); len(parts) == 4 {
			name = parts[3]
		}
	case strings.Contains(name, "@"): // <user>@<cluster>
		name = name[strings.LastIndex(name, "@")+1:]
	}
	return v1alpha1.MemberName(dnsLabel(name))
}

// dnsLabel turns text into a DNS-1123 label, with runs of anything else as one dash.
func dnsLabel(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && !strings.HasSuffix(s, "-") {
			b.WriteByte('-')
		}
	}
	label := b.String()
	return strings.Trim(label[:min(len(label), longestName)], "-")
}

// distinct makes a name that several clusters would share the cluster's own, by the start of its ID.
func distinct(name v1alpha1.MemberName, id v1alpha1.ClusterID) v1alpha1.MemberName {
	suffix := "-" + string(id[:min(len(id), 8)])
	base := string(name[:min(len(name), longestName-len(suffix))])
	return v1alpha1.MemberName(strings.Trim(strings.TrimRight(base, "-")+suffix, "-"))
}
