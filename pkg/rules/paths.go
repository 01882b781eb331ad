package rules

import "k8s.io/apimachinery/pkg/util/validation/field"

// Paths of fields that more than one rule names.
var (
	labelsPath      = field.NewPath("metadata", "labels")
	annotationsPath = field.NewPath("metadata", "annotations")
	specPath        = field.NewPath("spec")
)
