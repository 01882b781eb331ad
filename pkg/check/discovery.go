package check

import (
	"fmt"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// discovering are the federations with spec.discovery.
func (h HostFacts) discovering() (names []v1alpha1.FederationName) {
	for i := range h.Federations {
		if h.Federations[i].Spec.Discovery != nil {
			names = append(names, v1alpha1.FederationName(h.Federations[i].Name))
		}
	}
	return names
}

// discovery judges whether the discovery controller can do what federations ask of it.
func (j *judge) discovery(again command.Init) {
	d, asking := j.Host.Discovery, j.Host.discovering()
	if d == nil || len(asking) == 0 {
		return
	}
	if !d.Installed {
		again.Discovery = true
		j.add(Finding{Code: DiscoveryMissing, Severity: Warning, Side: cluster.Host, Object: host.FederationRef(asking[0]).String(),
			Cause: "has spec.discovery, and no discovery controller is installed", Remedy: j.line(again)})
		return
	}
	if d.Deployed && d.Available == 0 {
		j.add(Finding{Code: DiscoveryStopped, Severity: Error, Side: cluster.Host, Object: host.DiscoveryDeploymentRef().String(),
			Cause: "has no available pod, so no cluster is discovered", Remedy: j.line(command.ManagerPods)})
	}
	for _, name := range d.NotGranted {
		j.add(Finding{Code: DiscoveryNotGranted, Severity: Warning, Side: cluster.Host, Object: host.FederationRef(name).String(),
			Cause: "has spec.discovery, and the discovery controller may not join clusters to it", Remedy: j.line(command.Grant{Federation: name, Discovery: true})})
	}
}

// discovery says what was looked at.
func (h HostFacts) discovery() string {
	what := fmt.Sprintf("federations that ask for it (%d)", len(h.discovering()))
	switch d := h.Discovery; {
	case d == nil || !d.Installed:
		return what
	case !d.Deployed:
		return "the controller's account, and " + what + "; it runs outside the cluster"
	default:
		return fmt.Sprintf("the controller's account, how many of its pods are available (%d), and %s", d.Available, what)
	}
}
