//go:build unix

// Package services holds what becomes of exported services on real API servers: their names in DNS, as external-dns reads them.
package services

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	env.Main(m)
}

var fleet = env.Shared(
	env.Spec{Name: "host", ControllerManager: true},
	env.Spec{Name: "east", ControllerManager: true, Zones: []string{"us-east-1a", "us-east-1b"}},
	env.Spec{Name: "west", ControllerManager: true, Zones: []string{"us-west-2a"}},
	env.Spec{Name: "europe", ControllerManager: true, Zones: []string{"eu-west-1a"}},
)

const (
	federation = "prod"
	suffix     = ".shop.prod.svc."
)

// client is an administrator of a cluster.
func administrator(t *testing.T, c *env.Cluster) client.Client {
	t.Helper()
	w, err := envhost.Client(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func create[O client.Object](t *testing.T, w client.Client, objects ...O) {
	t.Helper()
	for _, o := range objects {
		if err := w.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
}

// serve installs a CustomResourceDefinition of testdata.
func serve(t *testing.T, w client.Client, file string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &crd.Object); err != nil {
		t.Fatal(err)
	}
	create(t, w, crd)
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// exported is a ServiceExport.
func exported(name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "multicluster.x-k8s.io", Version: "v1beta1", Kind: "ServiceExport"})
	o.SetNamespace("shop")
	o.SetName(name)
	return o
}

// export has a member export a service whose load balancer has what is given, and makes it where it is not there.
func export(t *testing.T, w client.Client, name string, ingress ...corev1.LoadBalancerIngress) {
	t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}}
	create(t, w, s)
	env.Eventually(t, "the ServiceExport of "+name, func(ctx context.Context) error {
		err := w.Create(ctx, exported(name))
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	balance(t, w, name, ingress...)
}

func balance(t *testing.T, w client.Client, name string, ingress ...corev1.LoadBalancerIngress) {
	t.Helper()
	s := &corev1.Service{}
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, s); err != nil {
		t.Fatal(err)
	}
	patch := client.MergeFrom(s.DeepCopy())
	s.Status.LoadBalancer.Ingress = ingress
	if err := w.Status().Patch(t.Context(), s, patch); err != nil {
		t.Fatal(err)
	}
}

func ip(addresses ...string) (ingress []corev1.LoadBalancerIngress) {
	for _, a := range addresses {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return ingress
}

// recorded reads what external-dns does: the record sets of a service, without what all names have in common.
func recorded(ctx context.Context, w client.Client, namespace, service string) (lines []string, err error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "externaldns.k8s.io", Version: "v1alpha1", Kind: "DNSEndpointList"})
	if err := w.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for _, o := range list.Items {
		endpoints, _, err := unstructured.NestedSlice(o.Object, "spec", "endpoints")
		if err != nil {
			return nil, err
		}
		for _, e := range endpoints {
			e := e.(map[string]any)
			name, _, _ := unstructured.NestedString(e, "dnsName")
			targets, _, _ := unstructured.NestedStringSlice(e, "targets")
			if where, ok := strings.CutPrefix(name, service+suffix); ok {
				lines = append(lines, fmt.Sprintf("%s %s %s", where, e["recordType"], strings.Join(targets, ",")))
			}
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// become waits until a service has exactly these record sets.
func become(t *testing.T, w client.Client, service string, want ...string) {
	t.Helper()
	becomeIn(t, w, "external-dns", service, want...)
}

func becomeIn(t *testing.T, w client.Client, namespace, service string, want ...string) {
	t.Helper()
	env.Eventually(t, "the records of "+service, func(ctx context.Context) error {
		got, err := recorded(ctx, w, namespace, service)
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			err = fmt.Errorf("(-want +got)\n%s", diff)
		}
		return err
	})
}

// condition waits until a condition of the federation is as given.
func condition(t *testing.T, w client.Client, want string) {
	t.Helper()
	env.Eventually(t, "the condition ServicesPublished", func(ctx context.Context) error {
		var f v1alpha1.Federation
		if err := w.Get(ctx, client.ObjectKey{Name: federation}, &f); err != nil {
			return err
		}
		got := ""
		if c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.ConditionServicesPublished); c != nil {
			got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
		if got != want {
			return fmt.Errorf("(-want +got)\n%s", cmp.Diff(want, got))
		}
		return nil
	})
}

// TestDNS follows the names of a service in three regions, one of two zones, as members fail and come back.
func TestDNS(t *testing.T) {
	c := fleet(t)
	manager, err := envhost.Make(t.Context(), c.Cluster("host"), "--probe-interval=250ms")
	if err != nil {
		t.Fatal(err)
	}
	w := administrator(t, c.Cluster("host"))
	create(t, w, namespace("external-dns"))
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: federation}}
	f.Spec.Services = &v1alpha1.Services{Namespaces: []string{"shop"}, DNS: v1alpha1.ServicesDNS{Domain: "example.com", Namespace: "external-dns"}}
	create(t, w, f)
	h, err := host.Connect(c.Cluster("host").Config())
	if err != nil {
		t.Fatal(err)
	}
	members, connected := map[string]client.Client{}, map[string]*member.Cluster{}
	for i, name := range []string{"east", "europe", "west"} {
		admin := administrator(t, c.Cluster(name))
		members[name] = admin
		create(t, admin, namespace("shop"))
		serve(t, admin, "multicluster.x-k8s.io_serviceexports.yaml")
		export(t, admin, "cart", ip(fmt.Sprintf("203.0.113.%d", i+1))...)
		m, err := member.Connect(c.Cluster(name).Config())
		if err != nil {
			t.Fatal(err)
		}
		connected[name] = m
		plan, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: v1alpha1.MemberName(name), Federation: federation})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Apply(t.Context(), func(s federate.Step) { t.Log(s) }); err != nil {
			t.Fatal(err)
		}
	}
	condition(t, w, "False DNSEndpointsNotServed: the host does not serve dnsendpoints.externaldns.k8s.io/v1alpha1: install external-dns' CustomResourceDefinition of it")
	serve(t, w, "dnsendpoints.externaldns.k8s.io.yaml")
	condition(t, w, `False DNSForbidden: the manager may not list dnsendpoints in namespace "external-dns"; allow it: kubectl federate grant prod --dns external-dns`)
	create(t, w, manifests.DNSBinding("external-dns")...)

	const east, europe, west = "203.0.113.1", "203.0.113.2", "203.0.113.3"
	all := func(here, eu, us, everywhere string) []string {
		return []string{
			"eu-west-1.example.com A " + eu, "eu-west-1a.eu-west-1.example.com A " + eu, "example.com A " + everywhere,
			"us-east-1.example.com A " + here, "us-east-1a.us-east-1.example.com A " + here, "us-east-1b.us-east-1.example.com A " + here,
			"us-west-2.example.com A " + us, "us-west-2a.us-west-2.example.com A " + us,
		}
	}
	healthy := all(east, europe, west, east+","+europe+","+west)
	become(t, w, "cart", healthy...)
	condition(t, w, `True Published: the names of exported services are in namespace "external-dns"`)

	// Another address is in the records at once, and not when the host is looked at again, a minute later.
	began := time.Now()
	balance(t, members["west"], "cart", ip("203.0.113.30")...)
	become(t, w, "cart", all(east, europe, "203.0.113.30", east+","+europe+",203.0.113.30")...)
	t.Logf("a changed address was in the records after %s", time.Since(began).Round(time.Millisecond))
	balance(t, members["west"], "cart", ip(west)...)
	become(t, w, "cart", healthy...)

	// A member that is suspended has no names, also not for what no other zone or region exports.
	suspend := func(suspended bool) {
		m := &v1alpha1.MemberCluster{}
		if err := w.Get(t.Context(), client.ObjectKey{Name: "west"}, m); err != nil {
			t.Fatal(err)
		}
		patch := client.MergeFrom(m.DeepCopy())
		m.Spec.Suspended = suspended
		if err := w.Patch(t.Context(), m, patch); err != nil {
			t.Fatal(err)
		}
	}
	suspend(true)
	become(t, w, "cart", all(east, europe, "", east+","+europe)[:6]...)
	suspend(false)
	become(t, w, "cart", healthy...)

	// A namespace that members do not let the manager read keeps none of the others from being read.
	listed := func(namespaces ...string) {
		patch := client.MergeFrom(f.DeepCopy())
		f.Spec.Services.Namespaces = namespaces
		if err := w.Patch(t.Context(), f, patch); err != nil {
			t.Fatal(err)
		}
	}
	create(t, members["west"], namespace("billing"))
	listed("billing", "shop")
	env.Eventually(t, "the condition Granted of west", func(ctx context.Context) error {
		m := &v1alpha1.MemberCluster{}
		if err := w.Get(ctx, client.ObjectKey{Name: "west"}, m); err != nil {
			return err
		}
		if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionGranted); c == nil || c.Reason != v1alpha1.ReasonServicesForbidden {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
	balance(t, members["west"], "cart", ip("203.0.113.31")...)
	become(t, w, "cart", all(east, europe, "203.0.113.31", east+","+europe+",203.0.113.31")...)
	balance(t, members["west"], "cart", ip(west)...)
	listed("shop")
	become(t, w, "cart", healthy...)

	// A member that is Offline leaves with its phase, then the next, and then all: the last records stay.
	c.Cluster("east").Stop()
	become(t, w, "cart", all(europe+","+west, europe, west, europe+","+west)...)
	c.Cluster("europe").Stop()
	become(t, w, "cart", all(west, west, west, west)...)
	c.Cluster("west").Stop()
	condition(t, w, "False ServicesIncomplete: service shop/cart: no member that exports it is Ready with an address: the records stay as they were")
	become(t, w, "cart", all(west, west, west, west)...)
	// A manager that starts anew while members cannot be read remembers what they exported.
	manager.Kill()
	if err := manager.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := manager.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := func(names ...string) {
		for _, name := range names {
			if err := c.Cluster(name).Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	back("east")
	become(t, w, "cart", all(east, east, east, east)...)
	back("europe", "west")
	become(t, w, "cart", healthy...)

	// Services are read on with the credential that takes the place of another.
	rotation, err := federate.PlanRotate(t.Context(), h, connected["west"], federate.RotateOptions{Name: "west"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rotation.Apply(t.Context(), func(s federate.Step) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	balance(t, members["west"], "cart", ip("203.0.113.32")...)
	become(t, w, "cart", all(east, europe, "203.0.113.32", east+","+europe+",203.0.113.32")...)
	balance(t, members["west"], "cart", ip(west)...)
	become(t, w, "cart", healthy...)

	// What a member exports touches nothing that it does not export.
	export(t, members["west"], "evil", append(ip("10.0.0.1", "127.0.0.1", "169.254.169.254"), corev1.LoadBalancerIngress{Hostname: "cart.shop.prod.svc.example.com"})...)
	condition(t, w, `False ServicesIncomplete: member "west": service shop/evil: the address "10.0.0.1" is private; member "west": service shop/evil: the address "127.0.0.1" is loopback; `+
		`member "west": service shop/evil: the address "169.254.169.254" is link-local; member "west": service shop/evil: the host name "cart.shop.prod.svc.example.com" is one of the federation's own; `+
		`service shop/evil: no member that exports it is Ready with an address: there are no records`)
	become(t, w, "evil")
	become(t, w, "cart", healthy...)
	if err := members["west"].Delete(t.Context(), exported("evil")); err != nil {
		t.Fatal(err)
	}

	// An export that is gone is gone from all names at once.
	if err := members["west"].Delete(t.Context(), exported("cart")); err != nil {
		t.Fatal(err)
	}
	two := east + "," + europe
	become(t, w, "cart", all(east, europe, "", two)[:6]...)

	// In another namespace the names are written before they go from the first one, which waits for the grant.
	moved := client.MergeFrom(f.DeepCopy())
	f.Spec.Services.DNS.Namespace = "other-dns"
	if err := w.Patch(t.Context(), f, moved); err != nil {
		t.Fatal(err)
	}
	condition(t, w, `False DNSForbidden: the manager may not list dnsendpoints in namespace "other-dns"; allow it: kubectl federate grant prod --dns other-dns`)
	become(t, w, "cart", all(east, europe, "", two)[:6]...)
	create(t, w, namespace("other-dns"))
	create(t, w, manifests.DNSBinding("other-dns")...)
	becomeIn(t, w, "other-dns", "cart", all(east, europe, "", two)[:6]...)
	become(t, w, "cart")

	// A member that leaves has no names, and nothing of the account for services is left on it.
	leave, err := federate.PlanUnjoin(t.Context(), h, connected["europe"], federate.UnjoinOptions{Name: "europe"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leave.Apply(t.Context(), func(s federate.Step) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	becomeIn(t, w, "other-dns", "cart", all(east, "", "", east)[2:6]...)
	for key, o := range map[client.ObjectKey]client.Object{
		{Namespace: "shop", Name: v1alpha1.ServicesAccount}: &rbacv1.RoleBinding{}, {Name: member.ServicesRole}: &rbacv1.ClusterRole{},
	} {
		if err := members["europe"].Get(t.Context(), key, o); !apierrors.IsNotFound(err) {
			t.Errorf("%T %s: %v", o, key, err)
		}
	}

	// Without spec.services nothing is left: not on the host, and after a join not on members.
	patch := client.MergeFrom(f.DeepCopy())
	f.Spec.Services = nil
	if err := w.Patch(t.Context(), f, patch); err != nil {
		t.Fatal(err)
	}
	becomeIn(t, w, "other-dns", "cart")
	condition(t, w, "")
}
