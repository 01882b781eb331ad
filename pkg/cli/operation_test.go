package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// TestFirstOf plans through several contexts of one cluster, which have different rights.
func TestFirstOf(t *testing.T) {
	t.Parallel()
	refusal := func(sides ...cluster.Side) error {
		r := &federate.Refusal{}
		for _, side := range sides {
			r.Findings = append(r.Findings, federate.Finding{Side: side, Cause: "you are not allowed to"})
		}
		return r
	}
	lacks, lacksMore, host := refusal(cluster.Member), refusal(cluster.Member, cluster.Member), refusal(cluster.Host)
	expired := &cluster.Error{Side: cluster.Member, Fault: cluster.FaultUnauthorized, Err: errors.New("401")}
	for _, tt := range []struct {
		name  string
		plans []error
		used  string
		tried int
		err   error
	}{
		{"the first may", []error{nil, nil}, "a", 1, nil},
		{"the second may", []error{lacks, nil}, "b", 2, nil},
		{"the first has expired", []error{expired, nil}, "b", 2, nil},
		{"none may", []error{lacksMore, lacks, lacksMore}, "b", 3, lacks},
		{"the host refuses", []error{host, nil}, "a", 1, host},
		{"not a cluster's fault", []error{errors.New("no"), nil}, "a", 1, errors.New("no")},
	} {
		var ways []way
		tried := 0
		for i, err := range tt.plans {
			ways = append(ways, way{string(rune('a' + i)), func(context.Context, func(federate.Step)) (federate.Operation, error) {
				tried++
				return join{}, err
			}})
		}
		used := ""
		_, err := firstOf(ways, func(w way) { used = w.context })(t.Context(), nil)
		if used != tt.used || tried != tt.tried || (err == nil) != (tt.err == nil) || err != nil && err.Error() != tt.err.Error() {
			t.Errorf("%s: used %q after %d, %v; want %q after %d, %v", tt.name, used, tried, err, tt.used, tt.tried, tt.err)
		}
	}
}

// TestConfirm asks about a context that cannot be proved.
func TestConfirm(t *testing.T) {
	t.Parallel()
	u := &federate.Unproven{
		Member: "us-east", Stored: endpoint.Endpoint{Server: "https://us-east.example.com"}, Caller: endpoint.Endpoint{Server: "https://b", InsecureSkipTLSVerify: true},
		Reason: "the manager has seen no signing key of the member yet",
	}
	const shown = `nothing proves that context "b" leads to member "us-east": the manager has seen no signing key of the member yet
          SERVER                        CA
stored    https://us-east.example.com   the roots of the system
context   https://b                     none: its certificate is not verified
`
	const question = `Is it the cluster of member "us-east"? [y/N]
`
	for _, tt := range []struct {
		name, in      string
		yes           bool
		dry           cluster.DryRun
		want, refused string
	}{
		{"yes", "y\n", false, cluster.DryRunNone, shown + question, ""},
		{"yes in full", "Yes", false, cluster.DryRunNone, shown + question, ""},
		{"no", "n\n", false, cluster.DryRunNone, shown + question, "not confirmed; nothing was changed"},
		{"enter", "\n", false, cluster.DryRunNone, shown + question, "not confirmed; nothing was changed"},
		{"no answer", "", false, cluster.DryRunNone, shown + question, "no answer; confirm with --yes where there is no terminal"},
		{"--yes", "", true, cluster.DryRunNone, shown, ""},
		{"a dry run", "", false, cluster.DryRunClient, shown, ""},
	} {
		d, _, errOut := newTestFactory()
		d.In = io.NopCloser(strings.NewReader(tt.in))
		o := newOperationFlags(d)
		o.member.Context, o.trust.yes, o.dryRun = "b", tt.yes, tt.dry
		got := ""
		if err := o.confirm(t.Context(), u); err != nil {
			got = err.Error()
		}
		if got != tt.refused {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.refused)
		}
		if diff := cmp.Diff(tt.want, errOut.String()); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
