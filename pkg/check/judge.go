package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

// Judge says what is wrong: first the host, then its members by name, then clusters that it does not know. It is
// pure.
func Judge(f Facts) []Finding {
	j := &judge{Facts: f, contexts: map[string]string{}}
	for _, s := range f.Observations {
		if s.State != nil && s.Context != "" && j.contexts[string(s.State.ID)] == "" {
			j.contexts[string(s.State.ID)] = s.Context
		}
	}
	if !j.host() {
		return j.found
	}
	members := slices.Clone(f.Host.Members)
	slices.SortFunc(members, func(a, b v1alpha1.MemberCluster) int { return cmp.Compare(a.Name, b.Name) })
	for i := range members {
		j.member(&members[i])
	}
	for _, name := range slices.Sorted(maps.Keys(f.Host.Credentials)) {
		if j.record(name) == nil {
			j.add(Finding{Code: CredentialOrphan, Severity: Error, Side: cluster.Host, Member: string(name), Object: host.CredentialRef(name).String(),
				Cause:  "is a credential without a member",
				Remedy: j.line(command.KubectlDelete{Object: host.CredentialRef(name).Object()})})
		}
	}
	for _, s := range f.Observations {
		j.stranger(s)
	}
	return j.found
}

// judge gathers findings.
type judge struct {
	Facts
	// contexts are the first contexts that lead to clusters, by cluster ID.
	contexts map[string]string
	found    []Finding
}

func (j *judge) add(f Finding) { j.found = append(j.found, f) }

func (j *judge) record(name v1alpha1.MemberName) *v1alpha1.MemberCluster {
	i := slices.IndexFunc(j.Host.Members, func(m v1alpha1.MemberCluster) bool { return m.Name == string(name) })
	if i < 0 {
		return nil
	}
	return &j.Host.Members[i]
}

func (j *judge) federation(name v1alpha1.FederationName) *v1alpha1.Federation {
	i := slices.IndexFunc(j.Host.Federations, func(f v1alpha1.Federation) bool { return f.Name == string(name) })
	if i < 0 {
		return nil
	}
	return &j.Host.Federations[i]
}

// line is a remedy as it is printed; empty when it cannot be rendered.
func (j *judge) line(c command.Command) string { return j.Commands.Line(c) }

// cluster is the cluster of a context; its zero value where none leads there.
func (j *judge) cluster(context string) command.Cluster {
	if context == "" {
		return command.Cluster{}
	}
	return command.Cluster{Context: context, Kubeconfig: j.MemberKubeconfig}
}

// host judges the host alone and says whether there is more to judge.
func (j *judge) host() bool {
	h := j.Host
	again := command.Init{WebhookURL: h.WebhookURL}
	initAgain := j.line(again)
	if h.Installed == "" {
		j.add(Finding{Code: NotInstalled, Severity: Error, Side: cluster.Host, Cause: command.Plugin + " is not installed on " + h.Server, Remedy: initAgain})
		return false
	}
	if h.Installed != j.Plugin {
		remedy := initAgain
		if install.Newer(h.Installed, j.Plugin) {
			remedy = j.line(command.UpgradePlugin{})
		}
		j.add(Finding{Code: VersionSkew, Severity: Warning, Side: cluster.Host,
			Cause: fmt.Sprintf("the host has %s and the plugin is %s", h.Installed, j.Plugin), Remedy: remedy})
	}
	if h.Enforcing != nil {
		j.add(Finding{Code: WebhookNotEnforcing, Severity: Error, Side: cluster.Host, Cause: webhookCause(h.Enforcing), Remedy: j.line(webhookRemedy(h.Enforcing, again))})
	}
	for _, ref := range h.Missing {
		j.add(Finding{Code: InstallMissing, Severity: Error, Side: cluster.Host, Object: ref.String(), Cause: "is not there, and belongs to what init installs", Remedy: initAgain})
	}
	for _, ref := range h.Changed {
		j.add(Finding{Code: InstallChanged, Severity: Error, Side: cluster.Host, Object: ref.String(), Cause: "is not as init installs it", Remedy: initAgain})
	}
	for _, d := range h.Denied {
		j.add(Finding{Code: NotChecked, Severity: Warning, Side: cluster.Host, Cause: d.What + " could not be checked: " + causeOf(d.Err)})
	}
	for _, r := range h.Lacking {
		j.add(Finding{Code: NoRight, Severity: Info, Side: cluster.Host, Object: cluster.Ref{Resource: r.Resource, Name: r.Name}.String(),
			Cause: "you have no right to " + r.String()})
	}
	return true
}

// member judges a member's record and everything that was seen of its cluster.
func (j *judge) member(m *v1alpha1.MemberCluster) {
	ref := host.MemberRef(v1alpha1.MemberName(m.Name)).String()
	say := func(f Finding) {
		f.Member = m.Name
		if f.Side == "" {
			f.Side = cluster.Host
		}
		if f.Object == "" {
			f.Object = ref
		}
		j.add(f)
	}
	context := j.contexts[m.Spec.ClusterID]
	if j.federation(m.Federation()) == nil {
		say(Finding{Code: FederationMissing, Severity: Error, Cause: fmt.Sprintf("names federation %q, which does not exist", m.Federation()),
			Remedy: j.line(command.CreateFederation{Name: m.Federation()})})
	}
	if m.Status.Phase == "" || m.Status.ObservedGeneration < m.Generation {
		say(Finding{Code: StatusStale, Severity: Warning, Cause: "the manager has not looked at it yet",
			Remedy: j.line(command.ManagerPods)})
	}
	if endpoint.ScopeOf(m.Spec.Server) == endpoint.Loopback && endpoint.ScopeOf(j.Host.Server) != endpoint.Loopback {
		say(Finding{Code: EndpointLoopback, Severity: Warning, Cause: "its endpoint " + m.Spec.Server + " is a loopback address, where the host reaches itself",
			Remedy: j.join(m, context, command.Join{Server: "URL"})})
	}
	j.credential(m, context, say)
	for _, s := range j.Observations {
		switch {
		case s.Credential == v1alpha1.MemberName(m.Name):
			j.throughCredential(m, s, context, say)
		case s.State != nil && string(s.State.ID) == m.Spec.ClusterID && s.Context == context:
			j.drift(m, s, say)
		}
	}
}

// join is the command that joins a member again, which keeps what it is not given.
func (j *judge) join(m *v1alpha1.MemberCluster, context string, c command.Join) string {
	c.Member, c.Federation, c.Cluster = v1alpha1.MemberName(m.Name), m.Federation(), j.cluster(context)
	return j.line(c)
}

func (j *judge) rotate(m *v1alpha1.MemberCluster, context string) string {
	return j.line(command.Rotate{Member: v1alpha1.MemberName(m.Name), Cluster: j.cluster(context)})
}

// credential judges what the host keeps, by the manager's word, the clock, and what is there.
func (j *judge) credential(m *v1alpha1.MemberCluster, context string, say func(Finding)) {
	at := host.CredentialRef(v1alpha1.MemberName(m.Name)).String()
	broken := func(reason, cause, remedy string) {
		say(Finding{Code: Code(reason), Severity: Error, Object: at, Cause: cause, Remedy: remedy})
	}
	if j.Host.Credentials != nil && !j.Host.Credentials[v1alpha1.MemberName(m.Name)] {
		broken(v1alpha1.ReasonCredentialMissing, "is not there: the join is not finished", j.join(m, context, command.Join{}))
		return
	}
	valid := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCredentialValid)
	if valid == nil {
		return // the manager has not looked, which is reported
	}
	if e := m.Status.CredentialExpiry; e != nil && !j.Now.Before(e.Time) {
		broken(v1alpha1.ReasonCredentialExpired, "ended at "+e.UTC().Format(timeFormat), j.rotate(m, context))
		return
	}
	switch {
	case valid.Reason == v1alpha1.ReasonCredentialExpiring && m.Status.CredentialExpiry != nil:
		say(Finding{Code: Code(valid.Reason), Severity: Warning, Object: at,
			Cause: "ends at " + m.Status.CredentialExpiry.UTC().Format(timeFormat), Remedy: j.rotate(m, context)})
	case valid.Status == metav1.ConditionTrue:
	case valid.Reason == v1alpha1.ReasonCredentialMissing && j.Host.Credentials != nil:
		// It came since the manager looked.
	case valid.Reason == v1alpha1.ReasonCredentialMissing:
		broken(valid.Reason, "is not there: the join is not finished", j.join(m, context, command.Join{}))
	default:
		broken(valid.Reason, cmp.Or(credentialCauses[valid.Reason], valid.Message), j.rotate(m, context))
	}
}

// credentialCauses are the manager's reasons in words that go with a remedy of their own.
var credentialCauses = map[string]string{
	v1alpha1.ReasonCredentialNotOwned:      "was made for another member or federation",
	v1alpha1.ReasonCredentialMalformed:     "is no kubeconfig that the host takes",
	v1alpha1.ReasonCredentialMismatch:      "leads elsewhere than its MemberCluster says",
	v1alpha1.ReasonCredentialWithoutExpiry: "has no end",
}
