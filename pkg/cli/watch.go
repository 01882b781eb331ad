package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

// watchFlags are those of every watch.
type watchFlags struct {
	on     bool
	length time.Duration
}

// add adds the flags; usage is that of --watch.
func (f *watchFlags) add(cmd *cobra.Command, usage string) {
	cmd.Flags().BoolVarP(&f.on, "watch", "w", false, usage)
	cmd.Flags().DurationVar(&f.length, "watch-for", 0, "How long a watch lasts (default: until it is interrupted)")
}

func (f *watchFlags) check() error {
	if f.length < 0 {
		return usagef("--watch-for=%s: it is not negative", f.length)
	}
	return nil
}

// bound is ctx for as long as a watch lasts.
func (f *watchFlags) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.length > 0 {
		return context.WithTimeout(ctx, f.length)
	}
	return ctx, func() {}
}

// lookFlags watch what cannot be followed: they look again and again.
type lookFlags struct {
	watchFlags
	interval time.Duration
}

func (f *lookFlags) add(cmd *cobra.Command) {
	f.watchFlags.add(cmd, "After listing, look again at each interval and print what has changed")
	cmd.Flags().DurationVar(&f.interval, "interval", 30*time.Second, "How long a watch waits before it looks again")
}

// shortestInterval keeps a watch from asking every cluster all the time.
const shortestInterval = time.Second

func (f *lookFlags) check(join bool) error {
	switch {
	case f.on && join:
		return usagef("--watch only looks: leave out --join")
	case f.interval < shortestInterval:
		return usagef("--interval=%s: it is at least %s", f.interval, shortestInterval)
	}
	return f.watchFlags.check()
}

// run prints what the first look finds, and after it what has changed since the look before. A look that fails later is told
// and tried again. It ends without an error when it is interrupted or its time is over.
func (f *lookFlags) run(ctx context.Context, d *factory, answer func(context.Context) (*findings, error), show func(*factory, *findings, bool) error) error {
	ctx, cancel := f.bound(ctx)
	defer cancel()
	last, told := &findings{}, ""
	for first := true; ; first = false {
		found, err := answer(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			if told != err.Error() {
				fmt.Fprintln(d.ErrOut, "note: "+errorText(err))
			}
			told = err.Error()
		default:
			told = ""
			if first || !slices.Equal(found.notes, last.notes) {
				found.printNotes(d)
			}
			if first {
				found.hint(d)
			}
			changed := &findings{clusters: changes(last, found), notes: found.notes}
			if first || len(changed.clusters) > 0 {
				if err := show(d, changed, first); err != nil {
					return err
				}
			}
			if found.err != nil {
				return found.err
			}
			last = found
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.interval):
		}
	}
}

// changes are the clusters that are shown after and are new or not as they were, and then those that were shown before and
// are not any more: as they are now, or Gone.
func changes(before, after *findings) []discover.Cluster {
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
		if slices.ContainsFunc(after.clusters, same) {
			continue // under another ID now, and printed as that
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
