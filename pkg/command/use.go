package command

import "github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"

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
