package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// A cluster says in two ClusterProperties what it is a member of (About API, KEP-2149). A join writes them; the manager keeps them
// as the membership is: the ID always, and the name of the federation from its acceptance until it leaves. It reads one of them
// every five minutes, and writes only what differs.

// maxProperty is how long a ClusterProperty may be, in bytes: it is held whole while it is changed.
const maxProperty = 64 << 10

// belonging says whether a cluster is to say that it belongs to its federation.
type belonging int

const (
	// belongingUnknown leaves what the cluster says.
	belongingUnknown belonging = iota
	belongs
	belongsNot
)

// announced is what the ClusterProperties of a member follow from, beside its ID.
type announced struct {
	// federation is empty where nothing is known.
	federation v1alpha1.FederationName
	belonging  belonging
}

// announced follows from the condition Accepted as it is written: the host accepts a member before its cluster says so.
func (o memberState) announced() announced {
	a := announced{federation: o.member.Federation()}
	accepted := meta.FindStatusCondition(o.member.Status.Conditions, v1alpha1.ConditionAccepted)
	switch {
	case accepted == nil:
	case accepted.Status == metav1.ConditionTrue:
		a.belonging = belongs
	case accepted.Status == metav1.ConditionFalse && accepted.Reason != v1alpha1.ReasonFederationMissing:
		a.belonging = belongsNot
	}
	return a
}

// propertyNames are the properties of a membership, in the order in which they are set.
var propertyNames = [...]string{v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet}

// value is what a property is to be, where empty is none. It is false where that is not known.
func (a announced) value(name string, id v1alpha1.ClusterID) (string, bool) {
	switch {
	case name == v1alpha1.PropertyClusterID:
		return string(id), true
	case a.belonging == belongs:
		return string(a.federation), true
	}
	return "", a.belonging == belongsNot
}

// property is a ClusterProperty of a member.
type property struct {
	// value is empty when it is too long to be one of a membership.
	value string
	// labeled says that a join or the manager made it.
	labeled              bool
	uid, resourceVersion string
	// whole is the JSON.
	whole []byte
}

// propertyChange is what becomes of a property.
type propertyChange int

const (
	propertyStays propertyChange = iota
	propertyCreated
	propertyUpdated
	propertyDeleted
	// propertyForeign stays, although it differs: others set it.
	propertyForeign
)

// changeOf says what becomes of a property, which is nil when it does not exist. Empty is no value.
func changeOf(live *property, want string, known bool) propertyChange {
	switch {
	case !known, live == nil && want == "":
		return propertyStays
	case live == nil:
		return propertyCreated
	case live.value == want && want != "":
		return propertyStays
	case want == "" && live.labeled:
		return propertyDeleted
	case want == "":
		return propertyStays
	case live.labeled:
		return propertyUpdated
	}
	return propertyForeign
}

// propertyState is what is known of one property, or of all: a reason of the condition PropertiesSet, and what its message says
// first. It is empty while nothing is known.
type propertyState struct{ reason, text string }

// notServed is the state of a cluster without the About API, which has no such condition.
const notServed = "NotServed"

// confirmed is the value that a property had when it last was as it is to be, where empty is none.
type confirmed struct {
	known bool
	value string
}

// properties are those of one member. They are the running probe's.
type properties struct {
	announced
	states [len(propertyNames)]propertyState
	last   [len(propertyNames)]confirmed
	// next is looked at when it is due, or all are.
	next int
	all  bool
	due  time.Time
}

// follow has all properties looked at when what they follow from is another than before, where there are properties at all.
func (p *properties) follow(a announced) {
	if p.announced == a {
		return
	}
	p.announced = a
	if p.state().reason != notServed {
		p.look()
	}
}

// isDue says that a property is to be read now.
func (p *properties) isDue(now time.Time) bool { return p.federation != "" && !now.Before(p.due) }

// look has all properties looked at with the next probe.
func (p *properties) look() { p.all, p.due = true, time.Time{} }

// state is that of the property about which there is most to say, with what there is to say of both where it is of one kind.
func (p *properties) state() (all propertyState) {
	weight := func(s propertyState) int {
		switch s.reason {
		case v1alpha1.ReasonPropertiesMatch:
			return 1
		case v1alpha1.ReasonPropertyRepaired:
			return 2
		}
		return 3
	}
	for _, s := range p.states {
		switch {
		case s.reason == "":
			return propertyState{}
		case all.reason == "" || weight(s) > weight(all):
			all = s
		case s.reason == all.reason && s.text != all.text:
			all.text += "; " + s.text
		}
	}
	return all
}

// errAgain says that a property changed while it was being changed.
var errAgain = errors.New("a ClusterProperty was changed meanwhile")

// keepProperties sees that the ClusterProperties of a member are as its membership is. What a member does not allow is no fault of
// the probe. Nothing is written where the membership record is missing, or is that of another member.
func (f *followed) keepProperties(ctx context.Context, timeout time.Duration, b *budget, now time.Time) error {
	p := &f.properties
	if !p.isDue(now) {
		return nil
	}
	if f.membership != "" {
		p.due = now.Add(factsRetry)
		return nil
	}
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.due = now.Add(factsRetry)
	for i := range propertyNames {
		if !p.all && i != p.next {
			continue
		}
		state, err := f.keepProperty(short, b, i)
		switch {
		case errors.Is(err, errAgain):
			return nil
		case err != nil:
			return err
		case state.reason == notServed:
			p.states, p.last = [len(propertyNames)]propertyState{state, state}, [len(propertyNames)]confirmed{}
			p.all, p.due = true, now.Add(spread(nodesInterval))
			return nil
		}
		p.states[i] = state
	}
	p.next = (p.next + 1) % len(propertyNames)
	p.all, p.due = false, now.Add(spread(countInterval))
	return nil
}

// keepProperty reads a property, changes it where it is to be another, and says how it is then.
func (f *followed) keepProperty(ctx context.Context, b *budget, i int) (propertyState, error) {
	p, name := &f.properties, propertyNames[i]
	object := propertyObject(name)
	live, err := f.conn.property(ctx, b, name)
	if failed := (*statusError)(nil); errors.As(err, &failed) && failed.code == http.StatusNotFound {
		if failed.reason != metav1.StatusReasonNotFound {
			return propertyState{reason: notServed}, nil
		}
		live, err = nil, nil
	}
	if err != nil {
		return refusedProperty(err, false)
	}
	want, known := p.value(name, f.id)
	change := changeOf(live, want, known)
	switch change {
	case propertyCreated:
		err = f.conn.createProperty(ctx, b, name, want, p.federation)
	case propertyUpdated:
		err = f.conn.updateProperty(ctx, b, name, want, live)
	case propertyDeleted:
		err = f.conn.deleteProperty(ctx, b, name, live)
	case propertyForeign:
		p.last[i] = confirmed{}
		return propertyState{v1alpha1.ReasonPropertyForeign, fmt.Sprintf("%s is %s and not %q, and was not set by kubectl federate", object, live.shown(), want)}, nil
	}
	if err != nil {
		return refusedProperty(err, true)
	}
	before := p.last[i]
	p.last[i] = confirmed{known, want}
	// A value that a join or the manager wrote does not change by itself, and what was as it is to be was changed by others.
	if change == propertyUpdated || change != propertyStays && before == p.last[i] {
		was, became := "was deleted", fmt.Sprintf("set it to %q", want)
		if live != nil {
			was = "had become " + live.shown()
		}
		if change == propertyDeleted {
			was, became = fmt.Sprintf("had been set to %s", live.shown()), "deleted it, since the cluster is not accepted"
		}
		return propertyState{v1alpha1.ReasonPropertyRepaired, fmt.Sprintf("%s %s; the manager %s", object, was, became)}, nil
	}
	return propertyState{reason: v1alpha1.ReasonPropertiesMatch}, nil
}

// refusedProperty is the state that follows from a request that failed, or else the error.
func refusedProperty(err error, wrote bool) (propertyState, error) {
	failed, content := (*statusError)(nil), (*contentError)(nil)
	switch {
	case errors.As(err, &content):
		return propertyState{v1alpha1.ReasonPropertyFailed, brief(content.what)}, nil
	case !errors.As(err, &failed), failed.code == http.StatusUnauthorized:
		return propertyState{}, err
	case failed.code == http.StatusForbidden:
		return propertyState{v1alpha1.ReasonPropertyForbidden, brief(failed.Error())}, nil
	case failed.code == http.StatusConflict, wrote && failed.code == http.StatusNotFound,
		!wrote && failed.outcome().reason == v1alpha1.ReasonServerError:
		return propertyState{}, errAgain
	}
	return propertyState{v1alpha1.ReasonPropertyFailed, brief(failed.Error())}, nil
}

// shown is the value in a message.
func (p *property) shown() string {
	if p.value == "" {
		return "another value"
	}
	return cluster.Quoted(p.value)
}

func propertyObject(name string) string { return cluster.ClusterProperties.Kind + " " + name }

var propertiesPath = "/apis/" + cluster.ClusterProperties.GroupVersion().String() + "/" + cluster.ClusterProperties.Resource

// propertyRequest is one for a property that exists, or of which that is not known.
func propertyRequest(verb, method, name string) request {
	return request{path: propertiesPath + "/" + name, verb: verb, method: method, object: propertyObject(name), most: maxProperty}
}

// writtenByManager has API servers note who wrote.
func writtenByManager() url.Values { return url.Values{"fieldManager": {v1alpha1.ManagerFieldOwner}} }

// property reads one ClusterProperty.
func (c *connection) property(ctx context.Context, b *budget, name string) (*property, error) {
	p := &property{}
	r := propertyRequest("get", http.MethodGet, name)
	_, err := c.send(ctx, b, r, func(s *scanner) (err error) {
		if p.whole, err = io.ReadAll(s.r); err != nil {
			return err
		}
		s = scan(bytes.NewReader(p.whole))
		text := func(into *string) func() error {
			return func() (err error) { *into, _, err = s.text(maxLabel); return err }
		}
		return s.fields(map[string]func() error{
			"metadata": func() error {
				return s.fields(map[string]func() error{
					"uid": text(&p.uid), "resourceVersion": text(&p.resourceVersion),
					"labels": func() error {
						return s.object(func(key string) error {
							p.labeled = p.labeled || key == v1alpha1.LabelFederation
							return s.skip()
						})
					},
				})
			},
			"spec": func() error { return s.fields(map[string]func() error{"value": text(&p.value)}) },
		})
	})
	return p, err
}

func (c *connection) createProperty(ctx context.Context, b *budget, name, value string, federation v1alpha1.FederationName) error {
	r := propertyRequest("create", http.MethodPost, name)
	r.path, r.query, r.body = propertiesPath, writtenByManager(), member.Property(name, value, federation).Manifest
	return c.write(ctx, b, r)
}

// write sends a request whose response says nothing new. It is read to its end, since the connection is kept only then.
func (c *connection) write(ctx context.Context, b *budget, r request) error {
	_, err := c.send(ctx, b, r, func(s *scanner) error { return s.skip() })
	return err
}

// updateProperty sets the value of a property as it was read, and keeps all else of it.
func (c *connection) updateProperty(ctx context.Context, b *budget, name, value string, live *property) error {
	var whole, spec map[string]json.RawMessage
	err := json.Unmarshal(live.whole, &whole)
	if err == nil && whole["spec"] != nil {
		err = json.Unmarshal(whole["spec"], &spec)
	}
	if err != nil {
		return &contentError{"get " + propertyObject(name) + ": the response is not the JSON of that object"}
	}
	if spec == nil {
		spec = map[string]json.RawMessage{}
	}
	spec["value"] = json.RawMessage(strconv.Quote(value))
	if whole["spec"], err = json.Marshal(spec); err != nil {
		return err
	}
	r := propertyRequest("update", http.MethodPut, name)
	r.query, r.body = writtenByManager(), whole
	return c.write(ctx, b, r)
}

func (c *connection) deleteProperty(ctx context.Context, b *budget, name string, live *property) error {
	r := propertyRequest("delete", http.MethodDelete, name)
	r.body = metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: new(types.UID(live.uid)), ResourceVersion: &live.resourceVersion}}
	return c.write(ctx, b, r)
}

// propertiesSet is the condition PropertiesSet; nil where the cluster has no ClusterProperties, or nothing is known.
func (o memberState) propertiesSet() *metav1.Condition {
	state := o.probe.properties
	c := &metav1.Condition{Type: v1alpha1.ConditionPropertiesSet, Status: metav1.ConditionFalse, Reason: state.reason, Message: state.text}
	switch state.reason {
	case "", notServed:
		return nil
	case v1alpha1.ReasonPropertiesMatch:
		c.Status, c.Message = metav1.ConditionTrue, "the ClusterProperties of the cluster say what it is a member of"
	case v1alpha1.ReasonPropertyRepaired:
		c.Status = metav1.ConditionTrue
	case v1alpha1.ReasonPropertyForeign:
		c.Message += "; " + propose("see what the cluster is a member of", command.Check{Cluster: &command.Cluster{}})
	case v1alpha1.ReasonPropertyForbidden:
		c.Message += "; " + propose("restore the manager's permissions", o.join())
	}
	return c
}

// recordProperties records an Event when a ClusterProperty was repaired, or can no longer be.
func recordProperties(recorder events.EventRecorder, m *v1alpha1.MemberCluster, before []metav1.Condition) {
	c, was := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionPropertiesSet), meta.FindStatusCondition(before, v1alpha1.ConditionPropertiesSet)
	if c == nil || c.Reason == v1alpha1.ReasonPropertiesMatch || was != nil && was.Reason == c.Reason && was.Message == c.Message {
		return
	}
	recorder.Eventf(m, nil, corev1.EventTypeWarning, c.Reason, "SetProperties", "%s", noteOf(c.Message))
}
