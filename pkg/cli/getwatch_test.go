package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestFollower shows what a watch prints: what is new, what looks otherwise, what is gone, and nothing twice.
func TestFollower(t *testing.T) {
	t.Parallel()
	now := time.Now()
	member := func(name, version string, change ...func(m *v1alpha1.MemberCluster)) *v1alpha1.MemberCluster {
		m := ready(name, change...)
		m.ResourceVersion = version
		m.CreationTimestamp, m.Status.CredentialExpiry = metav1.NewTime(now.Add(-4*day-time.Minute)), new(metav1.NewTime(now.Add(89*day+time.Hour)))
		return m
	}
	probed := func(m *v1alpha1.MemberCluster) { m.Status.LastProbeTime = &metav1.Time{Time: now} }
	suspended := phase(v1alpha1.PhaseSuspended)
	follow := func(x *follower) error {
		list := func(members ...*v1alpha1.MemberCluster) error { return x.listed(x.chosen(values(members))) }
		if err := list(member("a", "1"), member("b-with-a-name", "2"), member("c", "3")); err != nil {
			return err
		}
		for _, e := range []cluster.Event[v1alpha1.MemberCluster]{
			{Type: watch.Bookmark, ResourceVersion: "4"},
			{Type: watch.Modified, Object: member("a", "5", probed)}, // nothing that the table shows
			{Type: watch.Modified, Object: member("a", "6", suspended)},
			{Type: watch.Added, Object: member("d", "7")},
			{Type: watch.Deleted, Object: member("c", "8", suspended)},
		} {
			if err := x.happened(e); err != nil {
				return err
			}
		}
		// The server forgot what happened since: b is gone, d changed, and c is there again.
		return list(member("a", "6", suspended), member("c", "11"), member("d", "12", suspended))
	}
	for _, tt := range []struct {
		format string
		names  []string
		want   string
	}{
		{want: `
NAME            FEDERATION   PHASE       VERSION   REGION      CREDENTIAL   AGE   CAUSE
a               prod         Ready       v1.37.0   us-east-1   89d          4d    
b-with-a-name   prod         Ready       v1.37.0   us-east-1   89d          4d    
c               prod         Ready       v1.37.0   us-east-1   89d          4d    
a               prod         Suspended   v1.37.0   us-east-1   89d          4d    
d               prod         Ready       v1.37.0   us-east-1   89d          4d    
c               prod         Gone        v1.37.0   us-east-1   89d          4d    
c               prod         Ready       v1.37.0   us-east-1   89d          4d    
d               prod         Suspended   v1.37.0   us-east-1   89d          4d    
b-with-a-name   prod         Gone        v1.37.0   us-east-1   89d          4d    
`},
		{format: `go-template={{.metadata.name}} {{.metadata.resourceVersion}} {{.status.phase}}{{"\n"}}`, want: `
a 1 Ready
b-with-a-name 2 Ready
c 3 Ready
a 5 Ready
a 6 Suspended
d 7 Ready
c 8 Suspended
c 11 Ready
d 12 Suspended
b-with-a-name 2 Ready
`},
		{format: "name", names: []string{"a", "d"}, want: `
membercluster.kubefederate.io/a
membercluster.kubefederate.io/a
membercluster.kubefederate.io/a
membercluster.kubefederate.io/d
membercluster.kubefederate.io/d
`},
	} {
		d, out, _ := newTestFactory()
		o := &getOptions{getFlags: getFlags{factory: d, output: output.NewFlags("wide")}, names: tt.names, columns: columnsOf(false, false, nil)}
		o.output.Value = tt.format
		x, err := o.follower()
		if err != nil {
			t.Fatal(err)
		}
		if err := follow(x); err != nil {
			t.Errorf("%s: %v", tt.format, err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), out.String()); diff != "" {
			t.Errorf("%s:\n%s", tt.format, diff)
		}
	}
}

// TestFollowerViolating holds that only members that break a rule are followed, and that one which is mended is shown once more.
func TestFollowerViolating(t *testing.T) {
	t.Parallel()
	var shown []string
	x := &follower{violating: true, known: map[string]seen{}, shown: func(m *v1alpha1.MemberCluster) string { return m.ResourceVersion }}
	x.gone = func(m *v1alpha1.MemberCluster) { m.Status.Phase = phaseGone }
	x.show = func(members ...*v1alpha1.MemberCluster) error {
		for _, m := range members {
			shown = append(shown, m.Name+" "+string(m.Status.Phase))
		}
		return nil
	}
	broken := violates(v1alpha1.Violation{Message: "no team"})
	errs := []error{x.listed(x.chosen(values([]*v1alpha1.MemberCluster{ready("a", broken), ready("b")})))}
	for _, m := range []*v1alpha1.MemberCluster{ready("b"), ready("a"), ready("a"), ready("b", broken)} {
		errs = append(errs, x.happened(cluster.Event[v1alpha1.MemberCluster]{Type: watch.Modified, Object: m}))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a Ready", "a Gone", "b Ready"}, shown); diff != "" {
		t.Error(diff)
	}
}
