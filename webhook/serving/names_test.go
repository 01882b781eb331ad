package serving_test

import (
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/kubefederate/kubectl-federate/webhook/serving"
)

func TestNames(t *testing.T) {
	t.Parallel()
	at := func(url string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{URL: &url}
	}
	service := admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: "ns", Name: "svc"}}
	for name, test := range map[string]struct {
		clients []admissionregistrationv1.WebhookClientConfig
		want    string
	}{
		"service":     {[]admissionregistrationv1.WebhookClientConfig{service, service}, "[svc.ns.svc svc.ns.svc.cluster.local] <nil>"},
		"address":     {[]admissionregistrationv1.WebhookClientConfig{at("https://127.0.0.1:9443/a"), at("https://[::1]:9443/b")}, "[127.0.0.1 ::1] <nil>"},
		"host":        {[]admissionregistrationv1.WebhookClientConfig{at("https://manager.example.com/a")}, "[manager.example.com] <nil>"},
		"no host":     {[]admissionregistrationv1.WebhookClientConfig{at("https:///a")}, "[] webhook w: its URL has no host"},
		"no webhooks": {nil, `[] ValidatingWebhookConfiguration "kubefederate.io" has no webhook with a URL or a service`},
	} {
		configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
		configuration.Name = "kubefederate.io"
		for _, c := range test.clients {
			configuration.Webhooks = append(configuration.Webhooks, admissionregistrationv1.ValidatingWebhook{Name: "w", ClientConfig: c})
		}
		names, err := serving.Names(configuration)
		if got := fmt.Sprint(names, " ", err); got != test.want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
