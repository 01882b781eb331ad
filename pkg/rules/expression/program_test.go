package expression

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

func sample() (*v1alpha1.MemberCluster, *v1alpha1.Federation) {
	m := &v1alpha1.MemberCluster{}
	m.Name = "us-east"
	m.Labels = map[string]string{"example.com/team": "web"}
	m.Spec = v1alpha1.MemberClusterSpec{ClusterID: "0886847a", Server: "https://10.1.2.3:6443", CABundle: []byte("pem"), InsecureSkipTLSVerify: true}
	f := &v1alpha1.Federation{}
	f.Name = "prod"
	f.Spec.Limits = []v1alpha1.Limit{{PerLabel: "example.com/team", Max: 3}}
	f.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
	return m, f
}

// TestJudge pins what values read as, and what becomes of an expression without an answer.
func TestJudge(t *testing.T) {
	t.Parallel()
	m, f := sample()
	moved := m.DeepCopy()
	moved.Spec.Server = "https://10.1.2.4:6443"
	facts := v1alpha1.JoinFacts{KubernetesVersion: "v1.36.3", Regions: []string{"us-east-1"}}
	in, before, now := NewFederation(f), NewCluster(m, facts), NewCluster(moved, facts)
	for expression, want := range map[string]string{
		"cluster.name == 'us-east' && cluster.labels == {'example.com/team': 'web'}":          "kept",
		"cluster.spec.clusterID == '0886847a'":                                                "kept",
		"cluster.spec.insecureSkipTLSVerify && has(cluster.spec.insecureSkipTLSVerify)":       "kept",
		"cluster.spec.proxyURL == '' && !has(cluster.spec.proxyURL)":                          "kept",
		"cluster.facts.regions == ['us-east-1'] && has(cluster.facts.regions)":                "kept",
		"cluster.facts.kubernetesVersion.startsWith('v1.')":                                   "kept",
		"has(cluster.facts.zones) || cluster.facts.?zones.hasValue()":                         "broken",
		"cluster.facts.?zones.orValue(['none']) == ['none']":                                  "kept",
		"cluster.facts.zones.size() == 0":                                                     "unknown: cluster.facts.zones is not known",
		"cluster.name == 'us-east' || cluster.facts.zones.size() == 0":                        "kept",
		"cluster.facts.zones.size() == 0 || cluster.name == 'us-east'":                        "kept",
		"cluster.facts.zones.size() == 0 && cluster.name == 'x'":                              "broken",
		"cluster.facts.zones.size() == 0 || cluster.labels['none'] == ''":                     "unknown: cluster.facts.zones is not known",
		"cluster.labels['none'] == '' || cluster.facts.zones.size() == 0":                     "no answer: no such key: none",
		"[cluster.facts.zones].size() == 1":                                                   "unknown: cluster.facts.zones is not known",
		"cluster.facts == cluster.facts":                                                      "unknown: cluster.facts.zones is not known",
		"cluster.spec == oldCluster.spec":                                                     "broken",
		"cluster == oldCluster":                                                               "broken",
		"oldCluster.spec.server == 'https://10.1.2.3:6443' && oldCluster == oldCluster":       "unknown: cluster.facts.zones is not known",
		"oldCluster != null && cluster.name == oldCluster.name":                               "kept",
		"federation.name == 'prod' && federation.labels == {} && federation.spec.rules == []": "kept",
		"federation.spec.limits.all(l, l.max == 3 && l.perLabel in cluster.labels)":           "kept",
		"federation.spec.access.clusterRole == 'view' && has(federation.spec.access)":         "kept",
		"federation.spec.inventory.namespaces == [] && !has(federation.spec.inventory)":       "kept",
		"cluster.labels.none == ''":                                                           "no answer: no such key: none",
		"1 / (cluster.name.size() - 7) == 1":                                                  "no answer: division by zero",
		"kubefederate.cluster{}.name == ''":                                                   "no answer: unknown type 'kubefederate.cluster'",
	} {
		p, err := Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		o := p.Judge(in, &before, now)
		got := "broken"
		switch {
		case o.Kept:
			got = "kept"
		case o.Unknown != nil:
			got = "unknown: " + o.Unknown.Error()
		case o.Err != nil:
			got = "no answer: " + o.Err.Error()
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", expression, got, want)
		}
		if o.Broken() == (o.Kept || o.Unknown != nil) {
			t.Errorf("%s: broken %v with %+v", expression, o.Broken(), o)
		}
	}
}

// TestGrowingTextsAreRefused holds that a text which grows in the expression itself is bounded before it runs.
func TestGrowingTextsAreRefused(t *testing.T) {
	t.Parallel()
	text := "cluster.spec.server"
	for range 4 {
		text += ".replace('', cluster.spec.server)"
	}
	for _, expression := range []string{text + " == ''", text + ".size() > 0"} {
		if _, err := Compile(expression); err == nil || !strings.HasPrefix(err.Error(), "it") {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

// TestCompileIsShared holds that what is compiled at one time by many is right for all, also past the bound of what is
// kept.
func TestCompileIsShared(t *testing.T) {
	t.Parallel()
	m, f := sample()
	in, now := NewFederation(f), NewCluster(m, v1alpha1.JoinFacts{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range 600 {
				p, err := Compile(fmt.Sprintf("%d %% 2 == 0 && cluster.name == 'us-east'", i))
				if err != nil {
					t.Error(err)
					return
				}
				if o := p.Judge(in, nil, now); o.Kept != (i%2 == 0) {
					t.Errorf("%d: %+v", i, o)
				}
			}
		})
	}
	wait.Wait()
	if n := compiled.Len(); n > 512 {
		t.Errorf("%d expressions are kept", n)
	}
}
