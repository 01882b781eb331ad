//go:build unix

package admission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/pkg/lint"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestCases writes every case of the rules as a server dry run. The API server must answer what pkg/rules says in memory:
// every cause with its type, field and message, every warning, and one text. Of what is created lint must say the same; and
// kubectl and lint must print the same lines.
func TestCases(t *testing.T) {
	h := enforcing(t)
	schemas, err := lint.LoadSchemas()
	must(t, err)
	linted := 0
	for _, k := range cases.All() {
		if k.Unreachable != "" {
			// Nothing is there to run: the case says why. TestSchemas has the faults of shape; pkg/rules has all.
			continue
		}
		if lintable(k) {
			linted++
		}
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			said := k.Judge()
			c, w := as(t, h.Config())
			err := write(t.Context(), c, k)
			if diff := cmp.Diff(causesOf(k.Error(said)), causesOf(err), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("causes (-rules +API server):\n%s\n%v", diff, err)
			}
			if diff := cmp.Diff(said.WarningTexts(), w.texts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings (-rules +API server):\n%s", diff)
			}
			if want := answerTo(k, k.Error(said)); text(err) != want {
				t.Errorf("got  %s\nwant %s", text(err), want)
			}
			if lintable(k) {
				lintSays(t, schemas, k, err, w.texts)
				printed(t, h, k)
			}
		})
	}
	if linted < 50 {
		t.Errorf("%d cases were linted; are they read right?", linted)
	}
}

// write sends a case's change as a dry run.
func write(ctx context.Context, c client.Client, k cases.Case) error {
	var before, after client.Object
	if k.Member != nil {
		after = k.Member.New.DeepCopy()
		if k.Member.Old != nil {
			before = &v1alpha1.MemberCluster{}
		}
	} else {
		if k.Federation.Old != nil {
			before = &v1alpha1.Federation{}
		}
		if k.Federation.New == nil {
			return c.Delete(ctx, fed(k.Federation.Old.Name), client.DryRunAll)
		}
		after = k.Federation.New.DeepCopy()
	}
	if before == nil {
		return c.Create(ctx, after, client.DryRunAll)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(after), before); err != nil {
		return err
	}
	after.SetResourceVersion(before.GetResourceVersion())
	return c.Update(ctx, after, client.DryRunAll)
}

// lintable are the cases that lint judges as the host does: what is created, in a federation that is among the manifests,
// or with a namespace that is.
func lintable(k cases.Case) bool {
	if k.Written() == nil || !k.Creates() {
		return false
	}
	if k.Federation != nil && k.Federation.New.Spec.Inventory != nil {
		return len(rules.NamespacesToRead(*k.Federation)) == len(k.Namespaces)
	}
	return k.Member == nil || slices.ContainsFunc(k.Federations, func(f *v1alpha1.Federation) bool {
		return v1alpha1.FederationName(f.Name) == k.Member.New.Federation()
	})
}

// answerTo is the text of an API server that passes on what a webhook answered.
func answerTo(k cases.Case, err error) string {
	if err == nil {
		return ""
	}
	code, name := http.StatusUnprocessableEntity, "federations"
	if k.Written() == nil {
		code = http.StatusForbidden
	}
	switch {
	case k.Member == nil:
	case k.Member.Old == nil:
		name = "memberclusters"
	default:
		name = "changes.memberclusters"
	}
	return fmt.Sprintf(`%d admission webhook "%s.kubefederate.io" denied the request: %s`, code, name, err)
}

// causesOf are the faults of an answer.
func causesOf(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

// lintSays compares what lint says of the object with what the API server said.
func lintSays(t *testing.T, schemas *lint.Schemas, k cases.Case, answer error, warnings []string) {
	t.Helper()
	got := linted(t, schemas, k.Manifests())
	if diff := cmp.Diff(causesOf(answer), causesOf(got.Err()), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("causes (-API server +lint):\n%s", diff)
	}
	if diff := cmp.Diff(warnings, got.WarningTexts(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("warnings (-API server +lint):\n%s", diff)
	}
}

// linted is what lint says of the last object of a file.
func linted(t *testing.T, schemas *lint.Schemas, file []byte) lint.Finding {
	t.Helper()
	m := lint.NewManifests(schemas)
	if errs := m.Read("case.yaml", bytes.NewReader(file)); len(errs) > 0 {
		t.Fatal(errs)
	}
	findings := m.Judge(cases.Now)
	return findings[len(findings)-1]
}

// printed compares what kubectl and what lint print of the object, line by line. They differ in layout: kubectl warns
// first, and puts a fault that is alone behind the colon.
func printed(t *testing.T, h installed, k cases.Case) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), fleet(t).Kubectl(), "--kubeconfig="+h.Kubeconfig, "create", "--dry-run=server", "-f", "-")
	cmd.Stdin = bytes.NewReader(cases.Manifest(k.Written()))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run()
	var want []string
	for line := range strings.Lines(stderr.String()) {
		line = strings.TrimSuffix(line, "\n")
		if head, fault, ok := strings.Cut(line, " is invalid: "); ok {
			line = head + " is invalid:"
			if fault != "" {
				line += "\n* " + fault
			}
		}
		want = append(want, strings.Split(line, "\n")...)
	}

	var stdout, other bytes.Buffer
	code := cli.Run(t.Context(), []string{"kubectl-federate", "lint", "-f", "-"},
		genericiooptions.IOStreams{In: bytes.NewReader(k.Manifests()), Out: &stdout, ErrOut: &other})
	if len(k.Refusals) > 0 && code != 2 {
		t.Errorf("lint ended with %d:\n%s", code, other.String())
	}
	var got, refused []string
	// Of the object, which is in the last document, and not of those before it.
	documents := bytes.Count(k.Manifests(), []byte("---\napiVersion: "))
	_, last, _ := strings.Cut(stdout.String(), fmt.Sprintf("stdin, document %d: ", documents))
	for i, line := range strings.Split(strings.TrimSuffix(last, "\n"), "\n") {
		switch {
		case i == 0: // which object it is
		case strings.HasPrefix(line, "Warning: "):
			got = append(got, line)
		default:
			refused = append(refused, line)
		}
	}
	if diff := cmp.Diff(want, slices.Concat(got, refused), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("printed (-kubectl +lint):\n%s", diff)
	}
}

// TestSchemas holds that lint judges shape as the API server does: every cause with its type, field and message. An API
// server stops there; lint goes on to the rules.
func TestSchemas(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	schemas, err := lint.LoadSchemas()
	must(t, err)
	const (
		federation = "apiVersion: kubefederate.io/v1alpha1\nkind: Federation\n"
		member     = "apiVersion: kubefederate.io/v1alpha1\nkind: MemberCluster\n"
		labeled    = "metadata: {name: schemas, labels: {kubefederate.io/federation: exists}}\n"
	)
	shapes := map[string]string{
		"enums":         federation + "metadata: {name: schemas}\nspec: {acceptance: Perhaps, enforcement: Soft}\n",
		"lengths":       federation + "metadata: {name: schemas}\nspec: {description: " + strings.Repeat("x", 1025) + ", labels: [{key: ''}]}\n",
		"numbers":       federation + "metadata: {name: schemas}\nspec: {limits: [{max: -1}, {max: 1, perLabel: a}]}\n",
		"twice":         federation + "metadata: {name: schemas}\nspec: {limits: [{max: 1}, {max: 2, perLabel: ''}], labels: [{key: a, values: [b, b]}, {key: a}]}\n",
		"missing":       federation + "metadata: {name: schemas}\nspec: {limits: [{}], labels: [{required: true}]}\n",
		"types":         federation + "metadata: {name: schemas}\nspec: {limits: 3, description: [x]}\n",
		"health":        federation + "metadata: {name: schemas}\nspec: {health: {interval: 4999ms, failures: 11}}\n",
		"no failure":    federation + "metadata: {name: schemas}\nspec: {health: {interval: 1h1ms, failures: 0}}\n",
		"no duration":   federation + "metadata: {name: schemas}\nspec: {health: {interval: often}}\n",
		"no interval":   federation + "metadata: {name: schemas}\nspec: {health: {interval: ''}}\n",
		"long interval": federation + "metadata: {name: schemas}\nspec: {health: {interval: " + strings.Repeat("1s", 17) + "}}\n",
		"a number":      federation + "metadata: {name: schemas}\nspec: {health: {interval: 30}}\n",
		"name":          federation + "metadata: {name: a.b}\n",
		"bad name":      federation + "metadata: {name: A_B}\n",
		"labels":        federation + "metadata: {name: schemas, labels: {'a b': 'c d'}, annotations: {'a b': x}}\n",
		"member":        member + labeled + "spec: {clusterID: A_B, server: 'http://a'}\n",
		"no server":     member + labeled + "spec: {clusterID: x}\n",
		"empty server":  member + labeled + "spec: {clusterID: x, server: ''}\n",
		"no spec":       member + labeled,
		"name and more": member + strings.Replace(labeled, "name: schemas", "name: a.b", 1) + "spec: {clusterID: x, server: ''}\n",
		"name of one":   member + strings.Replace(labeled, "name: schemas", "name: a.b", 1) + "spec: {clusterID: x, server: 'https://a.example.com'}\n",
		"long ID":       member + labeled + "spec: {clusterID: " + strings.Repeat("x", 64) + ", server: 'https://a.example.com'}\n",
		"flag as text":  member + labeled + "spec: {clusterID: x, server: 'https://a.example.com', suspended: 'yes'}\n",
		"many versions": member + labeled + "spec: {clusterID: x, server: 'https://a.example.com', joinedWith: {kubernetesVersion: " + strings.Repeat("1", 300) + "}}\n",
	}
	// The cases that no rule gets to see belong here, too.
	for _, k := range cases.All() {
		if strings.HasPrefix(k.Unreachable, "the schema") {
			shapes["case "+k.Name] = string(cases.Manifest(k.Written()))
		}
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := unstructuredOf("", "")
			must(t, yaml.Unmarshal([]byte(shape), &o.Object))
			want := slices.DeleteFunc(causesOf(h.admin.Create(t.Context(), o, client.DryRunAll)), func(c metav1.StatusCause) bool {
				// A note behind the faults, not one of them.
				return strings.HasSuffix(c.Message, "correct the existing errors to complete validation")
			})
			if len(want) == 0 {
				t.Error("the API server takes it")
			}
			found := linted(t, schemas, []byte(shape))
			found.Refusals = slices.DeleteFunc(found.Refusals, func(e *field.Error) bool { return e.Origin != string(lint.Schema) })
			// In no order of their own on either side.
			sorted := cmpopts.SortSlices(func(a, b metav1.StatusCause) bool { return a.Field+a.Message < b.Field+b.Message })
			if diff := cmp.Diff(want, causesOf(found.Err()), sorted, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("causes (-API server +lint):\n%s", diff)
			}
		})
	}
}
