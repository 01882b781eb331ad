//go:build unix

package integration

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// scenario is a command that runs with a fault at one request, again and again. Scenarios run beside each other, each with
// members and federations of its own on one host.
type scenario struct {
	name string
	// spec is the federation's.
	spec map[string]any
	// bare leaves it to the command to make our namespace on the member, and to take it off again, for which Kubernetes
	// needs five seconds. The member is then one where the test does that instead of Kubernetes, at once. Most
	// faults are tried where a user has made the namespace, with something of theirs in it.
	bare bool
	// waits says that a run may wait for seconds: the quick tier tries one kind of fault.
	waits bool
	// quick has the quick tier run it, too.
	quick bool
	// shards is how many run beside each other in the full tier, each with a part of the faults.
	shards int
	run    func(*shard)
}

// shard is a scenario at work, or a part of it.
type shard struct {
	// The name is the scenario's, with a letter where it has several shards.
	*pair
	scenario scenario
	// part of parts says which faults are this shard's.
	part, parts int
	// trial stands before the member where the trial of a credential is to fail; else it is nil.
	trial *trial
	// ready says that the clusters are where the command begins.
	ready bool
	cases int
	ends  map[string]int
	// said is what all shards of the scenario say.
	said    *messages
	secrets []string
}

// mine says whether the n-th fault of the i-th kind is this shard's.
func (l *shard) mine(i, n int) bool { return (i+n)%l.parts == l.part }

// membersInFullTier is how many clusters TestFaults and TestKills, which run beside each other, start for their shards: most
// shards wait most of the time, for API servers that remember for ten seconds that a token was good. With more, two cores are so
// busy that reads of the manager take the two seconds after which it gives up.
const membersInFullTier = 4

// memberPool holds the members that wait for a shard.
var memberPool struct {
	sync.Mutex
	free chan *env.Cluster
}

// freeMembers starts the members of the pool, once.
func freeMembers(t *testing.T) chan *env.Cluster {
	t.Helper()
	joinHost(t)
	memberPool.Lock()
	defer memberPool.Unlock()
	if memberPool.free != nil {
		return memberPool.free
	}
	free := make(chan *env.Cluster, 2+membersInFullTier)
	free <- joinFleet(t).Cluster("east")
	free <- joinFleet(t).Cluster("west")
	var starting errgroup.Group
	for i := range membersInFullTier {
		if testing.Short() {
			break
		}
		starting.Go(func() error {
			c, err := joinFleet(t).Add(t.Context(), env.Spec{Name: fmt.Sprintf("member-%d", i), ControllerManager: true})
			free <- c
			return err
		})
	}
	if err := starting.Wait(); err != nil {
		t.Fatal(err)
	}
	memberPool.free = free
	return free
}

// addMember starts a cluster, which stops with the test.
func addMember(t *testing.T, spec env.Spec) *env.Cluster {
	t.Helper()
	c, err := joinFleet(t).Add(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// runScenarios runs all shards of scenarios, as many at once as there are members, and then looks at what they said.
func runScenarios(t *testing.T, scenarios []scenario) {
	t.Helper()
	free := freeMembers(t)
	hostCluster := joinFleet(t).Cluster("host")
	said := make([]messages, len(scenarios))
	var wait sync.WaitGroup
	for i, d := range scenarios {
		parts := env.InTier(d.shards, d.shards, 1)
		if testing.Short() && !d.quick {
			continue
		}
		for part := range parts {
			l := &shard{scenario: d, pair: &pair{name: d.name, host: hostCluster}, part: part, parts: parts, said: &said[i]}
			if !d.bare {
				l.member = <-free
			}
			name := strings.TrimPrefix(strings.TrimPrefix(d.name, "scenario-"), "kill-")
			if parts > 1 {
				suffix := "-" + string(rune('a'+part))
				l.name, name = l.name+suffix, name+suffix
			}
			wait.Go(func() {
				if l.member != nil {
					defer func(c *env.Cluster) { free <- c }(l.member)
				}
				t.Run(name, func(t *testing.T) {
					l.T = t
					if l.member == nil {
						l.member = addMember(t, env.Spec{Name: l.name})
					}
					l.work()
				})
			})
		}
	}
	wait.Wait()
	for i, d := range scenarios {
		said[i].check(t, d.name)
	}
}

// work lays the shard out and runs it.
func (l *shard) work() {
	began := time.Now()
	l.ends = map[string]int{}
	federation(l.T, l.host, l.name, l.scenario.spec)
	settle(l.T, l.member)
	if !l.scenario.bare {
		userNamespace(l.T, l.member)
	}
	l.h, l.m = connectHost(l.T, l.host.Config()), connectMember(l.T, l.member.Config())
	l.before = map[*env.Cluster]env.Objects{}
	for _, c := range []*env.Cluster{l.host, l.member} {
		o, err := c.Snapshot(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		// The journal numbers what was admitted, and numbers do not go back.
		l.before[c] = o.Without("configmaps " + v1alpha1.HostNamespace + "/" + manifests.Journal)
	}
	l.secrets = []string{string(l.m.Config().KeyData), string(l.h.Config().KeyData)}
	l.scenario.run(l)
	l.Logf("%d faults in %.0f s: %v", l.cases, time.Since(began).Seconds(), l.ends)
}

// keepMessage keeps what a command said, and how it came to that.
func (l *shard) keepMessage(how, text string, tokens []string) {
	l.Helper()
	for _, secret := range slices.Concat(l.secrets, tokens) {
		if strings.Contains(text, secret) {
			l.Errorf("a token or a key is printed:\n%s", text)
		}
	}
	// All shards of a scenario say the same.
	l.said.keep(how, strings.ReplaceAll(text, l.name, l.scenario.name))
}

// unchanged waits until both clusters are as they were, except what other scenarios do on the host meanwhile: garbage
// collection, the end of a namespace and the manager's counting take their time.
func (l *shard) unchanged(what string) {
	l.Helper()
	for c, before := range l.before {
		env.Eventually(l.T, what, func(ctx context.Context) error {
			err := c.Compare(ctx, before, l.others)
			if err != nil && c == l.member && !c.ControllerManager {
				l.finalize()
			}
			return err
		})
	}
}

// finalize ends our namespace on the member when it is being deleted, as a controller manager would five seconds later.
func (l *shard) finalize() {
	l.Helper()
	c := clientset(l.T, l.member.Config())
	o, err := c.CoreV1().Namespaces().Get(l.Context(), v1alpha1.MemberNamespace, metav1.GetOptions{})
	if err != nil || o.DeletionTimestamp == nil {
		return
	}
	for _, empty := range []func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error{
		c.CoreV1().ConfigMaps(v1alpha1.MemberNamespace).DeleteCollection,
		c.CoreV1().ServiceAccounts(v1alpha1.MemberNamespace).DeleteCollection,
		c.CoreV1().Secrets(v1alpha1.MemberNamespace).DeleteCollection,
		c.RbacV1().Roles(v1alpha1.MemberNamespace).DeleteCollection,
		c.RbacV1().RoleBindings(v1alpha1.MemberNamespace).DeleteCollection,
	} {
		if err := empty(l.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			l.Fatal(err)
		}
	}
	o.Spec.Finalizers = nil
	if _, err := c.CoreV1().Namespaces().Finalize(l.Context(), o, metav1.UpdateOptions{}); err != nil {
		l.Fatal(err)
	}
}

var scenarioName = regexp.MustCompile(`scenario-[a-z-]+`)

// others says whether a line of a comparison is another scenario's.
func (l *shard) others(line string) bool {
	name := scenarioName.FindString(line)
	return name != "" && name != l.name
}

// way is how the shard reaches its member.
func (l *shard) way() *rest.Config {
	if l.trial == nil {
		return l.member.Config()
	}
	return rest.CopyConfig(l.trial.front.Config)
}

// doJoin and doUnjoin are commands that faults are tried on.
func (l *shard) doJoin(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
	_, err := join(ctx, h, m, l.options(federate.JoinOptions{Cluster: command.Cluster{Context: "east"}}))
	return err
}

func (l *shard) doUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
	_, err := unjoin(ctx, h, m, federate.UnjoinOptions{Name: v1alpha1.MemberName(l.name), Cluster: command.Cluster{Context: "east"}})
	return err
}

// again runs a command without a fault.
func (l *shard) again(what string, command func(context.Context, *host.Cluster, *member.Cluster) error) {
	l.Helper()
	if err := command(l.Context(), l.h, l.m); err != nil {
		l.Fatalf("%s: then without a fault: %v", what, err)
	}
}
