package lint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	openapierrors "k8s.io/kube-openapi/pkg/validation/errors"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	kjson "sigs.k8s.io/json"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Schema is the origin of faults that the API server finds before it calls the webhook: an unknown field, a wrong type, a
// name that is not valid, and whatever else the CustomResourceDefinition refuses.
const Schema rules.ID = "schema"

// Schemas are those of Federation and MemberCluster, as installed.
type Schemas struct{ kinds map[string]*shape }

// shape is the schema of one kind.
type shape struct {
	schema    *structuralschema.Structural
	validator *validate.SchemaValidator
	// name is what the schema's CEL requires of a name, and nameMessage the message about any other.
	name        *regexp.Regexp
	nameMessage string
	// texts are what the schema's CEL requires of texts in the spec.
	texts []textShape
}

// textShape is what one text must look like.
type textShape struct {
	path    []string
	pattern *regexp.Regexp
	// least and most bound a text that is a duration; most is zero for others.
	least, most time.Duration
	message     string
}

func (t textShape) matches(value string) bool {
	if !t.pattern.MatchString(value) || t.most == 0 {
		return t.pattern.MatchString(value)
	}
	d, err := time.ParseDuration(value)
	return err == nil && t.least <= d && d <= t.most
}

// newTextShape is what a rule in CEL requires of a text; nil when it is about something else.
func newTextShape(rule string) (t *textShape, err error) {
	match := textRule.FindStringSubmatch(rule)
	if match == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	t = &textShape{}
	if t.pattern, err = regexp.Compile(strings.ReplaceAll(match[1], `\\`, `\`)); err != nil || match[2] == "" {
		return t, err
	}
	var tooLong error
	t.least, err = time.ParseDuration(match[2])
	t.most, tooLong = time.ParseDuration(match[3])
	return t, errors.Join(err, tooLong)
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
		var definition apiextensionsv1.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", o.GetName(), err)
		}
		kind := definition.Spec.Names.Kind
		if s.kinds[kind], err = newShape(&definition); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", kind, err)
		}
	}
	return s, nil
}

func newShape(definition *apiextensionsv1.CustomResourceDefinition) (*shape, error) {
	i := slices.IndexFunc(definition.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return v.Name == v1alpha1.GroupVersion.Version
	})
	if i < 0 {
		return nil, fmt.Errorf("it has no version %s", v1alpha1.GroupVersion.Version)
	}
	var internal apiextensions.JSONSchemaProps
	written := definition.Spec.Versions[i].Schema.OpenAPIV3Schema
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(written, &internal, nil); err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		return nil, err
	}
	s := &shape{schema: structural, validator: validate.NewSchemaValidator(structural.ToKubeOpenAPI(), nil, "", strfmt.Default)}
	for _, rule := range structural.XValidations {
		if match := nameRule.FindStringSubmatch(rule.Rule); match != nil {
			s.nameMessage = rule.Message
			if s.name, err = regexp.Compile(match[1]); err != nil {
				return nil, err
			}
		}
	}
	spec := structural.Properties["spec"]
	return s, s.addTexts([]string{"spec"}, &spec)
}

// addTexts finds the texts at a path and below it that have a textRule.
func (s *shape) addTexts(path []string, of *structuralschema.Structural) error {
	for _, rule := range of.XValidations {
		text, err := newTextShape(rule.Rule)
		if err != nil {
			return err
		}
		if text != nil {
			text.path, text.message = path, rule.Message
			s.texts = append(s.texts, *text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(of.Properties)) {
		property := of.Properties[name]
		if err := s.addTexts(append(slices.Clone(path), name), &property); err != nil {
			return err
		}
	}
	return nil
}

// nameRule and textRule are the forms of CEL in our schemas that judge an object which is created. Those that compare with
// oldSelf judge changes. TestSchemaRulesAreKnown fails on another form.
var (
	nameRule = regexp.MustCompile(`^self\.metadata\.name\.matches\('([^'\\]+)'\)$`)
	textRule = regexp.MustCompile(`^self\.matches\('([^']+)'\)(?: && duration\(self\) >= duration\('(\w+)'\) && duration\(self\) <= duration\('(\w+)'\))?$`)
)

// object is one manifest.
type object struct {
	at         Source
	kind, name string
	// generated says that the API server chooses the name, which begins with metadata.generateName.
	generated bool
	// faults are those of its shape.
	faults field.ErrorList
	// Exactly one is set when the manifest can be read as its kind.
	federation *v1alpha1.Federation
	member     *v1alpha1.MemberCluster
}

// object reads a manifest of our group and judges its shape. One with a fault is read as far as possible.
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
	shaped := append(unquoted(metadata), shape.judge(content)...)
	o.faults = append(o.faults, shaped...)
	if err != nil {
		o.federation, o.member = nil, nil
		// Those have a better message, except about what is left of metadata, which the schema does not describe.
		if len(shaped) == 0 {
			o.fault(&field.Error{Type: field.ErrorTypeInvalid, Field: "metadata", BadValue: field.OmitValueType{}, Detail: err.Error()})
		}
	} else {
		// The API server ignores the namespace of a kind that has none.
		typed.SetNamespace("")
		if o.generated = typed.GetName() == "" && typed.GetGenerateName() != ""; o.generated {
			o.name = typed.GetGenerateName() + "*"
			o.generate(0)
		}
		meta := validation.ValidateObjectMetaAccessor(typed, false, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
		o.faults = append(o.faults, ordered(meta)...)
		if shape.name != nil && !shape.name.MatchString(typed.GetName()) && !slices.ContainsFunc(o.faults, blocks) {
			o.fault(field.Invalid(nil, field.OmitValueType{}, shape.nameMessage))
		}
		for _, t := range shape.texts {
			if value, ok, _ := unstructured.NestedString(content, t.path...); ok && !t.matches(value) && !slices.ContainsFunc(o.faults, blocks) {
				o.fault(field.Invalid(field.NewPath(t.path[0], t.path[1:]...), value, t.message))
			}
		}
	}
	for _, e := range o.faults {
		e.Origin = string(Schema)
	}
	return o
}

// longestPrefix is how much of metadata.generateName API servers keep, before five characters of their own.
const longestPrefix = 58

// generate gives an object whose name is generated one that no other has: that with the number i.
func (o *object) generate(i int) {
	var typed metav1.Object = o.member
	if o.federation != nil {
		typed = o.federation
	}
	prefix := typed.GetGenerateName()
	typed.SetName(fmt.Sprintf("%s%05d", prefix[:min(len(prefix), longestPrefix)], i))
}

// unquoted are the texts of metadata that YAML reads as something else: no and 1 are none without quotes.
func unquoted(metadata map[string]any) (faults field.ErrorList) {
	path := field.NewPath("metadata")
	judge := func(path *field.Path, value any) {
		if fault := unquotedFault(value); fault != "" {
			faults = append(faults, &field.Error{Type: field.ErrorTypeTypeInvalid, Field: path.String(), BadValue: value, Detail: fault})
		}
	}
	for _, name := range []string{"name", "generateName", "namespace"} {
		judge(path.Child(name), metadata[name])
	}
	for _, name := range []string{"labels", "annotations"} {
		values, _ := metadata[name].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(values)) {
			judge(path.Child(name).Key(key), values[key])
		}
	}
	finalizers, _ := metadata["finalizers"].([]any)
	for i, value := range finalizers {
		judge(path.Child("finalizers").Index(i), value)
	}
	return faults
}

// unquotedFault says what a value is that should be a text; empty for texts, and for what quotes do not mend.
func unquotedFault(value any) string {
	switch value.(type) {
	case bool:
		return fmt.Sprintf("must be text, and YAML reads yes, no, on, off, true and false as booleans: quote it, as in %q", fmt.Sprint(value))
	case int64, float64:
		return fmt.Sprintf("must be text, and is a number: quote it, as in %q", fmt.Sprint(value))
	}
	return ""
}

// ordered sorts the faults of each field, since those of a map come in any order.
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

// blocks says whether an API server that has found the fault does not evaluate the CEL of the schema.
func blocks(e *field.Error) bool {
	return slices.Contains([]field.ErrorType{
		field.ErrorTypeRequired, field.ErrorTypeTypeInvalid, field.ErrorTypeNotSupported, field.ErrorTypeTooLong, field.ErrorTypeTooMany,
	}, e.Type)
}

func (o *object) fault(e *field.Error) {
	e.Origin = string(Schema)
	o.faults = append(o.faults, e)
}

// strictFault turns the decoder's `unknown field "spec.x"` into a fault of that field, which proposes the nearest name.
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
		if !known || indexed && property.Items == nil {
			return nil
		}
		at = &property
		if indexed {
			at = property.Items
		}
	}
	return slices.Sorted(maps.Keys(at.Properties))
}

// judge returns the faults of a manifest, sorted by field.
func (s *shape) judge(content map[string]any) field.ErrorList {
	// The API server drops the status of an object that is created.
	kept := map[string]any{}
	for key, value := range content {
		if key != "status" {
			kept[key] = value
		}
	}
	complete, _ := fill(s.schema, kept).(map[string]any)
	faults := worded(s.validator.Validate(complete))
	faults = append(faults, listtype.ValidateListSetsAndMaps(nil, s.schema, complete)...)
	slices.SortStableFunc(faults, func(a, b *field.Error) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Error(), b.Error()))
	})
	return faults
}

// fill gives a copy of a value with the defaults of its schema, as the API server sets them: where a field is missing, and
// where it is a null that the schema does not allow. It and worded repeat what apiextensions' packages defaulting and
// validation do: those would add 59 packages to the plugin, Prometheus and OpenTelemetry among them.
func fill(s *structuralschema.Structural, value any) any {
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
			if now, has := filled[key]; property.Default.Object != nil && (!has || now == nil && !property.Nullable) {
				filled[key] = fill(&property, property.Default.Object)
			}
		}
		return filled
	case []any:
		if s.Items == nil {
			return value
		}
		filled := make([]any, len(value))
		for i := range value {
			filled[i] = fill(s.Items, value[i])
		}
		return filled
	}
	return value
}

// worded puts the validator's faults into the words of an API server; see fill.
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
