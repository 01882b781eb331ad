package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// pollFlags watch clusters, which have no common API to watch: all are probed again at each interval.
type pollFlags struct {
	watchFlags
	interval time.Duration
}

func (f *pollFlags) addTo(cmd *cobra.Command) {
	f.watchFlags.addTo(cmd, "After listing, probe again at each interval and print what has changed")
	targets.DurationVar(cmd.Flags(), &f.interval, "interval", 30*time.Second, "How long a watch waits before it probes again")
}

// minInterval keeps a watch from probing every cluster all the time.
const minInterval = time.Second

func (f *pollFlags) validate() error {
	if f.interval < minInterval {
		return output.Usagef("invalid --interval %s: must be at least %s", text.Duration(f.interval), text.Duration(minInterval))
	}
	return f.watchFlags.validate()
}

// poll prints what the first round finds, and then what each round finds changed. A later round that fails, or a source that --source
// names and that cannot be read in it, is reported and tried again. It ends without an error when it is interrupted or its time is over.
func (o *discoverOptions) poll(ctx context.Context, find func(context.Context) (*discovered, error)) error {
	ctx, cancel := o.watch.bound(ctx)
	defer cancel()
	last, reported := &discovered{}, ""
	report := func(err error) {
		if err != nil && reported != err.Error() {
			output.Line(o.ErrOut, "note: "+output.Reason(err)+"; trying again")
		}
		reported = ""
		if err != nil {
			reported = err.Error()
		}
	}
	for first := true; ; first = false {
		found, err := find(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			report(err)
		default:
			if !first {
				report(found.err)
				found.keep(last)
			}
			if first || !slices.Equal(found.notes, last.notes) {
				o.report(found)
			}
			if first {
				o.hint(found)
			}
			changed := &discovered{clusters: changes(last, found), notes: found.notes}
			if first || len(changed.clusters) > 0 {
				if err := o.print(changed, first); err != nil {
					return err
				}
			}
			if first && found.err != nil {
				return found.err
			}
			last = found
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.watch.interval):
		}
	}
}

// keep adds the clusters of before whose source could not be read this time: that they are gone is not known.
func (d *discovered) keep(before *discovered) {
	seen := map[v1alpha1.ClusterID]bool{}
	for i := range d.all {
		seen[d.all[i].ID] = d.all[i].ID != ""
	}
	gone := func(c discover.Cluster) bool { return !d.unread[c.Source] || seen[c.ID] }
	d.clusters = append(d.clusters, slices.DeleteFunc(slices.Clone(before.clusters), gone)...)
	d.all = append(d.all, slices.DeleteFunc(slices.Clone(before.all), gone)...)
}

// changes are the clusters of after that are new or have changed, and then those that are no longer shown: as they are
// now, or Gone.
func changes(before, after *discovered) []discover.Cluster {
	key := func(c *discover.Cluster) string { return string(c.ID) + " " + c.Candidate.String() }
	known := map[string]*discover.Cluster{}
	for i := range before.clusters {
		known[key(&before.clusters[i])] = &before.clusters[i]
	}
	var changed []discover.Cluster
	for i := range after.clusters {
		c := &after.clusters[i]
		was := known[key(c)]
		delete(known, key(c))
		if was == nil || was.State != c.State || was.Federation != c.Federation || was.Member != c.Member || was.Reason != c.Reason || !slices.Equal(was.Also, c.Also) {
			changed = append(changed, *c)
		}
	}
	for i := range before.clusters {
		c := before.clusters[i]
		if known[key(&c)] == nil {
			continue
		}
		same := func(now discover.Cluster) bool { return now.Candidate.String() == c.Candidate.String() }
		if after.unread[c.Source] || slices.ContainsFunc(after.clusters, same) {
			continue // not known to be gone; or under another ID now, and printed as that
		}
		if at := slices.IndexFunc(after.all, same); at >= 0 {
			c = after.all[at]
		} else {
			c.State, c.Reason = discover.Gone, ""
		}
		changed = append(changed, c)
	}
	return changed
}
