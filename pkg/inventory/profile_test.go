package inventory

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// member is one that is accepted and ready, after changes.
func member(changes ...func(*v1alpha1.MemberCluster)) *v1alpha1.MemberCluster {
	m := &v1alpha1.MemberCluster{}
	m.Name, m.UID = "us-east", "member-1"
	m.Labels = map[string]string{v1alpha1.LabelFederation: "prod", "example.com/team": "shop"}
	m.Spec = v1alpha1.MemberClusterSpec{ClusterID: "6b2f", Server: "https://us-east.example.com:6443", CABundle: []byte("CA")}
	m.Status.AcceptedTime = new(metav1.NewTime(now.Add(-time.Hour)))
	m.Status.Facts = &v1alpha1.Facts{Nodes: 3}
	m.Status.Facts.JoinFacts = v1alpha1.JoinFacts{KubernetesVersion: "v1.36.2", Regions: []string{"us-east-1"}, Zones: []string{"us-east-1a", "us-east-1b"}}
	set(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)(m)
	set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReachable)(m)
	for _, change := range changes {
		change(m)
	}
	return m
}

func set(kind string, status metav1.ConditionStatus, reason string) func(*v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) {
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "for an administrator"})
	}
}

// TestProfile pins a profile whole.
func TestProfile(t *testing.T) {
	t.Parallel()
	p := Profile(member(), Place{"fleet", "prod-credentials"}, nil, now)
	status, err := Status(p, "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, o := range []any{Metadata(p, "").Object, status.Object} {
		data, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got += "---\n" + string(data)
	}
	const want = `---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ClusterProfile
metadata:
  labels:
    clusterset.multicluster.x-k8s.io: prod
    multicluster.x-k8s.io/clusterset: prod
    x-k8s.io/cluster-manager: kubefederate
  name: us-east
  namespace: fleet
  ownerReferences:
  - apiVersion: kubefederate.io/v1alpha1
    kind: MemberCluster
    name: us-east
    uid: member-1
spec:
  clusterManager:
    name: kubefederate
  displayName: us-east
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ClusterProfile
metadata:
  name: us-east
  namespace: fleet
  uid: uid-1
status:
  accessProviders:
  - cluster:
      certificate-authority-data: Q0E=
      extensions:
      - extension:
          key: kubeconfig
          name: us-east
          namespace: prod-credentials
        name: client.authentication.k8s.io/exec
      server: https://us-east.example.com:6443
    name: kubeconfig-secretreader
  conditions:
  - lastTransitionTime: "2026-03-01T12:00:00Z"
    message: the cluster answers, and is the one that joined
    reason: Reachable
    status: "True"
    type: ControlPlaneHealthy
  - lastTransitionTime: "2026-03-01T12:00:00Z"
    message: the cluster is a member of federation "prod"
    reason: Accepted
    status: "True"
    type: Joined
  properties:
  - name: cluster.clusterset.k8s.io
    value: 6b2f
  - name: clusterset.k8s.io
    value: prod
  - name: kubefederate.io/kubernetes-version
    value: v1.36.2
  - name: kubefederate.io/nodes
    value: "3"
  - name: kubefederate.io/regions
    value: us-east-1
  - name: kubefederate.io/zones
    value: us-east-1a,us-east-1b
  version:
    kubernetes: v1.36.2
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestHealthy is what the condition ControlPlaneHealthy says.
func TestHealthy(t *testing.T) {
	t.Parallel()
	ready := func(status metav1.ConditionStatus, reason string) func(*v1alpha1.MemberCluster) {
		return set(v1alpha1.ConditionReady, status, reason)
	}
	suspended := func(m *v1alpha1.MemberCluster) { m.Spec.Suspended = true }
	for want, m := range map[string]*v1alpha1.MemberCluster{
		"True Reachable: the cluster answers, and is the one that joined":                                                member(),
		"False Suspended: the member is suspended":                                                                       member(suspended),
		"False TimedOut: the cluster does not answer as it should: see the condition Ready of its MemberCluster":         member(ready(metav1.ConditionFalse, v1alpha1.ReasonTimedOut)),
		"False IdentityMismatch: the cluster does not answer as it should: see the condition Ready of its MemberCluster": member(ready(metav1.ConditionFalse, v1alpha1.ReasonIdentityMismatch)),
		"Unknown NotProbed: the cluster has not been probed yet":                                                         member(ready(metav1.ConditionUnknown, v1alpha1.ReasonNotProbed)),
	} {
		c := Profile(m, Place{Namespace: "fleet"}, nil, now).Status.Conditions[0]
		if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestPublishable says of each member whether it is published, removed, or left as it is found.
func TestPublishable(t *testing.T) {
	t.Parallel()
	unseen := func(m *v1alpha1.MemberCluster) { m.Status.AcceptedTime = nil }
	for name, test := range map[string]struct {
		m    *v1alpha1.MemberCluster
		want string
	}{
		"accepted":                        {member(), "published"},
		"suspended":                       {member(func(m *v1alpha1.MemberCluster) { m.Spec.Suspended = true }), "published"},
		"offline":                         {member(set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTimedOut)), "published"},
		"it came to break a rule":         {member(set(v1alpha1.ConditionCompliant, metav1.ConditionFalse, v1alpha1.ReasonRulesBroken)), "published"},
		"acceptance was revoked":          {member(set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)), "removed"},
		"pending":                         {member(unseen, set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval)), "removed"},
		"it breaks a rule at first sight": {member(unseen, set(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonRulesBroken)), "removed"},
		"its facts are unknown":           {member(unseen, set(v1alpha1.ConditionAccepted, metav1.ConditionUnknown, v1alpha1.ReasonFactsUnknown)), "left"},
		"accepted, and not seen yet":      {member(unseen), "left"},
		"its status was lost":             {&v1alpha1.MemberCluster{}, "left"},
		"leaving":                         {member(func(m *v1alpha1.MemberCluster) { m.DeletionTimestamp = new(metav1.NewTime(now)) }), "removed"},
		"leaving, unseen":                 {member(unseen, func(m *v1alpha1.MemberCluster) { m.DeletionTimestamp = new(metav1.NewTime(now)) }), "removed"},
	} {
		got := "removed"
		switch {
		case Unjudged(test.m):
			got = "left"
		case Publishable(test.m):
			got = "published"
		}
		if got != test.want {
			t.Errorf("%s: it is %s, want %s", name, got, test.want)
		}
	}
}

// stored is a profile as an API server gives it back.
func stored(t *testing.T, p *clusterinventory.ClusterProfile) *clusterinventory.ClusterProfile {
	t.Helper()
	status, err := Status(p, "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	o := Metadata(p, "uid-1")
	o.Object["status"] = status.Object["status"]
	data, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	read := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, read); err != nil {
		t.Fatal(err)
	}
	return Read(read)
}

// TestDiffers holds that what others add to a profile makes no write, and that what is owned here and differs makes one.
func TestDiffers(t *testing.T) {
	t.Parallel()
	at := Place{"fleet", "prod-credentials"}
	for name, test := range map[string]struct {
		have             func(*clusterinventory.ClusterProfile)
		now              func(*v1alpha1.MemberCluster)
		metadata, status bool
	}{
		"the same": {},
		"a label, an annotation and a finalizer of others": {have: func(p *clusterinventory.ClusterProfile) {
			p.Labels["example.com/team"], p.Annotations, p.Finalizers = "shop", map[string]string{"a": "b"}, []string{"example.com/x"}
		}},
		"a condition, a property and a provider of others": {have: func(p *clusterinventory.ClusterProfile) {
			p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{Type: "Scanned"})
			p.Status.Properties = append(p.Status.Properties, clusterinventory.Property{Name: "example.com/cost", Value: "3"})
			p.Status.AccessProviders = append(p.Status.AccessProviders, clusterinventory.AccessProvider{Name: "oidc"})
		}},
		"a label was removed": {have: func(p *clusterinventory.ClusterProfile) { delete(p.Labels, clusterinventory.LabelClusterSetKey) }, metadata: true},
		"an owner of others": {have: func(p *clusterinventory.ClusterProfile) {
			p.OwnerReferences = append(p.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "us-east", UID: "map-1"})
		}},
		"it has no owner":          {have: func(p *clusterinventory.ClusterProfile) { p.OwnerReferences = nil }, metadata: true},
		"the member was made anew": {now: func(m *v1alpha1.MemberCluster) { m.UID = "member-2" }, metadata: true},
		"another display name":     {have: func(p *clusterinventory.ClusterProfile) { p.Spec.DisplayName = "x" }, metadata: true},
		"a condition is gone":      {have: func(p *clusterinventory.ClusterProfile) { p.Status.Conditions = p.Status.Conditions[:1] }, status: true},
		"an own property stays":    {now: func(m *v1alpha1.MemberCluster) { m.Status.Facts.Zones = nil }, status: true},
		"another number":           {now: func(m *v1alpha1.MemberCluster) { m.Status.Facts.Nodes++ }, status: true},
		"another version":          {now: func(m *v1alpha1.MemberCluster) { m.Status.Facts.KubernetesVersion = "v1.37.0" }, status: true},
		"another server":           {now: func(m *v1alpha1.MemberCluster) { m.Spec.Server = "https://other.example.com" }, status: true},
		"a provider was removed":   {have: func(p *clusterinventory.ClusterProfile) { p.Status.AccessProviders = nil }, status: true},
		"it was suspended":         {now: func(m *v1alpha1.MemberCluster) { m.Spec.Suspended = true }, status: true},
		"it was probed again":      {now: func(m *v1alpha1.MemberCluster) { m.Status.LastProbeTime = new(metav1.NewTime(now)) }},
	} {
		have := stored(t, Profile(member(), at, nil, now))
		if test.have != nil {
			test.have(have)
		}
		m := member()
		if test.now != nil {
			test.now(m)
		}
		want := Profile(m, at, have.Status.Conditions, now.Add(time.Minute))
		if metadata, status := MetadataDiffers(have, want), StatusDiffers(have, want); metadata != test.metadata || status != test.status {
			t.Errorf("%s: metadata differs: %t, status differs: %t", name, metadata, status)
		}
	}
}

// TestTransition holds that a condition keeps its time while its status stays, and that conditions of others are not taken over.
func TestTransition(t *testing.T) {
	t.Parallel()
	before := slices.Concat(Profile(member(), Place{Namespace: "fleet"}, nil, now).Status.Conditions, []metav1.Condition{{Type: "Scanned"}})
	later := now.Add(time.Hour)
	p := Profile(member(func(m *v1alpha1.MemberCluster) { m.Spec.Suspended = true }), Place{Namespace: "fleet"}, before, later)
	got := ""
	for _, c := range p.Status.Conditions {
		got += fmt.Sprintf("%s %s %s\n", c.Type, c.Status, c.LastTransitionTime.UTC().Format(time.TimeOnly))
	}
	if want := "ControlPlaneHealthy False 13:00:00\nJoined True 12:00:00\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestList holds that a property has at most 1024 bytes, of whole values.
func TestList(t *testing.T) {
	t.Parallel()
	zones := make([]string, 256)
	for i := range zones {
		zones[i] = fmt.Sprintf("us-east-1-zone-%d", i)
	}
	got := list(zones)
	if len(got) > maxValue || len(got) < maxValue-40 || !strings.HasSuffix(got, ",…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	last := got[:len(got)-len(",…")]
	if all := strings.Join(zones, ",") + ","; !strings.HasPrefix(all, last+",") {
		t.Errorf("a value was cut: %s", last)
	}
	if got := list([]string{strings.Repeat("x", 63)}); len(got) != 63 {
		t.Errorf("%q", got)
	}
}

// TestProviderPatch is that what others own of the access provider does not stay in it, and that their providers do.
func TestProviderPatch(t *testing.T) {
	t.Parallel()
	const own = `{"name":"kubeconfig-secretreader","cluster":{"server":"https://us-east.example.com:6443","certificate-authority-data":"Q0E=",` +
		`"extensions":[{"name":"client.authentication.k8s.io/exec","extension":{"key":"kubeconfig","name":"us-east","namespace":"prod-credentials"}}]}}`
	const other = `{"cluster":{"server":"https://other.example.com"},"name":"oidc"}`
	patch := func(providers ...string) string {
		return `{"metadata":{"resourceVersion":"7"},"status":{"accessProviders":[` + strings.Join(providers, ",") + `]}}`
	}
	cluster := func(field string, value any) func(map[string]any) {
		return func(provider map[string]any) { provider["cluster"].(map[string]any)[field] = value }
	}
	for name, test := range map[string]struct {
		change func(map[string]any)
		// ended says that no provider is wanted any more.
		ended bool
		want  string
	}{
		"as it was written":            {change: func(map[string]any) {}},
		"a proxy of others":            {change: cluster("proxy-url", "http://elsewhere.example.com"), want: patch(other, own)},
		"a file with a CA":             {change: cluster("certificate-authority", "/etc/ca"), want: patch(other, own)},
		"a server's name":              {change: cluster("tls-server-name", "elsewhere.example.com"), want: patch(other, own)},
		"no verification":              {change: cluster("insecure-skip-tls-verify", true), want: patch(other, own)},
		"an extension of others":       {change: cluster("extensions", []any{map[string]any{"name": "x", "extension": map[string]any{}}}), want: patch(other, own)},
		"what no provider can hold":    {change: func(provider map[string]any) { provider["cluster"] = "none" }, want: patch(other, own)},
		"it is not wanted any more":    {change: func(map[string]any) {}, ended: true, want: patch(other)},
		"nor can it be read":           {change: cluster("server", strings.Repeat("x", 1<<20)), ended: true, want: patch(other)},
		"it is not wanted, and is not": {change: func(provider map[string]any) { provider["name"] = "another" }, ended: true},
	} {
		want := Profile(member(), Place{"fleet", "prod-credentials"}, nil, now)
		o, err := Status(want, "uid-1")
		if err != nil {
			t.Fatal(err)
		}
		o.SetResourceVersion("7")
		var provider any
		if err := json.Unmarshal([]byte(other), &provider); err != nil {
			t.Fatal(err)
		}
		status := o.Object["status"].(map[string]any)
		status["accessProviders"] = append(status["accessProviders"].([]any), provider)
		test.change(first(o.Object, "accessProviders"))
		if test.ended {
			want.Status.AccessProviders = nil
		}
		got, err := ProviderPatch(o, want)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, test.want)
		}
	}
}

// TestCredentialsOf reads a profile back.
func TestCredentialsOf(t *testing.T) {
	t.Parallel()
	for _, want := range []string{"", "prod-credentials"} {
		p := stored(t, Profile(member(), Place{"fleet", want}, nil, now))
		if got := CredentialsOf(p, member()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		elsewhere := member()
		elsewhere.Spec.Server = "https://elsewhere.example.com"
		if got := CredentialsOf(p, elsewhere); got != "" {
			t.Errorf("beside another server: %q", got)
		}
	}
}

func TestIgnored(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]*v1alpha1.MemberCluster{
		"": member(),
		`clients that connect by its profile ignore tlsServerName "a.example.com" and verify the certificate for the host of the server's URL`: member(func(m *v1alpha1.MemberCluster) { m.Spec.TLSServerName = "a.example.com" }),
		"clients that connect by its profile ignore insecureSkipTLSVerify and verify the certificate of the server all the same":               member(func(m *v1alpha1.MemberCluster) { m.Spec.InsecureSkipTLSVerify = true }),
	} {
		if got := Ignored(m); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestRead is that what others write to a profile takes no memory, and that what cannot be read counts as another value.
func TestRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	for name, change := range map[string]func(o map[string]any){
		"displayName":              func(o map[string]any) { setField(o, long, "spec", "displayName") },
		"displayName of no type":   func(o map[string]any) { setField(o, 1.5, "spec", "displayName") },
		"version":                  func(o map[string]any) { setField(o, long, "status", "version", "kubernetes") },
		"owners of another name":   func(o map[string]any) { owned(o, long, 1) },
		"owners":                   func(o map[string]any) { owned(o, "us-east", 1000) },
		"annotations":              func(o map[string]any) { setField(o, long, "metadata", "annotations", "a") },
		"a time that Go refuses":   func(o map[string]any) { first(o, "conditions")["lastTransitionTime"] = "2026-01-01t00:00:00z" },
		"a message":                func(o map[string]any) { first(o, "conditions")["message"] = long },
		"a condition of others":    func(o map[string]any) { first(o, "conditions")["type"] = long },
		"a property":               func(o map[string]any) { first(o, "properties")["value"] = long },
		"a property of others":     func(o map[string]any) { first(o, "properties")["name"] = long },
		"an extension":             func(o map[string]any) { first(o, "accessProviders")["cluster"].(map[string]any)["server"] = long },
		"a provider that is none":  func(o map[string]any) { first(o, "accessProviders")["cluster"] = "none" },
		"conditions that are none": func(o map[string]any) { setField(o, "none", "status", "conditions") },
		"properties that are none": func(o map[string]any) { setField(o, []any{"none"}, "status", "properties") },
		"a status that is none":    func(o map[string]any) { setField(o, "none", "status") },
	} {
		want := Profile(member(), Place{"fleet", "prod-credentials"}, nil, now)
		status, err := Status(want, "uid-1")
		if err != nil {
			t.Fatal(err)
		}
		o := Metadata(want, "uid-1")
		o.Object["status"] = status.Object["status"]
		if got := Read(o); MetadataDiffers(got, want) || StatusDiffers(got, want) {
			t.Fatalf("it differs from what was written: %+v", got)
		}
		change(o.Object)
		got := Read(o)
		if differs := MetadataDiffers(got, want) || StatusDiffers(got, want); differs == (name == "annotations") {
			t.Errorf("%s: differs: %t", name, differs)
		}
		if data, err := json.Marshal(got); err != nil || len(data) > 8<<10 || got.Name != want.Name || got.UID != "uid-1" {
			t.Errorf("%s: %d bytes of %s are kept: %v", name, len(data), got.Name, err)
		}
	}
}

// owned puts n members of a name in the place of the owners.
func owned(o map[string]any, name string, n int) {
	owners := make([]any, n)
	for i := range owners {
		owners[i] = map[string]any{"apiVersion": "kubefederate.io/v1alpha1", "kind": "MemberCluster", "name": name, "uid": fmt.Sprint(i)}
	}
	_ = unstructured.SetNestedSlice(o, owners, "metadata", "ownerReferences")
}

func setField(o map[string]any, value any, path ...string) {
	_ = unstructured.SetNestedField(o, value, path...)
}

// first is the first entry of a list of the status.
func first(o map[string]any, list string) map[string]any {
	return o["status"].(map[string]any)[list].([]any)[0].(map[string]any)
}
