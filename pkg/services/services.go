// Package services judges which services the members of a federation export to each other (KEP-1645, the Multi-Cluster Services API),
// whatever implements that there: what the exports of one name come to, where they conflict and whose wins, and whether the networks of
// members allow it. Judge and all that it calls are pure; Read reads a member and changes nothing.
//
// What a member says is hostile: it is bounded as it is decoded, and what is dropped is reported.
package services

import (
	"cmp"
	"fmt"
	"time"
)

// Name is the name of a service. It is the same service on all members of a federation (namespace sameness).
type Name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (n Name) String() string { return n.Namespace + "/" + n.Name }

func compareNames(a, b Name) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Port is a port of a service, as far as other clusters see it.
type Port struct {
	Name        string `json:"name,omitempty"`
	Protocol    string `json:"protocol"`
	Port        int32  `json:"port"`
	AppProtocol string `json:"appProtocol,omitempty"`
}

// Number is the port as kubectl writes it: "80/TCP".
func (p Port) Number() string { return fmt.Sprintf("%d/%s", p.Port, p.Protocol) }

func (p Port) String() string {
	if p.Name == "" {
		return p.Number()
	}
	return p.Name + " " + p.Number()
}

func (p Port) sameNumber(other Port) bool {
	return p.Port == other.Port && p.Protocol == other.Protocol
}

// Types of a service that is used from other clusters.
const (
	ClusterSetIP = "ClusterSetIP"
	Headless     = "Headless"
)

// Definition is what other clusters see of a service.
type Definition struct {
	// Type is ClusterSetIP or Headless; ExternalName for a Service of that type, which cannot be exported.
	Type                  string   `json:"type,omitempty"`
	Ports                 []Port   `json:"ports,omitempty"`
	SessionAffinity       string   `json:"sessionAffinity,omitempty"`
	AffinityTimeout       int32    `json:"sessionAffinityTimeoutSeconds,omitempty"`
	InternalTrafficPolicy string   `json:"internalTrafficPolicy,omitempty"`
	TrafficDistribution   string   `json:"trafficDistribution,omitempty"`
	IPFamilies            []string `json:"ipFamilies,omitempty"`
	// Dropped says what was left out of it, in words; empty for nothing.
	Dropped string `json:"dropped,omitempty"`
}

// external is the Type of a service that cannot be exported.
const external = "ExternalName"

// Condition is a condition that an implementation has set.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

func find(conditions []Condition, name string) *Condition {
	for i := range conditions {
		if conditions[i].Type == name {
			return &conditions[i]
		}
	}
	return nil
}

// Types of conditions of a ServiceExport.
const (
	conditionValid    = "Valid"
	conditionReady    = "Ready"
	conditionConflict = "Conflict"
)

// Export is a ServiceExport of a member, with the Service of its name.
type Export struct {
	Name
	Member  string
	Created time.Time
	// Service is nil where the member has none of this name.
	Service *Definition
	// Labels and Annotations are spec.exportedLabels and spec.exportedAnnotations.
	Labels, Annotations map[string]string
	Conditions          []Condition
	// Fault says why the object cannot be read; empty where it can.
	Fault string
}

// Import is a ServiceImport of a member.
type Import struct {
	Name
	Member string
	Definition
	// Clusters are those that the implementation says it is imported from, by names of its own.
	Clusters   []string
	Conditions []Condition
	Fault      string
}

// Member is what was read of a member.
type Member struct {
	Name string
	// API is the group and version in which it serves ServiceExport; empty where it serves none.
	API     string
	Exports []Export
	Imports []Import
	// Namespaces are those that exist, as far as they were asked for; nil where that is not known.
	Namespaces map[string]bool
	Network    *Network
	// Notes say what is not known of the member and why, or what was left out.
	Notes []string
}

// note adds what is not known.
func (m *Member) note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}
