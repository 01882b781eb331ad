package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// givenRole is a role of a federation and who gets it.
type givenRole struct {
	// flag names the subjects, and may is what they may do then.
	flag, may string
	subjects  []rbacv1.Subject
	binding   func(v1alpha1.FederationName, ...rbacv1.Subject) []*unstructured.Unstructured
}

// roleFlags name the subjects of a federation's roles.
type roleFlags struct{ joiners, approvers, integrators []string }

func (f *roleFlags) addTo(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.joiners, "joiner", nil, "Who may join and unjoin clusters, as user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME (repeatable)")
	flags.StringArrayVar(&f.approvers, "approver", nil, "Who may accept members, as for --joiner (repeatable)")
	flags.StringArrayVar(&f.integrators, "integrator", nil, "Which controllers of others may set their annotations and finalizers on members, as for --joiner (repeatable)")
}

// given says whether a role is named.
func (f *roleFlags) given() bool { return len(f.joiners)+len(f.approvers)+len(f.integrators) > 0 }

// grant is the command that gives the roles; yes is --yes.
func (f *roleFlags) grant(federation v1alpha1.FederationName, yes bool) command.Grant {
	return command.Grant{Federation: federation, Joiners: f.joiners, Approvers: f.approvers, Integrators: f.integrators, Yes: yes}
}

// parse are the roles that the flags ask for.
func (f *roleFlags) parse() ([]givenRole, error) {
	roles := []givenRole{
		{flag: "joiner", may: "join clusters to", binding: manifests.JoinerBinding},
		{flag: "approver", may: "accept members of", binding: manifests.ApproverBinding},
		{flag: "integrator", may: "change annotations and finalizers of members of", binding: manifests.IntegratorBinding},
	}
	for i, args := range [][]string{f.joiners, f.approvers, f.integrators} {
		for _, arg := range args {
			s, err := parseSubject(roles[i].flag, arg)
			if err != nil {
				return nil, err
			}
			roles[i].subjects = append(roles[i].subjects, s)
		}
	}
	return slices.DeleteFunc(roles, func(r givenRole) bool { return len(r.subjects) == 0 }), nil
}

func parseSubject(flag, arg string) (rbacv1.Subject, error) {
	invalid := func(why string) (rbacv1.Subject, error) {
		return rbacv1.Subject{}, output.Usagef("invalid --%s %q: %s", flag, arg, why)
	}
	kind, name, _ := strings.Cut(arg, ":")
	switch {
	case !utf8.ValidString(arg) || strings.ContainsFunc(arg, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("a name with characters that are not printed is not what it seems to be")
	case strings.Contains(name, "*"):
		return invalid("RBAC knows no patterns; everyone who is authenticated is group:system:authenticated")
	case strings.TrimSpace(name) != name:
		return invalid("the name begins or ends with a space")
	}
	switch {
	case kind == "user" && name != "":
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}, nil
	case kind == "group" && name != "":
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}, nil
	case kind == "serviceaccount":
		namespace, account, _ := strings.Cut(name, ":")
		if len(validation.IsDNS1123Label(namespace)) == 0 && len(validation.IsDNS1123Subdomain(account)) == 0 {
			return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}, nil
		}
	}
	return invalid("must be user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME")
}

// broadSubjects are names that stand for more than a person, a team or an account, and for whom.
var broadSubjects = map[string]string{
	"system:anonymous":       "everyone who reaches the host's API server, without any credential,",
	"system:unauthenticated": "everyone who reaches the host's API server, without any credential,",
	"system:authenticated":   "every user, every pod with a ServiceAccount and every node of the host",
	"system:serviceaccounts": "every pod of the host with a ServiceAccount",
	"system:nodes":           "every node of the host",
	"system:masters":         "the administrators of the host, who need no role,",
}

// tooBroad says what stands against roles that are given to more than one would expect.
func tooBroad(roles []givenRole, federation string) []federate.Finding {
	var against []federate.Finding
	for _, r := range roles {
		for _, s := range r.subjects {
			if who := broadSubjects[s.Name]; who != "" && s.Kind != rbacv1.ServiceAccountKind {
				against = append(against, federate.Finding{
					Cause:  fmt.Sprintf("--%s %s:%s lets %s %s federation %q", r.flag, strings.ToLower(s.Kind), s.Name, who, r.may, federation),
					Remedy: "name a user, a group or a ServiceAccount, or confirm it with --yes",
				})
			}
		}
	}
	return against
}

// bindingsOf are the roles' objects of RBAC.
func bindingsOf(roles []givenRole, federation v1alpha1.FederationName) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	for _, r := range roles {
		objects = append(objects, r.binding(federation, r.subjects...)...)
	}
	return objects
}

// leftFindings are roles that an earlier federation has left.
func leftFindings(left []*unstructured.Unstructured) []federate.Finding {
	findings := make([]federate.Finding, len(left))
	for i, o := range left {
		findings[i] = federate.Finding{
			Side: cluster.Host, Object: fmt.Sprintf("%s %q", o.GetKind(), strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")),
			Cause:  "is left of an earlier federation of this name, and would hold for the new one" + subjectsOf(o),
			Remedy: "delete all of these with --yes",
		}
	}
	return findings
}

// subjectsOf says whom a binding gives its role to.
func subjectsOf(binding *unstructured.Unstructured) string {
	const most = 5
	subjects, _, err := unstructured.NestedSlice(binding.Object, "subjects")
	if err != nil || len(subjects) == 0 {
		return ""
	}
	var names []string
	for _, s := range subjects[:min(len(subjects), most)] {
		if s, ok := s.(map[string]any); ok {
			names = append(names, fmt.Sprintf("%v %v", s["kind"], s["name"]))
		}
	}
	text := ", with " + strings.Join(names, ", ")
	if more := len(subjects) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// userRoles are the ClusterRoles that every cluster has for users.
var userRoles = []string{"admin", "cluster-admin", "edit", "view"}

// nearClusterRole says which of those may be meant by the name of a ClusterRole; empty where none is near, or it is one.
func nearClusterRole(name string) string {
	near, ok := rules.Nearest(name, userRoles)
	if !ok || name == "" || near == name {
		return ""
	}
	return fmt.Sprintf("--access-cluster-role %q: a member without a ClusterRole of this name gives no access; did you mean %q?", name, near)
}
