package output

import (
	"regexp"
	"testing"
)

// TestMermaidText: nothing that a cluster says of itself is read as a part of the picture.
func TestMermaidText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"us-east-1a, us-east-1b":        "us-east-1a, us-east-1b",
		"v1.36.3":                       "v1.36.3",
		"1 member: 1 Ready":             "1 member: 1 Ready",
		`"]; click f1 "javascript:x()"`: "#34;#93;#59; click f1 #34;javascript#58;x#40;#41;#34;",
		"<img src=x>":                   "#60;img src#61;x#62;",
		"1. list":                       "1#46; list",
		"- list":                        "#45; list",
		"`code` **bold** _it_":          "#96;code#96; #42;#42;bold#42;#42; #95;it#95;",
		"fa:fa-ban":                     "fa#58;fa-ban",
		"#35;":                          "#35;35#59;",
		"%%{init: {}}%%":                "#37;#37;#123;init: #123;#125;#125;#37;#37;",
		"a\nb\x1b[31m":                  "a b#92;x1b#91;31m",
		"düne-1":                        "d#252;ne-1",
		"end":                           "end",
		"a -- b":                        "a #45;#45; b",
		"a.":                            "a#46;",
		"":                              "",
	} {
		if got := mermaidText(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzMermaidText holds that any text stays within the quotes and on the line that it is written to.
func FuzzMermaidText(f *testing.F) {
	for _, seed := range []string{"us-east-1", `"]`, "#quot;", "a\nb", "\xff", "`"} {
		f.Add(seed)
	}
	safe := regexp.MustCompile(`^([A-Za-z0-9 ,:.-]|#[0-9]+;)*$`)
	f.Fuzz(func(t *testing.T, text string) {
		if got := mermaidText(text); !safe.MatchString(got) {
			t.Errorf("%q: %q", text, got)
		}
	})
}
