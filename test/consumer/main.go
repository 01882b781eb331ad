// The command consumer uses the members of a federation as a controller does that knows nothing of this project: it follows the
// ClusterProfiles of a namespace with multicluster-runtime, reaches each cluster by the library and the plugin of the
// cluster inventory API, and prints what happens, a line each:
//
//	engaged CLUSTER            the manager has the cluster, or has it anew
//	reconciled CLUSTER NAME    a namespace of the cluster came to the reconciler
//	requests CLUSTER N FAILED  of N requests so far, about five a second, FAILED got no answer or an error
//
// It is a module of its own, since its libraries need others than the product. The provider of multicluster-runtime for
// ClusterProfiles is a module that no proxy serves; this one does what that does: a cluster is engaged when its profile is healthy, and
// at each write of the profile anew when the configuration that is built of it differs. It always does: the library sets a function that
// chooses a proxy, and functions do not compare equal. So each write of a profile has all such controllers begin anew with the cluster.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/cluster-inventory-api/pkg/access"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	mcbuilder "sigs.k8s.io/multicluster-runtime/pkg/builder"
	"sigs.k8s.io/multicluster-runtime/pkg/clusters"
	mcmanager "sigs.k8s.io/multicluster-runtime/pkg/manager"
	"sigs.k8s.io/multicluster-runtime/pkg/multicluster"
	mcreconcile "sigs.k8s.io/multicluster-runtime/pkg/reconcile"
)

// profiles is the provider. It implements multicluster.Provider by what it embeds.
type profiles struct {
	clusters.Clusters[cluster.Cluster]
	host      client.Client
	namespace string
	access    *access.Config
}

// Start follows the profiles until ctx ends.
func (p *profiles) Start(ctx context.Context, aware multicluster.Aware) error {
	engaged, versions := map[string]*rest.Config{}, map[string]string{}
	for ctx.Err() == nil {
		var list v1alpha1.ClusterProfileList
		if err := p.host.List(ctx, &list, client.InNamespace(p.namespace)); err != nil {
			return err
		}
		for i := range list.Items {
			profile := &list.Items[i]
			if !meta.IsStatusConditionTrue(profile.Status.Conditions, v1alpha1.ClusterConditionControlPlaneHealthy) || len(profile.Status.AccessProviders) == 0 {
				continue
			}
			if versions[profile.Name] == profile.ResourceVersion {
				continue
			}
			versions[profile.Name] = profile.ResourceVersion
			config, err := p.access.BuildConfigFromCP(profile)
			if err != nil {
				return err
			}
			if was := engaged[profile.Name]; was != nil && reflect.DeepEqual(was, config) {
				continue
			}
			engaged[profile.Name] = config
			c, err := cluster.New(config)
			if err != nil {
				return err
			}
			if err := p.AddOrReplace(ctx, multicluster.ClusterName(profile.Name), c, aware); err != nil {
				return err
			}
			fmt.Println("engaged", profile.Name)
			go request(ctx, profile.Name, c.GetAPIReader())
		}
		<-time.After(200 * time.Millisecond)
	}
	return nil
}

// request reads a namespace of the cluster, again and again.
func request(ctx context.Context, name string, reader client.Reader) {
	failed := 0
	for n := 1; ctx.Err() == nil; n++ {
		if err := reader.Get(ctx, client.ObjectKey{Name: "default"}, &corev1.Namespace{}); err != nil && ctx.Err() == nil {
			failed++
			fmt.Fprintln(os.Stderr, name, err)
		}
		fmt.Println("requests", name, n, failed)
		<-time.After(200 * time.Millisecond)
	}
}

func main() {
	namespace := flag.String("namespace", "", "the namespace of the ClusterProfiles")
	plugin := flag.String("plugin", "", "the program kubeconfig-secretreader")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *namespace, *plugin); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1) //nolint:gocritic // nothing is to be undone
	}
}

func run(ctx context.Context, namespace, plugin string) error {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	host, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	reader, err := client.New(host, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	provider := &profiles{Clusters: clusters.New[cluster.Cluster](), host: reader, namespace: namespace, access: access.New([]access.Provider{{
		Name:       "kubeconfig-secretreader",
		ExecConfig: &clientcmdapi.ExecConfig{APIVersion: "client.authentication.k8s.io/v1", Command: plugin, ProvideClusterInfo: true},
	}})}
	manager, err := mcmanager.New(host, provider, mcmanager.Options{Scheme: scheme, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	err = mcbuilder.ControllerManagedBy(manager).Named("namespaces").For(&corev1.Namespace{}).
		Complete(mcreconcile.Func(func(_ context.Context, r mcreconcile.Request) (ctrl.Result, error) {
			fmt.Println("reconciled", r.ClusterName, r.Name)
			return ctrl.Result{}, nil
		}))
	if err != nil {
		return err
	}
	return manager.Start(ctx)
}
