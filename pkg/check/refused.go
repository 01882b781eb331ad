package check

import (
	"slices"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// maxNamed is how many members a remedy names; one for more is about all.
const maxNamed = 10

// together gives members whose credential is revoked or expired one remedy, where there are several: so it is after a host was restored
// from a backup that is older than its credentials. One alone keeps its own.
func (j *judge) together() {
	var refused []int
	var names []v1alpha1.MemberName
	named := map[string]bool{} // one may be both
	for i, f := range j.found {
		if !f.alone && slices.Contains([]Code{Unauthorized, v1alpha1.ReasonCredentialRevoked, v1alpha1.ReasonCredentialExpired}, f.Code) {
			refused = append(refused, i)
			if !named[f.Member] {
				named[f.Member], names = true, append(names, v1alpha1.MemberName(f.Member))
			}
		}
	}
	if len(names) < 2 {
		return
	}
	if len(names) > maxNamed {
		names = nil
	}
	remedy := j.line(command.RotateMany{Members: names})
	for _, i := range refused {
		j.found[i].Remedy = remedy
	}
}
