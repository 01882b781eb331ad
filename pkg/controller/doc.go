// Package controller holds the reconcilers of the manager. They write the status of our objects, from
// what is on the host; they never write a spec and never call a member.
package controller

import (
	ctrl "sigs.k8s.io/controller-runtime"
)

// Setup adds every reconciler to mgr. Its cache must see MemberClusters, Federations, and Secrets of the
// namespace kubefederate-credentials.
func Setup(mgr ctrl.Manager) error {
	if err := setupMember(mgr); err != nil {
		return err
	}
	return setupFederation(mgr)
}
