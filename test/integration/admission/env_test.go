//go:build unix

// Package admission holds what a host's API server answers: the policies to real users, the webhook to every
// case of the rules. Everything is installed as shipped; the manager runs beside the API server with the
// rights of its own account.
package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/test/cases"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

var fleet = env.Shared(env.Spec{Name: "host", ControllerManager: true})

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	env.Main(m)
}

// installed is the host that all tests share.
type installed struct {
	*env.Cluster
	manager *envhost.Manager
	admin   client.Client
}

var shared struct {
	sync.Once
	installed
	err error
}

// enforcing gives the host, installed, seeded with the cases of the rules, and with its webhook enforcing.
func enforcing(t *testing.T) installed {
	t.Helper()
	c := fleet(t).Cluster("host")
	shared.Do(func() {
		shared.Cluster = c
		shared.err = func() (err error) {
			// Not the test's context, which ends with the first test.
			ctx := context.Background()
			if shared.admin, err = envhost.Client(c.Config()); err != nil {
				return err
			}
			// What the cases find on the host may be older than the rules, so it comes before the webhook.
			if err := withoutWebhook(ctx, c); err != nil {
				return err
			}
			if err := seed(ctx, shared.admin); err != nil {
				return err
			}
			shared.manager, err = envhost.Make(ctx, c)
			return err
		}()
	})
	must(t, shared.err)
	return shared.installed
}

func withoutWebhook(ctx context.Context, c *env.Cluster) error {
	objects, err := manifests.Objects(manifests.Options{WebhookURL: "https://127.0.0.1:1"})
	if err != nil {
		return err
	}
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "ValidatingWebhookConfiguration"
	})
	h, err := host.Connect(c.Config())
	if err != nil {
		return err
	}
	return install.Apply(ctx, h, objects, cluster.DryRunNone, func(*unstructured.Unstructured, install.Outcome) {})
}

// seed puts on the host what the cases start from.
func seed(ctx context.Context, admin client.Client) error {
	put := func(o client.Object) error {
		leaving := o.GetDeletionTimestamp() != nil
		o.SetDeletionTimestamp(nil)
		// A kind that was made a moment ago, and a policy on it, take a moment.
		var last error
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			last = admin.Create(ctx, o)
			return last == nil || apierrors.IsInvalid(last), nil
		})
		if err := errors.Join(last, err); err != nil {
			return fmt.Errorf("%s: %w", o.GetName(), err)
		}
		if leaving {
			return admin.Delete(ctx, o)
		}
		return nil
	}
	for _, k := range cases.All() {
		if k.Unreachable != "" {
			continue
		}
		for _, n := range k.Namespaces {
			if err := put(&corev1.Namespace{ObjectMeta: *n.DeepCopy()}); err != nil {
				return err
			}
		}
		for _, f := range k.Federations {
			if err := put(f.DeepCopy()); err != nil {
				return err
			}
		}
		for _, m := range k.Members {
			if err := put(m.DeepCopy()); err != nil {
				return err
			}
			if m.Status.Facts == nil {
				continue
			}
			facts, err := json.Marshal(map[string]any{"status": map[string]any{"facts": m.Status.Facts}})
			if err != nil {
				return err
			}
			// As the manager writes it, which leaves it alone where it has no credential to ask the member with.
			if err := admin.Status().Patch(ctx, m.DeepCopy(), client.RawPatch(types.MergePatchType, facts)); err != nil {
				return err
			}
		}
	}
	return nil
}

// warned collects what an API server warns of.
type warned struct {
	mu    sync.Mutex
	texts []string
}

func (w *warned) HandleWarningHeader(code int, _, text string) {
	if code == 299 && text != "" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.texts = append(w.texts, text)
	}
}

// as is a client of a configuration, and what it is warned of.
func as(t *testing.T, config *rest.Config) (client.Client, *warned) {
	t.Helper()
	w := &warned{}
	config.WarningHandler = w
	c, err := envhost.Client(config)
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

// create makes objects as an administrator.
func (h installed) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		must(t, h.admin.Create(t.Context(), o))
	}
}

// user is a person with a client certificate and the given objects of RBAC.
func (h installed) user(t *testing.T, name string, grants ...[]*unstructured.Unstructured) client.Client {
	t.Helper()
	for _, o := range slices.Concat(grants...) {
		must(t, client.IgnoreAlreadyExists(h.admin.Create(t.Context(), o.DeepCopy())))
	}
	c, _ := as(t, h.User(name))
	return c
}

func subject(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}

// role lets a user do more than the shipped roles do, in one namespace or everywhere.
func role(user, namespace string, rules ...rbacv1.PolicyRule) []*unstructured.Unstructured {
	name := "test:" + user
	var objects []runtime.Object
	if namespace == "" {
		objects = []runtime.Object{
			&rbacv1.ClusterRole{TypeMeta: rbac("ClusterRole"), ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules},
			&rbacv1.ClusterRoleBinding{
				TypeMeta: rbac("ClusterRoleBinding"), ObjectMeta: metav1.ObjectMeta{Name: name},
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}, Subjects: []rbacv1.Subject{subject(user)},
			},
		}
	} else {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
		objects = []runtime.Object{
			&rbacv1.Role{TypeMeta: rbac("Role"), ObjectMeta: meta, Rules: rules},
			&rbacv1.RoleBinding{
				TypeMeta: rbac("RoleBinding"), ObjectMeta: meta,
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: []rbacv1.Subject{subject(user)},
			},
		}
	}
	var found []*unstructured.Unstructured
	for _, o := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			panic(err)
		}
		unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
		found = append(found, &unstructured.Unstructured{Object: content})
	}
	return found
}

func rbac(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}

func objectMeta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until a check is content: RBAC, policies and watches take a moment to follow, and the garbage
// collector looks for new kinds every 30 s.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	env.Eventually(t, what, func(context.Context) error { return check() })
}

// answers waits until a request is answered with the status code and the whole text; the empty text means success.
// The request must change nothing, or be one that can be sent again.
func answers(t *testing.T, want string, request func() error) {
	t.Helper()
	eventually(t, "the answer", func() error {
		if got := text(request()); got != want {
			return fmt.Errorf("got\n%s\nwant\n%s", got, want)
		}
		return nil
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return fmt.Sprintf("%d %s", status.Status().Code, status.Status().Message)
	}
	return err.Error()
}

// denied is the text of a policy's refusal with a 403.
func denied(policy, resource, name, message string) string {
	return fmt.Sprintf("403 %s %q is forbidden: ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s", resource, name, policy, policy, message)
}

// faulty is the text of a policy's refusal with a 422. API servers say forbidden in it all the same; kubectl goes by the
// code.
func faulty(policy, resource, name, message string) string {
	return "422" + strings.TrimPrefix(denied(policy, resource, name, message), "403")
}

func fed(name string) *v1alpha1.Federation {
	return &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func member(name, federation string) *v1alpha1.MemberCluster {
	return &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelFederation: federation}},
		Spec:       v1alpha1.MemberClusterSpec{ClusterID: "id-" + name, Server: "https://" + name + ".example.com"},
	}
}

// unstructuredOf is one of our objects as the API server sends it.
func unstructuredOf(kind, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	o.SetName(name)
	return o
}
