package admission

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/forger"
	"github.com/kubefederate/kubectl-federate/test/hostile/probed"
)

// maxSoakMemory is what a manager may need while members attack it, and calmMemory what it needs when they are gone, in MiB.
const maxSoakMemory, calmMemory = 512, 150

// TestSoak has a manager, with the limit that it is shipped with, follow members that attack it, all at once, beside credentials
// that are bombs, while a pod floods its port. It goes on admitting, needs no more memory than its container has, and gives it
// back.
func TestSoak(t *testing.T) {
	env.Full(t, "it takes a minute")
	h := enforcing(t)
	h.create(t, fed("soaked"))
	h.manager.Stop()
	h.manager.Env = shippedEnvironment(t)
	must(t, h.manager.Start(t.Context()))
	must(t, h.manager.Wait(t.Context()))
	pid := pidOf(t, strings.TrimPrefix(h.manager.URL, "https://"))
	most := 0
	measure := func() int {
		now := memory(t, pid, "VmRSS")
		most = max(most, now)
		return now
	}
	before := measure()

	encode := base64.RawURLEncoding.EncodeToString
	token := "e30." + encode(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(time.Hour).Unix())) + ".x"
	stored := func(m *v1alpha1.MemberCluster, content []byte) {
		t.Helper()
		s := credential(m)
		s.Data[v1alpha1.CredentialKey] = content
		must(t, h.admin.Create(t.Context(), s))
		measure()
	}
	var members []*v1alpha1.MemberCluster
	for i, attack := range probed.Attacks() {
		m := member(fmt.Sprint("soaked-", i), "soaked")
		server := probed.New(m.Spec.ClusterID, attack)
		t.Cleanup(server.Close)
		t.Cleanup(server.CloseClientConnections)
		m.Spec.Server, m.Spec.CABundle = server.URL, server.CA()
		must(t, h.admin.Create(t.Context(), m))
		content, err := (&kubeconfig.Access{Endpoint: endpoint.Of(m), Token: token}).Marshal()
		must(t, err)
		stored(m, content)
		members = append(members, m)
	}
	calm := flooded(t, h)
	bomb := "x: &a " + strings.Repeat("a", 8000) + "\ny: [" + strings.Repeat("*a,", 18000) + "*a]\n"
	for i := range 40 {
		m := member(fmt.Sprint("soaked-bomb-", i), "soaked")
		must(t, h.admin.Create(t.Context(), m))
		stored(m, []byte(map[bool]string{true: bomb, false: strings.Repeat("#", kubeconfig.MaxSize)}[i%2 == 0]))
	}
	eventually(t, "every member is probed, and the manager admits", func() error {
		measure()
		dry := member("soaked-late", "soaked")
		if err := h.admin.Create(t.Context(), dry, client.DryRunAll); err != nil {
			return err
		}
		for _, m := range members {
			if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
				return err
			}
			if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Reason == v1alpha1.ReasonNotProbed {
				return fmt.Errorf("member %s: %+v", m.Name, c)
			}
		}
		return nil
	})
	calm()
	for _, m := range members {
		must(t, client.IgnoreNotFound(h.admin.Delete(t.Context(), m)))
	}
	must(t, h.admin.DeleteAllOf(t.Context(), &v1alpha1.MemberCluster{}, client.MatchingLabels{v1alpha1.LabelFederation: "soaked"}))
	// Go collects garbage after two minutes, where nothing asks for memory before.
	back, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := env.Poll(back, func(context.Context) error {
		if now := measure(); now > calmMemory {
			return fmt.Errorf("the manager has %d MiB, and had %d", now, before)
		}
		return nil
	}); err != nil {
		t.Errorf("the memory is not given back: %v", err)
	}
	t.Logf("the manager had %d MiB before, %d at most, and has %d", before, most, measure())
	if most > maxSoakMemory {
		t.Errorf("the manager needed %d MiB", most)
	}
}

// shippedEnvironment is the environment of the manager's container, as names and values.
func shippedEnvironment(t *testing.T) (values []string) {
	t.Helper()
	all, err := manifests.Objects(manifests.Options{})
	must(t, err)
	for _, o := range all {
		if o.GetKind() != "Deployment" {
			continue
		}
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			variables, _, _ := unstructured.NestedSlice(c.(map[string]any), "env")
			for _, v := range variables {
				values = append(values, fmt.Sprintf("%s=%s", v.(map[string]any)["name"], v.(map[string]any)["value"]))
			}
		}
	}
	if len(values) == 0 {
		t.Fatal("the manager's container has no limit of memory for Go")
	}
	return values
}

// flooded has a pod that knows the webhook's path send large reviews without end, and large bodies that do not come, until end
// is called.
func flooded(t *testing.T, h installed) (end func()) {
	t.Helper()
	const large, slow = 6, 200
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	must(t, h.admin.Get(t.Context(), client.ObjectKey{Name: manifests.WebhookConfiguration}, &configuration))
	f := forger.New(*configuration.Webhooks[0].ClientConfig.URL)
	m := member("large", "soaked")
	m.Annotations = map[string]string{"a": strings.Repeat("x", 4<<20-100_000)}
	part := bytes.Repeat([]byte(" "), 60_000)
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	var judged, ended atomic.Int64
	for range large {
		sending.Go(func() {
			for ctx.Err() == nil {
				if answer, err := f.Send(ctx, forger.Review{Operation: admissionv1.Create, New: m, DryRun: true}); err == nil && answer.Code == http.StatusOK {
					judged.Add(1)
				}
			}
		})
	}
	for range slow {
		sending.Go(func() {
			for ctx.Err() == nil {
				c, err := f.Begin(ctx, 4<<20, part)
				if err != nil {
					continue
				}
				closed := context.AfterFunc(ctx, func() { _ = c.Close() })
				_, _ = io.Copy(io.Discard, c)
				closed()
				_ = c.Close()
				ended.Add(1)
			}
		})
	}
	return func() {
		stop()
		sending.Wait()
		f.Close()
		t.Logf("%d large reviews were judged, and %d slow bodies ended", judged.Load(), ended.Load())
		if judged.Load() == 0 {
			t.Error("no large review was judged")
		}
	}
}
