package host

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// State is what a host looks like to a plan.
type State struct {
	ID   v1alpha1.ClusterID
	User string
	// Federation is nil when there is none of the name.
	Federation *v1alpha1.Federation
	// Member is nil when there is none of the name.
	Member *v1alpha1.MemberCluster
	// Denied are reads that the host forbade. What they would have told is missing from the state.
	Denied []error
}

// Target names what is read and written on a host.
type Target struct {
	Member     v1alpha1.MemberName
	Federation v1alpha1.FederationName
}

// Read reads all of it at once. Reads that the host forbids are gathered in Denied; any other failure is
// returned. Without t.Federation none is read.
func (c *Cluster) Read(ctx context.Context, t Target) (*State, error) {
	s := &State{}
	reads := []func() error{
		func() (err error) { s.Member, err = c.FindMember(ctx, t.Member); return err },
		func() (err error) { s.ID, err = c.ID(ctx); return err },
		func() (err error) { s.User, err = c.User(ctx); return err },
		func() (err error) {
			if t.Federation == "" {
				return nil
			}
			s.Federation, err = c.Federation(ctx, t.Federation)
			if cluster.IsAbsent(err) && !errors.Is(err, ErrNotInitialised) {
				return nil
			}
			return err
		},
	}
	errs := make([]error, len(reads))
	cluster.Parallel(len(reads), func(i int) { errs[i] = reads[i]() })
	for _, err := range errs {
		if apierrors.IsForbidden(err) {
			s.Denied = append(s.Denied, err)
		} else if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// User is the name by which the host knows the caller.
func (c *Cluster) User(ctx context.Context) (string, error) {
	reviews := cluster.Resource{
		GroupVersionResource: schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"},
		Kind:                 "SelfSubjectReview",
	}
	review := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": reviews.Kind}}
	answer, err := c.Create(ctx, reviews, review, cluster.Write{})
	if err != nil {
		return "", err
	}
	name, _, _ := unstructured.NestedString(answer.Object, "status", "userInfo", "username")
	return name, nil
}

// right is one verb on one object.
func right(verb string, r cluster.Ref) cluster.Right {
	if verb == "create" {
		r.Name = "" // a create is not authorized by name
	}
	return cluster.Right{Verb: verb, Resource: r.Resource, Namespace: r.Namespace, Name: r.Name}
}

// JoinRights are the rights that a join uses on the host.
func (t Target) JoinRights() []cluster.Right {
	return []cluster.Right{
		right("get", cluster.Ref{Resource: cluster.Namespaces, Name: v1alpha1.IdentityNamespace}),
		right("get", federationRef(t.Federation)),
		right(v1alpha1.VerbJoin, federationRef(t.Federation)),
		right("get", MemberRef(t.Member)),
		right("create", MemberRef(t.Member)),
		right("patch", MemberRef(t.Member)),
		right("create", CredentialRef(t.Member)),
		right("update", CredentialRef(t.Member)),
	}
}

// CredentialRights are the rights that replacing a credential uses on the host.
func (t Target) CredentialRights() []cluster.Right {
	return []cluster.Right{
		right("get", cluster.Ref{Resource: cluster.Namespaces, Name: v1alpha1.IdentityNamespace}),
		right(v1alpha1.VerbJoin, federationRef(t.Federation)),
		right("get", MemberRef(t.Member)),
		right("create", CredentialRef(t.Member)),
		right("update", CredentialRef(t.Member)),
	}
}

// LeaveRights are the rights that an unjoin uses on the host, and the undoing of a join.
func (t Target) LeaveRights() []cluster.Right {
	return []cluster.Right{
		right("get", MemberRef(t.Member)),
		right(v1alpha1.VerbLeave, federationRef(t.Federation)),
		right("delete", MemberRef(t.Member)),
	}
}

// DeleteCredentialRight is the right to delete a credential. Few have it, and nobody needs it: garbage
// collection follows the ownerReference.
func (t Target) DeleteCredentialRight() cluster.Right {
	return right("delete", CredentialRef(t.Member))
}

// EventRight is the right to tell of a join.
func (t Target) EventRight() cluster.Right {
	return cluster.Right{Verb: "create", Resource: cluster.Events, Namespace: metav1.NamespaceDefault}
}

// CredentialManifest is the Secret that holds a member's credential, without its content.
func CredentialManifest(m *v1alpha1.MemberCluster) *unstructured.Unstructured {
	ref := CredentialRef(v1alpha1.MemberName(m.Name))
	o := ref.Resource.New(ref.Namespace, ref.Name)
	o.SetLabels(map[string]string{v1alpha1.LabelMember: m.Name, v1alpha1.LabelFederation: string(m.Federation())})
	if m.UID != "" {
		o.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: cluster.MemberClusters.Kind, Name: m.Name, UID: m.UID,
		}})
	}
	o.Object["type"] = v1alpha1.CredentialType
	return o
}

// WriteCredential stores a kubeconfig as the credential of m. It is written whole, by POST or else PUT, and
// never patched: the answer to a patch is the Secret, so a right to patch is a right to read, and joiners have
// neither. replace says that one is expected to be there.
func (c *Cluster) WriteCredential(ctx context.Context, m *v1alpha1.MemberCluster, kubeconfig []byte, replace bool) error {
	o := CredentialManifest(m)
	o.Object["data"] = map[string]any{v1alpha1.CredentialKey: base64.StdEncoding.EncodeToString(kubeconfig)}
	post := func() error {
		_, err := c.Create(ctx, cluster.Secrets, o, cluster.Write{})
		return err
	}
	put := func() error { return c.Update(ctx, cluster.Secrets, o) }
	if !replace {
		return c.inOurWords(post())
	}
	err := put()
	if cluster.IsAbsent(err) {
		if err = post(); apierrors.IsAlreadyExists(err) {
			err = put()
		}
	}
	return c.inOurWords(err)
}

// Credentials reads the credentials of all members, as they are stored. Few may.
func (c *Cluster) Credentials(ctx context.Context) ([]unstructured.Unstructured, error) {
	return c.ListOf(ctx, cluster.Secrets, v1alpha1.CredentialsNamespace)
}

// CredentialData is the kubeconfig in a credential's Secret.
func CredentialData(secret *unstructured.Unstructured) ([]byte, error) {
	data, _, err := unstructured.NestedString(secret.Object, "data", v1alpha1.CredentialKey)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(data)
}

// MayRights are the verbs that decide who may do what with a federation's members.
func MayRights(federation v1alpha1.FederationName) []cluster.Right {
	return []cluster.Right{
		right(v1alpha1.VerbJoin, federationRef(federation)),
		right(v1alpha1.VerbLeave, federationRef(federation)),
		right(v1alpha1.VerbApprove, federationRef(federation)),
	}
}

// DeleteCredential deletes the credential of a member.
func (c *Cluster) DeleteCredential(ctx context.Context, name v1alpha1.MemberName) error {
	return c.Delete(ctx, CredentialRef(name), cluster.Preconditions{}, cluster.Write{})
}

func pointer(key string) string {
	return "/metadata/annotations/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// ErrNotOurs means that the attempt on a member is not the one that was expected: another run of join has
// taken the member over.
var ErrNotOurs = errors.New("another run of join has taken this member over")

// exchange replaces the attempt on a member if it is the expected one, in one request.
func (c *Cluster) exchange(ctx context.Context, name v1alpha1.MemberName, expected string, operations ...map[string]any) (*v1alpha1.MemberCluster, error) {
	test := map[string]any{"op": "test", "path": pointer(v1alpha1.AnnotationAttempt), "value": expected}
	o, err := c.JSONPatch(ctx, MemberRef(name), append([]map[string]any{test}, operations...))
	if err == nil {
		return toMember(o)
	}
	if !apierrors.IsInvalid(err) {
		return nil, c.inOurWords(err)
	}
	// A test that fails is a 422, as a refusal by a rule is: the object tells which.
	m, readErr := c.Member(ctx, name)
	if readErr == nil && m.Annotations[v1alpha1.AnnotationAttempt] != expected {
		return nil, fmt.Errorf("host: %s: %w", MemberRef(name), ErrNotOurs)
	}
	return nil, c.inOurWords(err)
}

// ExchangeAttempt replaces the attempt on a member if it is the expected one; ErrNotOurs otherwise.
func (c *Cluster) ExchangeAttempt(ctx context.Context, name v1alpha1.MemberName, expected, replacement string) (*v1alpha1.MemberCluster, error) {
	return c.exchange(ctx, name, expected, map[string]any{"op": "replace", "path": pointer(v1alpha1.AnnotationAttempt), "value": replacement})
}

// DropAttempt removes the attempt from a member if it is the expected one; ErrNotOurs otherwise.
func (c *Cluster) DropAttempt(ctx context.Context, name v1alpha1.MemberName, expected string) (*v1alpha1.MemberCluster, error) {
	return c.exchange(ctx, name, expected, map[string]any{"op": "remove", "path": pointer(v1alpha1.AnnotationAttempt)})
}

// RecordJoin writes who joined a member and when, and ends the attempt. Where another run has stamped its
// own attempt meanwhile, that one stays.
func (c *Cluster) RecordJoin(ctx context.Context, name v1alpha1.MemberName, attempt string, by JoinedBy) (*v1alpha1.MemberCluster, error) {
	if attempt != "" {
		m, err := c.exchange(ctx, name, attempt,
			map[string]any{"op": "remove", "path": pointer(v1alpha1.AnnotationAttempt)},
			map[string]any{"op": "add", "path": pointer(v1alpha1.AnnotationJoinedBy), "value": by.String()})
		if !errors.Is(err, ErrNotOurs) {
			return m, err
		}
	}
	return c.PatchMember(ctx, name, map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1alpha1.AnnotationJoinedBy: by.String()},
	}}, cluster.Write{})
}

// JoinedBy says who joined a member and when.
type JoinedBy struct {
	User string
	At   time.Time
}

func (j JoinedBy) String() string { return j.User + " " + j.At.UTC().Format(time.RFC3339) }

// Tell writes an Event about a member.
func (c *Cluster) Tell(ctx context.Context, m *v1alpha1.MemberCluster, reason, message string) error {
	now := metav1.Now().UTC().Format(time.RFC3339)
	o := cluster.Events.New(metav1.NamespaceDefault, "")
	o.SetGenerateName(m.Name + ".")
	o.Object["involvedObject"] = map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": cluster.MemberClusters.Kind, "name": m.Name, "uid": string(m.UID),
	}
	o.Object["reason"] = reason
	o.Object["message"] = message
	o.Object["type"] = "Normal"
	o.Object["source"] = map[string]any{"component": v1alpha1.FieldOwner}
	o.Object["firstTimestamp"] = now
	o.Object["lastTimestamp"] = now
	o.Object["count"] = int64(1)
	_, err := c.Create(ctx, cluster.Events, o, cluster.Write{})
	return err
}
