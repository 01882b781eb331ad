//go:build linux && extended

package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// The promises for one manager with 10,000 members whose credentials live a day, on one core: the memory that it takes at most, in MiB,
// with GOMEMLIMIT as for a limit of 1 GiB; the part of the core that it takes at rest; and what it writes on the host, in requests a
// minute, at rest and when one member in a hundred changes, for each of those. With an inventory the profile changes, too.
const (
	followedMembers       = 10_000
	maxManagerMemory      = 1024
	maxCores              = 0.5
	maxWrites             = 200
	maxPerChange          = 3
	maxPerPublishedChange = 4
	managerLimits         = "GOMEMLIMIT=921MiB GOMAXPROCS=1"

	credentialLife = 24 * time.Hour
	// restStep is how long one round is, and changePatience how long it takes at most until a change of members is reported.
	restStep, changePatience = 10 * time.Second, 5 * time.Minute
)

// The namespaces of the inventory.
const profilesIn, secretsIn = "fleet", "fleet-credentials"

// BenchmarkManager has one manager follow 10,000 members, which answer as API servers do, and reports what that costs: first to
// get to know them all, then at rest, and then when a hundred stop answering well. Members were probed, and credentials issued, at
// times that are spread as they are after days. With an inventory it begins by publishing all of them, and has a credential for
// consumers issued by each.
func BenchmarkManager(b *testing.B) {
	b.Run("members", func(b *testing.B) { manage(b, false) })
	b.Run("inventory", func(b *testing.B) { manage(b, true) })
}

func manage(b *testing.B, published bool) {
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	c, config, kube, s := bareHost(b)
	m := newMembers(b, followedMembers)
	must(serveKinds(b.Context(), s))
	if published {
		_, err := envhost.ServeProfiles(b.Context(), c)
		must(err)
		for name, label := range map[string]string{profilesIn: v1alpha1.LabelInventory, secretsIn: v1alpha1.LabelInventoryCredentials} {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "prod"}}}
			_, err := kube.CoreV1().Namespaces().Create(b.Context(), namespace, metav1.CreateOptions{})
			must(err)
		}
	}
	spec := map[string]any{"labels": []any{map[string]any{"key": "tier", "required": true}}}
	if published {
		spec["access"] = map[string]any{"clusterRole": "view"}
		spec["inventory"] = map[string]any{"namespaces": []any{profilesIn}, "credentialsNamespace": secretsIn}
	}
	must(m.fill(b.Context(), s, kube, spec))

	binary, err := envhost.Build()
	must(err)
	script := filepath.Join(b.TempDir(), "limited")
	must(os.WriteFile(script, []byte("#!/bin/sh\nexec env "+managerLimits+" "+binary+` "$@"`+"\n"), 0o700))
	manager, err := envhost.New(c, script)
	must(err)
	b.Cleanup(manager.Close)
	must(manager.Install(b.Context()))
	if published {
		must(bind(b.Context(), config, append(manifests.InventoryBinding(profilesIn), manifests.CredentialsBinding(secretsIn)...)))
	}
	began := time.Now()
	must(manager.Start(b.Context()))
	h, err := host.Connect(config)
	must(err)
	must(wait.PollUntilContextTimeout(b.Context(), time.Second, 20*time.Minute, true, func(ctx context.Context) (bool, error) {
		if !manager.Running() {
			return false, errors.New("the manager ended")
		}
		f, err := h.Federation(ctx, "prod")
		return err == nil && f.Status.Ready == followedMembers && !h.Probes(ctx).Until.IsZero() && (!published || isPublished(ctx, s.client)), nil
	}))
	process := processOf(b, binary)
	started, startCPU := time.Since(began), process.cpu(b)

	// What the start has left to do is done.
	var before usage
	for quiet := 0; quiet < 2; {
		before = s.usage(b, process)
		elapse(b, restStep)
		if now := s.usage(b, process); now.writes-before.writes < maxWrites*restStep.Minutes()*2 {
			quiet++
		} else {
			quiet = 0
		}
	}
	before = s.usage(b, process)
	for b.Loop() {
		elapse(b, restStep)
	}
	rest := s.usage(b, process).since(before)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(started.Seconds(), "start-s")
	b.ReportMetric(startCPU.Seconds(), "start-cpu-s")
	b.ReportMetric(rest.cores(), "cores")
	b.ReportMetric(rest.writesPerMinute(), "writes/min")
	b.Logf("at rest, in %s: %s", rest.took.Round(time.Second), rest)
	if rest.cores() > maxCores {
		b.Errorf("it takes %.2f cores at rest, more than %.0f", rest.cores(), maxCores)
	}
	if b.N >= 30 && rest.writesPerMinute() > maxWrites {
		b.Errorf("it writes %.0f times a minute at rest, more than %d", rest.writesPerMinute(), maxWrites)
	}

	const changed = followedMembers / 100
	before = s.usage(b, process)
	m.failing.Store(changed)
	must(wait.PollUntilContextTimeout(b.Context(), time.Second, changePatience, true, func(ctx context.Context) (bool, error) {
		f, err := h.Federation(ctx, "prod")
		return err == nil && f.Status.Ready == followedMembers-changed, nil
	}))
	change := s.usage(b, process).since(before)
	own := change.writes - rest.writesPerMinute()*change.took.Minutes()
	b.ReportMetric(change.took.Seconds(), "change-s")
	b.ReportMetric(own/changed, "writes/change")
	b.Logf("while %d members change, in %s: %s", changed, change.took.Round(time.Second), change)
	most := maxPerChange
	if published {
		most = maxPerPublishedChange
	}
	if own > float64(changed*most) {
		b.Errorf("a change of %d members takes %.0f writes, more than %d for each", changed, own, most)
	}
	b.ReportMetric(process.memory(b, "VmHWM"), "MiB-peak")
	b.ReportMetric(process.memory(b, "VmRSS"), "MiB")
	if peak := process.memory(b, "VmHWM"); peak > maxManagerMemory {
		b.Errorf("it takes up to %.0f MiB, more than %d", peak, maxManagerMemory)
	}
}

// bareHost starts a cluster in which nothing is installed yet, and gives what newClients does.
func bareHost(b *testing.B) (*env.Cluster, *rest.Config, *kubernetes.Clientset, *stage) {
	b.Helper()
	fleet, err := env.Start(b.Context(), env.Options{Clusters: []env.Spec{{Name: "host"}}, Progress: os.Stderr})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(fleet.Stop)
	c := fleet.Cluster("host")
	config, kube, s := newClients(b, c)
	return c, config, kube, s
}

// bind gives the manager rights in namespaces.
func bind(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) error {
	c, err := ctrlclient.New(config, ctrlclient.Options{})
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := c.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// isPublished says that each member has its profile, and its credential for consumers.
func isPublished(ctx context.Context, c dynamic.Interface) bool {
	for namespace, resource := range map[string]schema.GroupVersionResource{
		profilesIn: clusterinventory.SchemeGroupVersion.WithResource("clusterprofiles"), secretsIn: corev1.SchemeGroupVersion.WithResource("secrets"),
	} {
		list, err := c.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil || list.GetRemainingItemCount() == nil || *list.GetRemainingItemCount() < followedMembers-1 {
			return false
		}
	}
	return true
}

// usage is what the manager has taken and written up to a time.
type usage struct {
	at     time.Time
	took   time.Duration
	cpu    time.Duration
	writes float64
	by     map[string]float64
}

func (s *stage) usage(b *testing.B, p process) usage {
	b.Helper()
	u := usage{at: time.Now(), cpu: p.cpu(b), by: s.writes(b)}
	for _, n := range u.by {
		u.writes += n
	}
	return u
}

func (u usage) since(before usage) usage {
	u.took, u.cpu, u.writes = u.at.Sub(before.at), u.cpu-before.cpu, u.writes-before.writes
	u.by = maps.Clone(u.by)
	for what, n := range before.by {
		u.by[what] -= n
	}
	return u
}

func (u usage) cores() float64           { return u.cpu.Seconds() / u.took.Seconds() }
func (u usage) writesPerMinute() float64 { return u.writes / u.took.Minutes() }

func (u usage) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%.2f cores, %.0f writes a minute", u.cores(), u.writesPerMinute())
	for _, what := range slices.Sorted(maps.Keys(u.by)) {
		if u.by[what] > 0 {
			fmt.Fprintf(&text, "; %s: %.0f", what, u.by[what])
		}
	}
	return text.String()
}

// writes are the requests that the API server has answered and that write what the manager writes.
func (s *stage) writes(b *testing.B) map[string]float64 {
	b.Helper()
	text, err := s.metrics.Get().AbsPath("/metrics").DoRaw(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	by := map[string]float64{}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if slices.Contains([]string{"memberclusters", "federations", "clusterprofiles", "dnsendpoints", "secrets", "events", "leases", "configmaps"}, labels["resource"]) &&
			slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, labels["verb"]) {
			by[strings.Trim(labels["verb"]+" "+labels["resource"]+"/"+labels["subresource"], "/")] += m.GetCounter().GetValue()
		}
	}
	return by
}

// process is a program that runs.
type process struct{ dir string }

// processOf finds the process of a binary.
func processOf(b *testing.B, binary string) process {
	b.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		b.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == binary {
			return process{filepath.Dir(link)}
		}
	}
	b.Fatalf("%s does not run", binary)
	return process{}
}

// cpu is the time on processors, of user and system, in hundredths of a second.
func (p process) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "stat"))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is a line of its status, in MiB.
func (p process) memory(b *testing.B, line string) float64 {
	b.Helper()
	pid, err := strconv.Atoi(filepath.Base(p.dir))
	if err != nil {
		b.Fatal(err)
	}
	kib, err := env.MemoryOf(pid, line)
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}

// members are API servers of members behind one port, each below a path of its own: as much of one as the manager asks.
type members struct {
	*httptest.Server
	signer jose.Signer
	keys   []byte
	// uids are those of the MemberClusters.
	uids []string
	// failing is how many of them answer with an error.
	failing atomic.Int64
	// more answers what the manager asks beside.
	more func(w http.ResponseWriter, r *http.Request, member int, path string)
}

// newMembers starts n of them.
func newMembers(b *testing.B, n int) *members {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		b.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}})
	if err != nil {
		b.Fatal(err)
	}
	m := &members{signer: signer, keys: keys, uids: make([]string, n), more: func(w http.ResponseWriter, r *http.Request, _ int, _ string) {
		http.NotFound(w, r)
	}}
	m.Server = httptest.NewUnstartedServer(m)
	m.Config.ErrorLog = log.New(io.Discard, "", 0)
	m.StartTLS()
	b.Cleanup(m.Close)
	return m
}

// clusterID is the ID of a member's cluster.
func clusterID(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", i) }

// token is one of an account on a member.
func (m *members) token(account string, issued, expires time.Time, audiences []string) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"sub": "system:serviceaccount:kubefederate-member:" + account, "iat": issued.Unix(), "exp": expires.Unix(), "aud": audiences,
		"kubernetes.io": map[string]any{"secret": map[string]any{"name": "kubefederate-manager-binding", "uid": "binding"}},
	})
	if err != nil {
		return "", err
	}
	signed, err := m.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// tokenOf is the path at which a member issues tokens of an account.
func tokenOf(account string) string {
	return "api/v1/namespaces/" + v1alpha1.MemberNamespace + "/serviceaccounts/" + account + "/token"
}

// node is one of twelve, as large as real ones are.
var node = `{"metadata":{"name":"n","labels":{"topology.kubernetes.io/region":"us-east-1","topology.kubernetes.io/zone":"us-east-1a"}},` +
	`"status":{"images":[{"names":["` + strings.Repeat("x", 6<<10) + `"]}],"capacity":{"cpu":"8","memory":"32Gi","pods":"110"}}}`

const nodesOfEach = 12

// ServeHTTP answers for the member that the path begins with.
func (m *members) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/m/"), "/")
	i, err := strconv.Atoi(number)
	if err != nil || i >= len(m.uids) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if int64(i) < m.failing.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"kind":"Status","code":500,"message":"etcd does not answer"}`)
		return
	}
	switch path {
	case "api/v1/namespaces/kube-system":
		fmt.Fprintf(w, `{"kind":"Namespace","metadata":{"name":"kube-system","uid":%q,"labels":{"kubernetes.io/metadata.name":"kube-system"}}}`, clusterID(i))
	case "version":
		fmt.Fprint(w, `{"gitVersion":"v1.36.3"}`)
	case "api/v1/namespaces/kubefederate-member/configmaps/membership":
		fmt.Fprintf(w, `{"kind":"ConfigMap","data":{"member":"m","memberUID":%q}}`, m.uids[i])
	case "api/v1/nodes":
		if r.URL.Query().Get("limit") == "1" {
			fmt.Fprintf(w, `{"metadata":{"continue":"more","remainingItemCount":%d},"items":[{"metadata":{"name":"n"}}]}`, nodesOfEach-1)
			return
		}
		fmt.Fprintf(w, `{"metadata":{},"items":[%s]}`, strings.Repeat(node+",", nodesOfEach-1)+node)
	case "openid/v1/jwks":
		_, _ = w.Write(m.keys)
	case tokenOf(v1alpha1.ManagerAccount), tokenOf(v1alpha1.ConsumerAccount), tokenOf(v1alpha1.ServicesAccount):
		var asked authenticationv1.TokenRequest
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		now := time.Now()
		account := strings.Split(path, "/")[5]
		issued, err := m.token(account, now, now.Add(time.Duration(*asked.Spec.ExpirationSeconds)*time.Second), asked.Spec.Audiences)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"kind":"TokenRequest","status":{"token":%q}}`, issued)
	default:
		m.more(w, r, i, path)
	}
}

// fill makes the members and their credentials on the host, as a manager has left them that ran for days.
func (m *members) fill(ctx context.Context, s *stage, kube kubernetes.Interface, spec map[string]any) error {
	f := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Federation", "metadata": map[string]any{"name": "prod"}, "spec": spec,
	}}
	if _, err := s.federations().Create(ctx, f, metav1.CreateOptions{}); err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.CredentialsNamespace}}
	if _, err := kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range m.uids {
		group.Go(func() error { return m.create(ctx, s, kube, i, ca) })
	}
	return group.Wait()
}

func (m *members) create(ctx context.Context, s *stage, kube kubernetes.Interface, i int, ca []byte) error {
	now := time.Now()
	// A renewal is due when half of the wait for it is left at the latest, which the age of the token decides here.
	share := float64(i) / float64(len(m.uids))
	expires := now.Add(credentialLife/6 + time.Duration(share*float64(credentialLife)/3))
	token, err := m.token(v1alpha1.ManagerAccount, expires.Add(-credentialLife), expires, []string{"kubernetes"})
	if err != nil {
		return err
	}
	access := &kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: fmt.Sprintf("%s/m/%d", m.URL, i), CABundle: ca}, Token: token}
	data, err := access.Marshal()
	if err != nil {
		return err
	}
	hash := sha256.Sum256(data)
	o := joined(i)
	status, _, _ := unstructured.NestedMap(o.Object, "status")
	status["lastProbeTime"] = now.Add(-time.Duration(share * float64(probeTimeAge))).UTC().Format(time.RFC3339)
	status["observedCredential"] = hex.EncodeToString(hash[:])
	status["facts"] = map[string]any{"kubernetesVersion": "v1.36.3", "regions": []any{"us-east-1"}, "zones": []any{"us-east-1a"}, "nodes": int64(nodesOfEach),
		"capacity": map[string]any{"cpu": "96", "memory": "384Gi", "pods": "1320"}}
	for _, c := range status["conditions"].([]any) {
		if c := c.(map[string]any); c["type"] == "Ready" {
			c["message"] = "the cluster answers, and is the one that joined"
		}
	}
	for _, field := range []struct {
		value any
		path  []string
	}{
		{access.Server, []string{"spec", "server"}},
		{base64.StdEncoding.EncodeToString(ca), []string{"spec", "caBundle"}},
		{"us-east-1", []string{"metadata", "labels", "topology.kubernetes.io/region"}},
		{status, []string{"status"}},
	} {
		set(o, field.value, field.path...)
	}
	made, err := s.of(product).Create(ctx, o, metav1.CreateOptions{FieldManager: v1alpha1.FieldOwner})
	if err != nil {
		return err
	}
	m.uids[i] = string(made.GetUID())
	_, err = kube.CoreV1().Secrets(v1alpha1.CredentialsNamespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:        made.GetName(),
			Labels:      map[string]string{v1alpha1.LabelFederation: "prod", v1alpha1.LabelMember: made.GetName()},
			Annotations: map[string]string{v1alpha1.AnnotationTokenLifetime: credentialLife.String()},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "MemberCluster", Name: made.GetName(), UID: made.GetUID(),
			}},
		},
		Type: v1alpha1.CredentialType, Data: map[string][]byte{v1alpha1.CredentialKey: data},
	}, metav1.CreateOptions{FieldManager: v1alpha1.FieldOwner})
	return err
}

// probeTimeAge is how old the time of the last probe in a status gets.
const probeTimeAge = 3 * time.Hour
