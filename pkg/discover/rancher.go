package discover

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Rancher is the source of the clusters that the Rancher on the host manages. Each has two objects there: one of
// clusters.management.cattle.io, named by Rancher's ID, and one of clusters.provisioning.cattle.io, in a workspace's namespace
// beside the Secret with a kubeconfig. Rancher copies labels from the second to the first where it made the cluster itself,
// from the first to the second where the cluster was imported by its ID, and for other imports at creation only: so the
// request is read on both, and two that differ are told, not guessed at.
//
// The kubeconfig leads to Rancher's proxy with a token of a cluster owner. It is used to join and kept nowhere.
type Rancher struct {
	Host    *host.Cluster
	Connect Opener
}

// rancherCluster is one cluster of Rancher, of both its objects.
type rancherCluster struct {
	Candidate
	// id is Rancher's ID.
	id string
	// local is the cluster that Rancher itself runs in: the host.
	local bool
}

// Candidates lists Rancher's clusters by name, and reads their Secrets. Those that are being deleted are left out.
func (s Rancher) Candidates(ctx context.Context) ([]Candidate, error) {
	var managed, provisioned []unstructured.Unstructured
	var served [2]bool
	var errs [2]error
	var outside rancherOutside
	cluster.Parallel(3, func(i int) {
		switch i {
		case 0:
			managed, served[i], errs[i] = s.Host.Foreign(ctx, cluster.RancherClusters)
		case 1:
			provisioned, served[i], errs[i] = s.Host.Foreign(ctx, cluster.RancherProvisioned)
		case 2:
			outside.server, outside.ca = s.Host.RancherSetting(ctx, "server-url"), s.Host.RancherSetting(ctx, "cacerts")
		}
	})
	err := errors.Join(errs[:]...)
	if err == nil && !served[0] && !served[1] {
		return nil, &NotServed{FromRancher, []cluster.Resource{cluster.RancherClusters, cluster.RancherProvisioned}}
	}
	clusters := rancherClusters(managed, provisioned)
	candidates := make([]Candidate, len(clusters))
	now := time.Now()
	eachOf(len(clusters), secretsAtOnce, func(i int) {
		candidates[i] = s.open(ctx, clusters[i], outside, now)
	})
	return candidates, err
}

// open finds the way to a cluster.
func (s Rancher) open(ctx context.Context, r rancherCluster, outside rancherOutside, now time.Time) Candidate {
	c := r.Candidate
	if r.local {
		// The caller is connected to it already.
		c.Secret, c.Hint = cluster.Ref{}, ""
		c.Connect = func() (*member.Cluster, error) { return member.Connect(s.Host.Config()) }
		return c
	}
	if c.Secret.Name == "" {
		c.Err = errors.New("host: no object says in which namespace Rancher keeps its kubeconfig")
		return c
	}
	access, err := accessOf(ctx, s.Host, c.Secret, now, FromRancher)
	if err != nil {
		c.Err = err
		return c
	}
	outside.apply(access)
	c.Connect = func() (*member.Cluster, error) { return s.Connect(access.RESTConfig()) }
	if id := cluster.RancherProxyID(access.Server); id != "" && c.Keep == nil && c.Unkept == "" {
		takes, err := s.Host.RancherProxyTakesTokens(ctx, id)
		if err == nil && !takes {
			c.Unkept = rancherUnkept(id)
		} else if err != nil && !apierrors.IsForbidden(err) {
			c.Err = err
		}
	}
	return c
}

// rancherUnkept says why nothing that the host may keep works at Rancher's proxy.
func rancherUnkept(id string) string {
	return fmt.Sprintf("Rancher's proxy takes no token of the cluster's own, and nobody else's is kept: turn on the cluster's authorized endpoint in Rancher, "+
		"with an FQDN and its CA; or allow such tokens at the proxy, with a ClusterProxyConfig with enabled: true in namespace %s", id)
}

// rancherOutside is where Rancher says that it is reached from outside of its own cluster. The Secrets name an address
// inside of it; the tokens are good at both.
type rancherOutside struct{ server, ca string }

// apply puts the address into an access that leads to Rancher's proxy.
func (o rancherOutside) apply(access *kubeconfig.Access) {
	id := cluster.RancherProxyID(access.Server)
	u, err := url.Parse(o.server)
	if id == "" || err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return
	}
	access.Server = strings.TrimSuffix(o.server, "/") + "/k8s/clusters/" + id
	access.CABundle = pemOf(o.ca)
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

// rancherClusters makes one of the objects of a cluster, by Rancher's ID, in the order of the IDs.
func rancherClusters(managed, provisioned []unstructured.Unstructured) []rancherCluster {
	byID := map[string][2]*unstructured.Unstructured{}
	for i := range managed {
		byID[managed[i].GetName()] = [2]*unstructured.Unstructured{&managed[i], nil}
	}
	for i := range provisioned {
		o := &provisioned[i]
		// Without an ID, the object has none yet: nobody else has its namespace and name.
		id := cmp.Or(text(o, "status", "clusterName"), o.GetNamespace()+"/"+o.GetName())
		pair := byID[id]
		if pair[1] == nil || pair[1].GetDeletionTimestamp() != nil { // a change of workspace makes it anew
			pair[1] = o
		}
		byID[id] = pair
	}
	var clusters []rancherCluster
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		v3, v1 := byID[id][0], byID[id][1]
		if v3 != nil && v3.GetDeletionTimestamp() != nil || v1 != nil && v1.GetDeletionTimestamp() != nil {
			continue
		}
		clusters = append(clusters, rancherClusterOf(id, v3, v1))
	}
	return apart(clusters)
}

// apart tells clusters apart that have one display name, which is free text: each gets Rancher's ID behind it.
func apart(clusters []rancherCluster) []rancherCluster {
	named := map[string]int{}
	for i := range clusters {
		named[clusters[i].Name]++
	}
	for i := range clusters {
		if r := &clusters[i]; named[r.Name] > 1 {
			r.Base = r.Name
			r.Name += "/" + r.id
		}
	}
	return clusters
}

// rancherClusterOf is one cluster of one or both of its objects. Where they disagree, v3 counts: it is what Rancher itself
// goes by.
func rancherClusterOf(id string, v3, v1 *unstructured.Unstructured) rancherCluster {
	r := rancherCluster{id: id, local: id == "local", Candidate: Candidate{Source: FromRancher, Labels: map[string]string{}}}
	namespace, name := "", ""
	if v1 != nil {
		namespace, name = v1.GetNamespace(), v1.GetName()
		r.Secret.Name = text(v1, "status", "clientSecretName")
		r.Name = cmp.Or(v1.GetAnnotations()["provisioning.cattle.io/management-cluster-display-name"], name)
		r.Objects = append(r.Objects, objectOf(cluster.RancherProvisioned, v1))
		maps.Copy(r.Labels, v1.GetLabels())
		r.endpoint(v1)
	}
	if v3 != nil {
		if v1 == nil {
			namespace = text(v3, "spec", "fleetWorkspaceName")
			name = text(v3, "spec", "displayName")
			if generated.MatchString(id) {
				name = id
			}
		}
		r.local = r.local || truth(v3, "spec", "internal")
		r.Name = cmp.Or(text(v3, "spec", "displayName"), r.Name, id)
		r.Objects = append([]Object{objectOf(cluster.RancherClusters, v3)}, r.Objects...)
		maps.Copy(r.Labels, v3.GetLabels())
		r.endpoint(v3)
		if owner := r.Labels["cluster-api.cattle.io/capi-cluster-owner"]; owner != "" {
			r.OtherName = string(FromClusterAPI) + ":" + r.Labels["cluster-api.cattle.io/capi-cluster-owner-ns"] + "/" + owner
		}
		if status, message := condition(v3, "Connected"); status == "False" {
			r.Hint = strings.TrimSuffix("Rancher says that it is not connected: "+message, ": ")
		}
	}
	if namespace != "" && name != "" {
		r.Secret = cluster.Ref{Resource: cluster.Secrets, Namespace: namespace, Name: cmp.Or(r.Secret.Name, name+"-kubeconfig")}
	} else {
		r.Secret = cluster.Ref{}
	}
	return r
}

// endpoint reads the authorized cluster endpoint, where one is on: the cluster's own, at which its own tokens are good.
func (r *rancherCluster) endpoint(o *unstructured.Unstructured) {
	if !truth(o, "spec", "localClusterAuthEndpoint", "enabled") {
		return
	}
	name := text(o, "spec", "localClusterAuthEndpoint", "fqdn")
	ca := pemOf(cmp.Or(text(o, "spec", "localClusterAuthEndpoint", "caCerts"), text(o, "status", "caCert")))
	if name == "" {
		return // the nodes' own addresses then, none of which outlives its node
	}
	u, err := url.Parse("https://" + strings.TrimPrefix(name, "https://"))
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		r.Unkept = fmt.Sprintf("the FQDN of its authorized endpoint is none: %q; mend it in Rancher", name)
		return
	}
	if ca == nil {
		r.Unkept = fmt.Sprintf("its authorized endpoint %s names no CA; give Rancher the CA that signed its certificate (localClusterAuthEndpoint.caCerts)", u)
		return
	}
	r.Keep, r.Unkept = &Keep{Server: strings.TrimSuffix(u.String(), "/"), CABundle: ca}, ""
}
