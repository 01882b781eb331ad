package federate

import (
	"context"
	"slices"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// planServicesEnd plans to delete what an earlier join gave for services and the Federation does not ask any more. It comes before the
// manager's role changes, which says where these bindings are.
func (p *JoinPlan) planServicesEnd() {
	now := strings.Split(p.grants.Services, ",")
	var ends []cluster.Ref
	for _, namespace := range p.facts.Member.ServiceNamespaces {
		if !slices.Contains(now, namespace) {
			ends = append(ends, member.ServicesBindingRef(namespace))
		}
	}
	if p.grants.Services == "" {
		ends = append(ends, member.ServicesRefs()...)
	}
	for _, ref := range ends {
		if live := p.facts.Member.Objects[ref]; live != nil && member.ByJoin(live) {
			p.step(Step{Side: cluster.Member, Verb: VerbDelete, Object: ref, Note: "the federation reads no services there", phase: phaseEvict, live: live,
				do: func(ctx context.Context) error { return p.delete(ctx, ref, live) }})
		}
	}
}

// noteNamespace says that a binding for services cannot be made, since the member has no such namespace. That is no fault.
func (p *JoinPlan) noteNamespace(o member.Object) bool {
	if !p.facts.Member.WithoutNamespace(o.Ref) {
		return false
	}
	p.note(about(cluster.Member, member.ServicesNamespaceRef(o.Ref.Namespace), "does not exist, and exports no services",
		p.Options.commands.To("when it exists, give the right to read them", p.Options.command())))
	return true
}
