//go:build unix

package admission

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

const (
	credentialsPolicy = "credentials.kubefederate.io"
	// Longer than the value of a label may be, as every kubeconfig is.
	hush = "hush-this-is-the-credential-which-only-the-manager-may-read-since-it-opens-a-whole-cluster"
)

// credential is what join stores for a member.
func credential(m *v1alpha1.MemberCluster) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1alpha1.CredentialsNamespace, Name: m.Name,
			Labels: map[string]string{v1alpha1.LabelFederation: string(m.Federation()), v1alpha1.LabelMember: m.Name},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "MemberCluster", Name: m.Name, UID: m.UID,
			}},
		},
		Type: v1alpha1.CredentialType,
		Data: map[string][]byte{v1alpha1.CredentialKey: []byte(hush)},
	}
}

// TestCredentials goes through what a joiner of one federation may do to credentials.
func TestCredentials(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("gold"), fed("silver"))
	gold, silver, fresh := member("gold-1", "gold"), member("silver-1", "silver"), member("gold-2", "gold")
	for _, m := range []*v1alpha1.MemberCluster{gold, silver, fresh} {
		h.create(t, m)
	}
	h.create(t, credential(gold), credential(silver))
	grace := h.user(t, "grace", manifests.JoinerBinding("gold", subject("grace")))

	create := func(edit func(*corev1.Secret)) func() error {
		return func() error {
			s := credential(fresh)
			edit(s)
			return grace.Create(t.Context(), s, client.DryRunAll)
		}
	}
	update := func(m *v1alpha1.MemberCluster, edit func(*corev1.Secret)) func() error {
		return func() error {
			s := credential(m)
			edit(s)
			return grace.Update(t.Context(), s, client.DryRunAll)
		}
	}
	no := func(name, message string) string { return denied(credentialsPolicy, "secrets", name, message) }
	bad := func(name, message string) string { return faulty(credentialsPolicy, "secrets", name, message) }
	rbac := func(verb, name string) string {
		return fmt.Sprintf(`403 secrets %q is forbidden: User "grace" cannot %s resource "secrets" in API group "" in the namespace "kubefederate-credentials"`, name, verb)
	}
	const one = `the one ownerReference must be MemberCluster "gold-2": the credential goes when its member goes`

	for name, test := range map[string]struct {
		request func() error
		want    string
	}{
		"stores":         {create(func(*corev1.Secret) {}), ""},
		"replaces":       {update(gold, func(s *corev1.Secret) { s.Data["kubeconfig"] = []byte("new") }), ""},
		"replaces alike": {update(gold, func(*corev1.Secret) {}), ""},

		"for another federation": {update(silver, func(*corev1.Secret) {}), no("silver-1", `user "grace" may not write credentials of members of federation "silver": it takes the verb join on federations/silver`)},
		"takes over":             {update(silver, func(s *corev1.Secret) { s.Labels[v1alpha1.LabelFederation] = "gold" }), no("silver-1", `user "grace" may not change or delete a credential of members of federation "silver": it takes the verb join on federations/silver`)},
		"gives away":             {update(gold, func(s *corev1.Secret) { s.Labels[v1alpha1.LabelFederation] = "silver" }), no("gold-1", `user "grace" may not write credentials of members of federation "silver": it takes the verb join on federations/silver`)},
		"without federation":     {create(func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelFederation) }), bad("gold-2", "the label kubefederate.io/federation is missing: it names the federation whose member this credential is for")},
		"of another member":      {create(func(s *corev1.Secret) { s.Labels[v1alpha1.LabelMember] = "gold-1" }), bad("gold-2", `the label kubefederate.io/member must be "gold-2": a credential has the name of its member`)},
		"of no member":           {create(func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelMember) }), bad("gold-2", `the label kubefederate.io/member must be "gold-2": a credential has the name of its member`)},
		"of another type":        {create(func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }), bad("gold-2", "the type must be kubefederate.io/credential: nothing else is kept in this namespace")},
		"another key":            {create(func(s *corev1.Secret) { s.Data["more"] = nil }), bad("gold-2", "data must have the key kubeconfig and no other")},
		"no key":                 {create(func(s *corev1.Secret) { s.Data = nil }), bad("gold-2", "data must have the key kubeconfig and no other")},
		"another key as text":    {create(func(s *corev1.Secret) { s.StringData = map[string]string{"more": "x"} }), bad("gold-2", "data must have the key kubeconfig and no other")},
		"no owner":               {create(func(s *corev1.Secret) { s.OwnerReferences = nil }), bad("gold-2", one)},
		"owner of another name":  {create(func(s *corev1.Secret) { s.OwnerReferences[0].Name = "gold-1" }), bad("gold-2", one)},
		"owner of another kind":  {create(func(s *corev1.Secret) { s.OwnerReferences[0].Kind = "Federation" }), bad("gold-2", one)},
		"owner of another group": {create(func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion = "example.com/v1" }), bad("gold-2", one)},
		"two owners": {create(func(s *corev1.Secret) {
			s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "y"})
		}), bad("gold-2", one)},
		"immutable": {create(func(s *corev1.Secret) { yes := true; s.Immutable = &yes }), bad("gold-2", "a credential has no finalizers and is not immutable: it is renewed, and it goes when its member goes")},
		"finalizer": {create(func(s *corev1.Secret) { s.Finalizers = []string{"example.com/hold"} }), bad("gold-2", "a credential has no finalizers and is not immutable: it is renewed, and it goes when its member goes")},

		"as one that the manager renewed": {create(func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.AnnotationRenewed: "x"} }), no("gold-2", "only the manager sets the annotation kubefederate.io/renewed: leave it out")},
		"replaces what the manager renewed": {update(gold, func(s *corev1.Secret) {
			s.Annotations, s.Data["kubeconfig"] = map[string]string{v1alpha1.AnnotationRenewed: "x"}, []byte("new")
		}), no("gold-1", "only the manager sets the annotation kubefederate.io/renewed: leave it out")},

		"largest":   {create(func(s *corev1.Secret) { s.Data["kubeconfig"] = make([]byte, 65536) }), ""},
		"too large": {create(func(s *corev1.Secret) { s.Data["kubeconfig"] = make([]byte, 65537) }), bad("gold-2", "the kubeconfig has 65537 bytes, and a credential has at most 65536")},
		"grows":     {update(gold, func(s *corev1.Secret) { s.Data["kubeconfig"] = make([]byte, 700_000) }), bad("gold-1", "the kubeconfig has 700000 bytes, and a credential has at most 65536")},

		"reads": {func() error {
			return grace.Get(t.Context(), client.ObjectKeyFromObject(credential(gold)), &corev1.Secret{})
		}, rbac("get", "gold-1")},
		"deletes": {func() error { return grace.Delete(t.Context(), credential(gold), client.DryRunAll) }, rbac("delete", "gold-1")},
		"lists": {func() error {
			return grace.List(t.Context(), &corev1.SecretList{}, client.InNamespace(v1alpha1.CredentialsNamespace))
		}, `403 secrets is forbidden: User "grace" cannot list resource "secrets" in API group "" in the namespace "kubefederate-credentials"`},
		"the manager's keys": {func() error {
			return grace.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.KeysSecret}, &corev1.Secret{})
		}, `403 secrets "kubefederate-keys" is forbidden: User "grace" cannot get resource "secrets" in API group "" in the namespace "kubefederate-system"`},
	} {
		t.Run(name, func(t *testing.T) { answers(t, test.want, test.request) })
	}

	t.Run("an answer to a PUT shows nothing", func(t *testing.T) {
		for _, options := range [][]client.UpdateOption{{client.DryRunAll}, {}} {
			s := credential(gold)
			s.Data["kubeconfig"] = []byte("mine")
			must(t, grace.Update(t.Context(), s, options...))
			if got := fmt.Sprint(s); strings.Contains(got, hush) || string(s.Data["kubeconfig"]) != "mine" {
				t.Errorf("answered %s", got)
			}
		}
	})

	t.Run("the collector and the end of a namespace", func(t *testing.T) {
		for _, account := range []string{"generic-garbage-collector", "namespace-controller"} {
			config := h.Config()
			config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:" + account}
			c, _ := as(t, config)
			must(t, c.Delete(t.Context(), credential(silver), client.DryRunAll))
		}
	})

	t.Run("goes with its member", func(t *testing.T) {
		must(t, h.admin.Delete(t.Context(), silver))
		eventually(t, "the credential is gone", func() error {
			if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(credential(silver)), &corev1.Secret{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%v", err)
			}
			return nil
		})
	})
}

// readings are patches whose answer is the credential, or whose refusal by the API server's own validation quotes it.
var readings = map[string]struct {
	kind  types.PatchType
	patch string
}{
	"empty merge patch":       {types.MergePatchType, `{}`},
	"empty strategic patch":   {types.StrategicMergePatchType, `{}`},
	"empty JSON patch":        {types.JSONPatchType, `[]`},
	"annotation":              {types.MergePatchType, `{"metadata":{"annotations":{"a":"b"}}}`},
	"copy to an annotation":   {types.JSONPatchType, `[{"op":"add","path":"/metadata/annotations","value":{}},{"op":"copy","from":"/data/kubeconfig","path":"/metadata/annotations/a"}]`},
	"copy to a second key":    {types.JSONPatchType, `[{"op":"copy","from":"/data/kubeconfig","path":"/data/more"}]`},
	"replace and copy":        {types.JSONPatchType, `[{"op":"copy","from":"/data/kubeconfig","path":"/metadata/ownerReferences/0/name"},{"op":"replace","path":"/data/kubeconfig","value":"eA=="}]`},
	"copy to the type":        {types.JSONPatchType, `[{"op":"copy","from":"/data/kubeconfig","path":"/type"}]`},
	"copy to a label":         {types.JSONPatchType, `[{"op":"copy","from":"/data/kubeconfig","path":"/metadata/labels/a"}]`},
	"copy to the UID":         {types.JSONPatchType, `[{"op":"copy","from":"/data/kubeconfig","path":"/metadata/uid"}]`},
	"copy to the name":        {types.JSONPatchType, `[{"op":"copy","from":"/data/kubeconfig","path":"/metadata/name"}]`},
	"copy to the kind":        {types.JSONPatchType, `[{"op":"copy","from":"/data/kubeconfig","path":"/kind"}]`},
	"server-side apply":       {types.ApplyPatchType, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"bronze-1","annotations":{"a":"b"}}}`},
	"test of a guess by hand": {types.JSONPatchType, `[{"op":"test","path":"/data/kubeconfig","value":"eA=="}]`},
}

// TestPatchShowsNothing tries to read a credential by patches: as a joiner with the shipped role, and as one to whom
// the verb patch was given as well.
func TestPatchShowsNothing(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("bronze"))
	m := member("bronze-1", "bronze")
	h.create(t, m)
	h.create(t, credential(m)) // its owner has a UID now
	heidi := h.user(t, "heidi", manifests.JoinerBinding("bronze", subject("heidi"), subject("ivan")))
	ivan := h.user(t, "ivan", role("ivan", v1alpha1.CredentialsNamespace,
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"patch"}}))

	patch := func(c client.Client, kind types.PatchType, body string, options ...client.PatchOption) (string, error) {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.CredentialsNamespace, Name: m.Name}}
		if kind == types.ApplyPatchType {
			options = append(options, client.FieldOwner("test"), client.ForceOwnership)
		}
		err := c.Patch(t.Context(), s, client.RawPatch(kind, []byte(body)), options...)
		return fmt.Sprintf("%s %v", s.Data, s) + text(err), err
	}
	shows := func(answer string) bool {
		return strings.Contains(answer, hush) || strings.Contains(answer, base64.StdEncoding.EncodeToString([]byte(hush))) ||
			strings.Contains(answer, fmt.Sprint([]byte(hush)))
	}
	forbidden := `403 secrets "bronze-1" is forbidden: User "heidi" cannot patch resource "secrets" in API group "" in the namespace "kubefederate-credentials"`
	// What validation quotes before any policy is asked. It is why no shipped role has the verb patch.
	quoted := map[string]bool{"copy to the type": true, "copy to a label": true, "copy to the UID": true, "copy to the name": true, "copy to the kind": true, "replace and copy": false}
	policy := denied(credentialsPolicy, "secrets", m.Name, `user "ivan" may patch credentials but not get them, and the answer to a patch is the credential: take the verb patch on secrets in kubefederate-credentials from its role and give update instead`)

	// From here on the API server knows what ivan may do.
	answers(t, policy, func() error { _, err := patch(ivan, types.MergePatchType, `{}`); return err })
	for name, r := range readings {
		for _, options := range [][]client.PatchOption{{client.DryRunAll}, {}} {
			t.Run(fmt.Sprintf("%s, dry run %v", name, len(options) > 0), func(t *testing.T) {
				answers(t, forbidden, func() error {
					answer, err := patch(heidi, r.kind, r.patch, options...)
					if shows(answer) {
						t.Errorf("heidi was shown the credential: %s", answer)
					}
					return err
				})
				answer, err := patch(ivan, r.kind, r.patch, options...)
				switch {
				case quoted[name]:
					// Negative control: this is a way to read, and the policy cannot close it.
					if !shows(answer) {
						t.Errorf("the API server does not quote the credential any more: %s", answer)
					}
				case shows(answer):
					t.Errorf("ivan was shown the credential: %s", answer)
				case name == "test of a guess by hand":
				case text(err) != policy:
					t.Errorf("got  %s\nwant %s", text(err), policy)
				}
			})
		}
	}

	// Negative control: someone who may get the credential may patch it.
	answers(t, "", func() error {
		_, err := patch(h.admin, types.MergePatchType, `{"metadata":{"annotations":{"a":"b"}}}`)
		return err
	})
	s := credential(m)
	must(t, h.admin.Get(t.Context(), client.ObjectKeyFromObject(s), s))
	if !bytes.Equal(s.Data["kubeconfig"], []byte(hush)) {
		t.Errorf("the credential was changed: %s", s.Data)
	}
}
