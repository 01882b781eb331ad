//go:build unix

package env

import (
	"context"
	"os"
	"sync"
	"testing"
)

// shared are the fleets that Main stops.
var shared struct {
	sync.Mutex
	fleets []*Fleet
}

// Shared returns a function that starts clusters when a test first calls it and gives all further tests the
// same ones. It is for a package variable, together with Main:
//
//	var fleet = env.Shared(env.Spec{Name: "host"}, env.Spec{Name: "east"})
//
//	func TestMain(m *testing.M) { env.Main(m) }
//
// A fleet that does not start is a failure of the test, never a reason to skip it. A test must not disturb others that
// use the fleet; it takes a cluster for itself with Fleet.Add.
func Shared(clusters ...Spec) func(testing.TB) *Fleet {
	start := sync.OnceValues(func() (*Fleet, error) {
		// Not a test's context, which ends with the first test that needs the fleet.
		f, err := Start(context.Background(), Options{Clusters: clusters, Progress: os.Stderr})
		if err == nil {
			shared.Lock()
			defer shared.Unlock()
			shared.fleets = append(shared.fleets, f)
		}
		return f, err
	})
	return func(t testing.TB) *Fleet {
		t.Helper()
		f, err := start()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

// Main runs a package's tests, stops the fleets they shared, and exits. Without it, a shared fleet still ends
// with the process, but killed and not waited for.
func Main(m *testing.M) {
	code := m.Run()
	for _, f := range shared.fleets {
		f.Stop()
	}
	os.Exit(code)
}

// Full leaves a test out of the quick tier, and says why: it takes long, and something like it runs there.
func Full(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip(why + "; make test-all runs it")
	}
}

// Rounds is how often a test runs a race that it runs n times in the extended tier: half of that in the full one, and a few
// times in the quick one.
func Rounds(n int) int { return max(2, InTier(n, n/2, n/6)) }

// InTier is what is for the tier of tests that runs.
func InTier[T any](extended, full, quick T) T {
	switch {
	case Extended:
		return extended
	case testing.Short():
		return quick
	default:
		return full
	}
}
