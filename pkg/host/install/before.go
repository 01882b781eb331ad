package install

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiversion "k8s.io/apimachinery/pkg/version"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// Before is a cluster as it is before an install.
type Before struct {
	// Kubernetes is the version of the API server that answered.
	Kubernetes string
	// ServerTime is what its clock showed, and LocalTime what this machine's did; ServerTime is zero where it did not say.
	ServerTime, LocalTime time.Time
	// Installed is the version that is installed; empty when none is.
	Installed string
	// Objects is how many objects an install applies, and Kinds of how many kinds they are.
	Objects, Kinds int
	// NotServed are the kinds of them that the API server does not serve.
	NotServed []cluster.Resource
	// Groups are the API groups that it serves.
	Groups []metav1.APIGroup
	// Lacking are the rights that an install uses and the caller does not have.
	Lacking []cluster.Right
	// Found are those of the objects that exist, without what the caller may not read.
	Found []Found
	// Tried is how many objects were sent as a dry run, and Refused are those that were refused.
	Tried   int
	Refused []Refused
}

// Found is an object that exists before an install.
type Found struct {
	Ref      cluster.Ref
	Labels   map[string]string
	Deleting bool
}

// Refused is an object that the API server does not take, and why.
type Refused struct {
	Ref cluster.Ref
	Err error
}

// ReadBefore reads a cluster before an install with options. It stores nothing: it asks, reads and sends dry runs.
func ReadBefore(ctx context.Context, h *host.Cluster, o manifests.Options) (*Before, error) {
	objects, err := manifests.Objects(o)
	if err != nil {
		return nil, err
	}
	var version apiversion.Info
	var clock cluster.Clock
	if err := h.GetPath(clock.Of(ctx), "/version", &version); err != nil {
		return nil, err
	}
	b := &Before{Kubernetes: version.GitVersion, ServerTime: clock.Now(), LocalTime: time.Now(), Objects: len(objects)}
	refs := make([]cluster.Ref, len(objects))
	for i, object := range objects {
		refs[i] = refOf(object)
	}
	var groups metav1.APIGroupList
	errs := cluster.Together(
		func() error { return b.readKinds(ctx, h, refs) },
		func() error { return h.GetPath(ctx, "/apis", &groups) },
		func() (err error) { b.Lacking, err = h.Lacking(ctx, rightsFor(refs, o)); return err },
		func() (err error) {
			if b.Installed, err = Version(ctx, h); apierrors.IsForbidden(err) {
				err = nil // it is among the rights that are lacking
			}
			return err
		},
	)
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	b.Groups = groups.Groups
	if err := b.find(ctx, h, refs); err != nil {
		return nil, err
	}
	return b, b.try(ctx, h, objects)
}

// rightsFor are the rights that an install uses: those on its objects and on its keys, and those of the probe at its end.
func rightsFor(refs []cluster.Ref, o manifests.Options) []cluster.Right {
	var rights []cluster.Right
	for _, ref := range refs {
		rights = append(rights, ref.Rights("get", "create", "patch")...)
	}
	if o.Certificates != manifests.CertificatesCertManager {
		rights = append(rights, KeysSecret.Rights("get", "create", "update")...)
	}
	return append(rights, host.EnforcingRights()...)
}

// readKinds asks which of the kinds are served.
func (b *Before) readKinds(ctx context.Context, h *host.Cluster, refs []cluster.Ref) error {
	var kinds []cluster.Resource
	var versions []schema.GroupVersion
	for _, ref := range refs {
		if !slices.Contains(kinds, ref.Resource) {
			kinds = append(kinds, ref.Resource)
		}
		if v := ref.Resource.GroupVersion(); !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	b.Kinds = len(kinds)
	served := make([]metav1.APIResourceList, len(versions))
	errs := cluster.ForEach(len(versions), func(i int) error {
		path := "/apis/" + versions[i].String()
		if versions[i].Group == "" {
			path = "/api/" + versions[i].Version
		}
		if err := h.GetPath(ctx, path, &served[i]); !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
	for _, kind := range kinds {
		list := served[slices.Index(versions, kind.GroupVersion())]
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == kind.Resource }) {
			b.NotServed = append(b.NotServed, kind)
		}
	}
	return cmp.Or(errs...)
}

// find reads which of the objects exist.
func (b *Before) find(ctx context.Context, h *host.Cluster, refs []cluster.Ref) error {
	found := make([]*metav1.PartialObjectMetadata, len(refs))
	errs := cluster.ForEach(len(refs), func(i int) (err error) {
		if found[i], err = h.FindMetadata(ctx, refs[i]); apierrors.IsForbidden(err) {
			err = nil
		}
		return err
	})
	for i, o := range found {
		if o != nil && errs[i] == nil {
			b.Found = append(b.Found, Found{refs[i], o.Labels, o.DeletionTimestamp != nil})
		}
	}
	return cmp.Or(errs...)
}

// try sends what the caller has the rights to as a dry run. It shows what no question does: a role that has more rights than the caller,
// and policies and webhooks of others. What is in a namespace that does not exist yet cannot be judged.
func (b *Before) try(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured) error {
	made := map[string]bool{} // namespaces and roles that init makes
	for _, o := range objects {
		if !slices.ContainsFunc(b.Found, func(f Found) bool { return f.Ref == refOf(o) }) {
			made[o.GetKind()+"/"+o.GetName()] = true
		}
	}
	objects = slices.DeleteFunc(slices.Clone(objects), func(o *unstructured.Unstructured) bool {
		ref := refOf(o)
		return made[cluster.Namespaces.Kind+"/"+ref.Namespace] || slices.Contains(b.NotServed, ref.Resource) ||
			slices.ContainsFunc(b.Lacking, func(r cluster.Right) bool { return r.Resource == ref.Resource && r.Namespace == ref.Namespace })
	})
	b.Tried = len(objects)
	errs := cluster.ForEach(len(objects), func(i int) error {
		o := objects[i]
		_, err := h.Apply(ctx, refOf(o).Resource, o, cluster.DryRunServer)
		kind, _, _ := unstructured.NestedString(o.Object, "roleRef", "kind")
		name, _, _ := unstructured.NestedString(o.Object, "roleRef", "name")
		if apierrors.IsNotFound(err) && made[kind+"/"+name] {
			return nil // the server reads the role for those who do not have the verb bind
		}
		return err
	})
	for i, err := range errs {
		answered := apierrors.APIStatus(nil)
		switch {
		case err == nil:
		case !errors.As(err, &answered):
			return err
		default:
			b.Refused = append(b.Refused, Refused{refOf(objects[i]), err})
		}
	}
	return nil
}
