// Package cases holds one list of changes and what the rules say about each, whole. The unit tests of pkg/rules
// judge it in memory, those of pkg/lint as manifests, and the integration tests write it to a real API server: all must
// print the same.
//
// Every case has a federation, members and addresses of its own, so that all of them fit on one host.
package cases

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Case is a change on a host and what is said about it.
type Case struct {
	// Rule that the case is about. Others may have a word in it too.
	Rule rules.ID
	// Name is unique.
	Name string

	// Federations, Members and Namespaces are on the host before. What has a deletion time there is being deleted.
	Federations []*v1alpha1.Federation
	Members     []*v1alpha1.MemberCluster
	Namespaces  []*metav1.ObjectMeta
	// Exactly one of them is the change. What it calls old is on the host as well.
	Member     *rules.MemberChange
	Federation *rules.FederationChange

	// Refusals and Warnings are what is printed, in order: field and fault, and a line of at most
	// rules.MaxWarning bytes.
	Refusals, Warnings []string
	// Unreachable says why no API server lets this get as far as the rules, or why its text depends on what
	// else is on the host. Empty for most.
	Unreachable string
}

// Now is the time that the certificates below were made at.
var Now = time.Now().Truncate(time.Second)

func fed(name string) *v1alpha1.Federation {
	return &v1alpha1.Federation{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.FederationSpec{Acceptance: v1alpha1.AcceptAutomatic, Enforcement: v1alpha1.EnforceDeny},
	}
}

// member is valid by default: a case states only its fault.
func member(name, federation string) *v1alpha1.MemberCluster {
	return &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelFederation: federation}},
		Spec: v1alpha1.MemberClusterSpec{
			ClusterID: "id-" + name,
			Server:    "https://" + name + ".example.com:6443",
			JoinedWith: &v1alpha1.JoinFacts{
				KubernetesVersion: "v1.36.3", Regions: []string{"us-east-1"}, Zones: []string{"us-east-1a", "us-east-1b"},
			},
		},
	}
}

// seen is what the manager saw on a member, which is not what its joiner saw.
func seen(version, region, zone string) func(*v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) {
		m.Status.Facts = &v1alpha1.Facts{Nodes: 1}
		m.Status.Facts.JoinFacts = v1alpha1.JoinFacts{KubernetesVersion: version, Regions: []string{region}, Zones: []string{zone}}
	}
}

func leaving(m metav1.Object) {
	m.SetDeletionTimestamp(&metav1.Time{Time: Now})
	m.SetFinalizers([]string{"example.com/hold"})
}

// KeyPair is a self-signed certificate that ends at a time, and its key, both PEM.
func KeyPair(end time.Time) (certificate, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return certified(end, private, private)
}

// WideKeyPair is such a pair with an RSA key of 19,630 bits, which anybody can make: 2^9689-1 and 2^9941-1 are prime.
func WideKeyPair(end time.Time) (certificate, key []byte) {
	one := big.NewInt(1)
	prime := func(exponent uint) *big.Int { p := new(big.Int).Lsh(one, exponent); return p.Sub(p, one) }
	p, q := prime(9689), prime(9941)
	private := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q}}
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	private.D = new(big.Int).ModInverse(big.NewInt(65537), new(big.Int).Mul(p1, q1))
	private.Precomputed.Dp, private.Precomputed.Dq = new(big.Int).Mod(private.D, p1), new(big.Int).Mod(private.D, q1)
	private.Precomputed.Qinv = new(big.Int).ModInverse(q, p)
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return certified(end, private, signer)
}

// certified is a certificate of a key that another one signed, and the key.
func certified(end time.Time, private, signer crypto.Signer) (certificate, key []byte) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: end.Add(-time.Hour), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
	}
	parent := &x509.Certificate{Subject: template.Subject}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		panic(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// Certificate is a self-signed certificate that ends at a time, PEM.
func Certificate(end time.Time) []byte {
	certificate, _ := KeyPair(end)
	return certificate
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// set is a host that a case is built on.
type set struct {
	*Case
	f *v1alpha1.Federation
}

// others adds members to the federation of the case, the first one named a.
func (s set) others(n int, edit func(*v1alpha1.MemberCluster)) {
	for i := range n {
		m := member(s.f.Name+"-"+string(rune('a'+i)), s.f.Name)
		if edit != nil {
			edit(m)
		}
		s.Members = append(s.Members, m)
	}
}

// create is the case of a new member of a new federation, which is refused with these texts, if any.
func create(rule rules.ID, name string, edit func(set, *v1alpha1.MemberCluster), refusals ...string) Case {
	c := Case{Rule: rule, Name: name, Refusals: refusals}
	f, m := fed(name), member(name+"-m", name)
	c.Federations = []*v1alpha1.Federation{f}
	c.Member = &rules.MemberChange{New: m}
	edit(set{&c, f}, m)
	return c
}

// update is the case of a member that changes.
func update(rule rules.ID, name string, edit func(s set, before, after *v1alpha1.MemberCluster), refusals ...string) Case {
	c := Case{Rule: rule, Name: name, Refusals: refusals}
	f, before := fed(name), member(name+"-m", name)
	after := before.DeepCopy()
	c.Federations = []*v1alpha1.Federation{f}
	c.Member = &rules.MemberChange{Old: before, New: after}
	edit(set{&c, f}, before, after)
	c.Members = append(c.Members, before)
	return c
}

// define is the case of a new federation.
func define(rule rules.ID, name string, edit func(*Case, *v1alpha1.Federation), refusals ...string) Case {
	c := Case{Rule: rule, Name: name, Refusals: refusals, Federation: &rules.FederationChange{New: fed(name)}}
	edit(&c, c.Federation.New)
	return c
}

// change is the case of a federation that changes.
func change(rule rules.ID, name string, edit func(s set, before, after *v1alpha1.Federation), refusals ...string) Case {
	c := Case{Rule: rule, Name: name, Refusals: refusals}
	before, after := fed(name), fed(name)
	c.Federation = &rules.FederationChange{Old: before, New: after}
	edit(set{&c, before}, before, after)
	c.Federations = append(c.Federations, before)
	return c
}

// remove is the case of a federation that is deleted.
func remove(rule rules.ID, name string, edit func(set, *v1alpha1.Federation), refusals ...string) Case {
	c := Case{Rule: rule, Name: name, Refusals: refusals}
	f := fed(name)
	c.Federations = []*v1alpha1.Federation{f}
	c.Federation = &rules.FederationChange{Old: f}
	edit(set{&c, f}, f)
	return c
}

// label sets a label of a member.
func label(key, value string) func(*v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) { m.Labels[key] = value }
}

// All are the cases, members before federations, in the order of the rules.
func All() []Case {
	var all []Case
	all = append(all, membership()...)
	all = append(all, labels()...)
	all = append(all, sizes()...)
	all = append(all, expressions()...)
	all = append(all, connection()...)
	all = append(all, discovery()...)
	all = append(all, federations()...)
	all = append(all, expressionRules()...)
	all = append(all, inventories()...)
	all = append(all, services()...)
	all = append(all, discoveries()...)
	all = append(all, tightening()...)
	return append(all, stricter()...)
}
