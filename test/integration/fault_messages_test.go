//go:build unix

package integration

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// messages are what the commands of a scenario said.
type messages struct {
	mu   sync.Mutex
	said map[string]bool
}

// What differs from run to run, or with which of the requests that are sent at once is the k-th.
var (
	saidServer = regexp.MustCompile(`https://127\.0\.0\.1:\d+(/\S*)?`)
	saidDoing  = regexp.MustCompile(`\((create|apply|patch|delete|update|ask|try) [^()]*\)`)
	saidRight  = regexp.MustCompile(`ask for the right to ([^:"\n]|"[^"]*")*`)
	saidObject = regexp.MustCompile(`[A-Z][A-Za-z]+ "[^"]*"`)
	saidVerb   = regexp.MustCompile(`: (get|list|create|apply|patch|delete|update) (OBJECT|/\S*[^:\s]|[a-z0-9./-]+( in namespace "[^"]*")?):`)
	saidTime   = regexp.MustCompile(`\d{4}-\d\d-\d\d(T[\d:]+Z)?`)
	saidSteps  = regexp.MustCompile(`\d+ of \d+ steps`)
)

// keep keeps what was said, and how it came to that, without what differs from run to run.
func (m *messages) keep(how, text string) {
	text = saidServer.ReplaceAllString(text, "SERVER")
	text = saidDoing.ReplaceAllString(text, "(DOING)")
	text = strings.ReplaceAll(text, "SERVER (DOING)", "SERVER")
	text = saidRight.ReplaceAllString(text, "ask for the right to DO")
	text = saidObject.ReplaceAllString(text, "OBJECT")
	text = saidVerb.ReplaceAllString(text, ": DO OBJECT:")
	text = saidTime.ReplaceAllString(text, "TIME")
	text = saidSteps.ReplaceAllString(text, "N of M steps")
	lines := slices.Compact(strings.Split(strings.TrimSpace(text), "\n"))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said == nil {
		m.said = map[string]bool{}
	}
	m.said[how+"\n"+strings.Join(lines, "\n")] = true
}

// What one request said and another may say in the next run: which of them is the k-th is the server's business.
var (
	saidAnswer = regexp.MustCompile(`injected (already exists|has been modified|is forbidden)|Internal error occurred: injected`)
	saidLoss   = regexp.MustCompile(`SERVER: (broken pipe|unexpected EOF|connection reset by peer|the connection was reset|EOF|timed out)`)
	saidWhat   = regexp.MustCompile(`((create )?serviceaccounts/token of |DO )?OBJECT: ANSWER|ask for the right to DO: ANSWER`)
)

// shape is a message without the kind of fault, and without what that kind says.
func shape(message string) string {
	_, text, _ := strings.Cut(message, "\n")
	text = saidAnswer.ReplaceAllString(text, "ANSWER")
	text = saidLoss.ReplaceAllString(text, "SERVER: LOST")
	return saidWhat.ReplaceAllString(text, "OBJECT: ANSWER")
}

// cutShort says whether a time was over, or something is left to be continued: how far a command came until then depends on what
// else the machine does.
func cutShort(message string) bool {
	return strings.Contains(message, "timed out") || strings.Contains(message, "gave up after") || strings.Contains(message, "to continue, run:")
}

// saidName is the name of a scenario, which its members and federations have.
var saidName = regexp.MustCompile(`scenario-[a-z-]+`)

// saidLines are the lines of a message, whichever scenario it is of.
func saidLines(message string) []string {
	return strings.Split(saidName.ReplaceAllString(shape(message), "NAME"), "\n")
}

// split parts a file of testdata into its messages.
func split(text []byte) []string { return strings.Split(strings.TrimSpace(string(text)), "\n\n") }

// readLines reads the lines of the messages of all scenarios.
func readLines(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "messages", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range split(text) {
			for _, line := range saidLines(message) {
				lines[line] = true
			}
		}
	}
	return lines
}

// check compares what was said with the messages of testdata, where each has been read by a person. Which of the
// requests sent at once is the k-th differs from run to run, and tiers fail only a sample: a message may be missing, and none
// may have a new shape. Of one that was cut short each line is known, of this scenario or another. With UPDATE_MESSAGES new ones are added; to write a file anew, delete it first.
func (m *messages) check(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", "messages", name+".txt")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	known, shapes, lines := map[string]bool{}, map[string]bool{}, readLines(t)
	for _, message := range split(text) {
		known[message] = message != ""
		shapes[shape(message)] = true
	}
	isKnown := func(message string) bool {
		return shapes[shape(message)] ||
			cutShort(message) && !slices.ContainsFunc(saidLines(message), func(line string) bool { return !lines[line] })
	}
	var all []string
	for message := range m.said {
		if !isKnown(message) && os.Getenv("UPDATE_MESSAGES") == "" {
			t.Errorf("a message that is not in %s:\n%s", path, message)
		}
		known[message] = true
	}
	for message, is := range known {
		if is {
			all = append(all, message)
		}
	}
	t.Logf("%d of %d messages were said", len(m.said), len(all))
	if os.Getenv("UPDATE_MESSAGES") == "" {
		return
	}
	slices.Sort(all)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(all, "\n\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
