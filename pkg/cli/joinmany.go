package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// checkMany refuses what only one cluster can have.
func (f *joinFlags) checkMany(args []string) error {
	switch {
	case len(args) > 0:
		return usagef("with --member-contexts and --all-contexts names come from the contexts: leave out %s", strings.Join(args, " "))
	case f.member.context != "":
		return usagef("--member-context names one cluster: with --member-contexts or --all-contexts leave it out")
	case f.server != "" || f.proxyURL != "" || f.caFile != "":
		return usagef("--member-server, --member-proxy-url and --member-certificate-authority are one cluster's: join it by its name")
	}
	if err := f.many.check(); err != nil {
		return err
	}
	return checkFormat(f.output)
}

// runMany joins the clusters of many contexts.
func (f *joinFlags) runMany(ctx context.Context, d *factory, args []string) error {
	if err := f.checkMany(args); err != nil {
		return err
	}
	options, err := f.options("")
	if err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	chosen := f.contexts
	if f.all {
		chosen = nil
	}
	source, err := f.member.source(d, chosen...)
	if err != nil {
		return err
	}
	view, observations, errs, err := f.many.read(ctx, d, h, source)
	if err = cmp.Or(err, errors.Join(errs...)); err != nil {
		return whileReading(ctx, err)
	}
	view.MemberKubeconfig = f.member.kubeconfig
	clusters := discover.Choose(view, options.Federation, observations)
	discover.Sort(clusters)
	if f.all {
		clusters = slices.DeleteFunc(clusters, func(c discover.Cluster) bool {
			names := append([]string{c.Name}, c.Also...)
			out := c.ID == view.HostID && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(f.contexts, n) })
			if out {
				fmt.Fprintf(d.ErrOut, "context %q is left out, since it leads to the host itself; to join that too, name it with --member-contexts\n", c.Name)
			}
			return out
		})
	}
	b := &batch{Operation: "join", Federation: options.Federation, doing: "joining", done: "joined", timeout: f.timeout, dryRun: options.DryRun, Clusters: []*row{}}
	for _, c := range clusters {
		b.Clusters = append(b.Clusters, joinRow(h, c, options))
	}
	if len(b.Clusters) == 0 {
		fmt.Fprintln(d.ErrOut, "No clusters found")
		return nil
	}
	if err := b.announce(d); err != nil {
		return err
	}
	b.work(ctx, d, f.many.parallel)
	if err := b.print(d, *f.output.OutputFormat); err != nil {
		return err
	}
	return b.err()
}

// joinRow is a cluster that joins, as options say but for what is its own.
func joinRow(h *host.Cluster, c discover.Cluster, options federate.JoinOptions) *row {
	r := &row{Name: c.Member, Context: c.Candidate.String(), Also: c.Also, ClusterID: c.ID, note: c.Reason}
	if c.State == discover.Unreachable {
		r.Result, r.Reason, r.err = resultUnreachable, c.Reason, fmt.Errorf("context %q: %s", c.Name, c.Reason)
		return r
	}
	options.Name, options.Federation, options.MemberContext = c.Member, c.Federation, c.Context()
	options.RequestedBy = c.RequestedBy()
	if c.Endpoint != nil {
		options.Server, options.CABundle = c.Endpoint.Server, c.Endpoint.CABundle
	}
	r.do = func(ctx context.Context, r *row) ([]federate.Finding, error) {
		m, err := c.Connect()
		if err != nil {
			return nil, err
		}
		plan, err := federate.PlanJoin(ctx, h, m, options)
		if err != nil {
			return nil, whileReading(ctx, err)
		}
		if options.DryRun != federate.DryRunNone {
			r.Result, r.Steps = "would join"+dryRunSuffix(options.DryRun), strings.Split(strings.TrimSpace(plan.Text()), "\n")
			if plan.Already() {
				r.Result = "would renew" + dryRunSuffix(options.DryRun)
			}
			return plan.Notes, nil
		}
		result, err := plan.Apply(ctx, nil)
		if err != nil {
			return plan.Notes, whileReading(ctx, err)
		}
		r.Result, r.CredentialExpiry = "joined", new(metav1.NewTime(result.Expires))
		if result.Already {
			r.Result = "renewed"
		}
		if result.TakenFrom != "" {
			r.Reason = "taken over from the host with cluster ID " + string(result.TakenFrom)
		}
		return result.Notes, nil
	}
	return r
}
