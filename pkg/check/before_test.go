package check

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

// fit is a cluster on which init does all that it does.
func fit() *BeforeFacts {
	return &BeforeFacts{
		Before: &install.Before{
			Kubernetes: "v1.36.3", ServerTime: now, LocalTime: now.Add(300 * time.Millisecond), Objects: 60, Kinds: 14, Tried: 60,
			Groups: []metav1.APIGroup{{Name: "apps"}},
		},
		Plugin: "v1.2.0", Server: "https://host.example.com",
	}
}

// TestJudgeBefore holds what is found on a cluster before an install, each whole.
func TestJudgeBefore(t *testing.T) {
	t.Parallel()
	own := map[string]string{manifests.LabelPartOf: manifests.Name}
	role := cluster.Ref{Resource: cluster.ClusterRoles, Name: "kubefederate-viewer"}
	namespace := cluster.Ref{Resource: cluster.Namespaces, Name: "kubefederate-system"}
	group := func(name string, versions ...string) metav1.APIGroup {
		g := metav1.APIGroup{Name: name}
		for _, v := range versions {
			g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{Version: v})
		}
		return g
	}
	kind := func(group, version, resource string) cluster.Resource {
		return cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Group: group, Version: version, Resource: resource}}
	}
	for _, tt := range []struct {
		name  string
		fault func(f *BeforeFacts)
		want  string
	}{
		{"fit", func(*BeforeFacts) {}, ""},
		{"oldest", func(f *BeforeFacts) { f.Kubernetes = "v1.33.0+k3s1" }, ""},
		{"too old", func(f *BeforeFacts) { f.Kubernetes = "v1.32.9-gke.1" },
			"kubernetes error KubernetesTooOld: the API server runs Kubernetes v1.32.9-gke.1; a host needs at least 1.33"},
		{"no version", func(f *BeforeFacts) { f.Kubernetes = "\x1b" },
			`kubernetes warning NotChecked: the version "\x1b" of the API server is not one of Kubernetes`},
		{"no clock", func(f *BeforeFacts) { f.ServerTime = time.Time{} },
			"clock warning NotChecked: the clock of the API server could not be checked: its answer has no date, or a proxy removed it"},
		{"behind", func(f *BeforeFacts) { f.ServerTime = now.Add(-2 * time.Minute) },
			"clock warning ClockSkew: the clock of the API server is 2m0s behind that of this machine: what is said of times and ends of credentials is as far off"},
		{"ahead", func(f *BeforeFacts) { f.ServerTime = now.Add(2 * time.Minute) },
			"clock warning ClockSkew: the clock of the API server is 2m0s ahead of that of this machine: what is said of times and ends of credentials is as far off"},
		{"a day behind", func(f *BeforeFacts) { f.ServerTime = now.Add(-24 * time.Hour) },
			"clock error ClockSkew: the clock of the API server is 24h0m0s behind that of this machine: the webhook's CA, which init makes, would not be valid there yet"},
		{"kinds", func(f *BeforeFacts) {
			f.NotServed = []cluster.Resource{kind("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"), kind("cert-manager.io", "v1", "issuers")}
		}, "kinds error KindNotServed validatingadmissionpolicies.admissionregistration.k8s.io: is not served in version v1, and init applies objects of it\n" +
			"kinds error KindNotServed issuers.cert-manager.io: is not served: install cert-manager first, or let the manager issue its certificate with --certificates=manager"},
		{"installed", func(f *BeforeFacts) { f.Installed = "v1.2.0"; f.Found = []install.Found{{Ref: role, Labels: own}} },
			"installation warning AlreadyInstalled: kubectl federate v1.2.0 is installed already; what is wrong with it is for check without --pre: kubectl federate check"},
		{"older", func(f *BeforeFacts) { f.Installed, f.Options.WebhookURL = "v1.1.0", "https://a:1" },
			"installation warning AlreadyInstalled: kubectl federate v1.1.0 is installed already, and init brings it to v1.2.0: kubectl federate init --webhook-url https://a:1"},
		{"newer", func(f *BeforeFacts) { f.Installed = "v1.3.0" },
			"installation error AlreadyInstalled: kubectl federate v1.3.0 is installed already, and newer than this plugin (v1.2.0): init does not downgrade it: kubectl krew upgrade federate"},
		{"kinds of another release", func(f *BeforeFacts) { f.Groups = append(f.Groups, group("kubefederate.io", "v2", "v1")) },
			"installation error ForeignKinds kubefederate.io: is served in v2, v1 and not in v1alpha1: another release, or another project, has installed its kinds"},
		{"kinds of this one", func(f *BeforeFacts) { f.Groups = append(f.Groups, group("kubefederate.io", "v1beta1", "v1alpha1")) }, ""},
		{"KubeFed", func(f *BeforeFacts) { f.Groups = append(f.Groups, group("core.kubefed.io", "v1beta1")) },
			"installation info ForeignKinds core.kubefed.io: is served: KubeFed is installed, which may stay; discover --source kubefed finds its clusters"},
		{"left over", func(f *BeforeFacts) {
			f.Found, f.Options.Certificates = []install.Found{{Ref: role, Labels: own}, {Ref: namespace, Labels: own}}, manifests.CertificatesCertManager
		}, `leftovers warning Leftover ClusterRole "kubefederate-viewer": is left over from an earlier installation, and init takes it over: kubectl federate init --certificates cert-manager` + "\n" +
			`leftovers warning Leftover Namespace "kubefederate-system": is left over from an earlier installation, and init takes it over: kubectl federate init --certificates cert-manager`},
		{"foreign", func(f *BeforeFacts) { f.Found = []install.Found{{Ref: role}, {Ref: namespace}} },
			`leftovers error ForeignObject ClusterRole "kubefederate-viewer": exists, and init did not make it, which would overwrite it: kubectl get clusterroles.rbac.authorization.k8s.io kubefederate-viewer --output yaml` + "\n" +
				`leftovers info ForeignObject Namespace "kubefederate-system": exists; init labels it, with the pod security level restricted, and leaves what else is in it`},
		{"being deleted", func(f *BeforeFacts) { f.Found = []install.Found{{Ref: namespace, Labels: own, Deleting: true}} },
			`leftovers error BeingDeleted Namespace "kubefederate-system": is being deleted, and init applies it: wait until it is gone, or see what keeps it: kubectl get namespaces kubefederate-system --output yaml`},
		{"rights", func(f *BeforeFacts) {
			other := role
			other.Name = "kubefederate-admin"
			f.Lacking = append(role.Rights("create", "patch"), other.Rights("create", "patch")...)
			f.Lacking = append(f.Lacking, install.KeysSecret.Rights("get")...)
			f.Lacking = append(f.Lacking, host.EnforcingRights()...)
		}, "rights error NoRight: you are not allowed to create, patch clusterroles.rbac.authorization.k8s.io, which init does\n" +
			`rights error NoRight: you are not allowed to get secrets in namespace "kubefederate-system", which init does` + "\n" +
			"rights error NoRight: you are not allowed to create memberclusters.kubefederate.io, which init does\n" +
			"rights error NoRight: you are not allowed to join federations.kubefederate.io, which init does"},
		{"refused", func(f *BeforeFacts) {
			f.Refused = []install.Refused{{Ref: role, Err: errors.New(`admission webhook "x" denied the request`)}}
		},
			`dry run error InstallRefused ClusterRole "kubefederate-viewer": is refused: admission webhook "x" denied the request`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fit()
			tt.fault(f)
			found := JudgeBefore(*f)
			var lines []string
			for _, x := range found {
				line := strings.Join(strings.Fields(fmt.Sprint(x.Area, " ", x.Severity, " ", x.Code, " ", x.Object)), " ") + ": " + x.Cause
				if x.Remedy != "" {
					line += ": " + x.Remedy
				}
				lines = append(lines, line)
			}
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("(-want +got):\n%s", cmp.Diff(tt.want, got))
			}
			counted := 0
			for _, a := range AreasBefore(*f, found) {
				for _, n := range a.Findings {
					counted += n
				}
			}
			if counted != len(found) {
				t.Errorf("areas count %d of %d findings", counted, len(found))
			}
		})
	}
}

// TestAreasBefore holds what is said of each area, and that what cannot be checked did not pass.
func TestAreasBefore(t *testing.T) {
	t.Parallel()
	var got []string
	for _, a := range AreasBefore(*fit(), nil) {
		got = append(got, fmt.Sprint(a.Name, " ", a.Passed(), ": ", a.Checked))
	}
	want := `kubernetes true: v1.36.3 on https://host.example.com
clock true: that of the API server: 2026-11-23T12:00:00Z, and this machine's: 2026-11-23T12:00:00Z
kinds true: 14, which the API server must serve
installation true: earlier ones, and those of other projects, among 1 API groups
leftovers true: 60 objects that init applies, of which 0 exist
rights true: yours, to read, create and change each of these objects and the webhook's keys, and to see that the webhook enforces
dry run true: 60 of 60 objects, which the API server judged and did not store; in a namespace that does not exist yet it judges none
network false: whether API servers reach the manager's pods at port 9443, which is seen only when it is called: init waits until the webhook enforces`
	if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
}
