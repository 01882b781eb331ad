package cli

import (
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/services"
)

// What services -o json prints: docs/services.md has the shape.

// listOfServices is a List of ExportedServices, then of MemberServices, then of NetworkOverlaps.
type listOfServices struct {
	output.TypeMeta
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []any `json:"items"`
}

type itemName struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

type exportedService struct {
	output.TypeMeta
	Metadata         itemName                `json:"metadata"`
	Federation       v1alpha1.FederationName `json:"federation"`
	Type             string                  `json:"type,omitempty"`
	Ports            []services.MergedPort   `json:"ports"`
	Oldest           string                  `json:"oldest,omitempty"`
	Exports          []exportData            `json:"exports"`
	Conflicts        []conflictData          `json:"conflicts"`
	Imports          []importData            `json:"imports"`
	WithoutNamespace []string                `json:"withoutNamespace"`
	Dropped          string                  `json:"dropped,omitempty"`
}

type exportData struct {
	Member  string     `json:"member"`
	Created *time.Time `json:"created,omitempty"`
	// Invalid is why it exports nothing.
	Invalid     string               `json:"invalid,omitempty"`
	Fault       string               `json:"fault,omitempty"`
	Service     *services.Definition `json:"service,omitempty"`
	Labels      map[string]string    `json:"exportedLabels,omitempty"`
	Annotations map[string]string    `json:"exportedAnnotations,omitempty"`
	Conditions  []services.Condition `json:"conditions,omitempty"`
}

type conflictData struct {
	services.Conflict
	Says string `json:"says"`
}

type importData struct {
	Member string `json:"member"`
	services.Definition
	Clusters   []string             `json:"clusters,omitempty"`
	Conditions []services.Condition `json:"conditions,omitempty"`
	Fault      string               `json:"fault,omitempty"`
	// Differs says how it is not what the exports come to.
	Differs string `json:"differs,omitempty"`
}

type memberServices struct {
	output.TypeMeta
	Metadata      itemName                `json:"metadata"`
	Federation    v1alpha1.FederationName `json:"federation"`
	API           string                  `json:"api,omitempty"`
	ClusterSetDNS services.Domain         `json:"clusterSetDNS"`
	PodRanges     []services.Range        `json:"podRanges,omitempty"`
	ServiceRanges []services.Range        `json:"serviceRanges,omitempty"`
	Notes         []string                `json:"notes,omitempty"`
}

type networkOverlap struct {
	output.TypeMeta
	Metadata   itemName                `json:"metadata"`
	Federation v1alpha1.FederationName `json:"federation"`
	Uses       []services.Use          `json:"uses"`
}

func servicesList(all []federated) listOfServices {
	list := listOfServices{TypeMeta: output.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: []any{}}
	for _, f := range all {
		for i := range f.Services {
			list.Items = append(list.Items, serviceData(f.federation, &f.Services[i]))
		}
	}
	for _, f := range all {
		for i := range f.members {
			m := &f.members[i]
			item := memberServices{
				TypeMeta: output.Kind("MemberServices"), Metadata: itemName{Name: m.Name}, Federation: f.federation,
				API: m.API, ClusterSetDNS: services.DomainUnknown, Notes: m.Notes,
			}
			if n := m.Network; n != nil {
				item.ClusterSetDNS, item.PodRanges, item.ServiceRanges = n.Domain, n.Pods, n.Services
			}
			list.Items = append(list.Items, item)
		}
	}
	for _, f := range all {
		for _, o := range f.Overlaps {
			list.Items = append(list.Items, networkOverlap{output.Kind("NetworkOverlap"), itemName{Name: o.Range.String()}, f.federation, o.Uses})
		}
	}
	return list
}

func serviceData(federation v1alpha1.FederationName, s *services.Service) exportedService {
	item := exportedService{
		TypeMeta: output.Kind("ExportedService"), Metadata: itemName{s.Namespace, s.Name.Name}, Federation: federation, Type: s.Type(), Oldest: s.Oldest(),
		Ports: append([]services.MergedPort{}, s.Ports...), Exports: []exportData{}, Conflicts: []conflictData{}, Imports: []importData{},
		WithoutNamespace: append([]string{}, s.WithoutNamespace...), Dropped: s.Dropped,
	}
	for i := range s.Exports {
		e := &s.Exports[i]
		data := exportData{Member: e.Member, Invalid: e.Invalid(), Fault: e.Fault, Service: e.Service, Labels: e.Labels, Annotations: e.Annotations, Conditions: e.Conditions}
		if !e.Created.IsZero() {
			data.Created = &e.Created
		}
		item.Exports = append(item.Exports, data)
	}
	for _, c := range s.Conflicts {
		item.Conflicts = append(item.Conflicts, conflictData{c, c.Says()})
	}
	for i := range s.Imports {
		im := &s.Imports[i]
		item.Imports = append(item.Imports, importData{
			Member: im.Member, Definition: im.Definition, Clusters: im.Clusters, Conditions: im.Conditions, Fault: im.Fault, Differs: s.Differs(im),
		})
	}
	return item
}
