//go:build unix

package admission

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestCredentialContent has a joiner store kubeconfigs that are made to harm the manager: the member's status says that they cannot
// be used, whatever they hold.
func TestCredentialContent(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("content"))
	certificate, key := cases.WideKeyPair(time.Now().Add(time.Hour))
	for name, test := range map[string]struct {
		content func(*v1alpha1.MemberCluster) []byte
		want    string
	}{
		"a-long-field": {
			func(*v1alpha1.MemberCluster) []byte { return []byte("? " + strings.Repeat("x", 60_000) + "\n: 1\n") },
			strings.Repeat("x", 97) + "… is not a field of a kubeconfig",
		},
		"a-wide-key": {
			func(m *v1alpha1.MemberCluster) []byte {
				data, err := (&kubeconfig.Access{Endpoint: endpoint.Of(m), CertData: certificate, KeyData: key}).Marshal()
				must(t, err)
				return data
			},
			"user.client-certificate-data has an RSA key of more than 8192 bits, which no API server accepts",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := member("content-"+name, "content")
			h.create(t, m)
			s := credential(m)
			s.Data[v1alpha1.CredentialKey] = test.content(m)
			h.create(t, s)
			eventually(t, "the status", func() error {
				if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
					return err
				}
				want := "the stored credential cannot be used: kubeconfig refused: " + test.want + "; renew it: kubectl federate rotate " + m.Name
				if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCredentialValid); c == nil || c.Message != want {
					return fmt.Errorf("got %+v, want %s", c, want)
				}
				return nil
			})
		})
	}
}
