package expression

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Variables of an expression.
const (
	varCluster    = "cluster"
	varOldCluster = "oldCluster"
	varFederation = "federation"
)

// clusterView is what an expression sees of a member.
type clusterView struct {
	Name   string                     `json:"name"`
	Labels map[string]string          `json:"labels"`
	Spec   v1alpha1.MemberClusterSpec `json:"spec"`
	Facts  v1alpha1.JoinFacts         `json:"facts"`
}

// federationView is what an expression sees of a federation.
type federationView struct {
	Name   string                  `json:"name"`
	Labels map[string]string       `json:"labels"`
	Spec   v1alpha1.FederationSpec `json:"spec"`
}

// hidden fields change without a rule being asked, are in facts, are too large for the journal of admitted writes, or say how
// members are found and not what they must be.
var hidden = []string{
	"cluster.spec.accepted", "cluster.spec.suspended", "cluster.spec.suspension", "cluster.spec.joinedWith", "cluster.spec.caBundle", "federation.spec.discovery",
}

// lengths are the maximum bytes of a string and the maximum elements of a list or map, by path, as the schemas in
// manifests/crd bound them. Kubernetes bounds the labels of an object only by its size: estimates assume 64, and the
// measured cost bounds more. An enum is as long as its longest value.
var lengths = map[string]int64{
	"cluster.name":               63,
	"cluster.labels":             64,
	"cluster.labels[]":           63,
	"cluster.labels{}":           317,
	"cluster.spec.clusterID":     63,
	"cluster.spec.server":        2048,
	"cluster.spec.proxyURL":      2048,
	"cluster.spec.tlsServerName": 253,

	"cluster.spec.discovered.kind":      21,
	"cluster.spec.discovered.namespace": 63,
	"cluster.spec.discovered.name":      253,
	"cluster.spec.discovered.uid":       63,

	"cluster.facts.kubernetesVersion": 128,
	"cluster.facts.regions":           256,
	"cluster.facts.regions[]":         63,
	"cluster.facts.zones":             256,
	"cluster.facts.zones[]":           63,

	"federation.name":                     63,
	"federation.labels":                   64,
	"federation.labels[]":                 63,
	"federation.labels{}":                 317,
	"federation.spec.description":         1024,
	"federation.spec.acceptance":          9,
	"federation.spec.enforcement":         4,
	"federation.spec.kubernetesVersions":  256,
	"federation.spec.labels":              64,
	"federation.spec.labels[].key":        317,
	"federation.spec.labels[].values":     256,
	"federation.spec.labels[].values[]":   63,
	"federation.spec.labels[].pattern":    512,
	"federation.spec.labels[].message":    256,
	"federation.spec.limits":              16,
	"federation.spec.limits[].perLabel":   317,
	"federation.spec.rules":               20,
	"federation.spec.rules[].name":        63,
	"federation.spec.rules[].expression":  1024,
	"federation.spec.rules[].message":     256,
	"federation.spec.rules[].enforcement": 4,
	"federation.spec.access.clusterRole":  253,
	"federation.spec.health.interval":     32,

	"federation.spec.services.namespaces":    16,
	"federation.spec.services.namespaces[]":  63,
	"federation.spec.services.dns.domain":    150,
	"federation.spec.services.dns.namespace": 63,

	"federation.spec.inventory.namespaces":           16,
	"federation.spec.inventory.namespaces[]":         63,
	"federation.spec.inventory.credentialsNamespace": 63,
}

// declare returns the CEL type of a Go type. It panics for a field that has no entry in lengths: the cost of a loop over
// it would have no bound.
func declare(t reflect.Type, path string) *apiservercel.DeclType {
	sized := func(d apiservercel.DeclType) *apiservercel.DeclType {
		n, known := lengths[path]
		if !known {
			panic(fmt.Sprintf("%s has no entry in lengths of pkg/rules/expression/types.go", path))
		}
		d.MaxElements = n
		return &d
	}
	switch t.Kind() {
	case reflect.Pointer:
		return declare(t.Elem(), path)
	case reflect.Bool:
		return apiservercel.BoolType
	case reflect.Int32:
		return apiservercel.IntType
	case reflect.String:
		return sized(*apiservercel.StringType)
	case reflect.Map:
		return sized(*apiservercel.NewMapType(declare(t.Key(), path+"{}"), declare(t.Elem(), path+"[]"), 0))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return sized(*apiservercel.BytesType)
		}
		return sized(*apiservercel.NewListType(declare(t.Elem(), path+"[]"), 0))
	case reflect.Struct:
		fields := map[string]*apiservercel.DeclField{}
		for name, f := range shown(t, path) {
			fields[name] = apiservercel.NewDeclField(name, declare(f.Type, path+"."+name), false, nil, nil)
		}
		return apiservercel.NewObjectType(typeName(path), fields)
	}
	panic(fmt.Sprintf("%s has a type without a CEL declaration: %s", path, t))
}

// typeName is the name of an object's type. CEL prints it for a value of a wrong type.
func typeName(path string) string {
	return "kubefederate." + strings.ReplaceAll(path, "[]", ".item")
}

// shown are the fields that an expression can name.
func shown(t reflect.Type, path string) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !slices.Contains(hidden, path+"."+name) {
			fields[name] = f
		}
	}
	return fields
}

// roots are the declared types of the variables.
type roots map[string]*apiservercel.DeclType

// EstimateSize implements checker.CostEstimator.
func (r roots) EstimateSize(e checker.AstNode) *checker.SizeEstimate {
	most := r.length(e.Path())
	if most == 0 && e.Type() != nil {
		most = lengthOf[e.Type().Kind()]
	}
	if most == 0 {
		return nil
	}
	return &checker.SizeEstimate{Max: uint64(most)}
}

// length of what a path of the checker's names; 0 when it names nothing.
func (r roots) length(path []string) int64 {
	if len(path) == 0 {
		return 0
	}
	at := r[path[0]]
	for _, step := range path[1:] {
		switch {
		case at == nil:
			return 0
		case step == "@keys":
			at = at.KeyType
		case at.Fields[step] != nil:
			at = at.Fields[step].Type
		default:
			at = at.ElemType
		}
	}
	if at == nil {
		return 0
	}
	return max(at.MaxElements, 0)
}

// lengthOf is assumed for what functions return: the lengths of the longest string and list that most of them are given.
// The measured cost bounds what is longer.
var lengthOf = map[types.Kind]int64{
	types.StringKind: 2048,
	types.BytesKind:  2048,
	types.ListKind:   256,
	types.MapKind:    256,
	types.StructKind: 1,
}

// EstimateCallCost implements checker.CostEstimator: library.CostEstimator knows the calls.
func (roots) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

func (r roots) variables() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Variable(varCluster, r[varCluster].CelType()),
		cel.Variable(varOldCluster, r[varCluster].CelType()),
		cel.Variable(varFederation, r[varFederation].CelType()),
	}
}
