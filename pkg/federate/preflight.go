package federate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Before anything is written, both servers are asked for everything that they can judge: each right that a step takes, and each
// step by a dry run. What an API server cannot judge is an object in a namespace that does not exist yet: it is judged in
// others, where policies for kubefederate-member alone do not see it; those refuse the step itself, which is rolled back.

// judgeNamespaces exist on every cluster. What the first refuses counts where the second refuses it as well, with the same words:
// a policy or a quota for one namespace is none for kubefederate-member.
var judgeNamespaces = [2]string{metav1.NamespaceDefault, metav1.NamespacePublic}

// missing is a right that the caller lacks on a side.
type missing struct {
	side  cluster.Side
	right cluster.Right
}

// missingOf are those of the needed rights that the caller lacks on a side.
func missingOf(side cluster.Side, lacks, needed []cluster.Right) (all []missing) {
	for _, r := range needed {
		if m := (missing{side, r}); slices.Contains(lacks, r) && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

// unread are the rights to read those of refs that a member refused to show.
func unread(denied cluster.Denied, refs []cluster.Ref) (all []missing) {
	for _, ref := range refs {
		verb := "get"
		if ref.Name == "" {
			verb = "list"
		}
		if denied[ref] != nil {
			all = append(all, missing{cluster.Member, ref.Rights(verb)[0]})
		}
	}
	return all
}

// rights are what a step on a member takes, as RBAC names it.
func (s Step) rights() []cluster.Right {
	if s.Side != cluster.Member {
		return nil
	}
	made := s.Object.Rights("create")
	if !s.posted {
		made = s.Object.Rights("create", "patch") // both for server-side apply of what does not exist
	}
	switch s.Verb {
	case VerbCreate:
		return made
	case VerbUpdate:
		return s.Object.Rights("patch")
	case VerbReplace:
		return append(s.Object.Rights("delete"), made...)
	case VerbDelete:
		return s.Object.Rights("delete")
	case VerbRequest:
		return cluster.TokenRef(s.Object).Rights("create")
	}
	return nil
}

// judged is the step as the member is asked about it: in another namespace where its own does not exist yet. An account that does
// not exist has no tokens: for it stands the account default.
func (s Step) judged(namespace string) Step {
	switch {
	case s.Verb == VerbRequest && s.live == nil:
		s.Object, s.boundTo = member.TrialAccountRef(), nil
		s.Object.Namespace = namespace
	case s.Planned:
		s.Object.Namespace, s.Manifest = namespace, s.Manifest.DeepCopy()
		s.Manifest.SetNamespace(namespace)
	}
	return s
}

// rights are all that the steps on the member take, their undoing, and the questions about them.
func (p *plan) rights() (all []cluster.Right) {
	for _, s := range p.Steps {
		all = append(append(all, s.rights()...), s.judged(judgeNamespaces[0]).rights()...)
		if s.undo != nil {
			all = append(all, s.undoRights()...)
		}
	}
	return all
}

func (s Step) undoRights() []cluster.Right {
	if s.Side != cluster.Member || s.silent() {
		return nil
	}
	return s.Object.Rights("delete")
}

// lacking are the rights of steps on the member that are among lacks, and those that only rolling back takes.
func (p *plan) lacking(lacks []cluster.Right) (steps, undo []missing) {
	var needed, later []cluster.Right
	for _, s := range p.Steps {
		needed = append(needed, s.rights()...)
		if s.undo != nil {
			later = append(later, s.undoRights()...)
		}
	}
	return missingOf(cluster.Member, lacks, needed), missingOf(cluster.Member, lacks, later)
}

// deniedRights is what stands against an operation whose caller lacks rights.
func deniedRights(all []missing) []Finding {
	var against []Finding
	for _, m := range all {
		f := Finding{Side: m.side, Cause: "you are not allowed to " + m.right.String(), right: true}
		if role := host.RoleWith(m.right.Verb); role != "" {
			f.Remedy, f.role, f.federation = role.Ask(), role, v1alpha1.FederationName(m.right.Name)
		}
		against = append(against, f)
	}
	return against
}

// introduce says, before the rights that are missing on a side, who the caller is there: often another one than expected; and how the
// caller gets a role.
func introduce(ctx context.Context, h *host.Cluster, m *member.Cluster, findings []Finding) []Finding {
	for i, f := range findings {
		if f.role != "" {
			findings[i].Remedy = h.AskForRole(ctx, f.federation, f.role)
		}
	}
	for _, side := range []cluster.Side{cluster.Host, cluster.Member} {
		first := slices.IndexFunc(findings, func(f Finding) bool { return f.right && f.Side == side })
		if first < 0 {
			continue
		}
		conn := h.Conn
		if side == cluster.Member {
			conn = m.Conn
		}
		who, err := conn.Caller(ctx)
		if err != nil {
			continue // the rights are what the answer is about
		}
		groups := make([]string, len(who.Groups))
		for i, group := range who.Groups {
			groups[i] = cluster.Quoted(group)
		}
		cause := "you are user " + cluster.Quoted(who.Name)
		if len(groups) > 0 {
			cause += fmt.Sprintf(" (groups %s)", strings.Join(groups, ", "))
		}
		findings = slices.Insert(findings, first, Finding{Side: side, Cause: cause + ", and not allowed to do what follows"})
	}
	return findings
}

// question asks a server, by a dry run, whether it would let a step happen.
type question struct {
	// about is what a refusal is reported of.
	about cluster.Ref
	ask   func(context.Context) error
	// remedy is added to a refusal; it may be empty.
	remedy string
}

// elsewhere is a refusal of a step in another namespace than its own, which says nothing about its own.
type elsewhere struct{ err error }

func (e *elsewhere) Error() string { return e.err.Error() }

// answers asks all questions at once. The findings are in the order of the questions, each once; those of others are refusals
// in other namespaces alone, which do not stand against the operation.
func answers(ctx context.Context, questions []question) (findings, others []Finding, err error) {
	errs := cluster.ForEach(len(questions), func(i int) error { return questions[i].ask(ctx) })
	var failed []error
	for i, err := range errs {
		into := &findings
		if e, ok := errors.AsType[*elsewhere](err); ok {
			into, err = &others, e.err
		}
		switch {
		case err == nil:
		case !isRefused(err) && (!apierrors.IsNotFound(err) || questions[i].about != member.ConsumerRefs()[0]):
			failed = append(failed, err)
		default:
			for _, f := range findingsOf(err) {
				f.Object = questions[i].about.String()
				if f.Remedy == "" {
					f.Remedy = questions[i].remedy
				}
				if !slices.Contains(*into, f) {
					*into = append(*into, f)
				}
			}
		}
	}
	return findings, others, bothSides(failed)
}

// questions are those about the steps on the member that take none of the rights that the caller lacks.
func (p *plan) questions(lacks []cluster.Right, remedy func(Step) string) (all []question) {
	lacked := func(r cluster.Right) bool { return slices.Contains(lacks, r) }
	for _, s := range p.Steps {
		if s.do == nil || len(s.rights()) == 0 || slices.ContainsFunc(append(s.rights(), s.judged(judgeNamespaces[0]).rights()...), lacked) {
			continue
		}
		ask := s.ask
		if ask == nil {
			ask = func(ctx context.Context) error { return p.judgeInOthers(ctx, s) }
		}
		q := question{about: s.Object, ask: func(ctx context.Context) error {
			err := ask(ctx)
			// What was removed or changed since it was read is for the step itself to find. A binding is refused so where its role
			// does not exist.
			changed := apierrors.IsConflict(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
			if changed || apierrors.IsNotFound(err) && s.Object != member.ConsumerRefs()[0] {
				return nil
			}
			return err
		}}
		if remedy != nil {
			q.remedy = remedy(s)
		}
		all = append(all, q)
	}
	return all
}

// judgeInOthers asks the member for a step, in others of its namespaces where the step's own does not exist. Who may not ask in the
// second is refused there in other words, so that nothing counts which only the first refuses.
func (p *plan) judgeInOthers(ctx context.Context, s Step) error {
	first := s.judged(judgeNamespaces[0])
	refused := p.judge(ctx, first)
	if first.Object == s.Object || !isRefused(refused) {
		return refused
	}
	err := p.judge(ctx, s.judged(judgeNamespaces[1]))
	switch {
	case err == nil || isRefused(err) && !sameRefusal(refused, err):
		return &elsewhere{refused}
	case isRefused(err):
		return refused
	}
	return err
}

// sameRefusal says whether two refusals, one in each of judgeNamespaces, have the same words, except for the namespace.
func sameRefusal(first, second error) bool {
	words := strings.NewReplacer(judgeNamespaces[0], v1alpha1.MemberNamespace, judgeNamespaces[1], v1alpha1.MemberNamespace)
	return words.Replace(cluster.Cause(first)) == words.Replace(cluster.Cause(second))
}

// judge asks the member for a step in the way in which it will be done, by a dry run.
func (p *plan) judge(ctx context.Context, s Step) error {
	const dry = cluster.DryRunServer
	m := p.member
	switch s.Verb {
	case VerbCreate:
		return p.judgeCreation(ctx, s.Object.Resource, s.Manifest)
	case VerbUpdate:
		if s.Manifest == nil {
			return nil
		}
		_, err := m.Apply(ctx, s.Object.Resource, s.Manifest, dry)
		return err
	case VerbReplace:
		if err := m.Delete(ctx, s.Object, cluster.Preconditions{}, dry); err != nil {
			return err
		}
		return p.judgeCreation(ctx, s.Object.Resource, s.Manifest)
	case VerbDelete:
		return m.Delete(ctx, s.Object, cluster.Preconditions{}, dry)
	case VerbRequest:
		return m.JudgeToken(ctx, s.Object, s.bound())
	}
	return nil
}

// bound is what a token that the member is asked about is bound to.
func (s Step) bound() member.Binding {
	if s.boundTo == nil {
		return member.Binding{}
	}
	return member.Binding{Ref: cluster.Secrets.Of(s.boundTo), UID: s.boundTo.GetUID()}
}

// judgeCreation asks the member whether o may be created. One that exists was judged by admission before the server found that.
// A binding to a role that does not exist yet is judged as one to a role that everybody has: whether the role may be given
// away is judged with the role.
func (p *plan) judgeCreation(ctx context.Context, r cluster.Resource, o *unstructured.Unstructured) error {
	create := func() error {
		_, err := p.member.Create(ctx, r, o, cluster.DryRunServer)
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	err := create()
	if role, _, _ := unstructured.NestedString(o.Object, "roleRef", "name"); apierrors.IsNotFound(err) && (role == member.ManagerRole || role == v1alpha1.ManagerAccount) {
		o = o.DeepCopy()
		o.Object["roleRef"] = map[string]any{"apiGroup": cluster.ClusterRoles.Group, "kind": cluster.ClusterRoles.Kind, "name": "system:basic-user"}
		err = create()
	}
	return err
}
