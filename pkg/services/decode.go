package services

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// Bounds of what is kept of one object. A Service of people has a few ports; Cilium and Submariner set three conditions.
const (
	maxPorts      = 100
	maxEntries    = 100
	maxKey        = 317
	maxValue      = 4 << 10
	maxConditions = 10
	maxClusters   = 1000
	// maxWord bounds what is one of a few words, and maxMessage a message.
	maxWord, maxMessage = 63, 512
)

// object is the metadata of any object of a member.
type object struct {
	Metadata struct {
		Namespace         string            `json:"namespace"`
		Name              string            `json:"name"`
		CreationTimestamp string            `json:"creationTimestamp"`
		DeletionTimestamp *string           `json:"deletionTimestamp"`
		Labels            map[string]string `json:"labels"`
	} `json:"metadata"`
}

// nameOf is the name of an object, and false where it is none.
func (o *object) nameOf() (Name, bool) {
	name := Name{o.Metadata.Namespace, o.Metadata.Name}
	return name, len(validation.IsDNS1123Label(name.Namespace)) == 0 && len(validation.IsDNS1123Subdomain(name.Name)) == 0
}

// decodeName reads the name of an object, whatever else it holds.
func decodeName(raw json.RawMessage) (o object, name Name, ok bool) {
	if json.Unmarshal(raw, &o) != nil {
		// Labels of a wrong type hide no name.
		var least struct {
			Metadata struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"metadata"`
		}
		if json.Unmarshal(raw, &least) != nil {
			return o, Name{}, false
		}
		o = object{}
		o.Metadata.Namespace, o.Metadata.Name = least.Metadata.Namespace, least.Metadata.Name
	}
	name, ok = o.nameOf()
	return o, name, ok
}

// port is a port of a Service and of a ServiceImport.
type port struct {
	Name        string `json:"name"`
	Protocol    string `json:"protocol"`
	Port        int64  `json:"port"`
	AppProtocol string `json:"appProtocol"`
}

// service is what is read of a Service, and of the spec of a ServiceImport.
type service struct {
	Type                  string                        `json:"type"`
	ClusterIP             string                        `json:"clusterIP"`
	Ports                 []port                        `json:"ports"`
	SessionAffinity       string                        `json:"sessionAffinity"`
	SessionAffinityConfig *corev1.SessionAffinityConfig `json:"sessionAffinityConfig"`
	InternalTrafficPolicy string                        `json:"internalTrafficPolicy"`
	TrafficDistribution   string                        `json:"trafficDistribution"`
	IPFamilies            []string                      `json:"ipFamilies"`
}

// definition is what other clusters see of it, within bounds. API servers set what is not set here to what stands here.
func (s *service) definition() Definition {
	d := Definition{
		SessionAffinity:       word(s.SessionAffinity, string(corev1.ServiceAffinityNone)),
		InternalTrafficPolicy: word(s.InternalTrafficPolicy, string(corev1.ServiceInternalTrafficPolicyCluster)),
		TrafficDistribution:   word(s.TrafficDistribution, ""),
	}
	if c := s.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		d.AffinityTimeout = *c.ClientIP.TimeoutSeconds
	}
	for _, family := range s.IPFamilies[:min(len(s.IPFamilies), 2)] {
		d.IPFamilies = append(d.IPFamilies, word(family, ""))
	}
	invalid := 0
	for _, p := range s.Ports {
		p.Protocol = word(p.Protocol, string(corev1.ProtocolTCP))
		switch {
		case len(d.Ports) == maxPorts:
		case p.Port < 1 || p.Port > 65535, p.Name != "" && len(validation.IsDNS1123Label(p.Name)) > 0,
			!slices.Contains([]string{"TCP", "UDP", "SCTP"}, p.Protocol):
			invalid++
		default:
			d.Ports = append(d.Ports, Port{p.Name, p.Protocol, int32(p.Port), text.Cut(p.AppProtocol, maxKey)})
		}
	}
	var dropped []string
	if invalid > 0 {
		dropped = append(dropped, fmt.Sprintf("%d of its ports that are none", invalid))
	}
	if more := len(s.Ports) - invalid - len(d.Ports); more > 0 {
		dropped = append(dropped, fmt.Sprintf("%d ports after the first %d", more, maxPorts))
	}
	d.Dropped = strings.Join(dropped, ", ")
	return d
}

// word is one of a few words, or what it is where it is not set.
func word(s, unset string) string {
	if s == "" {
		return unset
	}
	return text.Cut(s, maxWord)
}

// decodeService reads a Service.
func decodeService(raw json.RawMessage) (*Definition, error) {
	var s struct {
		Spec service `json:"spec"`
	}
	if err := decode(raw, &s); err != nil {
		return nil, err
	}
	d := s.Spec.definition()
	switch {
	case s.Spec.Type == string(corev1.ServiceTypeExternalName):
		d.Type = external
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		d.Type = Headless
	default:
		d.Type = ClusterSetIP
	}
	return &d, nil
}

// decodeExport reads a ServiceExport of any version. What cannot be read of it is its Fault.
func decodeExport(raw json.RawMessage, o object, name Name) Export {
	e := Export{Name: name, Created: parseTime(o.Metadata.CreationTimestamp)}
	var s struct {
		Spec struct {
			Labels      map[string]string `json:"exportedLabels"`
			Annotations map[string]string `json:"exportedAnnotations"`
		} `json:"spec"`
		Status struct {
			Conditions []Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := decode(raw, &s); err != nil {
		e.Fault = err.Error()
		return e
	}
	for what, entries := range map[string]map[string]string{"exportedLabels": s.Spec.Labels, "exportedAnnotations": s.Spec.Annotations} {
		if fault := boundEntries(entries); fault != "" {
			e.Fault = "its " + what + " " + fault
			return e
		}
	}
	e.Labels, e.Annotations, e.Conditions = s.Spec.Labels, s.Spec.Annotations, boundConditions(s.Status.Conditions)
	return e
}

// decodeImport reads a ServiceImport of any version.
func decodeImport(raw json.RawMessage, name Name) Import {
	im := Import{Name: name}
	var s struct {
		Spec   service `json:"spec"`
		Status struct {
			Clusters []struct {
				Cluster string `json:"cluster"`
			} `json:"clusters"`
			Conditions []Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := decode(raw, &s); err != nil {
		im.Fault = err.Error()
		return im
	}
	im.Definition = s.Spec.definition()
	im.Type = word(s.Spec.Type, "")
	for _, c := range s.Status.Clusters[:min(len(s.Status.Clusters), maxClusters)] {
		im.Clusters = append(im.Clusters, text.Cut(c.Cluster, maxKey))
	}
	im.Conditions = boundConditions(s.Status.Conditions)
	return im
}

// transported says whether a ServiceImport is no import, but how Submariner carries an export to its broker.
func (o *object) transported() bool {
	for _, key := range []string{"multicluster.kubernetes.io/source-cluster", "lighthouse.submariner.io/sourceNamespace"} {
		if _, has := o.Metadata.Labels[key]; has {
			return true
		}
	}
	return false
}

// decode reads an object, in the words of a person where its fields are of other types than they should be.
func decode(raw json.RawMessage, into any) error {
	err := json.NewDecoder(bytes.NewReader(raw)).Decode(into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("its field %s is a JSON %s", text.Cut(wrong.Field, maxWord), wrong.Value)
	}
	if err != nil {
		return errors.New("it is no JSON object")
	}
	return nil
}

// boundEntries says why labels or annotations are more than are compared.
func boundEntries(entries map[string]string) string {
	if len(entries) > maxEntries {
		return fmt.Sprintf("are more than %d", maxEntries)
	}
	for key, value := range entries {
		if len(key) > maxKey || len(value) > maxValue {
			return fmt.Sprintf("have keys longer than %d bytes, or values longer than %d KiB", maxKey, maxValue>>10)
		}
	}
	return ""
}

func boundConditions(all []Condition) []Condition {
	all = all[:min(len(all), maxConditions)]
	for i := range all {
		c := &all[i]
		c.Type, c.Status = text.Cut(c.Type, maxWord), text.Cut(c.Status, maxWord)
		c.Reason, c.Message = text.Cut(c.Reason, 4*maxWord), text.Cut(c.Message, maxMessage)
	}
	return all
}

// parseTime is a time as API servers send it; zero where it is none.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
