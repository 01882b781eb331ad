package host

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Discovery says whether the discovery controller can do what federations ask of it.
type Discovery struct {
	// Installed says that its account is there.
	Installed bool
	// Deployed says that it runs in pods of the host, and Available how many of them are.
	Deployed  bool
	Available int64
	// NotGranted are the federations that its account may not join clusters to, of those that were asked about, and LeaveNotGranted
	// those that it may not let members leave, though spec.discovery.whenGone says so.
	NotGranted, LeaveNotGranted []v1alpha1.FederationName
}

// DiscoveryDeploymentRef names the Deployment of the discovery controller.
func DiscoveryDeploymentRef() cluster.Ref {
	return cluster.Ref{
		Resource: cluster.Deployments, Namespace: v1alpha1.HostNamespace, Name: manifests.DiscoveryDeployment,
	}
}

// Discovery reads the discovery controller, and asks what its account may do in federations with spec.discovery, which takes the right to
// ask that of others.
func (c *Cluster) Discovery(ctx context.Context, federations []*v1alpha1.Federation) (d Discovery, err error) {
	account, err := c.Find(ctx, cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.HostNamespace, Name: v1alpha1.DiscoveryAccount})
	if err != nil || account == nil {
		return d, err
	}
	d.Installed = true
	o, err := c.Find(ctx, DiscoveryDeploymentRef())
	if err != nil {
		return d, err
	}
	if o != nil {
		d.Deployed = true
		if d.Available, _, err = unstructured.NestedInt64(o.Object, "status", "availableReplicas"); err != nil {
			return d, err
		}
	}
	type question struct {
		federation v1alpha1.FederationName
		verb       string
		lacking    *[]v1alpha1.FederationName
	}
	var questions []question
	for _, f := range federations {
		name := v1alpha1.FederationName(f.Name)
		questions = append(questions, question{name, v1alpha1.VerbDiscover, &d.NotGranted})
		if f.Spec.Discovery.WhenGone == v1alpha1.GoneLeave {
			questions = append(questions, question{name, v1alpha1.VerbLeave, &d.LeaveNotGranted})
		}
	}
	may := make([]bool, len(questions))
	errs := cluster.ForEach(len(questions), func(i int) (err error) {
		may[i], err = c.discoveryMay(ctx, questions[i].verb, questions[i].federation)
		return err
	})
	for i, err := range errs {
		if err != nil {
			return d, err
		}
		if q := questions[i]; !may[i] {
			*q.lacking = append(*q.lacking, q.federation)
		}
	}
	return d, nil
}

var subjectReviews = cluster.Resource{
	GroupVersionResource: schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}, Kind: "SubjectAccessReview",
}

// discoveryMay says whether the controller's account has a verb on a federation.
func (c *Cluster) discoveryMay(ctx context.Context, verb string, federation v1alpha1.FederationName) (bool, error) {
	const accounts = "system:serviceaccounts"
	answer, err := c.Create(ctx, subjectReviews, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": subjectReviews.GroupVersion().String(), "kind": subjectReviews.Kind,
		"spec": map[string]any{
			"user":   "system:serviceaccount:" + v1alpha1.HostNamespace + ":" + v1alpha1.DiscoveryAccount,
			"groups": []any{accounts, accounts + ":" + v1alpha1.HostNamespace, "system:authenticated"},
			"resourceAttributes": map[string]any{
				"verb": verb, "group": v1alpha1.GroupVersion.Group, "version": v1alpha1.GroupVersion.Version, "resource": "federations", "name": string(federation),
			},
		},
	}}, cluster.DryRunNone)
	if err != nil {
		return false, err
	}
	allowed, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, nil
}
