package discover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// secretReads is how many Secrets are read at once: the host has others to serve.
const secretReads = 20

// objects reads the objects of each of a source's kinds. An error beside them says which could not be read.
func (e Environment) objects(ctx context.Context, source SourceName) ([][]unstructured.Unstructured, error) {
	kinds := source.row().Kinds
	objects, served := make([][]unstructured.Unstructured, len(kinds)), make([]bool, len(kinds))
	errs := cluster.ForEach(len(kinds), func(i int) (err error) { objects[i], served[i], err = e.Host.Foreign(ctx, kinds[i]...); return err })
	err := errors.Join(errs...)
	if err == nil && !slices.Contains(served, true) {
		return nil, &NotServed{source}
	}
	return objects, err
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
		if c.Err == nil && e.Permit != nil {
			c.Err = e.Permit(c)
		}
		if c.Err != nil || c.Connect != nil {
			continue
		}
		group.Go(func() error {
			data, err := e.Host.ForeignKubeconfig(ctx, host.ForeignSecret{Ref: c.Secret, Group: c.secretGroup})
			if err != nil {
				c.Err = err
				return nil
			}
			access, err := parse(data, c.Secret, now, c.Source)
			if err != nil {
				c.Err = err
				return nil
			}
			if adapt != nil {
				adapt(c, access)
			}
			c.Connect = func() (*member.Cluster, error) { return e.Connect(access.RESTConfig()) }
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
}

// parse reads a way to a cluster out of another system's Secret, by the strict loader only: those who may write the Secret
// could otherwise have us run a command or read a file.
func parse(data []byte, secret cluster.Ref, now time.Time, source SourceName) (*kubeconfig.Access, error) {
	access, err := kubeconfig.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("host: %s: %w", secret, err)
	}
	if end, known := access.Expiry(); known && !end.After(now) {
		return nil, fmt.Errorf("host: %s: its credential expired at %s; %s", secret, end.UTC().Format(time.RFC3339), source.row().Renewal)
	}
	return access, nil
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
//
//nolint:unparam // the two systems of today both call it a cluster
func foreignKind(group schema.GroupVersion, resource, kind string) cluster.Resource {
	return cluster.Resource{GroupVersionResource: group.WithResource(resource), Kind: kind}
}

// objectOf is an object that stands for a cluster, in the version in which it was read.
func objectOf(kind cluster.Resource, o *unstructured.Unstructured) Object {
	kind.Version = o.GroupVersionKind().Version
	return Object{Ref: kind.Of(o), UID: o.GetUID(), JoinRequest: v1alpha1.FederationName(o.GetLabels()[v1alpha1.LabelFederation])}
}

// text is a string in an object of another system; empty where there is none, or something else.
func text(o *unstructured.Unstructured, path ...string) string {
	s, _, err := unstructured.NestedString(o.Object, path...)
	if err != nil {
		return ""
	}
	return s
}

// isTrue is a boolean in an object of another system; false where there is none, or something else.
func isTrue(o *unstructured.Unstructured, path ...string) bool {
	b, _, err := unstructured.NestedBool(o.Object, path...)
	return b && err == nil
}

// condition is the status of a condition of an object, and its message; both are empty where it has none.
func condition(o *unstructured.Unstructured, name string) (status, message string) {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return "", ""
	}
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == name {
			status, _ = c["status"].(string)
			message, _ = c["message"].(string)
			return status, message
		}
	}
	return "", ""
}
