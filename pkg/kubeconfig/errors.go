package kubeconfig

import (
	"strconv"
	"strings"
	"unicode"
)

// Reason is why a field of a kubeconfig was refused.
type Reason int

// Reasons.
const (
	TooLarge Reason = iota + 1
	NotYAML
	NotKubeconfig
	UnknownField
	Missing
	NoSuchEntry
	Ambiguous
	SeveralEntries
	Command
	AuthProvider
	FilePath
	Password
	Impersonation
	Insecure
	InsecureWithCA
	ServerName
	BadServer
	BadProxy
	BadCertificate
	BadKeyPair
	BadToken
	NoCredential
	TwoCredentials
)

// texts say what is wrong and what to do instead. They never carry a value.
var texts = map[Reason]string{
	TooLarge:       "is larger than 1 MiB",
	NotYAML:        "is not YAML, or names a key twice",
	NotKubeconfig:  "is not a kubeconfig of version v1",
	UnknownField:   "is no field of a kubeconfig",
	Missing:        "is not set",
	NoSuchEntry:    "has no entry of the name that the current context asks for",
	Ambiguous:      "has two entries of one name",
	SeveralEntries: "must have exactly one entry",
	Command:        "would run a command: use an inline token or certificate",
	AuthProvider:   "would run code of a provider: use an inline token or certificate",
	FilePath:       "would read a file: use inline data",
	Password:       "is basic authentication: use an inline token or certificate",
	Impersonation:  "would act as somebody else: use a credential of its own",
	Insecure:       "leaves the server unverified: use certificate-authority-data",
	InsecureWithCA: "cannot stand beside certificate-authority-data",
	ServerName:     "is not kept by readers of the credential: use a server URL whose name is in the certificate",
	BadServer:      "must be an https URL with a host, without user, query or fragment",
	BadProxy:       "must be an http, https or socks5 URL with a host, without user",
	BadCertificate: "must be PEM certificates",
	BadKeyPair:     "and client-key-data must be a PEM certificate and its key",
	BadToken:       "has characters that no token has",
	NoCredential:   "has neither an inline token nor an inline certificate",
	TwoCredentials: "has both a token and a certificate",
}

// String is the reason as it stands behind the name of a field.
func (r Reason) String() string { return texts[r] }

// Problem is one refused field. Field is a path inside the current context's cluster or user, as
// "user.exec", or empty for the whole.
type Problem struct {
	Field  string
	Reason Reason
}

// String is the problem as a person reads it.
func (p Problem) String() string {
	if p.Field == "" {
		return "it " + p.Reason.String()
	}
	field := p.Field
	// An unknown field is spelt by whoever wrote the kubeconfig.
	if strings.ContainsFunc(field, func(r rune) bool { return !unicode.IsPrint(r) }) {
		field = strconv.Quote(field)
	}
	return field + " " + p.Reason.String()
}

// Error lists what was refused in a kubeconfig, in the order of its fields.
type Error struct{ Problems []Problem }

// Error is all problems on one line. It holds no value of the kubeconfig.
func (e *Error) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.String()
	}
	return "kubeconfig refused: " + strings.Join(parts, "; ")
}

// Has says whether something was refused for the reason.
func (e *Error) Has(why Reason) bool {
	for _, p := range e.Problems {
		if p.Reason == why {
			return true
		}
	}
	return false
}

// refuse refuses the whole.
func refuse(why Reason) error { return &Error{Problems: []Problem{{Reason: why}}} }
