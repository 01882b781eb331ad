package discover

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// FromClusterProfile is the source of the ClusterProfiles of other managers.
const FromClusterProfile SourceName = "cluster-profile"

var clusterProfiles = foreignKind(schema.GroupVersion{Group: "multicluster.x-k8s.io", Version: "v1alpha1"}, "clusterprofiles", "ClusterProfile")

const (
	// managerLabel names the manager of a ClusterProfile, and ownManager is kubectl federate: its profiles are members.
	managerLabel = "x-k8s.io/cluster-manager"
	ownManager   = "kubefederate"
	// secretReader is the access provider whose plugin reads a kubeconfig from a Secret, and execExtension says from which.
	secretReader  = "kubeconfig-secretreader"
	execExtension = "client.authentication.k8s.io/exec"
	// maxNames is how many names of access providers a message has.
	maxNames = 3
)

// clusterProfileSource reads ClusterProfiles (KEP-4322) of other managers that have the access provider kubeconfig-secretreader, whose
// Secret is in the profile's own namespace.
//
// The plugin of that name takes the server from the profile, and the credential from the kubeconfig. Who may write the profile
// could so have the credential of any kubeconfig in its namespace sent to a server of theirs: here both must name one server.
var clusterProfileSource = SourceType{
	Name: FromClusterProfile, Kind: "ClusterProfile", Title: "ClusterProfiles", Help: "clusterprofiles.multicluster.x-k8s.io of other managers on the host",
	Kinds:      [][]cluster.Resource{{clusterProfiles}},
	Read:       func(objects [][]unstructured.Unstructured) []Candidate { return clusterProfileCandidates(objects[0]) },
	Credential: profileCredential,
	Renewal:    "run this again when the manager of the ClusterProfile has written a new one",
	Open:       func(e Environment) Source { return objectSource{e, FromClusterProfile} },
}

func profileCredential(c *Candidate, secret *corev1.Secret) (*kubeconfig.Access, error) {
	data, err := value(secret, c.key)
	if err != nil {
		return nil, err
	}
	access, err := kubeconfig.ParseContext(data, c.context)
	if err != nil {
		return nil, err
	}
	if endpoint.KeyOf(access.Server) != endpoint.KeyOf(c.server.Server) {
		return nil, fmt.Errorf("its kubeconfig is for %s, and the ClusterProfile for %s: its credential is sent to no other server",
			access.Server, cluster.Quoted(cluster.Shortened(c.server.Server)))
	}
	return access, nil
}

func clusterProfileCandidates(objects []unstructured.Unstructured) []Candidate {
	var candidates []Candidate
	for _, o := range standing(objects) {
		if o.GetLabels()[managerLabel] == ownManager || text(o, "spec", "clusterManager", "name") == ownManager {
			continue
		}
		c := candidateOf(FromClusterProfile, clusterProfiles, o)
		c.Base = cmp.Or(text(o, "spec", "displayName"), c.Base)
		c.Err = c.readProvider(o)
		if status, message := condition(o, "ControlPlaneHealthy"); status == "False" {
			c.Hint = hint("its manager reports that its control plane is not healthy", message)
		}
		candidates = append(candidates, c)
	}
	return candidates
}

// readProvider reads where the Secret of a profile is, and for which server.
func (c *Candidate) readProvider(o *unstructured.Unstructured) error {
	var names []string
	// The deprecated list is read after the one that replaced it.
	for _, p := range append(objectsIn(o, "status", "accessProviders"), objectsIn(o, "status", "credentialProviders")...) {
		if name := text(&p, "name"); name != secretReader {
			names = append(names, cluster.Quoted(cluster.Shortened(name)))
			continue
		}
		c.server.Server = text(&p, "cluster", "server")
		for _, e := range objectsIn(&p, "cluster", "extensions") {
			if text(&e, "name") != execExtension {
				continue
			}
			namespace := cmp.Or(text(&e, "extension", "namespace"), o.GetNamespace())
			if namespace != o.GetNamespace() {
				return noCredential("its access provider %s names a Secret in namespace %q: discovery reads only those of the profile's own namespace",
					secretReader, cluster.Shortened(namespace))
			}
			c.Secret = secretRef(namespace, text(&e, "extension", "name"))
			c.key, c.context = text(&e, "extension", "key"), text(&e, "extension", "context")
		}
		if c.Secret.Name == "" || c.key == "" {
			return noCredential("its access provider %s names no Secret and key in the extension %s: join it by a context of your own", secretReader, execExtension)
		}
		return nil
	}
	found := "it has no access provider"
	if len(names) > 0 {
		found = "its access providers are " + strings.Join(names[:min(len(names), maxNames)], ", ")
	}
	if more := len(names) - maxNames; more > 0 {
		found += fmt.Sprintf(" and %d more", more)
	}
	return noCredential("%s, and discovery reads %s only: join it by a context of your own", found, secretReader)
}
