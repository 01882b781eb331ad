package cli

import (
	"slices"
	"strings"
	"testing"
)

// TestJudgeKubectl is what is run on members, what of it only reads, and what is refused.
func TestJudgeKubectl(t *testing.T) {
	t.Parallel()
	const reads, writes, stdin, follows = "reads", "", "stdin", "follows"
	for line, want := range map[string][]string{
		"get pods":                                    {reads},
		"-n shop get pods -o wide":                    {reads},
		"--namespace=shop get pods":                   {reads},
		"-nshop get pods":                             {reads},
		"--request-timeout 5s describe node":          {reads},
		"get pods -w":                                 {reads, follows},
		"logs -f deploy/web":                          {reads, follows},
		"auth can-i create pods":                      {reads},
		"rollout status deploy web":                   {reads},
		"version -o json":                             {reads},
		"get -f -":                                    {reads, stdin},
		"rollout restart deploy web":                  {writes},
		"auth reconcile -f x.yaml":                    {writes},
		"apply -f -":                                  {writes, stdin},
		"apply -f-":                                   {writes, stdin},
		"apply --filename=-":                          {writes, stdin},
		"patch cm a --patch-file=/dev/stdin":          {writes, stdin},
		"apply -f app.yaml":                           {writes},
		"apply -f a.yaml --dry-run=server":            {reads},
		"apply -f a.yaml --dry-run=none":              {writes},
		"delete ns a --dry-run=server --dry-run=none": {writes},
		"delete ns a --dry-run=none --dry-run=client": {reads},
		"delete ns a --dry_run=client":                {reads},
		"neat delete --dry-run=server":                {writes},
		"create neat a --dry-run=server":              {writes},
		"create ns a --dry-run=server":                {reads},
		"create -f a.yaml --dry-run=server":           {reads},
		"apply -f view-last-applied":                  {writes},
		"rollout -f status restart":                   {writes},
		"get pods -lapp=shop":                         {reads},
		"get pods -Aojson":                            {reads},
		"apply -fservice.yaml":                        {writes},
		"exec web --rm -- -s x":                       {writes},
		"apply view-last-applied deploy a":            {reads},
		"exec web -- get --context x -it":             {writes},
		"exec web -c a -- sh":                         {writes},
		"delete pods --all":                           {writes},
		"create rolebinding a --user=ann":             {writes},
		"annotate pod a note=-":                       {writes},
		"neat get pods":                               {writes},
	} {
		call, err := judgeKubectl(strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		for word, is := range map[string]bool{reads: call.reads, stdin: call.stdin, follows: call.follows} {
			if slices.Contains(want, word) != is {
				t.Errorf("%s: %s is %t", line, word, is)
			}
		}
	}
	const elsewhere = " is not for members: it would lead elsewhere than to the member, or be another user there"
	const person = " needs a person, and is not run on many members"
	const alone = " is not run on many members: it needs a person, or changes a kubeconfig"
	for line, want := range map[string]string{
		"get pods --context us-west":            "--context" + elsewhere,
		"get pods --kubeconfig=/tmp/x":          "--kubeconfig" + elsewhere,
		"get pods --token=secret":               "--token" + elsewhere,
		"--as ann get pods":                     `no command of kubectl is among ["--as" "ann" "get" "pods"]; begin with it, as in: -- get pods`,
		"get pods --as ann":                     "--as" + elsewhere,
		"get pods --as-group=x":                 "--as-group" + elsewhere,
		"get pods -s https://a":                 "-s" + elsewhere,
		"get pods -shttps://a":                  "-s" + elsewhere,
		"get pods --server=https://a":           "--server" + elsewhere,
		"get pods --insecure-skip-tls-verify":   "--insecure-skip-tls-verify" + elsewhere,
		"get pods --user x":                     "--user" + elsewhere,
		"get pods --kuberc x":                   "--kuberc" + elsewhere,
		"get pods -As https://evil":             "-A" + elsewhere,
		"get pods -ws https://evil":             "-w" + elsewhere,
		"logs web -fs https://evil":             "-f" + elsewhere,
		"get pods --as_group=x":                 "--as_group" + elsewhere,
		"get pods -n -- --context x":            "-- is no value of -n",
		"get pods --selector -- --context x":    "-- behind --selector may be its value: write that as --selector=VALUE, or name something else before --",
		"get pods -l -- --context x":            "-- behind -l may be its value: write that as -l=VALUE, or name something else before --",
		"get pods -- --context x":               "--context" + elsewhere,
		"exec -itc app web -- sh":               "-i" + person,
		"apply -n a edit-last-applied deploy a": "kubectl apply" + alone,
		"exec -it web -- sh":                    "-i" + person,
		"exec -ti web -- sh":                    "-t" + person,
		"exec web --stdin --tty=true -- sh":     "--stdin" + person,
		"run web --image=x --attach":            "--attach" + person,
		"delete pods -i --all":                  "-i" + person,
		"create --edit -f x":                    "--edit" + person,
		"edit cm a":                             "kubectl edit cm" + alone,
		"port-forward web 80":                   "kubectl port-forward web" + alone,
		"-n shop attach web":                    "kubectl attach web" + alone,
		"config use-context x":                  "kubectl config use-context" + alone,
		"apply edit-last-applied deploy a":      "kubectl apply edit-last-applied" + alone,
		"federate get":                          "kubectl federate works on the host, and not on a member",
		"--x get pods":                          `no command of kubectl is among ["--x" "get" "pods"]; begin with it, as in: -- get pods`,
		"-A":                                    `no command of kubectl is among ["-A"]; begin with it, as in: -- get pods`,
		"get pods --certificate-authority=/tmp": "--certificate-authority" + elsewhere,
	} {
		if call, err := judgeKubectl(strings.Fields(line)); err == nil || err.Error() != want {
			t.Errorf("%s: %+v, %v\nwant %s", line, call, err, want)
		}
	}
	call, err := judgeKubectl(strings.Fields("exec web -- sh -c x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := call.with("--dry-run=server").String(), "kubectl exec --dry-run=server web -- sh -c x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestKubectlEnviron holds that no preference of the caller reaches a kubectl that runs on a member.
func TestKubectlEnviron(t *testing.T) {
	t.Parallel()
	got := kubectlEnviron([]string{"HOME=/h", "KUBECONFIG=/k", "KUBERC=/r", "KUBECTL_KUBERC=true", "KUBERNETES_EXEC_INFO={}", "X=KUBECONFIG=1"})
	if want := []string{"HOME=/h", "X=KUBECONFIG=1", "KUBECTL_KUBERC=false", "KUBERC=off"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
