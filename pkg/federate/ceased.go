package federate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// A copy of a cluster has its ID and its keys, and a relay passes on what it is asked: what an unjoin has cleaned need not be
// the cluster that the host's credential opens. So the member is forgotten only when the manager reports that the
// credential has ceased to work at the stored endpoint.

// ceasedTimeout is how long the manager has to report it. API servers remember for ten seconds that a token was good: where others
// have prepared the account's rights, which stay, so long it works.
const ceasedTimeout = 15 * time.Second

// ceased is what the manager reports of the credential.
type ceased int

const (
	ceasedUnknown ceased = iota
	// ceasedPending is a report that is still to come.
	ceasedPending
	ceasedYes
	ceasedNo
)

// errStillWorks means that an unjoin has not reached the cluster that the host's credential opens.
var errStillWorks = errors.New("the host's credential still works")

// ceasedOf reads the manager's report on a request to probe, and why it does not know.
func ceasedOf(m *v1alpha1.MemberCluster, request string) (c ceased, why string) {
	if m.Status.ObservedProbeRequest != request {
		return ceasedPending, ""
	}
	credential := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCredentialValid)
	ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case credential == nil || ready == nil:
		return ceasedUnknown, "the manager reports nothing of it"
	case credential.Status != metav1.ConditionTrue:
		switch credential.Reason {
		case v1alpha1.ReasonCredentialRevoked, v1alpha1.ReasonCredentialExpired, v1alpha1.ReasonCredentialMissing:
			return ceasedYes, ""
		}
		return ceasedUnknown, credential.Message
	case ready.Reason == v1alpha1.ReasonReachable, ready.Reason == v1alpha1.ReasonForbidden:
		return ceasedNo, ""
	}
	return ceasedUnknown, ready.Message
}

// awaitCeased asks the manager, until the credential is refused. What the manager cannot know is reported, and no failure.
func (p *UnjoinPlan) awaitCeased(ctx context.Context) error {
	record := p.facts.Host.Member
	if record.DeletionTimestamp != nil {
		p.learn(p.uncertain("the member is being deleted already, and is probed no more"))
		return nil
	}
	request, accepted, why := "", false, fmt.Sprintf("the manager did not report it within %s", ceasedTimeout)
	var asked time.Time
	err := poll(ctx, pollInterval, ceasedTimeout, func() (bool, error) {
		var m *v1alpha1.MemberCluster
		var err error
		if request == "" && time.Since(asked) >= planInterval {
			request, asked = rand.Text(), time.Now()
			m, err = p.host.RequestProbe(ctx, record, request)
		} else if request != "" {
			m, err = p.host.FindMember(ctx, p.Options.Name)
		} else {
			return false, nil
		}
		switch {
		case isRefused(err):
			why = cluster.Cause(err)
			return true, nil
		case apierrors.IsNotFound(err), apierrors.IsConflict(err), err == nil && (m == nil || m.UID != record.UID):
			why = "" // it is gone already
			return true, nil
		case err != nil:
			request = ""
			return false, nil
		}
		answer, cause := ceasedOf(m, request)
		switch answer {
		case ceasedYes:
			why = ""
			return true, nil
		case ceasedUnknown:
			why = cause
			if sameFault(record, m) {
				return true, nil
			}
			request = "" // one request that fails says nothing of the next
		case ceasedNo: // what an API server has revoked may be known to another a moment later
			request, accepted = "", true
		}
		return false, nil
	})
	switch {
	case errors.Is(err, errPatience) && accepted:
		return fmt.Errorf("member: endpoint %q: %w: the cluster that was cleaned is not the one behind the stored endpoint, or what is behind it refuses no token: %s",
			record.Spec.Server, errStillWorks,
			p.Options.commands.To("if you trust it no more, remove only the host's record", command.Unjoin{Member: p.Options.Name, Force: true}))
	case err != nil && !errors.Is(err, errPatience):
		return err
	case why != "":
		p.learn(p.uncertain(why))
	}
	return nil
}

// sameFault says that the member was not ready before for the reason for which it is not now.
func sameFault(before, now *v1alpha1.MemberCluster) bool {
	was, is := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady), meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
	return was != nil && is != nil && was.Status == metav1.ConditionFalse && was.Reason == is.Reason
}

// uncertain says that it is not known whether the credential has ceased to work.
func (p *UnjoinPlan) uncertain(why string) Finding {
	return about(cluster.Host, host.MemberRef(p.Options.Name), "it is not confirmed that the member refuses the host's credential: "+why, "")
}
