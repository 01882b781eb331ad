package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// trees is a fleet of three regions, and what is odd about fleets.
func trees() []output.Branch {
	return grow([]v1alpha1.FederationName{"prod", "empty", "edge"}, []*v1alpha1.MemberCluster{
		ready("us-east"),
		ready("us-east-10", at("us-east-1", "us-east-1b us-east-1a")),
		ready("us-east-b", at("us-east-1", "us-east-1b")),
		ready("us-west", at("us-west-2", "us-west-2a"), phase(v1alpha1.PhaseSuspended)),
		ready("eu-west", at("eu-west-1", "eu-west-1a eu-west-1b eu-west-1c"), offline),
		ready("both", at("us-west-2 us-east-1", ""), inEdge),
		ready("new", unknown, inEdge),
		ready("labeled", unknown, inEdge, func(m *v1alpha1.MemberCluster) { m.Labels["topology.kubernetes.io/region"] = "ap-south-1" }),
	}, noon)
}

func TestTree(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, got, want string
	}{
		{"text", output.Tree(trees(), false), `
edge (3 members: 2 Unknown, 1 Ready)
├── ap-south-1 (1 member: 1 Unknown)
│   └── unknown zone (1 member: 1 Unknown)
│       └── labeled      Unknown     NotProbed (4d ago)
├── us-east-1, us-west-2 (1 member: 1 Ready)
│   └── unknown zone (1 member: 1 Ready)
│       └── both         Ready
└── unknown region (1 member: 1 Unknown)
    └── unknown zone (1 member: 1 Unknown)
        └── new          Unknown     NotProbed (4d ago)
empty (no members)
prod (5 members: 1 Offline, 1 Suspended, 3 Ready)
├── eu-west-1 (1 member: 1 Offline)
│   └── eu-west-1a, eu-west-1b, eu-west-1c (1 member: 1 Offline)
│       └── eu-west      Offline     Unreachable (5m ago)
├── us-east-1 (3 members: 3 Ready)
│   ├── us-east-1a, us-east-1b (2 members: 2 Ready)
│   │   ├── us-east      Ready
│   │   └── us-east-10   Ready
│   └── us-east-1b (1 member: 1 Ready)
│       └── us-east-b    Ready
└── us-west-2 (1 member: 1 Suspended)
    └── us-west-2a (1 member: 1 Suspended)
        └── us-west      Suspended
`},
		{"mermaid", output.Mermaid(trees()), `
flowchart LR
  f1["edge<br>2 Unknown<br>1 Ready"]
  f1 --> f1_1["ap-south-1<br>1 Unknown"]
  f1_1 --> f1_1_1["unknown zone<br>1 Unknown"]
  f1_1_1 --> f1_1_1_1(["labeled<br>Unknown<br>NotProbed"]):::waits
  f1 --> f1_2["us-east-1<br>us-west-2<br>1 Ready"]
  f1_2 --> f1_2_1["unknown zone<br>1 Ready"]
  f1_2_1 --> f1_2_1_1(["both<br>Ready"]):::good
  f1 --> f1_3["unknown region<br>1 Unknown"]
  f1_3 --> f1_3_1["unknown zone<br>1 Unknown"]
  f1_3_1 --> f1_3_1_1(["new<br>Unknown<br>NotProbed"]):::waits
  f2["empty<br>no members"]
  f3["prod<br>1 Offline<br>1 Suspended<br>3 Ready"]
  f3 --> f3_1["eu-west-1<br>1 Offline"]
  f3_1 --> f3_1_1["eu-west-1a<br>eu-west-1b<br>eu-west-1c<br>1 Offline"]
  f3_1_1 --> f3_1_1_1(["eu-west<br>Offline<br>Unreachable"]):::bad
  f3 --> f3_2["us-east-1<br>3 Ready"]
  f3_2 --> f3_2_1["us-east-1a<br>us-east-1b<br>2 Ready"]
  f3_2_1 --> f3_2_1_1(["us-east<br>Ready"]):::good
  f3_2_1 --> f3_2_1_2(["us-east-10<br>Ready"]):::good
  f3_2 --> f3_2_2["us-east-1b<br>1 Ready"]
  f3_2_2 --> f3_2_2_1(["us-east-b<br>Ready"]):::good
  f3 --> f3_3["us-west-2<br>1 Suspended"]
  f3_3 --> f3_3_1["us-west-2a<br>1 Suspended"]
  f3_3_1 --> f3_3_1_1(["us-west<br>Suspended"]):::waits
  classDef good fill:#d3f9d8,stroke:#2b8a3e,color:#1b1b1b
  classDef waits fill:#fff3bf,stroke:#e67700,color:#1b1b1b
  classDef bad fill:#ffe3e3,stroke:#c92a2a,color:#1b1b1b
`},
	} {
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), tt.got); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// TestTreeColors: a color is around the state, moves nothing, and is nowhere else.
func TestTreeColors(t *testing.T) {
	t.Parallel()
	colored := output.Tree(trees(), true)
	for state, color := range map[string]string{"Ready": "32", "Suspended": "33", "Unknown": "33", "Offline": "31"} {
		if painted := "   \x1b[" + color + "m" + state + "\x1b[0m"; !strings.Contains(colored, painted) {
			t.Errorf("%q is nowhere in %q", painted, colored)
		}
	}
	plain := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(colored, "")
	if diff := cmp.Diff(output.Tree(trees(), false), plain); diff != "" {
		t.Error(diff)
	}
	if output.Colors(&strings.Builder{}) {
		t.Error("a buffer is no terminal")
	}
}
