package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Source is where an object was read from.
type Source struct {
	File string
	// Document counts from 1. Empty documents are not counted.
	Document int
	// Item of a List counts from 1; 0 is an object outside of Lists.
	Item int
}

func (s Source) String() string {
	text := fmt.Sprintf("%s, document %d", s.File, s.Document)
	if s.Item > 0 {
		text += fmt.Sprintf(", item %d", s.Item)
	}
	return text
}

// Manifests are what was read.
type Manifests struct {
	schemas *Schemas
	objects []*object
	// namespaces are what inventories are judged by.
	namespaces []*metav1.ObjectMeta
	// Skipped counts the objects of other kinds, by kind. What has no kind is counted as "".
	Skipped map[string]int
	// kept is the size of what is kept, in bytes.
	kept int
}

// NewManifests is an empty set.
func NewManifests(s *Schemas) *Manifests {
	return &Manifests{schemas: s, Skipped: map[string]int{}}
}

// Len is the number of objects to judge.
func (m *Manifests) Len() int { return len(m.objects) }

// Read adds the documents of one file, YAML or JSON. A document that cannot be read is an error, and reading continues with
// the next one where that can be found.
func (m *Manifests) Read(file string, r io.Reader) []error {
	var errs []error
	next, err := documents(r)
	for n := 1; err == nil; n++ {
		var data []byte
		var bad error
		if data, bad, err = next(); err != nil {
			break
		}
		at := Source{File: file, Document: n}
		if bad == nil {
			bad = m.add(at, data)
		}
		if bad != nil {
			errs = append(errs, fmt.Errorf("%s: %w", at, bad))
		}
	}
	if !errors.Is(err, io.EOF) {
		errs = append(errs, fmt.Errorf("%s: %w", file, err))
	}
	return errs
}

// documents returns the documents of a stream as JSON, one at a call. bad is the fault of one document; err ends the
// stream.
func documents(r io.Reader) (next func() (data []byte, bad, err error), err error) {
	// All at once, since a fault of the disk must not pass for the end of the file.
	all, err := readAll(r)
	if err != nil {
		return nil, err
	}
	parts := split(utf8Of(all))
	var stream *json.Decoder
	return func() ([]byte, error, error) {
		for {
			if stream != nil {
				var data json.RawMessage
				if err := stream.Decode(&data); err == nil {
					return data, checkSize(data), nil
				}
				stream = nil // its values were tried before
			}
			if len(parts) == 0 {
				return nil, nil, io.EOF
			}
			part := parts[0]
			parts = parts[1:]
			if utilyaml.IsJSONBuffer(part) && isJSON(part) {
				stream = json.NewDecoder(bytes.NewReader(part))
				continue
			}
			if behindSeparator(part) {
				return nil, errors.New("kubectl takes nothing but a comment behind ---: begin the document on the next line"), nil
			}
			if bad := checkSize(part); bad != nil {
				return nil, bad, nil
			}
			data, bad := yaml.YAMLToJSONStrict(part)
			// Comments alone are not a document.
			if bad != nil || string(data) != "null" {
				return data, bad, nil
			}
		}
	}, nil
}

// isJSON says whether all of data is JSON, of one value or several. What only begins like it is YAML.
func isJSON(data []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// add adds one document, or every item of a List.
func (m *Manifests) add(at Source, data []byte) error {
	var value any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &value); err != nil {
		return err
	}
	content, ok := value.(map[string]any)
	if !ok {
		return errors.New("not a Kubernetes object: apiVersion and kind are required")
	}
	if items, isList := listed(content); isList {
		return m.addItems(&at, items)
	}
	kind, version := text(content["kind"]), text(content["apiVersion"])
	group, known := parseGroup(version)
	if !known {
		m.Skipped[kind]++
		if version == "v1" && kind == "Namespace" {
			return m.addNamespace(data)
		}
		return nil
	}
	if err := m.keep(data); err != nil {
		return err
	}
	m.objects = append(m.objects, m.schemas.object(at, group, kind, content, data))
	return nil
}

// addItems adds the items of a List, and of Lists in it. It counts them in at.
func (m *Manifests) addItems(at *Source, items []any) error {
	var errs []error
	for _, item := range items {
		content, _ := item.(map[string]any)
		if inner, isList := listed(content); isList {
			errs = append(errs, m.addItems(at, inner))
			continue
		}
		at.Item++
		data, err := json.Marshal(item)
		if err == nil {
			err = m.add(*at, data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("item %d: %w", at.Item, err))
		}
	}
	return errors.Join(errs...)
}

// listed are the items of a List: one of anything, or of our kinds.
func listed(content map[string]any) ([]any, bool) {
	items, ok := content["items"].([]any)
	version := text(content["apiVersion"])
	_, known := parseGroup(version)
	return items, ok && strings.HasSuffix(text(content["kind"]), "List") && (known || version == "v1")
}

// parseGroup reads an apiVersion, and says whether it is that of the kinds that lint judges.
func parseGroup(version string) (group schema.GroupVersion, known bool) {
	group, err := schema.ParseGroupVersion(version)
	return group, err == nil && group.Group == v1alpha1.GroupVersion.Group
}

// addNamespace adds what an inventory is judged by. The Namespace itself is skipped.
func (m *Manifests) addNamespace(data []byte) error {
	var namespace metav1.PartialObjectMetadata
	if err := json.Unmarshal(data, &namespace); err != nil {
		return err
	}
	if err := m.keep(data); err != nil {
		return err
	}
	m.namespaces = append(m.namespaces, &namespace.ObjectMeta)
	return nil
}

func text(value any) string {
	s, _ := value.(string)
	return s
}
