package targets

import (
	"fmt"
	"strings"
	"testing"
)

// TestArguments holds how kinds and names are typed.
func TestArguments(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"":                                       "0 [] <nil>",
		"us-east eu-west":                        "0 [us-east eu-west] <nil>",
		"members":                                "0 [] <nil>",
		"mc us-east":                             "0 [us-east] <nil>",
		"MemberClusters us-east":                 "0 [us-east] <nil>",
		"memberclusters.kubefederate.io us-east": "0 [us-east] <nil>",
		"mc/us-east membercluster.kubefederate.io/eu-west": "0 [us-east eu-west] <nil>",
		"us-east mc/eu-west": "0 [us-east eu-west] <nil>",
		"mc/members":         "0 [members] <nil>",
		"members mc/members": "0 [members] <nil>",
		"federations":        "1 [] <nil>",
		"fed prod":           "1 [prod] <nil>",
		"federations.v1alpha1.kubefederate.io prod": "1 [prod] <nil>",
		"federation/prod fed/edge":                  "1 [prod edge] <nil>",
		"us-east fed/prod":                          `members and federations are shown one after another, not together: leave out "fed/prod"`,
		"fed/prod mc/us-east":                       `members and federations are shown one after another, not together: leave out "mc/us-east"`,
		"members fed/prod":                          `members and federations are shown one after another, not together: leave out "fed/prod"`,
		"pods/web":                                  `"pods/web" is no name: give NAME, membercluster/NAME or federation/NAME`,
		"mc/":                                       `"mc/" is no name: give NAME, membercluster/NAME or federation/NAME`,
		"mc.example.com/a":                          `"mc.example.com/a" is no name: give NAME, membercluster/NAME or federation/NAME`,
	} {
		kind, names, err := Arguments(strings.Fields(typed))
		got := fmt.Sprint(int(kind), " ", names, " ", err)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", typed, got, want)
		}
	}
}

// TestNames holds that names of members may have their kind before them.
func TestNames(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"us-east mc/eu-west membercluster.kubefederate.io/far": "[us-east eu-west far]",
		"members x/y": "[members x/y]",
		"fed/prod":    `"fed/prod" is a federation, and this takes members: give their names, or --federation=prod where the command has it`,
	} {
		names, err := Names(strings.Fields(typed))
		got := fmt.Sprint(names)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", typed, got, want)
		}
	}
}
