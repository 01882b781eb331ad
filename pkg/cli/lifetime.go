package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// addLifetime adds --token-lifetime.
func addLifetime(flags *pflag.FlagSet, lifetime *time.Duration) {
	flags.DurationVar(lifetime, "token-lifetime", federate.DefaultTokenLifetime,
		"How long the credential is asked to live, from 10m to 8760h (a year); the member's API server may shorten it, and you are told")
}

// checkLifetime refuses what no credential may have.
func checkLifetime(lifetime time.Duration) error {
	switch {
	case lifetime < member.MinTokenLifetime:
		return usagef("--token-lifetime=%s: API servers issue no token that lives less than 10m", lifetime)
	case lifetime > member.MaxTokenLifetime:
		return usagef("--token-lifetime=%s: no credential lives longer than 8760h (a year); rotate it before it ends", lifetime)
	}
	return nil
}

// expiryLine tells when a credential ends, and the command that replaces it.
func expiryLine(t time.Time, command string) string {
	return "the credential ends at " + t.UTC().Format(time.RFC3339) + "; " + command + " again to renew it"
}
