package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const (
	// urgent is how long after a change a round begins, so that changes that come together are one; leisure is for changes that
	// hardly matter.
	urgent, leisure = 500 * time.Millisecond, 30 * time.Second
	// spacing is the shortest time from the end of a round to the next, and longest is the longest.
	spacing, longest = 2 * time.Second, time.Minute
	// retryRest is how long a round rests that could not read the host.
	retryRest = 10 * time.Second
)

// controller discovers. What stands above mu is used by the goroutine of Start, and by sources that it waits for, which only read it.
type controller struct {
	// client reads federations and members from a cache.
	client client.Client
	host   *host.Cluster
	// own are the addresses of the host's own API server.
	own      *cluster.HostAddresses
	recorder events.EventRecorder
	log      logr.Logger
	metrics  *metrics
	// timeout is how long all clusters of a round have to answer.
	timeout time.Duration

	alarm   *alarm
	watches *watches
	hostID  v1alpha1.ClusterID
	memory  *keptMemory
	// gone is since when the objects of members are known to be gone, leaves when members left by themselves, and leaving the members
	// whose Secrets are read for that.
	gone    map[types.UID]time.Time
	leaves  map[v1alpha1.FederationName][]time.Time
	leaving map[types.UID]bool
	// tried are the attempts to let members leave.
	tried map[types.UID]attempt
	// reported is what was last reported of each cluster that is not joined.
	reported map[string]string

	mu      sync.Mutex
	ledger  ledger
	granted *consents
	// secrets are the namespaces of what candidates need, beside those that federations name.
	secrets []string
}

// NeedLeaderElection says that one replica discovers.
func (c *controller) NeedLeaderElection() bool { return true }

// Start discovers until ctx ends.
func (c *controller) Start(ctx context.Context) error {
	go c.pollConsents(ctx)
	for ctx.Err() == nil && !c.knowsRights() {
		c.alarm.wait(ctx, longest)
	}
	for ctx.Err() == nil {
		start := time.Now()
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			c.log.Error(err, "a round was not complete")
			c.metrics.errors.Inc()
			c.alarm.in(retryRest)
		}
		c.metrics.round(time.Since(start))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(spacing):
		}
		c.alarm.wait(ctx, longest)
	}
	return nil
}

// knowsRights says whether it is known what this account may do.
func (c *controller) knowsRights() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.granted != nil
}

// state is what the host has when a round begins.
type state struct {
	federations map[v1alpha1.FederationName]*v1alpha1.Federation
	members     []v1alpha1.MemberCluster
	// byID are the members by cluster ID, and discovered those that were discovered by their object, both without those that leave.
	byID       map[v1alpha1.ClusterID]*v1alpha1.MemberCluster
	discovered map[types.UID]*v1alpha1.MemberCluster
	// count is how many members each federation has.
	count   map[v1alpha1.FederationName]int
	granted *consents
	view    discover.View
}

func (c *controller) read(ctx context.Context) (*state, error) {
	var federations v1alpha1.FederationList
	var members v1alpha1.MemberClusterList
	if err := errors.Join(c.client.List(ctx, &federations), c.client.List(ctx, &members)); err != nil {
		return nil, err
	}
	if c.hostID == "" {
		id, err := c.host.ID(ctx)
		if err != nil {
			return nil, err
		}
		c.hostID = id
	}
	s := &state{
		federations: map[v1alpha1.FederationName]*v1alpha1.Federation{}, members: members.Items,
		byID: map[v1alpha1.ClusterID]*v1alpha1.MemberCluster{}, discovered: map[types.UID]*v1alpha1.MemberCluster{},
		count: map[v1alpha1.FederationName]int{},
		view: discover.View{
			Now: time.Now(), HostID: c.hostID, Federations: federations.Items, Members: members.Items, Memory: &c.memory.Memory,
			Commands: c.host.Commands,
		},
	}
	for i := range federations.Items {
		s.federations[v1alpha1.FederationName(federations.Items[i].Name)] = &federations.Items[i]
	}
	for i := range members.Items {
		m := &members.Items[i]
		s.count[m.Federation()]++
		if m.DeletionTimestamp != nil {
			continue
		}
		s.byID[v1alpha1.ClusterID(m.Spec.ClusterID)] = m
		if m.Spec.Discovered != nil {
			s.discovered[types.UID(m.Spec.Discovered.UID)] = m
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.granted = c.granted
	return s, nil
}

// joined is the member that an object stands for, where nothing more is to be done about it; nil otherwise.
func (s *state) joined(memory *discover.Memory, o discover.Object) *v1alpha1.MemberCluster {
	m := s.discovered[o.UID]
	if m == nil {
		m = s.byID[memory.Cluster(o.UID)]
	}
	if m == nil || m.Federation() != o.JoinRequest || unfinished(m) {
		return nil
	}
	return m
}

// unjoined are those of the Secrets that no member was discovered by: after a join, a Secret is not read again.
func (s *state) unjoined(secrets []cluster.Ref) []cluster.Ref {
	joined := map[string]bool{}
	for _, m := range s.discovered {
		if d := m.Spec.Discovered; isSecret(d.Kind) && !unfinished(m) {
			joined[d.Namespace+"/"+d.Name] = true
		}
	}
	return slices.DeleteFunc(secrets, func(r cluster.Ref) bool { return joined[r.Namespace+"/"+r.Name] })
}

// unfinished says whether discovery has begun a join that has not come to its end.
func unfinished(m *v1alpha1.MemberCluster) bool {
	return m.Spec.Discovered != nil && m.Annotations[v1alpha1.AnnotationJoinedBy] == ""
}

// Why a candidate is not looked at in a round. They are no reasons for people.
var (
	errNotTaken = errors.New("no federation takes it")
	errJoined   = errors.New("it is a member")
	errUnread   = errors.New("nothing has changed")
)

// errHost is the error of the host as a candidate: discovery has no way to it but its own account.
var errHost = errors.New("host: this is the host itself, which discovery does not join: join it by a context of your own")

// notPermitted says which consent is missing.
type notPermitted struct{ text string }

func (e *notPermitted) Error() string { return e.text }

// secretNotPermitted is the error of a Secret that may not be read.
func (c *controller) secretNotPermitted(secret cluster.Ref) error {
	return &notPermitted{fmt.Sprintf("host: discovery may not get %s; ", secret) +
		c.host.Commands.To("let it", command.GrantSecret{Namespace: secret.Namespace, Name: secret.Name})}
}

// found is a candidate that a federation takes.
type found struct {
	candidate discover.Candidate
	request   *request
	entry     *entry
	made      string
	// members is how many the federation has.
	members int
	// fresh says that it was asked in this round.
	fresh bool
}

// round does everything once.
func (c *controller) round(ctx context.Context) error {
	s, err := c.read(ctx)
	if err != nil {
		return err
	}
	if err := c.memory.load(ctx, c.host); err != nil {
		return err
	}
	used := kinds(s.federations, s.members)
	if len(used) == 0 && len(c.ledger) == 0 {
		c.watches.set(ctx, nil)
		return c.report(ctx, s, nil, nil, nil)
	}
	candidates, failed, err := c.list(ctx, s, used)
	if err != nil {
		return err
	}
	all := c.take(s, candidates)
	if err := c.ask(ctx, s, all); err != nil {
		return err
	}
	c.recall(s, candidates, len(failed) == 0)
	rows := c.judge(s, all)
	c.remember(rows)
	gone := c.findGone(s, candidates, failed)
	var early error
	if slices.ContainsFunc(rows, func(r row) bool { return r.wants() && r.of[0].fresh }) {
		early = c.reportFound(ctx, s, rows, gone, failed) // joins may take long
	}
	c.joinAll(ctx, s, rows)
	forget(all)
	c.remember(rows)
	c.leave(ctx, s, gone)
	return errors.Join(early, c.memory.store(ctx, c.host), c.report(ctx, s, rows, gone, failed))
}

// unreadable says of each kind why not all of its objects could be read.
type unreadable map[v1alpha1.DiscoverySourceKind]error

// of is why not all of a kind's objects could be read in the namespaces; nil where they were.
func (u unreadable) of(kind v1alpha1.DiscoverySourceKind, namespaces ...string) error {
	return discover.In(u[kind], namespaces...)
}

// list reads the objects of all sources that are used, and the Secrets of those candidates that are due.
func (c *controller) list(ctx context.Context, s *state, used []v1alpha1.DiscoverySourceKind) (candidates []discover.Candidate, failed unreadable, err error) {
	environment := discover.Environment{
		Host: c.host, AllKinds: true, Secrets: s.unjoined(s.granted.single(s.federations)),
		Permit: func(candidate *discover.Candidate) error { return c.permit(ctx, s, candidate) },
		Connect: func(candidate *discover.Candidate, config *rest.Config) (*member.Cluster, error) {
			return c.connect(s, candidate, config)
		},
	}
	failed = unreadable{}
	var sources []discover.Source
	var read []v1alpha1.DiscoverySourceKind
	watch := map[watched][]string{}
	for _, kind := range used {
		source, known := discover.OfKind(kind)
		if !known {
			failed[kind] = fmt.Errorf("host: this version does not know the source %s", kind)
			continue
		}
		environment.Namespaces = namespacesOf(kind, s.federations, s.members)
		if isSecret(kind) {
			environment.Namespaces = s.granted.listed(environment.Namespaces)
		}
		read = append(read, kind)
		sources = append(sources, source.Open(environment))
		for _, w := range watchedKinds(source, environment.Namespaces) {
			watch[w] = environment.Namespaces
		}
	}
	c.watches.set(ctx, watch)
	candidates, errs := discover.List(ctx, sources...)
	for i, err := range errs {
		if err != nil {
			failed[read[i]] = err
		}
	}
	return candidates, failed, ctx.Err()
}

// watchedKinds are what a source reads. Secrets are watched in each namespace by itself, as the account may.
func watchedKinds(source discover.SourceType, namespaces []string) []watched {
	var all []watched
	for _, versions := range source.Kinds {
		w := watched{
			group: versions[0].Group, kind: versions[0].Kind, labels: source.Select.Labels, clusterWide: slices.Contains(source.ClusterWide, versions[0]),
		}
		for _, v := range versions {
			if w.versions != "" {
				w.versions += ","
			}
			w.versions += v.Version
		}
		if w.group != "" {
			all = append(all, w)
			continue
		}
		for _, namespace := range namespaces {
			w.namespace = namespace
			all = append(all, w)
		}
	}
	return all
}

// permit is nil for a candidate whose Secret is read and whose cluster is asked in this round.
func (c *controller) permit(ctx context.Context, s *state, candidate *discover.Candidate) error {
	if m := s.leavingMember(c.leaving, candidate); m != nil && s.granted.may(candidate.Secret) {
		return nil
	}
	r := requestOf(s.federations, candidate)
	if r == nil {
		return errNotTaken
	}
	if s.joined(&c.memory.Memory, r.object) != nil {
		return errJoined
	}
	if candidate.Connect != nil {
		if m := s.byID[c.hostID]; m != nil && m.Federation() == r.object.JoinRequest {
			return errJoined
		}
		return errHost
	}
	key, made := keyOf(candidate, r), madeOf(candidate, r.federation)
	candidate.Note = key + "\n" + made
	name := v1alpha1.FederationName(r.federation.Name)
	if !s.granted.discover[name] {
		return &notPermitted{fmt.Sprintf("host: discovery may not join clusters to federation %q; ", name) +
			c.host.Commands.To("let it", command.Grant{Federation: name, Discovery: true})}
	}
	if candidate.Secret.Name != "" && !s.granted.may(candidate.Secret) {
		return c.secretNotPermitted(candidate.Secret)
	}
	c.mu.Lock()
	e := c.ledger[key]
	c.mu.Unlock()
	if e == nil || e.observation == nil && !e.waits || e.changed(made, s.count[name]) {
		return nil
	}
	now, resting := s.view.Now, s.view.Now.Before(e.due)
	switch {
	case e.rests(now) || resting && candidate.Secret.Name == "":
		return errUnread
	case !resting && (!e.waits || candidate.Secret.Name == ""):
		return nil
	}
	// A change of its Secret wakes it too.
	if version, err := c.secretVersion(ctx, candidate.Secret); err == nil && version == e.secret || err != nil && resting {
		c.mu.Lock()
		e.unchanged(now)
		c.mu.Unlock()
		return errUnread
	}
	return nil
}

// secretVersion is that of a Secret; empty where there is none.
func (c *controller) secretVersion(ctx context.Context, secret cluster.Ref) (string, error) {
	o, err := c.host.ForeignMetadata(ctx, secret)
	if o == nil || err != nil {
		return "", err
	}
	return o.GetResourceVersion(), nil
}

// leavingMember is the member that leaves and was discovered by an object of the candidate; nil where there is none.
func (s *state) leavingMember(leaving map[types.UID]bool, candidate *discover.Candidate) *v1alpha1.MemberCluster {
	for _, o := range candidate.Objects {
		if m := s.discovered[o.UID]; m != nil && leaving[m.UID] {
			return m
		}
	}
	return nil
}

// connect opens the cluster of a candidate, if the federation that it asks for lets members be where it is.
func (c *controller) connect(s *state, candidate *discover.Candidate, config *rest.Config) (*member.Cluster, error) {
	var federation *v1alpha1.Federation
	if r := requestOf(s.federations, candidate); r != nil {
		federation = r.federation
	} else if m := s.leavingMember(c.leaving, candidate); m != nil {
		federation = s.federations[m.Federation()]
	}
	if federation == nil || federation.Spec.Discovery == nil {
		return nil, errNotTaken
	}
	allowed, err := endpoint.AllowListOf(federation)
	if err != nil {
		return nil, fmt.Errorf("host: federation %q: spec.discovery.endpoints: %w", federation.Name, err)
	}
	c.dialer(allowed).Apply(config)
	return member.Connect(config)
}

// dialer connects to where a federation allows, as its list was when the round began.
func (c *controller) dialer(allowed endpoint.AllowList) cluster.Dialer {
	return cluster.Dialer{Allow: func() endpoint.AllowList { return allowed }, Host: c.own}
}

// take finds, of all candidates, those that a federation takes and that are no members, and drops entries of others.
func (c *controller) take(s *state, candidates []discover.Candidate) []*found {
	var all []*found
	var secrets []string
	kept := ledger{}
	for i := range candidates {
		candidate := candidates[i]
		if slices.ContainsFunc(candidate.Objects, func(o discover.Object) bool { return s.discovered[o.UID] != nil }) {
			secrets = append(secrets, candidate.Secret.Namespace) // it may be needed to leave
		}
		if failed, ok := errors.AsType[*cluster.Error](candidate.Err); ok && failed.Side == cluster.Host && failed.Fault == cluster.FaultForbidden {
			candidate.Err = c.secretNotPermitted(candidate.Secret) // as where an authorizer of the host could not say so before
		}
		r := requestOf(s.federations, &candidate)
		if r == nil || s.joined(&c.memory.Memory, r.object) != nil || errors.Is(candidate.Err, errJoined) {
			continue
		}
		key, made := noted(&candidate, r)
		e := c.ledger[key]
		if e == nil {
			e = &entry{}
		}
		kept[key] = e
		f := &found{candidate: candidate, request: r, entry: e, made: made, members: s.count[v1alpha1.FederationName(r.federation.Name)]}
		f.fresh = !errors.Is(candidate.Err, errUnread)
		all, secrets = append(all, f), append(secrets, candidate.Secret.Namespace)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger, c.secrets = kept, slices.DeleteFunc(secrets, func(namespace string) bool { return namespace == "" })
	return all
}

// ask asks the clusters of all candidates that are due.
func (c *controller) ask(ctx context.Context, s *state, all []*found) error {
	var fresh []*found
	var candidates []discover.Candidate
	for _, f := range all {
		if f.fresh {
			fresh, candidates = append(fresh, f), append(candidates, f.candidate)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	observations := discover.Probe(ctx, candidates, c.timeout, func(int) {})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	discover.Prove(ctx, s.members, observations, c.timeout)
	for i, f := range fresh {
		if f.entry.made != f.made {
			f.entry.failures = 0
		}
		observation := observations[i]
		f.entry.made, f.entry.observation = f.made, &observation
		f.entry.secret = f.candidate.SecretVersion
	}
	return ctx.Err()
}

// row is a cluster that was found, and for what federation.
type row struct {
	discover.Cluster
	// federation is the one that the cluster's labels ask for, as far as they count, if one of its candidates asks for that; it may join
	// then. Otherwise it is only reported to the federation of the first.
	federation *v1alpha1.Federation
	mayJoin    bool
	// of are its candidates.
	of []*found
}

// wants says whether the cluster is to be joined.
func (r *row) wants() bool { return r.State == discover.Wants && r.mayJoin }

// judge says what each cluster is.
func (c *controller) judge(s *state, all []*found) []row {
	observations := make([]discover.Observation, 0, len(all))
	byName := map[string]*found{}
	for _, f := range all {
		observations = append(observations, *f.entry.observation)
		byName[f.candidate.String()] = f
	}
	clusters := discover.Judge(s.view, observations)
	rows := make([]row, 0, len(clusters))
	for i := range clusters {
		r := row{Cluster: clusters[i]}
		for _, name := range append([]string{r.Candidate.String()}, r.Also...) {
			if f := byName[name]; f != nil && !slices.Contains(r.of, f) {
				r.of = append(r.of, f)
			}
		}
		if len(r.of) == 0 {
			continue
		}
		asking := slices.IndexFunc(r.of, func(f *found) bool { return f.request.federation.Name == string(r.Federation) })
		r.mayJoin = asking >= 0
		r.federation = r.of[max(asking, 0)].request.federation
		if r.wants() {
			r.Reason = cmp.Or(r.of[0].entry.result, r.Reason) // until it is tried again
		}
		rows = append(rows, r)
	}
	return rows
}

// forget keeps nothing that could reach a cluster.
func forget(all []*found) {
	for _, f := range all {
		if f.fresh && f.entry.observation.Connect != nil && f.entry.observation.Answer != nil {
			if m, err := f.entry.observation.Connect(); err == nil {
				m.CloseIdle()
			}
		}
		f.entry.observation.Connect = nil
		f.candidate.Connect = nil
	}
}

// pollConsents keeps what the account may do up to date.
func (c *controller) pollConsents(ctx context.Context) {
	var granted *consents
	for round := 0; ctx.Err() == nil; round++ {
		wanted, err := c.questions(ctx)
		if err == nil {
			var answers *consents
			answers, err = readConsents(ctx, c.client, nextQuestions(wanted, granted, round))
			now := granted.with(answers, wanted)
			if granted == nil && (err == nil || now.some()) || granted != nil && now.String() != granted.String() {
				granted = now
				c.mu.Lock()
				c.granted = granted
				c.mu.Unlock()
				c.alarm.in(0)
			}
		}
		if err != nil && ctx.Err() == nil {
			c.log.Error(err, "the account's rights could not be read")
		}
		select {
		case <-ctx.Done():
		case <-time.After(questionRest):
		}
	}
}

// questions are those for all rights that the federations of now need.
func (c *controller) questions(ctx context.Context) ([]question, error) {
	var federations v1alpha1.FederationList
	if err := c.client.List(ctx, &federations); err != nil {
		return nil, err
	}
	var all []question
	for i := range federations.Items {
		f := &federations.Items[i]
		if f.Spec.Discovery == nil {
			continue
		}
		all = append(all, question{federation: v1alpha1.FederationName(f.Name)})
		for _, s := range f.Spec.Discovery.Sources {
			for _, namespace := range s.Namespaces {
				all = append(all, question{namespace: namespace})
			}
		}
	}
	c.mu.Lock()
	for _, namespace := range c.secrets {
		all = append(all, question{namespace: namespace})
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b question) int {
		return cmp.Or(cmp.Compare(a.federation, b.federation), cmp.Compare(a.namespace, b.namespace))
	})
	return slices.Compact(all), nil
}
