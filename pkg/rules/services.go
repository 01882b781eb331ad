package rules

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Services: services are read, and their names written, where nothing else of this project or of Kubernetes is.
//
// Reads: spec.services.
// Allows: namespaces of members other than kube-system and kubefederate-member, and a namespace of the host that does not hold keys.
// Does not promise: that these namespaces are there, nor that the manager may write in that of the host.
const Services ID = "services"

func services(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	if f.Spec.Services == nil {
		return found
	}
	at := specPath.Child("services")
	for i, name := range f.Spec.Services.Namespaces {
		if slices.Contains([]string{v1alpha1.IdentityNamespace, v1alpha1.MemberNamespace}, name) {
			found.refuse(field.Forbidden(at.Child("namespaces").Index(i), fmt.Sprintf("namespace %q of a member exports no services", name)))
		}
	}
	if why := UnfitNamespace(f.Spec.Services.DNS.Namespace, false); why != "" {
		found.refuse(field.Forbidden(at.Child("dns", "namespace"), why))
	}
	return found
}
