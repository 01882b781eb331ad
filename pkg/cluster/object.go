package cluster

import "github.com/kubefederate/kubectl-federate/pkg/command"

// Object is the reference as a proposed command names it.
func (r Ref) Object() command.Object {
	return command.Object{GroupResource: r.Resource.GroupResource(), Namespace: r.Namespace, Name: r.Name}
}
