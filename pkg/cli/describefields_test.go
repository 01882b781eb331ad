package cli

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// eachField calls f with every field of a spec that holds a value, by its JSON path. Of lists it takes the last element.
func eachField(v reflect.Value, path string, f func(path string, v reflect.Value)) {
	switch {
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		eachField(v.Elem(), path, f)
	case v.Type() == reflect.TypeFor[metav1.Time]():
		f(path, v)
	case v.Kind() == reflect.Struct:
		for field, value := range v.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			eachField(value, path+"."+name, f)
		}
	case v.Kind() == reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		f(path, v)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		eachField(v.Index(v.Len()-1), path+"[]", f)
	default:
		f(path, v)
	}
}

// changed gives a field another value.
func changed(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	if at, isTime := reflect.TypeAssert[metav1.Time](v); isTime {
		v.Set(reflect.ValueOf(metav1.NewTime(at.Add(time.Hour))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[v1alpha1.Enforcement]() && v.String() != string(v1alpha1.EnforceWarn) {
			v.SetString(string(v1alpha1.EnforceWarn))
			return
		}
		v.SetString(v.String() + "z")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int32:
		v.SetInt(v.Int() + 1)
	case reflect.Slice:
		v.SetBytes(append(slices.Clone(v.Bytes()), 'z'))
	case reflect.Map:
		v.SetMapIndex(reflect.ValueOf("z"), reflect.ValueOf("z"))
	default:
		t.Errorf("%s: this test cannot change a %s", path, v.Kind())
	}
}

// hiddenFields are not in a description, each for a reason.
var hiddenFields = []string{
	// The text says who accepted, which is in the conditions, and the phase is Suspended.
	"spec.accepted", "spec.suspended",
	// What the manager saw is shown instead.
	"spec.joinedWith.kubernetesVersion", "spec.joinedWith.regions[]", "spec.joinedWith.zones[]",
}

// describesEach changes each field of a spec: the text must differ.
func describesEach[O any](t *testing.T, fresh func() (object O, spec any), text func(O) string) {
	t.Helper()
	_, all := fresh()
	eachField(reflect.ValueOf(all), "spec", func(path string, _ reflect.Value) {
		var before, after string
		object, spec := fresh()
		eachField(reflect.ValueOf(spec), "spec", func(p string, v reflect.Value) {
			if p == path {
				before = text(object)
				changed(t, path, v)
				after = text(object)
			}
		})
		if shown, hidden := before != after, slices.Contains(hiddenFields, path); shown == hidden {
			t.Errorf("describe shows %s: %t; hiddenFields lists it: %t: exactly one must be true", path, shown, hidden)
		}
	})
}

// TestDescribeShowsEachField holds that a field which is added to a spec is described, or known not to be.
func TestDescribeShowsEachField(t *testing.T) {
	t.Parallel()
	describesEach(t, func() (*v1alpha1.Federation, any) { f := federation(); return f, &f.Spec },
		func(f *v1alpha1.Federation) string { return federationText(command.Host{}, f, nil, nil, noon) })
	describesEach(t, func() (*v1alpha1.MemberCluster, any) { m := ready("us-east"); return m, &m.Spec },
		func(m *v1alpha1.MemberCluster) string {
			return memberText(command.Host{}, m, rulebook{federation: federation()}, nil, noon)
		})
}
