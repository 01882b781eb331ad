//go:build unix

package admission

import (
	"fmt"
	"net/http"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestPriority holds that the manager's requests do not share a priority level with those of all pods of the host.
func TestPriority(t *testing.T) {
	h := enforcing(t)
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = v1alpha1.HostNamespace, manifests.ManagerAccount
	var token authenticationv1.TokenRequest
	must(t, h.admin.SubResource("token").Create(t.Context(), account, &token))
	config := rest.AnonymousClientConfig(h.Config())
	config.BearerToken = token.Status.Token
	transport, err := rest.TransportFor(config)
	must(t, err)
	var schema flowcontrolv1.FlowSchema
	must(t, h.admin.Get(t.Context(), client.ObjectKey{Name: "kubefederate-manager"}, &schema))
	for _, path := range []string{"/apis/kubefederate.io/v1alpha1/federations", "/version"} {
		eventually(t, "the priority of "+path, func() error {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+path, nil)
			must(t, err)
			response, err := transport.RoundTrip(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if uid := response.Header.Get("X-Kubernetes-PF-FlowSchema-UID"); uid != string(schema.UID) {
				return fmt.Errorf("it is that of the FlowSchema %q, status %d", uid, response.StatusCode)
			}
			return nil
		})
	}
}
