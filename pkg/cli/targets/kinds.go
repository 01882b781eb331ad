package targets

import (
	"slices"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// Kind is one that commands show: members, or federations.
type Kind int

// The kinds. Commands are about members where nothing else is typed.
const (
	Member Kind = iota
	Federation
)

// kindWords are how people call the kinds, as kubectl does; each may have the group behind it.
var kindWords = map[string]Kind{
	"membercluster": Member, "memberclusters": Member, "mc": Member, "member": Member, "members": Member,
	"federation": Federation, "federations": Federation, "fed": Federation,
}

// kindOf is the kind that a word names; false where it names none.
func kindOf(word string) (Kind, bool) {
	name, group, _ := strings.Cut(strings.ToLower(word), ".")
	kind, known := kindWords[name]
	return kind, known && slices.Contains([]string{"", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version + "." + v1alpha1.GroupVersion.Group}, group)
}

// Arguments are what is typed behind a command that shows things: a kind, which may be left out, and names. A name may have its kind
// before it, as -o name prints it: "membercluster.kubefederate.io/us-east".
func Arguments(args []string) (kind Kind, names []string, err error) {
	known := false
	if len(args) > 0 {
		if kind, known = kindOf(args[0]); known {
			args = args[1:]
		}
	}
	for _, arg := range args {
		word, name, typed := strings.Cut(arg, "/")
		if !typed {
			names = append(names, arg)
			continue
		}
		of, isKind := kindOf(word)
		switch {
		case !isKind || name == "":
			return kind, nil, output.Usagef("%q is no name: give NAME, membercluster/NAME or federation/NAME", arg)
		case of != kind && (known || len(names) > 0):
			return kind, nil, output.Usagef("members and federations are shown one after another, not together: leave out %q", arg)
		}
		kind, known = of, true
		names = append(names, name)
	}
	return kind, names, nil
}

// Names are the names of members in what is typed behind a command that takes members alone. An argument that is neither a name nor one
// with the kind before it is left as it is, for the command to refuse.
func Names(args []string) ([]string, error) {
	names := make([]string, len(args))
	for i, arg := range args {
		names[i] = arg
		word, name, typed := strings.Cut(arg, "/")
		switch kind, known := kindOf(word); {
		case !typed || !known:
		case kind != Member:
			return nil, output.Usagef("%q is a federation, and this takes members: give their names, or --federation=%s where the command has it", arg, name)
		default:
			names[i] = name
		}
	}
	return names, nil
}
