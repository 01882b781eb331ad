//go:build unix

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// What admission may cost, as parts of the same request through the same policies and a webhook that does nothing, or
// through nothing at all. Requests of the things compared alternate, and the medians are compared.
const (
	// maxCost bounds an update that rules read.
	maxCost = 1.3
	// maxCreate bounds what a create takes beyond maxCost, in bare creates: the journal is written.
	maxCreate = 2
	// maxIrrelevant bounds an update that no rule reads, against a bare one.
	maxIrrelevant = 1.2
	// maxDelete bounds a delete, against a bare one.
	maxDelete = 1.1
	// maxGrowth bounds the cost with the most members against that with the fewest.
	maxGrowth = 1.2
	// maxRuleChange bounds a change of rules, judged against the most members.
	maxRuleChange = 3 * time.Second
)

// sizes are the numbers of members of a federation.
var sizes = []int{10, 500, 10_000}

// updated is the member that is changed.
const updated = "member-0"

// limits and ruleCount are how many a federation has while it is measured.
const limits, ruleCount = 16, 20

// BenchmarkAdmission measures, on one real API server, writes of members that are judged by nothing, by the policies
// only, by a webhook only that admits everything, by both of them, and by the policies and our webhook. For the first
// four, resources of other groups stand that have the schema of MemberCluster and as many objects.
func BenchmarkAdmission(b *testing.B) {
	s := newStage(b)
	cost := map[string]float64{}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("members=%d", size), func(b *testing.B) {
			s.fill(b, size)
			for _, o := range s.operations() {
				b.Run(o.name, func(b *testing.B) {
					ratio := s.measure(b, o)
					switch size {
					case sizes[0]:
						cost[o.name] = ratio
					case sizes[len(sizes)-1]:
						s.growth(b, o, ratio/cost[o.name])
					}
				})
			}
			if size == sizes[len(sizes)-1] {
				b.Run("refusals by a limit at once", s.refusals)
				for _, refused := range []bool{false, true} {
					b.Run(fmt.Sprintf("rule change/rules=%d/refused=%v", ruleCount, refused), func(b *testing.B) { s.ruleChange(b, refused) })
				}
			}
		})
	}
}

// growth is the cost with the most members as a part of that with the fewest.
func (s *stage) growth(b *testing.B, o operation, growth float64) {
	b.ReportMetric(growth, "growth")
	if o.most > 0 && enough(b) && growth > maxGrowth {
		b.Errorf("with %d members it costs %.2f of what it costs with %d, more than %.2f", s.filled, growth, sizes[0], maxGrowth)
	}
}

// enough says whether there were enough rounds for a median to mean something.
func enough(b *testing.B) bool { return b.N >= 10 }

// variant is a resource and what judges writes of it.
type variant int

const (
	bare variant = iota
	policy
	noop
	both
	product
)

// others are what the product is compared with.
var others = []variant{bare, policy, noop, both}

func (g variant) String() string { return [...]string{"bare", "policy", "noop", "both", "product"}[g] }

func (g variant) group() string {
	if g == product {
		return v1alpha1.GroupVersion.Group
	}
	return g.String() + ".example.com"
}

// operation is one request, made to each of its resources in turn.
type operation struct {
	name string
	on   []variant
	// against is what the product is compared with.
	against variant
	// most bounds the product as a part of it; 0 only reports.
	most float64
	// extra is how many bare requests the product may take beyond most.
	extra float64
	// do makes the request on a resource, the n-th time, and says what it must answer.
	do func(ctx context.Context, g variant, n int64) error
	// atMost bounds the product's time with so many members; none only reports.
	atMost map[int]time.Duration
	// refused says what the product's refusal contains; empty when it admits as well.
	refused string
	// before makes what the request needs, and after puts back what was done. Neither is measured.
	before, after func(ctx context.Context, g variant, n int64) error
}

// created is the name of the member that a request creates, the n-th time.
func created(n int64) string { return fmt.Sprintf("new-%d", n) }

func (s *stage) operations() []operation {
	create := func(change func(m *unstructured.Unstructured)) func(context.Context, variant, int64) error {
		return func(ctx context.Context, g variant, n int64) error {
			m := object(g, created(n))
			change(m)
			_, err := s.of(g).Create(ctx, m, metav1.CreateOptions{})
			return err
		}
	}
	remove := func(ctx context.Context, g variant, n int64) error {
		err := s.of(g).Delete(ctx, created(n), metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	patch := func(text string) func(context.Context, variant, int64) error {
		return func(ctx context.Context, g variant, n int64) error {
			_, err := s.of(g).Patch(ctx, updated, types.MergePatchType, fmt.Appendf(nil, text, n), metav1.PatchOptions{})
			return err
		}
	}
	all := append(slices.Clone(others), product)
	return []operation{
		{name: "create", on: all, against: both, most: maxCost, extra: maxCreate, do: create(func(*unstructured.Unstructured) {}), after: remove},
		{name: "relevant update", on: all, against: both, most: maxCost, do: patch(`{"metadata":{"labels":{"team":"t%d"}}}`)},
		{name: "irrelevant update", on: all, against: bare, most: maxIrrelevant, do: patch(`{"metadata":{"annotations":{"note":"%d"}}}`)},
		{name: "refusal by a label rule", on: all, against: both, after: remove, refused: "not allowed here",
			do: create(func(m *unstructured.Unstructured) { label(m, "tier", "none") })},
		{name: "refusal of a second name", on: all, against: both, after: remove, refused: "is already member",
			do: create(func(m *unstructured.Unstructured) { set(m, "id-member-0", "spec", "clusterID") })},
		{name: "refusal by a limit", on: all, against: both, after: remove, refused: "takes at most", before: s.pause,
			atMost: map[int]time.Duration{500: 300 * time.Millisecond, 10_000: 3 * time.Second},
			do:     create(func(m *unstructured.Unstructured) { label(m, "full", "yes") })},
		{name: "delete", on: all, against: bare, most: maxDelete, before: s.grown(create(func(*unstructured.Unstructured) {})),
			do: func(ctx context.Context, g variant, n int64) error {
				return s.of(g).Delete(ctx, created(n), metav1.DeleteOptions{})
			}},
	}
}

// pause waits until the manager lists members again: it does so once a second.
func (*stage) pause(ctx context.Context, g variant, _ int64) error {
	if g != product {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(1100 * time.Millisecond):
		return nil
	}
}

// grown makes a member with a status, and waits until the manager has written that of its own and does not write any more: a delete
// is tried again when it meets a write, and reads what is deleted.
func (s *stage) grown(create func(context.Context, variant, int64) error) func(context.Context, variant, int64) error {
	return func(ctx context.Context, g variant, n int64) error {
		if err := create(ctx, g, n); err != nil {
			return err
		}
		if g != product {
			if err := s.writeStatus(ctx, g, created(n)); err != nil {
				return err
			}
		}
		last := ""
		return wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			m, err := s.of(g).Get(ctx, created(n), metav1.GetOptions{})
			if err != nil || m.Object["status"] == nil || m.GetResourceVersion() != last {
				last = m.GetResourceVersion()
				return false, err
			}
			return true, nil
		})
	}
}

// measure makes an operation in turns and gives the product's time as a part of what it is compared with.
func (s *stage) measure(b *testing.B, o operation) float64 {
	took := map[variant][]time.Duration{}
	for round := 0; b.Loop(); round++ {
		for i := range o.on {
			g := o.on[(i+round)%len(o.on)]
			n := s.number.Add(1)
			if o.before != nil {
				if err := o.before(b.Context(), g, n); err != nil {
					b.Fatalf("%s: make ready: %v", g, err)
				}
			}
			start := time.Now()
			err := o.do(b.Context(), g, n)
			took[g] = append(took[g], time.Since(start))
			switch {
			case g == product && o.refused != "":
				if err == nil || !strings.Contains(err.Error(), o.refused) {
					b.Fatalf("product: %v", err)
				}
			case err != nil:
				b.Fatalf("%s: %v", g, err)
			}
			if o.after != nil {
				if err := o.after(b.Context(), g, n); err != nil {
					b.Fatalf("%s: put back: %v", g, err)
				}
			}
		}
	}
	medians := map[variant]float64{}
	b.ReportMetric(0, "ns/op") // the sum says nothing
	for _, g := range o.on {
		medians[g] = median(took[g]).Seconds() * 1000
		b.ReportMetric(medians[g], g.String()+"-ms")
	}
	ratio := medians[product] / medians[o.against]
	b.ReportMetric(ratio, "product/"+o.against.String())
	b.ReportMetric(medians[product]/medians[noop], "product/"+noop.String())
	if most := o.most*medians[o.against] + o.extra*medians[bare]; o.most > 0 && enough(b) && medians[product] > most {
		b.Errorf("the product takes %.2f ms, more than %.2f ms; medians in ms: %v", medians[product], most, medians)
	}
	if most := o.atMost[s.filled]; most > 0 && enough(b) && medians[product] > most.Seconds()*1000 {
		b.Errorf("the product takes %.0f ms, more than %s", medians[product], most)
	}
	return ratio
}

// ruleChange changes all rules of the federation with the most members. None of them breaks one, or all break the last.
func (s *stage) ruleChange(b *testing.B, refused bool) {
	var took []time.Duration
	for round := 0; b.Loop(); round++ {
		rules := make([]any, ruleCount)
		for i := range rules {
			rules[i] = map[string]any{
				"name": fmt.Sprintf("rule-%d", i),
				"expression": fmt.Sprintf(
					"cluster.labels['tier'] in ['one', 'two'] && cluster.name != 'none-%d-%d' && cluster.spec.server.startsWith('https://')", i, round),
			}
		}
		if refused {
			rules[ruleCount-1].(map[string]any)["expression"] = fmt.Sprintf("cluster.labels['tier'] == 'none-%d'", round)
		}
		spec, err := json.Marshal(map[string]any{"spec": map[string]any{"rules": rules}})
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		_, err = s.federations().Patch(b.Context(), "prod", types.MergePatchType, spec, metav1.PatchOptions{})
		switch want := fmt.Sprintf("%d members would break it", s.filled); {
		case refused && (err == nil || !strings.Contains(err.Error(), want)), !refused && err != nil:
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	middle := median(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle.Seconds()*1000, "product-ms")
	if enough(b) && middle > maxRuleChange {
		b.Errorf("a change of %d rules takes %s with %d members, more than %s", ruleCount, middle, sizes[len(sizes)-1], maxRuleChange)
	}
}

// object is a member that is admitted as it is, wherever it is created.
func object(g variant, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": g.group() + "/v1alpha1",
		"kind":       "MemberCluster",
		"metadata":   map[string]any{"name": name, "labels": map[string]any{v1alpha1.LabelFederation: "prod", "tier": "one"}},
		"spec": map[string]any{
			"clusterID":  "id-" + name,
			"server":     "https://" + name + ".example.com:6443",
			"joinedWith": map[string]any{"kubernetesVersion": "v1.36.3", "regions": []any{"us-east-1"}, "zones": []any{"us-east-1a"}},
		},
	}}
}

func label(m *unstructured.Unstructured, key, value string) { set(m, value, "metadata", "labels", key) }

func set(o *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
		panic(err)
	}
}

// fill makes members on every resource until there are as many as asked for.
func (s *stage) fill(b *testing.B, size int) {
	b.Helper()
	start := time.Now()
	type job struct {
		g    variant
		name string
	}
	jobs := make(chan job)
	errs := make(chan error, 1)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for j := range jobs {
				if _, err := s.of(j.g).Create(b.Context(), object(j.g, j.name), metav1.CreateOptions{}); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := s.filled; i < size; i++ {
		for _, g := range append(slices.Clone(others), product) {
			jobs <- job{g: g, name: fmt.Sprintf("member-%d", i)}
		}
	}
	close(jobs)
	wg.Wait()
	select {
	case err := <-errs:
		b.Fatal(err)
	default:
	}
	if s.filled == 0 {
		if err := s.evenOut(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	s.filled = size
	fmt.Fprintf(os.Stderr, "%d members everywhere after %s", size, time.Since(start).Round(time.Second))
	if err := s.settle(b.Context()); err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, ", and the manager at rest after %s\n", time.Since(start).Round(time.Second))
}

// settle waits until the manager has written the status of all members: what is measured is a fleet, not its founding.
func (s *stage) settle(ctx context.Context) error {
	return wait.PollUntilContextTimeout(ctx, time.Second, 10*time.Minute, true, func(ctx context.Context) (bool, error) {
		all, err := s.of(product).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		return !slices.ContainsFunc(all.Items, func(m unstructured.Unstructured) bool { return m.Object["status"] == nil }), nil
	})
}

// evenOut gives the member that is updated the same status everywhere: the manager writes one to its own only, and what is
// larger takes longer to write.
func (s *stage) evenOut(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		m, err := s.of(product).Get(ctx, updated, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		s.status = m.Object["status"]
		return s.status != nil, nil
	})
	if err != nil {
		return err
	}
	for _, g := range others {
		if err := s.writeStatus(ctx, g, updated); err != nil {
			return err
		}
	}
	return nil
}

// writeStatus gives a member the status that the manager has written to its own.
func (s *stage) writeStatus(ctx context.Context, g variant, name string) error {
	text, err := json.Marshal(map[string]any{"status": s.status})
	if err != nil {
		return err
	}
	_, err = s.of(g).Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: v1alpha1.ManagerFieldOwner}, "status")
	return err
}

// federation has every kind of rule that a member is judged by on its own, and many limits.
func federation() *unstructured.Unstructured {
	perLabel := []any{map[string]any{"max": int64(100_000)}, map[string]any{"perLabel": "full", "max": int64(0)}}
	for i := len(perLabel); i < limits; i++ {
		perLabel = append(perLabel, map[string]any{"perLabel": fmt.Sprintf("key-%d", i), "max": int64(1000)})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Federation",
		"metadata": map[string]any{"name": "prod"},
		"spec": map[string]any{
			"labels": []any{
				map[string]any{"key": "tier", "required": true, "values": []any{"one", "two"}, "message": "not allowed here"},
				map[string]any{"key": "team", "pattern": "[a-z0-9]+"},
			},
			"limits":             perLabel,
			"kubernetesVersions": ">=1.33",
		},
	}}
}
