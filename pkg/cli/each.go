package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

const eachHelp = `Run kubectl against each of the chosen members.

What follows -- are the arguments of kubectl, which is the one of the variable KUBECTL, or else of PATH. It runs for
--parallel members at once, each with a kubeconfig of its own that only you can read and that is removed when it
ends, also when you interrupt it. Each line of its output has the member's name before it, unless --no-prefix is
given; what one member prints comes when its kubectl ends, or line by line with logs -f and --watch.

What leads elsewhere (--context, --server, --token, --as and the like) is refused, and so is what needs a person, as
edit or exec -it. Standard input is read once and given to all (-f -). Anything that does not only read is listed
and asked once; --yes answers that. A member that does not answer within --connect-timeout, or on which kubectl
fails, is one line on stderr and does not delay the others; the exit code is 3 then, or 1 where it failed on all.

` + userHelp

const eachExample = `  # What runs where
  kubectl federate each --federation prod -- get pods -n kube-system

  # Bring a manifest to two members; see what it would do first
  kubectl federate each us-east us-west --dry-run=server -- apply -f app.yaml
  kubectl federate each us-east us-west --yes -- apply -f app.yaml

  # The versions of all members in one region, without names
  kubectl federate each -l topology.kubernetes.io/region=us-east-1 --no-prefix -- version -o json`

// eachFlags are what was typed.
type eachFlags struct {
	useFlags
	selection targets.SelectFlags
	batch     targets.Batch
	dryRun    cluster.DryRun
	yes       bool
	noPrefix  bool
}

func newEach(d *factory) *cobra.Command {
	f := &eachFlags{useFlags: newUseFlags(d)}
	cmd := &cobra.Command{
		Use:     "each (NAME... | -l SELECTOR | --federation FEDERATION | --all) -- ARGUMENTS...",
		GroupID: groupMembers,
		Short:   "Run kubectl against each of the members",
		Long:    eachHelp,
		Example: eachExample,
		RunE:    runs(f.toOptions),
	}
	d.addSelection(cmd, &f.selection, "All members of this federation")
	f.addTo(cmd)
	f.batch.AddTo(cmd, 2*time.Minute)
	addDryRun(cmd, &f.dryRun)
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "Do not ask")
	cmd.Flags().BoolVar(&f.noPrefix, "no-prefix", false, "Print what kubectl prints, without the members' names")
	return cmd
}

// eachOptions are ready to run.
type eachOptions struct {
	eachFlags
	names []string
	call  *kubectlCall
	// program is kubectl, and stdin what each of them reads; nil is nothing.
	program string
	stdin   []byte
	// mu is held while something is printed.
	mu sync.Mutex
	// width is that of the longest name.
	width int
}

func (f *eachFlags) toOptions(cmd *cobra.Command, args []string) (*eachOptions, error) {
	o := &eachOptions{eachFlags: *f, names: args}
	at := cmd.ArgsLenAtDash()
	if at < 0 || at == len(args) {
		return o, cmp.Or(o.validateBounds(), error(output.UsageError{
			Err: errors.New("the arguments of kubectl follow --, as in: each --all -- get nodes"), Command: cmd.CommandPath(),
		}))
	}
	var err error
	if o.names, err = targets.Names(args[:at]); err != nil {
		return nil, err
	}
	o.call, err = judgeKubectl(args[at:])
	return o, err
}

func (o *eachOptions) validateBounds() error { return cmp.Or(o.batch.Validate(), o.probe.Validate()) }

func (o *eachOptions) validate() error {
	if o.dryRun == cluster.DryRunServer && o.call.dryRun {
		return output.Usagef("give --dry-run before -- or behind it, but not both")
	}
	if o.call.stdin && !o.call.reads && !o.yes && (o.dryRun == cluster.DryRunNone || o.dryRun == cluster.DryRunServer && !o.call.dryRuns) {
		return output.Usagef("standard input is what kubectl reads, and cannot answer: confirm with --yes")
	}
	return cmp.Or(o.selection.Validate(o.names), o.validateBounds())
}

func (o *eachOptions) run(ctx context.Context) error {
	var err error
	if o.program, err = exec.LookPath(cmp.Or(os.Getenv("KUBECTL"), "kubectl")); err != nil {
		return output.Usagef("no kubectl: %w; put it into PATH, or name it in the variable KUBECTL", err)
	}
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	for i := range members {
		o.width = max(o.width, len(members[i].Name))
	}
	if o.dryRun == cluster.DryRunClient {
		for i := range members {
			output.Linef(o.Out, "%s: would run %s (dry run)", members[i].Name, o.call)
		}
		return nil
	}
	users, err := o.memberUsers(ctx, h, members)
	if err != nil {
		return err
	}
	if o.dryRun == cluster.DryRunServer && !o.call.reads {
		o.call = o.call.with("--dry-run=server")
		o.call.reads = o.call.dryRuns
	}
	if err := o.confirm(ctx, users); err != nil {
		return err
	}
	if o.call.stdin {
		if o.stdin, err = readInput(o.In); err != nil {
			return err
		}
	}
	return o.runAll(ctx, users)
}

// maxInput bounds what is read of standard input.
const maxInput = 64 << 20

func readInput(in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = errors.New("it is larger than 64 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return data, nil
}

// confirm asks once whether something is done that is not only reading.
func (o *eachOptions) confirm(ctx context.Context, users *memberUsers) error {
	if o.call.reads || o.yes {
		return nil
	}
	users.findAll(ctx)
	members := users.members
	output.Linef(o.ErrOut, "%s on %s:", o.call, output.Count(len(members), "member", "members"))
	rows := [][]string{{"NAME", "FEDERATION", "REACHED AS", "SERVER"}}
	for i := range members {
		as, server := output.None, output.None
		if who, err := users.of(ctx, i); err == nil {
			as, server = who.String(), who.config.Host
		}
		rows = append(rows, []string{members[i].Name, string(members[i].Federation()), cluster.Shortened(as), cluster.Shortened(server)})
	}
	if err := output.Rows(o.ErrOut, rows); err != nil {
		return err
	}
	return o.ask(ctx, "Run it?")
}

// runAll runs kubectl for all members. Those that do not answer are found before, at once and without taking turns with those that do.
func (o *eachOptions) runAll(ctx context.Context, users *memberUsers) error {
	// Only its owner may enter it.
	folder, err := os.MkdirTemp("", "kubectl-federate-")
	if err != nil {
		return err
	}
	remove := func() { _ = os.RemoveAll(folder) }
	defer remove()
	// At once, since a second Ctrl-C ends this process; each kubectl has read its own by now.
	defer context.AfterFunc(ctx, remove)()
	members := users.members
	progress := o.messages.Progress("running kubectl on " + output.Count(len(members), "member", "members"))
	defer progress.End()
	turns := make(chan struct{}, o.batch.Parallel)
	all := targets.Batch{Parallel: max(reachParallel, o.batch.Parallel)}
	errs := all.Run(ctx, len(members), func(ctx context.Context, i int) error {
		who, access, err := o.reach(ctx, users, i)
		if err != nil {
			return err
		}
		path := filepath.Join(folder, members[i].Name)
		data, err := access.Marshal()
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(path) }()
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
			return targets.ErrNotBegun
		}
		progress.End()
		o.mu.Lock()
		o.reportUser(&members[i], who)
		o.mu.Unlock()
		return o.runOne(ctx, &members[i], path, who.config.Impersonate)
	}, func(i int, err error) {
		if err == nil || errors.Is(err, targets.ErrNotBegun) {
			return
		}
		progress.End()
		o.mu.Lock()
		defer o.mu.Unlock()
		output.Line(o.ErrOut, output.Reason(about(&members[i], err)))
	})
	return useSummary(ctx, errs, "kubectl failed on")
}

// reach finds as whom a member is reached, logs in, and waits until its API server has answered once, and is that of the member:
// kubectl would try again and again, in words that do not name the member.
func (o *eachOptions) reach(ctx context.Context, users *memberUsers, i int) (*memberUser, *kubeconfig.Access, error) {
	who, err := users.of(ctx, i)
	if err != nil {
		return nil, nil, err
	}
	if len(who.config.Impersonate.Extra) > 0 {
		return nil, nil, errors.New("its context impersonates a user with extra values, for which kubectl has no flags")
	}
	access, err := who.access(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := targets.WithTimeout(ctx, o.probe.Timeout)
	defer cancel()
	config := access.RESTConfig()
	config.Impersonate = who.config.Impersonate
	c, err := o.connect(ctx, &users.members[i], who, config)
	if err != nil {
		return nil, nil, err
	}
	defer c.CloseIdle()
	if who.context == "" && who.user == "" { // no request was needed to know that it is the member
		err = c.GetPath(ctx, "/version", &struct{}{})
		if cluster.FaultOf(err) == cluster.FaultForbidden {
			err = nil
		}
	}
	return who, access, err
}

// runOne runs kubectl for one member.
func (o *eachOptions) runOne(ctx context.Context, m *v1alpha1.MemberCluster, path string, as rest.ImpersonationConfig) error {
	ctx, cancel := targets.WithTimeout(ctx, o.batch.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.program, slices.Concat(impersonation(as), o.call.args)...)
	cmd.Env = append(kubectlEnviron(os.Environ()), clientcmd.RecommendedConfigPathEnvVar+"="+path)
	if o.call.stdin {
		cmd.Stdin = bytes.NewReader(o.stdin)
	}
	// Windows has no such signal: it ends after killDelay there.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
	prefix := ""
	if !o.noPrefix {
		prefix = fmt.Sprintf("%-*s ", o.width+1, m.Name+":")
	}
	out := &lines{mu: &o.mu, w: o.Out, prefix: prefix, live: o.call.follows}
	errOut := &lines{mu: &o.mu, w: o.ErrOut, prefix: fmt.Sprintf("%-*s ", o.width+1, m.Name+":"), live: o.call.follows}
	cmd.Stdout, cmd.Stderr = out, errOut
	err := cmd.Run()
	o.mu.Lock()
	out.end()
	errOut.end()
	o.mu.Unlock()
	switch exit, ok := errors.AsType[*exec.ExitError](err); {
	case out.large:
		return fmt.Errorf("kubectl printed more than %d MiB", maxOutput>>20)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("kubectl did not end within %s, and was ended; give it longer with --timeout", o.batch.Timeout)
	case ctx.Err() != nil:
		return errors.New("kubectl was interrupted")
	case ok:
		return fmt.Errorf("kubectl failed with exit code %d", exit.ExitCode())
	}
	return err
}

// killDelay is how long a kubectl may take to end after it was interrupted.
const killDelay = 2 * time.Second

// impersonation are the flags of kubectl for what a kubeconfig.Access does not have.
func impersonation(as rest.ImpersonationConfig) (flags []string) {
	if as.UserName != "" {
		flags = append(flags, "--as="+as.UserName)
	}
	if as.UID != "" {
		flags = append(flags, "--as-uid="+as.UID)
	}
	for _, group := range as.Groups {
		flags = append(flags, "--as-group="+group)
	}
	return flags
}

// kubectlEnviron is the environment of kubectl: without preferences of the caller, which may add flags that lead elsewhere.
func kubectlEnviron(environ []string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{clientcmd.RecommendedConfigPathEnvVar, "KUBECTL_KUBERC", "KUBERC", execInfo}, name)
	})
	return append(kept, "KUBECTL_KUBERC=false", "KUBERC=off")
}

// maxOutput bounds what is kept of the output of one kubectl.
const maxOutput = 16 << 20

// lines prints what a kubectl prints, line by line, all together when it ends, or live.
type lines struct {
	mu     *sync.Mutex
	w      io.Writer
	prefix string
	live   bool
	rest   []byte
	large  bool
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	if len(l.rest)+len(p) > maxOutput {
		l.large = true
		return 0, errors.New("too much output")
	}
	l.rest = append(l.rest, p...)
	if l.live {
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := bytes.LastIndexByte(l.rest, '\n'); i >= 0 {
			l.print(l.rest[:i+1])
			l.rest = append([]byte{}, l.rest[i+1:]...)
		}
	}
	return len(p), nil
}

// end prints what is left. It is called with the lock held.
func (l *lines) end() {
	l.print(l.rest)
	l.rest = nil
}

func (l *lines) print(text []byte) {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		_ = output.Text(l.w, l.prefix+string(line)+"\n") // the reader may be gone; kubectl runs on all the same
	}
}

// String is the command as a person would type it.
func (c *kubectlCall) String() string {
	words := []string{"kubectl"}
	for _, arg := range c.args {
		words = append(words, command.Word(arg))
	}
	return strings.Join(words, " ")
}
