package webhook

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/kubefederate/kubectl-federate/manifests"
)

// TestPaths asks, as a pod that guesses would, for every path beside that of the configuration: nothing behind them is reached.
func TestPaths(t *testing.T) {
	t.Parallel()
	const word, before = "aaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbb"
	for _, path := range []string{PathMemberClusters, PathFederations} {
		for name, test := range map[string]struct {
			accepts func(string) bool
			path    string
			want    bool
		}{
			"the word":                    {func(w string) bool { return w == word }, path + "/" + word, true},
			"no word":                     {func(w string) bool { return w == word }, path, false},
			"an empty word":               {func(w string) bool { return w == word }, path + "/", false},
			"another word":                {func(w string) bool { return w == word }, path + "/" + before, false},
			"more than the word":          {func(w string) bool { return w == word }, path + "/" + word + "/x", false},
			"the word behind another":     {func(w string) bool { return w == word }, path + "/x/" + word, false},
			"the word in a query":         {func(w string) bool { return w == word }, path + "?word=" + word, false},
			"the word, escaped":           {func(w string) bool { return w == word }, path + "/%61aaaaaaaaaaaaaaaaaaaaaaaaa", true},
			"both during a change":        {func(w string) bool { return w == word || w == before }, path + "/" + before, true},
			"no word, of cert-manager":    {func(w string) bool { return w == "" }, path, true},
			"any word, of cert-manager":   {func(w string) bool { return w == "" }, path + "/" + word, false},
			"another path":                {func(string) bool { return true }, manifests.PathPrefix + "secrets/" + word, false},
			"the prefix":                  {func(string) bool { return true }, manifests.PathPrefix, false},
			"nothing":                     {func(string) bool { return true }, "/", false},
			"the path of the old release": {func(w string) bool { return w == word }, "/leaving/memberclusters", false},
		} {
			reached := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			server := &Server{accepts: test.accepts, handlers: map[string]http.Handler{path: reached}}
			u, err := url.Parse(test.path)
			if err != nil {
				t.Fatal(err)
			}
			if got := server.Route(u.Path) != nil; got != test.want {
				t.Errorf("%s, %s: reached: %v", path, name, got)
			}
		}
	}
}

// TestPathsAreThoseOfTheConfiguration compares the paths that are served with those that init writes.
func TestPathsAreThoseOfTheConfiguration(t *testing.T) {
	t.Parallel()
	objects, err := manifests.Objects(manifests.Options{WebhookURL: "https://h", Calls: &manifests.Calls{Word: "w"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetName() != manifests.WebhookConfiguration {
			continue
		}
		webhooks := o.Object["webhooks"].([]any)
		for i, want := range []string{PathMemberClusters, PathMemberClusters, PathFederations} {
			client := webhooks[i].(map[string]any)["clientConfig"].(map[string]any)
			if client["url"] != "https://h"+want+"/w" {
				t.Errorf("webhook %d is called at %s", i, client["url"])
			}
		}
		return
	}
	t.Error("no configuration")
}
