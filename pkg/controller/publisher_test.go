package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

var (
	fleetProfiles = inventoryKey{namespace: "fleet"}
	fleetSecrets  = inventoryKey{"fleet-credentials", true}
	// fleetUIDs are those of their namespaces.
	fleetUIDs = map[string]types.UID{fleetProfiles.namespace: "fleet-1", fleetSecrets.namespace: "credentials-1"}
)

// publishing is a publisher of federation prod, whose host holds the objects, and its namespaces.
func publishing(t *testing.T, objects ...client.Object) *publisher {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, clusterinventory.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []inventoryKey{fleetProfiles, fleetSecrets} {
		namespace := &corev1.Namespace{}
		namespace.Name, namespace.UID = key.namespace, fleetUIDs[key.namespace]
		namespace.Labels = map[string]string{key.label(): "prod"}
		objects = append(objects, namespace)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&clusterinventory.ClusterProfile{}, &v1alpha1.MemberCluster{}).
		WithIndex(&corev1.Secret{}, secretType, func(o client.Object) []string { return []string{string(o.(*corev1.Secret).Type)} }).
		WithInterceptorFuncs(interceptor.Funcs{List: listSecrets, Watch: watchAfterList}).Build()
	p := &publisher{
		client: c, cached: c, toPublish: newRequests(), toFollow: newRequests(),
		members: make(chan event.TypedGenericEvent[string], 100), federations: make(chan event.TypedGenericEvent[string], 100),
		namespaces: map[inventoryKey]*inventoryNamespace{}, emptied: map[v1alpha1.FederationName]map[inventoryKey]bool{},
		judged: map[v1alpha1.FederationName]metav1.Condition{}, published: map[string]conclusion{},
	}
	for _, r := range []*requests{p.toPublish, p.toFollow} {
		r.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		close(r.ready)
	}
	p.base, p.end = context.WithCancel(t.Context())
	p.consumers = &consumers{
		publisher: p, schedule: schedule{RenewalShare}, timeout: time.Second,
		queue: workqueue.NewTypedDelayingQueue[string](),
	}
	return p
}

// listSecrets lists the metadata of Secrets by their type, which the fake API server does of whole ones alone.
func listSecrets(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
	metadata, ok := list.(*metav1.PartialObjectMetadataList)
	if !ok {
		return c.List(ctx, list, options...)
	}
	secrets := &corev1.SecretList{}
	if err := c.List(ctx, secrets, options...); err != nil {
		return err
	}
	metadata.ListMeta, metadata.Items = secrets.ListMeta, nil
	for _, s := range secrets.Items {
		metadata.Items = append(metadata.Items, metav1.PartialObjectMetadata{ObjectMeta: s.ObjectMeta})
	}
	return nil
}

// watchAfterList refuses to stream a list as a watch, which the fake API server begins and never ends.
func watchAfterList(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
	o := client.ListOptions{}
	if o.ApplyOptions(options); o.Raw != nil && o.Raw.SendInitialEvents != nil {
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "", nil)
	}
	w, err := c.Watch(ctx, list, options...)
	if _, untyped := list.(*unstructured.UnstructuredList); err != nil || !untyped {
		return w, err
	}
	// The fake API server answers with types all the same.
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		if o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(e.Object); err == nil {
			e.Object = &unstructured.Unstructured{Object: o}
			e.Object.GetObjectKind().SetGroupVersionKind(fleetProfiles.kind())
		}
		return e, true
	}), nil
}

// allowed answers reviews of rights, as for one who has all of them.
func allowed(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
	switch review := o.(type) {
	case *authorizationv1.SelfSubjectRulesReview:
		return nil
	case *authorizationv1.SelfSubjectAccessReview:
		review.Status.Allowed = true
		return nil
	}
	return c.Create(ctx, o, options...)
}

// reads has the publisher read a namespace.
func (p *publisher) reads(t *testing.T, key inventoryKey) *inventoryNamespace {
	t.Helper()
	n := &inventoryNamespace{inventoryKey: key, federation: "prod", uid: fleetUIDs[key.namespace], announced: true}
	if err := n.watch(p.base, p.client, func(string) {}, func() {}); err != nil {
		t.Fatal(err)
	}
	p.namespaces[key] = n
	eventually(t, n.synced)
	return n
}

// eventually waits for a condition.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return condition(), nil
	}); err != nil {
		t.Fatal(err)
	}
}

// makesAnew deletes a namespace and makes another one of its name, with its label.
func (p *publisher) makesAnew(t *testing.T, key inventoryKey) {
	t.Helper()
	namespace := &corev1.Namespace{}
	namespace.Name = key.namespace
	host := p.cached.(client.Client)
	if err := host.Delete(t.Context(), namespace); err != nil {
		t.Error(err)
	}
	namespace.UID, namespace.Labels = "another", map[string]string{key.label(): "prod"}
	if err := host.Create(t.Context(), namespace); err != nil {
		t.Error(err)
	}
}

// publishes publishes a member.
func (p *publisher) publishes(t *testing.T, name string) {
	t.Helper()
	if _, err := p.publish(t.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}); err != nil {
		t.Fatal(err)
	}
}

func publishingFederation() *v1alpha1.Federation {
	f := &v1alpha1.Federation{}
	f.Name = "prod"
	f.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
	f.Spec.Inventory = &v1alpha1.Inventory{Namespaces: []string{fleetProfiles.namespace}, CredentialsNamespace: fleetSecrets.namespace}
	f.Status.Inventory = &v1alpha1.InventoryStatus{Namespaces: f.Spec.Inventory.Namespaces, CredentialsNamespaces: []string{fleetSecrets.namespace}, UIDs: maps.Clone(fleetUIDs)}
	return f
}

func publishableMember() *v1alpha1.MemberCluster {
	m := &v1alpha1.MemberCluster{}
	m.Name, m.UID = "us-east", "uid-1"
	m.Labels = map[string]string{v1alpha1.LabelFederation: "prod"}
	m.Spec.ClusterID, m.Spec.Server = "id-1", "https://us-east.example.com"
	m.Status.AcceptedTime, m.Status.ObservedCredential = new(metav1.Now()), "h1"
	for condition, reason := range map[string]string{
		v1alpha1.ConditionAccepted: v1alpha1.ReasonAccepted, v1alpha1.ConditionReady: v1alpha1.ReasonReachable,
		v1alpha1.ConditionCredentialValid: v1alpha1.ReasonCredentialStored,
	} {
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: reason})
	}
	return m
}

// consumerSecret is the Secret with a credential for those who read the inventory, of a member as it is now.
func consumerSecret(t *testing.T, m *v1alpha1.MemberCluster) *corev1.Secret {
	t.Helper()
	now := time.Now()
	said, err := json.Marshal(consumerToken{Issued: now, Expires: now.Add(consumerLifetime), Stored: now, With: m.Status.ObservedCredential, For: issuedFor(m)})
	if err != nil {
		t.Fatal(err)
	}
	s := &corev1.Secret{Type: v1alpha1.ConsumerCredentialType}
	s.Namespace, s.Name, s.UID = fleetSecrets.namespace, m.Name, "secret-1"
	s.Labels = map[string]string{v1alpha1.LabelFederation: "prod", v1alpha1.LabelMember: m.Name}
	s.Annotations = map[string]string{v1alpha1.AnnotationConsumerToken: string(said)}
	return s
}

// TestTokenStaysWithItsEndpoint is that a token is offered only beside the server, and for the member, that it was issued for: clients
// send it wherever the profile leads, and a joiner may write that.
func TestTokenStaysWithItsEndpoint(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*v1alpha1.MemberCluster)
		keeps  bool
	}{
		"nothing":              {func(*v1alpha1.MemberCluster) {}, true},
		"a slash at the end":   {func(m *v1alpha1.MemberCluster) { m.Spec.Server += "/" }, true},
		"the server":           {func(m *v1alpha1.MemberCluster) { m.Spec.Server = "https://elsewhere.example.com" }, false},
		"the CA":               {func(m *v1alpha1.MemberCluster) { m.Spec.CABundle = []byte("another") }, false},
		"the proxy":            {func(m *v1alpha1.MemberCluster) { m.Spec.ProxyURL = "http://elsewhere.example.com" }, false},
		"the server's name":    {func(m *v1alpha1.MemberCluster) { m.Spec.TLSServerName = "elsewhere.example.com" }, false},
		"the verification":     {func(m *v1alpha1.MemberCluster) { m.Spec.InsecureSkipTLSVerify = true }, false},
		"the member, anew":     {func(m *v1alpha1.MemberCluster) { m.UID = "uid-2" }, false},
		"and the status lacks": {func(m *v1alpha1.MemberCluster) { m.Spec.Server, m.Status.ObservedCredential = "https://elsewhere", "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := publishableMember()
			secret := consumerSecret(t, m)
			test.change(m)
			p := publishing(t, publishingFederation(), m, secret)
			p.reads(t, fleetSecrets)
			p.reads(t, fleetProfiles)
			p.publishes(t, m.Name)

			profile := &clusterinventory.ClusterProfile{}
			if err := p.client.Get(t.Context(), client.ObjectKey{Namespace: fleetProfiles.namespace, Name: m.Name}, profile); err != nil {
				t.Fatal(err)
			}
			if got := len(profile.Status.AccessProviders) == 1 && inventory.CredentialsOf(profile, m) == secret.Namespace; got != test.keeps {
				t.Errorf("the profile leads to %+v", profile.Status.AccessProviders)
			}
			err := p.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)
			if client.IgnoreNotFound(err) != nil || (err == nil) != test.keeps {
				t.Errorf("the Secret: %v", err)
			}
		})
	}
}

// TestProfileThatTypesCannotHold is that a profile with a value that its schema admits, and Go's types do not, hides no other.
func TestProfileThatTypesCannotHold(t *testing.T) {
	t.Parallel()
	const text = `{"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfileList", "items": [
		{"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfile", "metadata": {"name": "bad"}, "status": {"conditions": [
			{"type": "Other", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "2026-01-01t00:00:00z"}]}},
		{"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ClusterProfile", "metadata": {"name": "good"}}]}`
	list := fleetProfiles.list()
	if kind := list.GetObjectKind().GroupVersionKind().Kind; kind != "ClusterProfileList" {
		t.Errorf("a list of %s", kind)
	}
	if err := json.Unmarshal([]byte(text), list); err != nil {
		t.Fatal(err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, item := range items {
		kept, err := compared(item)
		profile, ok := kept.(*clusterinventory.ClusterProfile)
		if err != nil || !ok {
			t.Fatalf("%T: %v", kept, err)
		}
		names = append(names, profile.Name)
	}
	if !slices.Equal(names, []string{"bad", "good"}) {
		t.Errorf("read %v", names)
	}
}

// TestForgottenProfile is that a profile is found, and deleted, in what is kept of it.
func TestForgottenProfile(t *testing.T) {
	t.Parallel()
	m := publishableMember()
	left := inventory.Profile(m, inventory.Place{Namespace: fleetProfiles.namespace}, nil, time.Now())
	left.Name = "left"
	p := publishing(t, publishingFederation(), m, left)
	p.reads(t, fleetSecrets)
	n := p.reads(t, fleetProfiles)
	p.publishes(t, m.Name)
	p.publishes(t, left.Name)
	eventually(t, func() bool { return n.profile(m.Name) != nil && n.profile(left.Name) == nil })
}

// TestSecretsOfOthers is that a Secret in the credentials namespace that has the federation's label, which on a Secret of a tool asks to
// join, is neither deleted nor replaced.
func TestSecretsOfOthers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*corev1.Secret)
		stays  bool
	}{
		"of the manager, and of no member":     {func(*corev1.Secret) {}, false},
		"of another type":                      {func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }, true},
		"that names no member":                 {func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelMember) }, true},
		"that names another":                   {func(s *corev1.Secret) { s.Labels[v1alpha1.LabelMember] = "us-west" }, true},
		"that was changed since it was listed": {func(s *corev1.Secret) { s.Annotations["changed"] = "" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := publishableMember()
			secret := consumerSecret(t, m)
			test.change(secret)
			p := publishing(t, publishingFederation(), secret)
			n := p.reads(t, fleetSecrets)
			if _, changed := secret.Annotations["changed"]; changed {
				n.stop()
				if err := p.client.Update(t.Context(), secret); err != nil {
					t.Fatal(err)
				}
			}
			p.publishes(t, m.Name)
			err := p.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)
			if client.IgnoreNotFound(err) != nil || (err == nil) != test.stays {
				t.Errorf("the Secret: %v", err)
			}
			if names := n.names(); len(names) > 0 && name != "that was changed since it was listed" && test.stays {
				t.Errorf("the namespace is not left while there are %v", names)
			}
		})
	}
}

// TestTokenComesTooLate is that what a member issues after it, or the namespace, has left is not stored, and that what is stored while it
// leaves is deleted.
func TestTokenComesTooLate(t *testing.T) {
	t.Parallel()
	leave := map[string]func(*testing.T, *publisher, *v1alpha1.MemberCluster){
		"nothing": func(*testing.T, *publisher, *v1alpha1.MemberCluster) {},
		"the namespace leaves": func(_ *testing.T, p *publisher, _ *v1alpha1.MemberCluster) {
			p.leave(p.namespaces[fleetSecrets])
		},
		"the federation does not name it": func(t *testing.T, p *publisher, m *v1alpha1.MemberCluster) {
			f := &v1alpha1.Federation{}
			if err := p.client.Get(t.Context(), client.ObjectKey{Name: string(m.Federation())}, f); err != nil {
				t.Error(err)
			}
			f.Spec.Inventory.CredentialsNamespace = ""
			if err := p.client.Update(t.Context(), f); err != nil {
				t.Error(err)
			}
		},
		"the member is gone": func(t *testing.T, p *publisher, m *v1alpha1.MemberCluster) {
			if err := p.client.Delete(t.Context(), m); err != nil {
				t.Error(err)
			}
		},
		"the namespace is made anew": func(t *testing.T, p *publisher, _ *v1alpha1.MemberCluster) {
			p.makesAnew(t, fleetSecrets)
		},
		"the member leads elsewhere": func(t *testing.T, p *publisher, m *v1alpha1.MemberCluster) {
			moved := &v1alpha1.MemberCluster{}
			if err := p.client.Get(t.Context(), client.ObjectKeyFromObject(m), moved); err != nil {
				t.Error(err)
			}
			moved.Spec.Server = "https://elsewhere.example.com"
			if err := p.client.Update(t.Context(), moved); err != nil {
				t.Error(err)
			}
		},
	}
	for name, leave := range leave {
		for when, during := range map[string]bool{"before it is stored": false, "while it is stored": true} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				m := publishableMember()
				p := publishing(t, publishingFederation(), m)
				n := p.reads(t, fleetSecrets)
				created := 0
				p.client = interceptor.NewClient(p.client, interceptor.Funcs{
					Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
						created++
						if during {
							leave(t, p, m.DeepCopy())
						}
						return c.Create(ctx, o, options...)
					},
				})
				if !during {
					leave(t, p, m.DeepCopy())
				}
				issued := &kubeconfig.Access{Token: token(`{"iat":1,"exp":2}`)}
				issued.Server = m.Spec.Server
				if err := p.consumers.storeWanted(t.Context(), n, nil, m, "h1", issued); err != nil {
					t.Fatal(err)
				}
				err := p.client.Get(t.Context(), client.ObjectKey{Namespace: fleetSecrets.namespace, Name: m.Name}, &corev1.Secret{})
				if client.IgnoreNotFound(err) != nil || (err == nil) != (name == "nothing") {
					t.Errorf("the Secret: %v", err)
				}
				if want := during || name == "nothing"; (created == 1) != want {
					t.Errorf("stored %d times", created)
				}
			})
		}
	}
}

// TestNamespaceThatIsNotRead is that a namespace whose list is not answered holds up no other, and is a fault after a while.
func TestNamespaceThatIsNotRead(t *testing.T) {
	t.Parallel()
	f := publishingFederation()
	f.Spec.Inventory.CredentialsNamespace, f.Status.Inventory.CredentialsNamespaces = "", nil
	p := publishing(t, f)
	answered := make(chan struct{})
	p.client = interceptor.NewClient(p.client, interceptor.Funcs{
		Create: allowed,
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if o := (&client.ListOptions{}).ApplyOptions(options); o.LabelSelector != nil {
				select {
				case <-answered:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return c.List(ctx, list, options...)
		},
	})
	look := func(wantReason string, wantAgain time.Duration) {
		t.Helper()
		result, err := p.follow(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(f)})
		if err != nil || result.RequeueAfter != wantAgain {
			t.Errorf("looked at again after %s: %v", result.RequeueAfter, err)
		}
		if got := p.judged["prod"].Reason; got != wantReason {
			t.Errorf("judged %q, want %q", got, wantReason)
		}
	}
	look("", inventoryRetry)
	p.namespaces[fleetProfiles].began = time.Now().Add(-inventoryRetry)
	look(v1alpha1.ReasonInventoryUnreadable, inventoryRetry)
	close(answered)
	eventually(t, func() bool { return p.toFollow.queue.Len() > 0 })
	look(v1alpha1.ReasonPublished, inventoryInterval)
}

// TestProfileInTheWay is what becomes of a profile that cannot be written for a while, and for long.
func TestProfileInTheWay(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		since   time.Time
		deleted bool
		reason  string
	}{
		"deleted just now":            {now, true, ""},
		"deleted and held":            {now.Add(-2 * refusedRetry), true, v1alpha1.ReasonProfileRefused},
		"made just now, and not seen": {now, false, ""},
		"made long ago, and not seen": {now.Add(-2 * refusedRetry), false, v1alpha1.ReasonInventoryUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := publishableMember()
			profile := inventory.Profile(m, inventory.Place{Namespace: fleetProfiles.namespace}, nil, now)
			profile.CreationTimestamp = metav1.NewTime(test.since)
			if test.deleted {
				profile.DeletionTimestamp, profile.Finalizers = new(metav1.NewTime(test.since)), []string{"example.com/stay"}
			}
			p := publishing(t, publishingFederation(), m, profile)
			n := p.reads(t, fleetProfiles)
			if !test.deleted {
				if err := n.informer.GetStore().Delete(n.profile(m.Name)); err != nil {
					t.Fatal(err)
				}
			}
			var done publication
			if err := p.keepProfile(t.Context(), n, m.Name, m, true, secretPlace{}, &done); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range done.faults {
				got += f.reason
			}
			if got != test.reason || done.pending != (test.reason == "") {
				t.Errorf("faults %+v, pending %t", done.faults, done.pending)
			}
		})
	}
}

// TestRefusedForLong is that what the host refuses is tried less and less often, and as soon as before when the cause is another one.
func TestRefusedForLong(t *testing.T) {
	t.Parallel()
	m := publishableMember()
	f := publishingFederation()
	f.Spec.Inventory.CredentialsNamespace, f.Status.Inventory.CredentialsNamespaces = "", nil
	taken := inventory.Profile(m, inventory.Place{Namespace: fleetProfiles.namespace}, nil, time.Now())
	taken.Labels[clusterinventory.LabelClusterManagerKey] = "another"
	p := publishing(t, f, m, taken)
	p.reads(t, fleetProfiles)
	refuses := apierrors.NewAlreadyExists(corev1.Resource(clusterprofiles), m.Name)
	p.client = interceptor.NewClient(p.client, interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return refuses },
	})
	again := func(reason string, latest time.Duration) {
		t.Helper()
		result, err := p.publish(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(m)})
		if err != nil || result.RequeueAfter > latest || result.RequeueAfter < latest*7/8 {
			t.Errorf("it is tried again after %s, want at most an eighth before %s: %v", result.RequeueAfter, latest, err)
		}
		if got := p.condition(m.Name); got == nil || got.Reason != reason {
			t.Errorf("the condition: %+v", got)
		}
	}
	again(v1alpha1.ReasonProfileTaken, time.Minute)
	for since, latest := range map[time.Duration]time.Duration{time.Second: time.Minute, 10 * time.Minute: 10 * time.Minute, 5 * time.Hour: time.Hour} {
		was := p.published[m.Name]
		was.since = time.Now().Add(-since)
		p.published[m.Name] = was
		again(v1alpha1.ReasonProfileTaken, latest)
	}
	refuses = apierrors.NewForbidden(corev1.Resource(clusterprofiles), m.Name, errors.New("a quota"))
	again(v1alpha1.ReasonProfileRefused, time.Minute)
	if jitterOf("us-east") == jitterOf("us-west") {
		t.Error("all are tried at one time")
	}
}

// TestNamespaceMadeAnew is that a namespace which was deleted and made anew, with its label and the manager's rights, gets nothing
// until the federation has ceased to name it.
func TestNamespaceMadeAnew(t *testing.T) {
	t.Parallel()
	m, f := publishableMember(), publishingFederation()
	f.Spec.Inventory.CredentialsNamespace, f.Status.Inventory = "", nil
	p := publishing(t, f, m)
	p.client = interceptor.NewClient(p.client, interceptor.Funcs{Create: allowed})
	follow := func() {
		t.Helper()
		if _, err := p.follow(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(f)}); err != nil {
			t.Fatal(err)
		}
		p.setInventory(&f.Status, f.DeepCopy())
		if err := p.client.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	// looks follows the namespace until it has been read.
	looks := func() {
		t.Helper()
		follow()
		eventually(t, func() bool { n := p.namespaces[fleetProfiles]; return n == nil || n.fault != nil || n.synced() })
		follow()
	}
	profiles := func() int {
		t.Helper()
		p.publishes(t, m.Name)
		list := &clusterinventory.ClusterProfileList{}
		if err := p.client.List(t.Context(), list, client.InNamespace(fleetProfiles.namespace)); err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	looks()
	if f.Status.Inventory.UIDs[fleetProfiles.namespace] != fleetUIDs[fleetProfiles.namespace] || profiles() != 1 {
		t.Fatalf("not published: %+v, %+v", f.Status, p.condition(m.Name))
	}

	p.makesAnew(t, fleetProfiles)
	if err := p.client.DeleteAllOf(t.Context(), &clusterinventory.ClusterProfile{}, client.InNamespace(fleetProfiles.namespace)); err != nil {
		t.Fatal(err)
	}
	looks()
	const want = `namespace "fleet" was deleted and made anew since the federation began to use it; if it is to be used, take it out of ` +
		`spec.inventory of federation "prod" and name it again when status.inventory does not list it any more`
	if got := p.judged["prod"]; got.Reason != v1alpha1.ReasonNamespaceReplaced || got.Message != want || profiles() != 0 {
		t.Errorf("%d profiles; %s: %s", profiles(), got.Reason, got.Message)
	}

	named := f.Spec.Inventory
	f.Spec.Inventory = nil
	if err := p.client.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	looks()
	if f.Status.Inventory != nil || profiles() != 0 {
		t.Errorf("the federation still uses %+v", f.Status.Inventory)
	}
	f.Spec.Inventory = named
	if err := p.client.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	looks()
	if got := f.Status.Inventory.UIDs[fleetProfiles.namespace]; got != "another" || profiles() != 1 {
		t.Errorf("not published anew: %+v, %+v", f.Status.Inventory, p.condition(m.Name))
	}
}

// TestPages is that objects are read a few at a time, and that no more of them is kept than is compared.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, key := range []inventoryKey{fleetProfiles, fleetSecrets} {
		p := publishing(t, publishingFederation())
		var asked []string
		p.client = interceptor.NewClient(p.client, interceptor.Funcs{
			List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
				o := (&client.ListOptions{}).ApplyOptions(options)
				asked = append(asked, fmt.Sprintf("%d in %s from %q", o.Limit, o.Namespace, o.Continue))
				name := "east"
				if list.SetResourceVersion("7"); o.Continue == "" {
					list.SetContinue("more")
					name = "west"
				}
				made := inventory.Metadata(inventory.Profile(publishableMember(), inventory.Place{Namespace: o.Namespace}, nil, time.Now()), "").Object
				made["kind"], made["apiVersion"] = key.kind().Kind, key.kind().GroupVersion().String()
				made["metadata"].(map[string]any)["name"] = name
				made["metadata"].(map[string]any)["labels"].(map[string]any)[v1alpha1.LabelMember] = name
				made["metadata"].(map[string]any)["annotations"] = map[string]any{"example.com/a": strings.Repeat("x", 1<<18)}
				text, err := json.Marshal(map[string]any{"items": []any{made}})
				if err != nil {
					return err
				}
				return json.Unmarshal(text, list)
			},
		})
		list, err := key.read(t.Context(), p.client, []client.ListOption{client.InNamespace(key.namespace)})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{fmt.Sprintf(`100 in %s from ""`, key.namespace), fmt.Sprintf(`100 in %s from "more"`, key.namespace)}
		if !slices.Equal(asked, want) {
			t.Errorf("asked for %q", asked)
		}
		text, err := json.Marshal(list)
		if err != nil || len(text) > 4<<10 || !strings.Contains(string(text), `"name":"east"`) || !strings.Contains(string(text), `"name":"west"`) {
			t.Errorf("%d bytes are kept: %v", len(text), err)
		}
	}
}
