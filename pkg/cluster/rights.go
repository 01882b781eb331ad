package cluster

import (
	"cmp"
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Right is one verb on one resource, as an API server judges it.
type Right struct {
	Verb        string
	Resource    Resource
	Subresource string
	Namespace   string
	Name        string
}

// Rights are the rights to do each of verbs with what r names.
func (r Ref) Rights(verbs ...string) []Right {
	rights := make([]Right, len(verbs))
	for i, verb := range verbs {
		rights[i] = Right{Verb: verb, Resource: r.Resource, Subresource: r.Subresource, Namespace: r.Namespace, Name: r.Name}
		if verb == "create" && r.Subresource == "" {
			rights[i].Name = "" // the name of an object is not known before it is made, so RBAC does not go by it
		}
	}
	return rights
}

// String names the right as an RBAC rule would: the verb, the resource with its group, and where.
func (r Right) String() string {
	if r == everything {
		return "do everything"
	}
	s := r.Verb + " " + r.Resource.Resource
	if r.Subresource != "" {
		s += "/" + r.Subresource
	}
	if r.Resource.Group != "" {
		s += "." + r.Resource.Group
	}
	if r.Name != "" {
		s += " " + Quoted(r.Name)
	}
	if r.Namespace != "" {
		s += " in namespace " + Quoted(r.Namespace)
	}
	return s
}

var accessReviews = resource(schema.GroupVersion{Group: "authorization.k8s.io", Version: "v1"}, "selfsubjectaccessreviews", "SelfSubjectAccessReview")

// everything is the right of an administrator. RBAC knows no other way to hold it than a rule that gives it whole.
var everything = Right{Verb: "*", Resource: Resource{GroupVersionResource: schema.GroupVersionResource{Group: "*", Resource: "*"}}}

// Lacking asks the API server which of rights the caller does not have, each once and in their order. An administrator has
// them all, which one request shows; for other callers there is a request for each right, all at once.
func (c *Conn) Lacking(ctx context.Context, rights []Right) ([]Right, error) {
	if all, err := c.HasAllRights(ctx); all || err != nil {
		return nil, err
	}
	return c.LackingOf(ctx, rights)
}

// HasAllRights says whether the caller is an administrator, who need not be asked for single rights.
func (c *Conn) HasAllRights(ctx context.Context) (bool, error) { return c.allowed(ctx, everything) }

// LackingOf is Lacking for a caller who is no administrator.
func (c *Conn) LackingOf(ctx context.Context, rights []Right) ([]Right, error) {
	var distinct []Right
	for _, r := range rights {
		if !slices.Contains(distinct, r) {
			distinct = append(distinct, r)
		}
	}
	may := make([]bool, len(distinct))
	errs := ForEach(len(distinct), func(i int) (err error) { may[i], err = c.allowed(ctx, distinct[i]); return err })
	var lacking []Right
	for i, r := range distinct {
		if !may[i] {
			lacking = append(lacking, r)
		}
	}
	return lacking, cmp.Or(errs...)
}

// Identity is who an API server takes a caller for.
type Identity struct {
	Name   string
	Groups []string
}

var selfReviews = resource(schema.GroupVersion{Group: "authentication.k8s.io", Version: "v1"}, "selfsubjectreviews", "SelfSubjectReview")

// Caller asks the API server who it takes the caller for. Kubernetes before 1.28 cannot say.
func (c *Conn) Caller(ctx context.Context) (Identity, error) {
	review := &unstructured.Unstructured{Object: map[string]any{"apiVersion": selfReviews.GroupVersion().String(), "kind": selfReviews.Kind}}
	answer, err := c.Create(ctx, selfReviews, review, DryRunNone)
	if err != nil {
		return Identity{}, err
	}
	name, _, _ := unstructured.NestedString(answer.Object, "status", "userInfo", "username")
	groups, _, _ := unstructured.NestedStringSlice(answer.Object, "status", "userInfo", "groups")
	return Identity{Name: name, Groups: groups}, nil
}

func (c *Conn) allowed(ctx context.Context, r Right) (bool, error) {
	attributes := map[string]any{
		"verb": r.Verb, "group": r.Resource.Group, "version": r.Resource.Version, "resource": r.Resource.Resource,
		"subresource": r.Subresource, "namespace": r.Namespace, "name": r.Name,
	}
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": accessReviews.GroupVersion().String(), "kind": accessReviews.Kind,
		"spec": map[string]any{"resourceAttributes": attributes},
	}}
	answer, err := c.dyn.Resource(accessReviews.GroupVersionResource).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, c.fail("ask for the right to "+r.String(), Ref{}, err)
	}
	allowed, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, nil
}
