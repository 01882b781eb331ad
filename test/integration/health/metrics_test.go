//go:build unix

package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// servesMetrics holds that the manager serves every metric of test/tools/monitoring/testdata/metrics.txt, which alerts and the
// dashboard read, with its type; and that these are all of its own. It leads, and has a member.
func servesMetrics(t *testing.T, scrape func(context.Context) (string, error)) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "tools", "monitoring", "testdata", "metrics.txt"))
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the metrics of the manager", func(ctx context.Context) error {
		answer, err := scrape(ctx)
		if err != nil {
			return err
		}
		served := map[string]bool{}
		for line := range strings.Lines(answer) {
			if metric, is := strings.CutPrefix(line, "# TYPE "); is {
				served[strings.TrimSpace(metric)] = true
			}
		}
		var missing, more []string
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); !served[line] {
				missing = append(missing, line)
			}
			delete(served, line)
		}
		for metric := range served {
			if strings.HasPrefix(metric, "kubefederate_") {
				more = append(more, metric)
			}
		}
		if len(missing)+len(more) > 0 {
			return fmt.Errorf("testdata/metrics.txt has %q, which are not served, and lacks %q", missing, more)
		}
		return nil
	})
}

// scraper reads the metrics of the manager as a collector does.
func scraper(t *testing.T) func(context.Context) (string, error) {
	t.Helper()
	client, err := kubernetes.NewForConfig(enforcing(t).Config())
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "health-collector"}}
	_, err = client.CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test:health-collector"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "kubefederate-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: account.Name}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (string, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer transport.CloseIdleConnections()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, manager.MetricsURL, nil)
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer "+token.Status.Token)
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%d %s", response.StatusCode, body)
		}
		return string(body), err
	}
}
