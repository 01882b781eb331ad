package discover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// View is what the host knows, and how this run names it.
type View struct {
	// Now is when the members were read.
	Now time.Time
	// HostID is the host's own cluster ID.
	HostID      v1alpha1.ClusterID
	Federations []v1alpha1.Federation
	Members     []v1alpha1.MemberCluster
	// Memory is what the discovery controller has seen as members; nil where there is none, or it cannot be read.
	Memory *Memory
	// Commands renders the commands that reasons propose.
	Commands command.Host
	// MemberKubeconfig is the file that holds the contexts, where that is not the host's.
	MemberKubeconfig string
}

// Judge says what each observed cluster is to the host. Its order is that of the observations.
func Judge(view View, observations []Observation) []Cluster {
	j := newJudge(view)
	clusters := j.merge(observations, j.judge)
	j.nameAll(clusters)
	bases := map[v1alpha1.MemberName][]*Cluster{}
	for i := range clusters {
		if c := &clusters[i]; c.Source == FromKubeconfig || c.State == Wants {
			bases[c.base()] = append(bases[c.base()], c)
		}
		if c := &clusters[i]; c.State == Conflict && len(c.Ways) == 0 && c.Member == "" && len(c.requests) == 0 {
			c.State = Unlabeled // none of the ways asks for anything
		}
	}
	for i := range clusters {
		if c := &clusters[i]; c.State == Wants && c.Member != c.base() && c.base() != "" {
			c.Reason = strings.TrimPrefix(c.Reason+"; "+j.nameTaken(c, bases[c.base()]), "; ")
		}
	}
	return clusters
}

// judge is a View with what is looked up in it.
type judge struct {
	View
	members map[v1alpha1.ClusterID]*v1alpha1.MemberCluster
	// names are those of all members.
	names map[v1alpha1.MemberName]bool
}

func newJudge(view View) *judge {
	j := &judge{view, map[v1alpha1.ClusterID]*v1alpha1.MemberCluster{}, map[v1alpha1.MemberName]bool{}}
	for i := range view.Members {
		m := &view.Members[i]
		j.names[v1alpha1.MemberName(m.Name)] = true
		if id := v1alpha1.ClusterID(m.Spec.ClusterID); j.members[id] == nil {
			j.members[id] = m
		}
	}
	return j
}

// isCluster says that the label is on the cluster itself.
func (o *Object) isCluster() bool { return o.Name == "" }

// label names the label for a message.
func (o *Object) label() string {
	if o.isCluster() {
		return fmt.Sprintf("%q by its own label", o.JoinRequest)
	}
	return fmt.Sprintf("%q by the label of %s", o.JoinRequest, o.Word())
}

// relabel is the command that makes the label name a federation; an empty one is for the reader to fill in.
func (j *judge) relabel(c *Cluster, o *Object, federation v1alpha1.FederationName) command.Command {
	if o.isCluster() {
		return command.Label{Cluster: j.way(c), Federation: federation, Overwrite: true}
	}
	return command.KubectlLabel{
		Object: o.Object(), Key: v1alpha1.LabelFederation, Value: cmp.Or(string(federation), "FEDERATION"), Overwrite: true,
		Cluster: j.holder(o),
	}
}

// holder is the API server that has an object, for a command line; nil is the host.
func (j *judge) holder(o *Object) *command.Cluster {
	if o.Context == "" {
		return nil
	}
	return &command.Cluster{Context: o.Context, Kubeconfig: j.MemberKubeconfig}
}

// way is the cluster for a command line.
func (j *judge) way(c *Cluster) command.Cluster {
	return command.Cluster{Context: c.context, Kubeconfig: j.MemberKubeconfig}
}

// joinCommand is the command that joins the cluster under the name that it would get.
func (j *judge) joinCommand(c *Cluster) command.Join {
	return command.Join{Member: c.base(), Federation: c.Federation, Cluster: j.way(c)}
}

func (j *judge) judge(c *Cluster, answer *Answer) {
	if m := j.members[answer.ID]; m != nil {
		c.Member, c.MemberUID, c.Federation, c.State = v1alpha1.MemberName(m.Name), m.UID, m.Federation(), Joined
		if i := slices.IndexFunc(c.requests, func(o Object) bool { return o.JoinRequest != m.Federation() }); i >= 0 {
			c.State, c.Reason = Conflict, j.differs(c, &c.requests[i])
		}
		return
	}
	if len(c.requests) == 0 {
		c.State = Unlabeled
		return
	}
	gone, until, anew := j.Memory.left(c)
	other := slices.IndexFunc(c.requests, func(o Object) bool { return o.JoinRequest != c.Federation })
	membership := answer.Membership
	switch {
	case other >= 0:
		first, other := &c.requests[0], &c.requests[other]
		c.State = Conflict
		c.Reason = fmt.Sprintf("its labels name two federations, %s and %s; ", first.label(), other.label()) +
			j.Commands.To(fmt.Sprintf("make them agree on %q", first.JoinRequest), j.relabel(c, other, first.JoinRequest)) + "; " +
			j.Commands.To(fmt.Sprintf("or on %q", other.JoinRequest), j.relabel(c, first, other.JoinRequest))
	case answer.JoinRequest.Left == c.Federation || answer.Left == c.Federation && !anew:
		c.State = Left
		c.Reason = fmt.Sprintf("it left federation %q and still carries its label; ", c.Federation) +
			j.Commands.To("to let it join again", command.Label{Cluster: j.way(c), Federation: c.Federation})
	case gone != nil:
		c.State = Left
		c.Reason = fmt.Sprintf("left, seen as a member until %s; to let it join again, remove the label of %s and set it anew, or ", until.UTC().Format(time.RFC3339), gone.Word()) +
			j.Commands.To("join it", j.joinCommand(c))
	case membership != nil && membership.HostID != j.HostID:
		join := j.joinCommand(c)
		join.TakeOver = true
		c.State, c.Reason = Conflict, ofOtherHost(membership)+"; unjoin it there first, or, if that host is gone for good, "+j.Commands.To("take it over", join)
	case membership != nil:
		c.State = Conflict
		c.Reason = fmt.Sprintf("it carries the membership record of member %q, which this host no longer has; ", membership.Member) +
			j.Commands.To(fmt.Sprintf("remove its ConfigMap %s/%s", v1alpha1.MemberNamespace, v1alpha1.MembershipName),
				command.Unjoin{Member: membership.Member, Cluster: j.way(c)})
	default:
		c.State, c.Reason = j.judgeRequest(c)
	}
	switch {
	case c.State != Wants:
	case c.Endpoint == nil && c.EndpointMissing != "":
		join := j.joinCommand(c)
		join.Server, join.CertificateAuthority = "URL", new("FILE")
		c.State, c.Reason = Refused, c.EndpointMissing+"; "+j.Commands.To("or join it by its own API server", join)
	case answer.ID == j.HostID:
		c.Reason = "it is the host itself"
	}
}

// differs says that a member carries a label which names another federation.
func (j *judge) differs(c *Cluster, o *Object) string {
	move := j.Commands.To("move it there", command.Move{Member: c.Member, Federation: o.JoinRequest, Cluster: j.way(c)})
	if o.isCluster() {
		return fmt.Sprintf("its label names federation %q, but it is a member of %q; %s", o.JoinRequest, c.Federation, move)
	}
	return fmt.Sprintf("the label of %s names federation %q, but it is a member of %q; %s; %s", o.Word(), o.JoinRequest, c.Federation, move,
		j.Commands.To("or correct the label", j.relabel(c, o, c.Federation)))
}

// ofOtherHost says that a cluster belongs to another host.
func ofOtherHost(m *member.Membership) string {
	return fmt.Sprintf("it is member %q of federation %q of another host, cluster %s", m.Member, m.Federation, m.HostID)
}

// judgeRequest judges the federation that the labels of a cluster name, which is in none.
func (j *judge) judgeRequest(c *Cluster) (State, string) {
	var names []v1alpha1.FederationName
	for i := range j.Federations {
		f := &j.Federations[i]
		if f.Name != string(c.Federation) {
			names = append(names, v1alpha1.FederationName(f.Name))
			continue
		}
		if f.DeletionTimestamp != nil {
			return Conflict, fmt.Sprintf("federation %q is being deleted", c.Federation)
		}
		return Wants, ""
	}
	missing := fmt.Sprintf("federation %q does not exist; ", c.Federation)
	if near, ok := rules.Nearest(c.Federation, names); ok {
		return Conflict, missing + fmt.Sprintf("did you mean %q? ", near) + j.Commands.To("To correct the label", j.relabel(c, &c.requests[0], near))
	}
	if len(validation.IsDNS1123Label(string(c.Federation))) > 0 {
		return Conflict, missing + j.Commands.To("no federation can have this name; correct the label", j.relabel(c, &c.requests[0], ""))
	}
	return Conflict, missing + j.Commands.To("create it", command.CreateFederation{Name: c.Federation})
}

// otherNames is how many names a reason lists.
const otherNames = 3

// nameTaken says why a cluster does not get the name that it would have alone. Sharing are the clusters that would have it.
func (j *judge) nameTaken(c *Cluster, sharing []*Cluster) string {
	choose := j.joinCommand(c)
	choose.Member = ""
	reason := fmt.Sprintf("member %q is another cluster", c.base())
	if !j.names[c.base()] {
		var others []string
		for i := 0; i < len(sharing) && len(others) < otherNames; i++ {
			if other := sharing[i]; other != c {
				others = append(others, other.Candidate.String())
			}
		}
		text := strings.Join(others, ", ")
		if more := len(sharing) - 1 - otherNames; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		if text == "" { // its name begins like that of another, with the ID behind
			text = "another cluster"
		}
		reason = fmt.Sprintf("the name %q would also be that of %s", c.base(), text)
	}
	return reason + "; " + j.Commands.To("to choose another", choose)
}
