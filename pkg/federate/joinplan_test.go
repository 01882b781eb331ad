package federate

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const (
	hostID   = "aaaaaaaa-0000-4000-8000-000000000001"
	memberID = "bbbbbbbb-0000-4000-8000-000000000002"
	otherID  = "cccccccc-0000-4000-8000-000000000003"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// facts are a host and a member that a join succeeds on; change states a test's one difference.
func facts(change func(*joinFacts)) joinFacts {
	f := joinFacts{
		Host:            host.State{ID: hostID, User: "ann", Federation: &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}},
		Member:          member.State{ID: memberID, Version: "v1.36.3", Policies: true, Objects: map[cluster.Ref]*unstructured.Unstructured{}},
		HostServer:      "https://host.example.com",
		Endpoint:        endpoint.Endpoint{Server: "https://east.example.com", CABundle: ca},
		Caller:          endpoint.Endpoint{Server: "https://east.example.com", CABundle: ca},
		CanCreateEvents: true,
		Now:             now,
		Attempt:         attempt{id: "run", at: now},
	}
	if change != nil {
		change(&f)
	}
	return f
}

func joinOptions(change func(*JoinOptions)) JoinOptions {
	o := JoinOptions{Name: "east", Federation: "prod", Cluster: command.Cluster{Context: "ctx-east"}}
	if change != nil {
		change(&o)
	}
	return o
}

// joined is what a cluster looks like after a join with these facts: everything that the plan writes is
// there.
func joined(f *joinFacts) {
	plan, against := planJoin(*f, joinOptions(nil))
	if len(against) > 0 {
		panic(against)
	}
	f.Host.Member = plan.creates.DeepCopy()
	f.Host.Member.UID = "uid-east"
	f.Host.Member.Annotations = map[string]string{v1alpha1.AnnotationJoinedBy: "ann 2026-11-23T09:00:00Z"}
	f.Member.Namespace = member.NamespaceManifest()
	k := plan.wanted()
	k.MemberUID = "uid-east"
	k.UID, k.ResourceVersion = "uid-membership", "7"
	f.Member.Membership = &k
	for _, s := range plan.Steps {
		if s.Side == cluster.Member && s.Manifest != nil && s.Object != member.NamespaceRef() && s.Object != member.MembershipRef() {
			live := s.Manifest.DeepCopy()
			live.SetUID("uid-live")
			f.Member.Objects[s.Object] = live
		}
	}
}

func texts(findings []Finding) string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

func lines(s string) string {
	var out []string
	for l := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
		out = append(out, strings.TrimSpace(l))
	}
	return strings.Join(out, "\n")
}

func compare(t *testing.T, what, got, want string) {
	t.Helper()
	if lines(got) != lines(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, lines(got), lines(want))
	}
}

// freshPlan is the plan for a cluster that never joined, and samePlan that for one that joined and is as it was then.
const (
	freshPlan = `
host   create    MemberCluster "east"
member create    Namespace "kubefederate-member"
member create    ConfigMap "kubefederate-member/membership" (planned)
member create    ServiceAccount "kubefederate-member/kubefederate-manager" (planned)
member create    ClusterRole "kubefederate-member:manager"
member create    Role "kubefederate-member/kubefederate-manager" (planned)
member create    Secret "kubefederate-member/kubefederate-manager-binding" (planned)
member create    ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member create    ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member create    ClusterRoleBinding "kubefederate-member:manager"
member create    RoleBinding "kubefederate-member/kubefederate-manager" (planned)
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (planned) (a token for 90d, bound to Secret "kubefederate-member/kubefederate-manager-binding")
host   store     Secret "kubefederate-credentials/east"
member try       (the stored credential at https://east.example.com)
host   update    MemberCluster "east" (who joined it, and when)
host   create    Event "default/east"`
	samePlan = `
host   unchanged MemberCluster "east"
member unchanged Namespace "kubefederate-member"
member unchanged ConfigMap "kubefederate-member/membership"
member unchanged ServiceAccount "kubefederate-member/kubefederate-manager"
member unchanged ClusterRole "kubefederate-member:manager"
member unchanged Role "kubefederate-member/kubefederate-manager"
member unchanged Secret "kubefederate-member/kubefederate-manager-binding"
member unchanged ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member unchanged ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member unchanged ClusterRoleBinding "kubefederate-member:manager"
member unchanged RoleBinding "kubefederate-member/kubefederate-manager"
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 90d, bound to Secret "kubefederate-member/kubefederate-manager-binding")
host   store     Secret "kubefederate-credentials/east"
member try       (the stored credential at https://east.example.com)`
)

// edited is a plan in which, of each pair, the first text is replaced by the second.
func edited(plan string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(plan, pairs[i]) != 1 {
			panic(pairs[i])
		}
		plan = strings.Replace(plan, pairs[i], pairs[i+1], 1)
	}
	return plan
}

func TestPlanJoinSteps(t *testing.T) {
	t.Parallel()
	const keep = "member keep      ClusterProperty \"cluster.clusterset.k8s.io\" (not made by kubectl federate, with the same content)\n"
	const withoutAccess = `member delete    ClusterRoleBinding "kubefederate-member:consumer" (the federation gives no access)
member delete    ServiceAccount "kubefederate-member/kubefederate-consumer" (the federation gives no access)
`
	for _, tt := range []struct {
		name    string
		facts   func(*joinFacts)
		options func(*JoinOptions)
		already bool
		notes   string
		want    string
	}{
		{"fresh cluster", nil, nil, false, "", freshPlan},
		{"access, About API, a namespace that was there, no right to write Events", func(f *joinFacts) {
			f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
			f.Member.Properties = true
			f.Member.Namespace = cluster.Namespaces.New("", v1alpha1.MemberNamespace)
			f.CanCreateEvents = false
		}, func(o *JoinOptions) { o.TokenLifetime = 36 * time.Hour }, false, "", `
host   create    MemberCluster "east"
member unchanged Namespace "kubefederate-member"
member create    ConfigMap "kubefederate-member/membership"
member create    ServiceAccount "kubefederate-member/kubefederate-manager"
member create    ServiceAccount "kubefederate-member/kubefederate-consumer"
member create    ClusterRole "kubefederate-member:manager"
member create    Role "kubefederate-member/kubefederate-manager"
member create    Secret "kubefederate-member/kubefederate-manager-binding"
member create    ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member create    ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member create    ClusterProperty "cluster.clusterset.k8s.io"
member create    ClusterRoleBinding "kubefederate-member:manager"
member create    RoleBinding "kubefederate-member/kubefederate-manager"
member create    ClusterRoleBinding "kubefederate-member:consumer"
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 36h, bound to Secret "kubefederate-member/kubefederate-manager-binding")
host   store     Secret "kubefederate-credentials/east"
member create    ClusterProperty "clusterset.k8s.io"
member try       (the stored credential at https://east.example.com)
host   update    MemberCluster "east" (who joined it, and when)`},
		{"Manual acceptance does not put the cluster into the set", func(f *joinFacts) {
			joined(f)
			f.Member.Properties = true
			f.Host.Federation.Spec.Acceptance = v1alpha1.AcceptManual
			f.Member.Objects[member.PropertyRef(v1alpha1.PropertyClusterID)] = member.Property(v1alpha1.PropertyClusterID, memberID, "prod").Manifest
			role := f.Member.Objects[cluster.Ref{Resource: cluster.ClusterRoles, Name: member.ManagerRole}]
			role.Object["rules"] = member.Grants{Properties: true}.BaseObjects()[1].Manifest.Object["rules"]
		}, nil, true,
			`host: Federation "prod": accepts members by hand, so this one stays Pending: accept it, which takes the verb approve: kubectl federate approve east`, edited(samePlan,
				"member unchanged ClusterRoleBinding", "member unchanged ClusterProperty \"cluster.clusterset.k8s.io\"\nmember unchanged ClusterRoleBinding")},
		{"joined already", joined, nil, true, "", samePlan},
		{"joined, and since then everything differs a little", func(f *joinFacts) {
			f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
			joined(f)
			f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "edit"}
			f.Endpoint.Server = "https://new.example.com"
			f.Endpoint.CABundle = nil
			f.Member.Membership.MemberUID = "uid-before"
			delete(f.Member.Objects, member.BindingRefs()[0])
			f.Member.Objects[cluster.Ref{Resource: cluster.ClusterRoles, Name: member.ManagerRole}].Object["rules"] = []any{}
		}, func(o *JoinOptions) { o.Labels = map[string]string{"team": "blue"} }, false,
			`host: MemberCluster "east": the stored endpoint changes: spec.server from "https://east.example.com" to "https://new.example.com", spec.caBundle`, `
host   update    MemberCluster "east" (caBundle, server, label team)
member unchanged Namespace "kubefederate-member"
member update    ConfigMap "kubefederate-member/membership" (left by an earlier membership of this name)
member unchanged ServiceAccount "kubefederate-member/kubefederate-manager"
member unchanged ServiceAccount "kubefederate-member/kubefederate-consumer"
member update    ClusterRole "kubefederate-member:manager"
member unchanged Role "kubefederate-member/kubefederate-manager"
member create    Secret "kubefederate-member/kubefederate-manager-binding"
member unchanged ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member unchanged ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member unchanged ClusterRoleBinding "kubefederate-member:manager"
member unchanged RoleBinding "kubefederate-member/kubefederate-manager"
member replace   ClusterRoleBinding "kubefederate-member:consumer"
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 90d, bound to Secret "kubefederate-member/kubefederate-manager-binding")
host   store     Secret "kubefederate-credentials/east"
member try       (the stored credential at https://new.example.com)
host   update    MemberCluster "east" (who joined it, and when)
host   create    Event "default/east"`},
		{"joined, and the federation gives access no more", func(f *joinFacts) {
			f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
			joined(f)
			f.Host.Federation.Spec.Access = nil
		}, nil, false, "", edited(samePlan, "member request", withoutAccess+"member request")},
		{"written by hand, now adopted; a property of another client has the same value", func(f *joinFacts) {
			f.Host.Member = &v1alpha1.MemberCluster{
				ObjectMeta: metav1.ObjectMeta{Name: "east", UID: "uid-east", Labels: map[string]string{v1alpha1.LabelFederation: "prod"}},
				Spec:       v1alpha1.MemberClusterSpec{ClusterID: memberID, Server: "https://east.example.com", CABundle: ca},
			}
			f.Member.Properties = true
			theirs := member.Property(v1alpha1.PropertyClusterID, memberID, "").Manifest
			theirs.SetLabels(nil)
			f.Member.Objects[member.PropertyRef(v1alpha1.PropertyClusterID)] = theirs
		}, nil, false, "", edited(freshPlan,
			`create    MemberCluster "east"`, `update    MemberCluster "east" (joinedWith)`,
			"member create    ClusterRoleBinding", keep+"member create    ClusterRoleBinding",
			"member try", "member create    ClusterProperty \"clusterset.k8s.io\"\nmember try")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			plan, against := planJoin(facts(tt.facts), joinOptions(tt.options))
			compare(t, "against", texts(against), "")
			compare(t, "plan", plan.Text(), tt.want)
			compare(t, "notes", texts(plan.notes), tt.notes)
			if plan.Already() != tt.already {
				t.Errorf("Already() = %v, want %v", plan.Already(), tt.already)
			}
		})
	}
}

func TestPlanJoinLabels(t *testing.T) {
	t.Parallel()
	plan, _ := planJoin(facts(func(f *joinFacts) {
		f.Member.Topology = member.Topology{Regions: []string{"us-east-1"}, Region: "us-east-1", Zones: []string{"us-east-1a", "us-east-1b"}, Nodes: 2}
	}), joinOptions(func(o *JoinOptions) { o.Labels = map[string]string{"team": "blue"} }))
	want := map[string]string{v1alpha1.LabelFederation: "prod", "team": "blue", "topology.kubernetes.io/region": "us-east-1"}
	if got := plan.creates.Labels; len(got) != len(want) || !cluster.Covers(toAnyMap(got), toAnyMap(want)) {
		t.Errorf("labels %v, want %v", got, want)
	}
	if got := plan.creates.Spec.JoinedWith; got.KubernetesVersion != "v1.36.3" || len(got.Zones) != 2 {
		t.Errorf("joinedWith %+v", got)
	}
	plan, _ = planJoin(facts(func(f *joinFacts) { f.Member.Topology = member.Topology{Region: "us-east-1"} }),
		joinOptions(func(o *JoinOptions) { o.Labels = map[string]string{"topology.kubernetes.io/region": "eu"} }))
	if got := plan.creates.Labels["topology.kubernetes.io/region"]; got != "eu" {
		t.Errorf("the user's region became %q", got)
	}
}

func toAnyMap(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func TestPlanJoinRefuses(t *testing.T) {
	t.Parallel()
	membership := func(change func(*member.Membership)) func(*joinFacts) {
		return func(f *joinFacts) {
			joined(f)
			change(f.Member.Membership)
		}
	}
	for _, tt := range []struct {
		name    string
		facts   func(*joinFacts)
		options func(*JoinOptions)
		want    string
	}{
		{"rights on both sides, all at once", func(f *joinFacts) {
			target := host.Target{Member: "east", Federation: "prod"}
			f.HostMissing = missingOf(cluster.Host, target.JoinRights(), target.JoinRights())
			for _, ref := range []cluster.Ref{member.NodesRef, cluster.IdentityNamespace, member.PropertyRef(v1alpha1.PropertyClusterID)} {
				f.Member.Denied.Add(&cluster.Error{Side: cluster.Member, Verb: "get", Object: ref, Fault: cluster.FaultForbidden, Err: errors.New("no")})
			}
			f.MemberLacks = slices.Concat(member.NamespaceRef().Rights("create", "delete"), member.MembershipRef().Rights("create", "patch"),
				cluster.TokenRef(member.ManagerAccountRef()).Rights("create"), member.ManagerAccountRef().Rights("patch"))
		}, nil, `
host: you are not allowed to get namespaces "kube-system"
host: you are not allowed to get federations.kubefederate.io "prod"
host: you are not allowed to join federations.kubefederate.io "prod": ask an administrator of the host for the role joiner of the federation
host: you are not allowed to get memberclusters.kubefederate.io "east"
host: you are not allowed to create memberclusters.kubefederate.io
host: you are not allowed to patch memberclusters.kubefederate.io "east"
host: you are not allowed to create secrets in namespace "kubefederate-credentials"
host: you are not allowed to update secrets "east" in namespace "kubefederate-credentials"
member: you are not allowed to get namespaces "kube-system"
member: you are not allowed to list nodes
member: you are not allowed to create namespaces
member: you are not allowed to create configmaps in namespace "kubefederate-member"
member: you are not allowed to patch serviceaccounts "kubefederate-manager" in namespace "kubefederate-member"
member: you are not allowed to create serviceaccounts/token "kubefederate-manager" in namespace "kubefederate-member"`},
		{"another host's member", membership(func(k *member.Membership) { k.HostID, k.Federation, k.Member = otherID, "lab", "their-east" }), nil,
			`member: ConfigMap "kubefederate-member/membership": this cluster is member "their-east" of federation "lab" of another host ` +
				`(cluster ID cccccccc-0000-4000-8000-000000000003, this one has aaaaaaaa-0000-4000-8000-000000000001): unjoin it there first: ` +
				`kubectl federate unjoin their-east --member-context ctx-east --context OTHER-HOST; or if that host is gone for good, take it over: ` +
				`kubectl federate join east --federation prod --member-context ctx-east --take-over`},
		{"member of another federation of this host", membership(func(k *member.Membership) { k.Federation, k.Member = "lab", "lab-east" }), nil,
			`member: ConfigMap "kubefederate-member/membership": this cluster is member "lab-east" of federation "lab" of this host: ` +
				`unjoin it first: kubectl federate unjoin lab-east --member-context ctx-east`},
		{"the name is another cluster's", func(f *joinFacts) {
			joined(f)
			f.Member.Membership = nil
			f.Host.Member.Spec.ClusterID = otherID
		}, nil,
			`host: MemberCluster "east": the name is taken by another cluster (ID cccccccc-0000-4000-8000-000000000003, this one has bbbbbbbb-0000-4000-8000-000000000002): ` +
				`join under another name, or unjoin that one first: kubectl federate unjoin east`},
		{"the member is in another federation", func(f *joinFacts) {
			joined(f)
			f.Member.Membership = nil
			f.Host.Member.Labels[v1alpha1.LabelFederation] = "lab"
		}, func(o *JoinOptions) { o.Cluster.Context = "it's mine" },
			`host: MemberCluster "east": this cluster is in federation "lab": move it: kubectl federate move east --to prod --member-context 'it'\''s mine'`},
		{"objects of others under the names that join uses", func(f *joinFacts) {
			f.Member.Namespace = cluster.Namespaces.New("", v1alpha1.MemberNamespace)
			f.Member.Objects[member.ManagerAccountRef()] = cluster.ServiceAccounts.New(v1alpha1.MemberNamespace, v1alpha1.ManagerAccount)
			f.Member.Properties = true
			theirs := member.Property(v1alpha1.PropertyClusterSet, "fleet-of-others", "").Manifest
			theirs.SetLabels(nil)
			f.Member.Objects[member.PropertyRef(v1alpha1.PropertyClusterSet)] = theirs
		}, nil, `
member: ServiceAccount "kubefederate-member/kubefederate-manager": already exists and was not created by kubectl federate (it lacks the label app.kubernetes.io/managed-by=kubectl-federate): find out who uses it, then delete or rename it
member: ClusterProperty "clusterset.k8s.io": has the value "fleet-of-others", which kubectl federate did not set (this join would set "prod"): the cluster belongs to another ClusterSet: remove it from that set first`},
		{"an old cluster", func(f *joinFacts) { f.Member.Version = "v1.23.17-eks-0a21954" }, nil,
			`member: runs Kubernetes v1.23.17-eks-0a21954; members need at least 1.24: upgrade it first`},
		{"a certificate that is not verified", func(f *joinFacts) { f.Endpoint.InsecureSkipTLSVerify, f.Endpoint.CABundle = true, nil }, nil,
			`member: endpoint "https://east.example.com": the context does not verify the certificate (insecure-skip-tls-verify), which the federation does not allow: ` +
				`give the CA with --member-certificate-authority, or let an administrator set spec.allowInsecureTLS`},
		{"an endpoint with a password in it, which is not repeated", func(f *joinFacts) { f.Endpoint.Server = "https://ann:secret@east.example.com" }, nil,
			`member: spec.server: it must not hold a user: everyone who may get members reads it: give the member's URL with --member-server`},
		{"a proxy of a kind that is not known", func(f *joinFacts) { f.Endpoint.ProxyURL = "ftp://proxy.example.com" }, nil,
			`member: spec.proxyURL: the scheme must be http, https or socks5, and is "ftp": give another proxy with --member-proxy-url`},
		{"a server name that no certificate has", func(f *joinFacts) { f.Endpoint.TLSServerName = "https://east" }, nil,
			`member: spec.tlsServerName: "https://east" is neither a DNS name nor an IP address: give another name with --member-tls-server-name`},
		{"Rancher's proxy, which takes no token of the cluster's own", func(f *joinFacts) {
			f.Endpoint.Server, f.RefusesTokens = "https://rancher.example.com/k8s/clusters/c-m-k2x9wq7d", true
		}, nil,
			`member: endpoint "https://rancher.example.com/k8s/clusters/c-m-k2x9wq7d": is Rancher's proxy, which refuses tokens that the cluster itself issued (401), and no other credential is stored: ` +
				`turn on the cluster's authorized endpoint in Rancher, or give the endpoint of its own API server, with --member-server and --member-certificate-authority; ` +
				`or allow such tokens at the proxy, with a ClusterProxyConfig with enabled: true in namespace "c-m-k2x9wq7d" of Rancher's cluster`},
		{"another cluster's endpoint, which takes no token of this one", func(f *joinFacts) { f.RefusesTokens = true }, nil,
			`member: endpoint "https://east.example.com": accepts no token that this cluster issued (401): another cluster answers there, or a proxy that does not pass them on: ` +
				`give the URL of this cluster's own API server with --member-server, and its CA with --member-certificate-authority`},
		{"plain HTTP", func(f *joinFacts) { f.Endpoint.Server = "http://east.example.com" }, nil,
			`member: spec.server: the scheme must be https, and is "http": give the member's URL with --member-server`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, against := planJoin(facts(tt.facts), joinOptions(tt.options))
			compare(t, "against", texts(against), tt.want)
		})
	}
}

func TestPlanJoinNotes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		facts   func(*joinFacts)
		want    string
		options func(*JoinOptions)
	}{
		{"nothing to say", nil, "", nil},
		{"host and member are one", func(f *joinFacts) { f.Member.ID = hostID }, "member: host and member are one and the same cluster", nil},
		{"loopback, which the server reports", func(f *joinFacts) { f.Endpoint.Server = "https://127.0.0.1:6443" }, "", nil},
		{
			"loopback that only this machine reaches", func(f *joinFacts) { f.Endpoint.Server = "https://127.0.0.1:6443" },
			`member: endpoint "https://127.0.0.1:6443": is a loopback address, where the host reaches itself and not this member: give the address that the host uses with --member-server`,
			func(o *JoinOptions) { o.DryRun = cluster.DryRunClient },
		},
		{
			"loopback on both sides", func(f *joinFacts) {
				f.Endpoint.Server, f.HostServer = "https://localhost:6443", "https://[::1]:6443"
			},
			`member: endpoint "https://localhost:6443": is a loopback address; it is accepted, since the host's own endpoint is one too`,
			func(o *JoinOptions) { o.DryRun = cluster.DryRunClient },
		},
		{
			"a federation that allows unverified certificates", func(f *joinFacts) {
				f.Endpoint.InsecureSkipTLSVerify, f.Endpoint.CABundle = true, nil
				f.Host.Federation.Spec.AllowInsecureTLS = true
			},
			`member: endpoint "https://east.example.com": the certificate is not verified, which the federation allows: anyone on the network between host and member can read the credential`, nil,
		},
		{
			"a member without policies", func(f *joinFacts) { f.Member.Policies, f.Member.Version = false, "v1.29.4" },
			"member: a stolen token of the host can be exchanged for one that lives for years, since Kubernetes v1.29.4 serves no ValidatingAdmissionPolicies: rotate and unjoin end all of them", nil,
		},
		{
			"a joiner who may not read policies", func(f *joinFacts) { f.Member.PoliciesDenied = true },
			"member: a stolen token of the host can be exchanged for one that lives for years, since you are not allowed to get validatingadmissionpolicies.admissionregistration.k8s.io: rotate and unjoin end all of them", nil,
		},
		{
			"a joiner who may not write policies", func(f *joinFacts) { f.MemberLacks = member.PolicyRefs()[1].Rights("create") },
			"member: a stolen token of the host can be exchanged for one that lives for years, since you are not allowed to create validatingadmissionpolicies.admissionregistration.k8s.io: rotate and unjoin end all of them", nil,
		},
		{
			"a policy of others under that name", func(f *joinFacts) {
				ref := member.PolicyRefs()[1]
				f.Member.Objects[ref] = ref.Resource.New("", ref.Name)
			},
			`member: a stolen token of the host can be exchanged for one that lives for years, since ValidatingAdmissionPolicy "member-tokens.kubefederate.io" was not made by kubectl federate and differs from what this join would make: rotate and unjoin end all of them`, nil,
		},
		{
			"no way back", func(f *joinFacts) {
				rights := host.Target{Member: "east", Federation: "prod"}.LeaveRights()
				f.UndoMissing = missingOf(cluster.Host, rights, rights[1:])
			},
			`if the join fails halfway, not all of it can be rolled back, since you are not allowed to: host: leave federations.kubefederate.io "prod"; host: delete memberclusters.kubefederate.io "east"`, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			plan, against := planJoin(facts(tt.facts), joinOptions(tt.options))
			compare(t, "against", texts(against), "")
			compare(t, "notes", texts(plan.notes), tt.want)
		})
	}
}

var requester = command.Object{GroupResource: schema.GroupResource{Group: "cluster.x-k8s.io", Resource: "clusters"}, Namespace: "team-x", Name: "east"}

// TestPlanJoinKeepsRequester shows that a join of a member does not forget which object asked for it.
func TestPlanJoinKeepsRequester(t *testing.T) {
	t.Parallel()
	by, none := requester, command.Object{}
	for _, tt := range []struct {
		name       string
		membership func(*member.Membership)
		option     command.Object
		want       command.Object
	}{
		{"no object asked for it", nil, none, none},
		{"an object asks for it", nil, by, by},
		{"an object asked for it", func(k *member.Membership) { k.RequestedBy = by }, none, by},
		{"another object asks for it", func(k *member.Membership) { k.RequestedBy.Name = "another" }, by, by},
		{"an object asked for another membership", func(k *member.Membership) { k.RequestedBy, k.Federation = by, "lab" }, none, none},
	} {
		plan, _ := planJoin(facts(func(f *joinFacts) {
			joined(f)
			if tt.membership != nil {
				tt.membership(f.Member.Membership)
			}
		}), joinOptions(func(o *JoinOptions) { o.RequestedBy = tt.option }))
		if got := plan.wanted().RequestedBy; got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestPlanIsPure makes the same plan twice: a plan that depended on a map's order would differ in time.
func TestPlanIsPure(t *testing.T) {
	t.Parallel()
	one, _ := planJoin(facts(joined), joinOptions(nil))
	two, _ := planJoin(facts(joined), joinOptions(nil))
	if one.Text() != two.Text() {
		t.Errorf("two plans of one cluster differ:\n%s\n%s", one.Text(), two.Text())
	}
}

func TestPlanObjectsHoldNoSecret(t *testing.T) {
	t.Parallel()
	plan, _ := planJoin(facts(nil), joinOptions(nil))
	secrets := 0
	for _, o := range plan.Objects() {
		if o.GetKind() == "Secret" {
			secrets++
			if _, found := o.Object["data"]; found {
				t.Errorf("%s/%s has data", o.GetNamespace(), o.GetName())
			}
		}
	}
	if secrets != 2 {
		t.Errorf("%d Secrets in the plan, want the credential and the one that the token is bound to", secrets)
	}
}
