// Package command holds the commands that messages propose, as values. A message never spells a command itself:
//
//	host.To("let it leave first", command.Unjoin{Member: m.Name, Cluster: command.Cluster{Context: "us-east"}})
//	// let it leave first: kubectl federate unjoin us-east --member-context us-east --context prod
//
// host is the Host of this run: pkg/cli makes it once of what was typed, and it travels to where text is made. The zero
// Host, which the manager and the webhook use, knows no flags. A field that is left empty and that the command needs is
// printed as a placeholder in capitals, for the reader to fill in.
//
// A line runs as it is printed: every word is quoted for a POSIX shell. What cannot be rendered so, because a name that
// came from a cluster is not valid or a context would not print as it is, gives no line at all: Line is empty then, and
// To is its words alone. Write those words so that they say what to do without a command.
package command

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// Plugin is how a person calls the plugin, unless the Host of a run knows better.
const Plugin = "kubectl federate"

// Command is a command line to propose. Its implementations are the types of this package.
type Command interface{ render(*line) }

// Host is how this run was called: under which name, and with which flags that choose the host cluster.
type Host struct {
	// Plugin is how the plugin was called; empty means Plugin.
	Plugin string
	// Flags that choose the host, as they were typed.
	Flags []Flag
	// ContextAt is the one context of the kubeconfig that leads to a server, by its endpoint.ServerKey; empty where none does, or several
	// do. It may be nil.
	ContextAt func(key string) string
}

// Flag is a flag with its value; one without is a switch.
type Flag struct{ Name, Value string }

// Line is the command as a person types it; empty when it has none that is safe to paste.
func (h Host) Line(c Command) string {
	l := &line{host: h}
	if c.render(l); !l.elsewhere {
		for _, f := range h.Flags {
			l.words = append(l.words, "--"+f.Name)
			if f.Value != "" {
				l.add(f.Value)
			}
		}
	}
	if l.invalid {
		return ""
	}
	return strings.Join(l.words, " ")
}

// To says what to do and the command that does it: "renew it: kubectl federate rotate …".
func (h Host) To(what string, c Command) string {
	if text := h.Line(c); text != "" {
		return what + ": " + text
	}
	return what
}

// ContextPlaceholder stands for a context that is not known.
const ContextPlaceholder = "CONTEXT"

// ContextOf is the context to propose for a member by the endpoint.ServerKey of its stored endpoint, or the placeholder.
func (h Host) ContextOf(key string) string {
	found := ""
	if h.ContextAt != nil && key != "" {
		found = h.ContextAt(key)
	}
	return cmp.Or(found, ContextPlaceholder)
}

// Cluster is a member cluster as kubeconfigs know it. The zero Cluster is one whose context is not known.
type Cluster struct {
	Context string
	// ServerKey is that of the stored endpoint (endpoint.ServerKey) of a cluster whose context is not known, by which that may be found.
	ServerKey string
	// Kubeconfig is the file that holds the context, where it is not the host's.
	Kubeconfig string
}

// Word is s as a POSIX shell takes it for one word.
func Word(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@+=,%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// line is a command line while it is rendered.
type line struct {
	host  Host
	words []string
	// invalid is a line that is not safe to paste, or would not print as it is.
	invalid bool
	// elsewhere is a command that does not go to the host, whose flags it does not get.
	elsewhere bool
}

// federate begins a command of the plugin.
func (l *line) federate(words ...string) {
	l.words = append(l.words, cmp.Or(l.host.Plugin, Plugin))
	l.words = append(l.words, words...)
}

// kubectl begins a command of kubectl itself.
func (l *line) kubectl(words ...string) {
	l.words = append(l.words, "kubectl")
	l.words = append(l.words, words...)
}

// add appends a word that others have chosen. One that a terminal would not show as it is makes the line invalid.
func (l *line) add(word string) {
	if !utf8.ValidString(word) || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) {
		l.invalid = true
	}
	l.words = append(l.words, Word(word))
}

// flag appends a flag that has a value.
func (l *line) flag(name, value string) {
	if value != "" {
		l.words = append(l.words, "--"+name)
		l.add(value)
	}
}

// given appends a flag whose value may be empty; nil leaves it out.
func (l *line) given(name string, value *string) {
	if value != nil {
		l.words = append(l.words, "--"+name)
		l.add(*value)
	}
}

func (l *line) flagIf(on bool, name string) {
	if on {
		l.words = append(l.words, "--"+name)
	}
}

// name is the name of a member, a federation or a namespace, or the placeholder where it is not known.
func (l *line) name(name, placeholder string) string {
	if name == "" {
		return placeholder
	}
	l.invalid = l.invalid || len(validation.IsDNS1123Label(name)) > 0
	return name
}

// context is the context of a cluster, or the placeholder.
func (l *line) context(c Cluster) string { return cmp.Or(c.Context, l.host.ContextOf(c.ServerKey)) }

// member appends the flags that lead to a member cluster.
func (l *line) member(c Cluster) {
	l.flag("member-context", l.context(c))
	l.flag("member-kubeconfig", c.Kubeconfig)
}

// memberIfKnown is member for a command that finds the context of a member without it.
func (l *line) memberIfKnown(c Cluster) {
	l.flag("member-context", c.Context)
	l.flag("member-kubeconfig", c.Kubeconfig)
}

// lifetime appends --token-lifetime.
func (l *line) lifetime(d time.Duration) {
	if d != 0 {
		l.flag("token-lifetime", text.Duration(d))
	}
}

// onMember appends kubectl's own flags, for a cluster that is not the host. Those of the host do not lead there, but the
// kubeconfig that holds its context may be the member's too.
func (l *line) onMember(c Cluster) {
	l.elsewhere = true
	l.flag("context", l.context(c))
	kubeconfig := c.Kubeconfig
	if i := slices.IndexFunc(l.host.Flags, func(f Flag) bool { return f.Name == "kubeconfig" }); i >= 0 {
		kubeconfig = cmp.Or(kubeconfig, l.host.Flags[i].Value)
	}
	l.flag("kubeconfig", kubeconfig)
}

// labels appends KEY=VALUE,… of labels, sorted.
func (l *line) labels(labels map[string]string) {
	var pairs []string
	for key, value := range labels {
		l.invalid = l.invalid || len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(value)) > 0
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	l.flag("labels", strings.Join(pairs, ","))
}
