package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gas-restore/gas/bench/internal/benchtab"
	"github.com/gas-restore/gas/bench/internal/benchworld"
	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/aws/dynamodb"
	"github.com/gas-restore/gas/internal/bus"
	"github.com/gas-restore/gas/internal/reconcile"
	"github.com/gas-restore/gas/pkg/events"
)

const (
	// every and slack are GAS_SWEEP_EVERY and GAS_SWEEP_SLACK as they are unless set.
	every, slack = 5 * time.Minute, 10 * time.Minute
	// lost is how many notifications are lost in a round, apart by so long that they fall due all over
	// the time between two sweeps.
	lost, apart = 8, 40 * time.Second
)

// lapse is something that was lost, since when, and when it was made up for.
type lapse struct{ since, madeUp time.Time }

// streams tell when what was lost is made up for.
type streams struct {
	*bus.Bus
	now    func() time.Time
	lapses map[string]*lapse // by the id of a job or a user
}

func (s streams) Dead(ctx context.Context, e events.Event) (bool, error) {
	_, dead, err := s.DeadOf(ctx, e)
	return dead, err
}

func (s streams) Publish(ctx context.Context, e events.Event) error {
	_, err := s.Bus.Publish(ctx, e)
	id := ""
	switch e := e.(type) {
	case events.RetrievalCompleted:
		id = string(e.JobID)
	case events.UserUpgraded:
		id = string(e.UserID)
	}
	if l := s.lapses[id]; l != nil && l.madeUp.IsZero() && err == nil {
		l.madeUp = s.now()
	}
	return err
}

// parted files what the audit spends apart from the rest: it comes last.
type parted struct {
	*dynamodb.Catalog
	meter *benchworld.Meter
}

func (p parted) ArchivedScan(ctx context.Context, cursor string) ([]archive.Job, string, error) {
	p.meter.Phase("audit")
	return p.Catalog.ArchivedScan(ctx, cursor)
}

// round is what a number of sweeps came to.
type round struct {
	notifications, upgrade []time.Duration // after which what was lost was made up for
	sweeps                 int
	longest                time.Duration
	looked                 int
	audited                int // archives, in the sweep that audited the most
	audits                 int // sweeps that audited
	spent                  map[string]benchworld.Spent
}

// round loses notifications and the message of an upgrade, and sweeps until all are made up for.
func (w *world) round(ctx context.Context, name string, atLeast int) (round, error) {
	var r round
	// The audit rests for an hour after a pass, and begins anew.
	if err := w.pass(time.Hour); err != nil {
		return r, err
	}
	lapses := map[string]*lapse{}
	var users []events.UserID
	begin := w.now()
	for i := range lost {
		user, job := userID("l"+name, i), jobID("l"+name, i)
		at := begin.Add(time.Duration(i) * apart)
		if err := w.Catalog.EnsureAccount(ctx, archive.Account{ID: events.UserID(user), Role: archive.Free}); err != nil {
			return r, err
		}
		if _, err := w.Catalog.SetRole(ctx, events.UserID(user), archive.Premium, at); err != nil {
			return r, err
		}
		j, err := w.archived(ctx, user, job)
		if err == nil {
			j, err = w.asked(ctx, w.Catalog, j, "upgrade-1", at)
		}
		if err != nil {
			return r, err
		}
		lapses[job] = &lapse{since: j.Due}
		users = append(users, j.UserID)
	}
	upgraded, at := userID("u"+name, 0), begin.Add(every/3)
	if err := w.Catalog.EnsureAccount(ctx, archive.Account{ID: events.UserID(upgraded), Role: archive.Free}); err != nil {
		return r, err
	}
	for i := range 3 {
		if _, err := w.archived(ctx, upgraded, jobID("u"+name, i)); err != nil {
			return r, err
		}
	}
	if _, err := w.Catalog.SetRole(ctx, events.UserID(upgraded), archive.Premium, at); err != nil {
		return r, err
	}
	lapses[upgraded] = &lapse{since: at}
	users = append(users, events.UserID(upgraded))
	if err := w.pass(lost * apart); err != nil {
		return r, err
	}

	r.spent = map[string]benchworld.Spent{}
	w.meter.Take()
	for r.sweeps < 40 {
		// With a new one its calls' rate begins anew, as it does in so long a time.
		sweeper := &reconcile.Sweeper{
			Catalog: parted{w.catalog, w.meter}, Vault: w.vault, Streams: streams{w.sweep, w.now, lapses},
			KV: w.sweep.KV(bus.BucketSweep), Slack: slack, Now: w.now, Log: slog.New(slog.DiscardHandler),
		}
		w.meter.Phase("")
		began := time.Now()
		report, err := sweeper.Sweep(ctx)
		if err != nil {
			return r, err
		}
		r.sweeps++
		r.longest = max(r.longest, time.Since(began))
		r.looked, r.audited = r.looked+report.Plans, max(r.audited, report.Archives)
		if report.Archives > 0 {
			r.audits++
		}
		for phase, s := range w.meter.Take() {
			all := r.spent[phase]
			if all.Calls == nil {
				all.Calls = map[string]int{}
			}
			for call, n := range s.Calls {
				all.Calls[call] += n
			}
			all.ReadUnits, all.WriteUnits = all.ReadUnits+s.ReadUnits, all.WriteUnits+s.WriteUnits
			r.spent[phase] = all
		}
		left := slices.ContainsFunc(slices.Collect(maps.Values(lapses)), func(l *lapse) bool { return l.madeUp.IsZero() })
		if !left && r.sweeps >= atLeast {
			for id, l := range lapses {
				if took := l.madeUp.Sub(l.since); id == upgraded {
					r.upgrade = append(r.upgrade, took)
				} else {
					r.notifications = append(r.notifications, took)
				}
			}
			return r, w.clean(ctx, users)
		}
		if err := w.pass(every); err != nil {
			return r, err
		}
	}
	return r, fmt.Errorf("after %d sweeps not all is made up for", r.sweeps)
}

// clean ends the plans of a round, and does away with what was put back into the streams.
func (w *world) clean(ctx context.Context, users []events.UserID) error {
	for _, user := range users {
		if _, err := w.Catalog.SetRole(ctx, user, archive.Free, w.now()); err != nil {
			return err
		}
		jobs, _, err := w.Catalog.ArchivedPage(ctx, user, "")
		for _, job := range jobs {
			if err == nil && job.RetrievalID != "" {
				err = w.Catalog.ClearArchive(ctx, job)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{events.StreamPremium, events.StreamRestore} {
		st, err := w.Operator.JS.Stream(ctx, name)
		if err == nil {
			err = st.Purge(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// calls writes calls a sweep, by kind.
func (r round) calls(phase string) string {
	var parts []string
	for _, call := range slices.Sorted(maps.Keys(r.spent[phase].Calls)) {
		_, op, _ := strings.Cut(call, ".")
		parts = append(parts, fmt.Sprintf("%s %s", op, f1(float64(r.spent[phase].Calls[call])/float64(r.of(phase)))))
	}
	return strings.Join(parts, ", ")
}

// of returns how many sweeps had the phase.
func (r round) of(phase string) int {
	if phase == "audit" {
		return max(r.audits, 1)
	}
	return r.sweeps
}

func (r round) per(n int) float64 { return float64(n) / float64(r.sweeps) }

// free is the table of what a sweep takes by how many users are Free.
func (w *world) free(ctx context.Context, most int) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title: fmt.Sprintf("The time until lost work is found, by the number of Free users: %d notifications and an upgrade are lost", lost),
		Columns: []string{"Free users", "notifications after, min", "of slack and pause", "upgrade after, min", "calls a sweep", "read units", "write units",
			"audit: archives", "calls", "read units", "archives a day", "hours a pass", "seconds a sweep"},
		Notes: []string{
			fmt.Sprintf("A sweep %s after the other, 3600 calls an hour. Notifications: from when they were due at the latest to when the sweep published them; slack and pause are %s.", every, slack+every),
			"Calls and units are those of a sweep, beside them those of its part of the audit; a pass of the audit compares every archive with its owner's role.",
		},
	}
	for n := most / 100; n <= most; n *= 10 {
		seconds, err := w.fill("free", w.users, n)
		if err != nil {
			return nil, err
		}
		fmt.Printf("%d more users with an archive each were made in %.0f s\n", n-w.users, seconds)
		w.users = n
		r, err := w.round(ctx, fmt.Sprint(n/100), 4)
		if err != nil {
			return nil, err
		}
		rest, audit := r.spent[""], r.spent["audit"]
		audits := float64(r.of("audit"))
		t.Add(n, f1(slices.Min(r.notifications).Minutes())+"–"+f1(slices.Max(r.notifications).Minutes()), f2(slices.Max(r.notifications).Minutes()/(slack+every).Minutes()),
			f1(r.upgrade[0].Minutes()), f1(r.per(sum(rest))), f1(rest.ReadUnits/float64(r.sweeps)), f1(rest.WriteUnits/float64(r.sweeps)),
			r.audited, f1(float64(sum(audit))/audits), f0(audit.ReadUnits/audits), f0(float64(r.audited)*float64(24*time.Hour/every)), f1(max(float64(n)/float64(max(r.audited, 1))*every.Hours(), 1)), f1(r.longest.Seconds()))
		t.Notes = append(t.Notes, fmt.Sprintf("%d: %s; audit: %s.", n, r.calls(""), r.calls("audit")))
	}
	return t, nil
}

// standing is the table of what a sweep takes by how many plans stand.
func (w *world) standing(ctx context.Context, most int) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title:   fmt.Sprintf("The same by how many plans stand, each with a Standard retrieval under way, beside %d Free users", w.users),
		Columns: []string{"plans", "notifications after, min", "of slack and pause", "upgrade after, min", "plans read", "calls a plan", "calls a sweep", "read units", "write units", "seconds a sweep"},
		Notes:   []string{"seconds a sweep: of the longest, with its waits for a turn among 3600 calls an hour."},
	}
	for n, from := most/100, 0; n <= most; n, from = n*10, n {
		if _, err := w.fill("waiting", from, n); err != nil {
			return nil, err
		}
		r, err := w.round(ctx, fmt.Sprint("p", n/100), 4)
		if err != nil {
			return nil, err
		}
		s := r.spent[""]
		t.Add(n, f1(slices.Min(r.notifications).Minutes())+"–"+f1(slices.Max(r.notifications).Minutes()), f2(slices.Max(r.notifications).Minutes()/(slack+every).Minutes()),
			f1(r.upgrade[0].Minutes()), f0(r.per(r.looked)), f2(float64(sum(s))/float64(max(r.looked, 1))), f0(r.per(sum(s))),
			f0(s.ReadUnits/float64(r.sweeps)), f0(s.WriteUnits/float64(r.sweeps)), f1(r.longest.Seconds()))
		t.Notes = append(t.Notes, fmt.Sprintf("%d: %s.", n, r.calls("")))
	}
	return t, nil
}

// writes is the table of what an archive's way costs in write units, its indexes included.
func (w *world) writes(ctx context.Context) (*benchtab.Table, error) {
	t := &benchtab.Table{
		Title:   "Write units for an archive's way",
		Columns: []string{"", "calls", "write units"},
		Notes:   []string{"The units of the table and of each index that the write changes, as the stand-in reckons them by DynamoDB's rule. Items are of up to 1 KiB."},
	}
	user := userID("w", 0)
	if err := w.Catalog.EnsureAccount(ctx, archive.Account{ID: events.UserID(user), Role: archive.Premium}); err != nil {
		return nil, err
	}
	job, err := w.archived(ctx, user, jobID("w", 0))
	if err != nil {
		return nil, err
	}
	w.meter.Take()
	calls, units := 0, 0.0
	step := func(name string, err error) error {
		s := w.meter.Take()[""]
		writes := s.Calls["dynamodb.UpdateItem"]
		calls, units = calls+writes, units+s.WriteUnits
		t.Add(name, writes, f0(s.WriteUnits))
		return err
	}
	at := w.now()
	intent := archive.Intent{Token: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", At: at, Plan: "upgrade-ABCDEFGHIJKLMNOPQRSTUVWXYZ", Due: at.Add(time.Minute)}
	if err := step("intent", w.catalog.SaveIntent(ctx, job, intent)); err != nil {
		return nil, err
	}
	job.RetrievalID = events.RetrievalID(strings.Repeat("r", 92))
	job.Intent = &intent
	if err := step("retrieval", w.catalog.SaveRetrieval(ctx, job, intent, archive.Retrieval{ID: job.RetrievalID, Tier: archive.Standard, RequestedAt: at, Cost: 10_000})); err != nil {
		return nil, err
	}
	if err := step("clear", w.catalog.ClearArchive(ctx, job)); err != nil {
		return nil, err
	}
	t.Add("all", calls, f0(units))
	return t, nil
}

func sum(s benchworld.Spent) (n int) {
	for _, c := range s.Calls {
		n += c
	}
	return n
}

func f0(x float64) string { return fmt.Sprintf("%.0f", x) }
func f1(x float64) string { return fmt.Sprintf("%.1f", x) }
func f2(x float64) string { return fmt.Sprintf("%.2f", x) }
