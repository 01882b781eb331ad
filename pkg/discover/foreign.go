package discover

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// secretReads is how many Secrets are read at once: the host has others to serve.
const secretReads = 20

// holder is the API server that has the objects.
func (e Environment) holder() *host.Cluster {
	if e.Elsewhere != nil {
		return e.Elsewhere
	}
	return e.Host
}

// objects reads the objects of each of a source's kinds. An error beside them says which could not be read.
func (e Environment) objects(ctx context.Context, source SourceName) ([][]unstructured.Unstructured, error) {
	row := source.row()
	objects, served := make([][]unstructured.Unstructured, len(row.Kinds)), make([]bool, len(row.Kinds))
	errs := cluster.ForEach(len(row.Kinds), func(i int) (err error) {
		objects[i], served[i], err = e.ofKind(ctx, row, row.Kinds[i])
		return err
	})
	err := errors.Join(errs...)
	if err == nil && !slices.Contains(served, true) {
		objects, err = nil, &NotServed{source}
	}
	if i := slices.Index(served, false); err == nil && e.AllKinds && i >= 0 {
		err = fmt.Errorf("host: source %s: the host serves no %s", source, row.Kinds[i][0].GroupResource())
	}
	return objects, e.at(err)
}

// at names the API server of the objects in an error, where that is not the host.
func (e Environment) at(err error) error {
	if err == nil || e.Elsewhere == nil {
		return err
	}
	return fmt.Errorf("context %q: %w", e.Context, err)
}

// ofKind reads the objects of one kind. What cannot be read of a namespace keeps nothing else from being read.
func (e Environment) ofKind(ctx context.Context, row SourceType, versions []cluster.Resource) (objects []unstructured.Unstructured, served bool, err error) {
	kind, served, err := e.holder().Served(ctx, versions...)
	if !served || err != nil {
		return nil, false, err
	}
	namespaces := e.Namespaces
	if namespaces == nil || slices.Contains(row.ClusterWide, versions[0]) {
		namespaces = []string{""} // all
	}
	lists := make([][]unstructured.Unstructured, len(namespaces))
	errs := cluster.ForEach(len(namespaces), func(i int) (err error) {
		o := row.Select
		o.Namespace = namespaces[i]
		lists[i], err = e.holder().Foreign(ctx, kind, o)
		if err != nil && o.Namespace != "" && !cluster.IsNotServed(err) {
			err = &NamespaceError{o.Namespace, err}
		}
		return err
	})
	if slices.ContainsFunc(errs, cluster.IsNotServed) {
		return nil, false, nil
	}
	objects = slices.Concat(lists...)
	if kind == cluster.Secrets {
		named, err := e.named(ctx, row.Select)
		objects, errs = append(objects, named...), append(errs, err)
	}
	return objects, true, errors.Join(errs...)
}

// NamespaceError says what could not be read of a source in one namespace.
type NamespaceError struct {
	Namespace string
	Err       error
}

func (e *NamespaceError) Error() string { return e.Err.Error() }

func (e *NamespaceError) Unwrap() error { return e.Err }

// In is the first error of a source's that concerns one of the namespaces; nil where there is none. Who may write in one namespace can
// have nothing be read of that, and of no other.
func In(err error, namespaces ...string) error {
	if all, joined := err.(interface{ Unwrap() []error }); joined {
		for _, err := range all.Unwrap() {
			if err := In(err, namespaces...); err != nil {
				return err
			}
		}
		return nil
	}
	if of, one := errors.AsType[*NamespaceError](err); one && !slices.Contains(namespaces, of.Namespace) {
		return nil
	}
	return err
}

// named reads the metadata of each of e.Secrets that o selects: the right to get a Secret gives none to list it.
func (e Environment) named(ctx context.Context, o cluster.ListOptions) (objects []unstructured.Unstructured, err error) {
	selector, err := labels.Parse(o.Labels)
	if err != nil {
		return nil, err
	}
	secrets := make([]*unstructured.Unstructured, len(e.Secrets))
	errs := cluster.ForEach(len(e.Secrets), func(i int) (err error) {
		if secrets[i], err = e.holder().ForeignMetadata(ctx, e.Secrets[i]); err != nil {
			err = &NamespaceError{e.Secrets[i].Namespace, err}
		}
		return err
	})
	for _, secret := range secrets {
		if secret != nil && selector.Matches(labels.Set(secret.GetLabels())) {
			objects = append(objects, *secret)
		}
	}
	return objects, errors.Join(errs...)
}

// objectSource is a source whose candidates need nothing but their objects and Secrets.
type objectSource struct {
	Environment
	name SourceName
}

// Candidates reads the objects, then their Secrets.
func (s objectSource) Candidates(ctx context.Context) ([]Candidate, error) {
	objects, err := s.objects(ctx, s.name)
	if objects == nil {
		return nil, err
	}
	candidates := s.name.row().Read(objects)
	s.open(ctx, candidates, nil)
	return candidates, err
}

// open reads the Secret of each candidate that is permitted and gives it a Connect, or an Err. The credential is changed by adapt
// first, if that is not nil.
func (e Environment) open(ctx context.Context, candidates []Candidate, adapt func(*Candidate, *kubeconfig.Access)) {
	now := time.Now()
	var group errgroup.Group
	group.SetLimit(secretReads)
	for i := range candidates {
		c := &candidates[i]
		for j := range c.Objects {
			c.Objects[j].Context = e.Context
		}
		if _, none := errors.AsType[*NoCredential](c.Err); none {
			c.Err = fmt.Errorf("host: %s: %w", c.Objects[0].Ref, c.Err)
		}
		if c.Err == nil && e.Permit != nil {
			c.Err = e.Permit(c)
		}
		if c.Err != nil || c.Connect != nil {
			continue
		}
		group.Go(func() error {
			secret, err := e.holder().ForeignSecret(ctx, host.ForeignSecret{Ref: c.Secret, Group: c.secretGroup})
			if err != nil {
				c.Err = err
				return nil
			}
			c.SecretVersion = secret.ResourceVersion
			access, err := c.access(secret, now)
			if err != nil {
				c.Err = err
				return nil
			}
			if adapt != nil {
				adapt(c, access)
			}
			c.Connect = func() (*member.Cluster, error) { return e.Connect(c, access.RESTConfig()) }
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
	for i := range candidates {
		candidates[i].Err = e.at(candidates[i].Err)
	}
}

// distinguish gives each of the candidates that share a name their own, by their ids. A name that others choose freely may
// be that of several clusters.
func distinguish(candidates []Candidate) {
	shared := map[string]int{}
	for i := range candidates {
		shared[candidates[i].Name]++
	}
	for i := range candidates {
		if c := &candidates[i]; shared[c.Name] > 1 {
			c.Base = c.Name
			c.Name += "/" + c.id
		}
	}
}

// foreignKind is a kind of another system. Kinds with the same resource in several versions are one entry of Kinds.
func foreignKind(group schema.GroupVersion, resource, kind string) cluster.Resource {
	return cluster.Resource{GroupVersionResource: group.WithResource(resource), Kind: kind}
}

// objectOf is an object that stands for a cluster, in the version in which it was read.
func objectOf(kind cluster.Resource, o *unstructured.Unstructured) Object {
	kind.Version = o.GroupVersionKind().Version
	return Object{Ref: kind.Of(o), UID: o.GetUID(), JoinRequest: v1alpha1.FederationName(o.GetLabels()[v1alpha1.LabelFederation])}
}

// standing are the objects that are not being deleted, by namespace and name.
func standing(objects []unstructured.Unstructured) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for i := range objects {
		if objects[i].GetDeletionTimestamp() == nil {
			all = append(all, &objects[i])
		}
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int { return strings.Compare(nameOf(a), nameOf(b)) })
	return all
}

// candidateOf is the candidate that an object stands for, as far as all sources read it alike.
func candidateOf(source SourceName, kind cluster.Resource, o *unstructured.Unstructured) Candidate {
	return Candidate{
		Source: source, Name: nameOf(o), Base: o.GetName(), Objects: []Object{objectOf(kind, o)}, Created: o.GetCreationTimestamp().Time, Labels: o.GetLabels(),
	}
}

// nameOf is an object's name, behind its namespace if it has one.
func nameOf(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

// secretRef is a Secret as a candidate names it.
func secretRef(namespace, name string) cluster.Ref {
	return cluster.Ref{Resource: cluster.Secrets, Namespace: namespace, Name: name}
}

// text is a string in an object of another system; empty where there is none, or something else.
func text(o *unstructured.Unstructured, path ...string) string {
	s, _, err := unstructured.NestedString(o.Object, path...)
	if err != nil {
		return ""
	}
	return s
}

// bytesIn are bytes in an object of another system, which JSON holds in base64; none where there are none.
func bytesIn(o *unstructured.Unstructured, path ...string) ([]byte, error) {
	value, found, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	if err != nil || !found || value == nil {
		return nil, nil
	}
	encoded, isText := value.(string)
	data, err := base64.StdEncoding.DecodeString(encoded)
	if !isText || err != nil {
		return nil, noCredential("its field %s is not base64", strings.Join(path, "."))
	}
	return data, nil
}

// objectsIn are the objects of a list in an object of another system; what else the list holds is left out.
func objectsIn(o *unstructured.Unstructured, path ...string) []unstructured.Unstructured {
	list, _, err := unstructured.NestedSlice(o.Object, path...)
	if err != nil {
		return nil
	}
	var all []unstructured.Unstructured
	for _, value := range list {
		if m, ok := value.(map[string]any); ok {
			all = append(all, unstructured.Unstructured{Object: m})
		}
	}
	return all
}

// isTrue is a boolean in an object of another system; false where there is none, or something else.
func isTrue(o *unstructured.Unstructured, path ...string) bool {
	b, _, err := unstructured.NestedBool(o.Object, path...)
	return b && err == nil
}

// hint is what a system reports of a cluster, with its own message if it has one.
func hint(report, message string) string {
	return strings.TrimSuffix(report+": "+cluster.Shortened(message), ": ")
}

// condition is the status of a condition of an object, and its message; both are empty where it has none.
func condition(o *unstructured.Unstructured, name string) (status, message string) {
	for _, c := range objectsIn(o, "status", "conditions") {
		if text(&c, "type") == name {
			return text(&c, "status"), text(&c, "message")
		}
	}
	return "", ""
}
