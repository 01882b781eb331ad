//go:build unix

package admission

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
	"github.com/kubefederate/kubectl-federate/test/forger"
)

// forgery sends reviews, each of which must be answered in time, whatever it claims.
type forgery struct {
	*forger.Forger
	t *testing.T
}

func (f forgery) send(r forger.Review) forger.Answer {
	f.t.Helper()
	began := time.Now()
	answer, err := f.Send(f.t.Context(), r)
	if err != nil || answer.Code != http.StatusOK || time.Since(began) > 4500*time.Millisecond {
		f.t.Errorf("a forged %s was answered with %s after %s: %v", r.Operation, answer, time.Since(began), err)
	}
	return answer
}

func (f forgery) creates(m *v1alpha1.MemberCluster) forger.Answer {
	f.t.Helper()
	m.UID = uuid.NewUUID()
	return f.send(forger.Review{Operation: admissionv1.Create, New: m})
}

// claims sends what a forger may claim of an object that is there: that it, or another one with its UID or its name, is
// changed or deleted, in a version of the past, of now and of the future.
func (f forgery) claims(o client.Object) {
	f.t.Helper()
	for _, name := range []string{o.GetName(), "ghost-" + o.GetName()} {
		for _, uid := range []types.UID{o.GetUID(), uuid.NewUUID()} {
			for _, version := range []string{"1", o.GetResourceVersion(), "99999999999"} {
				claimed := o.DeepCopyObject().(client.Object)
				claimed.SetName(name)
				claimed.SetUID(uid)
				claimed.SetResourceVersion(version)
				for _, dryRun := range []bool{true, false} {
					review := forger.Review{DryRun: dryRun, User: authenticationv1.UserInfo{Username: "system:admin", Groups: []string{"system:masters"}}}
					review.Operation, review.New = admissionv1.Create, claimed
					f.send(review)
					review.Operation, review.Old = admissionv1.Update, claimed
					review.New = changed(claimed)
					f.send(review)
					if _, is := o.(*v1alpha1.Federation); is {
						review.Operation, review.New = admissionv1.Delete, nil
						f.send(review)
					}
				}
			}
		}
	}
}

// changed is an object as a forger wants the manager to believe it.
func changed(o client.Object) client.Object {
	after := o.DeepCopyObject().(client.Object)
	switch after := after.(type) {
	case *v1alpha1.Federation:
		after.Spec.Limits = []v1alpha1.Limit{{Max: 1000}}
	case *v1alpha1.MemberCluster:
		after.Labels["zone"] = "z"
	}
	return after
}

func zoned(name, federation, zone string) *v1alpha1.MemberCluster {
	m := member(name, federation)
	m.Labels["zone"] = zone
	return m
}

// TestForgedReviews sends reviews of its own from a pod that has learned the webhook's path from the answer to a user: a call that
// failed in transport. Limits and identities stay exact. What is delayed passes within a minute, and shows.
func TestForgedReviews(t *testing.T) {
	env.Full(t, "it waits until forged entries end")
	t.Parallel()
	r := twoReplicas(t, "forged")
	limited := func(name string, limits ...v1alpha1.Limit) *v1alpha1.Federation {
		f := fed(name)
		f.Spec.Limits = limits
		return f
	}
	shrinks, held := limited("shrinks", v1alpha1.Limit{Max: 3}), limited("held", v1alpha1.Limit{Max: 2})
	zones := limited("zones", v1alpha1.Limit{PerLabel: "zone", Max: 1})
	moves := zoned("moves", "zones", "a")
	for _, o := range []client.Object{shrinks, held, zones, limited("claimed"), limited("filled"), limited("other"), moves} {
		must(t, r.admin.Create(t.Context(), o))
	}
	for _, m := range r.managers {
		m.Stop()
	}
	url := forger.Learn(text(r.admin.Create(t.Context(), member("down", "held"))))
	if url == "" {
		t.Fatal("an API server does not print the path any more")
	}
	for _, m := range r.managers {
		must(t, m.Start(t.Context()))
	}
	must(t, r.managers[0].Wait(t.Context()))
	f := forgery{forger.New(url), t}
	defer f.Close()

	eventually(t, "answers of both managers", func() error {
		for range 2 * len(r.managers) {
			if _, err := f.Send(t.Context(), forger.Review{Operation: admissionv1.Create, New: member("first", "none"), DryRun: true}); err != nil {
				return err
			}
		}
		return nil
	})

	began := time.Now()
	for _, o := range []client.Object{shrinks, zones, moves} {
		f.claims(o)
	}
	for i := range 2 {
		if a := f.creates(member(fmt.Sprint("ghost-", i), "held")); !a.Allowed {
			t.Errorf("a forged create: %s", a)
		}
	}
	thief := member("thief", "claimed")
	thief.Spec.ClusterID = "id-victim"
	f.creates(thief)
	for i := range 41 {
		m := member(fmt.Sprint("heavy-", i), "filled")
		for j := range 120 {
			m.Labels[fmt.Sprintf("example.com/%0200d", j)] = strings.Repeat("x", 63)
		}
		f.creates(m)
	}
	if n := len(r.journal(t)); n > 100_000 {
		t.Errorf("forged reviews made a journal of %d bytes", n)
	}
	for i := range 5 {
		must(t, r.admin.Create(t.Context(), member(fmt.Sprint("other-", i), "other")))
	}
	// Held, and not refused.
	for _, m := range []*v1alpha1.MemberCluster{member("held-1", "held"), member("victim", "claimed")} {
		if err := r.admin.Create(t.Context(), m); !apierrors.IsTooManyRequests(err) && time.Since(began) < 40*time.Second {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	creates := func(m *v1alpha1.MemberCluster) {
		t.Helper()
		for {
			err := r.admin.Create(t.Context(), m.DeepCopy())
			switch {
			case err == nil || apierrors.IsAlreadyExists(err):
				return
			case !apierrors.IsTooManyRequests(err) || time.Since(began) > 90*time.Second:
				t.Fatalf("%s, after %s: %v", m.Name, time.Since(began), err)
			}
			after(t, time.Second/2)
		}
	}
	refuses := func(m *v1alpha1.MemberCluster, want string) {
		t.Helper()
		if got := text(r.admin.Create(t.Context(), m)); !strings.Contains(got, want) {
			t.Errorf("%s: got %s", m.Name, got)
		}
	}
	creates(member("held-1", "held"))
	creates(member("held-2", "held"))
	refuses(member("held-3", "held"), `federation "held" has 2 members and takes at most 2`)
	creates(member("victim", "claimed"))
	again := member("again", "claimed")
	again.Spec.ClusterID = "id-victim"
	refuses(again, `this cluster is already member "victim"`)
	t.Logf("forged reviews held places for %s", time.Since(began).Round(time.Second))
	if wait := 50*time.Second - time.Since(began); wait > 0 {
		after(t, wait) // what was claimed has ended
	}

	must(t, r.admin.Patch(t.Context(), shrinks, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"limits":[{"max":1}]}}`))))
	creates(member("shrinks-1", "shrinks"))
	refuses(member("shrinks-2", "shrinks"), `federation "shrinks" has 1 member and takes at most 1`)
	must(t, r.admin.Patch(t.Context(), moves, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"zone":"b"}}}`))))
	creates(zoned("stays", "zones", "a"))
	refuses(zoned("moved", "zones", "b"), `at most 1`)

	ended := 0.0
	for _, m := range r.managers {
		ended += scraped(t, r.admin, m, "kubefederate_journal_entries_never_seen_total ")
	}
	if ended < 44 {
		t.Errorf("the metric shows %v entries that were never seen", ended)
	}
}

// scraped is a series of a manager's metrics.
func scraped(t *testing.T, admin client.Client, m *envhost.Manager, series string) float64 {
	t.Helper()
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = "default", "forged-collector"
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), account)))
	binding := &rbacv1.ClusterRoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "kubefederate-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	binding.Name = "test:forged-collector"
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), binding)))
	var token authenticationv1.TokenRequest
	must(t, admin.SubResource("token").Create(t.Context(), account, &token))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	var value float64
	eventually(t, "the metrics", func() error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.MetricsURL, nil)
		must(t, err)
		request.Header.Set("Authorization", "Bearer "+token.Status.Token)
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			return fmt.Errorf("%d %s %w", response.StatusCode, body, err)
		}
		for line := range strings.Lines(string(body)) {
			if rest, ok := strings.CutPrefix(line, series); ok {
				value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return err
			}
		}
		return fmt.Errorf("there is no series %s", series)
	})
	return value
}

// TestManyLabels holds that an object which would take long to judge is refused at once.
func TestManyLabels(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("many-labels"))
	m := member("many-labels", "many-labels")
	for i := range 6000 {
		m.Labels[fmt.Sprintf("example.com/%d", i)] = ""
	}
	answers(t, `413 admission webhook "memberclusters.kubefederate.io" denied the request: Request entity too large: "many-labels" has 6001 labels, more than 256`,
		func() error { return h.admin.Create(t.Context(), m.DeepCopy()) })
}

// TestStopping holds that a manager which is asked to end answers reviews until API servers have been led elsewhere.
func TestStopping(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("stopping"))
	h.manager.Stop()
	flags := h.manager.Flags
	h.manager.Flags = slices.Concat(flags, []string{"--shutdown-delay=5s"})
	must(t, h.manager.Start(t.Context()))
	must(t, h.manager.Wait(t.Context()))
	defer func() {
		h.manager.Flags = flags
		must(t, h.manager.Start(t.Context()))
		must(t, h.manager.Wait(t.Context()))
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.manager.Stop()
	}()
	began := time.Now()
	for i := 0; time.Since(began) < 3*time.Second; i++ {
		if err := h.admin.Create(t.Context(), member(fmt.Sprint("stopping-", i), "stopping")); err != nil {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
	}
	<-ended
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("it ended after %s", took)
	}
}
