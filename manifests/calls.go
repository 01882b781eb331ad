package manifests

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Calls are how API servers call the webhook, beside its address.
type Calls struct {
	// CABundle verifies the webhook, in PEM. Empty leaves it out.
	CABundle []byte
	// Word ends the path of each webhook. Empty means the path without a word.
	Word string
}

func (c *Calls) bundle() []byte {
	if c == nil {
		return nil
	}
	return c.CABundle
}

// PathPrefix is what the path of each webhook begins with; the resource that it judges follows, then the word.
const PathPrefix = "/validate/"

// pathOf is the path of a webhook, without a word.
func pathOf(webhook map[string]any) (string, error) {
	rules, _, err := unstructured.NestedSlice(webhook, "rules")
	if err != nil || len(rules) == 0 {
		return "", errors.Join(errors.New("a webhook has no rules"), err)
	}
	rule, _ := rules[0].(map[string]any)
	resources, _, err := unstructured.NestedStringSlice(rule, "resources")
	if err != nil || len(resources) == 0 {
		return "", errors.Join(errors.New("a webhook's rule has no resources"), err)
	}
	return PathPrefix + resources[0], nil
}

func (c Calls) into(client map[string]any, base, path string) {
	if c.Word != "" {
		path += "/" + c.Word
	}
	if base != "" {
		client["url"] = base + path
	} else {
		client["service"].(map[string]any)["path"] = path
	}
	if len(c.CABundle) > 0 {
		client["caBundle"] = base64.StdEncoding.EncodeToString(c.CABundle)
	}
}

// Call is what an installed configuration says of one webhook.
type Call struct {
	Calls
	// URL is the Options.WebhookURL of the install; empty where the manager runs inside the cluster.
	URL string
	// HasPath says whether there is a path at all; the address of a Service may be without one.
	HasPath bool
}

// CallsOf are the calls of an installed webhook configuration, one for each webhook.
func CallsOf(configuration *unstructured.Unstructured) ([]Call, error) {
	webhooks, _, err := unstructured.NestedSlice(configuration.Object, "webhooks")
	if err != nil {
		return nil, err
	}
	calls := make([]Call, len(webhooks))
	for i, w := range webhooks {
		webhook, _ := w.(map[string]any)
		path, err := pathOf(webhook)
		if err != nil {
			return nil, err
		}
		encoded, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle")
		if calls[i].CABundle, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, fmt.Errorf("clientConfig.caBundle: %w", err)
		}
		link, outside, _ := unstructured.NestedString(webhook, "clientConfig", "url")
		if !outside {
			link, _, _ = unstructured.NestedString(webhook, "clientConfig", "service", "path")
		}
		at := strings.LastIndex(link, path)
		if at < 0 {
			calls[i].URL = link
			continue
		}
		calls[i].URL, calls[i].HasPath = link[:at], true
		calls[i].Word = strings.TrimPrefix(link[at+len(path):], "/")
	}
	return calls, nil
}

// PatchCalls are operations of a JSON patch that write calls into an installed configuration, and nothing else.
func PatchCalls(configuration *unstructured.Unstructured, calls Calls) ([]map[string]any, error) {
	installed, err := CallsOf(configuration)
	if err != nil {
		return nil, err
	}
	operations := []map[string]any{{"op": "test", "path": "/metadata/resourceVersion", "value": configuration.GetResourceVersion()}}
	webhooks, _, _ := unstructured.NestedSlice(configuration.Object, "webhooks")
	for i, w := range webhooks {
		webhook := w.(map[string]any)
		path, err := pathOf(webhook)
		if err != nil {
			return nil, err
		}
		client, _ := webhook["clientConfig"].(map[string]any)
		if _, inside := client["service"].(map[string]any); !inside && installed[i].URL == "" {
			return nil, errors.New("a webhook has neither a service nor a URL")
		}
		calls.into(client, installed[i].URL, path)
		operations = append(operations, map[string]any{"op": "replace", "path": fmt.Sprintf("/webhooks/%d/clientConfig", i), "value": client})
	}
	return operations, nil
}

// ServerNames are the host names and addresses by which API servers call the webhook: those of the Service, or the host of
// Options.WebhookURL.
func ServerNames(webhookURL string) []string {
	if webhookURL == "" {
		// API servers use the first; the second is for people with curl.
		name := "kubefederate-webhook." + v1alpha1.HostNamespace + ".svc"
		return []string{name, name + ".cluster.local"}
	}
	u, err := url.Parse(webhookURL)
	if err != nil {
		return nil // Objects refuses it
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return []string{host}
}
