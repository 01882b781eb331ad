package controller

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// seen is what the host holds of a member, with its credential.
type seen struct {
	memberState
	// credential is nil when there is no Secret.
	credential *corev1.Secret
}

func (s *seen) judgeCredential() storedCredential {
	if s.credential == nil {
		return s.judge(nil)
	}
	read := s.readCredential(s.credential)
	return s.judge(&read)
}

// good is a member in good standing; a test case states only its fault.
func good(t *testing.T) seen {
	t.Helper()
	m := &v1alpha1.MemberCluster{}
	m.Name, m.UID, m.Generation = "us-east", "uid-1", 3
	m.Labels = map[string]string{v1alpha1.LabelFederation: "prod"}
	m.Spec.Server = "https://us-east.example.com:6443"
	f := &v1alpha1.Federation{}
	f.Name = "prod"
	f.Spec.Acceptance = v1alpha1.AcceptAutomatic
	s := &corev1.Secret{}
	s.Name, s.Namespace = m.Name, v1alpha1.CredentialsNamespace
	s.Labels = map[string]string{v1alpha1.LabelFederation: "prod", v1alpha1.LabelMember: "us-east"}
	s.OwnerReferences = []metav1.OwnerReference{{Kind: "MemberCluster", Name: m.Name, UID: m.UID}}
	o := seen{memberState{member: m, federation: f, now: now, probe: &observation{outcome: reachable, answered: now}}, s}
	o.store(t, func(*kubeconfig.Access) {})
	return o
}

// found makes a member one that discovery joined to a federation that accepts members so.
func found(acceptance v1alpha1.AcceptancePolicy, discovery v1alpha1.DiscoveryAcceptance) func(*seen) {
	return func(o *seen) {
		o.federation.Spec.Acceptance, o.federation.Spec.Discovery = acceptance, &v1alpha1.Discovery{Acceptance: discovery, Endpoints: []string{"*"}}
		o.member.Spec.Discovered = &v1alpha1.Discovered{Kind: "ClusterAPI", Name: "us-east", UID: "uid-object"}
		o.credential.Labels[v1alpha1.LabelDiscovered] = v1alpha1.DiscoveredValue
	}
}

func token(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

// store puts a credential into the Secret, changed by change.
func (o *seen) store(t *testing.T, change func(*kubeconfig.Access)) {
	t.Helper()
	access := &kubeconfig.Access{Endpoint: endpoint.Of(o.member), Token: token(fmt.Sprintf(`{"exp":%d}`, now.Add(time.Hour).Unix()))}
	change(access)
	data, err := access.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	o.credential.Data = map[string][]byte{v1alpha1.CredentialKey: data}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	const (
		renew = "; renew it: kubectl federate rotate us-east"
		reset = "; store the endpoint of the member's context, if you trust that: kubectl federate join us-east --federation prod --member-context CONTEXT --reset-endpoint --trust-context"
	)
	lives := func(before, after time.Duration) func(*seen) {
		return func(o *seen) {
			o.store(t, func(a *kubeconfig.Access) {
				a.Token = token(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Add(-before).Unix(), now.Add(after).Unix()))
			})
		}
	}
	for _, tt := range []struct {
		name      string
		fault     func(*seen)
		phase     v1alpha1.Phase
		condition string
		reason    string
		message   string
	}{
		{"ready", func(*seen) {}, v1alpha1.PhaseReady, v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialStored,
			"a credential for the member's endpoint is stored"},
		{"leaving", func(o *seen) { o.member.DeletionTimestamp = &metav1.Time{Time: now} }, v1alpha1.PhaseLeaving,
			v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the cluster is a member of the federation"},
		{"no credential", func(o *seen) { o.credential = nil }, v1alpha1.PhaseJoining, v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMissing,
			"no credential is stored: no join has finished yet; store one: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"its Secret was deleted", func(o *seen) {
			o.credential = nil
			o.member.Annotations = map[string]string{v1alpha1.AnnotationJoinedBy: "ann 2026-11-22T12:00:00Z"}
		}, v1alpha1.PhaseNotReady, v1alpha1.ConditionReady, v1alpha1.ReasonCredentialMissing,
			"no credential is stored: its Secret was deleted; store another: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"its Secret was deleted before the join recorded itself", func(o *seen) {
			o.credential = nil
			o.member.Status.LastProbeTime = &metav1.Time{Time: now}
		}, v1alpha1.PhaseNotReady, v1alpha1.ConditionReady, v1alpha1.ReasonCredentialMissing,
			"no credential is stored: its Secret was deleted; store another: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"its Secret was deleted, and it is suspended", func(o *seen) {
			o.credential = nil
			o.member.Status.LastProbeTime = &metav1.Time{Time: now}
			o.member.Spec.Suspended = true
		}, v1alpha1.PhaseSuspended, v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMissing,
			"no credential is stored: its Secret was deleted; store another: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"no federation", func(o *seen) { o.federation = nil }, v1alpha1.PhasePending, v1alpha1.ConditionAccepted, v1alpha1.ReasonFederationMissing,
			`federation "prod" does not exist`},
		{"not accepted", func(o *seen) { o.federation.Spec.Acceptance = v1alpha1.AcceptManual }, v1alpha1.PhasePending, v1alpha1.ConditionAccepted,
			v1alpha1.ReasonAwaitingApproval, `federation "prod" accepts members manually; to accept it, with the verb approve on federations/prod: kubectl federate approve us-east`},
		{"accepted", func(o *seen) {
			o.federation.Spec.Acceptance = v1alpha1.AcceptManual
			o.member.Spec.Accepted = true
		}, v1alpha1.PhaseReady, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the cluster is a member of the federation"},
		{"discovered, and not accepted", found(v1alpha1.AcceptAutomatic, v1alpha1.DiscoveryManual), v1alpha1.PhasePending, v1alpha1.ConditionAccepted,
			v1alpha1.ReasonAwaitingApproval, `clusters that discovery joined wait for approval in federation "prod" (spec.discovery.acceptance); ` +
				"to accept it, with the verb approve on federations/prod: kubectl federate approve us-east"},
		{"discovered, by a federation that does not say", func(o *seen) {
			found(v1alpha1.AcceptAutomatic, "")(o)
			o.federation.Spec.Discovery = nil
		}, v1alpha1.PhasePending, v1alpha1.ConditionAccepted,
			v1alpha1.ReasonAwaitingApproval, `clusters that discovery joined wait for approval in federation "prod" (spec.discovery.acceptance); ` +
				"to accept it, with the verb approve on federations/prod: kubectl federate approve us-east"},
		{"discovered, and accepted", func(o *seen) {
			found(v1alpha1.AcceptAutomatic, v1alpha1.DiscoveryManual)(o)
			o.member.Spec.Accepted = true
		}, v1alpha1.PhaseReady, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the cluster is a member of the federation"},
		{"discovered, and accepted as others are", found(v1alpha1.AcceptAutomatic, v1alpha1.DiscoveryAsFederation), v1alpha1.PhaseReady, v1alpha1.ConditionAccepted,
			v1alpha1.ReasonAccepted, "the cluster is a member of the federation"},
		{"discovered, and not accepted, as others are", found(v1alpha1.AcceptManual, v1alpha1.DiscoveryAsFederation), v1alpha1.PhasePending, v1alpha1.ConditionAccepted,
			v1alpha1.ReasonAwaitingApproval, `federation "prod" accepts members manually; to accept it, with the verb approve on federations/prod: kubectl federate approve us-east`},
		{"suspended until a time that is over", func(o *seen) {
			o.member.Spec.Suspended, o.member.Spec.Suspension = true, &v1alpha1.Suspension{Until: &metav1.Time{Time: o.now}}
		}, v1alpha1.PhaseReady, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the cluster is a member of the federation"},
		{"suspended", func(o *seen) { o.member.Spec.Suspended = true }, v1alpha1.PhaseSuspended, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted,
			"the cluster is a member of the federation"},
		{"another federation's", func(o *seen) { o.credential.Labels[v1alpha1.LabelFederation] = "test" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialNotOwned, `the stored credential was made for federation "test"` + renew},
		{"another object's", func(o *seen) { o.credential.OwnerReferences[0].UID = "uid-0" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialNotOwned, "the stored credential does not belong to this MemberCluster" + renew},
		{"one of discovery, for a member that a person joined", func(o *seen) { o.credential.Labels[v1alpha1.LabelDiscovered] = "true" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialNotOwned,
			"the stored credential is one of discovery (label kubefederate.io/discovered), and a person joined the member" + renew},
		{"one of a person, for a member that discovery joined", func(o *seen) {
			found(v1alpha1.AcceptAutomatic, v1alpha1.DiscoveryAsFederation)(o)
			delete(o.credential.Labels, v1alpha1.LabelDiscovered)
		}, v1alpha1.PhaseNotReady, v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialNotOwned,
			"the stored credential lacks the label kubefederate.io/discovered=true, and discovery joined the member" + renew},
		{"another server", func(o *seen) { o.member.Spec.Server = "https://elsewhere.example.com" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMismatch, "the stored credential's server does not match the MemberCluster" + reset},
		{"another proxy", func(o *seen) { o.member.Spec.ProxyURL = "http://proxy.example.com" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMismatch, "the stored credential's proxy does not match the MemberCluster" + reset},
		{"no end", func(o *seen) { o.store(t, func(a *kubeconfig.Access) { a.Token = token(`{}`) }) }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialWithoutExpiry, "the stored credential does not expire" + renew},
		{"expired", func(o *seen) { o.now = now.Add(time.Hour) }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialExpired, "the stored credential expired at 2026-11-23T13:00:00Z" + renew},
		{"a fifth of its life is left", lives(4*time.Hour, time.Hour), v1alpha1.PhaseReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialExpiring,
			"the stored credential expires at 2026-11-23T13:00:00Z, and the manager cannot renew what is no token of its account" + renew},
		{"a fifth of its life is left of a token that is renewed", func(o *seen) {
			o.store(t, func(a *kubeconfig.Access) { a.Token = ownToken(now.Add(-4*time.Hour), now.Add(time.Hour)) })
		}, v1alpha1.PhaseReady, v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialExpiring,
			"the stored credential expires at 2026-11-23T13:00:00Z, and the manager has not renewed it yet" + renew},
		{"more than a fifth is left", lives(4*time.Hour-time.Second, time.Hour), v1alpha1.PhaseReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialStored, "a credential for the member's endpoint is stored"},
		{"refused by the member", func(o *seen) { o.probe.outcome = outcome{v1alpha1.ReasonUnauthorized, "", 401} }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialRevoked,
			"https://us-east.example.com:6443 refuses the stored credential (401); store another: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"without any right", func(o *seen) {
			o.probe.outcome = outcome{v1alpha1.ReasonForbidden, "get namespace kube-system", 403}
		}, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialRevoked,
			"https://us-east.example.com:6443 refuses the stored credential (403); store another: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"without one right", func(o *seen) { o.probe.outcome = outcome{v1alpha1.ReasonForbidden, "list nodes", 403} }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialStored, "a credential for the member's endpoint is stored"},
		{"refused, and suspended", func(o *seen) {
			o.member.Spec.Suspended = true
			o.probe.outcome = outcome{v1alpha1.ReasonUnauthorized, "", 401}
		}, v1alpha1.PhaseSuspended, v1alpha1.ConditionReady, v1alpha1.ReasonUnauthorized,
			"https://us-east.example.com:6443 does not accept the stored credential (401): its account or its Secret in namespace kubefederate-member, " +
				"or that namespace, was deleted, or the cluster signs tokens with another key; store another: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"not a kubeconfig", func(o *seen) { o.credential.Data = nil }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMalformed, "the stored credential cannot be used: kubeconfig refused: current-context is not set" + renew},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good(t)
			tt.fault(&o)
			status := o.status(o.judgeCredential())
			if status.Phase != tt.phase {
				t.Errorf("phase %s, want %s", status.Phase, tt.phase)
			}
			c := meta.FindStatusCondition(status.Conditions, tt.condition)
			if c == nil {
				t.Fatalf("no condition %s", tt.condition)
			}
			if c.Reason != tt.reason || c.Message != tt.message {
				t.Errorf("%s: %s", tt.condition, cmp.Diff([]string{tt.reason, tt.message}, []string{c.Reason, c.Message}))
			}
			if status.ObservedGeneration != 3 || c.ObservedGeneration != 3 {
				t.Errorf("memberState generations %d and %d, want 3", status.ObservedGeneration, c.ObservedGeneration)
			}
		})
	}
}

// TestNextChange is when a fifth of a credential's life is left, then its end, and then never.
func TestNextChange(t *testing.T) {
	t.Parallel()
	o := good(t)
	o.store(t, func(a *kubeconfig.Access) {
		a.Token = token(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Unix(), now.Add(5*time.Hour).Unix()))
	})
	for _, want := range []time.Time{now.Add(4 * time.Hour), now.Add(5 * time.Hour), {}} {
		got := o.nextChange(o.judgeCredential())
		if !got.Equal(want) {
			t.Errorf("at %s: %s, want %s", o.now, got, want)
		}
		o.now = got
	}
	o.member.Spec.Suspended, o.member.Spec.Suspension = true, &v1alpha1.Suspension{Until: &metav1.Time{Time: o.now.Add(time.Minute)}}
	if got := o.nextChange(o.judgeCredential()); !got.Equal(o.now.Add(time.Minute)) {
		t.Errorf("suspended for a minute: next change at %s", got)
	}
	o.member.Spec.Suspended = false
	if o.credential = nil; !o.nextChange(o.judgeCredential()).IsZero() {
		t.Error("a change without a credential")
	}
}

// TestReady is the condition Ready for each outcome of a probe.
func TestReady(t *testing.T) {
	t.Parallel()
	const (
		server = "https://us-east.example.com:6443"
		join   = "kubectl federate join us-east --federation prod --member-context CONTEXT"
		rotate = "kubectl federate rotate us-east"
		check  = "; check that the cluster runs and that the host can reach it"
	)
	probed := func(reason, cause string, code int) func(*seen) {
		return func(o *seen) { o.probe.outcome = outcome{reason, cause, code} }
	}
	before := func(status metav1.ConditionStatus, reason, message string) func(*seen) {
		return func(o *seen) {
			o.probe = nil
			o.member.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message}}
		}
	}
	for _, tt := range []struct {
		name    string
		observe func(*seen)
		phase   v1alpha1.Phase
		want    string
	}{
		{"reachable", func(*seen) {}, v1alpha1.PhaseReady, "True Reachable: the cluster answers, and is the one that joined"},
		{"not probed", func(o *seen) { o.probe = nil }, v1alpha1.PhaseJoining, "Unknown NotProbed: the manager has not probed the cluster yet"},
		{"not probed by this manager", before("True", "Reachable", "well"), v1alpha1.PhaseReady, "True Reachable: well"},
		{"offline, and not probed by this manager", before("False", "TimedOut", "late"), v1alpha1.PhaseOffline, "False TimedOut: late"},
		{"not probed since there is a credential", before("False", "CredentialMissing", "no"), v1alpha1.PhaseJoining,
			"Unknown NotProbed: the manager has not probed the cluster yet"},
		{"not probed since there is a credential again", func(o *seen) {
			before("False", "CredentialMissing", "no")(o)
			o.member.Status.LastProbeTime = &metav1.Time{Time: now}
		}, v1alpha1.PhaseNotReady, "Unknown NotProbed: the manager has not probed the cluster yet"},
		{"no credential", func(o *seen) { o.credential = nil }, v1alpha1.PhaseJoining,
			"False CredentialMissing: no credential is stored: no join has finished yet; store one: " + join},
		{"expired", func(o *seen) { o.now = now.Add(time.Hour) }, v1alpha1.PhaseNotReady,
			"False CredentialExpired: the stored credential expired at 2026-11-23T13:00:00Z; renew it: " + rotate},
		{"no such name", probed(v1alpha1.ReasonNameNotFound, `no address is known for "us-east.example.com"`, 0), v1alpha1.PhaseOffline,
			"False NameNotFound: no answer from " + server + `: no address is known for "us-east.example.com"` + check},
		{"refused", probed(v1alpha1.ReasonConnectionRefused, "connection refused", 0), v1alpha1.PhaseOffline,
			"False ConnectionRefused: no answer from " + server + ": connection refused" + check},
		{"late", probed(v1alpha1.ReasonTimedOut, "timed out", 0), v1alpha1.PhaseOffline, "False TimedOut: no answer from " + server + ": timed out" + check},
		{"lost", probed(v1alpha1.ReasonUnreachable, "no route to host", 0), v1alpha1.PhaseOffline,
			"False Unreachable: no answer from " + server + ": no route to host" + check},
		{"refused by a proxy", func(o *seen) {
			o.member.Spec.ProxyURL = "http://proxy.example.com:3128"
			o.store(t, func(a *kubeconfig.Access) { a.Endpoint = endpoint.Of(o.member) })
			probed(v1alpha1.ReasonConnectionRefused, "connection refused", 0)(o)
		}, v1alpha1.PhaseOffline, "False ConnectionRefused: no answer from " + server + " through proxy http://proxy.example.com:3128: connection refused; " +
			"check that the proxy and the cluster run and that the host can reach the proxy"},
		{"certificate", probed(v1alpha1.ReasonCertificateInvalid, "x509: certificate signed by unknown authority", 0), v1alpha1.PhaseNotReady,
			"False CertificateInvalid: the certificate of " + server + " does not verify: x509: certificate signed by unknown authority; store the CA that signed it: " + join + " --member-certificate-authority FILE"},
		{"401", probed(v1alpha1.ReasonUnauthorized, "", 401), v1alpha1.PhaseNotReady,
			"False Unauthorized: " + server + " does not accept the stored credential (401): its account or its Secret in namespace kubefederate-member, " +
				"or that namespace, was deleted, or the cluster signs tokens with another key; store another: " + join},
		{"403", probed(v1alpha1.ReasonForbidden, "list nodes", 403), v1alpha1.PhaseNotReady,
			"False Forbidden: the stored credential may not list nodes at " + server + " (403), which ClusterRole kubefederate-member:manager and its binding allow; restore them: " + join},
		{"500", probed(v1alpha1.ReasonServerError, "etcd is gone", 500), v1alpha1.PhaseNotReady,
			"False ServerError: " + server + " answers with the error 500 Internal Server Error: etcd is gone"},
		{"503 without a word", probed(v1alpha1.ReasonServerError, "", 503), v1alpha1.PhaseNotReady,
			"False ServerError: " + server + " answers with the error 503 Service Unavailable"},
		{"302", probed(v1alpha1.ReasonUnexpectedAnswer, "get namespace kube-system returns 302 Found", 302), v1alpha1.PhaseNotReady,
			"False UnexpectedAnswer: " + server + " does not answer as a Kubernetes API server: get namespace kube-system returns 302 Found; correct the endpoint: " + join + " --member-server URL"},
		{"another cluster", probed(v1alpha1.ReasonIdentityMismatch, "id-2", 0), v1alpha1.PhaseNotReady,
			"False IdentityMismatch: another cluster answers at " + server + `: its ID is "id-2" and not "id-1"; the credential is no longer sent to it; ` +
				"if it replaces the member, remove the member before the other cluster joins: kubectl federate unjoin us-east --force"},
		{"not allowed", probed(v1alpha1.ReasonEndpointNotAllowed, `"us-east.example.com" resolves to 10.9.9.9, which is not in spec.discovery.endpoints`, 0), v1alpha1.PhaseNotReady,
			`False EndpointNotAllowed: the manager does not connect to the cluster: "us-east.example.com" resolves to 10.9.9.9, which is not in spec.discovery.endpoints; ` +
				`if it belongs there, add it to spec.discovery.endpoints of federation "prod": kubectl edit federations.kubefederate.io prod`},
		{"never allowed", probed(v1alpha1.ReasonEndpointNeverAllowed, `"us-east.example.com" resolves to 127.0.0.1, which is a loopback address, which discovery never allows`, 0), v1alpha1.PhaseNotReady,
			`False EndpointNeverAllowed: the manager does not connect to the cluster: "us-east.example.com" resolves to 127.0.0.1, which is a loopback address, which discovery never allows; ` +
				`if it belongs there, remove the member and have a person join it: kubectl federate unjoin us-east`},
		{"a list that cannot be read", func(o *seen) {
			o.federation.Spec.Discovery = &v1alpha1.Discovery{Endpoints: []string{"10.0.0.1:443"}}
			probed(v1alpha1.ReasonEndpointNotAllowed, `"us-east.example.com" is not in spec.discovery.endpoints`, 0)(o)
		}, v1alpha1.PhaseNotReady,
			`False EndpointNotAllowed: the manager does not connect to the cluster: "us-east.example.com" is not in spec.discovery.endpoints; ` +
				`spec.discovery.endpoints of federation "prod" allows nothing, since its entry 1, "10.0.0.1:443": it has a port, and every port of a host is allowed: write 10.0.0.1; correct it: kubectl edit federations.kubefederate.io prod`},
		{"waits for acceptance, and is asked", func(o *seen) { o.federation.Spec.Acceptance = v1alpha1.AcceptManual }, v1alpha1.PhasePending,
			"True Reachable: the cluster answers, and is the one that joined"},
		{"suspended and gone", func(o *seen) {
			o.member.Spec.Suspended = true
			probed(v1alpha1.ReasonTimedOut, "timed out", 0)(o)
		}, v1alpha1.PhaseSuspended, "False TimedOut: no answer from " + server + ": timed out" + check},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good(t)
			o.member.Spec.ClusterID = "id-1"
			tt.observe(&o)
			status := o.status(o.judgeCredential())
			c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
			if diff := cmp.Diff(tt.want, fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)); diff != "" {
				t.Error(diff)
			}
			if status.Phase != tt.phase {
				t.Errorf("phase %s, want %s", status.Phase, tt.phase)
			}
		})
	}
}

// TestRevokedStays holds that a refused credential stays refused until the member takes it or another is stored.
func TestRevokedStays(t *testing.T) {
	t.Parallel()
	o := good(t)
	valid := func() string {
		o.member.Status = o.status(o.judgeCredential())
		return meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionCredentialValid).Reason
	}
	refused, answers := o.probe, *o.probe
	refused.outcome = outcome{v1alpha1.ReasonUnauthorized, "", 401}
	for i, step := range []struct {
		probe *observation
		want  string
	}{
		{refused, v1alpha1.ReasonCredentialRevoked},
		{nil, v1alpha1.ReasonCredentialRevoked}, // a manager that has just started
		{&observation{outcome: outcome{reason: v1alpha1.ReasonTimedOut}, answered: now}, v1alpha1.ReasonCredentialRevoked},
		{&answers, v1alpha1.ReasonCredentialStored},
		{refused, v1alpha1.ReasonCredentialRevoked},
	} {
		if o.probe = step.probe; valid() != step.want {
			t.Errorf("step %d: %s, want %s", i, valid(), step.want)
		}
	}
	o.store(t, func(a *kubeconfig.Access) {
		a.Token = token(fmt.Sprintf(`{"exp":%d,"jti":"2"}`, now.Add(time.Hour).Unix()))
	})
	if o.probe = nil; valid() != v1alpha1.ReasonCredentialStored {
		t.Errorf("another credential: %s", valid())
	}
}

// TestProbeRequest holds when status.observedProbeRequest has the value of the annotation.
func TestProbeRequest(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", v1alpha1.MaxProbeRequest+1)
	for _, tt := range []struct {
		name           string
		request, state string
		is             func(*seen)
		want, known    string
	}{
		{"no request", "", "old", func(*seen) {}, "old", ""},
		{"not probed yet", "new", "old", func(*seen) {}, "old", "new"},
		{"an older one is answered", "new", "", func(o *seen) { o.probe.request = "old" }, "", "new"},
		{"answered", "new", "", func(o *seen) { o.probe.request = "new" }, "new", "new"},
		{"answered before", "new", "new", func(o *seen) { o.probe = nil }, "new", ""},
		{"too long", long, "", func(o *seen) { o.probe.request = long }, "", ""},
		{"no credential", "new", "", func(o *seen) { o.credential = nil }, "new", "new"},
		{"expired", "new", "", func(o *seen) { o.now = now.Add(time.Hour) }, "new", "new"},
		{"leaving", "new", "", func(o *seen) { o.member.DeletionTimestamp = &metav1.Time{Time: now} }, "new", "new"},
	} {
		o := good(t)
		o.member.Annotations = map[string]string{v1alpha1.AnnotationProbeRequested: tt.request}
		o.member.Status.ObservedProbeRequest = tt.state
		tt.is(&o)
		if got := o.status(o.judgeCredential()).ObservedProbeRequest; got != tt.want {
			t.Errorf("%s: %q is answered, want %q", tt.name, got, tt.want)
		}
		if got := o.known(o.judgeCredential()).request; got != tt.known {
			t.Errorf("%s: the prober gets %q, want %q", tt.name, got, tt.known)
		}
	}
}

// TestTarget holds which members are probed.
func TestTarget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		is    func(*seen)
		asked bool
	}{
		{"good", func(*seen) {}, true},
		{"pending", func(o *seen) { o.federation.Spec.Acceptance = v1alpha1.AcceptManual }, true},
		{"suspended", func(o *seen) { o.member.Spec.Suspended = true }, true},
		{"leaving", func(o *seen) { o.member.DeletionTimestamp = &metav1.Time{Time: now} }, false},
		{"no credential", func(o *seen) { o.credential = nil }, false},
		{"a credential that leads elsewhere", func(o *seen) { o.member.Spec.Server = "https://elsewhere.example.com" }, false},
		{"another object's credential", func(o *seen) { o.credential.OwnerReferences = nil }, false},
		{"expired", func(o *seen) { o.now = now.Add(time.Hour) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good(t)
			tt.is(&o)
			stored := o.judgeCredential()
			if got := o.target(stored); (got != nil) != tt.asked || got != nil && got.credential == "" {
				t.Errorf("target %v", got)
			}
		})
	}
	// What makes the prober begin anew.
	o := good(t)
	first := o.target(o.judgeCredential())
	o.store(t, func(a *kubeconfig.Access) {
		a.Token = token(fmt.Sprintf(`{"exp":%d,"jti":"2"}`, now.Add(time.Hour).Unix()))
	})
	if second := o.target(o.judgeCredential()); *second == *first {
		t.Error("another credential is the same target")
	}
}

// TestProbeTime is when status.lastProbeTime changes, and to what: each time is a write on the host.
func TestProbeTime(t *testing.T) {
	t.Parallel()
	facts := &v1alpha1.Facts{Nodes: 3}
	gone := func(o *seen) { o.probe.outcome = outcome{reason: v1alpha1.ReasonTimedOut} }
	for _, tt := range []struct {
		name  string
		later func(*seen)
		// answered is when the member answered last, and want what the status says, after the first time.
		answered, want time.Duration
	}{
		{"reachable", func(*seen) {}, time.Minute, 0},
		{"reachable for an hour", func(*seen) {}, time.Hour, 0},
		{"reachable for long", func(*seen) {}, probeTimeAge, probeTimeAge},
		{"another number of nodes", func(o *seen) { o.probe.facts = &v1alpha1.Facts{Nodes: 4} }, time.Minute, time.Minute},
		{"gone", gone, time.Hour, time.Hour},
		{"gone, and answered another manager after", gone, -time.Hour, 0},
		{"gone, and it is not known when it answered", func(o *seen) { gone(o); o.probe.answered = time.Time{} }, time.Hour, 0},
		{"gone for long", func(o *seen) {
			gone(o)
			o.member.Status.Conditions[2].Status, o.member.Status.Conditions[2].Reason = metav1.ConditionFalse, v1alpha1.ReasonTimedOut
		}, time.Hour, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good(t)
			o.probe.facts = facts
			o.member.Status = o.status(o.judgeCredential())
			if before := o.member.Status.LastProbeTime; before == nil || !before.Time.Equal(now) {
				t.Fatalf("the first time is %v", before)
			}
			o.probe = &observation{outcome: reachable, answered: now.Add(tt.answered), facts: facts.DeepCopy()}
			tt.later(&o)
			status := o.status(o.judgeCredential())
			if got := status.LastProbeTime.Sub(now); got != tt.want {
				t.Errorf("lastProbeTime is %s after the first time, want %s", got, tt.want)
			}
			if got := status.Facts.Nodes; got != o.probe.facts.Nodes {
				t.Errorf("%d nodes", got)
			}
		})
	}
	o := good(t)
	gone(&o)
	o.probe.answered = time.Time{}
	if got := o.status(o.judgeCredential()).LastProbeTime; got != nil {
		t.Errorf("a member that has never answered did at %s", got)
	}
}

func TestStatusKeepsTransitionTimes(t *testing.T) {
	t.Parallel()
	o := good(t)
	o.member.Status = o.status(o.judgeCredential())
	then := metav1.NewTime(now.Add(-time.Hour))
	for i := range o.member.Status.Conditions {
		o.member.Status.Conditions[i].LastTransitionTime = then
	}
	if diff := cmp.Diff(o.member.Status, o.status(o.judgeCredential())); diff != "" {
		t.Errorf("a status that did not change differs:\n%s", diff)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	member := func(phase v1alpha1.Phase) (m v1alpha1.MemberCluster) {
		m.Status.Phase = phase
		return m
	}
	f := &v1alpha1.Federation{}
	f.Generation = 2
	members := []v1alpha1.MemberCluster{member(v1alpha1.PhaseReady), member(v1alpha1.PhasePending), member(v1alpha1.PhaseReady), member("")}
	judged := &judgements{of: map[string]judgement{}}
	for i := range members {
		members[i].Name = fmt.Sprint(i)
		judged.note(memberState{member: &members[i], federation: f}, false)
	}
	want := v1alpha1.FederationStatus{ObservedGeneration: 2, Members: 4, Ready: 2, Pending: 1}
	if diff := cmp.Diff(want, count(f, members, judged)); diff != "" {
		t.Error(diff)
	}
}

// TestCountViolating holds that a generation is observed when every member was judged by its rules, and that what was found counts
// before it is in the cache.
func TestCountViolating(t *testing.T) {
	t.Parallel()
	f := &v1alpha1.Federation{}
	f.UID, f.Generation = "f", 2
	f.Status.ObservedGeneration = 1
	members := make([]v1alpha1.MemberCluster, 2)
	members[0].Name, members[1].Name = "a", "b"
	members[0].Status.Violations = []v1alpha1.Violation{{}}
	judged := &judgements{of: map[string]judgement{}}
	note := func(i int, generation int64, federation types.UID, violating bool) {
		by := f.DeepCopy()
		by.Generation, by.UID = generation, federation
		judged.note(memberState{member: &members[i], federation: by}, violating)
	}
	for _, step := range []struct {
		name       string
		do         func()
		violating  int32
		generation int64
	}{
		{"a manager that starts", func() {}, 1, 1},
		{"one by the rules before", func() { note(0, 2, "f", true); note(1, 1, "f", false) }, 1, 1},
		{"one by another federation of the name", func() { note(1, 2, "e", true) }, 1, 1},
		{"all, and the cache is behind", func() { note(1, 2, "f", true) }, 2, 2},
		{"one is mended", func() { note(0, 2, "f", false) }, 1, 2},
		{"one was made anew", func() { members[1].UID = "new" }, 0, 1},
		{"without a federation", func() { judged.note(memberState{member: &members[0]}, false) }, 1, 1},
	} {
		step.do()
		got := count(f, members, judged)
		if got.Violating != step.violating || got.ObservedGeneration != step.generation {
			t.Errorf("%s: %d violating at %d, want %d at %d", step.name, got.Violating, got.ObservedGeneration, step.violating, step.generation)
		}
	}
}

// TestCountLimits holds the condition of a federation that has more members than it takes.
func TestCountLimits(t *testing.T) {
	t.Parallel()
	f := &v1alpha1.Federation{}
	f.Name = "prod"
	members := make([]v1alpha1.MemberCluster, 14)
	for i := range members {
		members[i].Labels = map[string]string{v1alpha1.LabelFederation: "prod", "zone": fmt.Sprint(i / 2)}
	}
	condition := func() string {
		f.Status = count(f, members, &judgements{})
		c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.ConditionWithinLimits)
		if c == nil {
			return ""
		}
		return fmt.Sprint(c.Status, " ", c.Reason, ": ", c.Message)
	}
	for _, step := range []struct {
		limits []v1alpha1.Limit
		want   string
	}{
		{nil, ""},
		{[]v1alpha1.Limit{{Max: 14}}, "True LimitsKept: the federation has no more members than its limits allow"},
		{[]v1alpha1.Limit{{Max: 13}, {PerLabel: "zone", Max: 1}}, `False LimitExceeded: federation "prod" has 14 members and takes at most 13; ` +
			`federation "prod" has 2 members with zone=0 and takes at most 1; federation "prod" has 2 members with zone=1 and takes at most 1; ` +
			`federation "prod" has 2 members with zone=2 and takes at most 1; federation "prod" has 2 members with zone=3 and takes at most 1; and 3 more`},
		{nil, ""},
	} {
		f.Spec.Limits = step.limits
		if got := condition(); got != step.want {
			t.Errorf("%v:\ngot  %s\nwant %s", step.limits, got, step.want)
		}
	}
}

// TestTouchesMembers holds that a new count of a federation does not reconcile its members, and new rules do.
func TestTouchesMembers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*v1alpha1.Federation)
		want   bool
	}{
		"a count":         {func(f *v1alpha1.Federation) { f.Status.Members++ }, false},
		"a spec":          {func(f *v1alpha1.Federation) { f.Generation++ }, true},
		"labels":          {func(f *v1alpha1.Federation) { f.Labels = map[string]string{"a": "b"} }, true},
		"another of name": {func(f *v1alpha1.Federation) { f.UID = "2" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := &v1alpha1.Federation{}
			after := before.DeepCopy()
			test.change(after)
			if got := touchesMembers(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
