//go:build unix

// Package discovery holds how clusters join by the labels of objects on a real host, without a person, and what those who write these
// objects cannot have.
package discovery

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	env.Main(m)
}

var fleet = env.Shared(env.Spec{Name: "host", ControllerManager: true})

// add starts one more cluster until the test ends.
func add(t *testing.T, spec env.Spec) *env.Cluster {
	t.Helper()
	c, err := fleet(t).Add(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// lab is a host with a manager, a discovery controller and the kinds of other systems, as an administrator uses it.
type lab struct {
	client.Client
	manager    *envhost.Manager
	controller *envhost.Discovery
}

var (
	once   sync.Once
	shared *lab
)

// start gives the lab, in which the controller runs.
func start(t *testing.T) *lab {
	t.Helper()
	once.Do(func() {
		c := fleet(t).Cluster("host")
		admin, err := envhost.Client(c.Config())
		if err != nil {
			t.Fatal(err)
		}
		l := &lab{Client: admin}
		l.kinds(t)
		if l.manager, err = envhost.New(c, ""); err != nil {
			t.Fatal(err)
		}
		l.manager.Discovery = true
		l.manager.Flags = []string{"--probe-interval=1s"}
		for _, step := range []func(context.Context) error{l.manager.Install, l.manager.Start, l.manager.Wait} {
			if err := step(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if l.controller, err = l.manager.NewDiscovery(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := l.controller.Start(); err != nil {
			t.Fatal(err)
		}
		shared = l
	})
	if shared == nil {
		t.Fatal("the lab did not start")
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(shared.controller.Log)
			t.Logf("the controller printed:\n%s", log)
		}
	})
	return shared
}

// kinds makes those of the other systems that scripts use, too.
func (l *lab) kinds(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("../../script/kinds/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("the kinds of other systems: %v %v", files, err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		decoder := utilyaml.NewYAMLOrJSONDecoder(file, 4096)
		for {
			o := &unstructured.Unstructured{}
			if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := l.Create(t.Context(), o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		_ = file.Close()
	}
}

// make creates objects, with the status that they have. A kind may need a moment to be served.
func (l *lab) make(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		env.Eventually(t, "create "+o.GetName(), func(ctx context.Context) error {
			err := l.Create(ctx, o)
			switch {
			case apierrors.IsAlreadyExists(err):
				return nil
			case apierrors.IsInvalid(err) || apierrors.IsForbidden(err):
				t.Fatal(err)
			}
			return err
		})
	}
}

// object is one of another system.
func object(apiVersion, kind, namespace, name string, labels map[string]string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	maps.Copy(o.Object, content)
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(labels)
	return o
}

func secret(namespace, name string, labels, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, StringData: data}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// asks is the label that asks for a federation, with others.
func asks(federation string, more ...string) map[string]string {
	labels := map[string]string{v1alpha1.LabelFederation: federation}
	for i := 0; i < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return labels
}

// outside is the administrator's configuration of a cluster at an address that discovery may dial.
func outside(t *testing.T, config *rest.Config) *rest.Config {
	t.Helper()
	url, end, err := env.Outside(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	config.Host = url
	return config
}

// kubeconfig is that of an administrator of a cluster, at an address that discovery may dial.
func kubeconfig(t *testing.T, c *env.Cluster) string {
	t.Helper()
	return kubeconfigAt(t, outside(t, c.Config()))
}

// kubeconfigAt is a configuration as a kubeconfig.
func kubeconfigAt(t *testing.T, config *rest.Config) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(file, env.Context{Name: "cluster", Config: config}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// front is the administrator's way to a cluster through a front, at an address that discovery may dial.
func front(t *testing.T, c *env.Cluster, handle func(w http.ResponseWriter, r *http.Request, pass http.Handler)) *rest.Config {
	t.Helper()
	f, err := c.Front(handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.Config.ServerName = "127.0.0.1" // the certificate of a front is for loopback
	return outside(t, f.Config)
}

// through has the controller, which starts anew, reach the host through a front until the test ends.
func (l *lab) through(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, pass http.Handler)) {
	t.Helper()
	f, err := fleet(t).Cluster("host").Front(handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	before := l.controller.Config
	config := *before
	config.Host, config.CAData = f.Config.Host, f.Config.CAData
	l.restart(t, &config)
	t.Cleanup(func() { l.restart(t, before) })
}

// restart has the controller end as a crash does, and start with a configuration.
func (l *lab) restart(t *testing.T, config *rest.Config) {
	t.Helper()
	l.controller.Kill()
	l.controller.Config = config
	if err := l.controller.Start(); err != nil {
		t.Error(err)
	}
}

func encoded(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// grant applies objects of package manifests.
func (l *lab) grant(t *testing.T, groups ...[]*unstructured.Unstructured) {
	t.Helper()
	for _, o := range slices.Concat(groups...) {
		l.make(t, o)
	}
}

// revoke deletes them again.
func (l *lab) revoke(t *testing.T, groups ...[]*unstructured.Unstructured) {
	t.Helper()
	for _, o := range slices.Concat(groups...) {
		if err := l.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// federation makes one that discovers.
func (l *lab) federation(t *testing.T, name string, d v1alpha1.Discovery) {
	t.Helper()
	if len(d.Endpoints) == 0 {
		d.Endpoints = []string{"*"}
	}
	l.make(t, &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.FederationSpec{Discovery: &d}})
}

// members are those of a federation: name, what they were discovered by, phase, and whether their join is complete.
func (l *lab) members(ctx context.Context, federation string) (lines []string, err error) {
	var list v1alpha1.MemberClusterList
	if err := l.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelFederation: federation}); err != nil {
		return nil, err
	}
	for i := range list.Items {
		m := &list.Items[i]
		line := m.Name + " by a person"
		if d := m.Spec.Discovered; d != nil {
			line = fmt.Sprintf("%s by %s %s", m.Name, d.Kind, strings.Trim(d.Namespace+"/"+d.Name, "/"))
		}
		if m.Annotations[v1alpha1.AnnotationJoinedBy] == "" {
			line += ", not complete"
		}
		lines = append(lines, fmt.Sprintf("%s: %s", line, m.Status.Phase))
	}
	slices.Sort(lines)
	return lines, nil
}

// becomes waits until the members of a federation are these.
func (l *lab) becomes(t *testing.T, federation string, want ...string) {
	t.Helper()
	env.Eventually(t, "the members of "+federation, func(ctx context.Context) error {
		got, err := l.members(ctx, federation)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got)\n%s", diff)
		}
		return nil
	})
}

// reports waits until the status of a federation says what discovery found, as "found joined gone", and a line for each cluster that is
// not joined, whose reasons begin like these.
func (l *lab) reports(t *testing.T, federation, counts string, notJoined ...string) {
	t.Helper()
	env.Eventually(t, "what discovery reports of "+federation, func(ctx context.Context) error {
		f := &v1alpha1.Federation{}
		if err := l.Get(ctx, client.ObjectKey{Name: federation}, f); err != nil {
			return err
		}
		d := f.Status.Discovery
		if d == nil {
			return errors.New("it has no status.discovery")
		}
		if got := fmt.Sprint(d.Found, d.Joined, d.Gone); got != counts {
			return fmt.Errorf("found, joined, gone: %s, want %s; %+v", got, counts, d.NotJoined)
		}
		var got []string
		for i, n := range d.NotJoined {
			line := fmt.Sprintf("%s %s: %s", n.Cluster, n.State, n.Reason)
			if i < len(notJoined) && strings.HasPrefix(line, notJoined[i]) {
				line = notJoined[i]
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(notJoined, got); diff != "" {
			return fmt.Errorf("(-want +got)\n%s", diff)
		}
		return nil
	})
}

// discovers is what lets the controller join clusters to a federation.
func discovers(federation string, verbs ...string) []*unstructured.Unstructured {
	return manifests.DiscoveryBinding(v1alpha1.FederationName(federation), append([]string{v1alpha1.VerbDiscover}, verbs...)...)
}
