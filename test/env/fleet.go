//go:build unix

package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Options say what to start.
type Options struct {
	// Clusters to start, at least one; names are unique. They start at the same time.
	Clusters []Spec
	// Dir is a folder for data, logs and kubeconfig files. It must be absent or empty, and Stop removes it.
	// By default it is a new temporary folder.
	Dir string
	// Progress gets a line for what takes long. By default nothing is told.
	Progress io.Writer
	// Sync lets etcd put every write on the disk before it answers, as a real one does. By default it does not: the data is
	// thrown away.
	Sync bool
}

// Fleet is a number of running clusters that share one etcd.
type Fleet struct {
	// Dir holds everything the fleet has written; the servers' logs are below it.
	Dir string
	// Kubeconfig is a file with an administrator's context for every cluster that Start started, named like
	// the cluster. The current context is the first.
	Kubeconfig string

	assets   string
	progress io.Writer
	etcd     *process
	etcdPort *port
	stop     sync.Once

	mu       sync.Mutex
	clusters []*Cluster
}

// startTimeout bounds a start on a machine that is busy with other things; a quiet one needs seconds.
const startTimeout = 5 * time.Minute

// Start builds the programs where needed (Assets) and starts the clusters. It returns when all of them are
// ready. When one does not start, or ctx ends, nothing keeps running and the error carries the end of the
// log that explains it. Ending ctx later has no effect: call Stop.
func Start(ctx context.Context, o Options) (_ *Fleet, err error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if len(o.Clusters) == 0 {
		return nil, errors.New("no cluster to start")
	}
	f := &Fleet{progress: o.Progress}
	if f.assets, err = Assets(ctx, o.Progress); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if f.Dir, err = emptyDir(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Stop()
		}
	}()
	began := time.Now()
	if err := f.startEtcd(ctx, o.Sync); err != nil {
		return nil, err
	}
	errs := make([]error, len(o.Clusters))
	var wg sync.WaitGroup
	for i, spec := range o.Clusters {
		// Prepared one after the other, so that the order of f.clusters is the one asked for.
		c, err := f.add(spec)
		if err != nil {
			cancel()
			wg.Wait()
			return nil, err
		}
		wg.Go(func() {
			errs[i] = c.Start(ctx)
			if errs[i] != nil {
				cancel() // the others would only delay the answer
				return
			}
			fmt.Fprintf(f.progress, "cluster %s: ready after %.1f s\n", c.Name, time.Since(began).Seconds())
		})
	}
	wg.Wait()
	// The first to fail tells why; the others fail because it cancelled them.
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	f.Kubeconfig = filepath.Join(f.Dir, "kubeconfig")
	return f, f.WriteKubeconfig(f.Kubeconfig)
}

// Add starts one more cluster and returns when it is ready.
func (f *Fleet) Add(ctx context.Context, spec Spec) (*Cluster, error) {
	c, err := f.add(spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return c, c.Start(ctx)
}

func (f *Fleet) add(spec Spec) (*Cluster, error) {
	if faults := validation.IsDNS1123Label(spec.Name); len(faults) > 0 {
		return nil, fmt.Errorf("cluster %q: %s", spec.Name, faults[0])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.clusters {
		if c.Name == spec.Name {
			return nil, fmt.Errorf("cluster %q: the fleet has one of that name", spec.Name)
		}
	}
	c, err := f.prepare(spec)
	if c != nil {
		f.clusters = append(f.clusters, c)
	}
	return c, err
}

// Cluster returns the cluster of that name. It panics when there is none.
func (f *Fleet) Cluster(name string) *Cluster {
	for _, c := range f.Clusters() {
		if c.Name == name {
			return c
		}
	}
	panic(fmt.Sprintf("the fleet has no cluster %q", name))
}

// Clusters returns all clusters in the order in which they were asked for.
func (f *Fleet) Clusters() []*Cluster {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*Cluster(nil), f.clusters...)
}

// Kubectl is the path of a kubectl of the clusters' version.
func (f *Fleet) Kubectl() string { return filepath.Join(f.assets, "kubectl") }

// WriteKubeconfig writes a kubeconfig file with an administrator's context for every cluster, named like the
// cluster, and after them the contexts given.
func (f *Fleet) WriteKubeconfig(path string, more ...Context) error {
	var contexts []Context
	for _, c := range f.Clusters() {
		contexts = append(contexts, c.Context())
	}
	return WriteKubeconfig(path, append(contexts, more...)...)
}

// Stop ends all servers, those that need others first, and removes Dir. It can be called again, and from
// several goroutines; each call returns when everything has ended.
func (f *Fleet) Stop() {
	f.stop.Do(func() {
		var wg sync.WaitGroup
		clusters := f.Clusters()
		for _, c := range clusters {
			wg.Go(c.Stop)
		}
		wg.Wait()
		f.etcd.end()
		for _, c := range clusters {
			c.port.close()
		}
		f.etcdPort.close()
		os.RemoveAll(f.Dir)
	})
}

func (f *Fleet) etcdURL() string { return "http://127.0.0.1:" + strconv.Itoa(f.etcdPort.number) }

func (f *Fleet) startEtcd(ctx context.Context, sync bool) (err error) {
	if f.etcdPort, err = reservePort(); err != nil {
		return err
	}
	f.etcd, err = command{
		path: filepath.Join(f.assets, "etcd"),
		log:  filepath.Join(f.Dir, "etcd.log"),
		data: f.Dir,
		flags: []string{
			"--data-dir=" + filepath.Join(f.Dir, "etcd"),
			"--listen-client-urls=" + f.etcdURL(),
			"--advertise-client-urls=" + f.etcdURL(),
			"--listen-peer-urls=http://127.0.0.1:0",
			"--socket-reuse-port", // with our reservation of the port
			fmt.Sprintf("--unsafe-no-fsync=%t", !sync),
			"--log-level=warn",
		},
	}.start()
	if err != nil {
		return err
	}
	return f.etcd.while(ctx, func(ctx context.Context) error {
		return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.etcdURL()+"/readyz", nil)
			if err != nil {
				return false, err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return false, nil // not listening yet
			}
			response.Body.Close()
			return response.StatusCode == http.StatusOK, nil
		})
	})
}

// emptyDir returns the folder with an absolute path, made where it is absent.
func emptyDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "kubectl-federate-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("%s is not empty: name another folder, or remove it", dir)
	}
	return dir, nil
}
