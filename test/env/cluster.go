//go:build unix

package env

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Spec says what a cluster is to be like.
type Spec struct {
	// Name is the cluster's name in the fleet and of its context in the fleet's kubeconfig. It is a DNS label.
	Name string
	// ControllerManager starts a kube-controller-manager. Without one no namespace finishes deleting, no
	// owned object is collected, no namespace gets its default ServiceAccount, no token Secret is filled, and the
	// ClusterRoles admin, edit and view are empty.
	ControllerManager bool
	// MaxTokenLifetime is the longest that the API server lets a token of a ServiceAccount live, at least an hour,
	// whatever is asked for, as managed clusters do. Zero is no bound.
	MaxTokenLifetime time.Duration
}

// Cluster is one control plane of a Fleet.
type Cluster struct {
	Spec
	// ID is the UID of the cluster's kube-system namespace.
	ID string
	// Kubeconfig is a file with one context of the cluster's name, for an administrator.
	Kubeconfig string

	fleet *Fleet
	dir   string
	ca    *authority
	port  *port
	admin *rest.Config

	mu                           sync.Mutex // held while servers start or end
	apiServer, controllerManager *process
}

// Config returns a fresh configuration of an administrator (group system:masters), without a client-side
// rate limit.
func (c *Cluster) Config() *rest.Config {
	return rest.CopyConfig(c.admin)
}

// Context returns the administrator's context, named like the cluster, for WriteKubeconfig.
func (c *Cluster) Context() Context {
	return Context{Name: c.Name, Config: c.Config()}
}

// User returns the configuration of a user whom the cluster knows by a client certificate. The user may do
// what the cluster's RBAC says; it need not exist in any other way.
func (c *Cluster) User(name string, groups ...string) *rest.Config {
	return c.config(c.ca.user(name, groups))
}

func (c *Cluster) config(user pair) *rest.Config {
	return &rest.Config{
		Host:  "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port.number)),
		QPS:   -1,
		Burst: -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.ca.pem, CertData: user.cert, KeyData: user.key,
		},
	}
}

// prepare makes everything that a cluster keeps for its whole life: its address, its authority, its files.
func (f *Fleet) prepare(spec Spec) (*Cluster, error) {
	c := &Cluster{Spec: spec, fleet: f, dir: filepath.Join(f.Dir, spec.Name), ca: newAuthority(spec.Name)}
	c.Kubeconfig = c.path("kubeconfig")
	var err error
	if c.port, err = reservePort(); err != nil {
		return nil, err
	}
	c.admin = c.User("admin", "system:masters")

	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	server := c.ca.server(names, net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1))
	files := map[string][]byte{
		"ca.crt": c.ca.pem, "server.crt": server.cert, "server.key": server.key, "accounts.key": encodeKey(newKey()),
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return c, err
	}
	for name, content := range files {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return c, err
		}
	}
	return c, WriteKubeconfig(c.Kubeconfig, c.Context())
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// Start starts the servers of a cluster that Stop has stopped, at the same address, with the same content.
// It returns when the API server is ready and, with a controller manager, what every cluster has by itself
// is there.
func (c *Cluster) Start(ctx context.Context) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiServer != nil {
		return nil
	}
	defer func() {
		if err != nil {
			c.stop()
			err = fmt.Errorf("cluster %s: %w", c.Name, err)
		}
	}()
	if c.apiServer, err = c.apiServerCommand().start(); err != nil {
		return err
	}
	if err := c.apiServer.while(ctx, c.ready); err != nil {
		return err
	}
	if !c.ControllerManager {
		return nil
	}
	if c.controllerManager, err = c.controllerManagerCommand().start(); err != nil {
		return err
	}
	return c.controllerManager.while(ctx, c.settled)
}

// Stop kills the cluster's servers, as when a cluster goes out of reach: connections break, and new ones are
// refused. Its content stays.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
}

func (c *Cluster) stop() {
	c.controllerManager.end()
	c.apiServer.end()
	c.controllerManager, c.apiServer = nil, nil
}

func (c *Cluster) apiServerCommand() command {
	apiServer := command{
		path: filepath.Join(c.fleet.assets, "kube-apiserver"),
		log:  c.path("kube-apiserver.log"),
		flags: []string{
			"--etcd-servers=" + c.fleet.etcdURL(),
			"--etcd-prefix=/" + c.Name,
			"--bind-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(c.port.number),
			"--permit-port-sharing", // with our reservation of the port
			"--client-ca-file=" + c.path("ca.crt"),
			"--tls-cert-file=" + c.path("server.crt"),
			"--tls-private-key-file=" + c.path("server.key"),
			"--cert-dir=" + c.dir,
			"--authorization-mode=RBAC",
			"--service-cluster-ip-range=10.0.0.0/24",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + c.path("accounts.key"),
			"--service-account-signing-key-file=" + c.path("accounts.key"),
			// A loopback address cannot be an endpoint of the Service "kubernetes".
			"--endpoint-reconciler-type=none",
			"--profiling=false",
		},
	}
	if c.MaxTokenLifetime != 0 {
		apiServer.flags = append(apiServer.flags, "--service-account-max-token-expiration="+c.MaxTokenLifetime.String())
	}
	return apiServer
}

// controllers are the ones that act on what a federation makes, or whose absence a user of a cluster would
// notice at once. Those for Nodes are left out on purpose: no kubelet reports, so they would taint every
// Node after 40 seconds.
const controllers = "namespace-controller,garbage-collector-controller,serviceaccount-controller,serviceaccount-token-controller," +
	"root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,validatingadmissionpolicy-status-controller"

func (c *Cluster) controllerManagerCommand() command {
	return command{
		path: filepath.Join(c.fleet.assets, "kube-controller-manager"),
		log:  c.path("kube-controller-manager.log"),
		flags: []string{
			"--kubeconfig=" + c.Kubeconfig,
			"--controllers=" + controllers,
			"--service-account-private-key-file=" + c.path("accounts.key"),
			"--root-ca-file=" + c.path("ca.crt"),
			"--leader-elect=false",
			"--secure-port=0",
			"--profiling=false",
			"--kube-api-qps=200",
			"--kube-api-burst=400",
		},
	}
}

// poll is how often a starting server is asked whether it is ready.
const poll = 50 * time.Millisecond

// ready returns when the API server is, and reads the cluster's identity.
func (c *Cluster) ready(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		if last = client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); last != nil {
			return false, nil
		}
		// readyz does not wait for the objects that the API server makes when it starts.
		for _, name := range []string{metav1.NamespaceDefault, metav1.NamespacePublic, corev1.NamespaceNodeLease} {
			if _, last = client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); last != nil {
				return false, nil
			}
		}
		if _, last = client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{}); last != nil {
			return false, nil
		}
		var system *corev1.Namespace
		if system, last = client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{}); last != nil {
			return false, nil
		}
		if c.ID == "" { // a cluster that is started again has it, and others may be reading it
			c.ID = string(system.UID)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server: %w (last: %v)", err, last)
	}
	return nil
}

// settled returns when the controller manager has given every namespace what it gives to all, and has put
// together the roles that are made up of others. After that it writes nothing until somebody asks for it.
func (c *Cluster) settled(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		for _, namespace := range []string{metav1.NamespaceDefault, metav1.NamespacePublic, metav1.NamespaceSystem, corev1.NamespaceNodeLease} {
			if _, last = client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); last != nil {
				return false, nil
			}
			if _, last = client.CoreV1().ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); last != nil {
				return false, nil
			}
		}
		var roles *rbacv1.ClusterRoleList
		if roles, last = client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{}); last != nil {
			return false, nil
		}
		last = aggregated(roles.Items)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the controller manager: %w (last: %v)", err, last)
	}
	return nil
}

// aggregated tells which of the roles that are made up of others (admin, edit, view) lacks a rule yet.
func aggregated(roles []rbacv1.ClusterRole) error {
	for _, whole := range roles {
		if whole.AggregationRule == nil {
			continue
		}
		for _, selector := range whole.AggregationRule.ClusterRoleSelectors {
			s, err := metav1.LabelSelectorAsSelector(&selector)
			if err != nil {
				return err
			}
			for _, part := range roles {
				if part.Name == whole.Name || !s.Matches(labels.Set(part.Labels)) {
					continue
				}
				for _, rule := range part.Rules {
					if !slices.ContainsFunc(whole.Rules, func(r rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(r, rule) }) {
						return fmt.Errorf("ClusterRole %s has no rules of %s yet", whole.Name, part.Name)
					}
				}
			}
		}
	}
	return nil
}

// AddNode creates a Node with the labels, or sets them on the Node of that name. It is ready, of the
// cluster's version, with four CPUs and 16 GiB; no kubelet stands behind it.
func (c *Cluster) AddNode(ctx context.Context, name string, nodeLabels map[string]string) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	created, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		created, err = client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	created.Labels = map[string]string{corev1.LabelHostname: name}
	maps.Copy(created.Labels, nodeLabels)
	// Admission taints a new Node until a kubelet reports it ready.
	created.Spec.Taints = nil
	if created, err = client.CoreV1().Nodes().Update(ctx, created, metav1.UpdateOptions{}); err != nil {
		return err
	}
	now := metav1.Now()
	created.Status = corev1.NodeStatus{
		Capacity: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("4"),
			corev1.ResourceMemory: resource.MustParse("16Gi"),
			corev1.ResourcePods:   resource.MustParse("110"),
		},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			Message: "no kubelet stands behind this node", LastHeartbeatTime: now, LastTransitionTime: now,
		}},
		NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version.GitVersion},
	}
	created.Status.Allocatable = created.Status.Capacity
	_, err = client.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}
