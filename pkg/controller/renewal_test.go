package controller

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

const day = 24 * time.Hour

// lived is a life that was granted at now. The member's clock is ahead by skew.
func lived(granted, skew time.Duration) life {
	return life{issued: now.Add(skew), expiry: now.Add(skew + granted), stored: now}
}

// TestSchedule holds when credentials are renewed, with clocks that are right and wrong.
func TestSchedule(t *testing.T) {
	t.Parallel()
	never := -time.Second
	for _, tt := range []struct {
		name   string
		life   life
		jitter float64
		// want is the time from now.
		want time.Duration
	}{
		{"90 days", lived(90*day, 0), 0, 30 * day},
		{"a day", lived(day, 0), 0, 8 * time.Hour},
		{"an hour", lived(time.Hour, 0), 0, 20 * time.Minute},
		{"ten minutes", lived(10*time.Minute, 0), 0, 200 * time.Second},
		{"ten seconds, which no API server grants", lived(10*time.Second, 0), 0, 12500 * time.Millisecond},
		{"a second at an end that is far", life{issued: now.Add(time.Hour - time.Second), expiry: now.Add(time.Hour), stored: now}, 0, 200 * time.Second},
		{"the most jitter", lived(day, 0), 1, 7 * time.Hour},
		{"half of the jitter", lived(day, 0), 0.5, 7*time.Hour + 30*time.Minute},
		{"a year", lived(365*day, 0), 0, 365 * day / 3},

		{"the member's clock is ahead by a day, so that the token is of the future", lived(time.Hour, day), 0, 20 * time.Minute},
		{"ahead by a quarter of an hour", lived(time.Hour, 15*time.Minute), 0, 20 * time.Minute},
		{"behind by a quarter of an hour", lived(time.Hour, -15*time.Minute), 0, 20 * time.Minute},
		{"behind, so that it ends soon by the host's clock", lived(time.Hour, -45*time.Minute), 0, 5 * time.Minute},
		{"behind, so that it has ended by the host's clock: not again at once", lived(time.Hour, -day), 0, time.Minute},
		{"ten minutes, and behind by a day", lived(10*time.Minute, -day), 0, 12500 * time.Millisecond},
		{"the Secret was edited when a third of the life was left", life{issued: now.Add(-2 * time.Hour), expiry: now.Add(time.Hour), stored: now}, 0, 30 * time.Minute},
		{"the Secret was edited at the end", life{issued: now.Add(-3 * time.Hour), expiry: now.Add(time.Second), stored: now}, 0, time.Minute},

		{"it does not say since when", life{expiry: now.Add(time.Hour), stored: now}, 0, never},
		{"it does not say until when", life{issued: now, stored: now}, 0, never},
		{"it ends before it begins", lived(-time.Hour, 0), 0, never},
		{"it ends when it begins", lived(0, 0), 0, never},
		{"it has no times at all", life{}, 0, never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := schedule{RenewalShare}.due(tt.life, tt.jitter)
			if ok != (tt.want != never) {
				t.Fatalf("%v %v", got, ok)
			}
			if off := got.Sub(now) - tt.want; ok && off.Abs() > time.Millisecond {
				t.Errorf("after %v, want %v", got.Sub(now), tt.want)
			}
		})
	}
}

// TestScheduleIsSound goes through lives, clocks and jitters: a renewal comes in time, and never at once.
func TestScheduleIsSound(t *testing.T) {
	t.Parallel()
	for _, granted := range []time.Duration{10 * time.Minute, time.Hour, day, 2 * day, 90 * day, 365 * day} {
		for _, skew := range []float64{-100, -1, -0.9, -0.4, 0, 0.4, 0.9, 1, 100} {
			for _, jitter := range []float64{0, 0.3, 1} {
				s, l := schedule{RenewalShare}, lived(granted, time.Duration(float64(granted)*skew))
				due, ok := s.due(l, jitter)
				// By a clock that is right it ends at now and what was granted.
				if !ok || due.Sub(now) < granted/50 && due.Sub(now) < 50*time.Second || due.Sub(now) > granted*2/5 {
					t.Errorf("granted %s, skew %v, jitter %v: after %s", granted, skew, jitter, due.Sub(now))
				}
				var tries int
				for at := due.Sub(now); at < granted; tries++ {
					at += s.retry(l, tries+1, jitter)
				}
				if tries < 4 {
					t.Errorf("granted %s, skew %v, jitter %v: only %d tries before it ends", granted, skew, jitter, tries)
				}
			}
		}
	}
}

// TestRetry holds how long after failures a renewal is tried again.
func TestRetry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		granted  time.Duration
		failures int
		jitter   float64
		want     time.Duration
	}{
		{90 * day, 1, 0, time.Minute},
		{90 * day, 2, 0, 2 * time.Minute},
		{90 * day, 6, 0, 32 * time.Minute},
		{90 * day, 7, 0, time.Hour},
		{90 * day, 1000, 0, time.Hour},
		{90 * day, 7, 1, 52*time.Minute + 30*time.Second},
		{time.Hour, 1, 0, time.Minute},
		{time.Hour, 5, 0, 10 * time.Minute},
		{10 * time.Minute, 1, 0, 12500 * time.Millisecond},
		{10 * time.Minute, 2, 0, 25 * time.Second},
		{10 * time.Minute, 9, 0, 100 * time.Second},
		{time.Second, 1, 0, 12500 * time.Millisecond},
	} {
		if got := (schedule{RenewalShare}).retry(lived(tt.granted, 0), tt.failures, tt.jitter); (got - tt.want).Abs() > time.Millisecond {
			t.Errorf("%s, after %d failures: %s, want %s", tt.granted, tt.failures, got, tt.want)
		}
	}
}

// TestJitter holds that members which joined together are not renewed together, and each at the same time in each run.
func TestJitter(t *testing.T) {
	t.Parallel()
	var tenths [10]int
	for i := range 1000 {
		uid := types.UID(fmt.Sprintf("0d5b7cf6-9c41-4d51-8a5e-%012d", i))
		j := jitterOf(uid)
		if j < 0 || j >= 1 || j != jitterOf(uid) {
			t.Fatalf("%s: %v", uid, j)
		}
		tenths[int(j*10)]++
	}
	for i, n := range tenths {
		if n < 50 || n > 200 {
			t.Errorf("%d of 1000 between %v and %v", n, float64(i)/10, float64(i+1)/10)
		}
	}
}

// ownToken is a token as the manager's account has it.
func ownToken(issued, expiry time.Time) string { return token(claimsOfOwn(issued, expiry)) }

func claimsOfOwn(issued, expiry time.Time) string {
	return fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d,"kubernetes.io":{"secret":{"name":"kubefederate-manager-binding","uid":"uid-b"}}}`,
		managerSubject, issued.Unix(), expiry.Unix())
}

// renewable is a member in good standing, whose credential was stored an hour ago for three.
func renewable(t *testing.T) seen {
	t.Helper()
	o := good(t)
	o.store(t, func(a *kubeconfig.Access) { a.Token = ownToken(now.Add(-time.Hour), now.Add(2*time.Hour)) })
	o.credential.CreationTimestamp = metav1.NewTime(now.Add(-day))
	o.credential.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "kubectl", Time: new(metav1.NewTime(now.Add(-2 * time.Hour)))}, {Manager: "kubectl-federate", Time: new(metav1.NewTime(now.Add(-time.Hour)))}, {Manager: "other"},
	}
	o.member.Status = o.status(o.judgeCredential())
	return o
}

// TestRenewalTime holds which members' credentials are renewed.
func TestRenewalTime(t *testing.T) {
	t.Parallel()
	due := now.Add(-time.Duration(float64(time.Hour/8) * jitterOf("uid-1")))
	ready := func(status metav1.ConditionStatus, reason string) func(*seen) {
		return func(o *seen) {
			meta.SetStatusCondition(&o.member.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason})
		}
	}
	failed := func(credential func(*seen) string) func(*seen) {
		return func(o *seen) {
			o.renewed = attempt{credential: credential(o), failures: 2, next: now.Add(time.Minute)}
		}
	}
	for _, tt := range []struct {
		name  string
		fault func(*seen)
		// want is zero where it is not to be renewed.
		want time.Time
	}{
		{"well", func(*seen) {}, due},
		{"suspended", func(o *seen) { o.member.Spec.Suspended = true }, due},
		{"waits for acceptance", func(o *seen) { o.federation.Spec.Acceptance = v1alpha1.AcceptManual }, due},
		{"its federation is gone", func(o *seen) { o.federation = nil }, due},
		{"leaves", func(o *seen) { o.member.DeletionTimestamp = &metav1.Time{Time: now} }, time.Time{}},
		{"a fifth of its life is left", func(o *seen) { o.now = now.Add(110 * time.Minute) }, due},
		{"expired", func(o *seen) { o.now = now.Add(2 * time.Hour) }, time.Time{}},
		{"none is stored", func(o *seen) { o.credential = nil }, time.Time{}},
		{"another federation's", func(o *seen) { o.credential.Labels[v1alpha1.LabelFederation] = "test" }, time.Time{}},
		{"the status is of another one", func(o *seen) { o.member.Status.ObservedCredential = "old" }, time.Time{}},
		{"not probed yet", ready(metav1.ConditionUnknown, v1alpha1.ReasonNotProbed), time.Time{}},
		{"no status yet", func(o *seen) { o.member.Status.Conditions = nil }, time.Time{}},
		{"does not answer", ready(metav1.ConditionFalse, v1alpha1.ReasonTimedOut), time.Time{}},
		{"another cluster answers", ready(metav1.ConditionFalse, v1alpha1.ReasonIdentityMismatch), time.Time{}},
		{"its certificate does not verify", ready(metav1.ConditionFalse, v1alpha1.ReasonCertificateInvalid), time.Time{}},
		{"refuses the credential", ready(metav1.ConditionFalse, v1alpha1.ReasonUnauthorized), time.Time{}},
		{"has refused the credential", func(o *seen) {
			ready(metav1.ConditionFalse, v1alpha1.ReasonForbidden)(o)
			meta.SetStatusCondition(&o.member.Status.Conditions, metav1.Condition{
				Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonCredentialRevoked})
		}, time.Time{}},
		{"lacks a right", ready(metav1.ConditionFalse, v1alpha1.ReasonForbidden), due},
		{"answers with an error", ready(metav1.ConditionFalse, v1alpha1.ReasonServerError), due},
		{"failed", failed(func(o *seen) string { return o.member.Status.ObservedCredential }), now.Add(time.Minute)},
		{"the former one failed", failed(func(*seen) string { return "old" }), due},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := renewable(t)
			tt.fault(&o)
			got, ok := o.renewalTime(o.judgeCredential(), o.renewed, schedule{RenewalShare})
			if ok == tt.want.IsZero() || ok && (got.Sub(tt.want)).Abs() > time.Millisecond {
				t.Errorf("%v %v, want %v", got, ok, tt.want)
			}
		})
	}
}

// TestRenewable holds which credentials are renewed: tokens of the manager's account that end with a Secret on the member.
func TestRenewable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*kubeconfig.Access)
		want   bool
	}{
		{"its own", func(*kubeconfig.Access) {}, true},
		{"of another account", func(a *kubeconfig.Access) {
			a.Token = token(`{"sub":"system:serviceaccount:kube-system:default","iat":1,"exp":9999999999,"kubernetes.io":{"secret":{"name":"s"}}}`)
		}, false},
		{"bound to nothing", func(a *kubeconfig.Access) {
			a.Token = token(fmt.Sprintf(`{"sub":%q,"iat":1,"exp":9999999999}`, managerSubject))
		}, false},
		{"of no shape", func(a *kubeconfig.Access) { a.Token = "token" }, false},
		{"a certificate", func(a *kubeconfig.Access) { a.Token, a.CertData = "", []byte("x") }, false},
	} {
		o := renewable(t)
		access := &kubeconfig.Access{Token: ownToken(now, now.Add(time.Hour))}
		tt.change(access)
		if got := renewalOf(o.credential, access); got.renewable != tt.want || !got.stored.Equal(now.Add(-time.Hour)) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// TestAskedLife holds how long a renewed token is asked to live.
func TestAskedLife(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		annotation string
		granted    time.Duration
		want       time.Duration
	}{
		{"2160h0m0s", day, 90 * day},
		{"", day, day},
		{"garbage", time.Hour, time.Hour},
		{"1s", time.Hour, 10 * time.Minute},
		{"100000h", time.Hour, 365 * day},
		{"", time.Minute, 10 * time.Minute},
		{"-1h", time.Hour, 10 * time.Minute},
	} {
		o := renewable(t)
		o.credential.Annotations = map[string]string{v1alpha1.AnnotationTokenLifetime: tt.annotation}
		if got := askedLife(o.credential, lived(tt.granted, 0)); got != tt.want {
			t.Errorf("%q, granted %s: %s, want %s", tt.annotation, tt.granted, got, tt.want)
		}
	}
}

// TestRenewedKeys holds that the list of keys goes on when the manager renewed the credential, and begins anew when another was
// stored.
func TestRenewedKeys(t *testing.T) {
	t.Parallel()
	for replaced, want := range map[string]int{"": 0, "before": 1, "another": 0} {
		o := renewable(t)
		o.member.Status.SigningKeys, o.member.Status.ObservedCredential = []string{"key"}, "before"
		if replaced != "" {
			o.credential.Annotations = map[string]string{v1alpha1.AnnotationRenewed: replaced}
		}
		stored := o.judgeCredential()
		if keys, of := o.signingKeys(stored); len(keys) != want || of != stored.hash {
			t.Errorf("it replaced %q: %v of %q", replaced, keys, of)
		}
	}
	// A credential that does not say what it replaced has replaced nothing that was observed.
	o := renewable(t)
	o.member.Status.SigningKeys, o.member.Status.ObservedCredential = []string{"key"}, ""
	if keys, _ := o.signingKeys(o.judgeCredential()); len(keys) != 0 {
		t.Errorf("%v", keys)
	}
}

// TestRenewalFailed is what a status says while a renewal fails, and after a restart of the manager.
func TestRenewalFailed(t *testing.T) {
	t.Parallel()
	const (
		failed  = "True CredentialRenewalFailed: renewal failed: no answer; the stored credential works until 2026-11-23T14:00:00Z; if that goes on, renew it: kubectl federate rotate us-east"
		refused = "True CredentialRenewalFailed: renewal failed: no answer; the stored credential works until 2026-11-23T14:00:00Z; restore the manager's permissions: kubectl federate join us-east --federation prod --member-context CONTEXT"
		works   = "True CredentialStored: a credential for the member's endpoint is stored"
	)
	for _, tt := range []struct {
		name    string
		change  func(*seen)
		want    string
		granted string
	}{
		{"it fails", func(o *seen) { o.renewed = attempt{failures: 1, fault: "no answer"} }, failed, ""},
		{"it is not allowed", func(o *seen) { o.renewed = attempt{failures: 1, fault: "no answer", forbidden: true} }, refused,
			"False RenewalForbidden: the manager may not renew its credential: no answer; restore the manager's permissions: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"a fifth of its life is left", func(o *seen) {
			o.renewed, o.now = attempt{failures: 1, fault: "no answer"}, now.Add(110*time.Minute)
		}, failed, ""},
		{"the manager was restarted", func(o *seen) {
			o.renewed = attempt{failures: 1, fault: "no answer"}
			o.member.Status = o.status(o.judgeCredential())
			o.renewed = attempt{}
		}, failed, ""},
		{"another one is stored", func(o *seen) {
			o.renewed = attempt{failures: 1, fault: "no answer"}
			o.member.Status = o.status(o.judgeCredential())
			o.renewed = attempt{}
			o.store(t, func(a *kubeconfig.Access) { a.Token = ownToken(now, now.Add(3*time.Hour)) })
		}, works, ""},
		{"the member refuses it", func(o *seen) {
			o.renewed = attempt{failures: 1, fault: "no answer"}
			o.probe.outcome = outcome{v1alpha1.ReasonUnauthorized, "", 401}
		}, "False CredentialRevoked: https://us-east.example.com:6443 refuses the stored credential (401); store another: kubectl federate join us-east --federation prod --member-context CONTEXT", ""},
		{"it expired", func(o *seen) {
			o.renewed, o.now = attempt{failures: 1, fault: "no answer"}, now.Add(2*time.Hour)
		}, "False CredentialExpired: the stored credential expired at 2026-11-23T14:00:00Z; renew it: kubectl federate rotate us-east", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := renewable(t)
			tt.change(&o)
			status := o.status(o.judgeCredential())
			for condition, want := range map[string]string{v1alpha1.ConditionCredentialValid: tt.want, v1alpha1.ConditionGranted: tt.granted} {
				got := ""
				if c := meta.FindStatusCondition(status.Conditions, condition); c != nil {
					got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
				}
				if got != want {
					t.Errorf("%s\n got %s\nwant %s", condition, got, want)
				}
			}
		})
	}
}
