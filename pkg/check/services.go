package check

import (
	"context"
	"maps"
	"slices"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/services"
)

// readServices reads what a cluster exports and imports, where a context leads there. Its networks are read where it does either.
func readServices(ctx context.Context, m *member.Cluster, o *Observation) {
	if o.Context == "" {
		return
	}
	read, err := services.Read(ctx, m.Conn, "", services.Query{})
	if err != nil {
		o.ServicesErr = err
		return
	}
	if len(read.Exports)+len(read.Imports) > 0 {
		read.ReadNetwork(ctx, m.Conn)
	}
	o.Services = read
}

// exporting is how many clusters serve ServiceExport, as far as was seen.
func (f Facts) exporting() int {
	seen := map[v1alpha1.ClusterID]bool{}
	for _, o := range f.Observations {
		if o.State != nil && o.Services != nil && o.Services.API != "" {
			seen[o.State.ID] = true
		}
	}
	return len(seen)
}

// serviceSeverities say how much it matters what is wrong with exports and imports. None is an error: all are others' objects.
var serviceSeverities = map[services.FindingCode]Severity{
	services.ExportInvalid: Warning, services.ExportConflict: Warning, services.ExportNotReady: Warning, services.ExportNotServed: Warning,
	services.ImportDiffers: Warning, services.ImportOrphan: Warning, services.NetworkOverlap: Warning,
	services.ConflictNotReported: Info, services.NamespaceMissing: Info, services.DomainNotConfigured: Info,
}

// services judges exports and imports within each federation, as far as contexts lead to its members.
func (j *judge) services() {
	read, all := map[v1alpha1.FederationName][]services.Member{}, map[v1alpha1.FederationName]int{}
	for _, name := range slices.Sorted(maps.Keys(j.members)) {
		m := j.members[name]
		all[m.Federation()]++
		o := j.contexts[m.Spec.ClusterID]
		switch {
		case o == nil:
		case o.ServicesErr != nil:
			j.add(Finding{Code: NotChecked, Severity: Info, Side: cluster.Member, Member: m.Name,
				Cause: "what it exports and imports could not be checked: " + cluster.Cause(o.ServicesErr)})
		case o.Services != nil:
			of := *o.Services
			of.Name = m.Name
			read[m.Federation()] = append(read[m.Federation()], of)
		}
	}
	for _, federation := range slices.Sorted(maps.Keys(read)) {
		for _, x := range services.Findings(read[federation], len(read[federation]) == all[federation]) {
			f := Finding{Code: Code(x.Code), Area: Services, Severity: serviceSeverities[x.Code], Side: cluster.Member, Member: x.Member, Cause: x.Cause}
			if x.Kind != "" {
				f.Object = cluster.Ref{Resource: cluster.Resource{Kind: x.Kind}, Namespace: x.Name.Namespace, Name: x.Name.Name}.String()
				f.Remedy = j.line(command.Services{Federation: federation, Namespace: x.Name.Namespace, Name: x.Name.Name})
			}
			j.add(f)
		}
	}
}
