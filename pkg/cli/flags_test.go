package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestDurationFlags holds that each flag for a duration takes days and is printed with them.
func TestDurationFlags(t *testing.T) {
	t.Parallel()
	found := 0
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			check(sub)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "duration" {
				return
			}
			found++
			if err := f.Value.Set("90d"); err != nil || f.Value.String() != "90d" {
				t.Errorf("%s --%s is %s after 90d: %v; use targets.DurationVar", cmd.CommandPath(), f.Name, f.Value, err)
			}
			if strings.Contains(f.DefValue, "m0s") {
				t.Errorf("%s --%s has the default %s", cmd.CommandPath(), f.Name, f.DefValue)
			}
		})
	}
	check(testRoot())
	if found < 10 {
		t.Errorf("%d flags for durations", found)
	}
	if err := testRoot().PersistentFlags().Set("request-timeout", "1d"); err != nil {
		t.Error(err)
	}
}

// TestDryRunAlone holds that --dry-run without a value is what it is in kubectl: a client's, with a warning.
func TestDryRunAlone(t *testing.T) {
	t.Parallel()
	const warning = "Warning: --dry-run without a value is --dry-run=client, which is to be written out\n"
	for line, want := range map[string]string{
		"create federation prod --dry-run":        "federation.kubefederate.io/prod created (dry run)\n" + warning,
		"create federation prod --dry-run=client": "federation.kubefederate.io/prod created (dry run)\n",
		"create federation --dry-run prod":        "federation.kubefederate.io/prod created (dry run)\n" + warning,
	} {
		if code, out, errOut := mistype(t, line); code != 0 || out+errOut != want {
			t.Errorf("%s: exit code %d\n%s%s", line, code, out, errOut)
		}
	}
}
