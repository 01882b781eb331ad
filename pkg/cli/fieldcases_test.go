package cli

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// nowhere is a kubeconfig whose server does not exist.
const nowhere = `apiVersion: v1
kind: Config
current-context: host
contexts: [{name: host, context: {cluster: host, user: ann}}, {name: east, context: {cluster: host, user: ann}}]
clusters: [{name: host, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: ann, user: {token: secret}}]
`

// run runs a command line as a person types it. Words of the kind FILE:NAME are files of the test.
func run(t *testing.T, files map[string][]byte, line string) (code int, stderr string) {
	t.Helper()
	folder := t.TempDir()
	args := []string{"kubectl-federate"}
	for word := range strings.FieldsSeq(line) {
		if flag, name, ok := strings.Cut(word, "FILE:"); ok {
			path := filepath.Join(folder, name)
			if err := os.WriteFile(path, files[name], 0o600); err != nil {
				t.Fatal(err)
			}
			word = flag + path
		}
		args = append(args, word)
	}
	kubeconfig := filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(nowhere), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	code = Run(t.Context(), append(args, "--kubeconfig", kubeconfig), genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	return code, strings.ReplaceAll(errOut.String(), folder+string(filepath.Separator), "FILE:")
}

// TestFieldCases holds the cases of flags from the field: what contradicts, cannot hold or cannot be read is an error before any
// cluster is asked.
func TestFieldCases(t *testing.T) {
	t.Parallel()
	const join = "join x --federation prod --member-context east"
	certificate := cases.Certificate(time.Now().Add(time.Hour))
	block, _ := pem.Decode(certificate)
	files := map[string][]byte{
		"ca.der": block.Bytes, "empty": nil, "text": []byte("no certificate"),
		"bundle.crt": bytes.Repeat(certificate, 230_000/len(certificate)), "huge.crt": bytes.Repeat([]byte("# text\n"), 200_000),
	}
	const der = `it is a certificate in DER form, and must be PEM: convert it with openssl x509 -inform der -outform pem`
	for _, tt := range []struct{ row, line, want string }{
		{"contradict", join + " --labels kubefederate.io/federation=edge", `invalid --labels: label kubefederate.io/federation is set by --federation`},
		{"contradict, of many", "join --all-contexts --federation prod --labels kubefederate.io/federation=edge", `invalid --labels: label kubefederate.io/federation is set by --federation`},
		{"contradict, a label twice", join + " --labels a=1,a=2", `label a is named twice`},
		{"contradict, one and many", join + " --all-contexts", `with --member-contexts and --all-contexts names come from the contexts: leave out x`},
		{"contradict, an endpoint of many", "join --all-contexts --federation prod --member-server https://a", `--reset-endpoint and the endpoint flags --member-… are for one cluster: join it by its name`},
		{"contradict, names and all", "approve a --all", `give names of members, or use --selector, --federation or --all, but not both`},
		{"contradict, a pattern twice", "create federation p --label-pattern a=x --label-pattern a=y", `invalid --label-pattern "a=y": the label has the pattern "x" already`},
		{"contradict, force with a member", "unjoin a --force --member-context east", `--force removes the host's record without reaching the member: leave out --member-context and --member-kubeconfig`},
		{"contradict, a watch that joins", "discover --watch --join", `--watch only lists: leave out --join`},
		{"contradict, the time of no watch", "get --watch-for 5s", `--watch-for 5s needs --watch`},
		{"contradict, the time of no watch of clusters", "discover --watch-for 5s", `--watch-for 5s needs --watch`},
		{"contradict, contexts and all", "check --member-contexts east --all-contexts", `name contexts, or check all with --all-contexts, but not both`},

		{"cader", join + " --dry-run=client --member-certificate-authority FILE:ca.der", `invalid --member-certificate-authority "FILE:ca.der": ` + der},
		{"cader, for the host", "get --certificate-authority FILE:ca.der", `context "host" cannot be used for the host: certificate-authority "FILE:ca.der" of cluster "host": ` + der},
		{"cader, empty", join + " --member-certificate-authority FILE:empty", `invalid --member-certificate-authority "FILE:empty": the file is empty`},
		{"cader, text", join + " --member-certificate-authority FILE:text", `invalid --member-certificate-authority "FILE:text": it holds no PEM certificate`},
		{"cader, a device", join + " --member-certificate-authority /dev/zero", `invalid --member-certificate-authority "/dev/zero": it is a device, and must be a file`},
		{"cader, a directory", join + " --member-certificate-authority /", `invalid --member-certificate-authority "/": it is a directory, and must be a file`},
		{"cader, a client's certificate", "get --client-certificate FILE:text --client-key FILE:empty", `context "host" cannot be used for the host: client-certificate "FILE:text" and client-key "FILE:empty" of user "ann": tls: failed to find any PEM data in certificate input`},
		{"cabig, beyond reading", join + " --member-certificate-authority FILE:huge.crt", `invalid --member-certificate-authority "FILE:huge.crt": the file has more than 1048576 bytes: keep only the CA that signed the server's certificate`},

		{"zerotime, of requests", "get --request-timeout=-5s", "invalid --request-timeout \"-5s\": must be a time such as 30s or 2m, or a number of seconds; 0 is no limit\nsee 'kubectl federate get --help'"},
		{"zerotime, of requests, no time", "get --request-timeout=soon", "invalid --request-timeout \"soon\": must be a time such as 30s or 2m, or a number of seconds; 0 is no limit\nsee 'kubectl federate get --help'"},
		{"zerotime, of a token", join + " --token-lifetime 0", `invalid --token-lifetime 0: API servers issue no token that is valid for less than 10m`},
		{"zerotime, between rounds", "discover --watch --interval 0", `invalid --interval 0: must be at least 1s`},
	} {
		t.Run(tt.row, func(t *testing.T) {
			t.Parallel()
			if code, stderr := run(t, files, tt.line); code != output.ExitFailed || stderr != "error: "+tt.want+"\n" {
				t.Errorf("exit code %d: %s\nwant: %s", code, stderr, tt.want)
			}
		})
	}
	// The system's bundle is read; how large a bundle may be is judged, in the file's own bytes, with all that is judged.
	t.Run("cabig", func(t *testing.T) {
		t.Parallel()
		if _, stderr := run(t, files, join+" --member-certificate-authority FILE:bundle.crt --timeout 5s"); !strings.Contains(stderr, "no answer from") {
			t.Error(stderr)
		}
	})
}

// TestFieldCaseZeroTime gives each flag that is a duration a negative one, which is an error that names it.
func TestFieldCaseZeroTime(t *testing.T) {
	t.Parallel()
	lines := map[string]string{
		"approve": "a", "suspend": "a", "resume": "a", "rotate": "a", "move": "a --to b", "unjoin": "a", "label": "a k=v", "get": "--watch", "discover": "--watch",
		"join": "x --federation prod --member-context east", "revoke": "prod",
		"credential": "a", "find": "pods", "each": "--all",
	}
	flags := 0
	for _, cmd := range newRoot("kubectl federate", genericiooptions.NewTestIOStreamsDiscard()).Commands() {
		durations(cmd, func(f *pflag.Flag) {
			flags++
			line := fmt.Sprintf("%s %s --%s=-5s", cmd.Name(), lines[cmd.Name()], f.Name)
			if code, stderr := run(t, nil, line); code != output.ExitFailed || !strings.HasPrefix(stderr, fmt.Sprintf("error: invalid --%s -5s: ", f.Name)) {
				t.Errorf("%s: exit code %d: %s", line, code, stderr)
			}
		})
	}
	if flags < 15 {
		t.Errorf("%d flags are durations; are they found?", flags)
	}
	ctx, cancel := targets.WithTimeout(t.Context(), 0)
	defer cancel()
	if end, limited := ctx.Deadline(); limited {
		t.Errorf("0 ends at %s", end)
	}
}

func durations(cmd *cobra.Command, found func(*pflag.Flag)) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "duration" {
			found(f)
		}
	})
}
