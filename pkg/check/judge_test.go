package check

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const (
	hostID   = "aaaaaaaa-0000-4000-8000-000000000001"
	memberID = "bbbbbbbb-0000-4000-8000-000000000002"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// well is a host with one member that is well, seen through a context and through the stored credential; a test
// case states only its fault.
func well() *Facts {
	m := v1alpha1.MemberCluster{}
	m.Name, m.UID, m.Generation = "east", "uid-1", 2
	m.Labels = map[string]string{v1alpha1.LabelFederation: "prod"}
	m.Spec.ClusterID, m.Spec.Server = memberID, "https://east.example.com"
	m.Status.Phase, m.Status.ObservedGeneration = v1alpha1.PhaseReady, 2
	m.Status.CredentialExpiry = &metav1.Time{Time: now.Add(time.Hour)}
	m.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCredentialStored},
		{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted},
	}
	fed := v1alpha1.Federation{}
	fed.Name = "prod"
	return &Facts{
		Now: now, Plugin: "v1.2.0",
		Host: HostFacts{
			ID: hostID, Server: "https://host.example.com", Installed: "v1.2.0",
			Federations: []v1alpha1.Federation{fed}, Members: []v1alpha1.MemberCluster{m},
			Credentials: map[v1alpha1.MemberName]bool{"east": true},
		},
		Observations: []Observation{
			{Credential: "east", State: state(false)},
			{Context: "east", State: state(true)},
		},
	}
}

// state is what a member that is well shows: all of it, or what the stored credential may read.
func state(whole bool) *member.State {
	s := &member.State{
		ID: memberID, Properties: true, Objects: map[cluster.Ref]*unstructured.Unstructured{},
		Membership:  &member.Membership{Federation: "prod", HostID: hostID, Member: "east", MemberUID: "uid-1"},
		JoinRequest: member.JoinRequest{Federation: "prod", Namespace: "kube-system"},
	}
	objects := []member.Object{
		member.Property(v1alpha1.PropertyClusterID, memberID, "prod"), member.Property(v1alpha1.PropertyClusterSet, "prod", "prod"),
	}
	g := member.Grants{Properties: true}
	if whole {
		objects = append(objects, append(g.BaseObjects(), g.Bindings()...)...)
	} else {
		s.Denied.Add(denied(member.BindingRefs()[0]))
	}
	for _, o := range objects {
		s.Objects[o.Ref] = o.Manifest
	}
	return s
}

func denied(object cluster.Ref) error {
	return &cluster.Error{Side: cluster.Member, Verb: "get", Object: object, Fault: cluster.FaultForbidden,
		Err: apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", errors.New("no"))}
}

func failing(fault cluster.Fault, err error) error {
	return &cluster.Error{Side: cluster.Member, Server: "https://east.example.com", Verb: "get", Fault: fault, Err: err}
}

func (f *Facts) member() *v1alpha1.MemberCluster { return &f.Host.Members[0] }

func (f *Facts) valid(status metav1.ConditionStatus, reason string) {
	f.member().Status.Conditions[0].Status, f.member().Status.Conditions[0].Reason = status, reason
}

func (f *Facts) context() *member.State { return f.Observations[1].State }

// publishing is an inventory that is not published.
func (f *Facts) publishing(namespaces ...string) {
	f.Host.Grants = &install.Grants{}
	f.Host.Federations[0].Spec.Inventory = &v1alpha1.Inventory{Namespaces: namespaces}
	f.Host.Federations[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionInventoryPublished, Status: metav1.ConditionFalse, Message: "no label"}}
}

// granted are namespaces that a label lets a federation use.
func (f *Facts) granted(label string, federation v1alpha1.FederationName, namespaces ...string) {
	if f.Host.Grants == nil {
		f.Host.Grants = &install.Grants{}
	}
	for _, name := range namespaces {
		f.Host.Grants.Namespaces = append(f.Host.Grants.Namespaces, install.GrantedNamespace{Name: name, Label: label, Federation: federation})
	}
}

// bound is a namespace in which the manager may publish.
func (f *Facts) bound(namespace string) {
	f.Host.Grants.Objects = append(f.Host.Grants.Objects, manifests.InventoryBinding(namespace)...)
}

// lost takes the host's record away.
func (f *Facts) lost() {
	f.Host.Members, f.Host.Credentials, f.Observations = nil, nil, f.Observations[1:]
}

func TestJudge(t *testing.T) {
	t.Parallel()
	refs := member.BindingRefs()
	const join = "kubectl federate join east --federation prod --member-context east"
	const rotate = "kubectl federate rotate east --member-context east"
	const at = `Secret "kubefederate-credentials/east": `
	const membership = `ConfigMap "kubefederate-member/membership": `
	for _, tt := range []struct {
		name  string
		fault func(*Facts)
		want  string
	}{
		{"well", func(*Facts) {}, ""},
		{"not installed", func(f *Facts) { f.Host = HostFacts{Server: "https://host.example.com", Choose: "choose the host"} },
			`error host - NotInstalled kubectl federate is not installed on https://host.example.com: choose the host, or install it here => kubectl federate init`},
		{"an older host", func(f *Facts) { f.Host.Installed = "v1.1.0" },
			`warning host - VersionSkew the host has v1.1.0 and the plugin is v1.2.0 => kubectl federate init`},
		{"an older host with a manager outside", func(f *Facts) { f.Host.Installed, f.Host.WebhookURL = "v1.1.0", "https://m.example.com/x?" },
			`warning host - VersionSkew the host has v1.1.0 and the plugin is v1.2.0 => kubectl federate init --webhook-url 'https://m.example.com/x?'`},
		{"a host that flags chose", func(f *Facts) {
			f.Host.Installed, f.Commands.Flags = "v1.1.0", []command.Flag{{Name: "context", Value: "two words"}}
		}, `warning host - VersionSkew the host has v1.1.0 and the plugin is v1.2.0 => kubectl federate init --context 'two words'`},
		{"a newer host", func(f *Facts) { f.Host.Installed = "v1.3.0" },
			`warning host - VersionSkew the host has v1.3.0 and the plugin is v1.2.0 => kubectl krew upgrade federate`},
		{"more members than a limit allows", func(f *Facts) {
			f.Host.Federations[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionWithinLimits, Status: metav1.ConditionFalse, Message: "too many"}}
		}, `error host - LimitExceeded Federation "prod": too many`},
		{"more members than a limit that warns", func(f *Facts) {
			f.Host.Federations[0].Spec.Enforcement = v1alpha1.EnforceWarn
			f.Host.Federations[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionWithinLimits, Status: metav1.ConditionFalse, Message: "too many"}}
		}, `warning host - LimitExceeded Federation "prod": too many`},
		{"within its limits", func(f *Facts) {
			f.Host.Federations[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionWithinLimits, Status: metav1.ConditionTrue}}
		}, ""},
		{"members cannot be published", func(f *Facts) {
			f.Host.Federations[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionInventoryPublished, Status: metav1.ConditionFalse, Message: "no label"}}
			f.member().Status.Conditions = append(f.member().Status.Conditions,
				metav1.Condition{Type: v1alpha1.ConditionPublished, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInventoryUnavailable, Message: "see there"})
		}, `error host - NotPublished Federation "prod": no label`},
		{"members cannot be published, for want of a grant", func(f *Facts) { f.publishing("fleet", "queue") },
			`error host - NotPublished Federation "prod": no label => kubectl federate grant prod --inventory fleet`},
		{"members cannot be published, for want of a binding", func(f *Facts) {
			f.publishing("fleet", "queue")
			f.granted(v1alpha1.LabelInventory, "prod", "fleet", "queue", "secrets")
			f.bound("fleet")
		}, `error host - NotPublished Federation "prod": no label => kubectl federate grant prod --inventory queue
warning host - GrantOrphan Namespace "secrets": is granted to federation "prod", which does not name it in spec.inventory => kubectl federate revoke prod --inventory secrets`},
		{"members cannot be published, for want of a namespace for credentials", func(f *Facts) {
			f.publishing("fleet")
			f.Host.Federations[0].Spec.Inventory.CredentialsNamespace = "secrets"
			f.granted(v1alpha1.LabelInventory, "prod", "fleet")
			f.bound("fleet")
		}, `error host - NotPublished Federation "prod": no label => kubectl federate grant prod --inventory-credentials secrets`},
		{"members cannot be published in the namespace of another federation", func(f *Facts) {
			f.publishing("fleet")
			f.granted(v1alpha1.LabelInventory, "edge", "fleet")
		}, `error host - NotPublished Federation "prod": no label
warning host - GrantOrphan Namespace "fleet": is granted to federation "edge", which does not exist => kubectl federate revoke edge --inventory fleet`},
		{"grants that serve a federation", func(f *Facts) {
			f.granted(v1alpha1.LabelInventoryCredentials, "prod", "secrets")
			f.granted(v1alpha1.LabelInventory, "prod", "fleet")
			f.Host.Federations[0].Status.Inventory = &v1alpha1.InventoryStatus{Namespaces: []string{"fleet"}, CredentialsNamespaces: []string{"secrets"}}
			f.Host.Grants.Objects = append(manifests.DiscoveryBinding("prod", "discover"), manifests.DiscoverySecretBinding("team-x", "a")...)
			f.Host.Grants.Objects = append(f.Host.Grants.Objects, manifests.CredentialsBinding("secrets")...)
		}, ""},
		{"grants of federations that are gone", func(f *Facts) {
			f.granted(v1alpha1.LabelInventoryCredentials, "edge", "secrets")
			f.Host.Grants.Objects = append(manifests.DiscoveryBinding("edge", "discover"), manifests.CredentialsBinding("lost")...)
		}, `warning host - GrantOrphan Namespace "secrets": is granted to federation "edge", which does not exist => kubectl federate revoke edge --inventory-credentials secrets
warning host - GrantOrphan ClusterRoleBinding "kubefederate-discovery:edge": is for the discovery controller in federation "edge", which does not exist => kubectl federate revoke edge --discovery
warning host - GrantOrphan RoleBinding "lost/kubefederate-inventory": is of a grant, and the namespace is granted to no federation any more => kubectl delete rolebindings.rbac.authorization.k8s.io kubefederate-inventory --namespace lost`},
		{"a manager outside of the host", func(f *Facts) {
			f.Host.WebhookURL, f.Host.NotEnforcing = "https://m.example.com", host.ErrWebhookDown
			f.member().Generation = 3
		}, `error host - WebhookNotEnforcing the webhook that judges members does not answer, so the API server refuses every change of a federation or a member; look at the log of the manager that serves at https://m.example.com
warning host east StatusStale MemberCluster "east": the manager has not updated its status yet; look at the log of the manager that serves at https://m.example.com`},
		{"a profile that is taken", func(f *Facts) {
			f.Host.Federations[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionInventoryPublished, Status: metav1.ConditionTrue}}
			f.member().Status.Conditions = append(f.member().Status.Conditions,
				metav1.Condition{Type: v1alpha1.ConditionPublished, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonProfileTaken, Message: "another has it"})
		}, `warning host east NotPublished MemberCluster "east": another has it`},
		{"published", func(f *Facts) {
			f.member().Status.Conditions = append(f.member().Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionPublished, Status: metav1.ConditionTrue})
		}, ""},
		{"broken rules", func(f *Facts) {
			f.Host.Federations[0].Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}}
			f.member().Status.Violations = []v1alpha1.Violation{
				{Rule: "labels", Enforcement: v1alpha1.EnforceWarn, Message: "no team"}, {Rule: "kubernetesVersion", Enforcement: v1alpha1.EnforceDeny, Message: "too old"},
			}
		}, `warning host east RulesBroken MemberCluster "east": no team => kubectl label memberclusters.kubefederate.io east team=VALUE
error host east RulesBroken MemberCluster "east": too old`},
		{"not enforcing", func(f *Facts) { f.Host.NotEnforcing = fmt.Errorf("host: %w", host.ErrNotEnforcing) },
			`error host - WebhookNotEnforcing the webhook does not judge members, so the rules of federations would not hold => kubectl federate init`},
		{"webhook down", func(f *Facts) { f.Host.NotEnforcing = fmt.Errorf("host: %w", host.ErrWebhookDown) },
			`error host - WebhookNotEnforcing the webhook that judges members does not answer, so the API server refuses every change of a federation or a member => kubectl get pods --namespace kubefederate-system`},
		{"probed just now", func(f *Facts) {
			f.Host.Probes = host.Probes{Until: now, Patience: time.Minute, Now: now.Add(time.Minute)}
		}, ""},
		{"not probed any more", func(f *Facts) {
			f.Host.Probes = host.Probes{Until: now, Patience: time.Minute, Now: now.Add(61 * time.Second)}
		},
			`error host - ProbesStopped Lease "kubefederate-system/kubefederate-probes": the manager has not probed members since 2026-11-23T12:00:00Z, so it is not known how they are: it does not run, is stuck, or cannot write to the host => kubectl get pods --namespace kubefederate-system`},
		{"enforcement unknown", func(f *Facts) { f.Host.NotEnforcing = errors.New("broken") },
			`error host - WebhookNotEnforcing whether the webhook is enforcing is not known: broken => kubectl federate init`},
		{"missing and changed", func(f *Facts) {
			f.Host.Missing = []cluster.Ref{{Resource: cluster.Roles, Namespace: "n", Name: "a"}}
			f.Host.Changed = []cluster.Ref{{Resource: cluster.ClusterRoles, Name: "b"}}
		}, `error host - InstallMissing Role "n/a": does not exist, and init installs it => kubectl federate init
error host - InstallChanged ClusterRole "b": differs from what init installs => kubectl federate init`},
		{"rights", func(f *Facts) {
			f.Host.Denied = []Denial{{Webhook, "a look", denied(cluster.Ref{Path: "/x"})}}
			f.Host.Lacking = host.MayRights("prod")[:1]
		}, `warning host - NotChecked a look could not be checked: things "x" is forbidden: no
info host - NoRight Federation "prod": you are not allowed to join federations.kubefederate.io "prod"`},
		{"no federation", func(f *Facts) { f.Host.Federations = nil },
			`error host east FederationMissing MemberCluster "east": names federation "prod", which does not exist => kubectl federate create federation prod`},
		{"a federation that no name can have", func(f *Facts) { f.member().Labels[v1alpha1.LabelFederation] = "prod.eu_1" },
			`error host east FederationMissing MemberCluster "east": names federation "prod.eu_1", which does not exist
error member east MembershipDiffers ` + membership + `makes the cluster member "east" of federation "prod" => kubectl federate unjoin east --member-context east`},
		{"no manager has looked", func(f *Facts) { f.member().Generation = 3 },
			`warning host east StatusStale MemberCluster "east": the manager has not updated its status yet => kubectl get pods --namespace kubefederate-system`},
		{"loopback", func(f *Facts) { f.member().Spec.Server = "https://127.0.0.1:6443" },
			`warning host east EndpointLoopback MemberCluster "east": its endpoint https://127.0.0.1:6443 is a loopback address, where the host reaches itself => ` + join + ` --member-server URL`},
		{"loopback, as the host", func(f *Facts) {
			f.member().Spec.Server, f.Host.Server = "https://127.0.0.1:6443", "https://localhost:1"
		}, ""},

		{"no credential", func(f *Facts) { f.Host.Credentials = map[v1alpha1.MemberName]bool{} },
			`error host east CredentialMissing ` + at + `does not exist: no join has finished yet => ` + join},
		{"a credential that was deleted", func(f *Facts) {
			f.Host.Credentials = map[v1alpha1.MemberName]bool{}
			f.member().Annotations = map[string]string{v1alpha1.AnnotationJoinedBy: "ann 2026-11-22T12:00:00Z"}
		}, `error host east CredentialMissing ` + at + `does not exist: its Secret was deleted => ` + join},
		{"no credential, by the manager's word", func(f *Facts) {
			f.Host.Credentials = nil
			f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing)
		}, `error host east CredentialMissing ` + at + `does not exist: no join has finished yet => ` + join},
		{"a credential that came since the manager looked", func(f *Facts) { f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialMissing) }, ""},
		{"ended", func(f *Facts) { f.Now = now.Add(time.Hour) },
			`error host east CredentialExpired ` + at + `expired at 2026-11-23T13:00:00Z => ` + rotate},
		{"ends soon", func(f *Facts) { f.valid(metav1.ConditionTrue, v1alpha1.ReasonCredentialExpiring) },
			`warning host east CredentialExpiring ` + at + `expires at 2026-11-23T13:00:00Z => ` + rotate},
		{"is not renewed", func(f *Facts) { f.valid(metav1.ConditionTrue, v1alpha1.ReasonCredentialRenewalFailed) },
			`warning host east CredentialRenewalFailed ` + at + `could not be renewed, and expires at 2026-11-23T13:00:00Z => ` + rotate},
		{"may not be renewed", func(f *Facts) {
			f.valid(metav1.ConditionTrue, v1alpha1.ReasonCredentialRenewalFailed)
			meta.SetStatusCondition(&f.Host.Members[0].Status.Conditions, metav1.Condition{
				Type: v1alpha1.ConditionGranted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRenewalForbidden})
		},
			`warning host east CredentialRenewalFailed ` + at + `could not be renewed, and expires at 2026-11-23T13:00:00Z => ` + join},
		{"another's", func(f *Facts) { f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialNotOwned) },
			`error host east CredentialNotOwned ` + at + `was made for another member or federation, or its label kubefederate.io/discovered does not fit the member => ` + rotate},
		{"refused by the member", func(f *Facts) {
			f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialRevoked)
			f.Observations = f.Observations[1:]
		}, `error host east CredentialRevoked ` + at + `is refused by the member => ` + join},
		{"refused, and tried again since", func(f *Facts) { f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialRevoked) }, ""},
		{"leaving for long", func(f *Facts) {
			f.member().DeletionTimestamp, f.member().Finalizers = &metav1.Time{Time: now.Add(-time.Hour)}, []string{"example.com/stay"}
		}, `warning host east LeavingLong MemberCluster "east": is being deleted since 2026-11-23T11:00:00Z, and waits for its finalizers: example.com/stay => kubectl get memberclusters.kubefederate.io east`},
		{"leaving", func(f *Facts) { f.member().DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Minute)} }, ""},
		{"malformed", func(f *Facts) { f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialMalformed) },
			`error host east CredentialMalformed ` + at + `is not a kubeconfig that the host accepts => ` + rotate},
		{"elsewhere", func(f *Facts) { f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialMismatch) },
			`error host east CredentialMismatch ` + at + `leads elsewhere than its MemberCluster => ` + join + ` --reset-endpoint --trust-context`},
		{"endless", func(f *Facts) { f.valid(metav1.ConditionFalse, v1alpha1.ReasonCredentialWithoutExpiry) },
			`error host east CredentialWithoutExpiry ` + at + `does not expire => ` + rotate},
		{"a reason of a newer manager", func(f *Facts) {
			f.valid(metav1.ConditionFalse, "Moonstruck")
			f.member().Status.Conditions[0].Message = "full moon"
		}, `error host east Moonstruck ` + at + `full moon => ` + rotate},
		{"orphans, sorted", func(f *Facts) { f.Host.Credentials["z"], f.Host.Credentials["b"] = true, true },
			`error host b CredentialOrphan Secret "kubefederate-credentials/b": is a credential without a member => kubectl delete secrets b --namespace kubefederate-credentials
error host z CredentialOrphan Secret "kubefederate-credentials/z": is a credential without a member => kubectl delete secrets z --namespace kubefederate-credentials`},

		{"refused", func(f *Facts) {
			f.Observations[0] = Observation{Credential: "east", Err: failing(cluster.FaultUnauthorized, errors.New("x"))}
		},
			`error member east Unauthorized endpoint "https://east.example.com": does not accept the stored credential (401) => ` + join},
		{"refused where nothing is verified, and a context that leads elsewhere", func(f *Facts) {
			f.Observations[0] = Observation{Credential: "east", Err: failing(cluster.FaultUnauthorized, errors.New("x"))}
			f.Observations[1].Server = "https://new.example.com"
			f.Host.Members[0].Spec.InsecureSkipTLSVerify = true
		}, `error member east Unauthorized endpoint "https://east.example.com": does not accept the stored credential (401); its certificate is not verified, ` +
			`so another cluster may answer there, and context "east" reaches this one at https://new.example.com => ` + join + ` --reset-endpoint`},
		{"certificate", func(f *Facts) {
			f.Observations[0] = Observation{Credential: "east", Err: failing(cluster.FaultCertificate, errors.New("unknown authority"))}
		}, `error member east CertificateInvalid endpoint "https://east.example.com": its certificate does not verify: unknown authority => ` + join + ` --reset-endpoint`},
		{"certificate, and no context", func(f *Facts) {
			f.Observations = []Observation{{Credential: "east", Err: failing(cluster.FaultCertificate, errors.New("unknown authority"))}}
		}, `error member east CertificateInvalid endpoint "https://east.example.com": its certificate does not verify: unknown authority => ` +
			`kubectl federate join east --federation prod --member-context CONTEXT --member-certificate-authority FILE`},
		{"certificate, and a context that leads elsewhere", func(f *Facts) {
			f.Observations[0] = Observation{Credential: "east", Err: failing(cluster.FaultCertificate, errors.New("unknown authority"))}
			f.Observations[1].Server = "https://new.example.com"
		}, `error member east CertificateInvalid endpoint "https://east.example.com": its certificate does not verify: unknown authority; ` +
			`context "east" reaches the cluster at https://new.example.com => ` + join + ` --member-server https://new.example.com`},
		{"unreachable", func(f *Facts) {
			f.Observations[0] = Observation{Credential: "east", Err: failing(cluster.FaultUnreachable, &url.Error{Err: &net.OpError{Op: "dial", Err: errors.New("refused")}})}
		}, `warning member east Unreachable endpoint "https://east.example.com": could not be reached from here: dial: refused`},
		{"another cluster", func(f *Facts) { f.Observations[0].State.ID = "other" },
			`error member east IdentityMismatch endpoint "https://east.example.com": leads to another cluster (ID other, the member has ` + memberID + `) => ` + join + ` --member-server URL`},

		{"a credential without rights", func(f *Facts) {
			f.Observations[0] = Observation{Credential: "east", Err: denied(cluster.IdentityNamespace)}
		}, `error member east Forbidden endpoint "https://east.example.com": does not let the stored credential read Namespace "kube-system" (403) => ` + join},
		{"a membership record that the stored credential may not read", func(f *Facts) {
			f.Observations = f.Observations[:1]
			f.Observations[0].State.Membership = nil
			f.Observations[0].State.Denied.Add(denied(member.MembershipRef()))
		}, `warning member east NotChecked ` + membership + `could not be checked: the host's stored credential may not read it => kubectl federate check --member-contexts CONTEXT`},
		{"expired, and no membership record", func(f *Facts) {
			f.Now = now.Add(time.Hour)
			f.context().Membership = nil
		}, `error host east CredentialExpired ` + at + `expired at 2026-11-23T13:00:00Z => ` + join + `
error member east MembershipMissing ` + membership + `does not exist: without it another host could join this cluster => ` + join},
		{"expired, and no account", func(f *Facts) {
			f.Now = now.Add(time.Hour)
			delete(f.context().Objects, member.ManagerAccountRef())
		}, `error host east CredentialExpired ` + at + `expired at 2026-11-23T13:00:00Z => ` + join + `
error member east GrantMissing ServiceAccount "kubefederate-member/kubefederate-manager": does not exist, and the host's credential needs it => ` + join},
		{"expired, and an earlier member's record", func(f *Facts) {
			f.Now = now.Add(time.Hour)
			f.context().Membership.MemberUID = "uid-0"
		}, `error host east CredentialExpired ` + at + `expired at 2026-11-23T13:00:00Z => ` + join + `
error member east MembershipDiffers ` + membership + `is that of an earlier member of this name => ` + join},
		{"expired, and a record that may not be read", func(f *Facts) {
			f.Now = now.Add(time.Hour)
			f.context().Membership = nil
			f.context().Denied.Add(denied(member.MembershipRef()))
		}, `error host east CredentialExpired ` + at + `expired at 2026-11-23T13:00:00Z => ` + rotate + `
warning member east NotChecked ` + membership + `could not be checked: you are not allowed to read it`},
		{"no membership record", func(f *Facts) { f.context().Membership = nil },
			`error member east MembershipMissing ` + membership + `does not exist: without it another host could join this cluster => ` + join},
		{"no membership record, seen with the credential alone", func(f *Facts) {
			f.Observations = f.Observations[:1]
			f.Observations[0].State.Membership = nil
		}, `error member east MembershipMissing ` + membership + `does not exist: without it another host could join this cluster => kubectl federate join east --federation prod --member-context CONTEXT`},
		{"a membership record that may not be read", func(f *Facts) {
			f.context().Membership = nil
			f.context().Denied.Add(denied(member.MembershipRef()))
		}, `warning member east NotChecked ` + membership + `could not be checked: you are not allowed to read it`},
		{"another host's", func(f *Facts) { f.context().Membership.HostID = "elsewhere" },
			`error member east MembershipOfAnother ` + membership + `makes the cluster member "east" of federation "prod" of another host (cluster ID elsewhere) => kubectl federate unjoin east --force`},
		{"another name", func(f *Facts) { f.context().Membership.Member = "west" },
			`error member east MembershipDiffers ` + membership + `makes the cluster member "west" of federation "prod" => kubectl federate unjoin west --member-context east`},
		{"an earlier member's", func(f *Facts) { f.context().Membership.MemberUID = "uid-0" },
			`error member east MembershipDiffers ` + membership + `is that of an earlier member of this name => ` + join},
		{"grants", func(f *Facts) {
			delete(f.context().Objects, member.ManagerAccountRef())
			f.context().Objects[member.Grants{}.Bindings()[0].Ref].Object["subjects"] = nil
		}, `error member east GrantMissing ServiceAccount "kubefederate-member/kubefederate-manager": does not exist, and the host's credential needs it => ` + join + `
error member east GrantChanged ClusterRoleBinding "kubefederate-member:manager": differs from what join creates => ` + join},
		{"the consumer's", func(f *Facts) { f.Host.Federations[0].Spec.Access = &v1alpha1.Access{ClusterRole: "view"} },
			`error member east GrantMissing ServiceAccount "kubefederate-member/kubefederate-consumer": does not exist, and the host's credential needs it => ` + join + `
error member east GrantMissing ClusterRoleBinding "kubefederate-member:consumer": does not exist, and the host's credential needs it => ` + join},
		{"the consumer's, whose access was removed", func(f *Facts) {
			for _, o := range append(member.Grants{AccessRole: "view"}.Accounts(), member.Grants{AccessRole: "view"}.Bindings()...) {
				f.context().Objects[o.Ref] = o.Manifest
			}
		}, `error member east GrantChanged ClusterRoleBinding "kubefederate-member:consumer": exists, and the federation gives no access => ` + join + `
error member east GrantChanged ServiceAccount "kubefederate-member/kubefederate-consumer": exists, and the federation gives no access => ` + join},
		{"the consumer's, with less access", func(f *Facts) {
			f.Host.Federations[0].Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
			for _, o := range append(member.Grants{AccessRole: "edit"}.Accounts(), member.Grants{AccessRole: "edit"}.Bindings()...) {
				f.context().Objects[o.Ref] = o.Manifest
			}
		}, `error member east GrantChanged ClusterRoleBinding "kubefederate-member:consumer": differs from what join creates => ` + join},
		{"a rotation that did not end", func(f *Facts) { f.context().Objects[refs[1]] = member.BindingManifest(refs[1]).Manifest },
			`warning member east RotationUnfinished Secret "kubefederate-member/kubefederate-manager-binding-2": exists as well as Secret "kubefederate-member/kubefederate-manager-binding": a rotation was interrupted, and the old credential may still work => ` + rotate},
		{"a rotation that did", func(f *Facts) {
			delete(f.context().Objects, refs[0])
			f.context().Objects[refs[1]] = member.BindingManifest(refs[1]).Manifest
		}, ""},
		{"no properties", func(f *Facts) {
			delete(f.context().Objects, member.PropertyRef(v1alpha1.PropertyClusterID))
			delete(f.context().Objects, member.PropertyRef(v1alpha1.PropertyClusterSet))
		}, `warning member east PropertyMissing ClusterProperty "cluster.clusterset.k8s.io": does not exist; its value should be "` + memberID + `" => ` + join + `
warning member east PropertyMissing ClusterProperty "clusterset.k8s.io": does not exist; its value should be "prod" => ` + join},
		{"no About API", func(f *Facts) {
			for _, s := range f.Observations {
				s.State.Properties = false
				delete(s.State.Objects, member.PropertyRef(v1alpha1.PropertyClusterSet))
			}
			g := member.Grants{}
			for _, o := range g.BaseObjects() {
				f.context().Objects[o.Ref] = o.Manifest
			}
		}, ""},
		{"pending: not in the set yet", func(f *Facts) {
			f.member().Status.Conditions[1].Status = metav1.ConditionFalse
			delete(f.context().Objects, member.PropertyRef(v1alpha1.PropertyClusterSet))
		}, ""},
		{"another set, managed", func(f *Facts) {
			f.context().Objects[member.PropertyRef(v1alpha1.PropertyClusterSet)].Object["spec"] = map[string]any{"value": "test"}
		}, `error member east PropertyDiffers ClusterProperty "clusterset.k8s.io": is "test", and should be "prod" => ` + join},
		{"another set, not managed", func(f *Facts) {
			o := f.context().Objects[member.PropertyRef(v1alpha1.PropertyClusterSet)]
			o.Object["spec"] = map[string]any{"value": "test"}
			o.SetLabels(nil)
		}, `error member east PropertyDiffers ClusterProperty "clusterset.k8s.io": is "test", and should be "prod", and was not set by kubectl federate => kubectl delete clusterproperties.about.k8s.io clusterset.k8s.io --context east`},
		{"no federation label", func(f *Facts) { f.context().JoinRequest = member.JoinRequest{} },
			`info member east LabelMissing Namespace "kube-system": does not have the label kubefederate.io/federation=prod, by which discovery would find the member again => kubectl federate label --member-context east --federation prod`},
		{"another federation label", func(f *Facts) { f.context().JoinRequest.Federation = "test" },
			`warning member east LabelDiffers Namespace "kube-system": names federation "test", but the cluster is a member of "prod" => kubectl federate label --member-context east --federation prod --overwrite`},

		{"a context that leads nowhere", func(f *Facts) {
			f.Observations = append(f.Observations, Observation{Context: "far", Err: failing(cluster.FaultUnreachable, errors.New("refused"))})
		}, `warning member far ContextUnreachable context "far": could not be read: refused`},
		{"a context without access", func(f *Facts) {
			f.Observations = append(f.Observations, Observation{Context: "far", Err: failing(cluster.FaultUnauthorized, errors.New("x"))})
		}, `warning member far ContextWithoutAccess context "far": its cluster does not accept your credential (401)`},
		{"a context without rights", func(f *Facts) {
			f.Observations = append(f.Observations, Observation{Context: "far", Err: denied(cluster.IdentityNamespace)})
		}, `warning member far ContextWithoutAccess context "far": could not be checked: things "x" is forbidden: no`},
		{"a second context of one cluster", func(f *Facts) {
			f.Observations = append(f.Observations, Observation{Context: "other", State: &member.State{ID: memberID}})
		}, ""},
		{"left behind", func(f *Facts) { f.lost() },
			`error member east Leftover ` + membership + `makes the cluster member "east" of federation "prod", which this host does not have => kubectl federate unjoin east --member-context east`},
		{"left behind without a membership record", func(f *Facts) {
			f.lost()
			f.Observations[0].State.Membership, f.Observations[0].State.JoinRequest = nil, member.JoinRequest{}
		}, `error member east Leftover ClusterRoleBinding "kubefederate-member:manager": is left over from an earlier membership => kubectl federate unjoin NAME --member-context east`},
		{"mesh", func(f *Facts) { // TestFieldCaseMesh has what keeps a namespace
			f.lost()
			f.Observations[0].State = &member.State{ID: memberID, Namespace: member.NamespaceManifest()}
		}, `warning member east Leftover Namespace "kubefederate-member": is left over from an earlier membership: it held objects that kubectl federate did not create, ` +
			`its contents could not be read, or the caller was not allowed to delete it => kubectl delete namespaces kubefederate-member --context east`},
		{"mesh, with the namespace of a label", func(f *Facts) {
			f.lost()
			f.Observations[0].State = &member.State{ID: memberID, Namespace: member.NamespaceManifest(), JoinRequest: member.JoinRequest{Namespace: v1alpha1.MemberNamespace}}
		}, ""},
		{"mesh, with a namespace of others", func(f *Facts) {
			f.lost()
			f.Observations[0].State = &member.State{ID: memberID, Namespace: cluster.Namespaces.New("", v1alpha1.MemberNamespace)}
		}, ""},
		{"a member of another host", func(f *Facts) {
			f.lost()
			f.Observations[0].State.Membership.HostID = "elsewhere"
		}, `info member east MemberOfOtherHost ` + membership + `makes the cluster member "east" of federation "prod" of another host (cluster ID elsewhere)`},
		{"a federation label", func(f *Facts) {
			f.lost()
			f.Observations[0].State = &member.State{ID: memberID, JoinRequest: member.JoinRequest{Federation: "prod", Namespace: "kube-system"}}
		}, `info member east JoinPending Namespace "kube-system": asks to join federation "prod" => kubectl federate discover --federation prod --join`},
		{"a federation label that is over", func(f *Facts) {
			f.lost()
			f.Observations[0].State = &member.State{ID: memberID, JoinRequest: member.JoinRequest{Federation: "prod", Namespace: "kube-system", Left: "prod"}}
		}, ""},
		{"a federation label for nothing", func(f *Facts) {
			f.lost()
			f.Observations[0].State = &member.State{ID: memberID, JoinRequest: member.JoinRequest{Federation: "test", Namespace: "kube-system"}}
		}, `warning member east LabelDangling Namespace "kube-system": names federation "test", which does not exist => kubectl federate label --member-context east --remove`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := well()
			tt.fault(f)
			if got := lines(Judge(*f)); got != tt.want {
				t.Errorf("found:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

// lines are findings as text.
func lines(found []Finding) string {
	var lines []string
	for _, x := range found {
		line := fmt.Sprintf("%s %s %s %s ", x.Severity, x.Side, cmp.Or(x.Member, "-"), x.Code)
		if x.Object != "" {
			line += x.Object + ": "
		}
		line += x.Cause
		if x.Remedy != "" {
			line += " => " + x.Remedy
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
