package discover

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// longestName is the longest name of a member: a DNS-1123 label.
const longestName = 63

// openShift finds the cluster in the name of a context that oc login writes.
var openShift = regexp.MustCompile(`^[^/]*/(?:api-)?([^/]+):\d+(?:/|$)`)

// nameFor derives a member's name from the name of a kubeconfig context: the cluster's own name out of
// the forms that cloud tools write, then anything that a DNS-1123 label cannot hold becomes a dash.
// Two contexts can give one name; see namer. The result is empty when nothing usable is left.
func nameFor(context string) v1alpha1.MemberName {
	name := context
	switch {
	case strings.HasPrefix(name, "arn:"): // arn:aws:eks:<region>:<account>:cluster/<name>
		name = name[strings.LastIndex(name, "/")+1:]
	case strings.HasPrefix(name, "gke_"): // gke_<project>_<location>_<name>
		if parts := strings.SplitN(name, "_", 4); len(parts) == 4 {
			name = parts[3]
		}
	case openShift.MatchString(name): // <namespace>/api-<cluster>-<domain>:<port>/<user>
		name = openShift.FindStringSubmatch(name)[1]
	case strings.Contains(name, "@"): // <user>@<cluster>, and of eksctl <user>@<cluster>.<region>.eksctl.io
		name = name[strings.LastIndex(name, "@")+1:]
		if cluster, ok := strings.CutSuffix(name, ".eksctl.io"); ok {
			name, _, _ = strings.Cut(cluster, ".")
		}
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

// namer gives clusters their names. They do not depend on the order of the contexts, nor on which clusters are
// members already: what was proposed once is proposed again when a command has to be run twice.
type namer struct {
	// shared counts the contexts and the members that a name stands for.
	shared map[v1alpha1.MemberName]int
	// given are the names that are a member's, or were given to a cluster.
	given map[v1alpha1.MemberName]bool
}

// nameAll gives every cluster that would join, and has no name yet, the name it would get. Clusters that would share a
// name, or have one that is taken, are distinguished by their IDs. A context that does not answer counts as one more: when it
// answers the next time, the others keep their names. Names of objects are chosen by all users who may create them: they never
// change that of a context or a member, and of several objects the one that was created first has the name.
func (j *judge) nameAll(clusters []Cluster) {
	n := &namer{shared: map[v1alpha1.MemberName]int{}, given: map[v1alpha1.MemberName]bool{"": true}}
	for name := range j.names {
		n.shared[name]++
		n.given[name] = true
	}
	for i := range clusters {
		if c := &clusters[i]; c.Source == FromKubeconfig && (c.State != Joined || c.Member != c.base()) {
			n.shared[c.base()]++
		}
	}
	var unnamed []*Cluster
	for i := range clusters {
		c := &clusters[i]
		if c.State != Wants {
			continue
		}
		if n.given[c.Member] {
			c.Member = "" // two membership records with one name, or with that of another member
		}
		if n.given[c.Member] = true; c.Member == "" {
			unnamed = append(unnamed, c)
		}
	}
	slices.SortStableFunc(unnamed, func(a, b *Cluster) int {
		if a.Source == FromKubeconfig || b.Source == FromKubeconfig {
			return cmp.Compare(min(a.Source.directness(), 1), min(b.Source.directness(), 1))
		}
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Candidate.String(), b.Candidate.String()))
	})
	for _, c := range unnamed {
		c.Member = n.name(c)
	}
}

// name names a cluster: by the name that it would have alone where no other shares that, and else followed by the start of
// its ID.
func (n *namer) name(c *Cluster) v1alpha1.MemberName {
	base, sharing := c.base(), 0
	if c.Source == FromKubeconfig {
		sharing = 1 // its own
	}
	name := base
	if n.shared[name] > sharing || n.given[name] {
		name = withID(base, c.ID, shortID)
		// A context can be called like another with the start of its ID.
		for length := shortID; (n.shared[name] > 0 || n.given[name]) && length < len(c.ID); length++ {
			name = withID(base, c.ID, length+1)
		}
	}
	n.given[name] = true
	return name
}

// shortID is how much of a cluster ID usually distinguishes clusters: the first group of a UUID, 32 bits.
const shortID = 8

// withID makes a name that several clusters would share the cluster's own, by the first length bytes of its ID.
func withID(name v1alpha1.MemberName, id v1alpha1.ClusterID, length int) v1alpha1.MemberName {
	suffix := strings.TrimRight("-"+string(id[:min(len(id), length)]), "-")
	base := string(name[:min(len(name), longestName-len(suffix))])
	return v1alpha1.MemberName(strings.Trim(strings.TrimRight(base, "-")+suffix, "-"))
}
