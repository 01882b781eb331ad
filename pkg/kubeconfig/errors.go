package kubeconfig

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// Why a field of a kubeconfig is refused, and what to do instead. None has a value of the kubeconfig.
const (
	tooLarge       = "is larger than 64 KiB"
	notYAML        = "is not YAML, or has a key twice"
	aliases        = "has YAML anchors or aliases, which a credential never needs: write the values out"
	notKubeconfig  = "is not a kubeconfig of version v1"
	unknownField   = "is not a field of a kubeconfig"
	missing        = "is not set"
	noSuchEntry    = "has no entry with the name that the current context refers to"
	ambiguous      = "has two entries with one name"
	severalEntries = "must have exactly one entry"
	command        = "would run a command: use an inline token or certificate"
	authProvider   = "would run code of a provider: use an inline token or certificate"
	filePath       = "would read a file: use inline data"
	password       = "is basic authentication: use an inline token or certificate"
	impersonation  = "impersonates another user: use a credential of that user"
	insecure       = "leaves the server unverified: use certificate-authority-data"
	insecureWithCA = "may not be set together with certificate-authority-data"
	badServerName  = "must be a DNS name or an IP address"
	badServer      = "must be an https URL with the name or address of a server, without user, query or fragment"
	badProxy       = "must be an http, https or socks5 URL with a host, without user"
	badCertificate = "must be PEM certificates, of at most 40 KiB and 16384 bits a key"
	wideKey        = "has an RSA key of more than 8192 bits, which no API server accepts"
	badKeyPair     = "and client-key-data must be a PEM certificate and its key"
	badToken       = "has characters that a token cannot have"
	noCredential   = "has neither an inline token nor an inline certificate"
	twoCredentials = "has both a token and a certificate"
)

// Error lists what was refused in a kubeconfig, in the order of its fields. It holds no value of the kubeconfig.
type Error struct {
	Problems []string
	// Inline is set for a credential that does not come from a kubeconfig.
	Inline bool
}

// Error is all problems on one line.
func (e *Error) Error() string {
	what := "kubeconfig"
	if e.Inline {
		what = "credential"
	}
	return what + " refused: " + strings.Join(e.Problems, "; ")
}

// refuse refuses the whole.
func refuse(why string) error { return &Error{Problems: []string{"it " + why}} }

// Bounds on an error: who writes a kubeconfig chooses the number and the names of unknown fields, and others keep and store
// the text.
const maxProblems, maxField = 20, 100

// reader collects what is refused while a kubeconfig is read.
type reader struct {
	problems []string
	// inline is set where the fields are not in a cluster and a user.
	inline bool
}

// refuse refuses a field: a path inside the current context's cluster or user, as "user.exec".
func (r *reader) refuse(field, why string) {
	if r.inline {
		if _, name, below := strings.Cut(field, "."); below {
			field = name
		} else {
			field = "it"
		}
	}
	// The name of an unknown field may hold anything.
	if strings.ContainsFunc(field, func(r rune) bool { return !unicode.IsPrint(r) }) {
		field = strconv.Quote(field)
	}
	r.problems = append(r.problems, text.Cut(field, maxField)+" "+why)
}

// unless refuses a field that is set.
func (r *reader) unless(empty bool, field, why string) {
	if !empty {
		r.refuse(field, why)
	}
}

func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	problems := r.problems
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return &Error{Problems: problems, Inline: r.inline}
}
