package controller

import (
	"context"
	"errors"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

const membershipRecord = "ConfigMap " + v1alpha1.MemberNamespace + "/" + v1alpha1.MembershipName

var membershipRequest = request{
	path: "/api/v1/namespaces/" + v1alpha1.MemberNamespace + "/configmaps/" + v1alpha1.MembershipName, verb: "get", object: membershipRecord,
}

// recordedMember is the UID of the MemberCluster that the membership record names.
func (c *connection) recordedMember(ctx context.Context, b *budget) (uid types.UID, err error) {
	_, err = c.send(ctx, b, membershipRequest, func(s *scanner) error {
		return s.fields(map[string]func() error{"data": func() error {
			return s.fields(map[string]func() error{v1alpha1.MembershipMemberUID: func() error {
				text, _, err := s.text(maxLabel)
				uid = types.UID(text)
				return err
			}})
		}})
	})
	return uid, err
}

// readMembership looks whether the membership record is as the join wrote it. One that cannot be read says nothing.
func (f *followed) readMembership(ctx context.Context, timeout time.Duration, b *budget, now time.Time) error {
	if now.Before(f.membershipDue) {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	uid, err := f.conn.recordedMember(short, b)
	before := f.membership
	failed, content := (*statusError)(nil), (*contentError)(nil)
	switch {
	case err == nil && uid != f.uid:
		f.membership = v1alpha1.ReasonMembershipDiffers
	case err == nil, errors.As(err, &content):
		f.membership = ""
	case errors.As(err, &failed) && failed.code == http.StatusNotFound:
		f.membership = v1alpha1.ReasonMembershipMissing
	case errors.As(err, &failed) && failed.code < http.StatusInternalServerError && failed.code != http.StatusUnauthorized:
		f.membership = ""
	default:
		return err
	}
	f.membershipDue = now.Add(spread(countInterval))
	if before != "" && f.membership == "" {
		f.signDue = time.Time{} // the condition Granted is what that finds
	}
	return nil
}

// recorded is the condition Granted that follows from the membership record; nil where that is as it should be, or not known.
func (o memberState) recorded() *metav1.Condition {
	c := &metav1.Condition{Type: v1alpha1.ConditionGranted, Status: metav1.ConditionFalse, Reason: o.probe.membership}
	switch o.probe.membership {
	case v1alpha1.ReasonMembershipMissing:
		c.Message = "the membership record of the cluster, " + membershipRecord + ", was deleted, so that another host could join the cluster; " +
			propose("write it again", o.join())
	case v1alpha1.ReasonMembershipDiffers:
		c.Message = "the membership record of the cluster, " + membershipRecord + ", is that of another member; " +
			propose("find out of which", command.Check{Cluster: &command.Cluster{}})
	default:
		return nil
	}
	return c
}
