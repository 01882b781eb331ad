package journal

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestEntriesHoldWhatRulesRead judges every case of the rules with each other member under way instead of seen: what is
// refused then must not be admitted now. It fails for a rule that reads more of another member than MemberEntry holds.
func TestEntriesHoldWhatRulesRead(t *testing.T) {
	t.Parallel()
	judged := 0
	for _, c := range cases.All() {
		r := Request{Member: c.Member, Federation: c.Federation, UID: "request"}
		r.Namespaces = c.Namespaces
		if len(c.Judge().Refusals) == 0 {
			continue
		}
		for _, underWay := range c.Members {
			if c.Member != nil && underWay.Name == c.Member.New.Name {
				continue
			}
			h := NewHost()
			for _, f := range c.Federations {
				h.Set(f)
			}
			for _, m := range c.Members {
				if m != underWay {
					h.Set(m)
				}
			}
			m := underWay.DeepCopy()
			m.UID = types.UID("uid-" + m.Name)
			e := create(m).entry(cases.Now, federationOf(c, m))
			if e == nil {
				continue // its federation is not there
			}
			judged++
			core := newCore(h)
			core.observe(stateOf(*e), cases.Now)
			if d := core.decide(r, cases.Now, nil); d.admits(true) {
				t.Errorf("%s: refused when member %q is seen, and admitted when it is under way: the rule %s reads more of it than MemberEntry holds", c.Name, m.Name, c.Rule)
			}
		}
	}
	if judged < 20 {
		t.Errorf("%d cases were judged: too few", judged)
	}
}

func federationOf(c cases.Case, m *v1alpha1.MemberCluster) *v1alpha1.Federation {
	i := slices.IndexFunc(c.Federations, func(f *v1alpha1.Federation) bool { return f.Name == string(m.Federation()) })
	if i < 0 {
		return nil
	}
	return c.Federations[i]
}

// TestEntriesAreWrittenForEachField changes each field of both specs. A change of what an entry holds must be written down,
// and so must every change of a federation's spec, since expressions may read all of it.
func TestEntriesAreWrittenForEachField(t *testing.T) {
	t.Parallel()
	f := federation("5")
	before := member("a", "1", "5")
	for field := range reflect.TypeFor[v1alpha1.MemberClusterSpec]().Fields() {
		after := before.DeepCopy()
		if v := reflect.ValueOf(&after.Spec).Elem().FieldByIndex(field.Index); !set(v) {
			t.Fatalf("spec.%s: this test cannot change a %s", field.Name, v.Kind())
		}
		held := cmp.Diff(create(before).entry(start, f).Member, create(after).entry(start, f).Member) != ""
		if written := change(before, after).entry(start, f) != nil; held && !written {
			t.Errorf("an entry holds spec.%s, and its change is not written down", field.Name)
		}
	}
	for field := range reflect.TypeFor[v1alpha1.FederationSpec]().Fields() {
		after := federation("5")
		if v := reflect.ValueOf(&after.Spec).Elem().FieldByIndex(field.Index); !set(v) {
			t.Fatalf("spec.%s: this test cannot change a %s", field.Name, v.Kind())
		}
		if (Request{Federation: &rules.FederationChange{Old: f, New: after}}).entry(start, nil) == nil {
			t.Errorf("a change of spec.%s of a federation is not written down", field.Name)
		}
	}
}

// set gives a field another value than none.
func set(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.ToLower(v.Type().Name()) + v.String())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		return false
	}
	return true
}
