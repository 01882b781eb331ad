//go:build unix

package admission

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

const (
	discoveryPolicy = "discovery.kubefederate.io"
	discoverer      = "system:serviceaccount:kubefederate-system:kubefederate-discovery"
)

// discoveringFed lets clusters of namespace team-x be anywhere.
func discoveringFed(name string) *v1alpha1.Federation {
	f := fed(name)
	f.Spec.Discovery = &v1alpha1.Discovery{
		Sources: []v1alpha1.DiscoverySource{{Kind: "ClusterAPI", Namespaces: []string{"team-x"}}}, Endpoints: []string{"*"},
	}
	return f
}

// discovered is a member that discovery joins.
func discovered(name, federation string) *v1alpha1.MemberCluster {
	m := member(name, federation)
	m.Spec.Discovered = &v1alpha1.Discovered{Kind: "ClusterAPI", Namespace: "team-x", Name: name, UID: "uid-" + name}
	return m
}

// discoveredCredential is what discovery stores for a member.
func discoveredCredential(m *v1alpha1.MemberCluster) *corev1.Secret {
	s := credential(m)
	s.Labels[v1alpha1.LabelDiscovered] = v1alpha1.DiscoveredValue
	return s
}

// TestWhoMayDiscover goes through what the account of the discovery controller may do, with a token of its own: in federation "teal" with
// the verb discover, in "navy" with discover and leave, and in "rust" with none. It is refused everything of members that people joined.
func TestWhoMayDiscover(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, discoveringFed("teal"), discoveringFed("navy"), discoveringFed("rust"))
	members := map[string]*v1alpha1.MemberCluster{}
	for _, m := range []*v1alpha1.MemberCluster{
		member("teal-joined", "teal"), discovered("teal-found", "teal"), member("navy-joined", "navy"), discovered("navy-found", "navy"), discovered("rust-found", "rust"),
	} {
		h.create(t, m)
		members[m.Name] = m
	}
	h.create(t, credential(members["teal-joined"]), discoveredCredential(members["teal-found"]), credential(members["navy-joined"]))
	var found client.Client
	for federation, verbs := range map[v1alpha1.FederationName][]string{"teal": {v1alpha1.VerbDiscover}, "navy": {v1alpha1.VerbDiscover, v1alpha1.VerbLeave}} {
		config, err := envhost.DiscoveryAccount(t.Context(), h.Cluster, federation, verbs...)
		must(t, err)
		found, _ = as(t, config)
	}
	alice := h.user(t, "alice", manifests.JoinerBinding("teal", subject("alice")))

	create := func(c client.Client, o client.Object) func() error {
		return func() error { return c.Create(t.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll) }
	}
	patch := func(c client.Client, name, patch string) func() error {
		return func() error { return mergePatch(c, t, name, patch, client.DryRunAll) }
	}
	put := func(c client.Client, s *corev1.Secret) func() error {
		return func() error { return c.Update(t.Context(), s.DeepCopy(), client.DryRunAll) }
	}
	remove := func(name string) func() error {
		return func() error {
			return found.Delete(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, client.DryRunAll)
		}
	}
	no := func(policy, name, message string) string { return denied(policy, memberclusters, name, message) }
	noChange := func(name, federation string) string {
		return no(membershipPolicy, name, fmt.Sprintf("user %q may not change labels or spec of members of federation %q: it takes the verb join on federations/%s", discoverer, federation, federation))
	}
	noSecret := func(name, message string) string { return denied(credentialsPolicy, "secrets", name, message) }
	fresh := discovered("fresh", "teal")
	fresh.UID = "00000000-0000-4000-8000-000000000000"
	accepted := discovered("fresh", "teal")
	accepted.Spec.Accepted = true
	elsewhere := discovered("fresh", "rust")
	const owner = `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"default","uid":"x"}]}}`

	for name, test := range map[string]struct {
		request func() error
		want    string
	}{
		"joins":                    {create(found, discovered("fresh", "teal")), ""},
		"moves":                    {patch(found, "teal-found", `{"spec":{"server":"https://x.example.com"}}`), ""},
		"labels":                   {patch(found, "teal-found", `{"metadata":{"labels":{"a":"b"},"annotations":{"kubefederate.io/joined-by":"x"}}}`), ""},
		"annotates":                {patch(found, "teal-found", `{"metadata":{"annotations":{"a":"b","kubefederate.io/probe-requested":"1"}}}`), ""},
		"stores":                   {create(found, discoveredCredential(fresh)), ""},
		"replaces":                 {put(found, discoveredCredential(members["teal-found"])), ""},
		"removes with leave":       {remove("navy-found"), ""},
		"owns with leave":          {patch(found, "navy-found", owner), ""},
		"removes without leave":    {remove("teal-found"), no(leavingPolicy, "teal-found", `user "`+discoverer+`" may not let clusters leave federation "teal": it takes the verb leave on federations/teal`)},
		"owns without leave":       {patch(found, "teal-found", owner), no(membershipPolicy, "teal-found", `user "`+discoverer+`" may not change the ownerReferences, or the finalizers orphan and foregroundDeletion, of members of federation "teal": it takes the verb leave on federations/teal, since these decide when a member goes`)},
		"accepts":                  {patch(found, "navy-found", `{"spec":{"accepted":true}}`), no(membershipPolicy, "navy-found", `user "`+discoverer+`" may not change spec.accepted of members of federation "navy": it takes the verb approve on federations/navy`)},
		"joins accepted":           {create(found, accepted), no(joiningPolicy, "fresh", `user "`+discoverer+`" may not change spec.accepted of members of federation "teal": it takes the verb approve on federations/teal`)},
		"joins as a person":        {create(found, member("fresh", "teal")), no(joiningPolicy, "fresh", `user "`+discoverer+`" may not join clusters to federation "teal": it takes the verb join on federations/teal`)},
		"joins elsewhere":          {create(found, elsewhere), no(joiningPolicy, "fresh", `user "`+discoverer+`" may not join clusters with spec.discovered to federation "rust": it takes the verb discover on federations/rust`)},
		"changes elsewhere":        {patch(found, "rust-found", `{"metadata":{"labels":{"a":"b"}}}`), no(membershipPolicy, "rust-found", `user "`+discoverer+`" may not change labels or spec of members of federation "rust": it takes the verb join or discover on federations/rust`)},
		"stores elsewhere":         {create(found, discoveredCredential(members["rust-found"])), noSecret("rust-found", `user "`+discoverer+`" may not write credentials of members of federation "rust": it takes the verb join on federations/rust, or discover`)},
		"stores without label":     {put(found, credential(members["teal-found"])), noSecret("teal-found", `user "`+discoverer+`" may not write credentials of members of federation "teal": it takes the verb join on federations/teal; discover gives those with the label kubefederate.io/discovered=true`)},
		"joined: moves":            {patch(found, "teal-joined", `{"spec":{"server":"https://x.example.com"}}`), noChange("teal-joined", "teal")},
		"joined: labels":           {patch(found, "teal-joined", `{"metadata":{"labels":{"a":"b"}}}`), noChange("teal-joined", "teal")},
		"joined: suspends":         {patch(found, "teal-joined", `{"spec":{"suspended":true}}`), noChange("teal-joined", "teal")},
		"joined: stores":           {put(found, discoveredCredential(members["teal-joined"])), noSecret("teal-joined", `user "`+discoverer+`" may not change or delete a credential of members of federation "teal": it takes the verb join on federations/teal`)},
		"joined: removes":          {remove("teal-joined"), no(leavingPolicy, "teal-joined", `user "`+discoverer+`" may delete only members that discovery joined, and member "teal-joined" has no spec.discovered`)},
		"joined, leave: moves":     {patch(found, "navy-joined", `{"spec":{"server":"https://x.example.com"}}`), noChange("navy-joined", "navy")},
		"joined, leave: labels":    {patch(found, "navy-joined", `{"metadata":{"labels":{"a":"b"}}}`), noChange("navy-joined", "navy")},
		"joined, leave: suspends":  {patch(found, "navy-joined", `{"spec":{"suspended":true}}`), noChange("navy-joined", "navy")},
		"joined, leave: stores":    {put(found, discoveredCredential(members["navy-joined"])), noSecret("navy-joined", `user "`+discoverer+`" may not change or delete a credential of members of federation "navy": it takes the verb join on federations/navy`)},
		"joined, leave: removes":   {remove("navy-joined"), no(leavingPolicy, "navy-joined", `user "`+discoverer+`" may delete only members that discovery joined, and member "navy-joined" has no spec.discovered`)},
		"joined, leave: owns":      {patch(found, "navy-joined", owner), no(membershipPolicy, "navy-joined", `user "`+discoverer+`" may not change the ownerReferences, or the finalizers orphan and foregroundDeletion, of members of federation "navy": it takes the verb leave on federations/navy, since these decide when a member goes; the account of discovery changes them only of members with spec.discovered`)},
		"joined, leave: annotates": {patch(found, "navy-joined", `{"metadata":{"annotations":{"kubefederate.io/probe-requested":"1"}}}`), no(membershipPolicy, "navy-joined", `user "`+discoverer+`" may not change the annotation kubefederate.io/probe-requested of members of federation "navy": it takes the verb join or leave on federations/navy`)},
		"becomes joined":           {patch(found, "teal-found", `{"spec":{"discovered":null}}`), `422 MemberCluster.kubefederate.io "teal-found" is invalid: spec: Invalid value: discovered is immutable: a member was joined by a person or by discovery`},

		"joiner joins with spec.discovered": {create(alice, discovered("fresh", "teal")), no(joiningPolicy, "fresh", `user "alice" may not join clusters with spec.discovered to federation "teal": it takes the verb discover on federations/teal`)},
		"joiner changes what was found":     {patch(alice, "teal-found", `{"spec":{"suspended":true}}`), ""},
		"joiner replaces what was found":    {put(alice, discoveredCredential(members["teal-found"])), ""},
		"backup is restored":                {create(h.admin, discovered("fresh", "teal")), ""},
	} {
		t.Run(name, func(t *testing.T) { answers(t, test.want, test.request) })
	}

	t.Run("status", func(t *testing.T) {
		condition := func(kind string) string {
			return `{"type":"` + kind + `","status":"True","reason":"X","message":"","lastTransitionTime":"2026-11-30T09:00:00Z"}`
		}
		status := func(o client.Object, patch string) func() error {
			return func() error {
				o := o.DeepCopyObject().(client.Object)
				return found.Status().Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"status":`+patch+`}`)),
					&client.SubResourcePatchOptions{PatchOptions: client.PatchOptions{DryRun: []string{"All"}}})
			}
		}
		teal, member, joined := fed("teal"), members["teal-found"], members["teal-joined"]
		// The manager writes no condition of its own while these have none that the patch would drop.
		other := func(o client.Object) string {
			resource, also := memberclusters, "the condition SourcePresent"
			if _, ok := o.(*v1alpha1.Federation); ok {
				resource, also = "federations.kubefederate.io", "discovery and the condition Discovering"
			}
			return denied(discoveryPolicy, resource, o.GetName(), `user "`+discoverer+`" may change nothing in the status but `+also)
		}
		answers(t, "", status(teal, `{"discovery":{"found":1,"joined":1,"gone":0}}`))
		answers(t, other(teal), status(teal, `{"members":7}`))
		answers(t, other(teal), status(teal, `{"conditions":[`+condition("WithinLimits")+`]}`))
		answers(t, "", status(teal, `{"conditions":[`+condition("Discovering")+`]}`))
		answers(t, other(member), status(member, `{"phase":"Ready"}`))
		answers(t, other(member), status(member, `{"signingKeys":["`+strings.Repeat("x", 43)+`"]}`))
		answers(t, other(member), status(member, `{"conditions":[`+condition("Accepted")+`]}`))
		answers(t, other(member), status(member, `{"conditions":null,"phase":null}`))
		answers(t, "", func() error {
			var now v1alpha1.MemberCluster
			must(t, found.Get(t.Context(), client.ObjectKeyFromObject(member), &now))
			before := now.DeepCopy()
			now.Status.Conditions = append(now.Status.Conditions, metav1.Condition{
				Type: v1alpha1.ConditionSourcePresent, Status: metav1.ConditionTrue, Reason: "X", LastTransitionTime: metav1.Now(),
			})
			return found.Status().Patch(t.Context(), &now, client.MergeFrom(before), client.DryRunAll)
		})
		answers(t, denied(discoveryPolicy, memberclusters, "teal-joined", `user "`+discoverer+`" may change the status only of members that discovery joined, and member "teal-joined" has no spec.discovered`),
			status(joined, `{"conditions":[`+condition("SourcePresent")+`]}`))
	})
}
