package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

// Areas of what is checked before an install, beside Installation and Rights, in the order in which they are reported.
const (
	Kubernetes AreaName = "kubernetes"
	Clock      AreaName = "clock"
	Kinds      AreaName = "kinds"
	Leftovers  AreaName = "leftovers"
	DryRun     AreaName = "dry run"
	Network    AreaName = "network"
)

// oldestHost is the oldest Kubernetes that a host may run.
const oldestHost = "1.33.0"

const (
	// maxSkew is how far two clocks may differ before it is reported.
	maxSkew = time.Minute
	// blockingSkew is how far the host's may be behind: the CA that init makes is valid since a day before.
	blockingSkew = 24 * time.Hour
)

// BeforeFacts are what is known of a cluster before an install, and of the install.
type BeforeFacts struct {
	*install.Before
	Commands command.Host
	// Plugin is the version of the plugin, and Server where the API server is.
	Plugin, Server string
	Options        manifests.Options
}

// JudgeBefore says what of a cluster is in the way of an install. Errors are what init would fail of, or what would not work after
// it. It is pure.
func JudgeBefore(f BeforeFacts) []Finding {
	j := &beforeJudge{BeforeFacts: f}
	j.kubernetes()
	j.clock()
	j.kinds()
	j.installed()
	j.objects()
	j.rights()
	for _, r := range f.Refused {
		j.add(Finding{Code: InstallRefused, Area: DryRun, Severity: Error, Object: r.Ref.String(), Cause: "is refused: " + cluster.Cause(r.Err)})
	}
	return j.found
}

// InitFor is the command that installs with options.
func InitFor(o manifests.Options) command.Init {
	c := command.Init{WebhookURL: o.WebhookURL, Discovery: o.Discovery}
	if o.Certificates == manifests.CertificatesCertManager {
		c.Certificates = string(o.Certificates)
	}
	return c
}

// beforeJudge gathers findings.
type beforeJudge struct {
	BeforeFacts
	found []Finding
}

func (j *beforeJudge) add(f Finding) {
	f.Side = cluster.Host
	j.found = append(j.found, f)
}

func (j *beforeJudge) kubernetes() {
	have, err := version.ParseGeneric(j.Kubernetes)
	oldest := version.MustParseGeneric(oldestHost)
	switch {
	case err != nil:
		j.add(Finding{Code: NotChecked, Area: Kubernetes, Severity: Warning, Cause: fmt.Sprintf("the version %s of the API server is not one of Kubernetes", cluster.Quoted(j.Kubernetes))})
	case have.LessThan(oldest):
		j.add(Finding{Code: KubernetesTooOld, Area: Kubernetes, Severity: Error,
			Cause: fmt.Sprintf("the API server runs Kubernetes %s; a host needs at least %d.%d", j.Kubernetes, oldest.Major(), oldest.Minor())})
	}
}

func (j *beforeJudge) clock() {
	if j.ServerTime.IsZero() {
		j.add(Finding{Code: NotChecked, Area: Clock, Severity: Warning, Cause: "the clock of the API server could not be checked: its answer has no date, or a proxy removed it"})
		return
	}
	f := Finding{Code: ClockSkew, Area: Clock, Severity: Warning}
	switch skew := j.skew(); {
	case skew <= -blockingSkew:
		f.Severity = Error
		f.Cause = fmt.Sprintf("the clock of the API server is %s behind that of this machine: the webhook's CA, which init makes, would not be valid there yet", -skew)
	case skew < -maxSkew:
		f.Cause = fmt.Sprintf("the clock of the API server is %s behind that of this machine: what is said of times and ends of credentials is as far off", -skew)
	case skew > maxSkew:
		f.Cause = fmt.Sprintf("the clock of the API server is %s ahead of that of this machine: what is said of times and ends of credentials is as far off", skew)
	default:
		return
	}
	j.add(f)
}

// skew is how far the API server's clock is ahead of that of this machine, to the second.
func (j *beforeJudge) skew() time.Duration { return j.ServerTime.Sub(j.LocalTime).Round(time.Second) }

func (j *beforeJudge) kinds() {
	for _, kind := range j.NotServed {
		f := Finding{Code: KindNotServed, Area: Kinds, Severity: Error, Object: kind.GroupResource().String(),
			Cause: fmt.Sprintf("is not served in version %s, and init applies objects of it", kind.Version)}
		if kind.Group == manifests.CertManagerGroup {
			f.Cause = "is not served: install cert-manager first, or let the manager issue its certificate with --certificates=" + string(manifests.CertificatesManager)
		}
		j.add(f)
	}
}

func (j *beforeJudge) installed() {
	const code, area = AlreadyInstalled, Installation
	what := command.Plugin + " " + j.Installed + " is installed already"
	switch {
	case j.Installed == "":
	case install.Newer(j.Installed, j.Plugin):
		j.add(Finding{Code: code, Area: area, Severity: Error, Cause: what + ", and newer than this plugin (" + j.Plugin + "): init does not downgrade it",
			Remedy: j.Commands.Line(command.UpgradePlugin{})})
	case j.Installed != j.Plugin:
		j.add(Finding{Code: code, Area: area, Severity: Warning, Cause: what + ", and init brings it to " + j.Plugin, Remedy: j.Commands.Line(InitFor(j.Options))})
	default:
		j.add(Finding{Code: code, Area: area, Severity: Warning, Cause: what + "; what is wrong with it is for check without --pre", Remedy: j.Commands.Line(command.Check{})})
	}
	for _, g := range j.Groups {
		var versions []string
		for _, v := range g.Versions {
			versions = append(versions, v.Version)
		}
		switch {
		case g.Name == v1alpha1.GroupVersion.Group && !slices.Contains(versions, v1alpha1.GroupVersion.Version):
			j.add(Finding{Code: ForeignKinds, Area: area, Severity: Error, Object: g.Name,
				Cause: "is served in " + strings.Join(versions, ", ") + " and not in " + v1alpha1.GroupVersion.Version + ": another release, or another project, has installed its kinds"})
		case g.Name == "core.kubefed.io":
			j.add(Finding{Code: ForeignKinds, Area: area, Severity: Info, Object: g.Name,
				Cause: "is served: KubeFed is installed, which may stay; discover --source kubefed finds its clusters"})
		}
	}
}

// objects judges what exists of what init applies. Where a release is installed, its objects are what check without --pre is about.
func (j *beforeJudge) objects() {
	for _, o := range j.Found {
		f := Finding{Area: Leftovers, Object: o.Ref.String(), Remedy: j.Commands.Line(command.KubectlGet{Object: o.Ref.Object(), Output: "yaml"})}
		own := o.Labels[manifests.LabelPartOf] == manifests.Name
		switch {
		case o.Deleting:
			f.Code, f.Severity, f.Cause = BeingDeleted, Error, "is being deleted, and init applies it: wait until it is gone, or see what keeps it"
		case j.Installed != "":
			continue
		case own:
			f.Code, f.Severity, f.Cause = Leftover, Warning, "is left over from an earlier installation, and init takes it over"
			f.Remedy = j.Commands.Line(InitFor(j.Options))
		case o.Ref.Resource == cluster.Namespaces:
			f.Code, f.Severity, f.Cause, f.Remedy = ForeignObject, Info, "exists; init labels it, with the pod security level restricted, and leaves what else is in it", ""
		default:
			f.Code, f.Severity, f.Cause = ForeignObject, Error, "exists, and init did not make it, which would overwrite it"
		}
		j.add(f)
	}
}

// rights has one finding for each kind and namespace.
func (j *beforeJudge) rights() {
	type place struct{ kind, subresource, namespace string }
	var order []place
	verbs, first := map[place][]string{}, map[place]cluster.Right{}
	for _, r := range j.Lacking {
		p := place{r.Resource.GroupResource().String(), r.Subresource, r.Namespace}
		if verbs[p] == nil {
			order, first[p] = append(order, p), r
		}
		if !slices.Contains(verbs[p], r.Verb) {
			verbs[p] = append(verbs[p], r.Verb)
		}
	}
	for _, p := range order {
		right := first[p]
		right.Verb, right.Name = strings.Join(verbs[p], ", "), ""
		j.add(Finding{Code: NoRight, Area: Rights, Severity: Error, Cause: "you are not allowed to " + right.String() + ", which init does"})
	}
}

// AreasBefore say what was looked at before an install, and where something was found. They are pure.
func AreasBefore(f BeforeFacts, found []Finding) []Area {
	clock := "that of the API server, with that of this machine"
	if !f.ServerTime.IsZero() {
		clock = fmt.Sprintf("that of the API server: %s, and this machine's: %s", f.ServerTime.UTC().Format(timeFormat), f.LocalTime.UTC().Format(timeFormat))
	}
	webhook := cmp.Or(f.Options.WebhookURL, "the manager's pods at port 9443")
	return counted([]Area{
		{Name: Kubernetes, Checked: fmt.Sprintf("%s on %s", cmp.Or(f.Kubernetes, "no version"), f.Server)},
		{Name: Clock, Checked: clock},
		{Name: Kinds, Checked: fmt.Sprintf("%d, which the API server must serve", f.Before.Kinds)},
		{Name: Installation, Checked: fmt.Sprintf("earlier ones, and those of other projects, among %d API groups", len(f.Groups))},
		{Name: Leftovers, Checked: fmt.Sprintf("%d objects that init applies, of which %d exist", f.Objects, len(f.Found))},
		{Name: Rights, Checked: "yours, to read, create and change each of these objects and the webhook's keys, and to see that the webhook enforces"},
		{Name: DryRun, Checked: fmt.Sprintf("%d of %d objects, which the API server judged and did not store; in a namespace that does not exist yet it judges none", f.Tried, f.Objects)},
		{Name: Network, Checked: "whether API servers reach " + webhook + ", which is seen only when it is called: init waits until the webhook enforces", NotChecked: true},
	}, found)
}
