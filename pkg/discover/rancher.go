package discover

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// FromRancher is the source of the clusters that the Rancher on the host manages.
const FromRancher SourceName = "rancher"

var (
	// rancherClusters are named by Rancher's IDs of clusters.
	rancherClusters = foreignKind(schema.GroupVersion{Group: "management.cattle.io", Version: "v3"}, "clusters", "Cluster")
	// rancherProvisioned are the same clusters in the namespaces of their workspaces, next to their Secrets.
	rancherProvisioned = foreignKind(schema.GroupVersion{Group: "provisioning.cattle.io", Version: "v1"}, "clusters", "Cluster")
)

var rancherSource = SourceType{
	Name: FromRancher, Kind: "Rancher", Title: "Rancher", Help: "clusters.management.cattle.io and clusters.provisioning.cattle.io on the host",
	Kinds:       [][]cluster.Resource{{rancherClusters}, {rancherProvisioned}},
	ClusterWide: []cluster.Resource{rancherClusters},
	Read: func(objects [][]unstructured.Unstructured) []Candidate {
		return rancherCandidates(objects[0], objects[1])
	},
	Credential: inKey(valueKey),
	Renewal:    "run this again when Rancher has written a new one",
	Open:       func(e Environment) Source { return rancher{e} },
}

// rancher reads Rancher's clusters. Each has two objects: one of clusters.management.cattle.io (v3), named by Rancher's ID,
// and one of clusters.provisioning.cattle.io (v1), in a workspace's namespace with the Secret that holds a kubeconfig. Rancher
// copies labels from the second to the first where it made the cluster itself, from the first to the second where the
// cluster was imported by its ID, and for other imports at creation only: so the federation label is read on both, and a
// person resolves two that differ.
//
// The kubeconfig leads to Rancher's proxy with a token of a cluster owner. It is used to join and stored nowhere.
type rancher struct{ Environment }

// Candidates lists Rancher's clusters by ID, and reads their Secrets.
func (s rancher) Candidates(ctx context.Context) ([]Candidate, error) {
	var objects [][]unstructured.Unstructured
	var address rancherAddress
	err := cmp.Or(cluster.Together(
		func() (err error) { objects, err = s.objects(ctx, FromRancher); return err },
		func() error {
			address = rancherAddress{s.holder().RancherSetting(ctx, "server-url"), s.holder().RancherSetting(ctx, "cacerts")}
			return nil
		},
	)...)
	if objects == nil {
		return nil, err
	}
	candidates := rancherCandidates(objects[0], objects[1])
	known := map[string]bool{}
	for i := range candidates {
		c := &candidates[i]
		known[c.id] = true
		switch {
		case c.isHost: // the caller is connected to it already
			c.Secret, c.Hint = cluster.Ref{}, ""
			c.Connect = func() (*member.Cluster, error) { return member.Connect(s.holder().Config()) }
		case c.Secret.Name == "":
			c.Err = errors.New("host: no object names the namespace in which Rancher stores its kubeconfig; join it by a context of your own")
		}
	}
	s.open(ctx, candidates, func(c *Candidate, access *kubeconfig.Access) {
		address.apply(access)
		id := endpoint.RancherProxyID(access.Server)
		// Who may create objects of Rancher chooses names, and so whose Secret is read: their label, and their endpoint, are not
		// those of the cluster that it leads to.
		if id != c.id && known[id] {
			c.Err = fmt.Errorf("host: %s leads to the cluster %s of Rancher, and not to %s", c.Secret, cluster.Quoted(id), cluster.Quoted(c.id))
			return
		}
		if id == "" || c.Endpoint != nil || c.EndpointMissing != "" {
			return
		}
		takes, err := s.holder().RancherProxyTakesTokens(ctx, id)
		switch {
		case err == nil && !takes:
			c.EndpointMissing = proxyTakesNoTokens(id)
		case err != nil && !apierrors.IsForbidden(err):
			c.Err = err
		}
	})
	return candidates, err
}

// proxyTakesNoTokens says why no credential that the host may store works at Rancher's proxy.
func proxyTakesNoTokens(id string) string {
	return fmt.Sprintf("Rancher's proxy does not accept the cluster's own tokens, and the host stores no others: turn on the cluster's authorized endpoint in Rancher, "+
		"with an FQDN and its CA; or allow such tokens at the proxy, with a ClusterProxyConfig with enabled: true in namespace %s", id)
}

// rancherAddress is where Rancher is reached from outside its own cluster. The Secrets name an address inside it; the
// tokens are good at both.
type rancherAddress struct{ server, ca string }

// apply puts the address into an access that leads to Rancher's proxy.
func (a rancherAddress) apply(access *kubeconfig.Access) {
	id := endpoint.RancherProxyID(access.Server)
	if id == "" || len(endpoint.ValidateServer(nil, a.server)) > 0 {
		return
	}
	access.Server = strings.TrimSuffix(a.server, "/") + "/k8s/clusters/" + id
	access.CABundle = pemOf(a.ca)
}

// pemOf is text that holds PEM, or PEM in base64; nil when it holds neither.
func pemOf(text string) []byte {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return []byte(text)
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if block, _ := pem.Decode(data); err != nil || block == nil {
		return nil
	}
	return data
}

// generated are the IDs that Rancher gives to clusters that were imported by them: the object in the workspace has the
// same name. "local" is Rancher's own cluster.
var generated = regexp.MustCompile(`^(c-[a-z0-9]{5}|local)$`)

// rancherCandidates makes one candidate of the objects of a cluster, in the order of Rancher's IDs, without what the Secrets
// hold. Clusters that are being deleted are left out.
func rancherCandidates(managed, provisioned []unstructured.Unstructured) []Candidate {
	byID := map[string][2]*unstructured.Unstructured{}
	for i := range managed {
		byID[managed[i].GetName()] = [2]*unstructured.Unstructured{&managed[i], nil}
	}
	for i := range provisioned {
		o := &provisioned[i]
		// One that Rancher has given no ID yet goes by its own name: no ID has a slash.
		id, own := text(o, "status", "clusterName"), o.GetNamespace()+"/"+o.GetName()
		if id == "" || !ofManaged(byID[id][0], o) {
			id = own
		}
		pair := byID[id]
		if pair[1] == nil || pair[1].GetDeletionTimestamp() != nil { // a change of workspace makes it anew
			pair[1] = o
		}
		byID[id] = pair
	}
	var candidates []Candidate
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		v3, v1 := byID[id][0], byID[id][1]
		if v3 != nil && v3.GetDeletionTimestamp() != nil || v1 != nil && v1.GetDeletionTimestamp() != nil {
			continue
		}
		candidates = append(candidates, rancherCandidate(id, v3, v1))
	}
	distinguish(candidates)
	return candidates
}

// ofManaged says whether the object o in a namespace is of the cluster v3, as its status claims: a user who may write one object
// of a namespace can claim the ID of any cluster. Rancher says in v3 in which namespace, its workspace, the other object is.
func ofManaged(v3, o *unstructured.Unstructured) bool {
	return v3 != nil && o.GetNamespace() == text(v3, "spec", "fleetWorkspaceName") && o.GetName() == provisionedName(v3)
}

// provisionedName is the name of the object in the workspace of v3.
func provisionedName(v3 *unstructured.Unstructured) string {
	if id := v3.GetName(); generated.MatchString(id) {
		return id
	}
	return text(v3, "spec", "displayName")
}

// rancherCandidate is one cluster, of one or both of its objects. Where they disagree, v3 counts: it is what Rancher itself
// goes by.
func rancherCandidate(id string, v3, v1 *unstructured.Unstructured) Candidate {
	c := Candidate{Source: FromRancher, Labels: map[string]string{}, id: id, isHost: id == "local"}
	namespace, name, secret := "", "", ""
	if v1 != nil {
		namespace, name = v1.GetNamespace(), v1.GetName()
		secret = text(v1, "status", "clientSecretName")
		c.Name = cmp.Or(v1.GetAnnotations()["provisioning.cattle.io/management-cluster-display-name"], name)
		c.Objects = append(c.Objects, objectOf(rancherProvisioned, v1))
		c.Created = v1.GetCreationTimestamp().Time
		maps.Copy(c.Labels, v1.GetLabels())
		c.readAuthorizedEndpoint(v1)
	}
	if v3 != nil {
		if v1 == nil {
			namespace = text(v3, "spec", "fleetWorkspaceName")
			name = provisionedName(v3)
		}
		c.Name = cmp.Or(text(v3, "spec", "displayName"), c.Name, id)
		c.Objects = append([]Object{objectOf(rancherClusters, v3)}, c.Objects...)
		c.Created = v3.GetCreationTimestamp().Time
		maps.Copy(c.Labels, v3.GetLabels())
		c.readAuthorizedEndpoint(v3)
		if owner := c.Labels["cluster-api.cattle.io/capi-cluster-owner"]; owner != "" {
			c.OtherName = string(FromClusterAPI) + ":" + c.Labels["cluster-api.cattle.io/capi-cluster-owner-ns"] + "/" + owner
		}
		if status, message := condition(v3, "Connected"); status == "False" {
			c.Hint = hint("Rancher reports that it is not connected", message)
		}
	}
	if namespace != "" && name != "" {
		c.Secret = cluster.Ref{Resource: cluster.Secrets, Namespace: namespace, Name: cmp.Or(secret, name+"-kubeconfig")}
	}
	return c
}

// readAuthorizedEndpoint reads the cluster's own endpoint, at which its own tokens are good, where Rancher has it turned on.
func (c *Candidate) readAuthorizedEndpoint(o *unstructured.Unstructured) {
	if !isTrue(o, "spec", "localClusterAuthEndpoint", "enabled") {
		return
	}
	name := text(o, "spec", "localClusterAuthEndpoint", "fqdn")
	if name == "" {
		return // the nodes' own addresses then, none of which outlives its node
	}
	server := strings.TrimSuffix("https://"+strings.TrimPrefix(name, "https://"), "/")
	ca := pemOf(cmp.Or(text(o, "spec", "localClusterAuthEndpoint", "caCerts"), text(o, "status", "caCert")))
	switch {
	case len(endpoint.ValidateServer(nil, server)) > 0:
		c.EndpointMissing = fmt.Sprintf("the FQDN of its authorized endpoint is not a host name: %q; correct it in Rancher", name)
	case ca == nil:
		c.EndpointMissing = fmt.Sprintf("its authorized endpoint %s has no CA; give Rancher the CA that signed its certificate (localClusterAuthEndpoint.caCerts)", server)
	default:
		c.Endpoint, c.EndpointMissing = &endpoint.Endpoint{Server: server, CABundle: ca}, ""
	}
}
