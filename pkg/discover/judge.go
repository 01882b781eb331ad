package discover

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// State of a cluster that was discovered.
type State string

// States, in the words of the table.
const (
	// Joined clusters are members.
	Joined State = "Joined"
	// Wants is a federation label that a join can fulfil.
	Wants State = "WantsToJoin"
	// Left clusters were members; their old federation label does not bring them back.
	Left State = "Left"
	// Conflict is a federation label that contradicts what is, or another federation label, which only a person resolves.
	Conflict State = "Conflict"
	// Refused is a federation label that a join would refuse, whatever the federation's rules.
	Refused State = "Refused"
	// Unreachable candidates did not answer, or their source has no way to them.
	Unreachable State = "Unreachable"
	// Unlabeled clusters answered and carry no label.
	Unlabeled State = "Unlabeled"
	// Gone is what a watch says of a cluster that it no longer finds.
	Gone State = "Gone"
)

// Cluster is one row of what was discovered: one cluster, however many candidates lead to it.
type Cluster struct {
	// Candidate through which it is joined: the most direct of those that answered. Its objects and labels are those of
	// all, with the labels of the cluster's kube-system namespace.
	Candidate
	// Also names the other candidates of the same cluster.
	Also []string
	// ID is empty when the cluster did not answer.
	ID v1alpha1.ClusterID
	// Member is the name that it has or would get.
	Member v1alpha1.MemberName
	// Federation that it is in, or asks to be in.
	Federation v1alpha1.FederationName
	State      State
	// Reason says why, where the state needs it, and what to do.
	Reason string

	requests []request
	// context is a kubeconfig context that leads to it; empty when none does.
	context string
}

// Concerns says whether the cluster is in the federation, or is asked to be by any of its labels.
func (c *Cluster) Concerns(federation v1alpha1.FederationName) bool {
	return c.Federation == federation || slices.ContainsFunc(c.requests, func(w request) bool { return w.federation == federation })
}

// Context is a kubeconfig context that leads to the cluster; empty when none does.
func (c *Cluster) Context() string { return c.context }

// RequestedBy is the object on the host whose label asks for the membership; the zero one where the cluster asks for it
// itself, or nothing does.
func (c *Cluster) RequestedBy() command.Object {
	if len(c.requests) == 0 || c.requests[0].on == nil {
		return command.Object{}
	}
	return c.requests[0].on.Object()
}

// contextWord is the context as a command line takes it.
func (c *Cluster) contextWord() string {
	if c.context == "" {
		return "CONTEXT"
	}
	return cluster.ShellWord(c.context)
}

// request is one label that says where a cluster asks for to be.
type request struct {
	federation v1alpha1.FederationName
	// on is nil where the label is on the cluster itself.
	on *Object
}

func (w request) String() string {
	if w.on == nil {
		return fmt.Sprintf("%q by its own label", w.federation)
	}
	return fmt.Sprintf("%q by the label of %s", w.federation, w.on.Word())
}

// mend is the command that makes the label say the federation.
func (w request) mend(c *Cluster, federation v1alpha1.FederationName) string {
	if w.on == nil {
		return fmt.Sprintf("kubectl federate label --member-context %s --federation %s", c.contextWord(), federation)
	}
	return fmt.Sprintf("kubectl label %s %s=%s --overwrite", w.on.Word(), v1alpha1.LabelFederation, federation)
}

// View is what the host knows.
type View struct {
	// HostID is the host's own cluster ID.
	HostID      v1alpha1.ClusterID
	Federations []v1alpha1.Federation
	Members     []v1alpha1.MemberCluster
}

// Judge says what each observed cluster is to the host. Its order is that of the observations.
func Judge(view View, observations []Observation) []Cluster {
	clusters := view.each(observations, view.judge)
	for i := range clusters {
		if c := &clusters[i]; c.State == Wants && c.Member != c.base() && c.base() != "" {
			c.Reason = strings.TrimPrefix(c.Reason+"; "+view.shared(clusters, i), "; ")
		}
	}
	return clusters
}

// rank orders the candidates of one cluster, the most direct first. A context is the caller's own way, with a credential
// of their own; Cluster API's is an administrator's that it keeps for itself. Rancher's proxy comes last, whoever leads to
// it, but that of a cluster whose own endpoint Rancher knows before others.
func (s *Observation) rank() int {
	rank := slices.Index([]SourceName{FromKubeconfig, FromClusterAPI, FromRancher}, s.Source)
	if cluster.RancherProxyID(s.Server) == "" {
		return rank
	}
	if s.Keep != nil {
		return 10
	}
	return 11 + rank
}

// each makes one Cluster of all observations of a cluster. What did not answer is a cluster of its own, but where an object
// says that it is one that did.
func (v View) each(observations []Observation, judge func(*Cluster, *Answer)) []Cluster {
	ways := map[v1alpha1.ClusterID][]*Observation{}
	known := map[string]v1alpha1.ClusterID{}
	for i := range observations {
		if s := &observations[i]; s.Err == nil {
			ways[s.Answer.ID] = append(ways[s.Answer.ID], s)
			if s.Source != FromKubeconfig {
				known[s.otherName()] = s.Answer.ID
			}
		}
	}
	for i := range observations {
		s := &observations[i]
		if id, ok := known[s.otherName()]; ok && s.Err != nil && s.Source != FromKubeconfig {
			ways[id] = append(ways[id], s)
		}
	}
	var clusters []Cluster
	done := map[v1alpha1.ClusterID]bool{}
	for i := range observations {
		s := &observations[i]
		if s.Err != nil {
			if _, ok := known[s.otherName()]; !ok || s.Source == FromKubeconfig {
				clusters = append(clusters, unreachable(s))
			}
			continue
		}
		if done[s.Answer.ID] {
			continue
		}
		done[s.Answer.ID] = true
		c := merge(ways[s.Answer.ID])
		judge(&c, s.Answer)
		clusters = append(clusters, c)
	}
	v.name(clusters)
	return clusters
}

// merge is one cluster of all its candidates.
func merge(ways []*Observation) Cluster {
	slices.SortStableFunc(ways, func(a, b *Observation) int {
		if (a.Err == nil) != (b.Err == nil) {
			if a.Err == nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.rank(), b.rank())
	})
	best := ways[0]
	c := Cluster{Candidate: best.Candidate, ID: best.Answer.ID}
	c.Objects, c.Labels = nil, map[string]string{}
	if best.Answer.JoinRequest.Federation != "" {
		c.requests = append(c.requests, request{federation: best.Answer.JoinRequest.Federation})
	}
	maps.Copy(c.Labels, best.Answer.Labels)
	for i, s := range ways {
		if i > 0 {
			c.Also = append(c.Also, s.Candidate.String())
		}
		c.context = cmp.Or(c.context, s.Candidate.Context())
		c.Objects = append(c.Objects, s.Objects...)
	}
	for _, s := range slices.Backward(ways) {
		maps.Copy(c.Labels, s.Candidate.Labels)
	}
	c.request()
	return c
}

// federation label gathers the federation labels of the objects, and which federation they all name.
func (c *Cluster) request() {
	for i := range c.Objects {
		if o := &c.Objects[i]; o.JoinRequest != "" {
			c.requests = append(c.requests, request{o.JoinRequest, o})
		}
	}
	if len(c.requests) > 0 {
		c.Federation = c.requests[0].federation
	}
}

// unreachable is a cluster that did not answer.
func unreachable(s *Observation) Cluster {
	c := Cluster{Candidate: s.Candidate, State: Unreachable, Reason: s.Err.Error(), context: s.Candidate.Context()}
	c.request()
	return c
}

// member is the member of a cluster ID; nil where the host has none.
func (v View) member(id v1alpha1.ClusterID) *v1alpha1.MemberCluster {
	i := slices.IndexFunc(v.Members, func(m v1alpha1.MemberCluster) bool { return m.Spec.ClusterID == string(id) })
	if i < 0 {
		return nil
	}
	return &v.Members[i]
}

func (v View) judge(c *Cluster, answer *Answer) {
	if m := v.member(answer.ID); m != nil {
		c.Member, c.Federation, c.State = v1alpha1.MemberName(m.Name), m.Federation(), Joined
		if i := slices.IndexFunc(c.requests, func(w request) bool { return w.federation != m.Federation() }); i >= 0 {
			c.State, c.Reason = Conflict, c.requests[i].against(c, m)
		}
		return
	}
	if len(c.requests) == 0 {
		c.State = Unlabeled
		return
	}
	federation := c.Federation
	other := slices.IndexFunc(c.requests, func(w request) bool { return w.federation != federation })
	switch {
	case other >= 0:
		c.State = Conflict
		c.Reason = fmt.Sprintf("its labels name two federations, %s and %s; make them one: %s, or: %s",
			c.requests[0], c.requests[other], c.requests[other].mend(c, federation), c.requests[0].mend(c, c.requests[other].federation))
	case answer.JoinRequest.Left == federation || answer.LeftObject == federation:
		c.State = Left
		c.Reason = fmt.Sprintf("it left %q and its label stayed; to let it in again: kubectl federate label --member-context %s --federation %s",
			federation, c.contextWord(), federation)
	case answer.Membership != nil && answer.Membership.HostID != v.HostID:
		c.State = Conflict
		c.Reason = elsewhere(answer.Membership) + fmt.Sprintf("; it leaves that one first, or, if that host is gone for good: kubectl federate join %s --federation %s --member-context %s --take-over",
			cmp.Or(string(c.base()), "NAME"), federation, c.contextWord())
	case answer.Membership != nil:
		c.State = Conflict
		c.Reason = fmt.Sprintf("it carries the membership record of member %q, which this host no longer has; remove it: kubectl federate unjoin %s --member-context %s",
			answer.Membership.Member, answer.Membership.Member, c.contextWord())
	default:
		c.State, c.Reason = v.wanted(c)
	}
	switch {
	case c.State != Wants:
	case c.Keep == nil && c.Unkept != "":
		c.State = Refused
		c.Reason = c.Unkept + fmt.Sprintf("; or join it by its own API server: kubectl federate join %s --federation %s --member-context %s --member-server URL --member-certificate-authority FILE",
			cmp.Or(string(c.base()), "NAME"), federation, c.contextWord())
	case answer.ID == v.HostID:
		c.Reason = "it is the host itself"
	}
}

// against says that a federation label is not what the cluster's membership is.
func (w request) against(c *Cluster, m *v1alpha1.MemberCluster) string {
	if w.on == nil {
		return fmt.Sprintf("its label names federation %q, but it is a member of %q; let it leave first: kubectl federate unjoin %s --member-context %s",
			w.federation, m.Federation(), m.Name, c.contextWord())
	}
	return fmt.Sprintf("the label of %s names federation %q, but it is a member of %q; let it leave first: kubectl federate unjoin %s --member-context %s; or mend the label: %s",
		w.on.Word(), w.federation, m.Federation(), m.Name, c.contextWord(), w.mend(c, m.Federation()))
}

// elsewhere says that a cluster belongs to another host.
func elsewhere(k *member.Membership) string {
	return fmt.Sprintf("it is member %q of federation %q of another host, cluster %s", k.Member, k.Federation, k.HostID)
}

// wanted judges a federation label of a cluster that is in no federation.
func (v View) wanted(c *Cluster) (State, string) {
	request := c.Federation
	var names []v1alpha1.FederationName
	for i := range v.Federations {
		f := &v.Federations[i]
		if f.Name != string(request) {
			names = append(names, v1alpha1.FederationName(f.Name))
			continue
		}
		if f.DeletionTimestamp != nil {
			return Conflict, fmt.Sprintf("federation %q is being deleted", request)
		}
		return Wants, ""
	}
	if near, ok := rules.Nearest(request, names); ok {
		return Conflict, fmt.Sprintf("federation %q does not exist; did you mean %q? Then: %s", request, near, c.requests[0].mend(c, near))
	}
	return Conflict, fmt.Sprintf("federation %q does not exist; create it: kubectl federate create federation %s", request, request)
}

// base is what the name of the cluster's member is made of.
func (c *Candidate) base() v1alpha1.MemberName {
	if c.Source == FromKubeconfig {
		return NameFor(c.Name)
	}
	return v1alpha1.MemberName(dnsLabel(cmp.Or(c.Base, c.Name)))
}

// name gives every cluster that would join, and has no name yet, the name it would get. Clusters that would share
// a name, or have one that is taken, are told apart by their IDs. A cluster that does not answer counts as one more:
// when it answers the next time, the others keep their names.
func (v View) name(clusters []Cluster) {
	namer := newNamer(v.Members)
	for i := range clusters {
		if c := &clusters[i]; c.State != Joined || c.Member != c.base() {
			namer.count(c.base())
		}
	}
	for i := range clusters {
		if c := &clusters[i]; c.State == Wants && c.Member != "" && !namer.take(c.Member) {
			c.Member = "" // two membership records with one name, or with that of another member
		}
	}
	for i := range clusters {
		if c := &clusters[i]; c.State == Wants && c.Member == "" {
			c.Member = namer.name(c.base(), c.ID)
		}
	}
}

// shared says who else has the name that clusters[i] would have.
func (v View) shared(clusters []Cluster, i int) string {
	name := clusters[i].base()
	who := fmt.Sprintf("member %q is another cluster", name)
	if !slices.ContainsFunc(v.Members, func(m v1alpha1.MemberCluster) bool { return m.Name == string(name) }) {
		var others []string
		for j := range clusters {
			if j != i && clusters[j].base() == name {
				others = append(others, clusters[j].Candidate.String())
			}
		}
		if len(others) == 0 { // a name that begins with the ID of another
			others = []string{"another cluster's name"}
		}
		const most = 3
		more := ""
		if len(others) > most {
			more = fmt.Sprintf(" and %d more", len(others)-most)
			others = others[:most]
		}
		who = fmt.Sprintf("%q would be %s, too", name, strings.Join(others, ", ")+more)
	}
	return who + "; to choose its name: kubectl federate join NAME --federation " + string(clusters[i].Federation) + " --member-context " + clusters[i].contextWord()
}

// Sort orders rows for a person: by federation, then by name; what has none comes last.
func Sort(clusters []Cluster) {
	slices.SortStableFunc(clusters, func(a, b Cluster) int {
		if (a.Federation == "") != (b.Federation == "") {
			if a.Federation == "" {
				return 1
			}
			return -1
		}
		if d := strings.Compare(string(a.Federation), string(b.Federation)); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
}
