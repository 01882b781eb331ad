package lint

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Twice is the origin of a fault that no host sees: two manifests of one object, of which the last one applied
// wins.
const Twice rules.ID = "manifestTwice"

// Finding is what is said about one object.
type Finding struct {
	Source
	Kind, Name string
	// Verdict holds faults of shape first, then those of the rules in their order.
	rules.Verdict
	// NotJudged are rules that need what is not among the manifests, or a manifest that can be read, and Why says which.
	NotJudged []rules.ID
	Why       string
}

// Err is the refusal as an API server words it; nil when nothing was refused.
func (f *Finding) Err() error {
	return f.Error(rules.Kind(f.Kind), f.Name)
}

// Judge says of every object, in the order in which they were read, what a host would say that holds the others.
func (m *Manifests) Judge(now time.Time) []Finding {
	x := rules.NewIndex()
	for i, o := range m.objects {
		if o.generated {
			o.generate(i)
		}
		switch {
		case o.name == "":
		case o.federation != nil:
			x.SetFederation(o.federation)
		case o.member != nil:
			x.SetMember(o.member)
		}
	}
	for _, namespace := range m.namespaces {
		x.SetNamespace(namespace)
	}
	s := rules.Snapshot{Now: now, Host: x}
	first := map[string]Source{}
	findings := make([]Finding, 0, len(m.objects))
	for _, o := range m.objects {
		f := Finding{Source: o.at, Kind: o.kind, Name: o.name}
		f.Refusals = slices.Clone(o.faults)
		if before, has := first[o.kind+"/"+o.name]; has && o.name != "" && !o.generated {
			e := field.Duplicate(field.NewPath("metadata", "name"), o.name)
			e.Detail, e.Origin = "it is also in "+before.String(), string(Twice)
			f.Refusals = append(f.Refusals, e)
		} else {
			first[o.kind+"/"+o.name] = o.at
		}
		f.ask(s, o)
		findings = append(findings, f)
	}
	return findings
}

// ask adds what the rules say.
func (f *Finding) ask(s rules.Snapshot, o *object) {
	var v rules.Verdict
	switch {
	case o.federation != nil:
		c := rules.FederationChange{New: o.federation}
		v = rules.JudgeFederation(s, c)
		missing := slices.DeleteFunc(rules.NamespacesToRead(c), func(name string) bool { return s.Namespace(name) != nil })
		if len(missing) > 0 {
			f.NotJudged, f.Why = []rules.ID{rules.InventoryNamespace}, fmt.Sprintf("namespace %q is not among the manifests", missing[0])
			v.Refusals = slices.DeleteFunc(v.Refusals, func(e *field.Error) bool {
				return e.Origin == string(rules.InventoryNamespace) && e.Type == field.ErrorTypeNotFound
			})
		}
	case o.member != nil:
		v = rules.JudgeMember(s, rules.MemberChange{New: o.member})
		if name := o.member.Federation(); name != "" && s.Federation(name) == nil {
			f.withoutFederation(s, o.member)
			drop(&v, rules.FederationExists)
		}
	default:
		f.Why = "the manifest cannot be read as its kind"
		switch rules.Kind(o.kind) {
		case rules.KindFederation:
			f.NotJudged = ids(rules.FederationRules)
		case rules.KindMemberCluster:
			f.NotJudged = ids(rules.MemberRules)
		}
	}
	// A fault that the schema has found is not reported again.
	said := func(e *field.Error) bool {
		return slices.ContainsFunc(o.faults, func(fault *field.Error) bool { return covers(fault.Field, e.Field) })
	}
	f.Refusals = append(f.Refusals, slices.DeleteFunc(v.Refusals, said)...)
	f.Warnings = slices.DeleteFunc(v.Warnings, said)
}

// drop leaves out what a rule refuses that was not judged.
func drop(v *rules.Verdict, id rules.ID) {
	v.Refusals = slices.DeleteFunc(v.Refusals, func(e *field.Error) bool { return e.Origin == string(id) })
}

// covers says whether a fault of one field explains one of the other: it is the field itself, or lies around it or in
// it.
func covers(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && a != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// withoutFederation notes the rules that read a member's federation, which is not among the manifests.
func (f *Finding) withoutFederation(s rules.Snapshot, m *v1alpha1.MemberCluster) {
	f.Why = fmt.Sprintf("federation %q is not among the manifests", m.Federation())
	if near, ok := rules.Nearest(m.Federation(), s.FederationNames()); ok {
		f.Why += fmt.Sprintf("; did you mean %q?", near)
	}
	for _, rule := range rules.MemberRules {
		if _, reads := rule.Ask(s, rules.MemberChange{New: m}); reads.Has(rules.ReadsFederation) {
			f.NotJudged = append(f.NotJudged, rule.ID)
		}
	}
}

func ids[C any](table []rules.Rule[C]) (list []rules.ID) {
	for _, rule := range table {
		list = append(list, rule.ID)
	}
	return list
}
