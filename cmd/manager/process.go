package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// processOptions are the flags that the manager and discovery have in common.
type processOptions struct {
	kubeconfig     string
	context        string
	metricsAddress string
	probeAddress   string
	leaderElect    bool
	logFormat      string
	logLevel       int
	version        bool
}

func (o *processOptions) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to the kubeconfig of the host; by default KUBECONFIG, then the pod's service account")
	flags.StringVar(&o.context, "context", "", "Context of the kubeconfig; by default the current one")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "Host and port to serve /metrics at, over TLS, to authorized users; 0 disables it")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", "0", "Host and port to serve /healthz and /readyz at, over HTTP; 0 disables it")
	flags.StringVar(&o.logFormat, "log-format", "json", "Format of the log on stderr: json or text")
	flags.IntVarP(&o.logLevel, "v", "v", 0, "Log level: 0 is for operators, higher levels are for developers")
	flags.BoolVar(&o.version, "version", false, "Print the version and exit")
}

func (o *processOptions) parse(flags *pflag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.logFormat != "json" && o.logFormat != "text" {
		return fmt.Errorf("invalid --log-format %q: must be json or text", o.logFormat)
	}
	return nil
}

func (o *processOptions) printsVersion() bool { return o.version }

// log is the logger of the process.
func (o *processOptions) log(stderr io.Writer) logr.Logger {
	log := o.logger(stderr)
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	return log
}

// logger writes to stderr. The libraries log through it as well; none of them, and nothing here, logs a Secret.
func (o *processOptions) logger(stderr io.Writer) logr.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(-o.logLevel)}
	if o.logFormat == "text" {
		return logr.FromSlogHandler(slog.NewTextHandler(stderr, options))
	}
	return logr.FromSlogHandler(slog.NewJSONHandler(stderr, options))
}

// config is how to reach the host, as an agent of a name.
func (o *processOptions) config(agent string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	// Without any kubeconfig this is the account of the pod.
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no access to a host cluster: %w", err)
	}
	config.UserAgent = agent + "/" + version.Version
	// The API server's priority and fairness bound the manager better than a number here.
	config.QPS, config.Burst = -1, -1
	config.Wrap(cluster.ReadsClock)
	return config, nil
}

// newScheme knows the kinds of Kubernetes and of this project.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

// newManager runs controllers on the replica that holds a lease.
func (o *processOptions) newManager(config *rest.Config, scheme *runtime.Scheme, log logr.Logger, lease string, cached cache.Options) (ctrl.Manager, error) {
	lock, err := newLeaderLock(config, lease)
	if err != nil {
		return nil, err
	}
	fenced := rest.CopyConfig(config)
	fenced.Wrap(lock.fence)
	mgr, err := ctrl.NewManager(fenced, ctrl.Options{
		Scheme: scheme,
		Logger: log,
		Cache:  cached,
		// Their ports have bounds: see others.
		Metrics:                             metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:              "0",
		LeaderElection:                      o.leaderElect,
		LeaderElectionID:                    lease, // in metrics
		LeaderElectionResourceLockInterface: lock,
		LeaderElectionReleaseOnCancel:       true,
		RenewDeadline:                       new(renewDeadline),
		GracefulShutdownTimeout:             new(15 * time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("create the manager: %w", err)
	}
	return mgr, nil
}
