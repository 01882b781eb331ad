//go:build unix

// Package host makes a cluster of test/env a host: it installs manifests/ as shipped and runs the
// manager beside the cluster, as a process of its own, with the rights of the manager's own account.
package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// Manager is a manager beside a cluster.
type Manager struct {
	// URL is where the cluster's API server reaches its webhook.
	URL string
	// MetricsURL is where it serves metrics.
	MetricsURL string
	// CertDir is the folder of the certificate that it serves from its next start on; empty lets it issue its own from KeysDir.
	CertDir string
	// KeysDir is the folder of its keys, which each Start, and SyncKeys, makes that of the Secret.
	KeysDir string
	// Flags are given to it beside those that it needs, from its next start on.
	Flags []string
	// Env is its environment from its next start on, such as GOMEMLIMIT=….
	Env []string
	// Log is the file that has its output.
	Log string
	// Config is how it reaches the cluster from its next start on, with a token of its own account; nil is directly.
	Config *rest.Config
	// Discovery has Install install the account of a discovery controller, too.
	Discovery bool

	binary  string
	cluster *env.Cluster
	address string
	metrics string
	dir     string
	process *env.Process
}

// Build builds the manager of this checkout, once, into a new temporary folder and returns the path of the binary.
var Build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "manager-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "manager")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", binary, "github.com/kubefederate/kubectl-federate/cmd/manager")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the manager: %w\n%s", err, out)
	}
	return binary, nil
})

// New reserves addresses for a manager beside c, which the program at binary will run, or where that is empty the manager of
// this checkout. Files are kept in a new folder below the temporary one.
func New(c *env.Cluster, binary string) (*Manager, error) {
	if binary == "" {
		var err error
		if binary, err = Build(); err != nil {
			return nil, err
		}
	}
	var addresses [2]string
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	dir, err := os.MkdirTemp("", "manager-")
	if err != nil {
		return nil, err
	}
	return &Manager{
		URL: "https://" + addresses[0], MetricsURL: "https://" + addresses[1] + "/metrics", Log: filepath.Join(dir, "log"), KeysDir: filepath.Join(dir, "keys"),
		binary: binary, cluster: c, address: addresses[0], metrics: addresses[1], dir: dir,
	}, nil
}

// Address is the URL of its own, also where m.URL is that of a Balancer.
func (m *Manager) Address() string { return "https://" + m.address }

// Install applies manifests/ as shipped, for a manager at m.URL.
func (m *Manager) Install(ctx context.Context) error {
	h, err := host.Connect(m.cluster.Config())
	if err != nil {
		return err
	}
	keys := install.KeyChange{Host: h, Report: func(*unstructured.Unstructured, install.Outcome) {}, Progress: func(string) {}}
	_, err = keys.Install(ctx, manifests.Options{Version: version.Version, WebhookURL: m.URL, Discovery: m.Discovery})
	return err
}

// SyncKeys makes the folder that of the Secret, as a kubelet does for a pod: all files at once.
func (m *Manager) SyncKeys(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(m.cluster.Config())
	if err != nil {
		return err
	}
	secret, err := client.CoreV1().Secrets(v1alpha1.HostNamespace).Get(ctx, manifests.KeysSecret, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("the manager's keys: %w", err)
	}
	return WriteVolume(m.KeysDir, secret.Data)
}

// WriteVolume swaps the files of a folder as a kubelet does: each is a link into a folder that is replaced as a whole.
func WriteVolume(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	version, err := os.MkdirTemp(dir, "..")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(version, name), content, 0o600); err != nil {
			return err
		}
	}
	const data = "..data"
	next := filepath.Join(dir, data+"_tmp")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		return err
	}
	before, _ := os.Readlink(filepath.Join(dir, data))
	if err := os.Rename(next, filepath.Join(dir, data)); err != nil {
		return err
	}
	for name := range files {
		if err := os.Symlink(filepath.Join(data, name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	links, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, link := range links {
		if _, kept := files[link.Name()]; !kept && !strings.HasPrefix(link.Name(), "..") {
			if err := os.Remove(filepath.Join(dir, link.Name())); err != nil {
				return err
			}
		}
	}
	if before == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, before))
}

// Start runs the manager with a token of its own account, which Install has made. It does not wait until
// the webhook is enforcing. After Stop or Kill it starts it again.
func (m *Manager) Start(ctx context.Context) error {
	config, err := m.account(ctx, manifests.ManagerAccount)
	if err != nil {
		return err
	}
	from := "--cert-dir=" + m.CertDir
	if m.CertDir == "" {
		if err := m.SyncKeys(ctx); err != nil {
			return err
		}
		from = "--keys-dir=" + m.KeysDir
	}
	kubeconfig := filepath.Join(m.dir, "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig, env.Context{Name: "host", Config: config}); err != nil {
		return err
	}
	m.process, err = env.Run(env.Program{Path: m.binary, Log: m.Log, Env: m.Env, Flags: append([]string{
		"--kubeconfig=" + kubeconfig,
		"--webhook-bind-address=" + m.address,
		"--metrics-bind-address=" + m.metrics,
		"--health-probe-bind-address=0",
		"--leader-elect=false",
		"--shutdown-delay=0s",
		from,
	}, m.Flags...)})
	return err
}

// Wait returns when the webhook refuses what it must.
func (m *Manager) Wait(ctx context.Context) error {
	h, err := host.Connect(m.cluster.Config())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		select {
		case <-m.process.Done():
			end(errors.New("the manager ended"))
		case <-ctx.Done():
		}
	}()
	if err := env.Poll(ctx, h.Enforcing); err != nil {
		log, _ := os.ReadFile(m.Log)
		return fmt.Errorf("the webhook at %s is not enforcing: %w (%w); its manager printed:\n%s", m.URL, context.Cause(ctx), err, log)
	}
	return nil
}

// Stop asks the manager to end and returns when it is gone. Without a Start nothing happens.
func (m *Manager) Stop() {
	if m.process != nil {
		m.process.End()
	}
}

// Kill ends the manager as a crash does.
func (m *Manager) Kill() {
	if m.process != nil {
		m.process.Kill()
	}
}

// Pause has the manager stand still until Resume.
func (m *Manager) Pause() error { return m.process.Pause() }

// Resume has the manager go on.
func (m *Manager) Resume() error { return m.process.Resume() }

// Running says whether the manager runs.
func (m *Manager) Running() bool {
	if m.process == nil {
		return false
	}
	select {
	case <-m.process.Done():
		return false
	default:
		return true
	}
}

// Close stops the manager and removes its files.
func (m *Manager) Close() {
	m.Stop()
	_ = os.RemoveAll(m.dir)
}

// Make makes c a host whose webhook is enforcing, with the manager of this checkout.
func Make(ctx context.Context, c *env.Cluster, flags ...string) (*Manager, error) {
	m, err := New(c, "")
	if err != nil {
		return nil, err
	}
	m.Flags = flags
	for _, step := range []func(context.Context) error{m.Install, m.Start, m.Wait} {
		if err := step(ctx); err != nil {
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

// account is a configuration with a token of one of the installed accounts.
func (m *Manager) account(ctx context.Context, name string) (*rest.Config, error) {
	client, err := kubernetes.NewForConfig(m.cluster.Config())
	if err != nil {
		return nil, err
	}
	token, err := client.CoreV1().ServiceAccounts(v1alpha1.HostNamespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("a token of %s: %w", name, err)
	}
	config := rest.AnonymousClientConfig(m.cluster.Config())
	if m.Config != nil {
		config = rest.AnonymousClientConfig(m.Config)
	}
	config.BearerToken = token.Status.Token
	return config, nil
}
