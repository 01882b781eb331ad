package federate

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	lost := &cluster.Error{Side: cluster.Member, Server: "https://east.example.com", Verb: "apply", Object: cluster.Ref{Resource: cluster.Roles, Namespace: "a", Name: "b"}, Fault: cluster.FaultUnreachable, Err: errors.New("connection reset by peer")}
	finding := Finding{Side: cluster.Host, Object: `MemberCluster "east"`, Cause: "no", Remedy: "ask"}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"refusal", &Refusal{Operation: `join "east" to federation "prod"`, Findings: []Finding{finding, {Side: cluster.Member, Cause: "no either"}}}, `
cannot join "east" to federation "prod"; nothing was changed
* host: MemberCluster "east": no: ask
* member: no either`},
		{"refusal halfway", &Refusal{Operation: `join "east" to federation "prod"`, Undone: true, Findings: []Finding{finding}}, `
cannot join "east" to federation "prod"; all changes were rolled back
* host: MemberCluster "east": no: ask`},
		{"refusal without an operation", &Refusal{Findings: []Finding{finding}}, `host: MemberCluster "east": no: ask`},
		{"undone", &Undone{Operation: `join "east" to federation "prod"`, Err: lost}, `
cannot join "east" to federation "prod"; all changes were rolled back
* member: no answer from https://east.example.com (apply Role "a/b"): connection reset by peer: check the endpoint of the context and that this machine can reach it`},
		{"partial", &Partial{Operation: `join "east" to federation "prod"`, Left: []string{`member: Role "a/b"`}, Done: []string{"something"}, Next: "kubectl federate join east", Err: lost}, `
could not finish: join "east" to federation "prod"
* member: no answer from https://east.example.com (apply Role "a/b"): connection reset by peer: check the endpoint of the context and that this machine can reach it
* done: something
* left: member: Role "a/b"
to continue, run: kubectl federate join east`},
		{"both sides", bothSides([]error{lost, lost, &cluster.Error{Side: cluster.Host, Server: "https://host", Fault: cluster.FaultUnauthorized, Err: errors.New("no")}}), `
host: https://host does not accept the credential of the context (401): log in again or choose another context
member: no answer from https://east.example.com (apply Role "a/b"): connection reset by peer: check the endpoint of the context and that this machine can reach it`},
		{"a server that sends escape sequences", &Refusal{Findings: []Finding{{Side: cluster.Member, Cause: "red \x1b[31m\nand more"}}}, `member: red \x1b[31m and more`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			compare(t, "text", tt.err.Error(), tt.want)
		})
	}
}

// TestStopped pins why an operation ended that was stopped from outside.
func TestStopped(t *testing.T) {
	t.Parallel()
	interrupt, cancel := context.WithCancel(t.Context())
	cancel()
	over, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	hung := &cluster.Error{Side: cluster.Member, Server: "https://east", Verb: "get", Fault: cluster.FaultUnreachable, Err: context.DeadlineExceeded}
	refusal := &Refusal{Findings: []Finding{{Side: cluster.Host, Cause: "no"}}}
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want string
	}{
		{t.Context(), hung, "member: no answer from https://east: timed out: check the endpoint of the context and that this machine can reach it"},
		{over, hung, "member: no answer from https://east: timed out: check the endpoint of the context and that this machine can reach it"},
		{over, over.Err(), "timed out (--timeout)"},
		{over, refusal, "host: no"},
		{interrupt, hung, "interrupted"},
		{interrupt, interrupt.Err(), "interrupted"},
		{interrupt, refusal, "host: no"},
	} {
		got := stopped(tt.ctx, tt.err)
		compare(t, "text", got.Error(), tt.want)
		if !errors.Is(got, tt.err) {
			t.Errorf("%v does not hold %v", got, tt.err)
		}
	}
}

func TestFindingsOfAStatus(t *testing.T) {
	t.Parallel()
	status := &apierrors.StatusError{ErrStatus: metav1.Status{
		Reason: metav1.StatusReasonInvalid, Code: 422, Message: "all of it",
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
			{Field: "metadata.labels[example.com/team]", Message: "Required value: name the owning team"},
			{Field: "spec.server", Message: `Invalid value: "https://": names no host`},
		}},
	}}
	err := &cluster.Error{Side: cluster.Host, Object: host.MemberRef("east"), Err: status}
	compare(t, "findings", texts(findingsOf(err)), `
host: MemberCluster "east": metadata.labels[example.com/team]: Required value: name the owning team
host: MemberCluster "east": spec.server: Invalid value: "https://": names no host`)
	if !isRefused(err) {
		t.Error("422 is not taken for a refusal")
	}
}

func TestAttempt(t *testing.T) {
	t.Parallel()
	a := newAttempt(now)
	a.undoing = true
	if got := parseAttempt(a.String()); got != a {
		t.Errorf("parsed %+v, wrote %+v", got, a)
	}
	if !a.underway(now.Add(rollbackTimeout)) {
		t.Error("another run does not wait as long as rolling back may take")
	}
	if a.underway(now.Add(rollbackLease)) {
		t.Error("a run that died while it undid holds the member for ever")
	}
	if b := newAttempt(now); b.id == a.id || b.underway(now) {
		t.Errorf("a new attempt is %+v", b)
	}
	if got := parseAttempt("garbage"); got.underway(now) || parseAttempt("").underway(now) {
		t.Errorf("garbage is %+v", got)
	}
}

// TestCommands pins that a command which continues says all that the run was given.
func TestCommands(t *testing.T) {
	t.Parallel()
	proxy, name, prod := "socks5://p", "n", command.Host{Flags: []command.Flag{{Name: "context", Value: "prod"}}}
	o := joinOptions(func(o *JoinOptions) {
		o.Server, o.ProxyURL, o.TLSServerName, o.CABundle, o.Cluster.Context, o.Cluster.Kubeconfig = "https://e", &proxy, &name, []byte("CA"), "arn:aws:eks:us-east-1:1:cluster/a b", "/f"
		o.Labels, o.TokenLifetime, o.TakeOver = map[string]string{"team": "blue"}, 168*time.Hour, true
	})
	got := prod.Line(o.command())
	const want = `kubectl federate join east --federation prod --member-context 'arn:aws:eks:us-east-1:1:cluster/a b' --member-kubeconfig /f --labels team=blue --member-server https://e --member-certificate-authority FILE --member-proxy-url socks5://p --member-tls-server-name n --token-lifetime 7d --take-over --context prod`
	if got != want {
		t.Errorf("command %s\nwant    %s", got, want)
	}
	o.CABundle, o.CertificateAuthority = []byte{}, new("")
	if got, want := prod.Line(o.command()), strings.Replace(want, "authority FILE", "authority ''", 1); got != want {
		t.Errorf("command %s\nwant    %s", got, want)
	}
	for d, want := range map[time.Duration]string{90 * 24 * time.Hour: "90d", 36 * time.Hour: "36h", 90 * time.Minute: "90m", 61 * time.Second: "1m1s"} {
		if got := short(d); got != want {
			t.Errorf("short(%s) = %s, want %s", d, got, want)
		}
	}
}

// TestOvertaken pins what a join says of answers that rest on what another client removed meanwhile, and that it leaves all
// others alone.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	resource := func(r cluster.Resource) schema.GroupResource { return r.GroupResource() }
	terminating := apierrors.NewForbidden(resource(cluster.Secrets), "x", errors.New("it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	notServed := apierrors.NewNotFound(resource(cluster.ServiceAccounts), v1alpha1.ManagerAccount)
	notServed.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeUnexpectedServerResponse}}
	namesNothing := apierrors.NewGenericServerResponse(http.StatusNotFound, "", schema.GroupResource{}, "", "", 0, false)
	binding := member.BindingRefs()[0]
	steps := []Step{{Side: cluster.Member}, {Side: cluster.Member, Object: binding}, {Side: cluster.Host, Object: host.MemberRef("east")}}
	const gone = " by another client while this join ran"
	for _, tt := range []struct {
		name string
		side cluster.Side
		err  error
		want string
	}{
		{"the account", cluster.Member, apierrors.NewNotFound(resource(cluster.ServiceAccounts), v1alpha1.ManagerAccount),
			`member: ServiceAccount "kubefederate-member/kubefederate-manager": was removed` + gone},
		{"the Secret of the token", cluster.Member, apierrors.NewNotFound(resource(cluster.Secrets), binding.Name),
			`member: Secret "kubefederate-member/kubefederate-manager-binding": was removed` + gone},
		{"the Secret of the token, made anew", cluster.Member, apierrors.NewConflict(schema.GroupResource{Resource: "Secret"}, binding.Name, errors.New("the UID does not match")),
			`member: Secret "kubefederate-member/kubefederate-manager-binding": was changed` + gone},
		{"the namespace", cluster.Member, apierrors.NewNotFound(resource(cluster.Namespaces), v1alpha1.MemberNamespace),
			`member: Namespace "kubefederate-member": was removed` + gone},
		{"the namespace, which is ending", cluster.Member, terminating, `member: Namespace "kubefederate-member": was removed` + gone},
		{"the member", cluster.Host, apierrors.NewNotFound(resource(cluster.MemberClusters), "east"), `host: MemberCluster "east": was removed` + gone},
		{"another object", cluster.Host, apierrors.NewNotFound(resource(cluster.Federations), "prod"), `host: get it: federations.kubefederate.io "prod" not found`},
		{"a kind that is not served", cluster.Member, notServed, `member: get it: serviceaccounts "kubefederate-manager" not found`},
		{"a kind that is not served, of a group that is", cluster.Member, namesNothing, "member: get it: the server could not find the requested resource"},
		{"a conflict", cluster.Host, apierrors.NewConflict(resource(cluster.MemberClusters), "east", errors.New("it was modified")),
			`host: get it: Operation cannot be fulfilled on memberclusters.kubefederate.io "east": it was modified`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := &cluster.Error{Side: tt.side, Verb: "get it", Err: tt.err}
			got := overtaken(steps, err)
			compare(t, "text", got.Error(), tt.want)
			if !errors.Is(got, tt.err) {
				t.Errorf("%v does not hold %v", got, tt.err)
			}
		})
	}
}
