package cases

import (
	"bytes"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Host is the host before the change, and nothing else.
func (c Case) Host() *rules.Index {
	x := rules.NewIndex()
	for _, f := range c.Federations {
		x.SetFederation(f)
	}
	for _, m := range c.Members {
		x.SetMember(m)
	}
	for _, n := range c.Namespaces {
		x.SetNamespace(n)
	}
	return x
}

// Judge is what the rules say of the change.
func (c Case) Judge() rules.Verdict {
	s := rules.Snapshot{Now: Now, Host: c.Host()}
	if c.Member != nil {
		return rules.JudgeMember(s, *c.Member)
	}
	return rules.JudgeFederation(s, *c.Federation)
}

// Error is a verdict on the change as an API server words it; nil when nothing was refused.
func (c Case) Error(v rules.Verdict) error {
	if c.Member != nil {
		return v.Error(rules.KindMemberCluster, c.Member.New.Name)
	}
	if c.Federation.New == nil {
		return v.Error(rules.KindFederation, c.Federation.Old.Name)
	}
	return v.Error(rules.KindFederation, c.Federation.New.Name)
}

// Written is the object that the change writes; nil when it deletes one.
func (c Case) Written() metav1.Object {
	switch {
	case c.Member != nil:
		return c.Member.New
	case c.Federation.New != nil:
		return c.Federation.New
	}
	return nil
}

// Creates says whether the object is new to the host.
func (c Case) Creates() bool {
	if c.Member != nil {
		return c.Member.Old == nil
	}
	return c.Federation.Old == nil
}

// Manifests are a file with what is on the host, and the object that is written in the last document. There is none for a
// deletion.
func (c Case) Manifests() []byte {
	written := c.Written()
	if written == nil {
		return nil
	}
	var file bytes.Buffer
	for _, n := range c.Namespaces {
		file.Write(document("v1", "Namespace", n.Name, metav1.PartialObjectMetadata{ObjectMeta: *n}))
	}
	for _, f := range c.Federations {
		if c.Member != nil || f.Name != written.GetName() {
			file.Write(Manifest(f))
		}
	}
	for _, m := range c.Members {
		if c.Federation != nil || m.Name != written.GetName() {
			file.Write(Manifest(m))
		}
	}
	file.Write(Manifest(written))
	return file.Bytes()
}

// Manifest is a Federation or a MemberCluster as a document of a YAML file.
func Manifest(o metav1.Object) []byte {
	kind := "MemberCluster"
	if _, is := o.(*v1alpha1.Federation); is {
		kind = "Federation"
	}
	return document(v1alpha1.GroupVersion.String(), kind, o.GetName(), o)
}

func document(apiVersion, kind, name string, o any) []byte {
	content := map[string]any{}
	data, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(data, &content)
	}
	content["apiVersion"], content["kind"] = apiVersion, kind
	if err == nil {
		data, err = yaml.Marshal(content)
	}
	if err != nil {
		panic(fmt.Sprintf("%s %s: %s", kind, name, err))
	}
	return append([]byte("---\n"), data...)
}
