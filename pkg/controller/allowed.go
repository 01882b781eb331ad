package controller

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// allowed is where a member that discovery joined may be, as its federation says now; nil for one that a person joined. A list that
// cannot be read allows nothing.
func (o memberState) allowed() *endpoint.AllowList {
	if o.member.Spec.Discovered == nil {
		return nil
	}
	list, _ := endpoint.AllowListOf(o.federation)
	return &list
}

// dialer makes the connections to a member; nil for one that a person joined.
func (o memberState) dialer(host *cluster.HostAddresses) *cluster.Dialer {
	list := o.allowed()
	if list == nil {
		return nil
	}
	return &cluster.Dialer{Allow: func() endpoint.AllowList { return *list }, Host: host}
}

// notAllowed says what to do about a member that is not where its federation allows it.
func (o memberState) notAllowed() string {
	if o.probe.reason == v1alpha1.ReasonEndpointNeverAllowed {
		return propose("if it belongs there, remove the member and have a person join it", command.Unjoin{Member: o.name()})
	}
	name := string(o.member.Federation())
	edit := command.KubectlEdit{Object: command.Object{
		GroupResource: schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "federations"}, Name: name,
	}}
	if _, err := endpoint.AllowListOf(o.federation); err != nil {
		return propose(fmt.Sprintf("spec.discovery.endpoints of federation %q allows nothing, since its %s; correct it", name, err), edit)
	}
	return propose(fmt.Sprintf("if it belongs there, add it to spec.discovery.endpoints of federation %q", name), edit)
}
