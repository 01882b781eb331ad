package check

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Judge says what is wrong: first the host, then its members by name, then clusters that it does not know. It is pure.
func Judge(f Facts) []Finding {
	j := newJudge(f)
	again := j.initAgain()
	if !j.host(again) {
		return j.found
	}
	j.limits()
	j.inventories()
	j.discovered(j.line(again))
	j.orphanedGrants()
	for _, name := range slices.Sorted(maps.Keys(j.members)) {
		m := j.members[name]
		subject{j, m, j.contextOf(m.Spec.ClusterID)}.evaluate()
	}
	for _, name := range slices.Sorted(maps.Keys(f.Host.Credentials)) {
		if j.members[name] == nil {
			j.add(Finding{Code: CredentialOrphan, Severity: Error, Side: cluster.Host, Member: string(name), Object: host.CredentialRef(name).String(),
				Cause:  "is a credential without a member",
				Remedy: j.line(command.KubectlDelete{Object: host.CredentialRef(name).Object()})})
		}
	}
	for i := range f.Observations {
		j.unknownCluster(&f.Observations[i])
	}
	j.services()
	j.together()
	return j.found
}

// judge gathers findings.
type judge struct {
	Facts
	members     map[v1alpha1.MemberName]*v1alpha1.MemberCluster
	federations map[v1alpha1.FederationName]*v1alpha1.Federation
	// clusterIDs are those of the members.
	clusterIDs map[string]bool
	// contexts are observations through the first context that leads to a cluster, by cluster ID, and credentials those
	// through the credential of a member.
	contexts    map[string]*Observation
	credentials map[v1alpha1.MemberName]*Observation
	// granted are the objects of grants, which most members share.
	granted map[member.Grants][]member.Object
	found   []Finding
}

func newJudge(f Facts) *judge {
	j := &judge{
		Facts: f, members: map[v1alpha1.MemberName]*v1alpha1.MemberCluster{}, federations: map[v1alpha1.FederationName]*v1alpha1.Federation{},
		clusterIDs: map[string]bool{}, contexts: map[string]*Observation{}, credentials: map[v1alpha1.MemberName]*Observation{},
		granted: map[member.Grants][]member.Object{},
	}
	for i := range f.Host.Federations {
		j.federations[v1alpha1.FederationName(f.Host.Federations[i].Name)] = &f.Host.Federations[i]
	}
	for i := range f.Host.Members {
		m := &f.Host.Members[i]
		j.members[v1alpha1.MemberName(m.Name)], j.clusterIDs[m.Spec.ClusterID] = m, true
	}
	for i := range f.Observations {
		switch o := &f.Observations[i]; {
		case o.Credential != "":
			j.credentials[o.Credential] = o
		case o.State != nil && j.contexts[string(o.State.ID)] == nil:
			j.contexts[string(o.State.ID)] = o
		}
	}
	return j
}

func (j *judge) add(f Finding) {
	f.Area = cmp.Or(f.Area, areaOf(f))
	j.found = append(j.found, f)
}

// contextOf is the first context that leads to a cluster; empty when none does.
func (j *judge) contextOf(clusterID string) string {
	if o := j.contexts[clusterID]; o != nil {
		return o.Context
	}
	return ""
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

// initAgain is the command that installs the host anew, as it is.
func (j *judge) initAgain() command.Init {
	again := command.Init{WebhookURL: j.Host.WebhookURL}
	if j.Host.Keys != nil && j.Host.Keys.CertManager {
		again.Certificates = string(manifests.CertificatesCertManager)
	}
	return again
}

// host judges the host alone and says whether there is more to judge.
func (j *judge) host(again command.Init) bool {
	h := j.Host
	initAgain := j.line(again)
	if h.Installed == "" {
		j.add(Finding{Code: NotInstalled, Severity: Error, Side: cluster.Host,
			Cause: command.Plugin + " is not installed on " + h.Server + ": " + h.Choose + ", or install it here", Remedy: initAgain})
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
	if h.NotEnforcing != nil {
		j.webhook(h.NotEnforcing, initAgain)
	}
	if h.Probes.Stopped() {
		j.add(j.manager(Finding{Code: ProbesStopped, Severity: Error, Side: cluster.Host, Object: host.ProbesRef().String(),
			Cause: "the manager has not probed members since " + h.Probes.Since().UTC().Format(timeFormat) + ", so it is not known how they are: it does not run, is stuck, or cannot write to the host"}))
	}
	for _, ref := range h.Missing {
		j.add(Finding{Code: InstallMissing, Severity: Error, Side: cluster.Host, Object: ref.String(), Cause: "does not exist, and init installs it", Remedy: initAgain})
	}
	for _, ref := range h.Changed {
		j.add(Finding{Code: InstallChanged, Severity: Error, Side: cluster.Host, Object: ref.String(), Cause: "differs from what init installs", Remedy: initAgain})
	}
	if h.Keys != nil && h.Installed == j.Plugin {
		j.keys(h.Keys)
	}
	j.discovery(again)
	for _, d := range h.Denied {
		j.add(Finding{Code: NotChecked, Area: d.Area, Severity: Warning, Side: cluster.Host, Cause: d.What + " could not be checked: " + cluster.Cause(d.Err)})
	}
	for _, r := range h.Lacking {
		j.add(Finding{Code: NoRight, Severity: Info, Side: cluster.Host, Object: cluster.Ref{Resource: r.Resource, Name: r.Name}.String(),
			Cause: "you are not allowed to " + r.String()})
	}
	return true
}

// manager adds to a finding how to look at the manager: at its pods, or where it runs outside of the host at its log.
func (j *judge) manager(f Finding) Finding {
	if j.Host.WebhookURL == "" {
		f.Remedy = j.line(command.ManagerPods)
		return f
	}
	f.Cause += "; look at the log of the manager that serves at " + j.Host.WebhookURL
	return f
}

// keysExpiring is how long before the end of the webhook's CA it is reported.
const keysExpiring = 365 * 24 * time.Hour

// keys judges what the webhook and API servers must have in common.
func (j *judge) keys(k *install.KeyState) {
	f := Finding{Severity: Error, Side: cluster.Host, Object: install.KeysSecret.String(), Remedy: j.line(command.Init{Only: "keys"})}
	switch k.Judge() {
	case install.KeysMissing:
		f.Code, f.Cause = KeysMissing, "does not exist, so the manager cannot serve"
		if k.Fault != nil {
			f.Cause = "cannot be used, so the manager cannot serve: " + k.Fault.Error()
		}
	case install.KeysDiffer:
		f.Code, f.Object = KeysDiffer, install.Configuration.String()
		f.Cause = "has another CA or path than " + install.KeysSecret.String() + ", so API servers cannot call the webhook"
	case install.KeysChanging:
		f.Code, f.Severity = KeysChanging, Warning
		f.Cause = "a change of the keys was not finished, so the former ones may still be valid"
	}
	if f.Code != "" {
		j.add(f)
		return
	}
	if k.Keys == nil {
		return
	}
	if left := k.Keys.CA.NotAfter.Sub(j.Now); left < keysExpiring {
		f.Code, f.Severity, f.Cause = KeysExpiring, Warning, "its CA ends at "+k.Keys.CA.NotAfter.UTC().Format(time.RFC3339)
		if left < 0 {
			f.Severity, f.Cause = Error, "its CA ended at "+k.Keys.CA.NotAfter.UTC().Format(time.RFC3339)
		}
		j.add(f)
	}
}

// webhook judges a webhook that does not refuse what it must.
func (j *judge) webhook(err error, initAgain string) {
	f := Finding{Code: WebhookNotEnforcing, Severity: Error, Side: cluster.Host, Remedy: initAgain}
	switch {
	case errors.Is(err, host.ErrWebhookDown):
		f.Cause = host.ErrWebhookDown.Error() + ", so the API server refuses every change of a federation or a member"
		f.Remedy = ""
		f = j.manager(f)
	case errors.Is(err, host.ErrNotEnforcing):
		f.Cause = host.ErrNotEnforcing.Error()
	default:
		f.Cause = "whether the webhook is enforcing is not known: " + err.Error()
	}
	j.add(f)
}
