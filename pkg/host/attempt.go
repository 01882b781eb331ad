package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

func pointer(key string) string {
	return "/metadata/annotations/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// ErrAnotherAttempt means that the attempt on a member is not the expected one: another run of join has taken the member over.
var ErrAnotherAttempt = errors.New("another run of join has taken this member over")

// exchange replaces the attempt on a member if it is the expected one, in one request.
func (c *Cluster) exchange(ctx context.Context, name v1alpha1.MemberName, expected string, operations ...map[string]any) (*v1alpha1.MemberCluster, error) {
	test := map[string]any{"op": "test", "path": pointer(v1alpha1.AnnotationAttempt), "value": expected}
	o, err := c.JSONPatch(ctx, MemberRef(name), append([]map[string]any{test}, operations...))
	if !apierrors.IsInvalid(err) {
		return typed[v1alpha1.MemberCluster](c, o, err)
	}
	// A test that fails is a 422, and so is a refusal by a rule: the object shows which it is.
	m, readErr := c.Member(ctx, name)
	if readErr == nil && m.Annotations[v1alpha1.AnnotationAttempt] != expected {
		return nil, fmt.Errorf("host: %s: %w", MemberRef(name), ErrAnotherAttempt)
	}
	return nil, c.explain(err)
}

// ExchangeAttempt replaces the attempt on a member if it is the expected one; ErrAnotherAttempt otherwise.
func (c *Cluster) ExchangeAttempt(ctx context.Context, name v1alpha1.MemberName, expected, replacement string) (*v1alpha1.MemberCluster, error) {
	return c.exchange(ctx, name, expected, map[string]any{"op": "replace", "path": pointer(v1alpha1.AnnotationAttempt), "value": replacement})
}

// DropAttempt removes the attempt from a member if it is the expected one; ErrAnotherAttempt otherwise.
func (c *Cluster) DropAttempt(ctx context.Context, name v1alpha1.MemberName, expected string) (*v1alpha1.MemberCluster, error) {
	return c.exchange(ctx, name, expected, map[string]any{"op": "remove", "path": pointer(v1alpha1.AnnotationAttempt)})
}

// RecordJoin writes who joined a member and when, and ends the attempt. An attempt that another run has written meanwhile
// stays.
func (c *Cluster) RecordJoin(ctx context.Context, name v1alpha1.MemberName, attempt string, by JoinedBy) (*v1alpha1.MemberCluster, error) {
	m, err := c.exchange(ctx, name, attempt,
		map[string]any{"op": "remove", "path": pointer(v1alpha1.AnnotationAttempt)},
		map[string]any{"op": "add", "path": pointer(v1alpha1.AnnotationJoinedBy), "value": by.String()})
	if !errors.Is(err, ErrAnotherAttempt) {
		return m, err
	}
	return c.PatchMember(ctx, name, map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1alpha1.AnnotationJoinedBy: by.String()},
	}}, cluster.DryRunNone)
}

// JoinedBy says who joined a member and when.
type JoinedBy struct {
	User string
	At   time.Time
}

func (j JoinedBy) String() string { return j.User + " " + j.At.UTC().Format(time.RFC3339) }
