//go:build unix

package integration

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// messages are what the commands of a drill said.
type messages struct {
	// secrets are what no message may hold.
	secrets []string
	said    map[string]bool
}

var (
	saidServer = regexp.MustCompile(`https://127\.0\.0\.1:\d+(/\S*)?`)
	saidObject = regexp.MustCompile(`[A-Z][A-Za-z]+ "[^"]*"`)
	saidDoing  = regexp.MustCompile(`\((create|apply|patch|delete|update|ask) [^()]*\)`)
)

// told keeps what was said, without what differs from run to run.
func (m *messages) told(t *testing.T, kind fault, err error, tokens []string) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	for _, secret := range slices.Concat(m.secrets, tokens) {
		if strings.Contains(text, secret) {
			t.Errorf("a token or a key is told:\n%s", text)
		}
	}
	if m.said == nil {
		m.said = map[string]bool{}
	}
	text = saidServer.ReplaceAllString(text, "SERVER")
	text = saidDoing.ReplaceAllString(text, "(DOING)")
	text = saidObject.ReplaceAllString(text, "OBJECT")
	m.said[string(kind)+"\n"+text] = true
}

func (m *messages) check(t *testing.T, name string) {
	t.Helper()
	var all []string
	for s := range m.said {
		all = append(all, s)
	}
	slices.Sort(all)
	t.Log(name + ":\n" + strings.Join(all, "\n\n"))
}
