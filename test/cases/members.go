package cases

import (
	"slices"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

const (
	team   = "example.com/team"
	schema = "the schema of the CustomResourceDefinition refuses it first"
	policy = "ValidatingAdmissionPolicy joining.kubefederate.io refuses it first"
	names  = "the text names all federations of the host"
)

func membership() []Case {
	return []Case{
		create(rules.FederationExists, "exists", func(set, *v1alpha1.MemberCluster) {}),
		create(rules.FederationExists, "no-label", func(s set, m *v1alpha1.MemberCluster) {
			m.Labels = nil
			s.Unreachable = policy
		}, `metadata.labels[kubefederate.io/federation]: Required value: it names the federation that the cluster joins`),
		create(rules.FederationExists, "production-east", func(_ set, m *v1alpha1.MemberCluster) { m.Labels[v1alpha1.LabelFederation] = "prodcution-east" },
			`metadata.labels[kubefederate.io/federation]: Not found: "prodcution-east": no federation has this name; did you mean "production-east"?`),
		create(rules.FederationExists, "few-names", func(s set, m *v1alpha1.MemberCluster) {
			s.Federations = append(s.Federations, fed("test"))
			m.Labels[v1alpha1.LabelFederation] = "somewhere-else"
			s.Unreachable = names
		}, `metadata.labels[kubefederate.io/federation]: Not found: "somewhere-else": no federation has this name; known names: "few-names", "test"`),
		create(rules.FederationExists, "impossible-name", func(_ set, m *v1alpha1.MemberCluster) { m.Labels[v1alpha1.LabelFederation] = "Prod.eu_1" },
			`metadata.labels[kubefederate.io/federation]: Not found: "Prod.eu_1": no federation has this name; none can have it: a name has at most 63 lower-case letters, digits and '-'`),
		create(rules.FederationExists, "many-names", func(s set, m *v1alpha1.MemberCluster) {
			for _, name := range []string{"a1", "b2", "c3", "d4", "e5"} {
				s.Federations = append(s.Federations, fed(name))
			}
			m.Labels[v1alpha1.LabelFederation] = "somewhere-else"
			s.Unreachable = names
		}, `metadata.labels[kubefederate.io/federation]: Not found: "somewhere-else": no federation has this name; none of the 6 known names is similar`),
		create(rules.FederationExists, "no-names", func(s set, _ *v1alpha1.MemberCluster) {
			s.Federations = nil
			s.Unreachable = names
		}, `metadata.labels[kubefederate.io/federation]: Not found: "no-names": no federation has this name; there is none yet, create it: kubectl federate create federation no-names`),
		create(rules.FederationExists, "going", func(s set, _ *v1alpha1.MemberCluster) { leaving(s.f) },
			`metadata.labels[kubefederate.io/federation]: Invalid value: "going": this federation is being deleted`),
		update(rules.FederationExists, "gone-before", func(s set, _, after *v1alpha1.MemberCluster) {
			s.Federations = nil
			label(team, "x")(after)
		}),

		create(rules.ClusterIDUnique, "one-id", func(s set, _ *v1alpha1.MemberCluster) { s.others(1, nil) }),
		create(rules.ClusterIDUnique, "two-names", func(s set, m *v1alpha1.MemberCluster) {
			s.others(1, func(m *v1alpha1.MemberCluster) {
				m.Spec.ClusterID = "id-two-names"
				m.Annotations = map[string]string{v1alpha1.AnnotationAttempt: "joins"}
			})
			m.Spec.ClusterID = "id-two-names"
		}, `spec.clusterID: Duplicate value: "id-two-names": this cluster is already member "two-names-a" of federation "two-names"; let it leave first: kubectl federate unjoin two-names-a`),
		create(rules.ClusterIDUnique, "still-there", func(s set, m *v1alpha1.MemberCluster) {
			s.others(1, func(m *v1alpha1.MemberCluster) {
				m.Spec.ClusterID = "id-still-there"
				leaving(m)
			})
			m.Spec.ClusterID = "id-still-there"
		}, `spec.clusterID: Duplicate value: "id-still-there": this cluster is still member "still-there-a" of federation "still-there", which is being deleted`),

		create(rules.ReservedKeys, "other-keys", func(_ set, m *v1alpha1.MemberCluster) {
			m.Labels["example.com/federation"] = "x"
			m.Annotations = map[string]string{v1alpha1.AnnotationJoinedBy: "me now", v1alpha1.AnnotationAttempt: "x y", v1alpha1.AnnotationProbeRequested: "1", "example.com/note": "x"}
		}),
		create(rules.ReservedKeys, "reserved", func(_ set, m *v1alpha1.MemberCluster) {
			m.Labels["kubefederate.io/fedration"] = "x"
			m.Labels["kubefederate.io/zebra"] = "x"
			m.Annotations = map[string]string{"kubefederate.io/joinedby": "me", "kubefederate.io/nothing-like-it": ""}
		},
			`metadata.labels: Invalid value: "kubefederate.io/fedration": keys under kubefederate.io/ are reserved; did you mean "kubefederate.io/federation"?`,
			`metadata.labels: Invalid value: "kubefederate.io/zebra": keys under kubefederate.io/ are reserved; known names: "kubefederate.io/federation"`,
			`metadata.annotations: Invalid value: "kubefederate.io/joinedby": keys under kubefederate.io/ are reserved; did you mean "kubefederate.io/joined-by"?`,
			`metadata.annotations: Invalid value: "kubefederate.io/nothing-like-it": keys under kubefederate.io/ are reserved; known names: "kubefederate.io/attempt", "kubefederate.io/created-by", "kubefederate.io/joined-by", "kubefederate.io/probe-requested"`),
		update(rules.ReservedKeys, "reserved-before", func(_ set, before, after *v1alpha1.MemberCluster) {
			label("kubefederate.io/zebra", "x")(before)
			label("kubefederate.io/zebra", "x")(after)
			label(team, "x")(after)
		}),
	}
}

func labels() []Case {
	all := []v1alpha1.LabelRule{
		{Key: rules.LabelRegion, Required: true, Values: []string{"eu-west-1", "us-east-1"}},
		{Key: team, Required: true, Pattern: "[a-z]+", Message: "name the owning team"},
	}
	return []Case{
		create(rules.Labels, "labeled", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = all
			label(rules.LabelRegion, "us-east-1")(m)
			label(team, "payments")(m)
		}),
		create(rules.Labels, "unlabeled", func(s set, _ *v1alpha1.MemberCluster) { s.f.Spec.Labels = all },
			`metadata.labels[topology.kubernetes.io/region]: Required value: is required by federation "unlabeled"; supported values: "eu-west-1", "us-east-1"`,
			`metadata.labels[example.com/team]: Required value: is required by federation "unlabeled"; name the owning team`),
		create(rules.Labels, "wrong-labels", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = all
			label(rules.LabelRegion, "ap-south-1")(m)
			label(team, "Payments")(m)
		},
			`metadata.labels[topology.kubernetes.io/region]: Unsupported value: "ap-south-1": supported values: "eu-west-1", "us-east-1"`,
			`metadata.labels[example.com/team]: Invalid value: "Payments": must match "[a-z]+" in federation "wrong-labels"; name the owning team`,
			`metadata.labels[topology.kubernetes.io/region]: Invalid value: "ap-south-1": the nodes of this cluster are in region "us-east-1"`),
		create(rules.Labels, "half-a-match", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Pattern: "a|b"}}
			label(team, "ab")(m)
		}, `metadata.labels[example.com/team]: Invalid value: "ab": must match "a|b" in federation "half-a-match"`),
		create(rules.Labels, "empty-value", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Required: true}}
			label(team, "")(m)
		}),
		create(rules.Labels, "broken-pattern", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Pattern: "[a-z"}}
			label(team, "x")(m)
		}, `metadata.labels[example.com/team]: Invalid value: "x": it cannot be judged: the pattern "[a-z" of federation "broken-pattern" does not compile`),
		create(rules.Labels, "soft-labels", func(s set, _ *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = all
			s.f.Spec.Enforcement = v1alpha1.EnforceWarn
			s.Warnings = []string{
				`metadata.labels[topology.kubernetes.io/region]: Required value: is required by federation "soft-labels"; supported`,
				`  values: "eu-west-1", "us-east-1"`,
				`metadata.labels[example.com/team]: Required value: is required by federation "soft-labels"; name the owning team`,
			}
		}),
		update(rules.Labels, "wrong-before", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = all
			label(team, "Payments")(before)
			label(team, "Payments")(after)
			after.Spec.Server = "https://wrong-before.example.net"
		}),
		update(rules.Labels, "wrong-otherwise", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = all
			label(team, "Payments")(before)
			label(team, "Orders")(after)
		}, `metadata.labels[example.com/team]: Invalid value: "Orders": must match "[a-z]+" in federation "wrong-otherwise"; name the owning team`),

		update(rules.ImmutableLabels, "set-once", func(s set, _, after *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Immutable: true}}
			label(team, "a")(after)
		}),
		update(rules.ImmutableLabels, "set-twice", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Immutable: true, Message: "teams do not move"}}
			label(team, "a")(before)
			label(team, "b")(after)
		}, `metadata.labels[example.com/team]: Forbidden: it is "a" and is immutable in federation "set-twice"; teams do not move`),
		update(rules.ImmutableLabels, "taken-off", func(s set, before, _ *v1alpha1.MemberCluster) {
			s.f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Immutable: true}}
			label(team, "")(before)
		}, `metadata.labels[example.com/team]: Forbidden: it is "" and is immutable in federation "taken-off"`),
	}
}

func sizes() []Case {
	region := rules.LabelRegion
	limits := []v1alpha1.Limit{{Max: 3}, {PerLabel: region, Max: 2}}
	return []Case{
		create(rules.Limits, "below", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Limits = limits
			s.others(2, nil)
			label(region, "us-east-1")(m)
		}),
		create(rules.Limits, "full", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Limits = limits
			s.others(3, label(region, "us-east-1"))
			label(region, "us-east-1")(m)
		},
			`metadata.labels[kubefederate.io/federation]: Forbidden: federation "full" has 3 members and takes at most 3`,
			`metadata.labels[topology.kubernetes.io/region]: Forbidden: federation "full" has 3 members with topology.kubernetes.io/region=us-east-1 and takes at most 2`),
		create(rules.Limits, "closed", func(s set, _ *v1alpha1.MemberCluster) { s.f.Spec.Limits = []v1alpha1.Limit{{Max: 0}} },
			`metadata.labels[kubefederate.io/federation]: Forbidden: federation "closed" has 0 members and takes at most 0`),
		update(rules.Limits, "moves", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Limits = []v1alpha1.Limit{{PerLabel: team, Max: 1}}
			s.others(1, label(team, "b"))
			label(team, "a")(before)
			label(team, "b")(after)
		}, `metadata.labels[example.com/team]: Forbidden: federation "moves" has 1 member with example.com/team=b and takes at most 1`),
		update(rules.Limits, "over-before", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Limits = limits
			s.others(4, label(region, "us-east-1"))
			label(region, "us-east-1")(before)
			label(region, "us-east-1")(after)
			label(team, "x")(after)
		}),

		create(rules.KubernetesVersion, "in-range", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.KubernetesVersions = ">=1.33 <1.38"
			m.Spec.JoinedWith.KubernetesVersion = "v1.37.9-eks-bc803b4"
		}),
		create(rules.KubernetesVersion, "too-old", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.KubernetesVersions = ">=1.33 <1.38"
			m.Spec.JoinedWith.KubernetesVersion = "v1.32.8+k3s1"
		}, `spec.joinedWith.kubernetesVersion: Invalid value: "v1.32.8+k3s1": federation "too-old" takes >=1.33 <1.38`),
		create(rules.KubernetesVersion, "no-version", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.KubernetesVersions = ">=1.33"
			m.Spec.JoinedWith.KubernetesVersion = "v1.36x"
		}, `spec.joinedWith.kubernetesVersion: Invalid value: "v1.36x": it is not a Kubernetes version such as v1.36.3`),
		create(rules.KubernetesVersion, "version-unknown", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.KubernetesVersions = ">=1.33"
			m.Spec.JoinedWith = nil
			s.Warnings = []string{`spec.joinedWith.kubernetesVersion: the version is unknown; federation "version-unknown" takes >=1.33`}
		}),
		update(rules.KubernetesVersion, "outgrown", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.KubernetesVersions = "<1.37"
			seen("v1.37.1", "us-east-1", "us-east-1a")(before)
			label(team, "x")(after)
		}),
		create(rules.KubernetesVersion, "broken-range", func(s set, _ *v1alpha1.MemberCluster) { s.f.Spec.KubernetesVersions = "1.33" },
			`spec.joinedWith.kubernetesVersion: Invalid value: "v1.36.3": it cannot be judged: the range "1.33" of federation "broken-range": at character 1: "1.33" has no comparison; write one of >=, >, <=, <, = or != before it`),
	}
}

func connection() []Case {
	long, short, over := Certificate(Now.Add(365*24*time.Hour)), Certificate(Now.Add(24*time.Hour)), Certificate(Now.Add(-time.Hour))
	const bundle = "spec.caBundle: Invalid value: "
	return []Case{
		create(rules.Topology, "honest", func(_ set, m *v1alpha1.MemberCluster) {
			label(rules.LabelRegion, "us-east-1")(m)
			label(rules.LabelZone, "us-east-1b")(m)
		}),
		create(rules.Topology, "dishonest", func(_ set, m *v1alpha1.MemberCluster) {
			label(rules.LabelRegion, "eu-west-1")(m)
			label(rules.LabelZone, "eu-west-1a")(m)
		},
			`metadata.labels[topology.kubernetes.io/region]: Invalid value: "eu-west-1": the nodes of this cluster are in region "us-east-1"`,
			`metadata.labels[topology.kubernetes.io/zone]: Invalid value: "eu-west-1a": the nodes of this cluster are in zone "us-east-1a", "us-east-1b"`),
		create(rules.Topology, "place-unknown", func(s set, m *v1alpha1.MemberCluster) {
			label(rules.LabelRegion, "eu-west-1")(m)
			label(rules.LabelZone, "eu-west-1a")(m)
			m.Spec.JoinedWith = nil
			s.Warnings = []string{
				`metadata.labels[topology.kubernetes.io/region]: no region of the nodes is known to compare it with`,
				`metadata.labels[topology.kubernetes.io/zone]: no zone of the nodes is known to compare it with`,
			}
		}),
		update(rules.Topology, "moved", func(_ set, before, after *v1alpha1.MemberCluster) {
			seen("v1.36.3", "us-west-2", "us-west-2a")(before)
			label(rules.LabelRegion, "us-west-2")(after)
			label(rules.LabelZone, "us-west-2a")(after)
		}),
		update(rules.Topology, "moved-away", func(_ set, before, after *v1alpha1.MemberCluster) {
			seen("v1.36.3", "us-west-2", "us-west-2a")(before)
			label(rules.LabelRegion, "us-east-1")(after)
			label(rules.LabelZone, "us-east-1a")(after)
		},
			`metadata.labels[topology.kubernetes.io/region]: Invalid value: "us-east-1": the nodes of this cluster are in region "us-west-2"`,
			`metadata.labels[topology.kubernetes.io/zone]: Invalid value: "us-east-1a": the nodes of this cluster are in zone "us-west-2a"`),
		create(rules.Topology, "claims-a-status", func(_ set, m *v1alpha1.MemberCluster) {
			seen("v1.36.3", "eu-west-1", "eu-west-1a")(m)
			label(rules.LabelRegion, "eu-west-1")(m)
		}, `metadata.labels[topology.kubernetes.io/region]: Invalid value: "eu-west-1": the nodes of this cluster are in region "us-east-1"`),

		create(rules.Endpoint, "address", func(_ set, m *v1alpha1.MemberCluster) {
			m.Spec.Server = "https://[2001:db8::1]:6443/k8s/clusters/c-abc"
		}),
		create(rules.Endpoint, "many-faults", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.Server = "https://user:hunter2@:99999?a=b#c" },
			"spec.server: Invalid value: it must have a host",
			"spec.server: Invalid value: it must not hold a user: everyone who may get members reads it",
			"spec.server: Invalid value: it must not have a query",
			"spec.server: Invalid value: it must not have a fragment"),
		create(rules.Endpoint, "https-alone", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.Server = "https://" },
			"spec.server: Invalid value: it must have a host"),
		create(rules.Endpoint, "plain-http", func(s set, m *v1alpha1.MemberCluster) {
			m.Spec.Server = "http://a.example.com"
			s.Unreachable = schema
		}, `spec.server: Invalid value: the scheme must be https, and is "http"`),
		create(rules.Endpoint, "no-url", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.Server = "https://a b:hunter2@x" },
			"spec.server: Invalid value: it is not a URL"),
		create(rules.Endpoint, "no-host-name", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.Server = "https://a..b.example.com:70000" },
			`spec.server: Invalid value: "a..b.example.com" is neither a DNS name nor an IP address`),
		create(rules.Endpoint, "no-port", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.Server = "https://no-port.example.com:70000" },
			"spec.server: Invalid value: port 70000 is not between 1 and 65535"),
		create(rules.Endpoint, "nowhere", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.Server = "https://0.0.0.0:6443" },
			"spec.server: Invalid value: 0.0.0.0 is not the address of a server (unspecified): use one at which the host reaches it"),
		create(rules.Endpoint, "loopback", func(s set, m *v1alpha1.MemberCluster) {
			m.Spec.Server = "https://127.0.0.1:16443"
			s.Warnings = []string{"spec.server: 127.0.0.1 is a loopback address: only this machine reaches it"}
		}),
		create(rules.Endpoint, "link-local", func(s set, m *v1alpha1.MemberCluster) {
			m.Spec.Server = "https://169.254.0.7:6443"
			s.Warnings = []string{"spec.server: 169.254.0.7 is a link-local address: only this machine reaches it"}
		}),
		create(rules.Endpoint, "underscore", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.Server = "https://a_b.example.com" }),
		create(rules.Endpoint, "server-name", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.TLSServerName = "other.example.com" }),
		create(rules.Endpoint, "bad-server-name", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.TLSServerName = "https://other.example.com" },
			`spec.tlsServerName: Invalid value: "https://other.example.com" is neither a DNS name nor an IP address`),
		create(rules.Endpoint, "same-server", func(s set, m *v1alpha1.MemberCluster) {
			s.others(1, func(m *v1alpha1.MemberCluster) { m.Spec.Server = "https://same-server.example.com/" })
			m.Spec.Server = "https://Same-Server.example.com:443"
			s.Warnings = []string{`spec.server: member "same-server-a" has the same endpoint`}
		}),
		update(rules.Endpoint, "loopback-before", func(_ set, before, after *v1alpha1.MemberCluster) {
			before.Spec.Server, after.Spec.Server = "https://127.0.0.1:17443", "https://127.0.0.1:17443"
			label(team, "x")(after)
		}),

		create(rules.Proxy, "proxied", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.ProxyURL = "socks5://proxy.example.com:1080/" }),
		create(rules.Proxy, "own-proxy", func(s set, m *v1alpha1.MemberCluster) {
			m.Spec.ProxyURL = "http://127.0.0.1:3128"
			s.Warnings = []string{"spec.proxyURL: 127.0.0.1 is a loopback address: only this machine reaches it"}
		}),
		create(rules.Proxy, "bad-proxy", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.ProxyURL = "ftp://user:hunter2@/path" },
			`spec.proxyURL: Invalid value: the scheme must be http, https or socks5, and is "ftp"`,
			`spec.proxyURL: Invalid value: it must have a host`,
			`spec.proxyURL: Invalid value: it must not hold a user: everyone who may get members reads it`,
			`spec.proxyURL: Invalid value: it must end after host and port`),
		create(rules.Proxy, "no-proxy-url", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.ProxyURL = "http://a b" },
			"spec.proxyURL: Invalid value: it is not a URL"),

		create(rules.CABundle, "verified", func(_ set, m *v1alpha1.MemberCluster) {
			m.Spec.CABundle = slices.Concat(long, []byte("\n\n"), Certificate(Now.Add(48*time.Hour)))
		}),
		create(rules.CABundle, "garbage", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.CABundle = []byte("garbage") },
			bundle+"it holds no PEM certificate"),
		create(rules.CABundle, "blank", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.CABundle = []byte(" \n") },
			bundle+"it holds no PEM certificate"),
		create(rules.CABundle, "text-around", func(_ set, m *v1alpha1.MemberCluster) {
			m.Spec.CABundle = slices.Concat([]byte("# the CA of team-x\n"), long, []byte("Verify return code: 0 (ok)"))
		}),
		create(rules.CABundle, "cut-short", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.CABundle = slices.Concat(long, long[:len(long)/2]) },
			bundle+"certificate 2 is not PEM, is cut short, or does not begin at the start of a line"),
		create(rules.CABundle, "a-key", func(_ set, m *v1alpha1.MemberCluster) {
			m.Spec.CABundle = []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
		},
			bundle+`block 1 is "PRIVATE KEY", and only certificates belong here`),
		create(rules.CABundle, "not-der", func(_ set, m *v1alpha1.MemberCluster) {
			m.Spec.CABundle = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		},
			bundle+"certificate 1 cannot be read: x509: malformed certificate"),
		create(rules.CABundle, "wide", func(_ set, m *v1alpha1.MemberCluster) {
			m.Spec.CABundle, _ = WideKeyPair(Now.Add(365 * 24 * time.Hour))
		},
			bundle+"certificate 1 has an RSA key of 19630 bits, more than 16384"),
		create(rules.CABundle, "expired", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.CABundle = over },
			bundle+"the certificate expired at "+utc(Now.Add(-time.Hour))),
		create(rules.CABundle, "all-expired", func(_ set, m *v1alpha1.MemberCluster) { m.Spec.CABundle = slices.Concat(over, over) },
			bundle+"all 2 certificates expired, the last at "+utc(Now.Add(-time.Hour))),
		create(rules.CABundle, "one-expired", func(s set, m *v1alpha1.MemberCluster) {
			m.Spec.CABundle = slices.Concat(over, long)
			s.Warnings = []string{"spec.caBundle: 1 of 2 certificates expired"}
		}),
		create(rules.CABundle, "ends-soon", func(s set, m *v1alpha1.MemberCluster) {
			m.Spec.CABundle = short
			s.Warnings = []string{"spec.caBundle: it ends at " + utc(Now.Add(24*time.Hour))}
		}),
		update(rules.CABundle, "expired-before", func(_ set, before, after *v1alpha1.MemberCluster) {
			before.Spec.CABundle, after.Spec.CABundle = over, over
			label(team, "x")(after)
		}),

		create(rules.InsecureTLS, "insecure-allowed", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.AllowInsecureTLS = true
			m.Spec.InsecureSkipTLSVerify = true
		}),
		create(rules.InsecureTLS, "insecure", func(_ set, m *v1alpha1.MemberCluster) {
			m.Spec.InsecureSkipTLSVerify = true
			m.Spec.CABundle = long
		},
			`spec.insecureSkipTLSVerify: Forbidden: federation "insecure" does not allow it; give spec.caBundle instead`,
			`spec.insecureSkipTLSVerify: Forbidden: may not be set together with spec.caBundle`),
	}
}
