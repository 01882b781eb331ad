package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// probedAgo are probes that the manager made a while ago.
func probedAgo(d time.Duration) host.Probes {
	return host.Probes{Until: noon.Add(-d), Installed: noon.Add(-9 * day), Patience: 90 * time.Second, Now: noon}
}

// TestAsKnown shows members while the manager probes them, and when it has not for long.
func TestAsKnown(t *testing.T) {
	t.Parallel()
	away := condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "TimedOut", "no answer", time.Hour)
	hourly := func(m *v1alpha1.MemberCluster) { m.Status.LastProbeTime = new(ago(50 * time.Minute)) }
	fleet := values([]*v1alpha1.MemberCluster{
		ready("ready", hourly),
		ready("ready-just-now", func(m *v1alpha1.MemberCluster) { m.Status.LastProbeTime = new(ago(time.Second)) }),
		ready("offline", hourly, away, phase(v1alpha1.PhaseOffline)),
		ready("refused", hourly, phase(v1alpha1.PhaseNotReady), condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "Unauthorized", "401", time.Hour)),
		ready("of-a-later-release", hourly, phase("Splendid")),
		ready("suspended", hourly, phase(v1alpha1.PhaseSuspended)),
		ready("pending", hourly, phase(v1alpha1.PhasePending), condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval, "", time.Hour)),
		ready("joining", phase(v1alpha1.PhaseJoining), func(m *v1alpha1.MemberCluster) { m.Status.LastProbeTime = nil }, condition(v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "", time.Hour)),
		ready("leaving", hourly, func(m *v1alpha1.MemberCluster) { m.DeletionTimestamp = new(ago(time.Minute)) }),
		ready("new", unknown),
	})
	for _, tt := range []struct {
		name   string
		probes host.Probes
		want   string
	}{
		{"being probed", probedAgo(90 * time.Second), `
ready                True      Ready       90s
ready-just-now       True      Ready       1s
offline              False     Offline     50m      TimedOut (60m ago)
refused              False     NotReady    50m      Unauthorized (60m ago)
of-a-later-release   True      Splendid    90s
suspended            True      Suspended   90s
pending              True      Pending     90s      AwaitingApproval (60m ago)
joining              Unknown   Joining     <none>   NotProbed (60m ago)
leaving              True      Leaving     90s
new                  <none>    Unknown     <none>   NotProbed (4d ago)
`},
		{"not any more", probedAgo(91 * time.Second), `
ready                Unknown   Unknown     91s      ProbesStopped (91s ago)
ready-just-now       Unknown   Unknown     1s       ProbesStopped (91s ago)
offline              Unknown   Unknown     50m      ProbesStopped (91s ago)
refused              Unknown   Unknown     50m      ProbesStopped (91s ago)
of-a-later-release   Unknown   Unknown     91s      ProbesStopped (91s ago)
suspended            Unknown   Suspended   91s      ProbesStopped (91s ago)
pending              Unknown   Pending     91s      AwaitingApproval (60m ago)
joining              Unknown   Joining     <none>   ProbesStopped (91s ago)
leaving              Unknown   Leaving     91s      ProbesStopped (91s ago)
new                  <none>    Unknown     <none>   NotProbed (4d ago)
`},
		{"not yet, since it was installed just now", host.Probes{Installed: noon.Add(-time.Minute), Patience: 90 * time.Second, Now: noon}, `
ready                True      Ready       50m
ready-just-now       True      Ready       1s
offline              False     Offline     50m      TimedOut (60m ago)
refused              False     NotReady    50m      Unauthorized (60m ago)
of-a-later-release   True      Splendid    50m
suspended            True      Suspended   50m
pending              True      Pending     50m      AwaitingApproval (60m ago)
joining              Unknown   Joining     <none>   NotProbed (60m ago)
leaving              True      Leaving     50m
new                  <none>    Unknown     <none>   NotProbed (4d ago)
`},
		{"not since it was installed", host.Probes{Installed: noon.Add(-10 * time.Minute), Patience: 90 * time.Second, Now: noon}, `
ready                Unknown   Unknown     50m      ProbesStopped (10m ago)
ready-just-now       Unknown   Unknown     1s       ProbesStopped (10m ago)
offline              Unknown   Unknown     50m      ProbesStopped (10m ago)
refused              Unknown   Unknown     50m      ProbesStopped (10m ago)
of-a-later-release   Unknown   Unknown     50m      ProbesStopped (10m ago)
suspended            Unknown   Suspended   50m      ProbesStopped (10m ago)
pending              Unknown   Pending     50m      AwaitingApproval (60m ago)
joining              Unknown   Joining     <none>   ProbesStopped (10m ago)
leaving              Unknown   Leaving     50m      ProbesStopped (10m ago)
new                  <none>    Unknown     <none>   NotProbed (4d ago)
`},
		{"not known", host.Probes{Err: errors.New("no")}, `
ready                True      Ready       50m
ready-just-now       True      Ready       1s
offline              False     Offline     50m      TimedOut (60m ago)
refused              False     NotReady    50m      Unauthorized (60m ago)
of-a-later-release   True      Splendid    50m
suspended            True      Suspended   50m
pending              True      Pending     50m      AwaitingApproval (60m ago)
joining              Unknown   Joining     <none>   NotProbed (60m ago)
leaving              True      Leaving     50m
new                  <none>    Unknown     <none>   NotProbed (4d ago)
`},
	} {
		before := fmt.Sprintf("%#v", fleet)
		var rows [][]string
		for _, m := range allAsKnown(fleet, tt.probes) {
			seen := output.None
			if at := m.Status.LastProbeTime; at != nil {
				seen = age(*at, noon)
			}
			condition := output.None
			for _, c := range m.Status.Conditions {
				if c.Type == v1alpha1.ConditionReady {
					condition = string(c.Status)
				}
			}
			rows = append(rows, []string{m.Name, condition, string(phaseOf(&m)), seen, causeOf(&m).short(noon)})
		}
		var out strings.Builder
		if err := output.Rows(&out, rows); err != nil {
			t.Fatal(err)
		}
		got := "\n"
		for line := range strings.Lines(out.String()) {
			got += strings.TrimRight(line, " \n") + "\n"
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
		if fmt.Sprintf("%#v", fleet) != before {
			t.Errorf("%s: what is stored was changed", tt.name)
		}
	}
	cause := causeOf(new(asKnown(fleet[2], probedAgo(time.Hour)))).long(noon)
	if want := "ProbesStopped (60m ago): the manager has not probed the cluster since: it does not run, is stuck, or cannot write to the host; before that: Offline, TimedOut"; cause != want {
		t.Errorf("%s", cause)
	}
	if next := command.Host.Line(command.Host{}, nextStep(new(asKnown(fleet[0], probedAgo(time.Hour))), reasonProbesStopped, nil)); next != "kubectl federate check" {
		t.Errorf("next: %s", next)
	}
}

func TestProbesText(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	for _, tt := range []struct {
		probes host.Probes
		want   string
	}{
		{probedAgo(0), ""},
		{probedAgo(90 * time.Second), ""},
		{probedAgo(5 * time.Minute), "warning: the manager has not probed members since 2026-11-23T11:55:00Z (5m ago), so it is not known how they are; " +
			"it does not run, is stuck, or cannot write to the host: find out which: kubectl federate check"},
		{host.Probes{Err: apierrors.NewNotFound(resource, "kubefederate-probes")},
			`warning: it is not known when members were probed last, and what is shown may be old: the host has no Lease "kubefederate-system/kubefederate-probes", ` +
				"which an earlier release did not install; install it: kubectl federate init"},
		{host.Probes{Err: apierrors.NewForbidden(resource, "kubefederate-probes", errors.New("no"))},
			`warning: it is not known when members were probed last, and what is shown may be old: you are not allowed to get Lease "kubefederate-system/kubefederate-probes"`},
		{host.Probes{Err: errors.New("broken")}, "warning: it is not known when members were probed last, and what is shown may be old: broken"},
	} {
		if got := probesText(command.Host{}, tt.probes); got != tt.want {
			t.Errorf("%+v:\n%s", tt.probes, got)
		}
	}
}

// TestFollowerProbes shows members again in a watch when probes stop and when they go on, and not when they are made.
func TestFollowerProbes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	probedAgo := func(d time.Duration) host.Probes {
		return host.Probes{Until: now.Add(-d), Patience: 90 * time.Second, Now: now}
	}
	for format, want := range map[string]string{
		"wide": `a Ready
b Suspended
a Unknown
b Suspended
a Ready
b Suspended
`,
		`go-template={{.metadata.name}} {{.status.phase}}{{"\n"}}`: `a Ready
b Suspended
a Unknown
b Suspended
a Ready
b Suspended
`,
	} {
		d, out, _ := newTestFactory()
		o := &getOptions{getFlags: getFlags{factory: d, output: output.NewFlags("wide"), noHeaders: true}, columns: columnsOf(true, false, nil)}
		o.output.Value = format
		x, err := o.follower()
		if err != nil {
			t.Fatal(err)
		}
		x.probes = probedAgo(0)
		if err := x.listed([]*v1alpha1.MemberCluster{ready("a"), ready("b", phase(v1alpha1.PhaseSuspended))}); err != nil {
			t.Fatal(err)
		}
		stopped := probedAgo(time.Hour)
		later := stopped
		later.Now = later.Now.Add(time.Hour)
		for _, p := range []host.Probes{probedAgo(30 * time.Second), probedAgo(time.Minute), stopped, later, probedAgo(time.Second)} {
			if err := x.probed(p); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		for line := range strings.Lines(out.String()) {
			words := strings.Fields(strings.Replace(line, " prod ", " ", 1))
			got += strings.Join(words[:2], " ") + "\n"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", format, diff)
		}
	}
}
