package cli

import (
	"github.com/spf13/pflag"

	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// typedFlags are the flags that choose the host as they were typed, for the commands that messages propose. A token is
// not repeated: what is printed may be kept.
func typedFlags(hostFlags *pflag.FlagSet) []command.Flag {
	var typed []command.Flag
	hostFlags.VisitAll(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		switch list, isList := f.Value.(pflag.SliceValue); {
		case !f.Changed:
			return
		case isList:
			values = list.GetSlice()
		case f.Name == "token":
			values = []string{"TOKEN"}
		case f.Value.Type() == "bool" && f.Value.String() == "true":
			values = []string{""}
		case f.Value.Type() == "bool":
			return
		}
		for _, value := range values {
			typed = append(typed, command.Flag{Name: f.Name, Value: value})
		}
	})
	return typed
}
