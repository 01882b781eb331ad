package expression

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Cluster is a member, ready to be asked many times.
type Cluster struct{ value ref.Val }

// Federation is a federation, ready to be asked many times.
type Federation struct{ value ref.Val }

// NewCluster makes a member ready. An empty field of facts is not known.
func NewCluster(m *v1alpha1.MemberCluster, facts v1alpha1.JoinFacts) Cluster {
	view := clusterView{Name: m.Name, Labels: m.Labels, Spec: m.Spec, Facts: facts}
	return Cluster{valueOf(reflect.ValueOf(view), varCluster)}
}

// NewFederation makes a federation ready.
func NewFederation(f *v1alpha1.Federation) Federation {
	view := federationView{Name: f.Name, Labels: f.Labels, Spec: f.Spec}
	return Federation{valueOf(reflect.ValueOf(view), varFederation)}
}

// UnknownFact is the error of an expression that reads a fact which is not known.
type UnknownFact struct {
	// Path of the fact, as "cluster.facts.regions".
	Path string
}

func (e *UnknownFact) Error() string { return e.Path + " is not known" }

// factsPath is where a value that is not set is not known.
const factsPath = varCluster + ".facts"

func valueOf(v reflect.Value, path string) ref.Val {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return valueOf(reflect.Zero(v.Type().Elem()), path)
		}
		return valueOf(v.Elem(), path)
	case reflect.Bool:
		return types.Bool(v.Bool())
	case reflect.Int32:
		return types.Int(v.Int())
	case reflect.String:
		return types.String(v.String())
	case reflect.Map:
		labels, _ := reflect.TypeAssert[map[string]string](v)
		return types.NewStringStringMap(types.DefaultTypeAdapter, labels)
	case reflect.Slice:
		switch list := v.Interface().(type) {
		case []byte:
			return types.Bytes(list)
		case []string:
			return types.NewStringList(types.DefaultTypeAdapter, list)
		}
		elements := make([]ref.Val, v.Len())
		for i := range elements {
			elements[i] = valueOf(v.Index(i), path+"[]")
		}
		return types.NewRefValList(types.DefaultTypeAdapter, elements)
	case reflect.Struct:
		return objectOf(v, path)
	}
	return types.NewErr("%s has a type without a CEL declaration: %s", path, v.Type())
}

// object is a value of a declared type.
type object struct {
	kind   *types.Type
	fields map[string]ref.Val
}

var (
	_ traits.Indexer     = (*object)(nil)
	_ traits.FieldTester = (*object)(nil)
	_ traits.Zeroer      = (*object)(nil)
)

func objectOf(v reflect.Value, path string) *object {
	o := &object{kind: types.NewObjectType(typeName(path)), fields: make(map[string]ref.Val, v.NumField())}
	for name, f := range shown(v.Type(), path) {
		value := v.FieldByIndex(f.Index)
		if path == factsPath && value.IsZero() {
			o.fields[name] = types.WrapErr(&UnknownFact{path + "." + name})
			continue
		}
		o.fields[name] = valueOf(value, path+"."+name)
	}
	return o
}

// Get implements traits.Indexer.
func (o *object) Get(field ref.Val) ref.Val {
	name, _ := field.(types.String)
	if value, known := o.fields[string(name)]; known {
		return value
	}
	return types.NewErr("no such field: %v", field)
}

// IsSet implements traits.FieldTester: what is not known is not set.
func (o *object) IsSet(field ref.Val) ref.Val {
	value := o.Get(field)
	return types.Bool(!types.IsError(value) && !zero(value))
}

// IsZeroValue implements traits.Zeroer.
func (o *object) IsZeroValue() bool {
	for _, value := range o.fields {
		if !types.IsError(value) && !zero(value) {
			return false
		}
	}
	return true
}

func zero(v ref.Val) bool {
	z, ok := v.(traits.Zeroer)
	return ok && z.IsZeroValue()
}

// Equal implements ref.Val. Two objects of which one has an unknown fact are neither equal nor different, unless another
// field differs.
func (o *object) Equal(other ref.Val) ref.Val {
	with, ok := other.(*object)
	if !ok || o.kind.TypeName() != with.kind.TypeName() {
		return types.False
	}
	var unknown ref.Val = types.True
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		a, b := o.fields[name], with.fields[name]
		switch {
		case types.IsError(a):
			unknown = a
		case types.IsError(b):
			unknown = b
		default:
			switch equal := types.Equal(a, b); {
			case types.IsError(equal):
				unknown = equal
			case equal != types.True:
				return types.False
			}
		}
	}
	return unknown
}

// ConvertToNative implements ref.Val. Nothing asks for it.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be made a %s", o.kind, t)
}

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(t ref.Type) ref.Val {
	switch {
	case t == types.TypeType:
		return o.kind
	case t.TypeName() == o.kind.TypeName():
		return o
	}
	return types.NewErr("%s cannot be made a %s", o.kind, t)
}

// Type implements ref.Val.
func (o *object) Type() ref.Type { return o.kind }

// Value implements ref.Val.
func (o *object) Value() any { return o.fields }
