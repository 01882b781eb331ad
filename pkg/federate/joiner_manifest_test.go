package federate

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// joinerManifest is docs/joiner.yaml.
func joinerManifest(t *testing.T) (all []*unstructured.Unstructured) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "joiner.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
}

// given are the rights that a role of the manifest gives, one line each.
func given(t *testing.T, role *unstructured.Unstructured) (lines []string) {
	t.Helper()
	rules, _, err := unstructured.NestedSlice(role.Object, "rules")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		list := func(field string) []string {
			all, _, err := unstructured.NestedStringSlice(r.(map[string]any), field)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		names := list("resourceNames")
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range list("verbs") {
			for _, group := range list("apiGroups") {
				for _, resource := range list("resources") {
					for _, name := range names {
						right := cluster.Right{Verb: verb, Namespace: role.GetNamespace(), Name: name}
						right.Resource.GroupVersionResource = schema.GroupVersionResource{Group: group}
						right.Resource.Resource, right.Subresource, _ = strings.Cut(resource, "/")
						lines = append(lines, right.String())
					}
				}
			}
		}
	}
	return lines
}

// prepared is a member that an administrator has prepared with the manifest, for a federation that gives access.
func prepared(f *joinFacts) {
	f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
	f.Member.Namespace = cluster.Namespaces.New("", v1alpha1.MemberNamespace)
	g := member.Grants{AccessRole: "view", TokenLifetime: DefaultTokenLifetime}
	for _, o := range slices.Concat(g.BaseObjects(), g.Bindings(), g.Policy()) {
		if o.Ref.Namespace == "" {
			o.Manifest.SetLabels(nil)
			f.Member.Objects[o.Ref] = o.Manifest
		}
	}
}

// TestJoinerManifest holds docs/joiner.yaml against the plans: what it prepares is what a join needs prepared, and the rights that
// it gives are those that join, rotate and unjoin take there, and no others.
func TestJoinerManifest(t *testing.T) {
	t.Parallel()
	var got []string
	g := member.Grants{TokenLifetime: DefaultTokenLifetime}
	missing := map[cluster.Ref]member.Object{}
	for _, o := range slices.Concat(g.BaseObjects(), g.Bindings(), g.Policy()) {
		if o.Ref.Namespace == "" {
			missing[o.Ref] = o
		}
	}
	for _, o := range joinerManifest(t) {
		if o.GetName() == "kubefederate-joiner" && o.Object["rules"] != nil {
			got = append(got, given(t, o)...)
		}
		for ref, want := range missing {
			if o.GetKind() == ref.Resource.Kind && o.GetName() == ref.Name && o.GetNamespace() == "" && want.StandsFor(o) {
				delete(missing, ref)
			}
		}
	}
	for ref := range missing {
		t.Errorf("the manifest does not prepare %s, or not as a join would make it", ref)
	}

	var rights []cluster.Right
	for _, ref := range append((member.Grants{Properties: true, AccessRole: "view"}).ReadRefs(), member.PolicyRefs()...) {
		verb := "get"
		if ref.Name == "" {
			verb = "list"
		}
		rights = append(rights, ref.Rights(verb)...)
	}
	for _, r := range (member.Grants{}).Given() {
		if r.Namespace != "" {
			rights = append(rights, r) // RBAC asks for it when the Role is made
		}
	}
	add := func(what string, p *plan, against []Finding) {
		t.Helper()
		compare(t, what, texts(against), "")
		for _, s := range p.Steps {
			rights = append(rights, s.rights()...)
			if s.undo != nil {
				rights = append(rights, s.undoRights()...)
			}
		}
	}
	join, against := planJoin(facts(prepared), joinOptions(nil))
	add("join", &join.plan, against)
	compare(t, "notes", texts(join.notes), "")
	again := facts(func(f *joinFacts) {
		prepared(f)
		joined(f)
		f.Member.Membership.MemberUID = "uid-before"
		for ref, o := range f.Member.Objects {
			if ref.Namespace != "" && ref.Resource.Group == cluster.Roles.Group {
				o.Object["rules"], o.Object["roleRef"] = nil, nil
			}
		}
	})
	join, against = planJoin(again, joinOptions(nil))
	add("join again", &join.plan, against)
	for _, interrupted := range []bool{false, true} {
		f := facts(func(f *joinFacts) { prepared(f); joined(f) })
		r := rotateFacts{Host: f.Host, Member: f.Member, Now: f.Now}
		if interrupted {
			r.bound(member.BindingRefs()[0], now.Add(-2*time.Hour))
			r.bound(member.BindingRefs()[1], now.Add(-time.Hour))
		}
		rotation, against := planRotate(r, RotateOptions{Name: "east"})
		add("rotate", &rotation.plan, against)
	}
	unjoin, against := planUnjoin(leaving(prepared, func(f *unjoinFacts) {
		f.Member.Namespace.SetLabels(nil)
		f.Member.Objects[member.BindingRefs()[1]] = member.BindingManifest(member.BindingRefs()[1]).Manifest
	}), UnjoinOptions{Name: "east"})
	add("unjoin", &unjoin.plan, against)

	var want []string
	for _, r := range rights {
		want = append(want, r.String())
	}
	slices.Sort(want)
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("the manifest gives:\n%s\nthe plans take:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
