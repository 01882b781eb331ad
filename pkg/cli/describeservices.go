package cli

import (
	"fmt"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// describeServices says which exported services of members have names, and what is left out.
func describeServices(s *output.Sheet, f *v1alpha1.Federation) {
	if f.Spec.Services == nil {
		return
	}
	dns := f.Spec.Services.DNS
	s.Line("Services", fmt.Sprintf("of namespaces %s; names end with %s.svc.%s, TTL %ds, in DNSEndpoints of namespace %s",
		strings.Join(f.Spec.Services.Namespaces, ", "), f.Name, dns.Domain, dns.TTL, dns.Namespace))
	if status := f.Status.Services; status != nil {
		s.Line("Exported", fmt.Sprintf("%s, %s", output.Count(int(status.Exported), "service", "services"), output.Count(int(status.Records), "record set", "record sets")))
		s.List("Left out", status.Reports)
	}
}
