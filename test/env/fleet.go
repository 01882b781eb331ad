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
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what to start.
type Options struct {
	// Clusters to start, at least one; names are unique. They start at the same time.
	Clusters []Spec
	// Progress gets a line for what takes long. By default nothing is reported.
	Progress io.Writer
	// Sync lets etcd put every write on the disk before it answers, as a real one does. By default it does not: the data is
	// thrown away.
	Sync bool
}

// Example is a host and three members in three regions, as the docs have them.
func Example() []Spec {
	return []Spec{
		{Name: "host", ControllerManager: true},
		{Name: "us-east", ControllerManager: true, Zones: []string{"us-east-1a", "us-east-1b"}},
		{Name: "us-west", ControllerManager: true, Zones: []string{"us-west-2a"}},
		{Name: "eu-west", ControllerManager: true, Zones: []string{"eu-west-1a", "eu-west-1b", "eu-west-1c"}},
	}
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
	etcd     *Process
	etcdPort *port
	stop     sync.Once

	mu       sync.Mutex
	clusters []*Cluster
}

// startTimeout bounds a start on a machine that is busy with other things; a quiet one needs seconds.
const startTimeout = 5 * time.Minute

// Start builds the programs where needed (Assets, Release.Assets) and starts the clusters. It returns when all of them are
// ready. When one does not start, or ctx ends, nothing keeps running and the error carries the end of the
// log that explains it. Ending ctx later has no effect: call Stop.
func Start(ctx context.Context, o Options) (_ *Fleet, err error) {
	if len(o.Clusters) == 0 {
		return nil, errors.New("no cluster to start")
	}
	f := &Fleet{progress: o.Progress}
	if f.progress == nil {
		f.progress = io.Discard
	}
	if f.assets, err = Assets(ctx, f.progress); err != nil {
		return nil, err
	}
	if f.Dir, err = os.MkdirTemp("", "kubectl-federate-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Stop()
		}
	}()
	for _, spec := range o.Clusters {
		if _, err := f.add(ctx, spec); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := f.startEtcd(ctx, o.Sync); err != nil {
		return nil, err
	}
	starting, ctx := errgroup.WithContext(ctx)
	for _, c := range f.clusters {
		starting.Go(func() error { return c.Start(ctx) })
	}
	// The first to fail says why; the others fail because it cancelled them.
	if err := starting.Wait(); err != nil {
		return nil, err
	}
	f.Kubeconfig = filepath.Join(f.Dir, "kubeconfig")
	return f, f.WriteKubeconfig(f.Kubeconfig)
}

// Add starts one more cluster and returns when it is ready.
func (f *Fleet) Add(ctx context.Context, spec Spec) (*Cluster, error) {
	c, err := f.add(ctx, spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return c, c.Start(ctx)
}

func (f *Fleet) add(ctx context.Context, spec Spec) (*Cluster, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.prepare(ctx, spec)
	if err == nil {
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
	return slices.Clone(f.clusters)
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
		var stopping sync.WaitGroup
		for _, c := range f.Clusters() {
			stopping.Go(c.Stop)
		}
		stopping.Wait()
		f.etcd.Kill()
		for _, c := range f.Clusters() {
			c.port.close()
		}
		f.etcdPort.close()
		os.RemoveAll(f.Dir)
	})
}

func (f *Fleet) etcdURL() string { return "http://127.0.0.1:" + strconv.Itoa(f.etcdPort.number) }

// Full has etcd refuse every write of the clusters, as it does when its space is exceeded, or, with false, take them again.
func (f *Fleet) Full(ctx context.Context, full bool) error {
	action := "DEACTIVATE"
	if full {
		action = "ACTIVATE"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.etcdURL()+"/v3/maintenance/alarm",
		strings.NewReader(`{"action": "`+action+`", "memberID": "1", "alarm": "NOSPACE"}`))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd answers %s", response.Status)
	}
	return nil
}

func (f *Fleet) startEtcd(ctx context.Context, sync bool) (err error) {
	if f.etcdPort, err = reservePort(); err != nil {
		return err
	}
	f.etcd, err = Run(Program{
		Path: filepath.Join(f.assets, "etcd"),
		Log:  filepath.Join(f.Dir, "etcd.log"),
		data: f.Dir,
		Flags: []string{
			"--data-dir=" + filepath.Join(f.Dir, "etcd"),
			"--listen-client-urls=" + f.etcdURL(),
			"--advertise-client-urls=" + f.etcdURL(),
			"--listen-peer-urls=http://127.0.0.1:0",
			"--socket-reuse-port", // with the reservation of the port
			fmt.Sprintf("--unsafe-no-fsync=%t", !sync),
			"--log-level=warn",
		},
	})
	if err != nil {
		return err
	}
	return f.etcd.while(ctx, func(ctx context.Context) error {
		return Poll(ctx, func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.etcdURL()+"/readyz", nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return errors.New(response.Status)
			}
			return nil
		})
	})
}
