package check

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// discovering are the federations with spec.discovery.
func (h HostFacts) discovering() (federations []*v1alpha1.Federation) {
	for i := range h.Federations {
		if h.Federations[i].Spec.Discovery != nil {
			federations = append(federations, &h.Federations[i])
		}
	}
	return federations
}

// discovery judges whether the discovery controller can do what federations ask of it.
func (j *judge) discovery(again command.Init) {
	d, asking := j.Host.Discovery, j.Host.discovering()
	if d == nil || len(asking) == 0 {
		return
	}
	if !d.Installed {
		again.Discovery = true
		j.ofFederation(asking[0], Finding{Code: DiscoveryMissing, Severity: Error,
			Cause: "has spec.discovery, and no discovery controller is installed, so no cluster is discovered", Remedy: j.line(again)})
		return
	}
	if d.Deployed && d.Available == 0 {
		j.add(Finding{Code: DiscoveryStopped, Severity: Error, Side: cluster.Host, Object: host.DiscoveryDeploymentRef().String(),
			Cause: "has no available pod, so no cluster is discovered", Remedy: j.line(command.ManagerPods)})
	}
	for _, f := range asking {
		name := v1alpha1.FederationName(f.Name)
		grant := command.Grant{Federation: name, Discovery: true, Leave: f.Spec.Discovery.WhenGone == v1alpha1.GoneLeave}
		switch {
		case slices.Contains(d.NotGranted, name):
			j.ofFederation(f, Finding{Code: DiscoveryNotGranted, Severity: Warning,
				Cause: "has spec.discovery, and the discovery controller may not join clusters to it", Remedy: j.line(grant)})
		case slices.Contains(d.LeaveNotGranted, name):
			j.ofFederation(f, Finding{Code: DiscoveryNotGranted, Severity: Warning,
				Cause: "has spec.discovery.whenGone Leave, and the discovery controller may not let members leave it", Remedy: j.line(grant)})
		}
	}
}

// discovered reports what the discovery controller says of federations. What it has said before it stopped counts for nothing.
func (j *judge) discovered(initAgain string) {
	d := j.Host.Discovery
	if d != nil && (!d.Installed || d.Deployed && d.Available == 0) {
		return
	}
	for _, f := range j.Host.discovering() {
		c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.ConditionDiscovering)
		switch {
		case d != nil && slices.Contains(d.NotGranted, v1alpha1.FederationName(f.Name)):
		case c == nil || c.ObservedGeneration < f.Generation:
			j.ofFederation(f, Finding{Code: StatusStale, Severity: Warning, Cause: "the discovery controller has not looked at its spec.discovery yet",
				Remedy: j.line(command.ManagerPods)})
		case c.Status == metav1.ConditionTrue:
			j.notJoined(f)
		case c.Reason == v1alpha1.ReasonNotGranted:
			j.ofFederation(f, j.noSecret(f, c.Message))
			j.notJoined(f)
		default:
			finding := Finding{Code: SourceUnreadable, Severity: Error, Cause: "its source cannot be read: " + c.Message}
			if j.Host.Compared == 0 || len(j.Host.Missing)+len(j.Host.Changed) > 0 {
				finding.Remedy = initAgain // which restores the account's rights
			}
			j.ofFederation(f, finding)
			j.notJoined(f)
		}
	}
}

// ofFederation adds a finding about what a federation asks of discovery.
func (j *judge) ofFederation(f *v1alpha1.Federation, finding Finding) {
	finding.Area, finding.Side, finding.Object = Discovery, cluster.Host, host.FederationRef(v1alpha1.FederationName(f.Name)).String()
	j.add(finding)
}

// noSecret is the finding on a source whose Secrets may not be read, with the first namespace in which grant has let none be read.
// Without one it is as the controller says it.
func (j *judge) noSecret(f *v1alpha1.Federation, message string) Finding {
	finding := Finding{Code: DiscoveryNotGranted, Severity: Warning, Cause: message}
	if j.Host.Grants == nil {
		return finding
	}
	for _, s := range f.Spec.Discovery.Sources {
		if s.Kind != v1alpha1.SourceSecret && s.Kind != v1alpha1.SourceArgoCD {
			continue
		}
		for _, namespace := range s.Namespaces {
			granted := slices.ContainsFunc(j.Host.Grants.Objects, func(o *unstructured.Unstructured) bool {
				return o.GetKind() == cluster.RoleBindings.Kind && o.GetNamespace() == namespace && strings.HasPrefix(o.GetName(), manifests.RoleDiscovery)
			})
			if !granted {
				finding.Cause = fmt.Sprintf("has a source in namespace %q, and the discovery controller may read no Secret there", namespace)
				finding.Remedy = j.line(command.GrantSecret{Namespace: namespace})
				return finding
			}
		}
	}
	return finding
}

// States of clusters that are not joined, as discover prints them.
const (
	stateWants = "WantsToJoin"
	stateLeft  = "Left"
)

// notJoined reports the clusters that discovery has found for a federation and not joined, but those that it is about to join.
func (j *judge) notJoined(f *v1alpha1.Federation) {
	found := f.Status.Discovery
	if found == nil {
		return
	}
	remedy := j.line(command.Discover{Federation: v1alpha1.FederationName(f.Name)})
	for _, c := range found.NotJoined {
		finding := Finding{Code: NotJoined, Severity: Warning, Cause: fmt.Sprintf("the cluster %s has not joined: %s", c.Cluster, c.State), Remedy: remedy}
		if c.Reason != "" {
			finding.Cause += ": " + c.Reason
		}
		switch {
		case c.State == stateWants && c.Reason == "":
			continue
		case c.State == stateLeft:
			finding.Severity = Info
		}
		j.ofFederation(f, finding)
	}
	if more := int(found.Found-found.Joined) - len(found.NotJoined); more > 0 {
		j.ofFederation(f, Finding{Code: NotJoined, Severity: Warning, Cause: fmt.Sprintf("%d more clusters have not joined", more), Remedy: remedy})
	}
}

// discovery says what was looked at.
func (h HostFacts) discovery() string {
	what := fmt.Sprintf("federations that ask for it (%d), with what was found for them", len(h.discovering()))
	switch d := h.Discovery; {
	case d == nil || !d.Installed:
		return what
	case !d.Deployed:
		return "the controller's account, which runs outside the cluster, and " + what
	default:
		return fmt.Sprintf("the controller's account, how many of its pods are available (%d), and %s", d.Available, what)
	}
}
