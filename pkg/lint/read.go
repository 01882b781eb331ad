package lint

import (
	"bufio"
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
	// PassedOver counts the objects of other kinds, by kind. What has no kind is counted as "".
	PassedOver map[string]int
}

// NewManifests is an empty set.
func NewManifests(s *Schemas) *Manifests {
	return &Manifests{schemas: s, PassedOver: map[string]int{}}
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
	all, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if utilyaml.IsJSONBuffer(all) {
		decoder := json.NewDecoder(bytes.NewReader(all))
		return func() ([]byte, error, error) {
			var data json.RawMessage
			err := decoder.Decode(&data)
			return data, nil, err
		}, nil
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(all)))
	return func() ([]byte, error, error) {
		for {
			document, err := reader.Read()
			if err != nil {
				return nil, nil, err
			}
			data, bad := yaml.YAMLToJSONStrict(document)
			// Comments alone are not a document.
			if bad != nil || string(data) != "null" {
				return data, bad, nil
			}
		}
	}, nil
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
	kind, version := text(content["kind"]), text(content["apiVersion"])
	group, err := schema.ParseGroupVersion(version)
	known := err == nil && group.Group == v1alpha1.GroupVersion.Group
	if items, isList := content["items"].([]any); isList && strings.HasSuffix(kind, "List") && at.Item == 0 && (known || version == "v1") {
		var errs []error
		for i, item := range items {
			inner := at
			inner.Item = i + 1
			data, err := json.Marshal(item)
			if err == nil {
				err = m.add(inner, data)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("item %d: %w", i+1, err))
			}
		}
		return errors.Join(errs...)
	}
	if !known {
		m.PassedOver[kind]++
		if version == "v1" && kind == "Namespace" {
			return m.addNamespace(data)
		}
		return nil
	}
	m.objects = append(m.objects, m.schemas.object(at, group, kind, content, data))
	return nil
}

// addNamespace adds what an inventory is judged by. The Namespace itself is passed over.
func (m *Manifests) addNamespace(data []byte) error {
	var namespace metav1.PartialObjectMetadata
	if err := json.Unmarshal(data, &namespace); err != nil {
		return err
	}
	m.namespaces = append(m.namespaces, &namespace.ObjectMeta)
	return nil
}

func text(value any) string {
	s, _ := value.(string)
	return s
}
