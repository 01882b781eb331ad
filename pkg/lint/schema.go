package lint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	openapierrors "k8s.io/kube-openapi/pkg/validation/errors"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	kjson "sigs.k8s.io/json"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Schema is the origin of faults that the API server finds before it asks a rule: an unknown field, a wrong
// type, a name that is none, and whatever else the CustomResourceDefinition says.
const Schema rules.ID = "schema"

// Schemas are the shapes of our kinds, as installed.
type Schemas struct{ kinds map[string]*shape }

// shape is the schema of one kind.
type shape struct {
	schema    *spec.Schema
	validator *validate.SchemaValidator
	// name is what the schema's CEL says of a name, and nameMessage what a bad one prints.
	name        *regexp.Regexp
	nameMessage string
}

// LoadSchemas reads the schemas that `init` installs.
func LoadSchemas() (*Schemas, error) {
	objects, err := manifests.Objects(manifests.Options{})
	if err != nil {
		return nil, err
	}
	s := &Schemas{kinds: map[string]*shape{}}
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		if s.kinds[kind], err = newShape(o); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", kind, err)
		}
	}
	return s, nil
}

func newShape(definition *unstructured.Unstructured) (*shape, error) {
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil {
		return nil, err
	}
	for _, version := range versions {
		version, _ := version.(map[string]any)
		if version["name"] != v1alpha1.GroupVersion.Version {
			continue
		}
		content, _, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
		if err != nil {
			return nil, err
		}
		data, err := json.Marshal(content)
		if err != nil {
			return nil, err
		}
		s := &shape{schema: &spec.Schema{}}
		if err := s.schema.UnmarshalJSON(data); err != nil {
			return nil, err
		}
		s.validator = validate.NewSchemaValidator(s.schema, nil, "", strfmt.Default)
		return s, s.readNameRule(content)
	}
	return nil, fmt.Errorf("it has no version %s", v1alpha1.GroupVersion.Version)
}

// nameRule is the one form of CEL that a schema of ours has and that judges an object which is created. Those that
// compare with oldSelf judge changes. TestSchemaRulesAreKnown fails on a third form.
var nameRule = regexp.MustCompile(`^self\.metadata\.name\.matches\('([^'\\]+)'\)$`)

func (s *shape) readNameRule(content map[string]any) error {
	list, _, err := unstructured.NestedSlice(content, "x-kubernetes-validations")
	if err != nil {
		return err
	}
	for _, rule := range list {
		rule, _ := rule.(map[string]any)
		match := nameRule.FindStringSubmatch(text(rule["rule"]))
		if match == nil {
			continue
		}
		s.nameMessage = text(rule["message"])
		if s.name, err = regexp.Compile(match[1]); err != nil {
			return err
		}
	}
	return nil
}

// object is one manifest.
type object struct {
	at         Source
	kind, name string
	// faults are those of its shape.
	faults field.ErrorList
	// Exactly one is set when the manifest can be read as its kind.
	federation *v1alpha1.Federation
	member     *v1alpha1.MemberCluster
}

// object reads a manifest of our group and judges its shape. What has a fault is read as far as it can be.
func (s *Schemas) object(at Source, version schema.GroupVersion, kind string, content map[string]any, data []byte) *object {
	metadata, _ := content["metadata"].(map[string]any)
	o := &object{at: at, kind: kind, name: text(metadata["name"])}
	shape := s.kinds[kind]
	switch {
	case version != v1alpha1.GroupVersion:
		o.fault(field.NotSupported(field.NewPath("apiVersion"), version.String(), []string{v1alpha1.GroupVersion.String()}))
		return o
	case shape == nil:
		o.fault(field.NotSupported(field.NewPath("kind"), kind, []string{"Federation", "MemberCluster"}))
		return o
	}
	var typed metav1.Object
	if kind == "Federation" {
		o.federation = &v1alpha1.Federation{}
		typed = o.federation
	} else {
		o.member = &v1alpha1.MemberCluster{}
		typed = o.member
	}
	loose, err := kjson.UnmarshalStrict(data, typed)
	for _, e := range loose {
		o.faults = append(o.faults, shape.strictFault(e))
	}
	shaped := shape.judge(content)
	o.faults = append(o.faults, shaped...)
	if err != nil {
		o.federation, o.member = nil, nil
		// The schema has said it better, but for metadata, of which it says nothing.
		if len(shaped) == 0 {
			o.fault(&field.Error{Type: field.ErrorTypeInvalid, Field: "metadata", BadValue: field.OmitValueType{}, Detail: err.Error()})
		}
	} else {
		// The API server ignores it where a kind has no namespaces.
		typed.SetNamespace("")
		meta := validation.ValidateObjectMetaAccessor(typed, false, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
		o.faults = append(o.faults, ordered(meta)...)
		if shape.name != nil && !shape.name.MatchString(o.name) && !slices.ContainsFunc(o.faults, blocks) {
			o.fault(field.Invalid(nil, field.OmitValueType{}, shape.nameMessage))
		}
	}
	for _, e := range o.faults {
		e.Origin = string(Schema)
	}
	return o
}

// ordered sorts the faults of each field, which come in any order where the field is a map.
func ordered(faults field.ErrorList) field.ErrorList {
	for i := 0; i < len(faults); {
		end := i + 1
		for end < len(faults) && faults[end].Field == faults[i].Field {
			end++
		}
		slices.SortFunc(faults[i:end], func(a, b *field.Error) int { return strings.Compare(a.Error(), b.Error()) })
		i = end
	}
	return faults
}

// blocks says whether an API server, having found a fault, asks no CEL of the schema.
func blocks(e *field.Error) bool {
	return slices.Contains([]field.ErrorType{
		field.ErrorTypeRequired, field.ErrorTypeTypeInvalid, field.ErrorTypeNotSupported, field.ErrorTypeTooLong, field.ErrorTypeTooMany,
	}, e.Type)
}

func (o *object) fault(e *field.Error) {
	e.Origin = string(Schema)
	o.faults = append(o.faults, e)
}

// strictFault turns the decoder's `unknown field "spec.x"` into a fault of that field, with the nearest one that there
// is.
func (s *shape) strictFault(err error) *field.Error {
	what, path := err.Error(), ""
	if typed, ok := errors.AsType[kjson.FieldError](err); ok {
		path = typed.FieldPath()
		what = strings.TrimSpace(strings.TrimSuffix(what, strconv.Quote(path)))
		parent, name := "", path
		if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
			parent, name = path[:dot], path[dot+1:]
		}
		if near, ok := rules.Nearest(name, s.fields(parent)); ok && near != name {
			what += fmt.Sprintf("; did you mean %q?", near)
		}
	}
	return &field.Error{Type: field.ErrorTypeInvalid, Field: path, BadValue: field.OmitValueType{}, Detail: what}
}

// fields are the names of the fields at a path as the decoder writes it, sorted.
func (s *shape) fields(path string) []string {
	at := s.schema
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
		name, _, indexed := strings.Cut(name, "[")
		property, known := at.Properties[name]
		if !known || indexed && (property.Items == nil || property.Items.Schema == nil) {
			return nil
		}
		at = &property
		if indexed {
			at = property.Items.Schema
		}
	}
	return slices.Sorted(maps.Keys(at.Properties))
}

// judge gives the faults of a manifest, sorted by field.
func (s *shape) judge(content map[string]any) field.ErrorList {
	// The API server drops the status of what is created.
	kept := map[string]any{}
	for key, value := range content {
		if key != "status" {
			kept[key] = value
		}
	}
	complete, _ := fill(s.schema, kept).(map[string]any)
	faults := worded(s.validator.Validate(complete))
	faults = append(faults, twice(nil, s.schema, complete)...)
	slices.SortStableFunc(faults, func(a, b *field.Error) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Error(), b.Error()))
	})
	return faults
}

// fill gives a copy of a value with the defaults of its schema, as the API server sets them: where nothing is,
// and where there is a null that the schema does not allow.
func fill(s *spec.Schema, value any) any {
	switch value := value.(type) {
	case map[string]any:
		filled := make(map[string]any, len(value))
		for key, v := range value {
			if property, known := s.Properties[key]; known {
				v = fill(&property, v)
			}
			filled[key] = v
		}
		for key, property := range s.Properties {
			if now, has := filled[key]; property.Default != nil && (!has || now == nil && !property.Nullable) {
				filled[key] = fill(&property, property.Default)
			}
		}
		return filled
	case []any:
		if s.Items == nil || s.Items.Schema == nil {
			return value
		}
		filled := make([]any, len(value))
		for i := range value {
			filled[i] = fill(s.Items.Schema, value[i])
		}
		return filled
	}
	return value
}

// worded puts the validator's faults into the words of an API server.
func worded(result *validate.Result) (found field.ErrorList) {
	for _, err := range result.Errors {
		var fault *openapierrors.Validation
		if !errors.As(err, &fault) {
			found = append(found, field.Invalid(nil, "", err.Error()))
			continue
		}
		var path *field.Path
		if name := strings.TrimPrefix(fault.Name, "."); name != "" {
			path = field.NewPath(name)
		}
		value := fault.Value
		if value == nil {
			value = ""
		}
		switch fault.Code() {
		case openapierrors.RequiredFailCode:
			found = append(found, field.Required(path, ""))
		case openapierrors.EnumFailCode:
			found = append(found, field.NotSupported(path, value, words(fault.Values)))
		case openapierrors.TooLongFailCode:
			found = append(found, field.TooLong(path, "", number(fault.Valid)))
		case openapierrors.MaxItemsFailCode:
			found = append(found, field.TooMany(path, number(fault.Value), number(fault.Valid)))
		case openapierrors.InvalidTypeCode:
			found = append(found, field.TypeInvalid(path, value, fault.Error()))
		default:
			found = append(found, field.Invalid(path, value, fault.Error()))
		}
	}
	return found
}

func number(value any) int {
	if n, ok := value.(int64); ok {
		return int(n)
	}
	return -1
}

func words(values []any) []string {
	list := make([]string, len(values))
	for i, value := range values {
		list[i] = fmt.Sprint(value)
	}
	return list
}

// twice finds what a list may hold once: an element of a set, a key of a map.
func twice(path *field.Path, s *spec.Schema, value any) (found field.ErrorList) {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			if property, known := s.Properties[key]; known {
				found = append(found, twice(path.Child(key), &property, v)...)
			}
		}
	case []any:
		if s.Items == nil || s.Items.Schema == nil {
			return nil
		}
		seen := map[string]int{}
		for i, element := range value {
			found = append(found, twice(path.Index(i), s.Items.Schema, element)...)
			id, listed := identity(s, element)
			if !listed {
				continue
			}
			key, err := json.Marshal(id)
			if err != nil {
				continue
			}
			// The third of a kind is not told again.
			if seen[string(key)]++; seen[string(key)] == 2 {
				found = append(found, field.Duplicate(path.Index(i), id))
			}
		}
	}
	return found
}

// identity is what tells the elements of a list apart.
func identity(s *spec.Schema, element any) (id any, listed bool) {
	switch kind, _ := s.Extensions.GetString("x-kubernetes-list-type"); kind {
	case "set":
		return element, true
	case "map":
		fields, ok := element.(map[string]any)
		if !ok {
			return nil, false
		}
		keys, _ := s.Extensions.GetStringSlice("x-kubernetes-list-map-keys")
		key := map[string]any{}
		for _, name := range keys {
			if v, has := fields[name]; has {
				key[name] = v
			}
		}
		return key, true
	}
	return nil, false
}
