//go:build linux

package hostile

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// members is how many members of a host are supported.
const members = 10_000

// fields are so many fields that controllers manage.
func fields(n int) string {
	return strings.TrimSuffix(strings.Repeat(`"f:some-field":{"f:other":{}},`, n), ",")
}

// member is a MemberCluster of the usual size, as an API server sends it.
func member(i int) string {
	return fmt.Sprintf(`{"apiVersion":"kubefederate.io/v1alpha1","kind":"MemberCluster","metadata":{"name":"member-%[1]d","uid":"uid-%[1]d","resourceVersion":"%[1]d",
"labels":{"kubefederate.io/federation":"prod","topology.kubernetes.io/region":"us-east-1","topology.kubernetes.io/zone":"us-east-1a"},"managedFields":[
{"manager":"kubectl-federate","operation":"Apply","apiVersion":"kubefederate.io/v1alpha1","fieldsType":"FieldsV1","fieldsV1":{%[2]s}},
{"manager":"kubefederate-manager","operation":"Update","apiVersion":"kubefederate.io/v1alpha1","fieldsType":"FieldsV1","fieldsV1":{%[3]s}}]},
"spec":{"clusterID":"id-%[1]d","server":"https://member-%[1]d.example.com:6443","caBundle":"%[4]s"},
"status":{"phase":"Ready","conditions":[%[5]s],"facts":{"kubernetesVersion":"v1.36.3","nodes":5,"regions":["us-east-1"],"capacity":{"cpu":"40"}}}}`,
		i, fields(20), fields(30), strings.Repeat("LS0t", 400),
		strings.TrimSuffix(strings.Repeat(`{"type":"Ready","status":"True","reason":"Reachable","message":"the member answers","lastTransitionTime":"2026-11-20T10:00:00Z"},`, 6), ","))
}

// credential is its Secret.
func credential(i int) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","type":"kubefederate.io/credential","metadata":{"name":"member-%d","namespace":"kubefederate-credentials",
"managedFields":[{"manager":"kubectl-federate","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{%s}}]},"data":{"kubeconfig":"%s"}}`,
		i, fields(10), strings.Repeat("LS0t", 1100))
}

// TestManyMembers reads as many members as are supported: what bounds the plugin turns none of them away.
func TestManyMembers(t *testing.T) {
	env.Full(t, "it reads 100 MB several times")
	t.Parallel()
	host := New(t, func(w http.ResponseWriter, r *http.Request) bool {
		item := member
		switch {
		case IsList(r) && strings.HasSuffix(r.URL.Path, "/secrets"):
			item = credential
		case !IsList(r) || !strings.HasSuffix(r.URL.Path, "/memberclusters"):
			return false
		}
		begin, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		end, next := min(begin+limit, members), ""
		if end < members {
			next = strconv.Itoa(end)
		}
		var items []string
		for i := begin; i < end; i++ {
			items = append(items, item(i))
		}
		fmt.Fprintf(w, `{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":%q},"items":[%s]}`, next, strings.Join(items, ","))
		return true
	})
	file := kubeconfig(t, map[string]*Server{"host": host})
	for _, line := range []string{"get", "get -o yaml", "get -o json", "tree", "describe --federation prod", "check --timeout 60s"} {
		out, memory := run(t, file, line)
		if memory > maxMemory || !strings.Contains(out, "10000 members") && strings.Count(out, "member-") < members {
			t.Errorf("%s takes %d MiB and prints %.500s", line, memory>>20, out)
		}
		t.Logf("%4d MiB %s", memory>>20, line)
	}
}
