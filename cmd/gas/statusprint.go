package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/operator/summary"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/pkg/events"
)

// backBy says when everything is back, and names the jobs that this time does not cover.
func (r statusReport) backBy() string {
	words := showTime(r.ReadyBy)
	if r.Unasked > 0 {
		words += fmt.Sprintf(", if the %d that are not requested yet are requested now", r.Unasked)
		if r.Stopped != nil {
			words += ", and requests are paused"
		}
	}
	if r.Held > 0 {
		words += fmt.Sprintf(", without the %d that are held", r.Held)
	}
	return words
}

func (r statusReport) billed() string {
	if r.Billed == nil {
		return "not added up (--no-bill)"
	}
	return r.Billed.String()
}

func (r statusReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if r.User != "" {
		fmt.Fprintf(w, "user %s, %s\n\n", r.User, r.Role)
	}
	fmt.Fprintln(w, "STATE\tJOBS\tSIZE\tOLDEST\tREADY BY\t")
	for _, row := range r.Jobs {
		size, note := "-", ""
		switch row.State {
		case archive.Archived, summary.Queued, summary.Held, summary.Attention, archive.Planned, archive.Requested:
			size = showBytes(row.Bytes)
			if row.Unsized > 0 {
				size += "+"
				note = fmt.Sprintf("%d of unknown size", row.Unsized)
			}
		}
		for _, tier := range archive.AllTiers() {
			if n := row.ByTier[tier]; n > 0 {
				note += fmt.Sprintf("  %d %s", n, tier)
			}
		}
		if row.Overdue > 0 {
			note += fmt.Sprintf("  %d overdue", row.Overdue)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", row.State, row.Jobs, size, showTime(row.Oldest), showTime(row.ReadyBy), note)
	}
	if len(r.Jobs) == 0 {
		fmt.Fprintln(w, "none\t0\t-\t-\t-\t")
	}
	fmt.Fprintf(w, "\nall back by\t%s\nbilled\t%s\n", r.backBy(), r.billed())
	if len(r.Attention) > 0 {
		fmt.Fprintln(w, "\nNEEDS ATTENTION\tUSER\tKIND\tWHY\tNEXT")
		for _, g := range r.Attention {
			next := "gas check --catalog"
			if g.Letter > 0 {
				next = fmt.Sprintf("gas dead show %d", g.Letter)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", g.Job, g.User, g.Kind, events.Cut(g.Why, 80), next)
		}
		if r.MoreAttention > 0 {
			fmt.Fprintf(w, "and %d others\n", r.MoreAttention)
		}
	}
	if len(r.Moving) > 0 {
		fmt.Fprintln(w, "\nJOB\tUSER\tSTATE\tCOPIED\tAT\tWHY")
		for _, m := range r.Moving {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Job, m.User, m.State, m.progress(), showTime(m.At), m.Why)
		}
		if r.More > 0 {
			fmt.Fprintf(w, "and %d others\n", r.More)
		}
	}
	if len(r.Queues) > 0 {
		fmt.Fprintln(w, "\nQUEUE\tWAITING\tIN FLIGHT\tPUT ASIDE\tOLDEST\t")
		for _, q := range r.Queues {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\n", q.Stream, q.Waiting, q.InHand, q.Aside, showTime(q.Oldest), q.Note)
		}
		for _, why := range r.Unseen {
			fmt.Fprintln(w, why)
		}
		for _, limit := range r.Reached {
			fmt.Fprintln(w, "LIMIT REACHED: "+limit)
		}
	}
	if len(r.Standing) > 0 {
		fmt.Fprintln(w, "\nUSER\tPLAN\tSTATE\tOPENED\tBY\tWHY")
		for _, p := range r.Standing {
			why := p.HeldBy
			if p.Approved > 0 {
				why = strings.TrimPrefix(why+"; approved for "+p.Approved.String(), "; ")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", p.User, p.ID, p.State, showTime(p.OpenedAt), p.Why, why)
		}
	}
	if s := r.Stopped; s != nil {
		fmt.Fprintln(w, "\nPAUSED\tSINCE\tWHY")
		if s.All != nil {
			fmt.Fprintf(w, "everything\t%s\t%s\n", showTime(s.All.At), s.All.Reason)
		}
		for _, user := range slices.Sorted(maps.Keys(s.Users)) {
			fmt.Fprintf(w, "user %s\t%s\t%s\n", user, showTime(s.Users[user].At), s.Users[user].Reason)
		}
		for _, tier := range slices.Sorted(maps.Keys(s.Tiers)) {
			fmt.Fprintf(w, "tier %s\t%s\t%s\n", tier, showTime(s.Tiers[tier].At), s.Tiers[tier].Reason)
		}
	}
	if len(r.Plans) > 0 {
		fmt.Fprintln(w, "\nPLAN\tOUTCOME\tPLANNED\tTHAWING\tAT\tWHY")
		for _, p := range r.Plans {
			name := p.ID
			if r.User == "" {
				name = string(p.User)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", name, p.Outcome, p.Planned, p.Thawing, showTime(p.UpdatedAt), p.Reason)
		}
	}
	if sw := r.Sweep; sw != nil {
		fmt.Fprintf(w, "\nlast sweep\t%s, %d plans and %d that were overdue in %s", showTime(sw.At), sw.Plans, sw.Due, sw.Took.Round(time.Millisecond))
		for _, rule := range reconcile.Rules() {
			if n := sw.Found[rule.Finding]; n > 0 && rule.Action != reconcile.Leave {
				fmt.Fprintf(w, ", %d %s", n, rule.Finding)
			}
		}
		fmt.Fprintln(w)
		if sw.Error != "" {
			fmt.Fprintf(w, "it was cut short\t%s\n", sw.Error)
		}
	}
	if n := r.Pace; n != nil {
		if n.RestUntil.After(r.At) {
			fmt.Fprintf(w, "\nExpedited had no capacity %d times in a row and is left alone until %s\n", n.Refusals, showTime(n.RestUntil))
		}
		if r.At.Sub(n.SlowedAt) < time.Minute {
			fmt.Fprintf(w, "\nGlacier throttled at %s\n", showTime(n.SlowedAt))
		}
	}
	return w.Flush()
}
