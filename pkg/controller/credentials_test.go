package controller

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// host is a client of what the objects are, and counts what is read of it.
func host(t *testing.T, objects ...client.Object) (client.WithWatch, *int) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	reads := new(int)
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			*reads++
			return c.Get(ctx, key, o, options...)
		},
	}), reads
}

func metadataOf(s *corev1.Secret) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{ObjectMeta: *s.ObjectMeta.DeepCopy()}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return o
}

// TestCredentialsAreReadOnce holds that a Secret is read and parsed once for what it is, and that nothing secret of it is kept.
func TestCredentialsAreReadOnce(t *testing.T) {
	t.Parallel()
	o := good(t)
	h, reads := host(t, o.credential)
	live := func() *metav1.PartialObjectMetadata {
		t.Helper()
		var s corev1.Secret
		if err := h.Get(t.Context(), client.ObjectKeyFromObject(o.credential), &s); err != nil {
			t.Fatal(err)
		}
		*reads--
		return metadataOf(&s)
	}
	c := newCredentials(h)
	for i, step := range []struct {
		change func()
		reads  int
	}{
		{func() {}, 1},
		{func() {}, 0},
		{func() { o.member.Generation++ }, 1},
		{func() { o.federation.Spec.AllowInsecureTLS = true }, 1},
		{func() { o.member.Labels[v1alpha1.LabelFederation] = "other" }, 1},
		{func() { o.member.Labels[v1alpha1.LabelFederation] = "prod" }, 1},
		{func() {
			s := o.credential.DeepCopy()
			s.ResourceVersion, s.Labels["x"] = "", "y"
			if err := h.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{func() {}, 0},
	} {
		step.change()
		*reads = 0
		read, err := c.read(t.Context(), o.memberState, live())
		if err != nil || *reads != step.reads || (read.access != nil) != (step.reads > 0 && read.reason == "") {
			t.Errorf("step %d: %d reads, %+v, %v", i, *reads, read, err)
		}
		if c.entries["us-east"].access != nil {
			t.Errorf("step %d: the token is kept", i)
		}
	}
	read, err := c.read(t.Context(), o.memberState, live())
	if err != nil {
		t.Fatal(err)
	}
	if access, err := c.open(t.Context(), o.memberState, read)(); err != nil || access.Token == "" {
		t.Errorf("the credential cannot be used: %v %v", access, err)
	}
	read.hash = "another"
	if _, err := c.open(t.Context(), o.memberState, read)(); err == nil {
		t.Error("a credential that has changed was used")
	}
	if c.forget("us-east"); len(c.entries) > 0 {
		t.Error("it is not forgotten")
	}
	if read, err := c.read(t.Context(), o.memberState, nil); read != nil || err != nil {
		t.Errorf("without a Secret: %v %v", read, err)
	}
}

// TestStripCredential holds what the cache keeps of a Secret.
func TestStripCredential(t *testing.T) {
	t.Parallel()
	o := good(t)
	secret := metadataOf(o.credential)
	want := secret.DeepCopy()
	secret.Annotations = map[string]string{"a": strings.Repeat("x", 250_000)}
	secret.Labels["a"], secret.Finalizers = "b", []string{"c"}
	secret.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}}
	got, err := StripCredential(secret)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestRemoveOrphan holds which Secrets are deleted: credentials whose MemberCluster does not exist, or is another.
func TestRemoveOrphan(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		is      func(*seen)
		gone    bool
		deleted bool
	}{
		{"its member is there", func(*seen) {}, false, false},
		{"its member is gone", func(*seen) {}, true, true},
		{"its member was made anew", func(o *seen) { o.member.UID = "uid-2" }, false, true},
		{"it lost its owner, and the member is there", func(o *seen) { o.credential.OwnerReferences = nil }, false, true},
		{"of another type", func(o *seen) { o.credential.Type = corev1.SecretTypeOpaque }, true, false},
	} {
		o := good(t)
		o.credential.Type = v1alpha1.CredentialType
		o.credential.UID = "secret-1"
		tt.is(&o)
		objects := []client.Object{o.credential}
		if !tt.gone {
			objects = append(objects, o.member)
		}
		h, _ := host(t, objects...)
		r := &memberReconciler{client: h, direct: h}
		if err := r.removeOrphan(t.Context(), metadataOf(o.credential)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		err := h.Get(t.Context(), client.ObjectKeyFromObject(o.credential), &corev1.Secret{})
		if deleted := err != nil; deleted != tt.deleted {
			t.Errorf("%s: deleted %v (%v)", tt.name, deleted, err)
		}
	}
	h, _ := host(t)
	r := &memberReconciler{client: h, direct: h}
	o := good(t)
	if err := errorsOf(r.removeOrphan(t.Context(), nil), r.removeOrphan(t.Context(), metadataOf(o.credential))); err != "" {
		t.Error(err)
	}

	// A manager that was not running while the member went finds the credential alone.
	o.credential.Type, o.credential.UID = v1alpha1.CredentialType, "secret-1"
	h, _ = host(t, o.credential)
	r = &memberReconciler{
		client: h, direct: h, credentials: newCredentials(h), prober: probing(t, time.Minute, time.Minute), renewer: &renewer{},
		judgements: &judgements{}, phases: &phaseEvents{},
	}
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: o.credential.Name}}); err != nil {
		t.Error(err)
	}
	if err := h.Get(t.Context(), client.ObjectKeyFromObject(o.credential), &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("the credential of a member that is gone: %v", err)
	}
}

func errorsOf(all ...error) (text string) {
	for _, err := range all {
		if err != nil {
			text += fmt.Sprintln(err)
		}
	}
	return text
}
