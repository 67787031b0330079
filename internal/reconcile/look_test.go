package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/archive"
	"github.com/gas-restore/gas/internal/fault"
	"github.com/gas-restore/gas/pkg/events"
)

// planned puts a plan of user u on the desk, an hour old and due.
func (d *desk) planned(change func(*archive.Plan)) {
	p := archive.Plan{ID: "p", State: archive.PlanOpen, OpenedAt: noon.Add(-time.Hour), Due: noon}
	if change != nil {
		change(&p)
	}
	d.accounts["u"], d.plans = archive.Account{ID: "u", Role: archive.Premium, Plan: &p}, []events.UserID{"u"}
}

// idle puts n archives that nobody asked for on a page, numbered from begin on.
func (d *desk) idle(page string, begin, n int) {
	for i := range n {
		j := job(events.JobID(fmt.Sprintf("j%04d", begin+i)), nil)
		d.jobs[j.ID], d.pages[page] = j, append(d.pages[page], j)
	}
}

// TestEachLookAtAPlanWritesWhatItSaw has one plan that is due.
func TestEachLookAtAPlanWritesWhatItSaw(t *testing.T) {
	onItsWay := func(d *desk, due time.Time) {
		j := job("j", func(j *archive.Job) { overdue(j, "r"); j.Due = due })
		d.jobs["j"], d.pages["u/"] = j, []archive.Job{j}
	}
	const first, looked = `read u from ""`, "checked p, empty since never, due "
	for _, c := range []struct {
		name      string
		prepare   func(*desk)
		published []string
		writes    []string
		found     map[Finding]int
		plans     int // that were checked
		saved     map[string]string
	}{
		{name: "it is not due", prepare: func(d *desk) { d.planned(func(p *archive.Plan) { p.Due = noon.Add(1) }) }},
		{name: "the account is gone", prepare: func(d *desk) { d.planned(nil); delete(d.accounts, "u") }},
		{name: "the plan is gone", prepare: func(d *desk) { d.planned(nil); d.accounts["u"] = archive.Account{ID: "u"} }},
		{name: "it is held", plans: 1, prepare: func(d *desk) { d.planned(func(p *archive.Plan) { p.State = archive.PlanHeld }) },
			published: []string{"upgraded u via sweep for p"}, writes: []string{looked + "1h0m0s"}},
		{name: "nothing is in the vault", plans: 1, prepare: func(d *desk) { d.planned(nil) },
			writes: []string{first, "checked p, empty since 0s, due 3m0s"}},
		{name: "nothing for less than three minutes", plans: 1, prepare: func(d *desk) { d.planned(func(p *archive.Plan) { p.EmptySince = noon.Add(-3*time.Minute + 1) }) },
			writes: []string{first, "checked p, empty since -2m59.999999999s, due 1ns"}},
		{name: "nothing for three minutes", plans: 1, prepare: func(d *desk) { d.planned(func(p *archive.Plan) { p.EmptySince = noon.Add(-3 * time.Minute) }) },
			writes: []string{first, "closed p at 0s"}},
		{name: "nothing, and the statuses cannot be read", plans: 1, prepare: func(d *desk) {
			d.planned(func(p *archive.Plan) { p.EmptySince = noon.Add(-time.Hour + 1) })
			d.answers["LatestStatuses"] = errors.New("no answer")
		}, writes: []string{first, "checked p, empty since -59m59.999999999s, due 5m0s"}},
		{name: "nothing, and the statuses cannot be read for an hour", plans: 1, prepare: func(d *desk) {
			d.planned(func(p *archive.Plan) { p.EmptySince = noon.Add(-time.Hour) })
			d.answers["LatestStatuses"] = errors.New("no answer")
		}, writes: []string{first, "closed p at 0s"}},
		{name: "all is on its way", plans: 1, prepare: func(d *desk) { d.planned(nil); onItsWay(d, noon.Add(time.Hour)) },
			writes: []string{first, looked + "15m0s"}},
		{name: "all is on its way, and is due soon", plans: 1, prepare: func(d *desk) { d.planned(nil); onItsWay(d, noon.Add(7*time.Minute)) },
			writes: []string{first, looked + "7m0s"}},
		{name: "all is on its way, and is due very soon", plans: 1, prepare: func(d *desk) { d.planned(nil); onItsWay(d, noon.Add(time.Minute)) },
			writes: []string{first, looked + "5m0s"}},
		{name: "an earlier release wrote the retrieval", plans: 1, prepare: func(d *desk) { d.planned(nil); onItsWay(d, time.Time{}) },
			writes: []string{first, "nudged j until -10m0s, in order: true", looked + "5m0s"}},
		{name: "the plan is younger than the slack", plans: 1, prepare: func(d *desk) {
			d.planned(func(p *archive.Plan) { p.OpenedAt = noon.Add(-10*time.Minute + 1) })
			d.idle("u/", 0, 1)
		}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{InOrder: 1}},
		{name: "the plan's message waits", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 2)
			d.next["u/"] = "1" // another page is not read
			d.waiting[events.UserUpgraded{UserID: "u"}.Subject()] = true
		}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{InOrder: 1}},
		{name: "each task waits", plans: 1, prepare: func(d *desk) {
			d.planned(func(p *archive.Plan) { p.OpenedAt = noon.Add(-10 * time.Minute) })
			d.idle("u/", 0, 2)
			for id := range d.jobs {
				d.waiting[events.ThawRequested{JobID: id, UserID: "u"}.Subject()] = true
			}
		}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{InOrder: 2}},
		{name: "one task is lost", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 3)
			for _, id := range []events.JobID{"j0000", "j0002"} {
				d.waiting[events.ThawRequested{JobID: id, UserID: "u"}.Subject()] = true
			}
		}, published: []string{"upgraded u via sweep for p"}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{InOrder: 2, Unplanned: 1},
			saved: map[string]string{"job.j0001": "p.archive-j0001, 1 times"}},
		{name: "all tasks are lost: the plan's message asks for all", plans: 1, prepare: func(d *desk) { d.planned(nil); d.idle("u/", 0, 3) },
			published: []string{"upgraded u via sweep for p"}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{Unplanned: 1},
			saved: map[string]string{"job.j0000": "p.archive-j0000, 1 times"}},
		{name: "they changed meanwhile", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 5)
			change := func(id events.JobID, f func(*archive.Job)) { j := d.jobs[id]; f(&j); d.jobs[id] = j }
			delete(d.jobs, "j0000")
			change("j0001", func(j *archive.Job) { j.ArchiveID = "" })
			change("j0002", func(j *archive.Job) { j.RetrievalID = "r" })
			change("j0003", func(j *archive.Job) { j.Intent = &archive.Intent{} })
			change("j0004", func(j *archive.Job) { j.History.NotBefore = noon.Add(-10*time.Minute + 1) })
		}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{InOrder: 5}},
		{name: "those of two pages changed meanwhile", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 1)
			d.idle("u/1", 1, 1)
			d.next["u/"] = "1"
			clear(d.jobs)
		}, writes: []string{first, `read u from "1"`, looked + "5m0s"}, found: map[Finding]int{InOrder: 2}},
		{name: "the first was made up for a moment ago", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 2)
			d.values[kvKey("job."+events.Token("j0000"))] = `{"about":"p.archive-j0000","times":1,"at":"2026-11-28T11:45:00.000000001Z"}`
		}, published: []string{"upgraded u via sweep for p"}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{Unplanned: 2},
			saved: map[string]string{"job.j0000": "p.archive-j0000, 1 times", "job.j0001": "p.archive-j0001, 1 times"}},
		{name: "a dead letter of the first is new", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 2)
			d.dead[events.ThawRequested{JobID: "j0000", UserID: "u"}.Subject()] = true
		}, published: []string{"upgraded u via sweep for p"}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{Stopped: 1, Unplanned: 1},
			saved: map[string]string{"job.j0000": "p.archive-j0000, 1 times", "job.j0001": "p.archive-j0001, 1 times"}},
		{name: "its pause is over for as long as the slack", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 1)
			j := d.jobs["j0000"]
			j.History.NotBefore = noon.Add(-10 * time.Minute)
			d.jobs["j0000"] = j
		}, published: []string{"upgraded u via sweep for p"}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{Unplanned: 1},
			saved: map[string]string{"job.j0000": "p.archive-j0000, 1 times"}},
		{name: "a dead letter is new", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 1)
			d.dead[events.ThawRequested{JobID: "j0000", UserID: "u"}.Subject()] = true
		}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{Stopped: 1}, saved: map[string]string{"job.j0000": "p.archive-j0000, 1 times"}},
		{name: "its tries are used up", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 1)
			j := d.jobs["j0000"]
			j.History.Tries = archive.MaxRetrievals
			d.jobs["j0000"] = j
		}, writes: []string{first, looked + "5m0s"}, found: map[Finding]int{Stopped: 1}, saved: map[string]string{"job.j0000": "p.archive-j0000, 1 times"}},
		{name: "a cursor that is none", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.values[kvKey("plan."+events.Token("u"))] = `{"plan":"p","cursor":"odd"}`
			onItsWay(d, noon.Add(time.Hour))
		}, writes: []string{`read u from "odd"`, first, looked + "5m0s"}, saved: map[string]string{"plan.u": ""}},
		{name: "a cursor of another plan", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.values[kvKey("plan."+events.Token("u"))] = `{"plan":"q","cursor":"2"}`
			onItsWay(d, noon.Add(time.Hour))
		}, writes: []string{first, looked + "15m0s"}},
		{name: "a place that nobody can read", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.values[kvKey("plan."+events.Token("u"))] = `x`
			onItsWay(d, noon.Add(time.Hour))
		}, writes: []string{first, looked + "15m0s"}},
		{name: "six pages, and all is on its way", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			onItsWay(d, noon.Add(time.Hour))
			for i, cursor := range []string{"", "1", "2", "3", "4", "5"} {
				d.pages["u/"+cursor], d.next["u/"+cursor] = d.pages["u/"], []string{"1", "2", "3", "4", "5", ""}[i]
			}
		}, writes: []string{first, `read u from "1"`, `read u from "2"`, `read u from "3"`, `read u from "4"`, looked + "5m0s"}, saved: map[string]string{"plan.u": "5"}},
		{name: "the rest of six pages", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.values[kvKey("plan."+events.Token("u"))] = `{"plan":"p","cursor":"5"}`
			onItsWay(d, noon.Add(time.Hour))
			d.pages["u/5"] = d.pages["u/"]
		}, writes: []string{`read u from "5"`, looked + "5m0s"}, saved: map[string]string{"plan.u": ""}},
		{name: "fifty idle archives and more", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 30)
			d.idle("u/1", 30, 21)
			d.idle("u/2", 51, 1)
			d.next["u/"], d.next["u/1"] = "1", "2"
			for id := range d.jobs {
				d.waiting[events.ThawRequested{JobID: id, UserID: "u"}.Subject()] = true
			}
		}, writes: []string{first, `read u from "1"`, looked + "5m0s"}, found: map[Finding]int{InOrder: 50}},
		{name: "fifty idle archives", plans: 1, prepare: func(d *desk) {
			d.planned(nil)
			d.idle("u/", 0, 30)
			d.idle("u/1", 30, 20)
			d.next["u/"] = "1"
			for id := range d.jobs {
				d.waiting[events.ThawRequested{JobID: id, UserID: "u"}.Subject()] = true
			}
		}, writes: []string{first, `read u from "1"`, looked + "5m0s"}, found: map[Finding]int{InOrder: 50}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(whole())
			c.prepare(d)
			r, _ := d.swept(t, nil)
			same(t, "published", d.briefly(), c.published)
			d.writes = slices.DeleteFunc(d.writes, func(s string) bool { return strings.HasPrefix(s, "scan") })
			same(t, "written", d.writes, c.writes)
			if c.found == nil {
				c.found = map[Finding]int{}
			}
			if fmt.Sprint(r.Found) != fmt.Sprint(c.found) || r.Plans != c.plans {
				t.Errorf("found %v in %d plans, want %v in %d", r.Found, r.Plans, c.found, c.plans)
			}
			for key, want := range c.saved {
				if got := d.saved(t, key); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
		})
	}
}

// saved says what the sweep wrote at the key: a cursor, or how often it did something.
func (d *desk) saved(t *testing.T, key string) string {
	t.Helper()
	kind, name, _ := strings.Cut(key, ".")
	value := d.values[kvKey(kind+"."+events.Token(name))]
	var v struct {
		Cursor string
		About  string
		Times  int
	}
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		t.Errorf("%s: %v in %q", key, err, value)
	}
	if v.About != "" {
		return fmt.Sprintf("%s, %d times", v.About, v.Times)
	}
	return v.Cursor
}

// TestALostTaskIsMadeUpForLessAndLessOften looks at one archive for three days, every five
// minutes. No message helps.
func TestALostTaskIsMadeUpForLessAndLessOften(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		d := newDesk(whole())
		d.planned(nil)
		d.idle("u/", 0, 1)
		d.dead[events.ThawRequested{JobID: "j0000", UserID: "u"}.Subject()] = stopped
		var told, want []time.Duration
		for since := time.Duration(0); since < 72*time.Hour; since += 5 * time.Minute {
			now := noon.Add(since)
			d.published = nil
			if _, err := d.swept(t, func(s *Sweeper) { s.Now = func() time.Time { return now } }); err != nil {
				t.Fatal(err)
			}
			if len(d.published) > 0 {
				told = append(told, since)
			}
			if len(d.published) > 1 {
				t.Errorf("%d messages in one sweep", len(d.published))
			}
		}
		if stopped { // never at once: somebody may be at it
			want = []time.Duration{24 * time.Hour, 48 * time.Hour}
		} else {
			for since, n := time.Duration(0), 0; since < 72*time.Hour; n++ {
				want = append(want, since)
				since += pauseAfter(n)
			}
		}
		if !slices.Equal(told, want) {
			t.Errorf("stopped by a dead letter: %t: told after %v, want %v", stopped, told, want)
		}
	}
}

// TestPlansAreLookedAtForTwoMinutes has pages that take time. A sweep looks at eight plans at a
// time.
func TestPlansAreLookedAtForTwoMinutes(t *testing.T) {
	for _, c := range []struct {
		late time.Duration // a page
		want int           // plans
	}{{time.Second, 400}, {9 * time.Second, 200}, {9*time.Second + 231*time.Millisecond, 100}, {9*time.Second + 230*time.Millisecond, 200}, {10 * time.Second, 100}} {
		d := newDesk(whole())
		d.late = c.late
		for i := range 400 {
			user := events.UserID(fmt.Sprint("u", i))
			d.plans = append(d.plans, user)
			d.accounts[user] = archive.Account{ID: user, Plan: &archive.Plan{ID: "p", State: archive.PlanOpen}}
		}
		r, err := d.swept(t, nil)
		// A batch of a hundred takes thirteen rounds of eight.
		if err != nil || r.Plans != c.want {
			t.Errorf("pages of %s: %d plans, %v; want %d", c.late, r.Plans, err, c.want)
		}
	}
}

func TestTheLastWordAboutEachFileIsRead(t *testing.T) {
	for _, n := range []int{0, 1, 98, 99, 100, 101, 198, 200} {
		d := newDesk(whole())
		d.planned(func(p *archive.Plan) { p.EmptySince = noon.Add(-time.Hour) })
		for i := range n {
			id := events.JobID(fmt.Sprint("j", i))
			d.jobs[id] = archive.Job{ID: id, UserID: "u", RestoredBy: "r", ResultSize: 6}
			d.told = append(d.told, events.StatusChanged{JobID: id, UserID: "u", State: archive.Requested})
		}
		d.told = append(d.told, events.StatusChanged{JobID: "told", UserID: "u", State: archive.Restored}, events.StatusChanged{JobID: "gone", UserID: "u", State: archive.Failed},
			events.StatusChanged{JobID: "archived", UserID: "u", State: archive.Failed})
		d.jobs["told"] = archive.Job{ID: "told", UserID: "u", RestoredBy: "r"}
		d.jobs["archived"] = job("archived", nil)
		r, err := d.swept(t, nil)
		if err != nil || r.Done[Tell] != n || r.Found[Mistold] != n || len(d.published) != n || r.Closed != 1 {
			t.Errorf("%d files: %v, found %v, told %d of them, closed %d", n, err, r.Found, len(d.published), r.Closed)
		}
		if want := 1 + (n+2+99)/100; r.Calls != want {
			t.Errorf("%d files: %d calls, want %d", n, r.Calls, want)
		}
		for _, e := range d.published {
			if e := e.(events.StatusChanged); e.State != archive.Restored || e.Size != 6 || e.Step != "closes-p" || e.UserID != "u" || !e.At.Equal(noon) {
				t.Errorf("told: %+v", e)
			}
		}
	}
}

// TestTheAuditOpensPlansOnlyForWhoHasNone looks at one archive of user u.
func TestTheAuditOpensPlansOnlyForWhoHasNone(t *testing.T) {
	premium := archive.Account{ID: "u", Role: archive.Premium, RoleChangedAt: noon.Add(-time.Hour)}
	for _, c := range []struct {
		name    string
		account func(*archive.Account)
		prepare func(*desk)
		opened  bool
		says    bool // an error
		found   int
	}{
		{name: "Premium and without a plan", opened: true, found: 1},
		{name: "Free", account: func(a *archive.Account) { a.Role = archive.Free }},
		{name: "with a plan", account: func(a *archive.Account) { a.Plan = &archive.Plan{ID: "p"} }},
		{name: "Premium for less than the slack", account: func(a *archive.Account) { a.RoleChangedAt = noon.Add(-10*time.Minute + 1) }},
		{name: "Premium for the slack", account: func(a *archive.Account) { a.RoleChangedAt = noon.Add(-10 * time.Minute) }, opened: true, found: 1},
		{name: "without an account", prepare: func(d *desk) { delete(d.accounts, "u") }},
		{name: "its message waits", prepare: func(d *desk) { d.waiting[events.UserUpgraded{UserID: "u"}.Subject()] = true }},
		{name: "the account changed meanwhile", prepare: func(d *desk) { d.answers["OpenPlan"] = fault.New(fault.Conflict, errors.New("changed")) }, found: 1},
		{name: "the plan cannot be opened", prepare: func(d *desk) { d.answers["OpenPlan"] = errors.New("no answer") }, found: 1, says: true},
	} {
		d := newDesk(whole())
		a := premium
		if c.account != nil {
			c.account(&a)
		}
		d.accounts["u"], d.pages["/"] = a, []archive.Job{job("j", nil), job("k", nil)}
		if c.prepare != nil {
			c.prepare(d)
		}
		r, err := d.swept(t, nil)
		var published, writes []string
		if c.opened {
			published, writes = []string{"upgraded u via sweep for "}, []string{fmt.Sprintf("opened for u, audit, upgraded %s, due 5m0s", at(a.RoleChangedAt))}
		}
		got := d.briefly()
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], "audit-")
			if id := d.published[i].(events.UserUpgraded).ID; !strings.HasPrefix(id, "sweep-0-") || len(d.lines.With("times=1")) != 1 {
				t.Errorf("%s: message %q; log: %s", c.name, id, d.lines.String())
			}
		}
		same(t, c.name+": published", got, published)
		same(t, c.name+": written", d.writes[1:], writes)
		if (err != nil) != c.says || r.Found[Planless] != c.found || r.Archives != 2 || r.Calls != 1 || (r.Done[Plan] == 1) != c.opened {
			t.Errorf("%s: %v, found %v of %d, did %v with %d calls", c.name, err, r.Found, r.Archives, r.Done, r.Calls)
		}
	}
}

// TestTheAuditGoesOnWhereItWasOnceAnHour has nine pages: a sweep reads four.
func TestTheAuditGoesOnWhereItWasOnceAnHour(t *testing.T) {
	d := newDesk(whole())
	for i := range 9 {
		cursor := ""
		if i > 0 {
			cursor = fmt.Sprint(i)
		}
		d.pages["/"+cursor] = []archive.Job{job(events.JobID(fmt.Sprint("j", i)), nil)}
		if i < 8 {
			d.next["/"+cursor] = fmt.Sprint(i + 1)
		}
	}
	for i, step := range []struct {
		at   time.Duration
		want string // the cursors that are read
	}{
		{0, `"" "1" "2" "3"`}, {0, `"4" "5" "6" "7"`}, {0, `"8"`}, {0, ""}, {15 * time.Minute, ""}, {time.Hour - 1, ""},
		{time.Hour, `"" "1" "2" "3"`}, {5 * time.Hour, `"4" "5" "6" "7"`}, {5*time.Hour + 5*time.Minute, `"8"`}, {5*time.Hour + 10*time.Minute, `"" "1" "2" "3"`},
		{-time.Hour, `"4" "5" "6" "7"`}, {-time.Hour, `"8"`}, {-time.Hour, `"" "1" "2" "3"`},
	} {
		d.writes = nil
		now := noon.Add(step.at)
		if _, err := d.swept(t, func(s *Sweeper) { s.Now = func() time.Time { return now } }); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(strings.Join(d.writes, " "), "scan from ", ""); got != step.want {
			t.Errorf("step %d, %s after noon: read %s, want %s", i+1, step.at, got, step.want)
		}
	}
	// A cursor that is none begins the audit anew, with the next sweep that may.
	d.values[kvKey(auditKey)], d.writes = `{"began_at":"2026-11-28T10:00:00Z","cursor":"odd"}`, nil
	if r, err := d.swept(t, nil); err != nil || r.Archives != 0 || len(d.writes) != 1 || !strings.Contains(d.values[kvKey(auditKey)], "T10:00:00Z") || strings.Contains(d.values[kvKey(auditKey)], "odd") {
		t.Errorf("%v, %d archives, read %v, and the place is %s", err, r.Archives, d.writes, d.values[kvKey(auditKey)])
	}
}

// TestTheAuditWritesWhatAnEarlierReleaseDidNot has retrievals and intents that are not in the
// index of due jobs.
func TestTheAuditWritesWhatAnEarlierReleaseDidNot(t *testing.T) {
	d := newDesk(whole())
	d.pages["/"] = []archive.Job{
		job("idle", nil), job("retrieval", func(j *archive.Job) { j.RetrievalID = "r" }), job("intent", func(j *archive.Job) { j.Intent = &archive.Intent{} }),
		job("known", func(j *archive.Job) { j.RetrievalID, j.Due = "r", noon.Add(time.Hour) }),
	}
	if _, err := d.swept(t, nil); err != nil {
		t.Fatal(err)
	}
	same(t, "written", d.writes[1:], []string{"nudged retrieval until -10m0s, in order: true", "nudged intent until -10m0s, in order: true"})
}

func TestTheAuditReadsAHundredAccountsWithACall(t *testing.T) {
	for users, calls := range map[int]int{100: 1, 101: 2, 250: 3} {
		d := newDesk(whole())
		for i := range users {
			user := events.UserID(fmt.Sprint("u", i))
			d.accounts[user] = archive.Account{ID: user, Role: archive.Premium}
			d.pages["/"] = append(d.pages["/"], archive.Job{ID: events.JobID(fmt.Sprint("j", i)), UserID: user, ArchiveID: "a"})
		}
		if r, err := d.swept(t, nil); err != nil || r.Calls != calls || r.Done[Plan] != users {
			t.Errorf("%d users: %v, %d calls, did %v; want %d calls, and a plan each", users, err, r.Calls, r.Done, calls)
		}
	}
}

func TestWhatASweepRemembersIsOfOneOccasion(t *testing.T) {
	lost := errors.New("lost")
	d := newDesk(whole())
	s := d.sweeper()
	ctx := t.Context()
	step := func(what, about string, times int, err error) done {
		t.Helper()
		got, gerr := s.recall(ctx, "k", about)
		if !errors.Is(gerr, err) || err == nil && (got.About != about || got.Times != times) {
			t.Errorf("%s: got %+v, %v; want %d times", what, got, gerr, times)
		}
		return got
	}
	if err := s.remember(ctx, "k", "a", step("nothing is known", "a", 0, nil)); err != nil {
		t.Fatal(err)
	}
	if err := s.remember(ctx, "k", "a", step("once", "a", 1, nil)); err != nil {
		t.Fatal(err)
	}
	step("twice", "a", 2, nil)
	step("another occasion", "b", 0, nil)
	d.values[kvKey("k")] = "x"
	step("what nobody can read", "a", 0, nil)
	d.answers["Get"], d.answers["Put"] = lost, lost
	step("no bucket", "a", 0, lost)
	if err := s.remember(ctx, "k", "a", done{}); !errors.Is(err, lost) {
		t.Errorf("nothing was written: %v", err)
	}
	if _, err := s.place(ctx, "k", "p"); !errors.Is(err, lost) {
		t.Errorf("no place could be read: %v", err)
	}
	if err := s.keepPlace(ctx, "k", "p", "1", "2"); !errors.Is(err, lost) {
		t.Errorf("no place was written: %v", err)
	}
	if err := s.keepPlace(ctx, "k", "p", "1", "1"); err != nil {
		t.Errorf("a place that did not change: %v", err)
	}
	if _, err := s.auditPlace(ctx); !errors.Is(err, lost) {
		t.Errorf("no place of the audit could be read: %v", err)
	}
	if err := s.keepAudit(ctx, auditAt{}); !errors.Is(err, lost) {
		t.Errorf("no place of the audit was written: %v", err)
	}
	clear(d.answers)
	if at, err := s.place(ctx, "k", "p"); at != "" || err != nil || len(d.lines.With("cannot be read", "key=k")) != 1 {
		t.Errorf("a place that nobody can read is %q, %v; log: %s", at, err, d.lines.String())
	}
	if err := s.put(ctx, "k", func() {}); err == nil {
		t.Error("a func is written as JSON")
	}
	if err := s.keepPlace(ctx, "k", "p", "1", "2"); err != nil {
		t.Fatal(err)
	}
	for plan, want := range map[string]string{"p": "2", "q": ""} {
		if at, err := s.place(ctx, "k", plan); at != want || err != nil {
			t.Errorf("the place of plan %s is %q, %v; want %q", plan, at, err, want)
		}
	}
}

func TestAPlanThatCouldNotBeWrittenIsToldThoughItsStatusesCannotBeRead(t *testing.T) {
	d := newDesk(whole())
	d.planned(func(p *archive.Plan) { p.EmptySince = noon.Add(-10 * time.Minute) })
	d.answers["LatestStatuses"], d.answers["PlanLooked"] = errors.New("no statuses"), errors.New("no writes")
	if r, err := d.swept(t, nil); err == nil || !strings.Contains(r.Error, "no statuses") || !strings.Contains(r.Error, "no writes") {
		t.Errorf("got %v, want both errors", err)
	}
}

func TestAnAuditThatFailsGoesOnFromItsPlace(t *testing.T) {
	for _, call := range []string{"Get", "ArchivedScan", "AccountsOf", "Put"} {
		d := newDesk(whole())
		d.values[kvKey(auditKey)] = `{"began_at":"2026-11-28T10:00:00Z","cursor":"1"}`
		d.pages["/1"], d.next["/1"] = []archive.Job{job("j", nil)}, "2"
		d.answers[call] = errors.New("no answer")
		r, err := d.swept(t, nil)
		if err == nil || strings.Count(r.Error, "audit: ") != 1 || !strings.Contains(d.values[kvKey(auditKey)], `"cursor":"1"`) {
			t.Errorf("%s fails: %v; the place is %s", call, err, d.values[kvKey(auditKey)])
		}
	}
}

func TestASweepMakesNoCallThatItNeedNot(t *testing.T) {
	// After a call that failed, the rest is left to the next sweep.
	d := newDesk(whole())
	for i := range 250 {
		d.plans = append(d.plans, events.UserID(fmt.Sprint("u", i)))
	}
	d.answers["AccountsOf"] = errors.New("no answer")
	if r, err := d.swept(t, nil); err == nil || r.Calls != 1 {
		t.Errorf("%v, with %d calls, want 1", err, r.Calls)
	}
	d = newDesk(whole())
	for i := range 250 {
		d.due = append(d.due, events.JobID(fmt.Sprint("j", i)))
	}
	d.answers["JobsOf"] = errors.New("no answer")
	if r, err := d.swept(t, nil); err == nil || r.Calls != 1 {
		t.Errorf("%v, with %d calls, want 1", err, r.Calls)
	}
	// If all tasks wait, the jobs are not read.
	d = newDesk(whole())
	d.planned(nil)
	d.idle("u/", 0, 2)
	for id := range d.jobs {
		d.waiting[events.ThawRequested{JobID: id, UserID: "u"}.Subject()] = true
	}
	if r, err := d.swept(t, nil); err != nil || r.Calls != 1 {
		t.Errorf("%v, with %d calls, want 1, for the account", err, r.Calls)
	}
}
