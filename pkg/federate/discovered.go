package federate

import (
	"fmt"
	"path"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// otherObject says whether a join by discovery of d finds a member that a person joined, or discovery of another object. An object
// that was made anew under the same name is another.
func otherObject(m *v1alpha1.MemberCluster, d *v1alpha1.Discovered) bool {
	return d != nil && (m.Spec.Discovered == nil || m.Spec.Discovered.UID != d.UID)
}

// judgeOther is what stands against a join by discovery of a member for which otherObject is true.
func judgeOther(m *v1alpha1.MemberCluster, o JoinOptions) Finding {
	cause, remedy := "a person joined it, and discovery changes no such member", o.commands.To("join it again yourself", o.command())
	if d := m.Spec.Discovered; d != nil {
		cause = fmt.Sprintf("was joined by discovery of another object, %s %s with UID %s", d.Kind, cluster.Quoted(path.Join(d.Namespace, d.Name)), d.UID)
		remedy = o.commands.To("if that one does not stand for the cluster any more, unjoin it first", o.unjoin(o.Name))
	}
	return about(cluster.Host, host.MemberRef(o.Name), cause, remedy)
}
