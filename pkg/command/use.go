package command

import (
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Kubeconfig is kubectl federate kubeconfig of one member.
type Kubeconfig struct {
	Member v1alpha1.MemberName
	// Merge adds the context to the caller's own file.
	Merge bool
}

func (c Kubeconfig) render(l *line) {
	l.federate("kubeconfig", l.name(string(c.Member), "NAME"))
	l.flagIf(c.Merge, "merge")
}

// DeleteContext is kubectl config delete-context.
type DeleteContext struct {
	Name string
	// Kubeconfig is the file that has the context.
	Kubeconfig string
}

func (c DeleteContext) render(l *line) {
	l.kubectl("config", "delete-context")
	l.elsewhere = true
	if c.Name == "" {
		l.words = append(l.words, ContextPlaceholder)
	} else {
		l.add(c.Name)
	}
	l.flag("kubeconfig", c.Kubeconfig)
}

// Services is kubectl federate services of one service, or of all of a federation.
type Services struct {
	Federation v1alpha1.FederationName
	// Namespace is empty for all.
	Namespace, Name string
}

func (c Services) render(l *line) {
	l.federate("services")
	if c.Name != "" {
		l.add(c.Name)
		l.invalid = l.invalid || len(validation.IsDNS1123Subdomain(c.Name)) > 0
	}
	if c.Namespace != "" {
		l.flag("namespace", l.name(c.Namespace, ""))
	} else {
		l.flagIf(true, "all-namespaces")
	}
	if c.Federation != "" {
		l.flag("federation", l.name(string(c.Federation), ""))
	}
}
