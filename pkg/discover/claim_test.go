package discover

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// elsewhere is a way through another server than the cluster's own. It serves the keys of the cluster too, as a relay does, and
// its tokens are signed by signer; empty is a caller who may request none.
func elsewhere(name string, id v1alpha1.ClusterID, signer string, more ...func(*Observation)) Observation {
	o := way(name, id, more...)
	o.Reached.Server = "https://" + name + ".attacker.example.com"
	o.Proof = &Proof{Signature: member.Signature{Signer: signer, Served: []string{signer, "key of " + string(id)}}}
	if signer == "" {
		o.Proof = &Proof{Err: errors.New("forbidden")}
	}
	return o
}

// powerless is a way by an object of the host that leads to the cluster's own server, with a Secret that may request no tokens.
func powerless(o Observation) Observation {
	o.Reached = server(o.Answer.ID)
	o.Proof = &Proof{Err: errors.New("forbidden")}
	return o
}

// TestClaims judges several ways that claim one cluster ID, each case in both orders.
func TestClaims(t *testing.T) {
	t.Parallel()
	const capi, web = FromClusterAPI, v1alpha1.ClusterID("11111111-web")
	const trust = "; only if all signing keys of the member were replaced: kubectl federate join web --federation prod --member-context evil --trust-context"
	const notWeb = `answers with the cluster ID of member "web", and does not prove to be it: `
	prod := says(requests("prod"))
	object := func(name string, label v1alpha1.FederationName, signer string) Observation {
		o := through(capi, name, "2", label)
		o.Reached.Server = "https://" + o.Base + ".attacker.example.com"
		o.Proof.Signer, o.Proof.Served = signer, []string{signer, "key of 2"}
		return o
	}
	for _, tt := range []struct {
		name         string
		keys         []string
		observations []Observation
		want         []whole
	}{
		{"a member and a context that relays it", []string{"key of 11111111-web"},
			[]Observation{way("us-east", web), elsewhere("evil", web, "key of evil")},
			[]whole{{"evil", "", "web", "prod", Conflict, notWeb + "its tokens are signed by a key that has not signed for the member" + trust}, {"us-east", "", "web", "prod", Joined, ""}}},
		{"the relay alone", []string{"key of 11111111-web"}, []Observation{elsewhere("evil", web, "key of evil")},
			[]whole{{"evil", "", "web", "prod", Conflict, notWeb + "its tokens are signed by a key that has not signed for the member" + trust}}},
		{"a way that may request no token", []string{"key of 11111111-web"}, []Observation{elsewhere("evil", web, "")},
			[]whole{{"evil", "", "web", "prod", Conflict, notWeb + "no token could be requested through evil: forbidden" + trust}}},
		{"another way to a member", []string{"key of 11111111-web"}, []Observation{elsewhere("vpn", web, "key of 11111111-web")},
			[]whole{{"vpn", "", "web", "prod", Joined, ""}}},
		{"another way beside the stored one, before the manager has seen a key", nil, []Observation{way("us-east", web), elsewhere("vpn", web, "key of 11111111-web")},
			[]whole{{"us-east", "vpn", "web", "prod", Joined, ""}}},
		{"another way alone, before the manager has seen a key", nil, []Observation{elsewhere("evil", web, "key of 11111111-web")},
			[]whole{{"evil", "", "web", "prod", NotYetProved, `answers with the cluster ID of member "web", which is not proved: the manager has seen no signing key of the member yet, and its stored endpoint is another; ` +
				`if it is that member, say so: kubectl federate join web --federation prod --member-context evil --trust-context`}}},
		{"two ways to no member", nil, []Observation{way("a", "2", prod), elsewhere("vpn", "2", "key of 2", prod)},
			[]whole{{"a", "vpn", "a", "prod", Wants, ""}}},
		{"two ways that do not prove each other", nil, []Observation{way("a", "2", prod), elsewhere("evil", "2", "key of evil")},
			[]whole{{"a", "evil", "", "prod", Conflict, "a and evil answer with one cluster ID, and do not prove to be one cluster; " +
				"to join the one that you trust, name it: kubectl federate join NAME --federation prod --member-context CONTEXT"}}},
		{"two ways that do not prove each other, without a label", nil, []Observation{way("a", "2"), elsewhere("evil", "2", "key of evil")},
			[]whole{{"a", "evil", "", "", Unlabeled, "a and evil answer with one cluster ID, and do not prove to be one cluster; " +
				"to join the one that you trust, name it: kubectl federate join NAME --federation FEDERATION --member-context CONTEXT"}}},
		{"two relays agree with each other, and not with the cluster", nil, []Observation{way("a", "2", prod), elsewhere("evil", "2", "key of evil"), elsewhere("evil2", "2", "key of evil")},
			[]whole{{"a", "evil,evil2", "", "prod", Conflict, "a, evil and evil2 answer with one cluster ID, and do not prove to be one cluster; " +
				"to join the one that you trust, name it: kubectl federate join NAME --federation prod --member-context CONTEXT"}}},
		{"a tenant's object lends its label to a context without one", nil, []Observation{way("us-west", "2"), object("team-m/x", "dev", "key of evil")},
			[]whole{{"us-west", "cluster-api:team-m/x", "", "dev", Conflict, "us-west and cluster-api:team-m/x answer with one cluster ID, and do not prove to be one cluster; " +
				"to join the one that you trust, name it: kubectl federate join NAME --federation dev --member-context CONTEXT"}}},
		{"a tenant's object leads to the cluster itself, by a Secret without rights", nil, []Observation{way("us-west", "2"), powerless(object("team-m/x", "test", ""))},
			[]whole{{"cluster-api:team-m/x", "us-west", "x", "test", Wants, ""}}},
		{"a label without power beside the cluster's own", nil, []Observation{way("us-west", "2", prod), powerless(object("team-m/x", "test", ""))},
			[]whole{{"us-west", "cluster-api:team-m/x", "us-west", "prod", Wants, ""}}},
		{"an object without a label is first by name", nil, []Observation{object("team-m/x", "", "key of 2"), object("team-z/shop", "prod", "key of 2")},
			[]whole{{"cluster-api:team-z/shop", "cluster-api:team-m/x", "shop", "prod", Wants, ""}}},
		{"an insecure way proves nothing by its server", nil, []Observation{way("a", "2", prod), elsewhere("b", "2", "", func(o *Observation) {
			o.Reached = server("2")
			o.Reached.InsecureSkipTLSVerify = true
		})}, []whole{{"a", "b", "", "prod", Conflict, "a and b answer with one cluster ID, and do not prove to be one cluster: no token could be requested through b: forbidden; " +
			"to join the one that you trust, name it: kubectl federate join NAME --federation prod --member-context CONTEXT"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			backwards := slices.Clone(tt.observations)
			slices.Reverse(backwards)
			for _, observations := range [][]Observation{tt.observations, backwards} {
				v := view()
				v.Members[0].Status.SigningKeys = tt.keys
				clusters := Judge(v, observations)
				slices.SortFunc(clusters, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
				var got []whole
				for _, c := range clusters {
					slices.Sort(c.Also)
					got = append(got, whole{c.Candidate.String(), strings.Join(c.Also, ","), string(c.Member), string(c.Federation), c.State, c.Reason})
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestSilentMember names who created a member that has never answered, where a way that answers with its ID cannot be proved.
func TestSilentMember(t *testing.T) {
	t.Parallel()
	v := view()
	m := &v.Members[0]
	m.ResourceVersion, m.Status.SigningKeys = "1", nil
	m.Annotations = map[string]string{v1alpha1.AnnotationCreatedBy: "mallory"}
	clusters := Judge(v, []Observation{elsewhere("us-east", "11111111-web", "key of 11111111-web")})
	const want = `answers with the cluster ID of member "web", which is not proved: the manager has seen no signing key of the member yet, and its stored endpoint is another; ` +
		`if it is that member, say so: kubectl federate join web --federation prod --member-context us-east --trust-context; ` +
		`the member was created by "mallory" and has never answered the manager, and if it does not stand for this cluster, free the ID: kubectl federate unjoin web --force`
	if len(clusters) != 1 || clusters[0].State != NotYetProved || clusters[0].Reason != want {
		t.Errorf("got %+v, want one cluster with the reason %s", clusters, want)
	}
}

// TestUnproved shows through which ways a token is requested: through none where only one claims an ID.
func TestUnproved(t *testing.T) {
	t.Parallel()
	const web = v1alpha1.ClusterID("11111111-web")
	object := powerless(through(FromClusterAPI, "team-m/x", "2", "test"))
	unlabeled := powerless(through(FromClusterAPI, "team-m/y", "2", ""))
	for _, tt := range []struct {
		name         string
		keys         []string
		observations []Observation
		want         string
	}{
		{"one way", nil, []Observation{way("a", "2")}, ""},
		{"one way by an object", nil, []Observation{object}, ""},
		{"two ways to one server", nil, []Observation{way("a", "2"), way("b", "2")}, ""},
		{"two servers", nil, []Observation{way("a", "2"), elsewhere("b", "2", "")}, "a b"},
		{"the stored endpoint", []string{"k"}, []Observation{way("a", web)}, ""},
		{"another endpoint of a member", []string{"k"}, []Observation{way("a", web), elsewhere("b", web, "")}, "b"},
		{"another endpoint of a member without keys", nil, []Observation{elsewhere("b", web, "")}, ""},
		{"another endpoint beside the stored one, without keys", nil, []Observation{way("a", web), elsewhere("b", web, "")}, "b a"},
		{"an object that asks, and a context", nil, []Observation{way("a", "2"), object}, "team-m/x"},
		{"an object that does not ask, and a context", nil, []Observation{way("a", "2"), unlabeled}, ""},
	} {
		v := view()
		v.Members[0].Status.SigningKeys = tt.keys
		for i := range tt.observations {
			tt.observations[i].Proof = nil
		}
		var asked []string
		for _, c := range claims(newJudge(v).members, tt.observations) {
			for _, o := range c.unproved() {
				asked = append(asked, o.Name)
			}
		}
		if got := strings.Join(asked, " "); got != tt.want {
			t.Errorf("%s: tokens are requested through %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestForeignNames shows that objects of other systems change no name but their own.
func TestForeignNames(t *testing.T) {
	t.Parallel()
	at := func(o Observation, hour int) Observation {
		o.Created = time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC)
		return o
	}
	observations := []Observation{
		at(through(FromClusterAPI, "apps/eu-west", "33333333-tenant", "prod"), 2), at(through(FromClusterAPI, "team-x/eu-west", "22222222-honest", "prod"), 1),
		at(through(FromClusterAPI, "apps/us", "55555555-tenant", "prod"), 1), way("us", "44444444-honest", says(requests("prod"))),
		at(through(FromClusterAPI, "apps/dead", "66666666-tenant", "prod", silent), 1), at(through(FromClusterAPI, "team-x/dead", "77777777-honest", "prod"), 2),
		at(through(FromClusterAPI, "apps/plain", "88888888-tenant", ""), 1), at(through(FromClusterAPI, "team-x/plain", "99999999-honest", "prod"), 2),
	}
	want := map[string]string{
		"team-x/eu-west": "eu-west", "apps/eu-west": "eu-west-33333333", "us": "us", "apps/us": "us-55555555",
		"team-x/dead": "dead", "apps/dead": "", "team-x/plain": "plain", "apps/plain": "",
	}
	for range 2 {
		got := map[string]string{}
		for _, c := range Judge(view(), observations) {
			got[c.Name] = string(c.Member)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		slices.Reverse(observations)
	}
}

// TestStale shows a context whose credential has expired beside a good one: one row. Alone it is not called unreachable.
func TestStale(t *testing.T) {
	t.Parallel()
	stale := func(name string, id v1alpha1.ClusterID) Observation {
		return Observation{Candidate: Candidate{Source: FromKubeconfig, Name: name}, Reached: server(id), Err: errors.New("401"), Refused: true}
	}
	elsewhere := stale("other", "3")
	clusters := Choose(view(), "prod", []Observation{stale("old", "2"), seen("good", "2", nil), elsewhere})
	if len(clusters) != 2 || strings.Join(clusters[0].Also, ",") != "old" || clusters[0].State != Wants || clusters[1].State != NoAccess {
		t.Errorf("got %+v", clusters)
	}
}
