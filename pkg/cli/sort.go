package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/jsonpath"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// order is --sort-by: a column, or a path into the objects. The zero value is by federation and name.
type order struct {
	column *column
	path   *jsonpath.JSONPath
	typed  string
}

// parseOrder reads --sort-by. A column's name wins over a field of that name, which ".name" means.
func parseOrder(typed string) (order, error) {
	if typed == "" {
		return order{}, nil
	}
	all := sortable()
	for i := range all {
		if strings.EqualFold(all[i].name(), typed) {
			return order{column: &all[i], typed: typed}, nil
		}
	}
	if !strings.ContainsAny(typed, ".{[") {
		return order{}, output.Usagef("invalid --sort-by %q: must be a column (%s) or a JSONPath, as .metadata.creationTimestamp", typed, strings.Join(sortNames(), ", "))
	}
	path := jsonpath.New("--sort-by").AllowMissingKeys(true)
	if err := path.Parse(output.RelaxedPath(typed)); err != nil {
		return order{}, output.Usagef("invalid --sort-by %q: %w", typed, err)
	}
	return order{path: path, typed: typed}, nil
}

func sortable() []column { return slices.Concat(columns, wideColumns, []column{causeColumn}) }

func sortNames() []string {
	var names []string
	for _, c := range sortable() {
		names = append(names, c.name())
	}
	return names
}

// sort puts members into order; equal ones by federation and name.
func (o order) sort(members []*v1alpha1.MemberCluster) error {
	slices.SortFunc(members, targets.ByFederation)
	switch {
	case o.column != nil:
		slices.SortStableFunc(members, o.column.order)
	case o.path != nil && len(members) > 0:
		return o.sortByPath(members)
	}
	return nil
}

// sortAsKnown puts members, as they are stored, into the order that they have as they are known.
func (o order) sortAsKnown(members []*v1alpha1.MemberCluster, p host.Probes) error {
	known, stored := make([]*v1alpha1.MemberCluster, len(members)), map[*v1alpha1.MemberCluster]*v1alpha1.MemberCluster{}
	for i, m := range members {
		known[i] = new(asKnown(*m, p))
		stored[known[i]] = m
	}
	if err := o.sort(known); err != nil {
		return err
	}
	for i, m := range known {
		members[i] = stored[m]
	}
	return nil
}

// sortByPath orders by the first value that the path finds in each member; members without one come last.
func (o order) sortByPath(members []*v1alpha1.MemberCluster) error {
	type keyed struct {
		key    any
		member *v1alpha1.MemberCluster
	}
	all := make([]keyed, len(members))
	found := false
	for i := range members {
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(members[i])
		if err != nil {
			return err
		}
		values, err := o.path.FindResults(object)
		if err != nil {
			return output.Usagef("invalid --sort-by %q: %w", o.typed, err)
		}
		all[i].member = members[i]
		if len(values) > 0 && len(values[0]) > 0 && values[0][0].CanInterface() {
			all[i].key = values[0][0].Interface()
			found = found || all[i].key != nil
		}
	}
	if !found {
		return output.Usagef("invalid --sort-by %q: no member has this field", o.typed)
	}
	slices.SortStableFunc(all, func(a, b keyed) int { return compareValues(a.key, b.key) })
	for i := range all {
		members[i] = all[i].member
	}
	return nil
}

// compareValues orders values of JSON: numbers and quantities by size, text in natural order, nil last.
func compareValues(a, b any) int {
	if a == nil || b == nil {
		return compareTrue(a == nil, b == nil)
	}
	left, right := valueText(a), valueText(b)
	if a, err := resource.ParseQuantity(left); err == nil {
		if b, err := resource.ParseQuantity(right); err == nil {
			return a.Cmp(b)
		}
	}
	return compareNatural(left, right)
}

func valueText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(out)
}
