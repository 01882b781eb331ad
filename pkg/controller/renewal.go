package controller

import (
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// RenewalShare is the share of its life after which a credential is renewed: a manager that was down for two thirds of it
// still finds credentials that work. Managed clusters grant a day or two, whatever is asked for.
const RenewalShare = 1.0 / 3

// longestRetry and longestStep bound how long after a failure a renewal is tried again, and firstly; lives of hours or
// minutes take less.
const longestRetry, longestStep = time.Hour, time.Minute

// life is that of a stored credential.
type life struct {
	// issued and expiry are what the credential says, by the clock of the member that issued it.
	issued, expiry time.Time
	// stored is when it was stored, by the clock of the host.
	stored time.Time
}

// schedule says when credentials are renewed.
type schedule struct {
	// share is how much of a life has passed by then.
	share float64
}

// wait is the time from storing a credential until it is renewed, without jitter; zero for one that has no length. What was
// granted is the difference of two times of one clock, so that a clock that is wrong does not matter. No API server grants less
// than MinTokenLifetime: a member that does would have the manager write to the host without pause.
func (s schedule) wait(l life) time.Duration {
	granted := l.expiry.Sub(l.issued)
	if l.issued.IsZero() || granted <= 0 {
		return 0
	}
	return time.Duration(float64(max(granted, member.MinTokenLifetime)) * s.share)
}

// step is the shortest time between two renewals, or tries, of one member.
func (s schedule) step(l life) time.Duration { return min(s.wait(l)/16, longestStep) }

// due is when a credential is renewed first; false is never. The jitter, from 0 to 1, brings it forward by up to an eighth of the
// wait. The wait begins when the host stored the credential, since the member's clock may be wrong. Who edits a credential's
// metadata makes it look younger than it is: what it says of its end counts too.
func (s schedule) due(l life, jitter float64) (time.Time, bool) {
	wait := s.wait(l)
	if wait <= 0 {
		return time.Time{}, false
	}
	due := l.stored.Add(shortened(wait, jitter))
	if latest := l.expiry.Add(-wait / 2); due.After(latest) {
		due = latest
	}
	// The clock of a member that is far behind has all of its tokens look old.
	if earliest := l.stored.Add(s.step(l)); due.Before(earliest) {
		due = earliest
	}
	return due, true
}

// retry is how long after the last of some failures the renewal is tried again.
func (s schedule) retry(l life, failures int, jitter float64) time.Duration {
	delay := s.step(l) << min(max(failures-1, 0), 16)
	return shortened(min(delay, s.wait(l)/2, longestRetry), jitter)
}

// shortened takes up to an eighth off d.
func shortened(d time.Duration, jitter float64) time.Duration {
	return d - time.Duration(float64(d/8)*jitter)
}

// jitterOf is a number from 0 to 1, which is the same for a member in each run of the manager: members that joined in one minute are
// not renewed in one, and one that is due is not put off by a restart.
func jitterOf(uid types.UID) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(uid))
	return float64(h.Sum32()) / (1 << 32)
}

// attempt is what became of the requests for a token with one credential; the zero one is none.
type attempt struct {
	// credential is the hash of the one that they were made with.
	credential string
	failures   int
	// next is when to try again.
	next time.Time
	// fault is why the last one failed, and forbidden that the member does not let the manager's account have a token.
	fault     string
	forbidden bool
}

// attempts are the last ones that failed, by member.
type attempts struct {
	mu sync.Mutex
	of map[string]attempt
}

// last is what became of the last attempt with a credential of that hash, if it failed.
func (a *attempts) last(name, credential string) attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := a.of[name]; last.credential == credential {
		return last
	}
	return attempt{}
}

// keep notes that an attempt has failed.
func (a *attempts) keep(name string, last attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = map[string]attempt{}
	}
	a.of[name] = last
}

// forget drops what is known of a member that has a new credential, or is gone.
func (a *attempts) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, name)
}

// renewalTime is when to renew the stored credential, given what became of the last attempt; false is not, as things are.
// A member that waits for acceptance, or is suspended, keeps a credential that works; one that leaves does not.
func (o memberState) renewalTime(stored storedCredential, last attempt, s schedule) (time.Time, bool) {
	switch {
	case o.member.DeletionTimestamp != nil, stored.condition.Status != metav1.ConditionTrue, !stored.renewable,
		// The status is behind. That of the credential which is stored now comes soon, and says whether it works.
		stored.hash != o.member.Status.ObservedCredential, !o.answers():
		return time.Time{}, false
	}
	due, ok := s.due(stored.life, jitterOf(o.member.UID))
	if ok && last.credential == stored.hash && last.failures > 0 {
		due = last.next
	}
	return due, ok
}

// answers says that the member took the stored credential when it was probed last, or did not refuse it at least. One that does not
// answer is sent no request: its turn comes when it answers again.
func (o memberState) answers() bool {
	ready := meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionReady)
	valid := meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionCredentialValid)
	return ready != nil && valid != nil && valid.Status == metav1.ConditionTrue && slices.Contains(answering, ready.Reason)
}

// answering are the reasons of Ready for which a renewal is tried.
var answering = []string{v1alpha1.ReasonReachable, v1alpha1.ReasonForbidden, v1alpha1.ReasonServerError, v1alpha1.ReasonUnexpectedAnswer}
