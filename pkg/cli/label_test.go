package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestLabelConflicts holds that a label is written while the manager writes the member's status, and that what another person has
// labeled meanwhile is not overwritten unasked.
func TestLabelConflicts(t *testing.T) {
	t.Parallel()
	status := func(*v1alpha1.MemberCluster) {}
	team := func(m *v1alpha1.MemberCluster) { m.Labels["team"] = "db" }
	anew := func(m *v1alpha1.MemberCluster) { m.UID = "another" }
	same := func(m *v1alpha1.MemberCluster) { m.ResourceVersion = "1" }
	const conflict = `host: patch MemberCluster "us-east": the object has been modified`
	for _, tt := range []struct {
		name, flags string
		// meanwhile happens before each of the first writes.
		meanwhile []func(*v1alpha1.MemberCluster)
		code      int
		out       string
		team      string
	}{
		{"nothing happens", "", nil, 0, "membercluster.kubefederate.io/us-east labeled\n", "web"},
		{"the manager reports, and reports again", "", []func(*v1alpha1.MemberCluster){status, status, status}, 0, "membercluster.kubefederate.io/us-east labeled\n", "web"},
		{"another person labels", "", []func(*v1alpha1.MemberCluster){team}, 1, "error: member \"us-east\" already has label team=db; change it with --overwrite\n", "db"},
		{"another person labels, to be overwritten", " --overwrite", []func(*v1alpha1.MemberCluster){team}, 0, "membercluster.kubefederate.io/us-east labeled\n", "web"},
		{"another member of the name", " --overwrite", []func(*v1alpha1.MemberCluster){anew}, 1,
			"error: member \"us-east\" was deleted and made anew meanwhile, so it was not labeled: " + conflict + "\n", ""},
		{"a conflict that no change explains", "", []func(*v1alpha1.MemberCluster){same}, 1, "error: " + conflict + "\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			member := v1alpha1.MemberCluster{}
			member.APIVersion, member.Kind, member.Name, member.UID = v1alpha1.GroupVersion.String(), "MemberCluster", "us-east", "u"
			member.ResourceVersion, member.Labels = "1", map[string]string{}
			writes := 0
			config := answering(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if r.URL.Path != "/apis/kubefederate.io/v1alpha1/memberclusters/us-east" {
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, notFound)
					return
				}
				if r.Method == http.MethodPatch {
					if writes++; writes <= len(tt.meanwhile) {
						member.ResourceVersion = strconv.Itoa(writes + 1)
						tt.meanwhile[writes-1](&member)
					}
					var patch v1alpha1.MemberCluster
					body, err := io.ReadAll(r.Body)
					if err == nil {
						err = json.Unmarshal(body, &patch)
					}
					if err != nil {
						t.Error(err)
					}
					if patch.ResourceVersion != member.ResourceVersion || writes <= len(tt.meanwhile) {
						w.WriteHeader(http.StatusConflict)
						fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":409,"reason":"Conflict","message":"the object has been modified"}`)
						return
					}
					member.Labels["team"] = patch.Labels["team"]
				}
				_ = json.NewEncoder(w).Encode(member)
			})
			code, out, errOut := mistype(t, "label us-east team=web --kubeconfig "+config+tt.flags)
			if code != tt.code || out+errOut != tt.out {
				t.Errorf("exit code %d:\n%s%swant %d:\n%s", code, out, errOut, tt.code, tt.out)
			}
			if got := member.Labels["team"]; got != tt.team {
				t.Errorf("the label is %q, want %q", got, tt.team)
			}
		})
	}
}
