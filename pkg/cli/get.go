package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

type getFlags struct {
	federation federationFlag
	selector   string
	showLabels bool
	output     outputFlags
}

func newGet(d *door) *cobra.Command {
	f := &getFlags{output: newOutputFlags("wide")}
	cmd := &cobra.Command{
		Use:     "get [NAME...]",
		GroupID: groupMembers,
		Short:   "Show members by federation, and how they are",
		Example: `  # All members
  kubectl federate get

  # The members of prod in one region, with endpoints, IDs and causes
  kubectl federate get --federation prod -l topology.kubernetes.io/region=us-east-1 -o wide

  # One member, whole
  kubectl federate get us-east -o yaml`,
		ValidArgsFunction: completeMembers(d),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), d, args) },
	}
	f.federation.add(cmd, d, "Only members of this federation")
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "Only members whose labels match this selector")
	cmd.Flags().BoolVar(&f.showLabels, "show-labels", false, "Add a column with all labels")
	f.output.add(cmd)
	return cmd
}

func (f *getFlags) run(ctx context.Context, d *door, names []string) error {
	if err := f.output.check(); err != nil {
		return err
	}
	if len(names) > 0 && (f.selector != "" || f.federation.name != "") {
		return usagef("members are named, or chosen by --selector and --federation, not both")
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	members, err := selectMembers(ctx, h, names, host.MemberQuery{Federation: f.federation.value(), Selector: f.selector})
	if err != nil {
		return err
	}
	own, ok := f.output.format()
	if !ok {
		return printMembers(d, f.output, members)
	}
	if len(members) == 0 {
		fmt.Fprintln(d.ErrOut, "No members found")
		return nil
	}
	rows := [][]string{f.header(own)}
	for i := range members {
		rows = append(rows, f.row(&members[i], own, time.Now()))
	}
	return table(d.Out, rows)
}

func (f *getFlags) header(format string) []string {
	header := []string{"NAME", "FEDERATION", "STATUS", "VERSION", "REGION", "ZONES", "CREDENTIAL", "AGE"}
	if format == "wide" {
		header = append(header, "SERVER", "CLUSTER ID", "CAUSE")
	}
	if f.showLabels {
		header = append(header, "LABELS")
	}
	return header
}

func (f *getFlags) row(m *v1alpha1.MemberCluster, format string, now time.Time) []string {
	facts := v1alpha1.JoinFacts{}
	if m.Spec.JoinedWith != nil {
		facts = *m.Spec.JoinedWith
	}
	row := []string{
		m.Name, string(m.Federation()), status(m), orNone(facts.KubernetesVersion),
		orNone(cmp.Or(m.Labels["topology.kubernetes.io/region"], strings.Join(facts.Regions, ","))),
		orNone(cmp.Or(m.Labels["topology.kubernetes.io/zone"], strings.Join(facts.Zones, ","))),
		credential(m, now), age(m.CreationTimestamp, now),
	}
	if format == "wide" {
		row = append(row, m.Spec.Server, m.Spec.ClusterID, cause(m))
	}
	if f.showLabels {
		row = append(row, orNone(strings.Join(sortedLabels(m.Labels), ",")))
	}
	return row
}

// status is a member's phase; what is being deleted is Leaving whatever the manager has written.
func status(m *v1alpha1.MemberCluster) string {
	if m.DeletionTimestamp != nil {
		return string(v1alpha1.PhaseLeaving)
	}
	return cmp.Or(string(m.Status.Phase), "Unknown")
}

// cause is why a member is not ready, in the words of its conditions.
func cause(m *v1alpha1.MemberCluster) string {
	for _, c := range m.Status.Conditions {
		if c.Status == metav1.ConditionFalse {
			return c.Reason + ": " + c.Message
		}
	}
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCredentialValid); c != nil && c.Reason == v1alpha1.ReasonCredentialExpiring {
		return c.Reason + ": " + c.Message
	}
	if m.Status.Phase == "" {
		return "the manager has not looked at it yet"
	}
	return "<none>"
}

// credential is how long the stored credential still lives.
func credential(m *v1alpha1.MemberCluster, now time.Time) string {
	valid := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCredentialValid)
	if valid != nil && valid.Status == metav1.ConditionFalse && m.Status.CredentialExpiry == nil {
		return valid.Reason
	}
	if m.Status.CredentialExpiry == nil {
		return "<none>"
	}
	left := m.Status.CredentialExpiry.Sub(now)
	if left <= 0 {
		return "expired " + duration.HumanDuration(-left) + " ago"
	}
	if valid != nil && valid.Reason == v1alpha1.ReasonCredentialExpiring {
		return duration.HumanDuration(left) + " (rotate)"
	}
	return duration.HumanDuration(left)
}

func age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// printMembers prints members in a standard format: one as itself, several as a list.
func printMembers(d *door, output outputFlags, members []v1alpha1.MemberCluster) error {
	kind := v1alpha1.GroupVersion.WithKind("MemberCluster")
	for i := range members {
		members[i].SetGroupVersionKind(kind)
	}
	if len(members) == 1 {
		return output.print(d.Out, &members[0])
	}
	if *output.OutputFormat == "name" {
		for i := range members {
			if err := output.print(d.Out, &members[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return output.print(d.Out, withKind(&v1alpha1.MemberClusterList{Items: members}, v1alpha1.GroupVersion.WithKind("MemberClusterList")))
}

// printPlan prints what a dry run would do: its steps, or with -o the objects that it would write.
func printPlan(d *door, output outputFlags, plan interface {
	Text() string
	Objects() []*unstructured.Unstructured
}) error {
	if *output.OutputFormat != "" {
		return printObjects(d, output, plan.Objects())
	}
	_, err := fmt.Fprint(d.Out, plan.Text())
	return err
}

// printObjects prints objects one after another: YAML documents, or for JSON one List.
func printObjects(d *door, output outputFlags, objects []*unstructured.Unstructured) error {
	if *output.OutputFormat == "json" {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("v1")
		list.SetKind("List")
		for _, o := range objects {
			list.Items = append(list.Items, *o)
		}
		return output.print(d.Out, list)
	}
	// One printer for all: it puts the separator between YAML documents.
	printer, err := output.printer()
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := printer.PrintObj(runtime.Object(o), d.Out); err != nil {
			return err
		}
	}
	return nil
}
