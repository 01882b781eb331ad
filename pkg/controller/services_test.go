package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/services/records"
)

// TestTake holds how often what a member exports may change: what it changes in one namespace keeps nothing of another from being taken.
func TestTake(t *testing.T) {
	t.Parallel()
	s := &watchedMember{limiters: map[string]*rate.Limiter{}, accepted: map[records.Service]records.Exported{}}
	cart, bill := records.Service{Namespace: "shop", Name: "cart"}, records.Service{Namespace: "pay", Name: "bill"}
	accepted := func(n int) map[records.Service]records.Exported {
		e := records.Exported{Addresses: []string{fmt.Sprintf("203.0.%d.%d", n/256, n%256)}}
		return map[records.Service]records.Exported{cart: e, bill: e}
	}
	waits := 0
	for i := range 2 * records.MaxServices {
		if s.take("shop", accepted(i), 1) > 0 {
			waits++
		}
	}
	if waits < records.MaxServices*9/10 || waits > records.MaxServices {
		t.Errorf("%d of %d changes are to wait", waits, 2*records.MaxServices)
	}
	if wait := s.take("shop", map[records.Service]records.Exported{cart: s.accepted[cart]}, 1); wait > 0 {
		t.Errorf("what is as it was is to wait %s", wait)
	}
	if wait := s.take("pay", accepted(7), 1); wait > 0 || !cmp.Equal(s.accepted[bill], accepted(7)[bill]) {
		t.Errorf("another namespace is to wait %s, and has %v", wait, s.accepted[bill])
	}
	if wait := s.take("pay", nil, 1); wait > 0 || len(s.accepted) != 1 {
		t.Errorf("what is gone is to wait %s: %v", wait, s.accepted)
	}
}

// TestForget holds that a namespace which is named again begins anew.
func TestForget(t *testing.T) {
	t.Parallel()
	cart, bill := records.Service{Namespace: "shop", Name: "cart"}, records.Service{Namespace: "pay", Name: "bill"}
	s := &watchedMember{
		limiters: map[string]*rate.Limiter{"shop": nil, "pay": nil}, accepted: map[records.Service]records.Exported{cart: {}, bill: {}},
	}
	s.forget([]string{"pay"})
	if _, ok := s.limiters["shop"]; ok || len(s.limiters) != 1 || len(s.accepted) != 1 {
		t.Errorf("%v, %v are left", s.limiters, s.accepted)
	}
}

// TestPending holds which objects are to be written, and that each has its turn.
func TestPending(t *testing.T) {
	t.Parallel()
	f := &v1alpha1.Federation{Spec: v1alpha1.FederationSpec{Services: &v1alpha1.Services{}}}
	f.Name, f.UID = "prod", "u"
	object := func(targets ...string) *unstructured.Unstructured {
		var endpoints []records.Endpoint
		if len(targets) > 0 {
			endpoints = []records.Endpoint{{Name: "a", Type: records.TypeA, Targets: targets}}
		}
		return dnsEndpoint(f, records.Service{Namespace: "shop", Name: "cart"}, endpoints, nil)
	}
	wanted := map[string]*unstructured.Unstructured{
		"as it is": object("203.0.113.1"), "changed": object("203.0.113.2"), "empty": object(), "held": object("203.0.113.2"), "new": object("203.0.113.1"),
	}
	was := readDNSEndpoint(object("203.0.113.1"))
	for last, want := range map[string]string{"": "changed,gone,new", "changed": "gone,new,changed", "gone": "new,changed,gone", "h": "new,changed,gone", "z": "changed,gone,new"} {
		z := &namedFederation{last: last, written: map[string]*written{"as it is": was, "changed": was, "gone": was, "held": was, "held and gone": was}}
		if got := strings.Join(z.pending(wanted, map[string]bool{"held": true, "held and gone": true}), ","); got != want {
			t.Errorf("after %q: %s, want %s", last, got, want)
		}
	}
}

// TestUpTo holds how many texts are shown.
func TestUpTo(t *testing.T) {
	t.Parallel()
	for want, all := range map[string][]string{"": nil, "a": {"a"}, "a,b": {"a", "b"}, "a,and 2 more": {"a", "b", "c"}} {
		if got := strings.Join(upTo(2, all), ","); got != want {
			t.Errorf("%q: %s", all, got)
		}
	}
}
