//go:build unix

package bench

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/env"
)

const (
	// usedMembers are used at once, of which deadMembers never answer. The last of the others is the slowest.
	usedMembers, deadMembers = 50, 5
	slowestAnswer            = 2 * time.Second
	// useDeadline is how long the dead ones are waited for.
	useDeadline = 6 * time.Second
	// maxUse bounds the time until everything of those that answer is printed, as a part of the slowest one's alone, and maxDead that of
	// the whole, as a part of the deadline.
	maxUse, maxDead = 1.2, 1.2
	maxUses         = 3
	// fakeKubectl makes this process a kubectl that asks for /version with its kubeconfig.
	fakeKubectl = "BENCH_KUBECTL"
)

// BenchmarkFind searches fifty members, of which five never answer, and reports how long it took until the others were printed, as a part
// of the time that the slowest of them takes alone, and the whole as a part of the deadline.
func BenchmarkFind(b *testing.B) {
	benchUse(b, func(choice ...string) []string {
		if len(choice) > 0 {
			choice = []string{"--members", choice[0]}
		}
		return append([]string{"find", "pods", "-A", "--timeout", useDeadline.String()}, choice...)
	})
}

// BenchmarkEach does that with each. kubectl is simulated: what fifty of them take on this machine is not what each adds.
func BenchmarkEach(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv("KUBECTL", self)
	b.Setenv(fakeKubectl, "yes")
	benchUse(b, func(choice ...string) []string {
		if len(choice) == 0 {
			choice = []string{"--all"}
		}
		return append(append([]string{"each", "--connect-timeout", useDeadline.String()}, choice...), "--", "version")
	})
}

// benchUse measures a command on one member, or on all.
func benchUse(b *testing.B, command func(choice ...string) []string) {
	kubeconfig, slowest := newUsed(b)
	run := func(code int, args []string) (last, whole time.Duration) {
		out := &lastLine{begun: time.Now(), seen: map[string]bool{}}
		var errOut bytes.Buffer
		args = append([]string{"kubectl-federate", "--kubeconfig", kubeconfig}, args...)
		if got := cli.Run(b.Context(), args, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: out, ErrOut: &errOut}); got != code {
			b.Fatalf("%s: exit code %d\n%s", strings.Join(args, " "), got, errOut.String())
		}
		whole = time.Since(out.begun)
		want, dead := 1, 0
		if code != 0 {
			want, dead = usedMembers-deadMembers, deadMembers
		}
		if n := strings.Count("\n"+errOut.String(), "\nmember "); len(out.seen) != want || n != dead {
			b.Fatalf("%d members were printed and %d were dead:\n%s", len(out.seen), n, errOut.String())
		}
		return out.last, whole
	}
	var alone, together, all []time.Duration
	for b.Loop() {
		if len(alone) == maxUses {
			continue
		}
		one, _ := run(0, command(slowest))
		live, whole := run(3, command())
		alone, together, all = append(alone, one), append(together, live), append(all, whole)
	}
	ratio, dead := median(together).Seconds()/median(alone).Seconds(), median(all).Seconds()/useDeadline.Seconds()
	b.ReportMetric(0, "ns/op") // the deadline, mostly
	b.ReportMetric(median(alone).Seconds()*1000, "slowest-ms")
	b.ReportMetric(ratio, "live/slowest")
	b.ReportMetric(dead, "deadlines")
	if ratio > maxUse {
		b.Errorf("what answers is printed after %.2f times what the slowest takes alone, more than %.1f", ratio, maxUse)
	}
	if dead > maxDead {
		b.Errorf("what does not answer takes %.2f deadlines, more than %.1f", dead, maxDead)
	}
}

// lastLine notes when the last line of a member was printed, and of which members there were lines.
type lastLine struct {
	mu    sync.Mutex
	begun time.Time
	last  time.Duration
	seen  map[string]bool
}

func (l *lastLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(string(p)) {
		if name, _, _ := strings.Cut(strings.ReplaceAll(line, ":", " "), " "); strings.HasPrefix(name, "member-") {
			l.seen[name] = true
			l.last = time.Since(l.begun)
		}
	}
	return len(p), nil
}

// newUsed starts a simulated host and its members, and returns a kubeconfig that leads to all, and the name of the slowest.
func newUsed(b *testing.B) (path, slowest string) {
	b.Helper()
	var members v1alpha1.MemberClusterList
	members.Kind, members.APIVersion = "MemberClusterList", v1alpha1.GroupVersion.String()
	contexts := []env.Context{{}}
	for i := range usedMembers {
		name := fmt.Sprintf("member-%02d", i)
		var config *rest.Config
		if i%(usedMembers/deadMembers) == 3 {
			config = &rest.Config{Host: "https://" + listen(b).Addr().String(), BearerToken: "unheard"}
		} else {
			slowest = name
			config = serveTable(b, usedClusterID(i), time.Duration(i)*slowestAnswer/usedMembers)
		}
		m := v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelFederation: "prod"}}}
		m.Spec.Server, m.Spec.CABundle, m.Spec.ClusterID = config.Host, config.CAData, usedClusterID(i)
		m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue}}
		members.Items = append(members.Items, m)
		contexts = append(contexts, env.Context{Name: name, Config: config})
	}
	contexts[0] = env.Context{Name: "host", Config: serve(b, func(r *http.Request) any {
		const list = "/apis/kubefederate.io/v1alpha1/memberclusters"
		if r.URL.Path == list {
			return members
		}
		for i := range members.Items {
			if m := &members.Items[i]; r.URL.Path == list+"/"+m.Name {
				m.Kind, m.APIVersion = "MemberCluster", members.APIVersion
				return m
			}
		}
		return nil
	})}
	path = filepath.Join(b.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(path, contexts...); err != nil {
		b.Fatal(err)
	}
	return path, slowest
}

func usedClusterID(i int) string { return fmt.Sprintf("%08d-0000-4000-8000-000000000000", i) }

// serveTable is a member with an ID that answers everything else after a while with a table of one pod.
func serveTable(b *testing.B, id string, delay time.Duration) *rest.Config {
	b.Helper()
	return serve(b, func(r *http.Request) any {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		if r.URL.Path == "/api/v1/namespaces/kube-system" {
			return map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": "kube-system", "uid": id}}
		}
		return map[string]any{
			"kind": "Table", "apiVersion": "meta.k8s.io/v1", "gitVersion": "v1.36.3",
			"columnDefinitions": []map[string]any{{"name": "Name", "type": "string"}},
			"rows":              []map[string]any{{"cells": []string{"web"}, "object": map[string]any{"metadata": map[string]any{"name": "web", "namespace": "shop"}}}},
		}
	})
}

// serve starts a server; what answer returns is sent as JSON, and nil is 404.
func serve(b *testing.B, answer func(r *http.Request) any) *rest.Config {
	b.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		object := answer(r)
		if object == nil {
			w.WriteHeader(http.StatusNotFound)
			object = status("NotFound", "not found")
		}
		_ = json.NewEncoder(w).Encode(object)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	b.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &rest.Config{Host: s.URL, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

// runFakeKubectl asks for /version as kubectl would, and returns an exit code.
func runFakeKubectl() int {
	data, err := os.ReadFile(os.Getenv("KUBECONFIG"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	access, err := kubeconfig.Parse(data, kubeconfig.OneContext)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	client, err := rest.HTTPClientFor(access.RESTConfig())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	response, err := client.Get(access.Server + "/version")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = response.Body.Close()
	fmt.Println("Server Version: v1.36.3")
	return 0
}
