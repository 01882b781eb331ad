//go:build unix

package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/keys"
	"github.com/kubefederate/kubectl-federate/pkg/version"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// changer changes the keys of a host, in less time than where API servers and kubelets are many.
func changer(t *testing.T, c *env.Cluster) *install.KeyChange {
	t.Helper()
	connection, err := host.Connect(c.Config())
	must(t, err)
	return &install.KeyChange{
		Host: connection, Settle: 200 * time.Millisecond, Serve: 20 * time.Second,
		Report: func(*unstructured.Unstructured, install.Outcome) {}, Progress: func(string) {},
	}
}

// playKubelet keeps the folders of managers those of the Secret, a moment later, each at a time of its own.
func playKubelet(t *testing.T, managers ...*envhost.Manager) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			if err := managers[i%len(managers)].SyncKeys(ctx); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(errors.Unwrap(err)) {
				t.Error(err)
			}
			after(t, 500*time.Millisecond)
		}
	}()
	t.Cleanup(func() { stop(); <-ended })
}

// keysOf are the keys of a host.
func keysOf(t *testing.T, admin client.Client) *keys.Keys {
	t.Helper()
	var secret corev1.Secret
	must(t, admin.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.KeysSecret}, &secret))
	k, err := keys.Parse(secret.Data)
	must(t, err)
	return k
}

// calls are what API servers verify the webhook with, and the path that they call.
func calls(t *testing.T, admin client.Client) (bundle []byte, path string) {
	t.Helper()
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	must(t, admin.Get(t.Context(), client.ObjectKey{Name: manifests.WebhookConfiguration}, &configuration))
	u, err := url.Parse(*configuration.Webhooks[0].ClientConfig.URL)
	must(t, err)
	return configuration.Webhooks[0].ClientConfig.CABundle, u.Path
}

// unchanging holds that a host has keys, that API servers know them and no others, and returns them.
func unchanging(t *testing.T, admin client.Client) *keys.Keys {
	t.Helper()
	k := keysOf(t, admin)
	data, err := k.Data()
	must(t, err)
	bundle, path := calls(t, admin)
	if k.OldWord != nil || !bytes.Equal(bundle, data[keys.FileCA]) || path != "/validate/memberclusters/"+k.Word {
		t.Errorf("a change is not finished: path %s, bundle\n%s", path, bundle)
	}
	return k
}

// load asks for a bad member, which must be refused by a rule, and a good one, which must be admitted, over and over. No request
// is stored. ask lets requests go on for a while; end ends them.
func load(t *testing.T, admin client.Client, federation string) (ask, end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			bad := member(federation+"-bad", federation)
			bad.Spec.Server = "https://"
			if err := admin.Create(ctx, bad, client.DryRunAll); ctx.Err() == nil && !apierrors.IsInvalid(err) {
				t.Errorf("a bad member: %v", err)
			}
			if err := admin.Create(ctx, member(federation+"-good", federation), client.DryRunAll); ctx.Err() == nil && err != nil {
				t.Errorf("a good member: %v", err)
			}
			asked.Add(1)
		}
	}()
	end = func() {
		stop()
		<-ended
	}
	t.Cleanup(end)
	return func() {
		t.Helper()
		now := asked.Load()
		eventually(t, "requests go on", func() error {
			if asked.Load() < now+20 {
				return fmt.Errorf("%d of 20 requests", asked.Load()-now)
			}
			return nil
		})
	}, end
}

// TestKeysAreChangedUnderLoad changes the keys while requests go on, with two replicas whose folders follow at different times: none is
// refused, and afterwards nothing of the former keys is worth anything.
func TestKeysAreChangedUnderLoad(t *testing.T) {
	t.Parallel()
	r := twoReplicas(t, "keys")
	must(t, r.admin.Create(t.Context(), fed("changed")))
	playKubelet(t, r.managers[:]...)
	first := unchanging(t, r.admin)
	ask, end := load(t, r.admin, "changed")
	ask()
	change := changer(t, r.Cluster)
	for range 2 {
		must(t, change.Renew(t.Context()))
		ask()
	}
	end()
	last := unchanging(t, r.admin)
	if last.CA.Equal(first.CA) || last.Word == first.Word {
		t.Error("the keys are the former ones")
	}
	for _, m := range r.managers {
		for _, test := range []struct {
			path string
			want int
		}{
			{"/validate/memberclusters/" + last.Word, http.StatusOK},
			{"/validate/memberclusters/" + first.Word, http.StatusNotFound},
			{"/validate/memberclusters", http.StatusNotFound},
		} {
			eventually(t, "the former word is refused", func() error {
				if got, err := post(t.Context(), m, test.path, last.CA); got != test.want {
					return fmt.Errorf("%s: %d %w", test.path, got, err)
				}
				return nil
			})
		}
		if _, err := post(t.Context(), m, "/", first.CA); err == nil {
			t.Error("the certificate verifies with the former CA")
		}
	}
}

// post sends no review to a manager, as a pod without any right does, and gives the status of the answer.
func post(ctx context.Context, m *envhost.Manager, path string, ca *x509.Certificate) (int, error) {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Address()+path, strings.NewReader("{}"))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// TestKeyChangeIsInterrupted ends a change after each of its steps: requests go on, and a second run finishes it.
func TestKeyChangeIsInterrupted(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("interrupted"))
	playKubelet(t, h.manager)
	ask, _ := load(t, h.admin, "interrupted")
	for step := 0; ; step++ {
		before := unchanging(t, h.admin)
		ctx, stop := context.WithCancel(t.Context())
		change, steps := changer(t, h.Cluster), 0
		next := func() {
			if steps++; steps > step {
				stop()
			}
		}
		change.Report = func(*unstructured.Unstructured, install.Outcome) { next() }
		change.Progress = func(string) { next() }
		err := change.Renew(ctx)
		stop()
		if err == nil {
			if unchanging(t, h.admin).CA.Equal(before.CA) {
				t.Error("the keys are the former ones")
			}
			t.Logf("%d steps", steps)
			if steps < 7 {
				t.Errorf("%d steps, and there are at least 7", steps)
			}
			return
		}
		state, err := install.ReadKeys(t.Context(), change.Host)
		must(t, err)
		if got := state.Judge(); got != install.KeysChanging {
			t.Errorf("after %d steps the keys are judged %q", step, got)
		}
		ask()
		must(t, changer(t, h.Cluster).Renew(t.Context()))
		ask()
	}
}

// TestKeysAreKept installs again, and after everything of the webhook configuration that init wrote was taken away.
func TestKeysAreKept(t *testing.T) {
	h := enforcing(t)
	before := unchanging(t, h.admin)
	must(t, h.manager.Install(t.Context()))
	if after := unchanging(t, h.admin); !after.CA.Equal(before.CA) || after.Word != before.Word {
		t.Error("an install made new keys")
	}
	for name, repair := range map[string]func(context.Context) error{"init": h.manager.Install, "init --only keys": changer(t, h.Cluster).Renew} {
		var configuration admissionregistrationv1.ValidatingWebhookConfiguration
		must(t, h.admin.Get(t.Context(), client.ObjectKey{Name: manifests.WebhookConfiguration}, &configuration))
		configuration.Webhooks[0].ClientConfig.CABundle = nil
		*configuration.Webhooks[1].ClientConfig.URL = h.manager.URL + "/validate/memberclusters"
		must(t, h.admin.Update(t.Context(), &configuration))
		state, err := install.ReadKeys(t.Context(), changer(t, h.Cluster).Host)
		must(t, err)
		if got := state.Judge(); got != install.KeysDiffer {
			t.Errorf("judged %q", got)
		}
		must(t, repair(t.Context()))
		if after := unchanging(t, h.admin); !after.CA.Equal(before.CA) || after.Word != before.Word {
			t.Errorf("%s made new keys", name)
		}
	}
	must(t, h.manager.Wait(t.Context()))
}

// TestKeysOfAFormerRelease upgrades a host whose manager made the CA itself and served without a word: its manager is called until the
// new one serves.
func TestKeysOfAFormerRelease(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("former"))
	change := changer(t, h.Cluster)
	t.Cleanup(func() {
		ctx := context.Background()
		h.manager.Stop()
		h.manager.CertDir = ""
		for _, step := range []func(context.Context) error{h.manager.Install, h.manager.Start, h.manager.Wait} {
			if err := step(ctx); err != nil {
				t.Error(err)
			}
		}
	})

	// As it was: the CA in another Secret and in the configuration, and no word.
	ca := env.NewAuthority("kubefederate webhook", env.NewKey())
	pair := ca.Server()
	former := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.HostNamespace, Name: manifests.FormerKeysSecret},
		Data:       map[string][]byte{"ca.crt": ca.PEM(), "tls.crt": pair.Cert, "tls.key": pair.Key},
	}
	h.create(t, former)
	must(t, h.admin.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.HostNamespace, Name: manifests.KeysSecret}}))
	objects, err := manifests.Objects(manifests.Options{WebhookURL: h.manager.URL, Calls: &manifests.Calls{CABundle: ca.PEM()}})
	must(t, err)
	must(t, install.Apply(t.Context(), change.Host, objects, cluster.DryRunNone, change.Report))
	h.manager.Stop()
	h.manager.CertDir = t.TempDir()
	replace(t, h.manager.CertDir, map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key})
	must(t, h.manager.Start(t.Context()))
	must(t, h.manager.Wait(t.Context()))

	ask, end := load(t, h.admin, "former")
	unfinished, err := change.Install(t.Context(), manifests.Options{Version: version.Version, WebhookURL: h.manager.URL})
	must(t, err)
	if !unfinished {
		t.Error("the change is finished while the former manager serves")
	}
	ask()
	change.Serve = time.Second
	want := fmt.Sprintf("the change of the webhook's keys is not finished, and both are valid meanwhile: the manager at %s still serves from the former keys; finish it: kubectl federate init --only keys",
		strings.TrimPrefix(h.manager.URL, "https://"))
	if got := text(change.Finish(t.Context())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	ask()
	end()

	h.manager.Stop()
	h.manager.CertDir = ""
	must(t, h.manager.Start(t.Context()))
	must(t, h.manager.Wait(t.Context()))
	playKubelet(t, h.manager)
	ask, _ = load(t, h.admin, "former")
	must(t, change.Finish(t.Context()))
	ask()
	unchanging(t, h.admin)
	if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(former), former); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret of the former release: %v", err)
	}
}

// serves checks what a server presents.
func serves(ctx context.Context, address string, leaf *x509.Certificate, ca []byte) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	connection, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer connection.Close()
	if !connection.(*tls.Conn).ConnectionState().PeerCertificates[0].Equal(leaf) {
		return errors.New("another certificate is served")
	}
	return nil
}
