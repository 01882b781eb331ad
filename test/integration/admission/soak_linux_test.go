package admission

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/hostile/probed"
)

// maxSoakMemory is what a manager may need while members attack it, and calmMemory what it needs when they are gone, in MiB.
const maxSoakMemory, calmMemory = 512, 150

// TestSoak has a manager follow members that attack it, all at once, beside credentials that are bombs. It goes on admitting,
// needs no more memory than its container has, and gives it back.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	h := enforcing(t)
	h.create(t, fed("soaked"))
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
	for _, m := range members {
		must(t, client.IgnoreNotFound(h.admin.Delete(t.Context(), m)))
	}
	must(t, h.admin.DeleteAllOf(t.Context(), &v1alpha1.MemberCluster{}, client.MatchingLabels{v1alpha1.LabelFederation: "soaked"}))
	calm := max(calmMemory, before+20) // after other tests of this manager
	eventually(t, "the memory is given back", func() error {
		if now := measure(); now > calm {
			return fmt.Errorf("the manager has %d MiB, and had %d", now, before)
		}
		return nil
	})
	t.Logf("the manager had %d MiB before, %d at most, and has %d", before, most, measure())
	if most > maxSoakMemory {
		t.Errorf("the manager needed %d MiB", most)
	}
}
