package discover

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const proxy = "https://rancher.example.com/k8s/clusters/c-1"

// through is a cluster that a source of the host leads to, with the federation label of its object.
func through(source SourceName, name string, id v1alpha1.ClusterID, request v1alpha1.FederationName, more ...func(*Observation)) Observation {
	s := seen(name, id, nil)
	s.Source = source
	kind := clusterAPIClusters[0]
	if source == FromRancher {
		kind, s.Reached.Server = rancherClusters, proxy
	}
	signed(id)(&s)
	namespace, object, found := strings.Cut(name, "/")
	if !found {
		namespace, object = "", name
	}
	s.Base = object
	s.Objects = []Object{{Ref: cluster.Ref{Resource: kind, Namespace: namespace, Name: object}, JoinRequest: request}}
	s.Candidate.Labels = map[string]string{"from": string(source)}
	for _, f := range more {
		f(&s)
	}
	return s
}

func says(say func(*Answer)) func(*Observation) { return func(s *Observation) { say(s.Answer) } }

// at is a way that leads to the cluster by another server, and proves it.
func at(server string) func(*Observation) {
	return func(s *Observation) {
		s.Reached.Server = server
		signed(s.Answer.ID)(s)
	}
}

// signed is a way whose tokens the cluster with the ID signs.
func signed(id v1alpha1.ClusterID) func(*Observation) {
	key := "key of " + string(id)
	return func(s *Observation) {
		s.Proof = &Proof{Signature: member.Signature{Signer: key, Served: []string{key}}}
	}
}

func authorized(s *Observation) {
	s.Endpoint = &endpoint.Endpoint{Server: "https://ace.example.com", CABundle: []byte("CA")}
}

func noEndpoint(s *Observation) { s.EndpointMissing = "the proxy takes no token" }

func silent(s *Observation) { s.Proof, s.Answer, s.Err = nil, nil, errors.New("member: no answer") }

func otherName(name string) func(*Observation) { return func(s *Observation) { s.OtherName = name } }

func way(name string, id v1alpha1.ClusterID, more ...func(*Observation)) Observation {
	s := seen(name, id, nil)
	signed(id)(&s)
	for _, f := range more {
		f(&s)
	}
	return s
}

// whole is all that a person sees of a Cluster.
type whole struct {
	Way, Also, Member, Federation string
	State                         State
	Reason                        string
}

// TestJudgeSources judges clusters that several sources know, each case in both orders.
func TestJudgeSources(t *testing.T) {
	t.Parallel()
	const capi, rancher = FromClusterAPI, FromRancher
	for _, tt := range []struct {
		name         string
		observations []Observation
		want         []whole
	}{
		{"asked for by its object", []Observation{through(capi, "x/a", "2", "prod")}, []whole{{"cluster-api:x/a", "", "a", "prod", Wants, ""}}},
		{"asked for by itself", []Observation{through(capi, "x/a", "2", "", says(requests("prod")))}, []whole{{"cluster-api:x/a", "", "a", "prod", Wants, ""}}},
		{"no label", []Observation{through(capi, "x/a", "2", "")}, []whole{{"cluster-api:x/a", "", "", "", Unlabeled, ""}}},
		{"no answer, asked for by its object", []Observation{through(capi, "x/a", "2", "prod", silent)},
			[]whole{{"cluster-api:x/a", "", "", "prod", Unreachable, "member: no answer"}}},
		{"known to all: the context is the most direct", []Observation{through(rancher, "a", "2", "prod"), through(capi, "x/a", "2", "prod"), way("b", "2")},
			[]whole{{"b", "cluster-api:x/a,rancher:a", "b", "prod", Wants, ""}}},
		{"Cluster API before Rancher", []Observation{through(rancher, "a", "2", "prod"), through(capi, "x/b", "2", "prod")},
			[]whole{{"cluster-api:x/b", "rancher:a", "b", "prod", Wants, ""}}},
		{"an object without a label after one with it", []Observation{through(rancher, "a", "2", "prod"), through(capi, "x/b", "2", "")},
			[]whole{{"rancher:a", "cluster-api:x/b", "a", "prod", Wants, ""}}},
		{"a context through Rancher's proxy comes after Cluster API", []Observation{way("b", "2", at(proxy)), through(capi, "x/a", "2", "prod")},
			[]whole{{"cluster-api:x/a", "b", "a", "prod", Wants, ""}}},
		{"Rancher with an authorized endpoint comes before a context through its proxy", []Observation{way("b", "2", at(proxy)), through(rancher, "a", "2", "prod", authorized)},
			[]whole{{"rancher:a", "b", "a", "prod", Wants, ""}}},
		{"Rancher's proxy alone", []Observation{through(rancher, "a", "2", "prod", noEndpoint)},
			[]whole{{"rancher:a", "", "", "prod", Refused, "the proxy takes no token; or join it by its own API server: " +
				"kubectl federate join a --federation prod --member-context CONTEXT --member-server URL --member-certificate-authority FILE"}}},
		{"Rancher's proxy beside a direct way", []Observation{through(rancher, "a", "2", "prod", noEndpoint), through(capi, "x/a", "2", "")},
			[]whole{{"cluster-api:x/a", "rancher:a", "a", "prod", Wants, ""}}},
		{"Rancher's proxy of a member", []Observation{through(rancher, "a", "11111111-web", "prod", noEndpoint)}, []whole{{"rancher:a", "", "web", "prod", Joined, ""}}},
		{"Rancher's proxy without a federation label", []Observation{through(rancher, "a", "2", "", noEndpoint)}, []whole{{"rancher:a", "", "", "", Unlabeled, ""}}},
		{"the host itself", []Observation{through(rancher, "local", hostID, "prod")}, []whole{{"rancher:local", "", "local", "prod", Wants, "it is the host itself"}}},
		{"one way is dead, and an object says whose", []Observation{through(capi, "x/a", "2", "prod", silent), through(rancher, "b", "2", "prod", otherName("cluster-api:x/a"))},
			[]whole{{"rancher:b", "cluster-api:x/a", "b", "prod", Wants, ""}}},
		{"one way is dead, and asks for what no other asks for", []Observation{through(capi, "x/a", "2", "prod", silent), through(rancher, "b", "2", "", otherName("cluster-api:x/a"))},
			[]whole{{"cluster-api:x/a", "", "", "prod", Unreachable, "member: no answer"}, {"rancher:b", "", "", "", Unlabeled, ""}}},
		{"one way is dead, and nothing says whose", []Observation{through(capi, "x/a", "2", "prod", silent), through(rancher, "b", "2", "")},
			[]whole{{"cluster-api:x/a", "", "", "prod", Unreachable, "member: no answer"}, {"rancher:b", "", "", "", Unlabeled, ""}}},
		{"object and cluster name two federations", []Observation{through(capi, "x/a", "2", "test", says(requests("prod")))},
			[]whole{{"cluster-api:x/a", "", "", "prod", Conflict,
				`its labels name two federations, "prod" by its own label and "test" by the label of clusters.cluster.x-k8s.io/a --namespace x; make them agree on "prod": ` +
					`kubectl label clusters.cluster.x-k8s.io a --namespace x kubefederate.io/federation=prod --overwrite; or on "test": ` +
					`kubectl federate label --member-context CONTEXT --federation test --overwrite`}}},
		{"two objects name two federations", []Observation{through(capi, "x/a", "2", "prod"), through(rancher, "a", "2", "test"), way("ctx a", "2")},
			[]whole{{"ctx a", "cluster-api:x/a,rancher:a", "", "prod", Conflict,
				`its labels name two federations, "prod" by the label of clusters.cluster.x-k8s.io/a --namespace x and "test" by the label of clusters.management.cattle.io/a; ` +
					`make them agree on "prod": kubectl label clusters.management.cattle.io a kubefederate.io/federation=prod --overwrite; or on "test": ` +
					`kubectl label clusters.cluster.x-k8s.io a --namespace x kubefederate.io/federation=test --overwrite`}}},
		{"the object names another federation than the member's", []Observation{through(capi, "x/a", "11111111-web", "test"), way("ctx", "11111111-web")},
			[]whole{{"ctx", "cluster-api:x/a", "web", "prod", Conflict,
				`the label of clusters.cluster.x-k8s.io/a --namespace x names federation "test", but it is a member of "prod"; move it there: ` +
					`kubectl federate move web --to test --member-context ctx; or correct the label: kubectl label clusters.cluster.x-k8s.io a --namespace x kubefederate.io/federation=prod --overwrite`}}},
		{"it left, and its object's federation label stayed", []Observation{through(capi, "x/a", "2", "prod", says(func(a *Answer) { a.Left = "prod" }))},
			[]whole{{"cluster-api:x/a", "", "", "prod", Left, `it left federation "prod" and still carries its label; to let it join again: kubectl federate label --member-context CONTEXT --federation prod`}}},
		{"it left another, and its object's federation label is new", []Observation{through(capi, "x/a", "2", "prod", says(func(a *Answer) { a.Left = "test" }))},
			[]whole{{"cluster-api:x/a", "", "a", "prod", Wants, ""}}},
		{"another host's", []Observation{through(capi, "x/a", "2", "prod", says(func(a *Answer) {
			a.Membership = &member.Membership{HostID: otherID, Federation: "test", Member: "was"}
		}))}, []whole{{"cluster-api:x/a", "", "", "prod", Conflict,
			`it is member "was" of federation "test" of another host, cluster 99999999-other-host; unjoin it there first, or, if that host is gone for good, take it over: ` +
				`kubectl federate join a --federation prod --member-context CONTEXT --take-over`}}},
		{"mistyped on the object", []Observation{through(rancher, "a", "2", "prdo")}, []whole{{"rancher:a", "", "", "prdo", Conflict, `federation "prdo" does not exist; did you mean "prod"? To correct the label: ` +
			`kubectl label clusters.management.cattle.io a kubefederate.io/federation=prod --overwrite`}}},
		{"one name in two namespaces", []Observation{through(capi, "x/a", "22222222-x", "prod"), through(capi, "y/a", "33333333-y", "prod")},
			[]whole{
				{"cluster-api:x/a", "", "a", "prod", Wants, ""},
				{"cluster-api:y/a", "", "a-33333333", "prod", Wants, `the name "a" would also be that of cluster-api:x/a; to choose another: kubectl federate join NAME --federation prod --member-context CONTEXT`},
			}},
		{"the name of a member", []Observation{through(capi, "x/web", "22222222-x", "prod")}, []whole{{"cluster-api:x/web", "", "web-22222222", "prod", Wants,
			`member "web" is another cluster; to choose another: kubectl federate join NAME --federation prod --member-context CONTEXT`}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			backwards := slices.Clone(tt.observations)
			slices.Reverse(backwards)
			for _, observations := range [][]Observation{tt.observations, backwards} {
				var got []whole
				clusters := Judge(view(), observations)
				Sort(clusters)
				for _, c := range clusters {
					got = append(got, whole{c.Candidate.String(), strings.Join(c.Also, ","), string(c.Member), string(c.Federation), c.State, c.Reason})
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestMerge shows what a merged cluster carries: labels of all, the most direct source's first; and whose federation label it is.
func TestMerge(t *testing.T) {
	t.Parallel()
	own := way("ctx", "2", says(func(a *Answer) { a.Labels = map[string]string{"from": "kube-system", "own": "x"} }))
	c := Judge(view(), []Observation{through(FromRancher, "a", "2", "prod"), own, through(FromClusterAPI, "x/a", "2", "prod")})[0]
	if diff := cmp.Diff(map[string]string{"from": "cluster-api", "own": "x"}, c.Candidate.Labels); diff != "" {
		t.Error(diff)
	}
	if got, want := c.RequestedBy().String(), "clusters.cluster.x-k8s.io/x/a"; got != want {
		t.Errorf("asked for by %q, want %q", got, want)
	}
	if !c.Concerns("prod") || c.Concerns("test") || c.Context() != "ctx" {
		t.Errorf("concerns prod %v, test %v; context %q", c.Concerns("prod"), c.Concerns("test"), c.Context())
	}
	says(requests("prod"))(&own)
	if got := Judge(view(), []Observation{own, through(FromClusterAPI, "x/a", "2", "prod")})[0].RequestedBy(); got.Name != "" {
		t.Errorf("asked for by %q, want only itself", got)
	}
}

// TestNoCredential holds that an object that leads to no credential is a row only where its label asks for something: what else it
// stands for is not known, and nothing is wrong.
func TestNoCredential(t *testing.T) {
	t.Parallel()
	silent := func(federation v1alpha1.FederationName) Observation {
		c := Candidate{Source: FromFleet, Name: "n/a", Objects: []Object{{Ref: cluster.Ref{Resource: fleetClusters, Namespace: "n", Name: "a"}, JoinRequest: federation}}}
		c.Err = fmt.Errorf("host: %w", noCredential("none"))
		return Observation{Candidate: c, Err: c.Err}
	}
	for federation, want := range map[v1alpha1.FederationName]State{"": Unlabeled, "prod": Unreachable} {
		if c := Judge(view(), []Observation{silent(federation)})[0]; c.State != want || c.Reason != "host: none" || c.Federation != federation {
			t.Errorf("labeled %q: %s of %q, %s; want %s", federation, c.State, c.Federation, c.Reason, want)
		}
	}
	broken := silent("")
	if broken.Err = errors.New("host: forbidden"); Judge(view(), []Observation{broken})[0].State != Unreachable {
		t.Error("a Secret that cannot be read is not shown")
	}
}

// TestElsewhere holds that an object at another API server is named by its context, is not taken for one of the host, and is one
// object for all ways that it names.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	a, b := through(FromKarmada, "a", "2", "prdo"), through(FromKarmada, "a/2", "2", "prdo")
	a.Objects[0].Context = "karmada"
	b.Objects = a.Objects
	c := Judge(view(), []Observation{a, b})[0]
	const want = `federation "prdo" does not exist; did you mean "prod"? To correct the label: kubectl label clusters.cluster.x-k8s.io a kubefederate.io/federation=prod --overwrite --context karmada`
	if c.Reason != want || len(c.Objects) != 1 {
		t.Errorf("%d objects; %s", len(c.Objects), c.Reason)
	}
	if by := c.RequestedBy(); by.String() != "elsewhere:clusters.cluster.x-k8s.io/a" {
		t.Errorf("asked for by %q", by)
	}
}
