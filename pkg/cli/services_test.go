package cli

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/services"
)

// exporting are two members that conflict and one without the namespace.
func exporting(now time.Time) federated {
	web := services.Name{Namespace: "shop", Name: "web"}
	export := func(days int, ports ...services.Port) services.Export {
		return services.Export{
			Name: web, Created: now.Add(-time.Duration(days) * 24 * time.Hour),
			Service:    &services.Definition{Type: services.ClusterSetIP, Ports: ports, SessionAffinity: "None"},
			Conditions: []services.Condition{{Type: "Valid", Status: "True", Reason: "Valid"}, {Type: "Conflict", Status: "True", Reason: "PortConflict", Message: "ports differ"}},
		}
	}
	http := services.Port{Name: "http", Protocol: "TCP", Port: 80}
	other := services.Port{Name: "http", Protocol: "TCP", Port: 8080}
	pods := services.Range{From: netip.MustParseAddr("10.244.0.0"), To: netip.MustParseAddr("10.244.255.255")}
	all := federated{federation: "prod", members: []services.Member{
		{Name: "eu-west", Namespaces: map[string]bool{}, Network: &services.Network{Domain: services.DomainNotServed}, Notes: []string{"the addresses of its pods are not known: its nodes have no spec.podCIDRs"}},
		{
			Name: "us-east", API: "multicluster.x-k8s.io/v1beta1", Namespaces: map[string]bool{"shop": true}, Exports: []services.Export{export(20, http)},
			Imports: []services.Import{{Name: web, Definition: services.Definition{Type: services.Headless, Ports: []services.Port{http}}, Clusters: []string{"mesh-1", "mesh-2"}}},
			Network: &services.Network{Pods: []services.Range{pods}, Domain: services.DomainServed},
		},
		{
			Name: "us-west", API: "multicluster.x-k8s.io/v1beta1", Namespaces: map[string]bool{"shop": true},
			Exports: []services.Export{export(3, other), {Name: services.Name{Namespace: "shop", Name: "gone"}, Created: now.Add(24 * time.Hour)}},
			Network: &services.Network{Pods: []services.Range{pods}, Domain: services.DomainUnknown},
		},
	}}
	all.Report = services.Judge(all.members)
	return all
}

// TestServicesText pins what people and programs are shown.
func TestServicesText(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		name, format, service string
		all                   bool
		want, wantErr         string
	}{
		{"a table", "", "", false, `NAME   TYPE           PORTS    MEMBERS           CONFLICT
gone   <none>         <none>   us-west           NoService
web    ClusterSetIP   80/TCP   us-east,us-west   PortConflict
`, "eu-west: the addresses of its pods are not known: its nodes have no spec.podCIDRs\n"},
		{"of all namespaces", "", "", true, `NAMESPACE   NAME   TYPE           PORTS    MEMBERS           CONFLICT
shop        gone   <none>         <none>   us-west           NoService
shop        web    ClusterSetIP   80/TCP   us-east,us-west   PortConflict
`, "eu-west: the addresses of its pods are not known: its nodes have no spec.podCIDRs\n"},
		{"names", "name", "", true, "shop/gone\nshop/web\n", ""},
		{"wide", "wide", "", false, `NAME   TYPE           PORTS    MEMBERS           CONFLICT       OLDEST    AGE      IMPORTED BY   WITHOUT NAMESPACE
gone   <none>         <none>   us-west           NoService      <none>    <none>   <none>        eu-west
web    ClusterSetIP   80/TCP   us-east,us-west   PortConflict   us-east   20d      us-east       eu-west

` + networksOfExporting, ""},
		{"one service", "", "web", false, `Name:          web
Namespace:     shop
Federation:    prod
Type:          ClusterSetIP
Ports:         http 80/TCP
Oldest:        us-east
Exports:
  MEMBER    AGE   TYPE           PORTS      CONDITIONS
  us-east   20d   ClusterSetIP   80/TCP     Valid, Conflict (PortConflict)
  us-west   3d    ClusterSetIP   8080/TCP   Valid, Conflict (PortConflict)
Conflicts:
  MEMBER    REASON         DIFFERENCE
  us-west   PortConflict   port "http" is 8080/TCP, and 80/TCP on us-east
KEP-1645:
  PortConflict: No two ports of the merged service have one name: a name that exports use for several ports is that of the oldest. (Service Port)
  Of exports that conflict, the one with the oldest creationTimestamp wins (Global Properties).
Imports:
  MEMBER    TYPE       PORTS    FROM            DIFFERENCE
  us-east   Headless   80/TCP   mesh-1,mesh-2   its type is Headless, and that of the oldest export ClusterSetIP
No namespace:  eu-west
` + networksOfExporting, ""},
		{"one whose Service does not exist", "", "gone", false, `Name:          gone
Namespace:     shop
Federation:    prod
Type:          <none>
Ports:         <none>
Oldest:        <none>
Exports:
  MEMBER    AGE             TYPE     PORTS    CONDITIONS
  us-west   in the future   <none>   <none>   NoService
Conflicts:     <none>
KEP-1645:
  NoService: A ServiceExport exports the Service of its own name and namespace, and nothing while there is none (Exporting Services).
Imports:       <none>
No namespace:  eu-west
` + networksOfExporting, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, errOut := &strings.Builder{}, &strings.Builder{}
			o := &servicesOptions{servicesFlags: servicesFlags{acrossFlags: acrossFlags{
				useFlags: useFlags{factory: newFactory("kubectl federate", genericiooptions.IOStreams{Out: out, ErrOut: errOut})}, allNamespaces: tt.all,
			}}}
			o.output.Value, o.query.Name = tt.format, tt.service
			all := exporting(now)
			if tt.service != "" {
				for i, s := range all.Services {
					if s.Name.Name == tt.service {
						all.Services = all.Services[i : i+1]
						break
					}
				}
			}
			if err := o.print([]federated{all}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("stdout:\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantErr, errOut.String()); diff != "" {
				t.Errorf("stderr:\n%s", diff)
			}
		})
	}
}

const networksOfExporting = `Members:
  MEMBER    SERVES                          CLUSTERSET.LOCAL   PODS            SERVICES
  eu-west   <none>                          not served         unknown         unknown
  us-east   multicluster.x-k8s.io/v1beta1   served             10.244.0.0/16   unknown
  us-west   multicluster.x-k8s.io/v1beta1   unknown            10.244.0.0/16   unknown
Overlaps:
  RANGE           USED BY
  10.244.0.0/16   pods of us-east, pods of us-west
Not known:
  eu-west: the addresses of its pods are not known: its nodes have no spec.podCIDRs
`

// TestServicesFitATerminal keeps the table within 80 columns where names are not longer than most.
func TestServicesFitATerminal(t *testing.T) {
	t.Parallel()
	s := services.Judge([]services.Member{
		{Name: "asia-northeast", Exports: []services.Export{{Name: services.Name{Namespace: "payments", Name: "checkout-api"}, Service: &services.Definition{
			Type: services.ClusterSetIP, Ports: []services.Port{{Name: "a", Protocol: "TCP", Port: 8080}, {Name: "b", Protocol: "TCP", Port: 9090}, {Name: "c", Protocol: "UDP", Port: 53}},
		}}}},
		{Name: "europe-west", Exports: []services.Export{{Name: services.Name{Namespace: "payments", Name: "checkout-api"}, Service: &services.Definition{Type: services.Headless, SessionAffinity: "ClientIP"}}}},
	}).Services[0]
	got := serviceRow(&s, false, time.Now())
	if want := []string{"checkout-api", "ClusterSetIP", "8080/TCP,+2", "asia-northeast,+1", "PortConflict,+2"}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if width := len(strings.Join(got, "   ")); width > 80 {
		t.Errorf("%d columns", width)
	}
}

// TestServicesData holds that all that is printed for programs is one List, whose lists are never null, with nothing that moves a cursor.
func TestServicesData(t *testing.T) {
	t.Parallel()
	all := exporting(time.Now())
	all.Services[1].Exports[0].Conditions[1].Message = "a\x1b[2Jb"
	out := &strings.Builder{}
	format := output.Format{Value: "json"}
	if err := format.Print(out, servicesList([]federated{all})); err != nil {
		t.Fatal(err)
	}
	var list struct {
		APIVersion, Kind string
		Items            []struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
		}
	}
	if err := json.Unmarshal([]byte(out.String()), &list); err != nil {
		t.Fatal(err)
	}
	got := list.APIVersion + " " + list.Kind
	for _, item := range list.Items {
		got += "\n" + item.APIVersion + " " + item.Kind + " " + strings.TrimPrefix(item.Metadata.Namespace+"/"+item.Metadata.Name, "/")
	}
	want := `v1 List
output.kubefederate.io/v1alpha1 ExportedService shop/gone
output.kubefederate.io/v1alpha1 ExportedService shop/web
output.kubefederate.io/v1alpha1 MemberServices eu-west
output.kubefederate.io/v1alpha1 MemberServices us-east
output.kubefederate.io/v1alpha1 MemberServices us-west
output.kubefederate.io/v1alpha1 NetworkOverlap 10.244.0.0/16`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(out.String(), "null") || cluster.Printable(strings.ReplaceAll(out.String(), "\n", "")) != strings.ReplaceAll(out.String(), "\n", "") {
		t.Errorf("%q", out)
	}
}
