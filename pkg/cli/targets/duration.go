package targets

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// DurationVar adds a flag for a duration, which is typed and printed as text.Duration has it: 90d, 12h, 30s.
func DurationVar(flags *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	flags.Var((*durationValue)(d), name, usage)
}

// durationValue is a duration as a flag.
type durationValue time.Duration

func (v *durationValue) String() string { return text.Duration(time.Duration(*v)) }

func (v *durationValue) Type() string { return "duration" }

func (v *durationValue) Set(typed string) error {
	d, err := text.ParseDuration(typed)
	if err == nil {
		*v = durationValue(d)
	}
	return err
}
