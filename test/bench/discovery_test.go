//go:build linux && extended

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// The promises for a discovery controller that finds a thousand clusters, of which a hundred are dead: half of these accept no connection,
// and half accept one and never answer. It has settled, which is to have asked all and to report them, in discoverDeadline and a fifth of that;
// it takes less than maxDiscoveryMemory, in MiB; and a cluster that has joined gets no request in restTime.
const (
	allCandidates, deadCandidates = 1000, 100
	discoverDeadline              = 10 * time.Second // the default of --connect-timeout
	maxSettle                     = 1.2
	maxDiscoveryMemory            = 300
	discoveryMemoryLimit          = "GOMEMLIMIT=270MiB" // as its Deployment has it
	restTime                      = 10 * time.Minute

	// joinPatience is how long all may take to join.
	joinPatience = 20 * time.Minute
	fleetName    = "bench-fleet"
)

// BenchmarkDiscovery has a discovery controller join the clusters of a thousand Cluster API objects. The host and both processes are real; the
// members are simulated.
func BenchmarkDiscovery(b *testing.B) {
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	fleet, err := env.Start(b.Context(), env.Options{Clusters: []env.Spec{{Name: "host"}}, Progress: os.Stderr})
	must(err)
	b.Cleanup(fleet.Stop)
	c := fleet.Cluster("host")
	binary, err := envhost.Build()
	must(err)
	// Each process is found by its file.
	discovering := filepath.Join(b.TempDir(), "discovery")
	must(os.Link(binary, discovering))
	manager, err := envhost.New(c, binary)
	must(err)
	b.Cleanup(manager.Close)
	manager.Discovery = true
	must(manager.Install(b.Context()))
	must(manager.Start(b.Context()))
	must(manager.Wait(b.Context()))
	beside, err := envhost.New(c, discovering)
	must(err)
	b.Cleanup(beside.Close)
	controller, err := beside.NewDiscovery(b.Context())
	must(err)
	controller.Env = []string{discoveryMemoryLimit}

	f := newFoundClusters(b, c.Config())
	must(f.fill(b.Context()))
	h, err := host.Connect(c.Config())
	must(err)
	status := func() *v1alpha1.DiscoveryStatus {
		b.Helper()
		o, err := h.Federation(b.Context(), fleetName)
		must(err)
		if o.Status.Discovery == nil {
			return &v1alpha1.DiscoveryStatus{}
		}
		return o.Status.Discovery
	}
	until := func(what string, most time.Duration, done func() bool) time.Duration {
		b.Helper()
		began := time.Now()
		for !done() {
			if time.Since(began) > most {
				b.Fatalf("%s: not in %s; %d of %d members were asked; %+v", what, most, f.live.Load(), allCandidates-deadCandidates, status())
			}
			elapse(b, 100*time.Millisecond)
		}
		return time.Since(began)
	}

	began := time.Now()
	must(controller.Start())
	b.Cleanup(controller.Kill)
	until("the controller settles", joinPatience, func() bool {
		return f.live.Load() == allCandidates-deadCandidates && status().Found == allCandidates
	})
	settled, first := time.Since(began), time.Unix(0, f.first.Load()).Sub(began)
	until("the members join", joinPatience, func() bool { return status().Joined == allCandidates-deadCandidates })
	joined := time.Since(began)
	process := processOf(b, discovering)
	for _, n := range status().NotJoined {
		if n.State != string(discover.Unreachable) {
			b.Errorf("%s: %s, %s", n.Cluster, n.State, n.Reason)
		}
	}

	requests, dials, cpu := f.requests.Load(), f.dials.Load(), process.cpu(b)
	for n := 0; b.Loop(); n++ {
		if n == 0 {
			elapse(b, restTime)
		}
	}
	requests, dials, cpu = f.requests.Load()-requests, f.dials.Load()-dials, process.cpu(b)-cpu
	memory := process.memory(b, "VmHWM")
	b.ReportMetric(0, "ns/op") // the rest, mostly
	b.ReportMetric(settled.Seconds(), "settle-s")
	b.ReportMetric(settled.Seconds()/discoverDeadline.Seconds(), "settle/deadline")
	b.ReportMetric(joined.Seconds(), "joined-s")
	b.ReportMetric(memory, "MiB-peak")
	b.ReportMetric(float64(requests), "rest-requests")
	b.ReportMetric(float64(dials)/f.silent, "rest-dials/dead")
	b.ReportMetric(cpu.Seconds()/restTime.Seconds(), "rest-cores")
	b.Logf("asked the first in %s, settled in %s, all joined in %s, up to %.0f MiB; in %s of rest %d requests to members, and %d dials of %.0f clusters that never answer",
		first.Round(100*time.Millisecond), settled.Round(100*time.Millisecond), joined.Round(time.Second), memory, restTime, requests, dials, f.silent)
	if settled.Seconds() > maxSettle*discoverDeadline.Seconds() {
		b.Errorf("it settles in %.2f deadlines, more than %.1f", settled.Seconds()/discoverDeadline.Seconds(), maxSettle)
	}
	if memory >= maxDiscoveryMemory {
		b.Errorf("it takes up to %.0f MiB, not less than %d", memory, maxDiscoveryMemory)
	}
	if requests > 0 {
		b.Errorf("it sends %d requests to members that have not changed, in %s", requests, restTime)
	}
}

func elapse(b *testing.B, d time.Duration) {
	b.Helper()
	select {
	case <-b.Context().Done():
		b.Fatal(b.Context().Err())
	case <-time.After(d):
	}
}

// foundClusters are those that the objects on the host lead to.
type foundClusters struct {
	client      dynamic.Interface
	kube        kubernetes.Interface
	kubeconfigs []string
	// live is how many of those that answer were asked by discovery, requests how often that was, and dials how often those that never
	// answer were connected to, of which there are silent.
	live, requests, dials atomic.Int64
	silent                float64
	// first is when the first was asked, in nanoseconds.
	first atomic.Int64
}

func newFoundClusters(b *testing.B, config *rest.Config) *foundClusters {
	b.Helper()
	config.QPS, config.Burst = -1, -1
	f := &foundClusters{client: dynamic.NewForConfigOrDie(config), kube: kubernetes.NewForConfigOrDie(config)}
	listen := func() net.Listener {
		b.Helper()
		l, err := env.ListenOutside()
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	var refusing []net.Listener // closed when no other listener takes their ports any more
	for i := range allCandidates {
		var config *rest.Config
		switch l := listen(); { // those that are dead stand between those that answer
		case i%10 != 0:
			config = f.member(b, i, l)
		case i%20 == 0:
			refusing = append(refusing, l)
			config = &rest.Config{Host: "https://" + l.Addr().String(), BearerToken: "unheard"}
		default:
			f.silent++
			b.Cleanup(func() { _ = l.Close() })
			go f.hang(l)
			config = &rest.Config{Host: "https://" + l.Addr().String(), BearerToken: "unheard"}
		}
		file := filepath.Join(b.TempDir(), "kubeconfig")
		if err := env.WriteKubeconfig(file, env.Context{Name: "cluster", Config: config}); err != nil {
			b.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		f.kubeconfigs = append(f.kubeconfigs, string(data))
	}
	for _, l := range refusing {
		_ = l.Close()
	}
	return f
}

// member starts a simulated member.
func (f *foundClusters) member(b *testing.B, i int, l net.Listener) *rest.Config {
	b.Helper()
	s := prepareSimulated(i, 0)
	_ = s.Listener.Close()
	s.Listener = l
	var asked atomic.Bool
	s.seen = func(r *http.Request) {
		if !strings.HasPrefix(r.UserAgent(), "kubectl-federate/") {
			return // a probe of the manager
		}
		f.requests.Add(1)
		f.first.CompareAndSwap(0, time.Now().UnixNano())
		if !asked.Swap(true) {
			f.live.Add(1)
		}
	}
	s.start(b)
	config := s.config()
	config.ServerName = "example.com" // the certificate is for loopback, and for this
	return config
}

// hang takes connections, and never says a word.
func (f *foundClusters) hang(l net.Listener) {
	var open []net.Conn // else they would be closed when they are collected
	for {
		conn, err := l.Accept()
		if err != nil {
			break
		}
		f.dials.Add(1)
		open = append(open, conn)
	}
	for _, conn := range open {
		_ = conn.Close()
	}
}

// fill makes the objects, their Secrets, the federation and what lets discovery join them.
func (f *foundClusters) fill(ctx context.Context) error {
	kinds, err := os.ReadFile(filepath.Join("..", "script", "kinds", "cluster-api.yaml"))
	if err != nil {
		return err
	}
	crd := &unstructured.Unstructured{}
	if err := utilyaml.Unmarshal(kinds, &crd.Object); err != nil {
		return err
	}
	federation := &v1alpha1.Federation{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Federation"},
		ObjectMeta: metav1.ObjectMeta{Name: fleetName},
		Spec: v1alpha1.FederationSpec{Health: &v1alpha1.Health{Interval: "5m"}, Discovery: &v1alpha1.Discovery{
			Endpoints: []string{"*"}, Sources: []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{fleetName}}},
		}},
	}
	data, err := json.Marshal(federation)
	if err != nil {
		return err
	}
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &o.Object); err != nil {
		return err
	}
	s := &stage{client: f.client}
	_, err = f.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fleetName}}, metav1.CreateOptions{})
	for _, o := range append([]*unstructured.Unstructured{crd, o}, append(manifests.DiscoveryBinding(fleetName, v1alpha1.VerbDiscover), manifests.DiscoveryNamespaceBinding(fleetName)...)...) {
		err = errors.Join(err, s.apply(ctx, o))
	}
	if err != nil {
		return err
	}
	clusters := f.client.Resource(schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: "v1beta2", Resource: "clusters"}).Namespace(fleetName)
	if err := env.Poll(ctx, func(ctx context.Context) error {
		_, err := clusters.List(ctx, metav1.ListOptions{})
		return err
	}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, kubeconfig := range f.kubeconfigs {
		group.Go(func() error {
			o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster"}}
			o.SetName(fmt.Sprintf("cluster-%04d", i))
			o.SetLabels(map[string]string{v1alpha1.LabelFederation: fleetName})
			if _, err := clusters.Create(ctx, o, metav1.CreateOptions{}); err != nil {
				return err
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: o.GetName() + "-kubeconfig"}, StringData: map[string]string{"value": kubeconfig}}
			_, err := f.kube.CoreV1().Secrets(fleetName).Create(ctx, secret, metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}
