//go:build linux && e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// built is the folder with what is built before this program is isolated: from then on it reaches no other machine.
func built(name string) string { return filepath.Join(os.Getenv(isolated), name) }

func TestMain(m *testing.M) {
	if os.Getenv(isolated) == "" {
		code, err := outside()
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			code = 1
		}
		os.Exit(code)
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	env.Main(m)
}

// outside builds everything and runs this program again, isolated.
func outside() (code int, err error) {
	if err := lacking(); err != nil {
		return 0, err
	}
	folder, err := os.MkdirTemp("", "kubectl-federate-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	if _, err := env.Assets(ctx, os.Stderr); err != nil {
		return 0, err
	}
	if _, err := env.OldestHost.Assets(ctx, os.Stderr); err != nil {
		return 0, err
	}
	if err := packPause(ctx, filepath.Join(folder, "pause.tar")); err != nil {
		return 0, err
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		return 0, err
	}
	for _, line := range [][]string{
		{"go", "build", "-o", filepath.Join(folder, "kubectl-federate"), "../../cmd/kubectl-federate"},
		{"go", "-C", "../tools/image", "run", ".", "-source", top, "-out", folder, "-name", "kubefederate/manager", "-version", version,
			"-platforms", "linux/" + runtime.GOARCH},
	} {
		if out, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, out)
		}
	}
	return isolate(folder)
}

// lacking names what this machine lacks.
func lacking() error {
	if os.Getuid() != 0 {
		return errors.New("pods take root: run make e2e as root")
	}
	for _, program := range []string{"containerd", "ctr", "runc", "/usr/lib/cni/bridge", "/usr/lib/cni/host-local"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: install Debian's packages containerd, runc, containernetworking-plugins, iproute2 and iptables", err)
		}
	}
	return nil
}

// version is that of the image, whose tag it is.
const version = "v0.0.0-e2e"

// machine is a host with two nodes, and a member.
type machine struct {
	*testing.T
	fleet *env.Fleet
	nodes []*node
	load  dynamic.ResourceInterface
}

func start(t *testing.T) *machine {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	fleet, err := env.Start(ctx, env.Options{Progress: os.Stderr, Clusters: []env.Spec{
		{Name: "host", ControllerManager: true, Pods: true},
		{Name: "us-east", ControllerManager: true, Zones: []string{"us-east-1a"}},
		{Name: "us-west", ControllerManager: true, Zones: []string{"us-west-2a"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Stop)
	m := &machine{T: t, fleet: fleet}
	for _, c := range fleet.Clusters() {
		at, err := url.Parse(c.Config().Host)
		if err != nil {
			t.Fatal(err)
		}
		forward(t, net.JoinHostPort(serviceAddress, at.Port()), at.Host)
		if c.Name == "host" {
			forward(t, net.JoinHostPort(serviceAddress, "443"), at.Host)
		}
	}
	for i := range 2 {
		// What is mounted there goes with the namespaces.
		n, err := startNode(ctx, fleet.Cluster("host"), built("nodes"), i)
		if err != nil {
			t.Fatal(err)
		}
		m.nodes = append(m.nodes, n)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.kubectl("get", "all,events,leases", "-A", "-o", "wide"))
			for _, n := range m.nodes {
				t.Log(n.logs())
			}
		}
	})
	client, err := dynamic.NewForConfig(fleet.Cluster("host").Config())
	if err != nil {
		t.Fatal(err)
	}
	m.load = client.Resource(v1alpha1.GroupVersion.WithResource("memberclusters"))
	return m
}

// forward serves at an address what is served at another one: pods have no loopback but their own.
func forward(t *testing.T, from, to string) {
	t.Helper()
	listener, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, in); out.Close() }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
}

// run runs a program against the fleet and returns what it prints, and its error.
func (m *machine) run(program string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+m.fleet.Kubeconfig)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	return out.String(), err
}

func (m *machine) kubectl(arguments ...string) string {
	out, err := m.run(m.fleet.Kubectl(), arguments...)
	if err != nil {
		m.Errorf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return out
}

func (m *machine) federate(arguments ...string) string {
	m.Helper()
	out, err := m.run(built("kubectl-federate"), arguments...)
	if err != nil {
		m.Fatalf("kubectl federate %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return out
}

// refused is a command that is refused with those words.
func (m *machine) refused(words string, arguments ...string) {
	m.Helper()
	out, err := m.run(built("kubectl-federate"), arguments...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, words) {
		m.Errorf("kubectl federate %s: %v\n%s\nwant exit 2 and %q", strings.Join(arguments, " "), err, out, words)
	}
}

func (m *machine) join(name string, more ...string) []string {
	at, err := url.Parse(m.fleet.Cluster(name).Config().Host)
	if err != nil {
		m.Fatal(err)
	}
	return append([]string{"join", name, "--member-context", name, "--federation", "prod", "--member-server", "https://" + net.JoinHostPort(serviceAddress, at.Port())}, more...)
}

// forbidden has a pod on its node's network be refused where the manager runs: its namespace takes restricted pods alone.
func (m *machine) forbidden() {
	m.Helper()
	out, err := m.run(m.fleet.Kubectl(), "run", "on-node", "-n", v1alpha1.HostNamespace, "--image=none.example.com/none",
		`--overrides={"spec":{"hostNetwork":true}}`, "--dry-run=server")
	if err == nil || !strings.Contains(out, `violates PodSecurity "restricted`) {
		m.Errorf("a pod on the network of its node in %s: %v\n%s", v1alpha1.HostNamespace, err, out)
	}
}

// writes changes members, one after the other, until it is stopped, and counts what failed. A write that failed is made again until it
// succeeds, as a user would.
type writes struct {
	done, failed atomic.Int64
	stopped      context.CancelFunc
	running      sync.WaitGroup
	mu           sync.Mutex
	// errors are those of writes that failed, and lost of those that could not be made again.
	errors, lost []error
}

// patience is how long a write that fails is made again.
const patience = 30 * time.Second

// try makes a write, and makes it again where it fails. It says whether it succeeded.
func (w *writes) try(ctx context.Context, write func() error) bool {
	w.done.Add(1)
	first := write()
	if first == nil || ctx.Err() != nil {
		return first == nil
	}
	w.failed.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = append(w.errors, first)
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(250 * time.Millisecond) {
		if err := write(); err == nil || apierrors.IsAlreadyExists(err) {
			return true
		}
	}
	w.lost = append(w.lost, first)
	return false
}

// writers is how many write at once, so how many writes may be in flight.
const writers = 2

// write begins a steady load of writes that the webhook judges.
func (m *machine) write() *writes {
	ctx, stop := context.WithCancel(m.Context())
	w := &writes{stopped: stop}
	w.running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			w.try(ctx, func() error {
				_, err := m.load.Patch(m.Context(), "us-east", types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"example.com/load":"l%d"}}}`, i), metav1.PatchOptions{})
				return err
			})
			<-time.After(50 * time.Millisecond)
		}
	})
	w.running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			o := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": v1alpha1.GroupVersion.String(), "kind": "MemberCluster",
				"metadata": map[string]any{"name": fmt.Sprintf("load-%d", i), "labels": map[string]any{v1alpha1.LabelFederation: "load"}},
				"spec":     map[string]any{"clusterID": "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "server": "https://load.example.com"},
			}}
			if w.try(ctx, func() error {
				_, err := m.load.Create(m.Context(), o.DeepCopy(), metav1.CreateOptions{})
				return err
			}) {
				w.try(ctx, func() error { return m.load.Delete(m.Context(), o.GetName(), metav1.DeleteOptions{}) })
			}
			<-time.After(200 * time.Millisecond)
		}
	})
	return w
}

// stop ends the writes. None of them may have failed but those in flight where a replica is lost, and these succeed when they are made
// again.
func (w *writes) stop(t *testing.T, what string, excused int64) {
	t.Helper()
	w.stopped()
	w.running.Wait()
	t.Logf("%s: %d writes, %d failed: %v", what, w.done.Load(), w.failed.Load(), w.errors)
	if w.done.Load() < 20 {
		t.Errorf("%s: only %d writes", what, w.done.Load())
	}
	for _, err := range w.lost {
		t.Errorf("%s: a write failed again and again for %s: %v", what, patience, err)
	}
	for _, err := range w.errors {
		if excused == 0 || !apierrors.IsInternalError(err) && !apierrors.IsServerTimeout(err) && !apierrors.IsTooManyRequests(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if failed := w.failed.Load(); failed > excused {
		t.Errorf("%s: %d writes failed, of which %d may have been in flight", what, failed, excused)
	}
}

// ready waits until both replicas of the manager are ready and no others are left.
func (m *machine) ready() {
	const replicas = 2 // as shipped
	m.Helper()
	m.kubectl("rollout", "status", "deployment/kubefederate-manager", "-n", v1alpha1.HostNamespace, "--timeout=180s")
	env.Eventually(m.T, "the replicas", func(context.Context) error {
		pods := strings.Fields(m.kubectl("get", "pods", "-n", v1alpha1.HostNamespace, "-o", `jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`))
		if len(pods) != replicas || strings.Join(pods, "") != strings.Repeat("True", replicas) {
			return fmt.Errorf("replicas that are ready: %v", pods)
		}
		return nil
	})
}

// TestNode installs the manager as shipped, on two nodes, and uses it while everything happens to it that happens to pods; and then the
// discovery controller beside it.
func TestNode(t *testing.T) {
	m := start(t)
	began := time.Now()
	m.kubectl("config", "use-context", "host")
	t.Log(m.federate("init", "--image", "kubefederate/manager:"+version, "--timeout", "5m"))
	m.ready()
	t.Logf("two replicas are ready after %s", time.Since(began).Round(time.Second))
	for _, kind := range []string{"networkpolicy", "poddisruptionbudget", "service", "lease"} {
		if out := m.kubectl("get", kind, "-n", v1alpha1.HostNamespace, "-o", "name"); !strings.Contains(out, "kubefederate") {
			t.Errorf("no %s:\n%s", kind, out)
		}
	}

	m.federate("create", "federation", "prod", "--max", "1")
	m.federate("create", "federation", "load")
	t.Log(m.federate(m.join("us-east")...))
	m.refused(`federation "prod" has 1 member and takes at most 1`, m.join("us-west")...)
	m.forbidden()
	env.Eventually(t, "us-east", func(context.Context) error {
		if out := m.federate("get"); !strings.Contains(out, "Ready") {
			return errors.New(out)
		}
		return nil
	})
	m.federate("check")

	w := m.write()
	m.kubectl("rollout", "restart", "deployment/kubefederate-manager", "-n", v1alpha1.HostNamespace)
	m.ready()
	w.stop(t, "rolling restart", 0)

	for i := range m.nodes {
		w = m.write()
		m.kubectl("drain", m.nodes[i].name, "--ignore-daemonsets", "--timeout=180s")
		m.ready()
		m.kubectl("uncordon", m.nodes[i].name)
		w.stop(t, "drain of "+m.nodes[i].name, 0)
	}

	w = m.write()
	t.Log(m.federate("init", "--only", "keys"))
	w.stop(t, "new keys", 0)
	m.ready()

	// A pod that is lost without a word is served to until its endpoint goes.
	w = m.write()
	holder := m.leads(manifests.ManagerLease, "")
	m.kubectl("delete", "pod", "-n", v1alpha1.HostNamespace, holder, "--force", "--grace-period=0")
	m.ready()
	w.stop(t, "loss of the leader", writers)
	m.leads(manifests.ManagerLease, holder)

	m.discovers()

	t.Log(m.federate("unjoin", "us-east", "--member-context", "us-east"))
	m.kubectl("delete", "federation", "prod", "load")
	t.Log(m.federate("deinit"))
}
