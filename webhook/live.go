package webhook

import (
	"context"
	"fmt"
	"iter"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// pageSize is how many members a live list asks for at once.
const pageSize = 1000

// live is the host as the API server tells it now, as far as a refusal rests on it: Federations, the holder of
// a cluster ID, and, for the rules that count or ask all members, the members of a federation. The rest is the
// view's. A rule cannot return an error, so live keeps the first one; whatever was judged then is void.
type live struct {
	ctx     context.Context
	reader  client.Reader
	view    *view
	listing bool

	federations map[v1alpha1.FederationName]*v1alpha1.Federation
	listed      map[v1alpha1.FederationName]*rules.Index
	err         error
}

// listingRules are the rules whose refusals rest on all members of a federation.
var listingRules = []rules.ID{rules.Limits, rules.FederationEmpty, rules.MembersKeepRules}

func newLive(ctx context.Context, g *Guard, refusals field.ErrorList) *live {
	return &live{
		ctx: ctx, reader: g.reader, view: g.view,
		listing: slices.ContainsFunc(refusals, func(e *field.Error) bool {
			return slices.Contains(listingRules, rules.ID(e.Origin))
		}),
		federations: map[v1alpha1.FederationName]*v1alpha1.Federation{},
		listed:      map[v1alpha1.FederationName]*rules.Index{},
	}
}

func (l *live) fail(what string, err error) {
	if l.err == nil {
		l.err = fmt.Errorf("read %s: %w", what, err)
	}
}

// Federation implements rules.Federations.
func (l *live) Federation(name v1alpha1.FederationName) *v1alpha1.Federation {
	if f, known := l.federations[name]; known {
		return f
	}
	f := &v1alpha1.Federation{}
	if err := l.reader.Get(l.ctx, client.ObjectKey{Name: string(name)}, f); err != nil {
		if !apierrors.IsNotFound(err) {
			l.fail(fmt.Sprintf("federation %q", name), err)
		}
		f = nil
	}
	l.federations[name] = f
	return f
}

// FederationNames implements rules.Federations. They are a hint in a text, so the view's do.
func (l *live) FederationNames() (names []v1alpha1.FederationName) {
	l.view.read(func(x *rules.Index) { names = x.FederationNames() })
	return names
}

// MembersWithID implements rules.Identities: those of the view that are still there.
func (l *live) MembersWithID(id v1alpha1.ClusterID) (found []*v1alpha1.MemberCluster) {
	var seen []*v1alpha1.MemberCluster
	l.view.read(func(x *rules.Index) { seen = x.MembersWithID(id) })
	for _, holder := range seen {
		m := &v1alpha1.MemberCluster{}
		switch err := l.reader.Get(l.ctx, client.ObjectKeyFromObject(holder), m); {
		case apierrors.IsNotFound(err):
		case err != nil:
			l.fail(fmt.Sprintf("member %q", holder.Name), err)
		case m.Spec.ClusterID == string(id):
			found = append(found, m)
		}
	}
	return found
}

// MembersAt implements rules.Identities. It only ever warns, so the view does.
func (l *live) MembersAt(key rules.EndpointKey) (found []*v1alpha1.MemberCluster) {
	l.view.read(func(x *rules.Index) { found = x.MembersAt(key) })
	return found
}

// Count implements rules.Memberships.
func (l *live) Count(b rules.Bucket, except v1alpha1.MemberName) (n int) {
	if l.listing {
		return l.list(b.Federation).Count(b, except)
	}
	l.view.read(func(x *rules.Index) { n = x.Count(b, except) })
	return n
}

// Members implements rules.Memberships.
func (l *live) Members(name v1alpha1.FederationName) iter.Seq[*v1alpha1.MemberCluster] {
	return l.list(name).Members(name)
}

func (l *live) list(name v1alpha1.FederationName) *rules.Index {
	if x, known := l.listed[name]; known {
		return x
	}
	x := rules.NewIndex()
	l.listed[name] = x
	for next := ""; ; {
		var page v1alpha1.MemberClusterList
		err := l.reader.List(l.ctx, &page, client.MatchingLabels{v1alpha1.LabelFederation: string(name)},
			client.Limit(pageSize), client.Continue(next))
		if err != nil {
			l.fail(fmt.Sprintf("members of federation %q", name), err)
			return x
		}
		for i := range page.Items {
			x.SetMember(&page.Items[i])
		}
		if next = page.Continue; next == "" {
			return x
		}
	}
}
