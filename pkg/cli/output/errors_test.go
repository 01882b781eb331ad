package output

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

func TestReason(t *testing.T) {
	t.Parallel()
	findings := []federate.Finding{{Side: cluster.Host, Cause: "one"}, {Side: cluster.Member, Cause: "two", Remedy: "do"}}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&federate.Refusal{Operation: "join", Findings: findings}, "host: one; member: two: do"},
		{&federate.Refusal{Operation: "join", Findings: findings[:1], Undone: true}, "host: one; all changes were rolled back"},
		{&federate.Undone{Operation: "join", Err: errors.New("no answer")}, "no answer; all changes were rolled back"},
		{&federate.Partial{Operation: "unjoin", Err: errors.New("no answer"), Done: []string{"1 of 2 steps"}, Next: "again"},
			"could not finish: unjoin; no answer; done: 1 of 2 steps; to continue, run: again"},
		{errors.New("a\nb"), "a; b"},
	} {
		if got := Reason(tt.err); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "MemberCluster"}, "a", field.ErrorList{field.Required(field.NewPath("x"), "y")})
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "memberclusters"}, "a", errors.New("no"))
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{Usagef("x"), 1},
		{apierrors.NewInternalError(errors.New("x")), 1},
		{fmt.Errorf("host: %w", invalid), 2},
		{fmt.Errorf("host: %w", forbidden), 2},
		{&cluster.Error{Verb: "patch", Err: apierrors.NewBadRequest(`admission webhook "x" denied the request: no`)}, 2},
		{&cluster.Error{Verb: "list", Err: apierrors.NewBadRequest("unable to parse the selector")}, 1},
		{&federate.Refusal{}, 2},
		{&federate.Undone{Err: forbidden}, 2},
		{&federate.Undone{Err: errors.New("x")}, 1},
		{&federate.Partial{Err: forbidden}, 3},
		{&Exit{ExitRefused, forbidden}, 2},
		{&Exit{ExitPartly, forbidden}, 3},
	} {
		if got := ExitCode(tt.err); got != tt.want {
			t.Errorf("exit code of %v is %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "MemberCluster"}, "a", field.ErrorList{
		field.Required(field.NewPath("metadata", "labels").Key("team"), "federation asks for it"),
		field.NotFound(field.NewPath("spec"), "x\x1b[31m"),
	})
	want := "The MemberCluster \"a\" is invalid:\n" +
		"* metadata.labels[team]: Required value: federation asks for it\n" +
		"* spec: Not found: \"x\\x1b[31m\""
	if diff := cmp.Diff(want, ErrorText(fmt.Errorf("host: %w", invalid))); diff != "" {
		t.Error(diff)
	}
	if got, want := ErrorText(errors.New("x\x1b[31m\nnext")), `x\x1b[31m`+"\nnext"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestDeniedRead holds which role is named to who may not read federations and members.
func TestDeniedRead(t *testing.T) {
	t.Parallel()
	forbidden := func(side cluster.Side, verb string, object cluster.Ref) error {
		return &cluster.Error{Side: side, Verb: verb, Object: object, Fault: cluster.FaultForbidden, Err: errors.New("no")}
	}
	members := cluster.Ref{Resource: cluster.MemberClusters}
	const ask = ": ask an administrator of the host for the ClusterRole kubefederate-viewer"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{forbidden(cluster.Host, "list", members), "host: list memberclusters.kubefederate.io: no" + ask},
		{fmt.Errorf("wrapped: %w", forbidden(cluster.Host, "get", members)), "wrapped: host: get memberclusters.kubefederate.io: no" + ask},
		{forbidden(cluster.Host, "patch", members), "host: patch memberclusters.kubefederate.io: no"},
		{forbidden(cluster.Host, "list", cluster.Ref{Resource: cluster.Secrets}), "host: list secrets: no"},
		{forbidden(cluster.Member, "list", members), "member: list memberclusters.kubefederate.io: no"},
		{&federate.Refusal{Operation: "join", Err: forbidden(cluster.Host, "list", members)}, "cannot join; nothing was changed"},
	} {
		if got := ErrorText(tt.err); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
