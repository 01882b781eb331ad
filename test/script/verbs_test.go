//go:build unix

package script

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/impostor"
)

// A verb is a command of scripts.
type verb struct {
	name, usage string
	// min is the least number of arguments.
	min int
	run func(ts *testscript.TestScript, args []string)
}

// verbs are listed in CONTRIBUTING.md; TestVerbs compares.
var verbs = []verb{
	{"manager", "start|stop", 1, manager},
	{"discovery", "start", 1, discovery},
	{"cluster", "NAME", 1, startCluster},
	{"context", "NAME CLUSTER user|insecure|unknown|exec|oidc|silent [GROUP...]", 3, addUser},
	{"code", "N COMMAND [ARG...]", 2, code},
	{"eventually", "COMMAND [ARG...]", 1, eventually},
	{"same", "CLUSTER...", 1, same},
	{"finding", "SEVERITY CODE [FLAG...]", 2, func(ts *testscript.TestScript, args []string) { findFinding(ts, args) }},
	{"remedy", "SEVERITY CODE [FLAG...]", 2, remedy},
	{"mend", "MEMBER CONDITION REASON", 3, mend},
	{"storetoken", "MEMBER TOKEN", 2, storeToken},
	{"proven", "MEMBER", 1, proven},
	{"crds", "FILE...", 1, crds},
	{"impostor", "NAME CLUSTER VICTIM [USER]", 3, startImpostor},
	{"rancher", "ID=CLUSTER[=tokens]...", 1, rancher},
	{"expand", "FILE...", 1, expand},
	{"address", "NAME CLUSTER", 2, address},
	{"server", "pause|resume|recertify CLUSTER", 2, server},
	{"etcd", "full|free", 1, etcd},
}

// commands are the verbs as testscript wants them.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){}
	for _, v := range verbs {
		all[v.name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < v.min {
				ts.Fatalf("usage: %s %s", v.name, v.usage)
			}
			v.run(ts, args)
		}
	}
	return all
}

// atEnd undoes something when the script ends, also when it fails.
func atEnd(ts *testscript.TestScript, undo func() error) {
	ts.Defer(func() { theStage.cleanup = errors.Join(theStage.cleanup, undo()) })
}

func manager(ts *testscript.TestScript, args []string) {
	switch args[0] {
	case "start":
		ts.Check(theStage.startManager())
	case "stop":
		theStage.manager.Stop()
		atEnd(ts, theStage.startManager)
	default:
		ts.Fatalf("manager %s: it is start or stop", args[0])
	}
}

// discovery runs a discovery controller until the script ends. Its account is there already.
func discovery(ts *testscript.TestScript, _ []string) {
	d, err := theStage.manager.NewDiscovery(context.Background())
	ts.Check(err)
	ts.Check(d.Start())
	ts.Defer(d.Kill)
}

// startCluster starts one more cluster until the script ends, and adds its context.
func startCluster(ts *testscript.TestScript, args []string) {
	fleet, err := env.Start(context.Background(), env.Options{Clusters: []env.Spec{{Name: args[0], ControllerManager: true}}})
	ts.Check(err)
	ts.Defer(fleet.Stop)
	addContext(ts, fleet.Cluster(args[0]).Context())
}

// addContext adds a context to the script's kubeconfig, in a file of its own, beside what the script has put there itself.
func addContext(ts *testscript.TestScript, c env.Context) {
	more := ts.MkAbs(c.Name + ".kubeconfig")
	ts.Check(env.WriteKubeconfig(more, c))
	ts.Setenv("KUBECONFIG", ts.Getenv("KUBECONFIG")+string(os.PathListSeparator)+more)
}

func addUser(ts *testscript.TestScript, args []string) {
	name, c, groups := args[0], theStage.fleet.Cluster(args[1]), args[3:]
	admin := c.Config()
	config := rest.AnonymousClientConfig(admin)
	switch kind := args[2]; kind {
	case "user":
		config = c.User(name, groups...)
	case "insecure":
		config = admin
		config.Insecure, config.CAData = true, nil
	case "unknown":
		config.BearerToken = "a-token-that-the-cluster-does-not-know"
	case "exec":
		answer, err := json.Marshal(map[string]any{
			"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
			"status": map[string]any{"clientCertificateData": string(admin.CertData), "clientKeyData": string(admin.KeyData)},
		})
		ts.Check(err)
		file := ts.MkAbs(name + ".credential")
		ts.Check(os.WriteFile(file, answer, 0o600))
		config.ExecProvider = &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: "cat", Args: []string{file}, InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}
	case "oidc":
		config.AuthProvider = &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: map[string]string{
			"idp-issuer-url": "https://kubernetes.default.svc.cluster.local", "client-id": "kubectl", "id-token": administratorToken(ts, c, name),
		}}
	case "silent":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		ts.Defer(func() { _ = l.Close() })
		config = &rest.Config{Host: "https://" + l.Addr().String(), BearerToken: "unread"}
	default:
		ts.Fatalf("context %s: no kind %q", name, kind)
	}
	addContext(ts, env.Context{Name: name, Config: config})
}

// startImpostor adds a context, until the script ends, that leads to a hostile server in front of CLUSTER, which claims to be
// VICTIM, and has tokens issued there with the rights of USER, "admin" for an administrator.
func startImpostor(ts *testscript.TestScript, args []string) {
	victim := theStage.fleet.Cluster(args[2])
	var rights *rest.Config
	if len(args) > 3 {
		if rights = victim.Config(); args[3] != "admin" {
			rights = victim.User(args[3])
		}
	}
	front, err := impostor.Start(theStage.fleet.Cluster(args[1]), victim, rights)
	ts.Check(err)
	ts.Defer(front.Close)
	front.Name = args[0]
	addContext(ts, front.Context)
	impostors, _ := ts.Value(impostorsKey{}).(map[string]env.Context)
	impostors[args[0]] = front.Context
}

// address adds a context, until the script ends, that leads to a cluster at an address of its own, or has that of an earlier call lead to
// another cluster.
func address(ts *testscript.TestScript, args []string) {
	name, c := args[0], theStage.fleet.Cluster(args[1])
	addresses, _ := ts.Value(addressesKey{}).(map[string]*env.Address)
	if a := addresses[name]; a != nil {
		a.Lead(c.Config().Host)
		return
	}
	a, err := env.NewAddress(c.Config().Host)
	ts.Check(err)
	ts.Defer(a.Close)
	addresses[name] = a
	ts.Setenv("SERVER_"+strings.ReplaceAll(name, "-", "_"), a.URL)
	config := c.Config()
	config.Host = a.URL
	addContext(ts, env.Context{Name: name, Config: config})
}

// server has the API server of a cluster stand still, or go on, or has it serve with a certificate of another CA, which the cluster's
// context then verifies by. When the script ends it is as it was.
func server(ts *testscript.TestScript, args []string) {
	c := theStage.fleet.Cluster(args[1])
	switch args[0] {
	case "pause":
		ts.Check(c.Pause())
		atEnd(ts, c.Resume)
	case "resume":
		ts.Check(c.Resume())
	case "recertify":
		recertify := func(restore bool) error {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			return c.Recertify(ctx, restore)
		}
		atEnd(ts, func() error { return recertify(true) })
		ts.Check(recertify(false))
		ts.Check(theStage.fleet.WriteKubeconfig(ts.MkAbs("kubeconfig")))
	default:
		ts.Fatalf("server %s: it is pause, resume or recertify", args[0])
	}
}

// etcd has etcd refuse every write of the clusters until it is free again, or the script ends.
func etcd(ts *testscript.TestScript, args []string) {
	full := func(full bool) error { return theStage.fleet.Full(context.Background(), full) }
	switch args[0] {
	case "full":
		atEnd(ts, func() error { return full(false) })
		ts.Check(full(true))
	case "free":
		ts.Check(full(false))
	default:
		ts.Fatalf("etcd %s: it is full or free", args[0])
	}
}

// administratorToken is a token that a cluster issued for an administrator, who is gone when the script ends.
func administratorToken(ts *testscript.TestScript, c *env.Cluster, name string) string {
	ctx := context.Background()
	client, err := kubernetes.NewForConfig(c.Config())
	ts.Check(err)
	accounts, bindings := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault), client.RbacV1().ClusterRoleBindings()
	_, err = accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	ts.Check(err)
	atEnd(ts, func() error { return accounts.Delete(ctx, name, metav1.DeleteOptions{}) })
	_, err = bindings.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: name}},
	}, metav1.CreateOptions{})
	ts.Check(err)
	atEnd(ts, func() error { return bindings.Delete(ctx, name, metav1.DeleteOptions{}) })
	token, err := accounts.CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	ts.Check(err)
	return token.Status.Token
}

func code(ts *testscript.TestScript, args []string) {
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func same(ts *testscript.TestScript, args []string) {
	before, _ := ts.Value(beforeKey{}).(map[string]env.Objects)
	for _, name := range args {
		ts.Check(theStage.unchanged(name, before))
	}
}

func eventually(ts *testscript.TestScript, args []string) {
	poll(ts, func() error { return ts.Exec(args[0], args[1:]...) })
}

// poll asks for half a minute: managers and API servers take their time.
func poll(ts *testscript.TestScript, ask func() error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ts.Check(env.Poll(ctx, func(context.Context) error { return ask() }))
}

// findFinding waits until check, with the flags, reports a finding.
func findFinding(ts *testscript.TestScript, args []string) (found check.Finding) {
	poll(ts, func() error {
		all := findings(ts, args[2:])
		i := slices.IndexFunc(all, func(f check.Finding) bool { return string(f.Code) == args[1] })
		if i < 0 {
			return fmt.Errorf("check does not report %s: %+v", args[1], all)
		}
		found = all[i]
		return nil
	})
	if string(found.Severity) != args[0] {
		ts.Fatalf("%s is reported as %s, want %s", args[1], found.Severity, args[0])
	}
	return found
}

// remedy waits until check reports a finding, runs its remedy as printed, and waits until check reports it no more. Where
// the remedy says CONTEXT, the context of the member's name is meant.
func remedy(ts *testscript.TestScript, args []string) {
	finding := findFinding(ts, args)
	words := strings.Fields(strings.ReplaceAll(finding.Remedy, "CONTEXT", finding.Member))
	if len(words) == 0 {
		ts.Fatalf("%s has no remedy", args[1])
	}
	ts.Check(ts.Exec(words[0], words[1:]...))
	poll(ts, func() error {
		all := findings(ts, args[2:])
		if slices.ContainsFunc(all, func(f check.Finding) bool {
			return string(f.Code) == args[1] && f.Member == finding.Member && f.Object == finding.Object
		}) {
			return fmt.Errorf("check still reports %s: %+v", args[1], all)
		}
		return nil
	})
}

// findings are what check reports. Its exit code must be that of its findings.
func findings(ts *testscript.TestScript, flags []string) []check.Finding {
	err := ts.Exec("kubectl", append([]string{"federate", "check", "--severity", "info", "--output", "json"}, flags...)...)
	var d struct{ Findings []check.Finding }
	if out := ts.ReadFile("stdout"); json.Unmarshal([]byte(out), &d) != nil {
		ts.Fatalf("check printed %q and %q", out, ts.ReadFile("stderr"))
	}
	if wrong := slices.ContainsFunc(d.Findings, func(f check.Finding) bool { return f.Severity == check.Error }); wrong != (err != nil) {
		ts.Fatalf("check ended with %v and findings %+v", err, d.Findings)
	}
	return d.Findings
}

// mend waits until a condition of a member is False with a reason, runs the command that its message ends with as it is printed, and
// waits until every condition is True and check has no finding. Where the command says CONTEXT, the context of the member's name is
// meant.
func mend(ts *testscript.TestScript, args []string) {
	name := args[0]
	conditions := func() []metav1.Condition {
		ts.Check(ts.Exec("kubectl", "get", "membercluster", name, "--context", "host", "-o", "json"))
		var m v1alpha1.MemberCluster
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &m))
		return m.Status.Conditions
	}
	var message string
	poll(ts, func() error {
		c := meta.FindStatusCondition(conditions(), args[1])
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != args[2] {
			return fmt.Errorf("the condition is %+v", c)
		}
		message = c.Message
		return nil
	})
	_, line, found := strings.Cut(message, ": kubectl ")
	if !found {
		ts.Fatalf("no command in %q", message)
	}
	ts.Check(ts.Exec("kubectl", strings.Fields(strings.ReplaceAll(line, "CONTEXT", name))...))
	poll(ts, func() error {
		for _, c := range conditions() {
			if c.Status != metav1.ConditionTrue {
				return fmt.Errorf("%s is %s: %s", c.Type, c.Status, c.Message)
			}
		}
		if left := findings(ts, []string{"--member-contexts", name}); len(left) > 0 {
			return fmt.Errorf("check reports %+v", left)
		}
		return nil
	})
}

// storeToken puts another token into the credential that "host" keeps of a member.
func storeToken(ts *testscript.TestScript, args []string) {
	client, err := kubernetes.NewForConfig(theStage.fleet.Cluster("host").Config())
	ts.Check(err)
	secrets := client.CoreV1().Secrets(v1alpha1.CredentialsNamespace)
	secret, err := secrets.Get(context.Background(), args[0], metav1.GetOptions{})
	ts.Check(err)
	access, err := kubeconfig.Parse(secret.Data[v1alpha1.CredentialKey])
	ts.Check(err)
	access.Token = args[1]
	data, err := access.Marshal()
	ts.Check(err)
	secret.Data = map[string][]byte{v1alpha1.CredentialKey: data}
	_, err = secrets.Update(context.Background(), secret, metav1.UpdateOptions{})
	ts.Check(err)
}

// proven waits until the manager has seen which key signs the tokens of a member, with the credential that is stored now.
func proven(ts *testscript.TestScript, args []string) {
	host := theStage.fleet.Cluster("host")
	client, err := kubernetes.NewForConfig(host.Config())
	ts.Check(err)
	poll(ts, func() error {
		secret, err := client.CoreV1().Secrets(v1alpha1.CredentialsNamespace).Get(context.Background(), args[0], metav1.GetOptions{})
		if err != nil {
			return err
		}
		out, err := exec.Command(theStage.fleet.Kubectl(), "--kubeconfig", host.Kubeconfig, "get", "membercluster", args[0], "-o", "json").Output()
		if err != nil {
			return err
		}
		var m v1alpha1.MemberCluster
		if err := json.Unmarshal(out, &m); err != nil {
			return err
		}
		stored := fmt.Sprintf("%x", sha256.Sum256(secret.Data[v1alpha1.CredentialKey]))
		if m.Status.ObservedCredential != stored || len(m.Status.SigningKeys) == 0 {
			return fmt.Errorf("member %q is not proven: keys %q", args[0], m.Status.SigningKeys)
		}
		return nil
	})
}

// crds serves the kinds of test/script/kinds/FILE.yaml, or of the script's own FILE.yaml, on "host" until the script ends.
func crds(ts *testscript.TestScript, args []string) {
	for _, name := range args {
		file := filepath.Join("kinds", name+".yaml")
		if _, err := os.Stat(file); err != nil {
			file = ts.MkAbs(name + ".yaml")
		}
		kubectl := func(args ...string) error {
			cmd := exec.Command(theStage.fleet.Kubectl(), append([]string{"--kubeconfig", theStage.fleet.Cluster("host").Kubeconfig}, args...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
		atEnd(ts, func() error { return kubectl("delete", "--wait", "--ignore-not-found", "-f", file) })
		ts.Check(kubectl("apply", "-f", file))
		ts.Check(kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", file))
	}
}
