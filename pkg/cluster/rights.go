package cluster

import (
	"cmp"
	"context"

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

// Allowed asks the API server whether the caller has each of the rights; the answers are in the order of
// the questions. An administrator has them all, which one question shows; of others all questions are asked at once.
func (c *Conn) Allowed(ctx context.Context, rights []Right) ([]bool, error) {
	answers := make([]bool, len(rights))
	all, err := c.allowed(ctx, everything)
	if err != nil {
		return answers, err
	}
	if all {
		for i := range answers {
			answers[i] = true
		}
		return answers, nil
	}
	errs := ForEach(len(rights), func(i int) (err error) { answers[i], err = c.allowed(ctx, rights[i]); return err })
	return answers, cmp.Or(errs...)
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
