//go:build unix

package env

import (
	"context"
	"errors"
	"fmt"
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
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Spec says what a cluster is to be like.
type Spec struct {
	// Name is the cluster's name in the fleet and of its context in the fleet's kubeconfig. It is a DNS label.
	Name string
	// Release is that of the API server and of the controller manager.
	Release Release
	// ControllerManager starts a kube-controller-manager. Without one no namespace finishes deleting, no
	// owned object is collected, no namespace gets its default ServiceAccount, no token Secret is filled, and the
	// ClusterRoles admin, edit and view are empty.
	ControllerManager bool
	// Zones have a Node each.
	Zones []string
	// MaxTokenLifetime is the longest that the API server lets a token of a ServiceAccount live, at least an hour,
	// whatever is asked for, as managed clusters do. Zero is no bound.
	MaxTokenLifetime time.Duration
	// AdmissionConfiguration is the file that the API server reads with --admission-control-config-file; empty for none.
	AdmissionConfiguration string
	// Pods starts a scheduler as well, of OldestHost as the kubelets are, the controllers that run pods, and an API server that calls webhooks at the addresses of
	// pods. There is no kubelet: package e2e starts those.
	Pods bool
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
	// programs is the folder of the API server and the controller manager, podPrograms that of the scheduler.
	programs, podPrograms string

	ca    Authority
	port  *port
	admin Pair
	// serving signed the certificate that the API server serves with.
	serving Authority

	mu                                      sync.Mutex // held while servers start or end
	apiServer, controllerManager, scheduler *Process
}

// Config returns a fresh configuration of an administrator (group system:masters), without a client-side
// rate limit.
func (c *Cluster) Config() *rest.Config { return c.config(c.admin) }

// Context returns the administrator's context, named like the cluster, for WriteKubeconfig.
func (c *Cluster) Context() Context { return Context{Name: c.Name, Config: c.Config()} }

// User returns the configuration of a user whom the cluster knows by a client certificate. The user may do
// what the cluster's RBAC says; it need not exist in any other way.
func (c *Cluster) User(name string, groups ...string) *rest.Config {
	return c.config(c.ca.user(name, groups))
}

func (c *Cluster) config(user Pair) *rest.Config {
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port.number)),
		QPS:             -1,
		Burst:           -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.serving.PEM(), CertData: user.Cert, KeyData: user.Key},
	}
}

// prepare makes everything that a cluster keeps for its whole life: its address, its authority, its files.
func (f *Fleet) prepare(ctx context.Context, spec Spec) (_ *Cluster, err error) {
	c := &Cluster{Spec: spec, fleet: f, dir: filepath.Join(f.Dir, spec.Name), programs: f.assets, ca: NewAuthority(spec.Name, NewKey())}
	if spec.Release != Newest {
		if c.programs, err = spec.Release.Assets(ctx, f.progress); err != nil {
			return nil, err
		}
	}
	if spec.Pods {
		if c.podPrograms, err = OldestHost.Assets(ctx, f.progress); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cluster %q: %w", spec.Name, err)
	}
	c.serving = c.ca
	c.Kubeconfig, c.admin = c.path("kubeconfig"), c.ca.user("admin", []string{"system:masters"})
	server := c.ca.Server()
	for name, content := range map[string][]byte{
		"ca.crt": c.ca.PEM(), "server.crt": server.Cert, "server.key": server.Key, "accounts.key": encodeKey(NewKey()),
	} {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	if c.port, err = reservePort(); err != nil {
		return nil, err
	}
	return c, WriteKubeconfig(c.Kubeconfig, c.Context())
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// Start starts the servers of a new cluster, or of one that Stop has stopped, at the same address, with the same content.
// It returns when the API server is ready and, with a controller manager, what every cluster has by itself
// is there.
func (c *Cluster) Start(ctx context.Context) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.apiServer != nil {
		return nil
	}
	began := time.Now()
	defer func() {
		if err != nil {
			c.kill()
			err = fmt.Errorf("cluster %s: %w", c.Name, err)
		}
	}()
	if c.apiServer, err = Run(c.apiServerProgram()); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	// Most of what clients do at first waits for the API server.
	if err := c.apiServer.while(ctx, func(ctx context.Context) error { return c.ready(ctx, client) }); err != nil {
		return err
	}
	if c.ControllerManager {
		if c.controllerManager, err = Run(c.controllerManagerProgram()); err != nil {
			return err
		}
		if err := c.controllerManager.while(ctx, func(ctx context.Context) error { return settled(ctx, client) }); err != nil {
			return err
		}
	}
	if c.Pods {
		if c.scheduler, err = Run(c.schedulerProgram()); err != nil {
			return err
		}
	}
	for i, zone := range c.Zones {
		if err := c.AddNode(ctx, fmt.Sprintf("node-%d", i), map[string]string{
			corev1.LabelTopologyRegion: zone[:len(zone)-1], corev1.LabelTopologyZone: zone,
		}); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.fleet.progress, "cluster %s: ready after %.1f s\n", c.Name, time.Since(began).Seconds())
	return nil
}

// Stop kills the cluster's servers, as when a cluster goes out of reach: connections break, and new ones are
// refused. Its content stays.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kill()
}

func (c *Cluster) kill() {
	c.scheduler.Kill()
	c.controllerManager.Kill()
	c.apiServer.Kill()
	c.scheduler, c.controllerManager, c.apiServer = nil, nil, nil
}

// Pause has the API server stand still, as one does that hangs: it takes connections and answers nothing, until Resume.
func (c *Cluster) Pause() error { return c.apiServer.Pause() }

// Resume has the API server go on.
func (c *Cluster) Resume() error { return c.apiServer.Resume() }

// Recertify starts the cluster again with a certificate of another authority, which c.Config has from then on; the clients that it
// knows stay the same. Restore says that it is the authority that the cluster began with.
func (c *Cluster) Recertify(ctx context.Context, restore bool) error {
	authority := c.ca
	if !restore {
		authority = NewAuthority(c.Name, NewKey())
	}
	c.Stop()
	c.serving = authority
	server := authority.Server()
	if err := errors.Join(
		os.WriteFile(c.path("server.crt"), server.Cert, 0o600),
		os.WriteFile(c.path("server.key"), server.Key, 0o600),
		WriteKubeconfig(c.Kubeconfig, c.Context()),
	); err != nil {
		return err
	}
	return c.Start(ctx)
}

func (c *Cluster) apiServerProgram() Program {
	flags := []string{
		"--etcd-servers=" + c.fleet.etcdURL(),
		"--etcd-prefix=/" + c.Name,
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.port.number),
		"--permit-port-sharing", // with the reservation of the port
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
	}
	if c.MaxTokenLifetime != 0 {
		flags = append(flags, "--service-account-max-token-expiration="+c.MaxTokenLifetime.String())
	}
	if c.AdmissionConfiguration != "" {
		flags = append(flags, "--admission-control-config-file="+c.AdmissionConfiguration)
	}
	if c.Pods {
		flags = append(flags, "--enable-aggregator-routing=true") // to the endpoints of a Service: there is no kube-proxy
	}
	return Program{Path: filepath.Join(c.programs, "kube-apiserver"), Log: c.path("kube-apiserver.log"), Flags: flags}
}

// podControllers are those that run pods.
const podControllers = ",deployment-controller,replicaset-controller,endpointslice-controller,disruption-controller,node-lifecycle-controller," +
	"pod-garbage-collector-controller"

// controllers are the ones that act on what a federation makes, or whose absence a user of a cluster would
// notice at once. Those for Nodes are left out on purpose: no kubelet reports, so they would taint every
// Node after 40 seconds.
const controllers = "namespace-controller,garbage-collector-controller,serviceaccount-controller,serviceaccount-token-controller," +
	"root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,validatingadmissionpolicy-status-controller"

// oldControllers are the same ones by their names before Kubernetes 1.28; OldestMember has no admission policies.
const oldControllers = "namespace,garbagecollector,serviceaccount,serviceaccount-token,root-ca-cert-publisher,clusterrole-aggregation"

func (c *Cluster) schedulerProgram() Program {
	return Program{Path: filepath.Join(c.podPrograms, "kube-scheduler"), Log: c.path("kube-scheduler.log"), Flags: []string{
		"--kubeconfig=" + c.Kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
	}}
}

func (c *Cluster) controllerManagerProgram() Program {
	run := controllers
	if c.Release == OldestMember {
		run = oldControllers
	}
	if c.Pods {
		run += podControllers
	}
	return Program{Path: filepath.Join(c.programs, "kube-controller-manager"), Log: c.path("kube-controller-manager.log"), Flags: []string{
		"--kubeconfig=" + c.Kubeconfig,
		"--controllers=" + run,
		// As in every cluster that people run: policies know the garbage collector by the name of its account.
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + c.path("accounts.key"),
		"--root-ca-file=" + c.path("ca.crt"),
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	}}
}

// systemNamespaces are those that every API server creates.
var systemNamespaces = []string{metav1.NamespaceDefault, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceSystem}

// ready returns when the API server is, and reads the cluster's identity.
func (c *Cluster) ready(ctx context.Context, client *kubernetes.Clientset) error {
	return Poll(ctx, func(ctx context.Context) error {
		if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
			return err
		}
		// readyz does not wait for the objects that the API server makes when it starts.
		if _, err := client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{}); err != nil {
			return err
		}
		for _, name := range systemNamespaces {
			namespace, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if name == metav1.NamespaceSystem && c.ID == "" { // a cluster that is started again has it, and others may be reading it
				c.ID = string(namespace.UID)
			}
		}
		return nil
	})
}

// settled returns when the controller manager has given every namespace what it gives to all, and has put
// together the roles that are made up of others. After that it writes nothing until it is asked for.
func settled(ctx context.Context, client *kubernetes.Clientset) error {
	return Poll(ctx, func(ctx context.Context) error {
		for _, namespace := range systemNamespaces {
			if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); err != nil {
				return err
			}
			if _, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
				return err
			}
		}
		list, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		rules := map[string][]rbacv1.PolicyRule{}
		for _, role := range list.Items {
			rules[role.Name] = role.Rules
		}
		for part, whole := range map[string]string{
			"system:aggregate-to-view": "view", "view": "edit", "system:aggregate-to-edit": "edit", "edit": "admin", "system:aggregate-to-admin": "admin",
		} {
			if !covers(rules[whole], rules[part]) {
				return fmt.Errorf("ClusterRole %s has no rules of %s yet", whole, part)
			}
		}
		return nil
	})
}

// covers says whether some rules hold each of some others, of which there is at least one.
func covers(whole, part []rbacv1.PolicyRule) bool {
	return len(part) > 0 && !slices.ContainsFunc(part, func(rule rbacv1.PolicyRule) bool {
		return !slices.ContainsFunc(whole, func(r rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(r, rule) })
	})
}

// AddNode creates a Node with the labels, or sets them on the Node of that name. It is ready, of the
// cluster's version, with four CPUs and 16 GiB; there is no kubelet.
func (c *Cluster) AddNode(ctx context.Context, name string, labels map[string]string) error {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	options := metav1.ApplyOptions{FieldManager: "env", Force: true}
	node := applycorev1.Node(name).WithLabels(labels).WithLabels(map[string]string{corev1.LabelHostname: name})
	if _, err := client.CoreV1().Nodes().Apply(ctx, node, options); err != nil {
		return err
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("4"),
		corev1.ResourceMemory: resource.MustParse("16Gi"),
		corev1.ResourcePods:   resource.MustParse("110"),
	}
	_, err = client.CoreV1().Nodes().ApplyStatus(ctx, applycorev1.Node(name).WithStatus(applycorev1.NodeStatus().
		WithCapacity(capacity).WithAllocatable(capacity).
		WithNodeInfo(applycorev1.NodeSystemInfo().WithKubeletVersion(version.GitVersion)).
		WithConditions(applycorev1.NodeCondition().WithType(corev1.NodeReady).WithStatus(corev1.ConditionTrue).WithReason("KubeletReady"))), options)
	return err
}
