package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Kind is a kind that an API server serves.
type Kind struct {
	Resource
	Namespaced bool
	// Singular and Short are its other names.
	Singular string
	Short    []string
	listed   bool
}

// BuiltinKinds are the names of the kinds that FindKind knows without a request.
func BuiltinKinds() []string {
	names := make([]string, len(builtinKinds))
	for i := range builtinKinds {
		names[i] = builtinKinds[i].Resource.Resource
	}
	return names
}

// UnknownKind is the error of a kind that an API server does not serve.
type UnknownKind struct {
	Side Side
	Name string
}

func (e *UnknownKind) Error() string {
	return fmt.Sprintf("%s: it does not serve the kind %s", e.Side, Quoted(e.Name))
}

// FindKind finds a kind by a name as kubectl takes it: "pods", "po", "deployments.apps", "widgets.v1.example.com". Those that every
// Kubernetes serves cost no request. The error of one that is not served is an *UnknownKind.
func (c *Conn) FindKind(ctx context.Context, name string) (Kind, error) {
	if k, ok := pick(builtinKinds, name); ok {
		return k, nil
	}
	kinds, err := c.kinds(ctx)
	if err != nil {
		return Kind{}, err
	}
	k, ok := pick(kinds, name)
	if !ok {
		return k, &UnknownKind{c.side, name}
	}
	if !k.listed {
		return k, fmt.Errorf("%s: objects of kind %s cannot be listed", c.side, Quoted(name))
	}
	return k, nil
}

// pick is the first kind of that name; a whole name goes before a short one, as in kubectl.
func pick(kinds []Kind, name string) (Kind, bool) {
	word, of, _ := strings.Cut(strings.ToLower(name), ".")
	within := func(k *Kind) bool { return of == "" || of == k.Group || of == k.Version+"."+k.Group }
	for _, named := range []func(k *Kind) bool{
		func(k *Kind) bool {
			return word == k.Resource.Resource || word == k.Singular || word == strings.ToLower(k.Kind)
		},
		func(k *Kind) bool { return slices.Contains(k.Short, word) },
	} {
		for i := range kinds {
			if k := &kinds[i]; within(k) && named(k) {
				return *k, true
			}
		}
	}
	return Kind{}, false
}

// served is one version of a group, in the document that has all of them (KEP-3352), and in that of a version alone.
type served struct {
	Version   string `json:"version"`
	Resources []struct {
		// Resource and Name are the same, in the one and in the other document.
		Resource     string                  `json:"resource"`
		Name         string                  `json:"name"`
		ResponseKind metav1.GroupVersionKind `json:"responseKind"`
		Kind         string                  `json:"kind"`
		Scope        string                  `json:"scope"`
		Namespaced   bool                    `json:"namespaced"`
		Singular     string                  `json:"singularResource"`
		SingularName string                  `json:"singularName"`
		Short        []string                `json:"shortNames"`
		Verbs        []string                `json:"verbs"`
	} `json:"resources"`
}

// groups is /api or /apis: all groups with what they serve, or, of a server before 1.26, their names alone.
type groups struct {
	Items []struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Versions []served          `json:"versions"`
	} `json:"items"`
	Groups []metav1.APIGroup `json:"groups"`
}

const (
	allGroups = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
	oneGroup  = "application/json"
)

// kinds are all that the server serves, in the order in which it prefers them.
func (c *Conn) kinds(ctx context.Context) ([]Kind, error) {
	var core, others groups
	for _, err := range Together(
		func() error { return c.document(ctx, "/api", allGroups, &core) },
		func() error { return c.document(ctx, "/apis", allGroups, &others) },
	) {
		if err != nil {
			return nil, err
		}
	}
	var kinds []Kind
	for _, g := range slices.Concat(core.Items, others.Items) {
		for i := range g.Versions {
			kinds = g.Versions[i].add(kinds, g.Metadata.Name)
		}
	}
	if len(kinds) > 0 {
		return kinds, nil
	}
	return c.kindsByVersion(ctx, others.Groups)
}

// kindsByVersion asks for each group alone.
func (c *Conn) kindsByVersion(ctx context.Context, groups []metav1.APIGroup) ([]Kind, error) {
	versions := []schema.GroupVersion{{Version: "v1"}}
	for _, g := range groups {
		if v, err := schema.ParseGroupVersion(g.PreferredVersion.GroupVersion); err == nil {
			versions = append(versions, v)
		}
	}
	const most = 500
	versions = versions[:min(len(versions), most)]
	answers := make([]served, len(versions))
	errs := ForEach(len(versions), func(i int) error {
		answers[i].Version = versions[i].Version
		path := "/apis/" + versions[i].String()
		if versions[i].Group == "" {
			path = "/api/" + versions[i].Version
		}
		return c.document(ctx, path, oneGroup, &answers[i])
	})
	var kinds []Kind
	for i := range answers {
		kinds = answers[i].add(kinds, versions[i].Group)
	}
	if len(kinds) == 0 { // an aggregated API that does not answer hides no other
		return nil, errors.Join(errs...)
	}
	return kinds, nil
}

// add appends what a version of a group serves, without subresources and what is no name.
func (s *served) add(kinds []Kind, group string) []Kind {
	for _, r := range s.Resources {
		name := r.Resource + r.Name
		if len(validation.IsDNS1035Label(name)) > 0 || len(validation.IsDNS1035Label(s.Version)) > 0 || group != "" && len(validation.IsDNS1123Subdomain(group)) > 0 {
			continue
		}
		kinds = append(kinds, Kind{
			Resource:   resource(schema.GroupVersion{Group: group, Version: s.Version}, name, r.ResponseKind.Kind+r.Kind),
			Namespaced: r.Namespaced || r.Scope == "Namespaced",
			Singular:   r.Singular + r.SingularName,
			Short:      r.Short,
			listed:     slices.Contains(r.Verbs, "list"),
		})
	}
	return kinds
}

// document reads a document of discovery, which may be as large as a page of a list.
func (c *Conn) document(ctx context.Context, path, accept string, into any) error {
	body, err := bodyOf(c.rest.Get().AbsPath(path).SetHeader("Accept", accept).Do(withLimit(ctx, pageLimit)))
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	return c.fail("get", Ref{Path: path}, err)
}

// builtin is a kind of Kubernetes itself.
func builtin(groupVersion schema.GroupVersion, plural, kind string, namespaced bool, short ...string) Kind {
	return Kind{Resource: resource(groupVersion, plural, kind), Namespaced: namespaced, Singular: strings.ToLower(kind), Short: short, listed: true}
}

var (
	appsV1        = schema.GroupVersion{Group: "apps", Version: "v1"}
	batchV1       = schema.GroupVersion{Group: "batch", Version: "v1"}
	autoscalingV2 = schema.GroupVersion{Group: "autoscaling", Version: "v2"}
	networkingV1  = schema.GroupVersion{Group: "networking.k8s.io", Version: "v1"}
	policyV1      = schema.GroupVersion{Group: "policy", Version: "v1"}
	storageV1     = schema.GroupVersion{Group: "storage.k8s.io", Version: "v1"}
	discoveryV1   = schema.GroupVersion{Group: "discovery.k8s.io", Version: "v1"}
	extensionsV1  = schema.GroupVersion{Group: "apiextensions.k8s.io", Version: "v1"}
)

// builtinKinds are those that people look for, in versions that every member serves, Kubernetes 1.24 or newer.
var builtinKinds = []Kind{
	builtin(coreV1, "pods", "Pod", true, "po"),
	builtin(coreV1, "services", "Service", true, "svc"),
	builtin(coreV1, "configmaps", "ConfigMap", true, "cm"),
	builtin(coreV1, "secrets", "Secret", true),
	builtin(coreV1, "namespaces", "Namespace", false, "ns"),
	builtin(coreV1, "nodes", "Node", false, "no"),
	builtin(coreV1, "events", "Event", true, "ev"),
	builtin(coreV1, "serviceaccounts", "ServiceAccount", true, "sa"),
	builtin(coreV1, "persistentvolumes", "PersistentVolume", false, "pv"),
	builtin(coreV1, "persistentvolumeclaims", "PersistentVolumeClaim", true, "pvc"),
	builtin(coreV1, "resourcequotas", "ResourceQuota", true, "quota"),
	builtin(coreV1, "limitranges", "LimitRange", true, "limits"),
	builtin(appsV1, "deployments", "Deployment", true, "deploy"),
	builtin(appsV1, "statefulsets", "StatefulSet", true, "sts"),
	builtin(appsV1, "daemonsets", "DaemonSet", true, "ds"),
	builtin(appsV1, "replicasets", "ReplicaSet", true, "rs"),
	builtin(batchV1, "jobs", "Job", true),
	builtin(batchV1, "cronjobs", "CronJob", true, "cj"),
	builtin(autoscalingV2, "horizontalpodautoscalers", "HorizontalPodAutoscaler", true, "hpa"),
	builtin(networkingV1, "ingresses", "Ingress", true, "ing"),
	builtin(networkingV1, "networkpolicies", "NetworkPolicy", true, "netpol"),
	builtin(policyV1, "poddisruptionbudgets", "PodDisruptionBudget", true, "pdb"),
	builtin(discoveryV1, "endpointslices", "EndpointSlice", true),
	builtin(storageV1, "storageclasses", "StorageClass", false, "sc"),
	builtin(rbacV1, "roles", "Role", true),
	builtin(rbacV1, "rolebindings", "RoleBinding", true),
	builtin(rbacV1, "clusterroles", "ClusterRole", false),
	builtin(rbacV1, "clusterrolebindings", "ClusterRoleBinding", false),
	builtin(extensionsV1, "customresourcedefinitions", "CustomResourceDefinition", false, "crd", "crds"),
}
