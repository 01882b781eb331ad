package webhook

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// Bounds of an object that is judged: the time that takes grows with them.
const (
	// maxKeys is how many labels, and how many annotations of this project, an object may have. Kubernetes has no such bound.
	maxKeys = 256
	// The others are those of the CustomResourceDefinitions and of Kubernetes. API servers hold them before they call a webhook,
	// so what exceeds them was not sent by one.
	maxLabelRules, maxLabelValues, maxPattern = 64, 256, 512
	maxLimits                                 = 16
	maxRules, maxExpression                   = 20, 1024
	maxLabelKey                               = 317
)

// checkSizes is an error for the client if an object is too large to be judged. A federation may always be deleted.
func checkSizes(r journal.Request) error {
	var objects []client.Object
	switch m, f := r.Member, r.Federation; {
	case m != nil && m.Old != nil:
		objects = []client.Object{m.Old, m.New}
	case m != nil:
		objects = []client.Object{m.New}
	case f.New != nil && f.Old != nil:
		objects = []client.Object{f.Old, f.New}
	case f.New != nil:
		objects = []client.Object{f.New}
	}
	for _, o := range objects {
		if fault := tooLarge(o); fault != "" {
			name := o.GetName()
			return journal.ClientError{StatusError: apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("%.253q has %s", name, fault))}
		}
	}
	return nil
}

func tooLarge(o client.Object) string {
	if n := len(o.GetLabels()); n > maxKeys {
		return fmt.Sprintf("%d labels, more than %d", n, maxKeys)
	}
	for key, value := range o.GetLabels() {
		if len(key) > maxLabelKey || len(value) > validation.LabelValueMaxLength {
			return "a label that is too long"
		}
	}
	n := 0
	for key := range o.GetAnnotations() {
		if strings.HasPrefix(key, v1alpha1.Prefix) {
			n++
		}
	}
	if n > maxKeys {
		return fmt.Sprintf("%d annotations %s…, more than %d", n, v1alpha1.Prefix, maxKeys)
	}
	if f, is := o.(*v1alpha1.Federation); is && !fits(&f.Spec) {
		return "a spec that exceeds the bounds of its CustomResourceDefinition"
	}
	return ""
}

func fits(s *v1alpha1.FederationSpec) bool {
	if len(s.Labels) > maxLabelRules || len(s.Limits) > maxLimits || len(s.Rules) > maxRules {
		return false
	}
	for _, l := range s.Labels {
		if len(l.Values) > maxLabelValues || len(l.Pattern) > maxPattern {
			return false
		}
	}
	for _, r := range s.Rules {
		if len(r.Expression) > maxExpression {
			return false
		}
	}
	return true
}
